package crashtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
)

// tornStore stores what it is told to, and from then on nothing: a process that dies between two parts of a commit.
type tornStore struct {
	*natslog.Store
	left atomic.Int64 // appends that are stored; negative = all
	lost atomic.Int64
}

type tornLog struct {
	domain.Log
	store *tornStore
}

func (s *tornStore) Log(p int) domain.Log { return tornLog{s.Store.Log(p), s} }

func (l tornLog) Append(last uint64, id string, data []byte, answered func(uint64, error)) {
	if l.store.left.Load() >= 0 && l.store.left.Add(-1) < 0 {
		l.store.left.Store(0)
		l.store.lost.Add(1)
		return
	}
	l.Log.Append(last, id, data, answered)
}

// wide is a task of so many steps without dependencies, with names long enough that a cancel is several messages.
func wide(name string, n int) *tasker.Workflow {
	b := tasker.Define(name)
	for i := range n {
		b.StepNamed(fmt.Sprintf("step-%05d-%024d", i, i), "work")
	}
	return b.MustBuild()
}

// DESIGN 6, splitting: a cancel of 10,000 steps is more than one message, and the process dies after the first. The
// answer did not leave, and after the restart no ended task has a running step.
func TestKilledBetweenThePartsOfACommit(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	srv := single(t)
	store := &tornStore{Store: openStore(t, srv.Connect)}
	store.left.Store(-1)
	release := make(chan struct{})
	defer close(release)
	var starts atomic.Int64
	w := wide("wide", 10_000)
	e := run(t, tasker.Config{Store: store, Slots: 500, Drain: -1, LeaseTTL: 2 * time.Second}, w)
	if err := e.Handler("work", held(release, &starts)); err != nil {
		t.Fatal(err)
	}
	r, err := e.Submit(testContext(t, 30*time.Second), "wide", nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "500 steps to run", func() bool { return starts.Load() == 500 })

	store.left.Store(1)
	// Its caller gives up when the last part is lost, however long a slow machine takes to come there.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for store.lost.Load() == 0 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	if _, err = e.Cancel(ctx, r.ID, tasker.By{Reason: "enough"}); !errors.Is(err, tasker.ErrOutcomeUnknown) {
		t.Errorf("before the last part was stored, Cancel returned %v", err)
	}
	if store.lost.Load() == 0 {
		t.Fatal("a cancel of 10,000 steps was one message")
	}
	go e.stop() // it cannot store its last commits, and gives up
	after := run(t, tasker.Config{Connect: srv.Connect, Name: "next", Slots: 500}, wide("wide", 10_000))
	eventually(t, "the next owner", func() bool { return owns(after) == 2 })
	v, err := after.Task(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	running, states := 0, map[domain.State]int{}
	for _, s := range v.Steps {
		states[s.State]++
		if s.State == domain.InProgress {
			running++
		}
	}
	t.Logf("the task is %s, its steps are %v", v.State, states)
	if v.State.Ended() && running > 0 {
		t.Errorf("the task is %s and %d steps are in progress", v.State, running)
	}
	// Saying it again ends it, if it has not ended.
	if _, err := after.Cancel(t.Context(), r.ID, tasker.By{Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	if v, err = after.Task(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	for _, s := range v.Steps {
		if s.State != domain.Cancelled {
			t.Fatalf("step %s is %s after the cancel", s.Name, s.State)
		}
	}
	<-e.done
	after.end(t)
	l := read(t, store)
	for id, a := range l.tasks {
		for name, s := range a.steps {
			if a.state.Ended() && s.state == domain.InProgress {
				t.Errorf("in the log, task %s is %s and step %s in progress", id, a.state, name)
			}
		}
	}
	l.report(t)
}
