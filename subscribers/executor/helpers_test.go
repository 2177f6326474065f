package executor

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

type handlerFunc func(ctx context.Context, task domain.TaskView, sequence domain.Sequence, step domain.StepView) (any, error)

func (f handlerFunc) Handle(ctx context.Context, task domain.TaskView, sequence domain.Sequence, step domain.StepView) (any, error) {
	return f(ctx, task, sequence, step)
}

// report is what an executor reported.
type report struct {
	partition int
	task      domain.TaskID
	cmd       domain.Command
	after     time.Duration
}

// bench is a coordinator by hand: it folds events into one task and notifies the executor.
type bench struct {
	tb   testing.TB
	exec *Executor
	task *domain.Task
	seq  uint64

	mu      sync.Mutex
	began   time.Time
	reports []report
	notes   []domain.Annotation
	round   int
}

func define(tb testing.TB, steps ...domain.StepTemplate) *domain.Definition {
	tb.Helper()
	d := &domain.Definition{Name: "work", Steps: steps}
	if err := d.Validate(); err != nil {
		tb.Fatal(err)
	}
	return d
}

func newBench(tb testing.TB, c Config, d *domain.Definition) *bench {
	b := &bench{tb: tb, began: time.Now()}
	if c.Report == nil {
		c.Report = func(partition int, task domain.TaskID, cmd domain.Command) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reports = append(b.reports, report{partition, task, cmd, time.Since(b.began)})
		}
	}
	c.Annotate = func(n Notes) {
		if n.Void() {
			n.Stored(subscribers.ErrNotOwner)
			return
		}
		b.mu.Lock()
		b.notes, b.round = append(b.notes, n.Notes...), n.Round
		b.mu.Unlock()
		n.Stored(nil)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	b.exec = New(c)
	created, err := domain.DecideCreate(d, domain.CreateTask{Context: domain.Inline(json.RawMessage(`{"n":6}`))}, now())
	if err != nil {
		tb.Fatal(err)
	}
	b.seq = 1
	b.task = domain.NewTask(domain.Record{
		Event: created, At: now(), Task: domain.TaskID{6: 0x70, 15: 1}, Position: domain.Position{Partition: 3, Sequence: 1},
	}, d)
	return b
}

func now() domain.Instant { return domain.InstantOf(time.Now()) }

func (b *bench) register(name string, f handlerFunc) {
	b.tb.Helper()
	if err := b.exec.Register(name, f); err != nil {
		b.tb.Fatal(err)
	}
}

// fold makes an event a fact and tells nobody.
func (b *bench) fold(ev domain.Event, by domain.Actor) subscribers.Committed {
	b.seq++
	r := domain.Record{
		Event: ev, At: now(), By: by, Task: b.task.ID, Position: domain.Position{Partition: 3, Sequence: b.seq},
	}
	domain.Evolve(b.task, r)
	return subscribers.Committed{Record: r, Task: b.task}
}

// commit makes an event a fact and tells the executor.
func (b *bench) commit(ev domain.Event) { b.exec.Notify(b.fold(ev, "")) }

// request takes a slot for the step and requests its next execution.
func (b *bench) request(step string) bool {
	i := b.task.Definition.Graph().Index(step)
	if !b.exec.Take(b.task.Definition, i) {
		return false
	}
	b.commit(domain.StepExecutionRequested{Step: step, Attempt: int(b.task.Steps[i].Attempt) + 1})
	return true
}

func (b *bench) reported() []report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]report(nil), b.reports...)
}

// only is the one report that there is.
func (b *bench) only() report {
	b.tb.Helper()
	got := b.reported()
	if len(got) != 1 {
		b.tb.Fatalf("got %d reports, want 1: %+v", len(got), got)
	}
	return got[0]
}

func (b *bench) failure() domain.FailStep {
	b.tb.Helper()
	cmd, ok := b.only().cmd.(domain.FailStep)
	if !ok {
		b.tb.Fatalf("got %+v, want a FailStep", b.only().cmd)
	}
	return cmd
}

func (b *bench) result() string {
	b.tb.Helper()
	cmd, ok := b.only().cmd.(domain.CompleteStep)
	if !ok {
		b.tb.Fatalf("got %+v, want a CompleteStep", b.only().cmd)
	}
	return string(cmd.Result.JSON)
}

// drain waits for what runs and checks that every slot came back.
func (b *bench) drain() {
	b.tb.Helper()
	b.exec.Drain(context.Background())
	if st := b.exec.Stats(); st.Free != st.Slots || b.exec.pending.Load() != 0 {
		b.tb.Errorf("%d of %d slots are free, %d pending", st.Free, st.Slots, b.exec.pending.Load())
	}
}
