package tasker

import (
	"context"
	"fmt"

	"github.com/tasker-go/tasker/projections"
)

// Trail is what led to an event: the events of its task up to its position, the oldest first, so that the first is the
// task.created unless that has been pruned. It costs one read of the log per commit of the task so far. Errors:
// ErrUnavailable; ErrTaskNotFound for an event without a task, or of which nothing is stored any more.
func (r *router) Trail(ctx context.Context, e Event) ([]Event, error) {
	at := e.Position
	if n := r.store.Data().Partitions; e.Task.IsZero() || at.Partition < 0 || at.Partition >= n {
		return nil, fmt.Errorf("trail of event %s: %w", at, ErrTaskNotFound)
	}
	records, _, err := projections.Walk(ctx, r.store.Log(at.Partition), at.Partition, e.Task, at.Sequence)
	if err != nil {
		return nil, fmt.Errorf("trail of event %s: %w", at, err)
	}
	for n := len(records); n > 0 && at.Less(records[n-1].Position); n-- {
		records = records[:n-1]
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("trail of event %s: %w", at, ErrTaskNotFound)
	}
	return records, nil
}
