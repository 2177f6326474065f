package crashtest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// Draining waits for running steps; the rest is recorded as interrupted and runs again in the next process, with its
// executions not used up (SEMANTICS 3).
func TestDrainWaitsAndInterruptsTheRest(t *testing.T) {
	t.Parallel()
	srv := single(t)
	var starts, interrupted atomic.Int64
	began := make(chan struct{}, 100)
	h := step(func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
		starts.Add(1)
		if s.Attempt > 1 {
			return "again", nil
		}
		began <- struct{}{}
		if strings.Contains(string(task.Context), "long") {
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), executor.ErrStopping) {
				interrupted.Add(1)
			}
			return nil, context.Cause(ctx)
		}
		time.Sleep(300 * time.Millisecond) // a handler that takes its time
		return "done", nil
	})
	// retry_limit 1: an interrupted execution that counted would fail the task.
	config := tasker.Config{Connect: srv.Connect, Drain: 800 * time.Millisecond}
	w := one("single", h, tasker.Retries(1))
	e := run(t, config, w)
	short := submitAll(t, e.Engine, "single", 10, 10, nil)
	long := submitAll(t, e.Engine, "single", 10, 10, map[string]bool{"long": true})
	for range 20 {
		<-began
	}
	stopping := time.Now()
	e.stop()
	extra := int64(0) // taken before the engine had heard
	eventually(t, "submissions to be refused", func() bool {
		_, err := e.Submit(context.Background(), "single", nil)
		if err == nil {
			extra++
		}
		return errors.Is(err, tasker.ErrNotRunning)
	})
	e.end(t)
	if took := time.Since(stopping); took < 300*time.Millisecond || took > patience/3 {
		t.Errorf("draining took %s", took)
	}
	if n := interrupted.Load(); n != 10 {
		t.Errorf("%d handlers were interrupted, not the 10 long ones", n)
	}
	store := openStore(t, srv.Connect)
	failures := func(kind domain.ErrorKind) int {
		return count(t, store, func(r domain.Record) bool {
			f, ok := r.Event.(domain.StepFailed)
			return ok && f.Error.Kind == kind && f.RetryAt != 0
		})
	}
	if n := failures(domain.KindInterrupted); n != 10 {
		t.Errorf("%d executions are recorded as interrupted, want 10", n)
	}
	l := read(t, store)
	for _, id := range short {
		if state := l.tasks[id].state; state != domain.Complete {
			t.Errorf("a short task is %s after the drain", state)
		}
	}
	if e2 := run(t, config, w); !t.Failed() {
		waitAll(t, e2.Engine, long)
		e2.end(t)
	}
	if n := failures(domain.KindWorkerLost); n != 0 {
		t.Errorf("%d executions were lost, although the drain had time to record them", n)
	}
	if n := starts.Load(); n != 30+extra {
		t.Errorf("handlers ran %d times, want %d", n, 30+extra)
	}
	l = read(t, store)
	l.ended()
	l.report(t)
}
