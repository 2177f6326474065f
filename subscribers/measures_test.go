package subscribers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/projections"
)

func TestAnEventSaysWhatItFoundAlthoughItsTaskIsAhead(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "a", "b"), 1)
	w.store()
	started := w.now
	w.advance(time.Second)
	w.complete(id, 0, 1)
	second := w.now
	w.advance(time.Second)
	w.forget()
	w.fail(id, 1, 1, domain.KindWorkerLost) // is tried again at once, in the same commit
	w.do("cancel", id, domain.CancelTask{})
	w.store()
	want := map[domain.EventType]domain.Moment{
		domain.StepCompletedType: {Round: 1, State: domain.InProgress, Step: 0, Attempt: 1, Began: started},
		domain.StepFailedType:    {Round: 1, State: domain.InProgress, Step: 1, Attempt: 1, Began: second},
		domain.StepCancelledType: {Round: 1, State: domain.Cancelled, Step: 1, Attempt: 2, Began: w.now},
		domain.TaskCancelledType: {Round: 1, State: domain.InProgress},
	}
	for i, r := range w.told {
		if m, ok := want[r.Event.Type()]; ok && w.before[i] != m {
			t.Errorf("%s found %+v, want %+v", r.Event.Type(), w.before[i], m)
		}
		delete(want, r.Event.Type())
	}
	if len(want) > 0 {
		t.Fatalf("%v did not come", want)
	}
}

func TestTimersAndTasksAreCountedAsTheyAre(t *testing.T) {
	d := chain(t, func(d *domain.Definition) {
		d.Steps[0].RetryLimit = 3
		d.Steps[0].Backoff = domain.Backoff{Strategy: domain.StrategyFixed, Base: time.Second, Jitter: domain.NoJitter}
	}, "a", "b")
	for seed := range uint64(20) {
		w, chance := newWorld(t), rand.New(rand.NewPCG(seed, 7))
		for n := range 300 {
			id := taskID(chance.IntN(n/8 + 1))
			step, attempt := chance.IntN(2), 1+chance.IntN(4)
			switch chance.IntN(12) {
			case 0, 1, 2:
				w.submit(d, n/8)
			case 3, 4:
				w.complete(id, step, attempt)
			case 5, 6:
				w.fail(id, step, attempt, domain.KindError)
			case 7:
				w.do("verb", id, []domain.Command{domain.CancelTask{}, domain.PauseTask{}, domain.ResumeTask{}, domain.RetryTask{}}[chance.IntN(4)])
			case 8:
				w.advance(time.Duration(chance.IntN(1500)) * time.Millisecond)
			case 9, 10:
				w.store()
			case 11:
				w.m.Withdraw(errors.New("gone"), errors.New("gone"))
				w.takeOver()
				w.store()
			}
			w.checkNumbers(fmt.Sprintf("seed %d, after %d inputs", seed, n+1))
		}
	}
}

// checkNumbers compares what is counted on the way with what is there.
func (w *world) checkNumbers(when string) {
	w.t.Helper()
	timers, state := 0, w.m.State()
	var want projections.Counts
	for e := range state.Tasks() {
		if e.Armed != 0 {
			timers++
		}
		switch e.Task.State {
		case domain.Pending:
			want.Pending++
		case domain.InProgress:
			want.InProgress++
		case domain.Error:
			want.Failed++
		case domain.Complete, domain.Cancelled, domain.ResolvedManually:
		}
	}
	want.Failed += state.FailedCount()
	if got := state.Counts(); got != want || w.m.Timers() != timers {
		w.t.Fatalf("%s: %+v and %d timers are counted, there are %+v and %d", when, got, w.m.Timers(), want, timers)
	}
}

type meter struct {
	mu             sync.Mutex
	commits        int
	events, bytes  int
	took, gathered time.Duration
}

func (m *meter) Stored(events, bytes int, took, gathered time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits++
	m.events += events
	m.bytes += bytes
	m.took += took
	m.gathered += gathered
}

func TestCommitsAreMeasured(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store, m := newStore(), &meter{}
		w := startOwner(t, store, "a", func(c *Config, _ *owner) { c.Meter = m })
		w.own()
		store.Faults(0).Next(memlog.Fate{Delay: 300 * time.Millisecond})
		w.must(w.submit(chain(t, nil, "a"), 1))
		time.Sleep(time.Second)
		s := w.c.Stats()
		m.mu.Lock()
		defer m.mu.Unlock()
		if int64(m.commits) != s.Commits || int64(m.events) != s.Events || int64(m.bytes) != s.Bytes || m.commits < 2 {
			t.Errorf("%+v, and the coordinator sent %+v", m, s)
		}
		if m.took != s.AckWait || m.took < 300*time.Millisecond || m.gathered < m.took {
			t.Errorf("appends took %s (%s), one of them 300 ms, and their commits %s", m.took, s.AckWait, m.gathered)
		}
		if s.Pending+s.InProgress+s.Failed+s.Timers+s.Queued != 0 {
			t.Errorf("nothing is left, and these are counted: %+v", s)
		}
	})
}

func TestARefusalSaysWhy(t *testing.T) {
	for want, err := range map[Refusal]error{
		QueueFull: overload(QueueFull), TooManyLive: fmt.Errorf("no: %w", overload(TooManyLive)), StoreFull: ErrStoreFull,
		TooManyKeys: fmt.Errorf("no: %w", ErrTooManyKeys),
	} {
		if got, ok := RefusalOf(err); !ok || got != want {
			t.Errorf("%v is because of %q", err, got)
		}
	}
	if !errors.Is(overload(TooManyReady), ErrOverloaded) || overload(TooManyReady).Error() != ErrOverloaded.Error() {
		t.Error("an overload is ErrOverloaded, in words, too")
	}
	for _, err := range []error{nil, ErrNotOwner, errors.New("overloaded")} {
		if why, ok := RefusalOf(err); ok {
			t.Errorf("%v counts as %s", err, why)
		}
	}
}
