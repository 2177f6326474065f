package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

type submitFlags struct {
	connectFlags
	input, namespace, version, key, output string
	initiator, source, correlation, reason string
	traceparent                            string
	tags, bypass                           []string
	wait                                   bool
}

func newSubmitCommand(a *app) *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use:   "submit NAME",
		Short: "Submit a task to a running server",
		Long: "Submit a task of the definition NAME to the server that `tasker serve` runs, and print the task's id.\n" +
			"With --wait, wait for its end and print its result; the exit codes are those of `tasker run`.",
		Example: "  tasker submit order --input @order.json --wait\n  tasker submit order --input '{\"id\": 7}' --key order-7",
		Args:    arguments("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			if err := f.setTrace(); err != nil {
				return err
			}
			return a.submit(cmd.Context(), args[0], f)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.input, "input", "i", "", "the task's input: JSON, @file, or - for stdin")
	flags.StringVar(&f.namespace, "namespace", "", "namespace of the definition (default \"default\")")
	flags.StringVar(&f.version, "version", "", "version of the definition (default: the highest)")
	flags.StringVar(&f.key, "key", "", "idempotency key: the same key is the same task")
	flags.StringVar(&f.initiator, "initiator", "", "who wants the task; it is stored")
	flags.StringVar(&f.source, "source-system", "tasker submit", "which system submits it; it is stored")
	flags.StringVar(&f.reason, "reason", "", "why the task is submitted; it is stored")
	flags.StringVar(&f.correlation, "correlation", "", "id that connects the task with what caused it, such as that of a request")
	flags.StringVar(&f.traceparent, "traceparent", "", "trace that the task belongs to, as W3C Trace Context has it (default: TRACEPARENT, if it is one)")
	flags.StringArrayVar(&f.tags, "tag", nil, "tag of the task; may be repeated")
	flags.StringArrayVar(&f.bypass, "bypass", nil, "skippable step to skip; may be repeated")
	flags.BoolVarP(&f.wait, "wait", "w", false, "wait for the end of the task and print its result")
	flags.StringVarP(&f.output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

// setTrace takes the trace of whoever started the command, unless another one is named.
func (f *submitFlags) setTrace() error {
	if f.traceparent != "" {
		if _, err := domain.ParseTraceparent(f.traceparent); err != nil {
			return usageError("--traceparent: %w", err)
		}
		return nil
	}
	if text := os.Getenv("TRACEPARENT"); text != "" {
		if _, err := domain.ParseTraceparent(text); err == nil {
			f.traceparent = text
		}
	}
	return nil
}

func (a *app) submit(ctx context.Context, name string, f submitFlags) error {
	input, err := a.readInput(f.input)
	if err != nil {
		return err
	}
	return a.with(ctx, f.connectFlags, needsServer, func(c *connection) error {
		def, err := c.Definition(ctx, f.namespace, name, f.version)
		if err != nil {
			return err
		}
		if err := checkContext(def, input); err != nil {
			return err
		}
		receipt, err := c.SubmitRequest(ctx, tasker.Submission{
			Name: name, Namespace: def.Namespace, Version: f.version, Context: input, Key: f.key, Reason: f.reason,
			Initiator: f.initiator, SourceSystem: f.source, Correlation: f.correlation, Traceparent: f.traceparent, Tags: f.tags, BypassSteps: f.bypass,
		})
		if errors.Is(err, tasker.ErrOutcomeUnknown) {
			return &failure{
				code: exitEngine, err: fmt.Errorf("task %s: %w", receipt.ID, err),
				hint: "look with: tasker task show " + receipt.ID.String(),
			}
		}
		if err != nil {
			return keyError(err, receipt.ID, f.key)
		}
		if f.wait {
			return a.waitFor(ctx, c, receipt, f)
		}
		if f.output == "json" {
			return printJSON(a.out, receipt)
		}
		a.printf("%s%s\n", receipt.ID, existed(receipt))
		return nil
	})
}

// keyError names the task that a key belongs to already.
func keyError(err error, id tasker.TaskID, key string) error {
	if !errors.Is(err, tasker.ErrIdempotencyMismatch) {
		return err
	}
	return badInput(fmt.Errorf("the key %q is that of task %s, which was submitted with another input", key, id),
		"look with: tasker task show "+id.String()+"; for another task, take another key")
}

func existed(r tasker.Receipt) string {
	if r.Created {
		return ""
	}
	return " (it was submitted before)"
}

// waitFor waits for the end of a task and prints its result.
func (a *app) waitFor(ctx context.Context, c *connection, receipt tasker.Receipt, f submitFlags) error {
	_, _ = fmt.Fprintf(a.err, "task %s%s\n", receipt.ID, existed(receipt))
	result, err := c.Wait(ctx, receipt.ID)
	var failed *tasker.TaskFailedError
	if ctx.Err() != nil {
		_, _ = fmt.Fprintf(a.err, "the task goes on without you; to see how: tasker task show %s\n", receipt.ID)
		return ctx.Err()
	}
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if f.output == "json" {
		if err := printJSON(a.out, result); err != nil {
			return err
		}
	} else if failed == nil {
		a.printf("%s\n", pretty(result.Value))
	}
	if failed == nil {
		return nil
	}
	task, err := c.Task(ctx, receipt.ID)
	if err != nil {
		return failed
	}
	return taskFailed(task, "to see everything that happened: tasker task history "+receipt.ID.String())
}
