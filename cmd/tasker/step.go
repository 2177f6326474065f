package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func newStepCommand(a *app) *cobra.Command {
	return group("step", "Look at the steps of a task and act on them",
		newStepListCommand(a), newStepShowCommand(a), newStepRetryCommand(a), newStepResolveCommand(a), newStepCancelCommand(a),
		newStepCompleteCommand(a))
}

func newStepListCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "list TASK", Short: "List the steps of a task", Args: arguments("TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd.Context(), f, args[0], output, func(c *connection, id tasker.TaskID) error {
				t, err := c.Task(cmd.Context(), id)
				if err != nil {
					return err
				}
				if output != "json" {
					a.printSteps(t.Steps)
					return nil
				}
				for i := range t.Steps {
					if err := printJSON(a.out, t.Steps[i]); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func newStepShowCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "show TASK STEP", Short: "Show everything about one step", Args: arguments("TASK", "STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd.Context(), f, args[0], output, func(c *connection, id tasker.TaskID) error {
				t, err := c.Task(cmd.Context(), id)
				if err != nil {
					return err
				}
				for i := range t.Steps {
					switch s := &t.Steps[i]; {
					case s.Name != args[1]:
					case output == "json":
						return printJSON(a.out, s)
					default:
						a.printStep(t, s)
						return nil
					}
				}
				return badInput(&domain.UnknownStepError{Task: id, Step: args[1]}, "it has: "+stepNames(t))
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

// stepAct does a verb that has read its flags.
type stepAct func(context.Context, *connection, tasker.TaskID) (tasker.VerbReceipt, error)

// stepVerb makes the command of a verb on a step. more: the task may go on after it.
func (a *app) stepVerb(name, short, long string, f *actFlags, more bool,
	do func(cmd *cobra.Command, step string) (stepAct, error),
) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " TASK STEP", Short: short, Long: long, Args: arguments("TASK", "STEP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			verb, err := do(cmd, args[1])
			if err != nil {
				return err
			}
			return a.act(cmd.Context(), f, args[0], more, func(c *connection, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return verb(cmd.Context(), c, id)
			}, stepChanged)
		},
	}
	f.add(cmd)
	f.addReason(cmd)
	return cmd
}

func newStepRetryCommand(a *app) *cobra.Command {
	var f actFlags
	var limit int
	var inputs string
	cmd := a.stepVerb("retry", "Run a failed step again, at once",
		"Begin a new round of executions of a step in error, at once. A failed task is reopened by it.\n"+
			"All failed steps of a task: `tasker task retry`.", &f, true,
		func(cmd *cobra.Command, step string) (stepAct, error) {
			if cmd.Flags().Changed("retry-limit") && limit < 1 {
				return nil, usageError("--retry-limit must be at least 1: it counts executions")
			}
			value, err := a.readGiven(cmd, "inputs", inputs)
			return func(ctx context.Context, c *connection, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return c.RetryStep(ctx, id, step, tasker.StepRetry{RetryLimit: limit, Inputs: value}, f.who())
			}, err
		})
	cmd.Flags().IntVar(&limit, "retry-limit", 0, "how many executions the step may have from now on (default: as before)")
	cmd.Flags().StringVar(&inputs, "inputs", "", "what the handler gets in place of the task's input: JSON, @file, or - for stdin")
	return cmd
}

func newStepResolveCommand(a *app) *cobra.Command {
	return a.resultCommand("resolve", "Declare a pending or failed step done",
		"Declare a step done that is pending or in error: the steps behind it run, and read --result as its result.\n"+
			"A failed task is reopened by it, when something can go on.",
		face.ResolveStep)
}

func newStepCompleteCommand(a *app) *cobra.Command {
	return a.resultCommand("complete", "Complete a running step in place of its handler",
		"Complete a step that is in progress, in place of its handler, which is told to stop. The steps behind it read --result\n"+
			"as its result.",
		face.CompleteStep)
}

// resultCommand is a verb that may give the step a result.
func (a *app) resultCommand(name, short, long string,
	do func(on face, ctx context.Context, id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error),
) *cobra.Command {
	var f actFlags
	var result string
	cmd := a.stepVerb(name, short, long, &f, true, func(cmd *cobra.Command, step string) (stepAct, error) {
		value, err := a.readGiven(cmd, "result", result)
		return func(ctx context.Context, c *connection, id tasker.TaskID) (tasker.VerbReceipt, error) {
			return do(c.face, ctx, id, step, value, f.who())
		}, err
	})
	cmd.Flags().StringVar(&result, "result", "", "the step's result: JSON, @file, or - for stdin (default: none)")
	return cmd
}

// readGiven reads the JSON of a flag; nil when it was not given.
func (a *app) readGiven(cmd *cobra.Command, flag, value string) (json.RawMessage, error) {
	if !cmd.Flags().Changed(flag) {
		return nil, nil
	}
	return a.readValue("--"+flag, value)
}

func newStepCancelCommand(a *app) *cobra.Command {
	var f actFlags
	return a.stepVerb("cancel", "Cancel a step that is not over",
		"End a step that is pending, in progress or in error. The steps behind it never run, unless it is optional, and its task\n"+
			"fails when nothing else of it can run.", &f, false,
		func(_ *cobra.Command, step string) (stepAct, error) {
			return func(ctx context.Context, c *connection, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return c.CancelStep(ctx, id, step, f.who())
			}, nil
		})
}
