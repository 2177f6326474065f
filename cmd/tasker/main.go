// Command tasker runs workflows: on an embedded NATS server, or as a server that others submit tasks to.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// verbs are the commands, in the order of `tasker help`.
var verbs = []func(*app) *cobra.Command{
	newRunCommand,
	newServeCommand,
	newDefinitionCommand,
	newSubmitCommand,
	newTaskCommand,
	newStepCommand,
	newEventsCommand,
	newExportCommand,
	newImportCommand,
	newStatusCommand,
	newStuckCommand,
	newDoctorCommand,
	newTopCommand,
	newHealthCommand,
	newSubscriberCommand,
	newTokenCommand,
	newContextCommand,
	newIndexCommand,
	newStatsCommand,
	newPruneCommand,
	newDeadCommand,
	newLogCommand,
	newVersionCommand,
	newBenchCommand,
}

// app is what all commands share: where they read and print, and what they were told by global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	verbose  bool
	signals  *signals
}

// execute runs one command line and returns the exit code.
func execute(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut, signals: catchSignals()}
	defer a.signals.stop()
	root := newRootCommand(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(a.signals.ctx)
	return a.report(cmd, err)
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "tasker",
		Short: "Run workflows whose every step is an event in a log",
		Long: "Tasker runs workflows: tasks made of steps that depend on each other. Every change is an event in a log on\n" +
			"NATS JetStream, so a task survives crashes and goes on where it was.\n\n" +
			"Start with:  tasker run examples/ecommerce/order.yaml --input @examples/ecommerce/order.json",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	withVerbs(root)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "print what the engine does to stderr")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError("%w", err) })
	for _, verb := range verbs {
		root.AddCommand(verb(a))
	}
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	err := usageError("unknown command %q for %q", name, cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		err.hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return err
}

// group is a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	withVerbs(cmd)
	cmd.AddCommand(below...)
	return cmd
}

// withVerbs makes a command that only has others below it say so, and refuse what it does not know.
func withVerbs(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}
	cmd.SetUsageTemplate(strings.Replace(cmd.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
}

// arguments checks the number of positional arguments; names are for the message.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if missing := names[min(len(args), len(names)):]; len(missing) > 0 {
			verb := "is"
			if len(missing) > 1 {
				verb = "are"
			}
			return usageError("%s %s missing", strings.Join(missing, " and "), verb)
		}
		if len(args) > len(names) {
			return usageError("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// signals ends a context at the first SIGINT or SIGTERM, and the process at the second.
type signals struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	ch     chan os.Signal
	code   int // what the first signal makes the exit code

	mu   sync.Mutex
	undo func() // before the process ends at once
}

func catchSignals() *signals {
	s := &signals{ch: make(chan os.Signal, 2), undo: func() {}}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	signal.Notify(s.ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		first, ok := <-s.ch
		if !ok {
			return
		}
		s.code = exitCode(first)
		s.cancel(errInterrupted)
		if second, ok := <-s.ch; ok {
			s.mu.Lock()
			s.undo()
			os.Exit(exitCode(second))
		}
	}()
	return s
}

func (s *signals) stop() {
	signal.Stop(s.ch)
	close(s.ch)
	s.cancel(nil)
}

// beforeExit sets what has to be put in order when a second signal ends the process.
func (s *signals) beforeExit(undo func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = undo
}

// exitCode is the shell's: 130 for Ctrl-C.
func exitCode(s os.Signal) int {
	if n, ok := s.(syscall.Signal); ok {
		return 128 + int(n)
	}
	return exitInterrupted
}

func (a *app) printf(format string, args ...any) { _, _ = fmt.Fprintf(a.out, format, args...) }
