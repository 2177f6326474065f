package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

func TestAPositionThatIsNotTheTasksIsRefused(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id, other := p.failed(), p.failed()
		for p.Records(other)[0].Position.Partition != p.Records(id)[0].Position.Partition {
			other = p.failed()
		}
		mine := p.Records(id)
		within := mine[0].Position // the definition is adopted in the same commit, before the task
		within.Index--
		elsewhere := mine[0].Position
		elsewhere.Partition = 1 - elsewhere.Partition
		for what, x := range map[string]struct {
			at   tasker.Position
			says string
		}{
			"another task's": {p.Records(other)[0].Position, "is about it"},
			"beside its own": {within, "in that commit it has event"},
			"later":          {tasker.Position{Partition: mine[0].Position.Partition, Sequence: 1 << 40}, "are stored"},
			"elsewhere":      {elsewhere, "its events are in partition"},
		} {
			_, forked := p.by.Fork(p.t.Context(), id, tasker.ForkOptions{At: x.at})
			_, shown := p.by.TaskAt(p.t.Context(), id, x.at)
			for _, err := range []error{forked, shown} {
				wrong := (*tasker.PositionError)(nil)
				if !errors.As(err, &wrong) || wrong.Task != id || wrong.Position != x.at || !strings.Contains(wrong.Reason, x.says) {
					p.t.Errorf("%s, %s: %v", what, x.at, err)
				}
			}
		}
	})
}

func TestAForkThatNobodyCouldRunIsRefused(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.failed()
		nobody := tasker.TaskID{6: 0x70, 8: 0x80, 15: 9}
		long := strings.Repeat("x", 17<<10)
		for what, x := range map[string]struct {
			of   tasker.TaskID
			o    tasker.ForkOptions
			want any
			says string
		}{
			"an unknown task":  {nobody, tasker.ForkOptions{}, tasker.ErrTaskNotFound, nobody.String()},
			"a wrong context":  {id, tasker.ForkOptions{Context: map[string]int{"address": 1}}, new(*tasker.ViolationsError), "address"},
			"no object":        {id, tasker.ForkOptions{Context: 7}, new(*tasker.ViolationsError), "object"},
			"no JSON":          {id, tasker.ForkOptions{Context: json.RawMessage("{")}, new(*tasker.InvalidSubmissionError), "the context"},
			"an id and a key":  {id, tasker.ForkOptions{ID: nobody, Key: "k"}, new(*tasker.InvalidSubmissionError), "not both"},
			"its own id":       {id, tasker.ForkOptions{ID: id}, new(*tasker.InvalidSubmissionError), "is not that of the task"},
			"a long reason":    {id, tasker.ForkOptions{By: tasker.By{Reason: long}}, new(*tasker.InvalidSubmissionError), "at most"},
			"long tags":        {id, tasker.ForkOptions{Tags: []string{long}}, new(*tasker.InvalidSubmissionError), "at most"},
			"an odd actor":     {id, tasker.ForkOptions{By: tasker.By{Actor: "a\nb"}}, new(*tasker.InvalidVerbError), "control characters"},
			"many steps again": {id, tasker.ForkOptions{Rerun: []string{strings.Repeat("x", 257<<10)}}, new(*tasker.InvalidSubmissionError), "at most"},
		} {
			r, err := p.by.Fork(p.t.Context(), x.of, x.o)
			var is bool
			if sentinel, ok := x.want.(error); ok {
				is = errors.Is(err, sentinel)
			} else {
				is = errors.As(err, x.want)
			}
			if !is || !strings.Contains(err.Error(), x.says) || r.Created {
				p.t.Errorf("%s: %+v, %v", what, r, err)
			}
		}
		if all, err := p.Tasks(p.t.Context(), tasker.Filter{}); err != nil || len(all) != 1 {
			p.t.Errorf("%d tasks, %v", len(all), err)
		}
	})
}

