package tasker

import (
	"context"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// confirm stores what a handler waits for. While the log is away it waits, too: the handler's context says for how long.
func (e *Engine) confirm(ctx context.Context, partition int, id domain.TaskID, cmd domain.Command) error {
	answers := make(chan error, 1)
	e.parts[partition].Confirm(id, cmd, func(a subscribers.Answer) {
		select {
		case answers <- a.Err:
		default: // the first answer counts
		}
	})
	select {
	case err := <-answers:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
