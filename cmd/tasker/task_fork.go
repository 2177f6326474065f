package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// forkFace is what forks tasks, and shows them as they were.
type forkFace interface {
	Fork(context.Context, tasker.TaskID, tasker.ForkOptions) (tasker.Receipt, error)
	TaskAt(context.Context, tasker.TaskID, tasker.Position) (*tasker.Task, error)
}

type forkFlags struct {
	actFlags
	at, input, key string
	rerun, tags    []string
	wait           bool
}

func newTaskForkCommand(a *app) *cobra.Command {
	var f forkFlags
	cmd := &cobra.Command{
		Use: "fork TASK", Short: "Make a new task that begins where another one stands, or stood",
		Long: "Make a new task of the same definition that begins where TASK stands now, or stood right after the event --at:\n" +
			"steps that were complete, skipped or resolved there are taken over with their results and do not run again;\n" +
			"all others run. TASK stays as it is, in whatever state. The id of the new task is printed.",
		Example: "  tasker task fork TASK --input @mended.json --reason \"the address was wrong\"\n" +
			"  tasker task fork TASK --at 00-123-4          # an id that `tasker task history TASK` shows\n" +
			"  tasker task fork TASK --rerun pay            # pay and what is behind it run again",
		Args: arguments("TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := tasker.ForkOptions{Key: f.key, Rerun: f.rerun, Tags: f.tags, By: f.who()}
			var err error
			if o.At, err = position(f.at); err != nil {
				return err
			}
			if cmd.Flags().Changed("input") {
				if o.Context, err = a.readInput(f.input); err != nil {
					return err
				}
			}
			return a.fork(cmd.Context(), &f, args[0], o)
		},
	}
	f.add(cmd)
	f.addReason(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "event of TASK after which the new task begins (default: where TASK stands now)")
	flags.StringVarP(&f.input, "input", "i", "", "the new task's input: JSON, @file, or - for stdin (default: that of TASK)")
	flags.StringArrayVar(&f.rerun, "rerun", nil, "step to run again although it is over, with everything behind it; may be repeated")
	flags.StringVar(&f.key, "key", "", "idempotency key: the same key is the same fork of TASK")
	flags.StringArrayVar(&f.tags, "tag", nil, "tag of the new task, behind those of TASK; may be repeated")
	flags.BoolVarP(&f.wait, "wait", "w", false, "wait for the end of the new task and print its result")
	return cmd
}

func (a *app) fork(ctx context.Context, f *forkFlags, task string, o tasker.ForkOptions) error {
	return a.onTask(ctx, f.connectFlags, task, f.output, func(c *connection, id tasker.TaskID) error {
		receipt, err := c.Fork(ctx, id, o)
		if err != nil {
			return forkError(ctx, c, id, receipt, f.key, err)
		}
		if f.wait && c.idle == "" {
			return a.waitFor(ctx, c, receipt, submitFlags{output: f.output})
		}
		switch {
		case f.output == "json":
			err = printJSON(a.out, receipt)
		case receipt.Created:
			a.printf("%s\n", receipt.ID)
		default:
			a.printf("%s (it was forked before)\n", receipt.ID)
		}
		if err == nil && c.idle != "" && receipt.Created {
			_, err = fmt.Fprintf(a.err, "no server runs on the data; to go on: %s\n", c.idle)
		}
		return err
	})
}

// forkError says what is missing in the error of a fork.
func forkError(ctx context.Context, c *connection, of tasker.TaskID, fork tasker.Receipt, key string, err error) error {
	var unknown *domain.UnknownStepError
	var invalid *tasker.InvalidSubmissionError
	switch {
	case errors.As(err, &unknown):
		return unknownStep(ctx, c, of, unknown)
	case errors.As(err, &invalid):
		return badInput(err, "")
	case errors.Is(err, tasker.ErrOutcomeUnknown):
		return &failure{
			code: exitEngine, err: fmt.Errorf("fork %s of task %s: %w", fork.ID, of, err),
			hint: "look with: tasker task show " + fork.ID.String() + "; with --key, doing it again is safe",
		}
	case errors.Is(err, tasker.ErrIdempotencyMismatch):
		return badInput(fmt.Errorf("the key %q is that of task %s, which was forked at another position, with another input or other steps to run again", key, fork.ID),
			"look with: tasker task show "+fork.ID.String()+"; for another fork, take another key")
	}
	return positionError(of, err)
}

// position reads an event's id; "" is none.
func position(text string) (tasker.Position, error) {
	if text == "" {
		return tasker.Position{}, nil
	}
	at, err := domain.ParsePosition(text)
	if err != nil {
		return at, usageError("--at: %w", err)
	}
	return at, nil
}

// positionError says where positions of a task are to be had.
func positionError(id tasker.TaskID, err error) error {
	var wrong *tasker.PositionError
	if !errors.As(err, &wrong) {
		return err
	}
	return badInput(err, "its events have their ids in: tasker task history "+id.String())
}