// wide is a definition of so many steps beside each other, with results of so many bytes, and a last one that waits for a word.
func wide(n, size int, go_ *atomic.Bool) *tasker.Workflow {
	b := tasker.Define("wide")
	names := make([]string, n)
	for i := range n {
		names[i] = fmt.Sprintf("n%04d", i)
		b = b.Step(names[i], taskertest.Returns(strings.Repeat("r", size)))
	}
	return b.Step("last", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, all tasker.Sequence, _ tasker.StepView) (any, error) {
		if !go_.Load() {
			return nil, tasker.Permanent(errors.New("not yet"))
		}
		steps, err := all.Steps(ctx)
		sum := 0
		for _, s := range steps {
			sum += len(s.Result)
		}
		return sum, err
	}), tasker.After(names...)).MustBuild()
}

func TestAForkIsOneMessageOrIsRefused(t *testing.T) {
	for _, x := range []struct {
		n, size int
		fits    bool
	}{
		{2000, 40, true},  // 200 kB
		{700, 1000, true}, // the results in references, because 700 kB are too much
		{3600, 100, false},
	} {
		t.Run(fmt.Sprintf("%d steps, %d bytes", x.n, x.size), func(t *testing.T) {
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				var now atomic.Bool
				e.MustRegister(wide(x.n, x.size, &now), tasker.Define("small").Step("a", taskertest.Returns(1)).MustBuild())
				id := e.MustSubmit("wide", nil)
				e.MustFail(id)
				now.Store(true)
				r, err := e.Fork(t.Context(), id, tasker.ForkOptions{Key: "k"})
				large := (*domain.ForkTooLargeError)(nil)
				if !x.fits {
					if !errors.As(err, &large) || large.Steps != x.n || large.Bytes <= large.Most || !strings.Contains(err.Error(), "fork it at an earlier position") {
						t.Errorf("%+v, %v", r, err)
					}
					e.MustWait(e.MustSubmit("small", nil)) // the partition goes on
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf(`{"last":%d}`, x.n*(x.size+2)); string(e.MustWait(r.ID).Value) != want {
					t.Errorf("want %s", want)
				}
				first, inherited := e.Records(r.ID)[0].Position.Sequence, 0
				for _, rec := range e.Records(r.ID) {
					if _, ok := rec.Event.(domain.StepInherited); ok {
						inherited++
						if rec.Position.Sequence != first {
							t.Fatalf("%s is not in message %d", rec.ID(), first)
						}
					}
				}
				if inherited != x.n {
					t.Errorf("%d steps were taken over", inherited)
				}
			})
		})
	}
}

func TestAForkLivesOnWhenTheHistoryOfTheTaskIsPruned(t *testing.T) {
	parcels(t, func(p *parcelPost) {
		id := p.failed()
		at := p.at(id, "step.execution_requested ship 1")
		gone := p.MustSubmit("parcel", rightAddress)
		p.MustWait(gone)
		was := p.at(gone, "step.completed pay 1")
		waiting := p.fork(id, tasker.ForkOptions{At: at, Key: "k"}) // fails and waits for a fork itself
		p.MustFail(waiting.ID)
		if _, err := p.Cancel(p.t.Context(), id, ann); err != nil {
			p.t.Fatal(err)
		}
		for range 3 { // the older of two snapshots is the limit
			p.MustWait(p.MustSubmit("parcel", rightAddress))
			p.Advance(time.Minute)
			if _, err := p.Prune(p.t.Context(), 0, false); err != nil {
				p.t.Fatal(err)
			}
		}
		if r, err := p.by.Fork(p.t.Context(), id, tasker.ForkOptions{At: at, Key: "k"}); err != nil || r.Created || r.ID != waiting.ID {
			p.t.Errorf("a repetition after that: %+v, %v", r, err)
		}
		if _, err := p.by.TaskAt(p.t.Context(), gone, was); err == nil || !strings.Contains(err.Error(), "are stored") {
			p.t.Errorf("a task that was pruned, as it was: %v", err)
		}
		// The failed fork is in the snapshot: it has lost history only, and its results are its own.
		p.Restart()
		p.by = p.Engine.Engine
		if _, err := p.by.Fork(p.t.Context(), id, tasker.ForkOptions{Context: rightAddress}); !errors.Is(err, tasker.ErrTaskNotFound) {
			p.t.Errorf("a fork of a task that was pruned: %v", err)
		}
		r := p.fork(waiting.ID, tasker.ForkOptions{Context: rightAddress})
		if got := string(p.MustWait(r.ID).Value); got != `{"tell":"3002 150002"}` {
			p.t.Errorf("result %s", got)
		}
	})
}
