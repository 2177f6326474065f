package main

import (
	"context"
	"errors"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
)

func newTopCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	var once bool
	interval := time.Second
	cmd := &cobra.Command{
		Use: "top", Short: "Watch a running server: rates, partitions, tasks, and why one does not move", Args: arguments(),
		Long: "Watch a running server. Keys: arrows or j and k choose a task, enter shows its steps and why it does not move, / filters,\n" +
			"s sorts, p pauses, ? helps, q quits. Where stdout is no terminal, and with --once, one picture is printed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if interval < 100*time.Millisecond || interval > time.Hour {
				return usageError("--interval must be 100ms to 1h, not %s", interval)
			}
			_, interactive := terminal(a.out)
			if once || !interactive || output == "json" {
				return a.with(cmd.Context(), f, needsServer, func(c *connection) error { return a.topOnce(cmd.Context(), c, interval, output) })
			}
			return a.top(cmd.Context(), f, interval)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&once, "once", false, "print one picture and exit")
	flags.DurationVar(&interval, "interval", interval, "time between two pictures, and that rates are measured over")
	flags.StringVarP(&output, "output", "o", "text", "what stdout gets: text or json (one picture)")
	return cmd
}

// topOnce prints one picture; its rates are those of one interval.
func (a *app) topOnce(ctx context.Context, c *connection, interval time.Duration, output string) error {
	before := look(ctx, c, nil)
	if before.err != nil {
		return before.err
	}
	wait := time.NewTimer(interval)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
	}
	p := look(ctx, c, before)
	if p.err != nil {
		return p.err
	}
	if output == "json" {
		return printJSON(a.out, p.public())
	}
	m := newTopModel(topView{style: styleFor(a.out), width: 120, height: 1000, plain: true})
	m.take(p)
	a.printf("%s\n", m.view.render(m))
	return nil
}

// top is the live view. It holds one connection, and makes another one when that is gone.
func (a *app) top(ctx context.Context, f connectFlags, interval time.Duration) error {
	c, err := a.connect(ctx, f, needsServer)
	if err != nil {
		return err // at the start it is somebody's mistake; later it is an outage
	}
	w := &watcher{ctx: ctx, reconnect: func() (*connection, error) { return a.connect(ctx, f, needsServer) }, c: c}
	defer w.close()
	m := newTopModel(topView{style: styleFor(a.out)})
	m.interval, m.watch = interval, w
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(a.in), tea.WithOutput(a.out), tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil // Ctrl-C from outside is a way to quit
	}
	return err
}
