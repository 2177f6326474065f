package httpapi

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/tasker-go/tasker"
)

// counting counts readers of the log.
type counting struct {
	*running
	began, now atomic.Int64
}

func (c *counting) Replay(ctx context.Context, o tasker.ReplayOptions) iter.Seq2[tasker.Event, error] {
	return func(yield func(tasker.Event, error) bool) {
		c.began.Add(1)
		c.now.Add(1)
		defer c.now.Add(-1)
		c.running.Replay(ctx, o)(yield)
	}
}

func (c *counting) replays() int64 { return c.began.Load() }
func (c *counting) open() int64    { return c.now.Load() }
