package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

func newTaskExplainCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "explain TASK [STEP]", Short: "Say why a task or a step does not move, and what moves it",
		Long: "Say why a task does not move, or one step of it: one reason, the event that shows it, and the command that moves it.\n" +
			"docs/explain.md lists the reasons. It answers without a server, too: from the log.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError("want TASK, or TASK and STEP, not %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			step := ""
			if len(args) == 2 {
				step = args[1]
			}
			return a.onTaskWith(cmd.Context(), f, readsLog, args[0], output, func(c *connection, id tasker.TaskID) error {
				e, err := c.Explain(cmd.Context(), id, step)
				switch {
				case errors.Is(err, tasker.ErrUnknownStep):
					return badInput(err, "tasker step list "+id.String()+" shows the steps")
				case err != nil:
					return err
				case output == "json":
					return printJSON(a.out, e)
				}
				a.printExplanation(e, time.Now())
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (a *app) printExplanation(e *tasker.Explanation, now time.Time) {
	a.printf("%s\n", styleFor(a.out).bold(e.Text))
	a.field("reason", string(e.Reason))
	a.field("step", e.Step)
	if at := e.Since.Time(); !at.IsZero() {
		a.field("since", precise(at)+", "+span(max(0, now.Sub(at)))+" ago")
	}
	if at := e.Until.Time(); !at.IsZero() {
		text := precise(at)
		if at.After(now) {
			text += ", in " + span(at.Sub(now))
		}
		a.field("until", text)
	}
	a.field("evidence", e.Evidence)
	a.field("fix", e.Fix)
	a.field("hint", e.Hint)
}
