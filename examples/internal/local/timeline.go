package local

import (
	"context"
	"fmt"
	"io"

	"github.com/tasker-go/tasker"
)

// Timeline prints every execution of a task's steps, in the order in which they began: when, counted from the creation
// of the task, how it ended, how long it took, and what came of a failure.
func Timeline(ctx context.Context, w io.Writer, engine *tasker.Engine, id tasker.TaskID) error {
	history, err := engine.History(ctx, id)
	if err != nil {
		return err
	}
	width := 0
	for _, x := range history.Executions {
		width = max(width, len(x.Step))
	}
	for _, x := range history.Executions {
		why := ""
		if x.Attempt > 1 {
			why = fmt.Sprintf("  attempt %d", x.Attempt)
		}
		if x.Error != nil {
			why += "  " + x.Error.Message
			if x.RetryAt != 0 {
				why += fmt.Sprintf("; again after %.1f s", x.RetryAt.Sub(x.EndedAt).Seconds())
			}
		}
		_, err := fmt.Fprintf(w, "  at %4.1f s  %-*s  %-9s in %.1f s%s\n",
			x.StartedAt.Sub(history.CreatedAt).Seconds(), width, x.Step, x.Outcome, x.Duration.Seconds(), why)
		if err != nil {
			return err
		}
	}
	return nil
}
