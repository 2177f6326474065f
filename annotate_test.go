package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

// noting is an annotation hook that takes its time.
type noting struct {
	mu    sync.Mutex
	calls int
	takes time.Duration
	fails int // so many times
	notes []tasker.Annotation
}

func (n *noting) UpdateAnnotations(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ []tasker.StepView) ([]tasker.Annotation, error) {
	n.mu.Lock()
	n.calls++
	takes, fail := n.takes, n.calls <= n.fails
	n.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if fail {
		return nil, errors.New("no ink")
	}
	return n.notes, nil
}

func (n *noting) called() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

func pens(t *testing.T, n *noting) *tasker.Workflow {
	t.Helper()
	n.notes = []tasker.Annotation{{Kind: "first", Value: json.RawMessage(`{"a":1}`)}, {Kind: "second", Step: "a"}}
	return tasker.Define("noted").Step("a", taskertest.Returns("done")).TaskHandler(n).MustBuild()
}

func TestNotesAreStoredOnceAlthoughTheProcessDiesBeforeTheyAre(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		n := &noting{takes: 30 * time.Second}
		e.MustRegister(pens(t, n))
		id := e.MustSubmit("noted", nil)
		e.MustWait(id)
		e.Settle()
		e.Crash() // the hook runs
		e.Advance(time.Minute)
		if got := e.Annotations(id); len(got) != 2 || got[0].Kind != "first" || got[0].Round != 1 || got[1].Step != "a" {
			t.Errorf("after the crash: %+v", got)
		}
		if got := n.called(); got != 2 {
			t.Errorf("the hook was called %d times, want 2", got)
		}
		e.Crash() // the notes are stored
		e.Restart()
		e.Advance(time.Minute)
		if got := len(e.Annotations(id)); got != 2 || n.called() != 2 {
			t.Errorf("%d notes after %d calls", got, n.called())
		}
	})
}

func TestAFailedRunIsAnnotatedOnceForEachRound(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		n := &noting{}
		w := pens(t, n)
		e.MustRegister(w)
		e.Stub(w, "a", taskertest.FailTimes(1, tasker.Permanent(errors.New("no")), "done"))
		s := e.When("noted", nil).ThenFail("a")
		e.Settle()
		s.ThenAnnotated("first", "second a")
		e.Crash()
		if _, err := e.Retry(t.Context(), s.ID(), tasker.By{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		e.MustWait(s.ID())
		e.Settle()
		e.Crash()
		e.Settle()
		var rounds []int
		for _, note := range e.Annotations(s.ID()) {
			rounds = append(rounds, note.Round)
		}
		if fmt.Sprint(rounds) != "[1 1 2 2]" || n.called() != 2 {
			t.Errorf("rounds %v after %d calls", rounds, n.called())
		}
	})
}

func TestASnapshotDoesNotHideARunWithoutItsNotes(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		n := &noting{takes: 50 * time.Second}
		e.MustRegister(pens(t, n), tasker.Define("other").Step("a", taskertest.Returns("done")).MustBuild())
		var noted []tasker.TaskID
		for range 4 { // both partitions have one
			id := e.MustSubmit("noted", nil)
			e.MustWait(id)
			noted = append(noted, id)
		}
		for range 50 { // every turn begins a snapshot, if there is none
			e.MustWait(e.MustSubmit("other", nil))
		}
		e.Crash()
		e.Advance(time.Minute)
		for _, id := range noted {
			if got := len(e.Annotations(id)); got != 2 {
				t.Errorf("%d notes", got)
			}
		}
		for range 50 {
			e.MustWait(e.MustSubmit("other", nil))
		}
		e.Settle()
		for p := range e.Store.Data().Partitions {
			if infos, err := e.Store.Snapshots().List(t.Context(), p); err != nil || len(infos) == 0 {
				t.Errorf("partition %d has no snapshot, although nothing is owed any more: %v", p, err)
			}
		}
	}, func(c *tasker.Config) { c.SnapshotBytes = 1 })
}

func TestAFailingHookIsAskedAgainByTheNextProcess(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		n := &noting{fails: 1}
		e.MustRegister(pens(t, n))
		id := e.MustSubmit("noted", nil)
		e.MustWait(id)
		e.Settle()
		if e.MustTask(id).State != domain.Complete || len(e.Annotations(id)) != 0 {
			t.Error("the failure of a hook changes nothing")
		}
		e.Restart()
		e.Settle()
		if got := len(e.Annotations(id)); got != 2 {
			t.Errorf("%d notes", got)
		}
	})
}
