package executor

import (
	"context"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// BenchmarkExecute is Take, Notify, the call of a handler that does nothing, and the report.
func BenchmarkExecute(b *testing.B) {
	for _, bm := range []struct {
		name    string
		handler handlerFunc
		timeout time.Duration
	}{
		{"idle", func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) { return nil, nil }, 0},
		{"no timeout", func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) { return nil, nil }, domain.NoTimeout},
		{"context", func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
			return nil, ctx.Err()
		}, 0},
		{"child context", func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			return nil, ctx.Err()
		}, 0},
		{"deep stack", func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
			return deep(64), nil
		}, 0},
	} {
		b.Run(bm.name, func(b *testing.B) {
			d := define(b, domain.StepTemplate{Name: "one", Handler: "h"}, domain.StepTemplate{Name: "two", Handler: "h", DependsOn: []string{"one"}, Timeout: bm.timeout})
			c := newBench(b, Config{Report: func(int, domain.TaskID, domain.Command) {}}, d)
			c.register("h", bm.handler)
			free := make(chan struct{}, 1)
			c.exec.OnFree(func() {
				select {
				case free <- struct{}{}:
				default:
				}
			})
			c.request("one")
			c.commit(domain.StepCompleted{Step: "one", Attempt: 1, Result: domain.Inline([]byte(`{"n":1}`))})
			ev := c.fold(domain.StepExecutionRequested{Step: "two", Attempt: 1}, "")
			id := ev.Task.ID
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				for !c.exec.Take(d, 1) {
					<-free
				}
				id[0], id[1], id[2], id[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
				ev.Task.ID, ev.Record.Task = id, id
				c.exec.Notify(subscribers.Committed{Record: ev.Record, Task: ev.Task})
			}
			c.drain()
		})
	}
}

func deep(n int) int {
	var room [128]byte
	if n == 0 {
		return int(room[0])
	}
	room[n] = byte(n)
	return deep(n-1) + int(room[n])
}
