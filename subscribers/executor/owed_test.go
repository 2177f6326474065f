package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// kept keeps the calls of its hook until gate is closed.
type kept struct {
	mu    sync.Mutex
	calls []string
	gate  chan struct{}
	err   error
}

func (k *kept) UpdateAnnotations(ctx context.Context, task domain.TaskView, _ domain.Sequence, completed []domain.StepView) ([]domain.Annotation, error) {
	k.mu.Lock()
	k.calls = append(k.calls, fmt.Sprintf("%s, %d completed", task.Name, len(completed)))
	k.mu.Unlock()
	if k.gate != nil {
		select {
		case <-k.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []domain.Annotation{{Kind: "note", Value: json.RawMessage("1")}}, k.err
}

func annotated(t *testing.T, k *kept) *bench {
	b := newBench(t, Config{}, define(t, one()))
	if err := b.exec.RegisterSet(Set{Of: TaskName{Name: "work"}, Annotator: k}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRunsWithoutTheirNotesAreMadeUpForWhenThePartitionOpens(t *testing.T) {
	k := &kept{}
	b := annotated(t, k)
	saw, opened := b.exec.Recover(3)
	saw(b.fold(domain.StepExecutionRequested{Step: "one", Attempt: 1, Until: 1}, ""))
	saw(b.fold(domain.StepFailed{Step: "one", Attempt: 1}, ""))
	saw(b.fold(domain.TaskFailed{}, "")) // round 1, annotated
	saw(b.fold(domain.TaskAnnotated{Kind: "note", Round: 1}, domain.ByHandler))
	saw(b.fold(domain.TaskRetryRequested{}, ""))
	saw(b.fold(domain.StepRetryRequested{Step: "one", NewRound: true}, ""))
	saw(b.fold(domain.StepExecutionRequested{Step: "one", Attempt: 2, Until: 1}, ""))
	saw(b.fold(domain.StepCompleted{Step: "one", Attempt: 2}, ""))
	saw(b.fold(domain.TaskStartRequested{}, ""))
	saw(b.fold(domain.TaskCompleted{}, "")) // round 2, not annotated
	saw(b.fold(domain.TaskAnnotated{Kind: "note"}, "operator:ann"))
	if len(k.calls) != 0 {
		t.Fatal("a hook was called before the partition was open")
	}
	opened()
	b.drain()
	if got := fmt.Sprint(k.calls); got != "[work, 1 completed]" || b.round != 2 || len(b.notes) != 1 {
		t.Errorf("calls %s, round %d, notes %+v", got, b.round, b.notes)
	}
}

func TestNothingIsRecoveredWithoutAHook(t *testing.T) {
	b := newBench(t, Config{}, define(t, one()))
	if saw, _ := b.exec.Recover(3); saw != nil {
		t.Error("somebody looks at every event")
	}
	if err := b.exec.RegisterSet(Set{Of: TaskName{Name: "other"}, Annotator: &kept{}}); err != nil {
		t.Fatal(err)
	}
	saw, opened := b.exec.Recover(3)
	saw(b.fold(domain.TaskCancelled{}, ""))
	saw(subscribers.Committed{Record: domain.Record{Event: domain.TaskAnnotated{Round: 1}, By: domain.ByHandler, Task: b.task.ID}})
	opened()
	b.drain()
	if st := b.exec.Stats(); st.Annotated+st.Unannotated != 0 {
		t.Errorf("%+v", st)
	}
}

func TestOnlySoManyRunsAreRecovered(t *testing.T) {
	k := &kept{}
	b := annotated(t, k)
	saw, opened := b.exec.Recover(3)
	ended := b.fold(domain.TaskCancelled{}, "")
	for n := range 3 * MaxUnannotated {
		next := ended
		task := *b.task
		task.ID = domain.TaskID{0: byte(n >> 16), 1: byte(n >> 8), 2: byte(n), 6: 0x70}
		next.Task, next.Record.Task = &task, task.ID
		saw(next)
	}
	opened()
	b.drain()
	if st := b.exec.Stats(); st.Annotated != MaxUnannotated || st.Unannotated != 2*MaxUnannotated {
		t.Errorf("%d annotated, %d not", st.Annotated, st.Unannotated)
	}
}

func TestASnapshotWaitsForTheHooksOfTheRunsThatItHides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{gate: make(chan struct{})}
		b := annotated(t, k)
		b.commit(domain.TaskCancelled{})
		began := time.Now()
		if !b.exec.Settle(t.Context(), 3, b.seq-1) || !b.exec.Settle(t.Context(), 2, b.seq) || time.Since(began) != 0 {
			t.Error("a snapshot of something else has waited")
		}
		time.AfterFunc(5*time.Second, func() { close(k.gate) })
		if !b.exec.Settle(t.Context(), 3, b.seq) || time.Since(began) != 5*time.Second || len(b.notes) != 1 {
			t.Errorf("it waited for %s, and there are %d notes", time.Since(began), len(b.notes))
		}
		b.drain()
	})
}

func TestASnapshotDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{gate: make(chan struct{})}
		b := annotated(t, k)
		for range 3 * MaxAnnotators { // three minutes' worth
			b.exec.Notify(b.fold(domain.TaskCancelled{}, ""))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b.exec.Settle(ctx, 3, b.seq) {
			t.Error("nobody wants it any more, and it is to be written")
		}
		began := time.Now()
		if !b.exec.Settle(t.Context(), 3, b.seq) || time.Since(began) != AnnotateLimit {
			t.Errorf("it waited for %s", time.Since(began))
		}
		close(k.gate)
		b.drain()
	})
}

func TestNotesOfALostPartitionAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{gate: make(chan struct{})}
		b := annotated(t, k)
		for range MaxAnnotators + 1 {
			b.exec.Notify(b.fold(domain.TaskCancelled{}, ""))
		}
		synctest.Wait()
		b.exec.CancelPartition(2)
		if b.exec.pending.Load() != MaxAnnotators+1 {
			t.Error("another partition was lost, and its hooks ended")
		}
		b.exec.CancelPartition(3)
		synctest.Wait()
		if st := b.exec.Stats(); len(k.calls) != MaxAnnotators || len(b.notes) != 0 || st.Annotated+st.Unannotated != 0 || b.exec.pending.Load() != 0 {
			t.Errorf("%d calls, %d notes, %+v", len(k.calls), len(b.notes), st)
		}
		if !b.exec.Settle(t.Context(), 3, b.seq) {
			t.Error("what another owner sees to holds this one's snapshots up")
		}
		close(k.gate)
		b.commit(domain.TaskCancelled{}) // the partition is back
		b.drain()
		if len(b.notes) != 1 {
			t.Errorf("%d notes", len(b.notes))
		}
	})
}

func TestNotesThatTheOwnerCannotStoreAnyMoreAreLeftToTheNextOne(t *testing.T) {
	b := annotated(t, &kept{})
	b.exec.cfg.Annotate = func(n Notes) { n.Stored(fmt.Errorf("stopping: %w", subscribers.ErrNotOwner)) }
	b.commit(domain.TaskCancelled{})
	b.drain()
	if st := b.exec.Stats(); st.Annotated+st.Unannotated != 0 {
		t.Errorf("%+v", st)
	}
	if b.exec.Settle(t.Context(), 3, b.seq) || !b.exec.Settle(t.Context(), 3, b.seq-1) {
		t.Error("a last snapshot would hide the run")
	}
	b.exec.CancelPartition(3)
	if !b.exec.Settle(t.Context(), 3, b.seq) {
		t.Error("what the last ownership left holds up the snapshots of the next one")
	}
}

func TestNotesThatCannotBeStoredAreCountedAsMissing(t *testing.T) {
	b := annotated(t, &kept{})
	b.exec.cfg.Annotate = func(n Notes) { n.Stored(errors.New("no room")) }
	b.commit(domain.TaskCancelled{})
	b.drain()
	if st := b.exec.Stats(); st.Annotated != 0 || st.Unannotated != 1 {
		t.Errorf("%+v", st)
	}
}
