package subscribers

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

// ear is a tap that remembers what it is told, message by message.
type ear struct {
	w     *world
	wants []domain.EventType // beside the facts; nil = nobody listens
	told  [][]domain.Record
}

func (e *ear) Open() bool                    { return e.wants != nil }
func (e *ear) Wants(t domain.EventType) bool { return slices.Contains(e.wants, t) }

func (e *ear) Tell(records []domain.Record) {
	for _, r := range records {
		if r.Position.Sequence > e.w.m.stored {
			e.w.t.Errorf("%s %s was told before it was stored", r.ID(), r.Event.Type())
		}
	}
	e.told = append(e.told, slices.Clone(records))
}

// signals are those that follow from no message.
func (e *ear) signals() []string {
	said := []string{}
	for _, records := range e.told {
		for _, r := range records {
			if s, ok := r.Event.(domain.Signal); ok {
				said = append(said, fmt.Sprintf("%s %s +%s at %d", s.Name, s.Reason, r.At.Sub(begin), r.Position.Sequence))
			}
		}
	}
	return said
}

// tapped is a world with a tap.
func tapped(t *testing.T, wants ...domain.EventType) (*world, *ear) {
	t.Helper()
	w := &world{t: t, now: begin, slots: 1 << 30}
	e := &ear{w: w, wants: append([]domain.EventType{}, wants...)}
	w.tap = e
	w.takeOver()
	w.store()
	return w, e
}

func TestATapIsToldWhatTheLogHoldsMessageByMessage(t *testing.T) {
	for name, play := range map[string]func(w *world){
		"one task": func(w *world) {
			id := w.submit(chain(w.t, nil, "a", "b"), 1)
			w.store()
			w.complete(id, 0, 1)
			w.store()
		},
		"while a message is under way": func(w *world) {
			w.submit(chain(w.t, nil, "a"), 1)
			w.send()
			w.submit(chain(w.t, nil, "a"), 2)
			w.submit(chain(w.t, nil, "a"), 3)
		},
		"one input that makes several messages": func(w *world) {
			w.m.limit = 1000
			w.submit(fan(w.t, 100), 1)
		},
		"behind a foreign message": func(w *world) {
			id := w.submit(chain(w.t, nil, "a"), 1)
			w.store()
			w.complete(id, 0, 1)
			w.send()
			w.foreign()
		},
		"a note about a task that has ended": func(w *world) {
			id := w.submit(chain(w.t, nil, "a"), 1)
			w.store()
			w.complete(id, 0, 1)
			w.store()
			w.do("note", id, domain.AnnotateTask{Kind: "n", Value: []byte("1")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, tap := tapped(t)
			play(w)
			w.store()
			var want [][]string
			for _, c := range w.log {
				if c.ID != "" {
					want = append(want, linesOf(domain.WithSignals(c.Records)))
				}
			}
			var got [][]string
			for _, records := range tap.told {
				got = append(got, linesOf(domain.WithSignals(records)))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// linesOf is everything that a reader sees of the records, with their signals in full.
func linesOf(records []domain.Record) []string {
	var lines []string
	for _, r := range records {
		lines = append(lines, fmt.Sprintf("%s %s %s %s %d %s %s", r.ID(), r.At, r.Task, r.Actor(), r.Prev, r.Event.Type(), domain.EventData(r.Event)))
	}
	return lines
}

func TestATapIsToldNothingThatThisProcessDoesNotActOn(t *testing.T) {
	w, tap := tapped(t)
	n := len(tap.told)
	w.submit(chain(t, nil, "a"), 1)
	w.send()
	w.m.Answered() // stored, but another writer's message follows
	tap.wants = nil
	w.submit(chain(t, nil, "a"), 2)
	if len(tap.told) != n {
		t.Errorf("told %v", tap.told[n:])
	}
	w, tap = tapped(t)
	tap.wants = nil // nobody listens
	n = len(tap.told)
	w.submit(chain(t, nil, "a"), 1)
	w.store()
	if len(tap.told) != n {
		t.Errorf("told %v, and nobody listens", tap.told[n:])
	}
}

func TestAnUnclearTaskIsTold(t *testing.T) {
	w, tap := tapped(t, domain.SignalStateUnclear)
	d := chain(t, func(d *domain.Definition) { d.Steps[0].RetryLimit = 1 }, "a")
	id := w.submit(d, 1)
	w.store()
	// No law leads here: the only execution is used up, and the step is to be tried again.
	w.log = append(w.log, domain.Commit{ID: "by-hand", At: w.now, Sequence: uint64(len(w.log) + 1), Records: []domain.Record{
		{Task: id, At: w.now, Event: domain.StepFailed{Step: "a", Attempt: 1, RetryAt: w.now}, Position: domain.Position{Sequence: 3}},
		{Task: id, At: w.now, Event: domain.StepRetryRequested{Step: "a"}, Position: domain.Position{Sequence: 3, Index: 1}},
	}})
	w.takeOver()
	w.store()
	if got, want := tap.signals(), []string{"workflow.task_state_unclear  +0s at 3"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	for _, records := range tap.told {
		for _, r := range records {
			if s, ok := r.Event.(domain.Signal); ok && (r.Task != id || s.Context == nil || s.Context.Status != domain.StatusUnclear) {
				t.Errorf("told %+v", r)
			}
		}
	}
}

func TestAWakeUpThatComesToNothingIsTold(t *testing.T) {
	failing := func(w *world) domain.TaskID { // waits for 1 s
		id := w.submit(chain(w.t, func(d *domain.Definition) { d.Steps[0].Backoff.Jitter = domain.NoJitter }, "a"), 1)
		w.store()
		w.fail(id, 0, 1, domain.KindError)
		w.store()
		return id
	}
	soon := 500 * time.Millisecond
	for name, c := range map[string]struct {
		play func(w *world, id domain.TaskID)
		want []string
	}{
		"it waits":  {func(*world, domain.TaskID) {}, nil},
		"paused":    {func(w *world, id domain.TaskID) { w.do("pause", id, domain.PauseTask{}) }, []string{"paused +1s at 4"}},
		"cancelled": {func(w *world, id domain.TaskID) { w.do("cancel", id, domain.CancelTask{}) }, []string{"ended +1s at 4"}},
		"failed":    {func(w *world, id domain.TaskID) { w.do("cancel", id, domain.CancelStep{Step: "a"}) }, []string{"ended +1s at 4"}},
		"running":   {func(w *world, id domain.TaskID) { w.do("retry", id, domain.RetryStep{Step: "a"}) }, []string{"running +1s at 4"}},
		"complete": {func(w *world, id domain.TaskID) {
			w.do("retry", id, domain.RetryStep{Step: "a"})
			w.store()
			w.complete(id, 0, 2)
		}, []string{"ended +1s at 5"}},
		"paused and resumed": {func(w *world, id domain.TaskID) {
			w.do("pause", id, domain.PauseTask{})
			w.store()
			w.do("resume", id, domain.ResumeTask{})
		}, nil},
		"paused, resumed and paused": {func(w *world, id domain.TaskID) {
			for _, cmd := range []domain.Command{domain.PauseTask{}, domain.ResumeTask{}, domain.PauseTask{}} {
				w.do("verb", id, cmd)
				w.store()
			}
		}, []string{"paused +1s at 6"}},
		"another wait has replaced it": {func(w *world, id domain.TaskID) {
			w.do("retry", id, domain.RetryStep{Step: "a"})
			w.store()
			w.fail(id, 0, 2, domain.KindError) // a first failure again: waits 1 s from here on
		}, nil},
		"after the next owner has loaded it": {func(w *world, id domain.TaskID) {
			w.takeOver()
			w.store()
			w.do("pause", id, domain.PauseTask{})
		}, []string{"paused +1s at 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, late := range []bool{false, true} {
				w, tap := tapped(t, domain.SignalReenqueueFailed)
				if late {
					tap.wants = []domain.EventType{}
				}
				id := failing(w)
				if late { // the tap is opened while the task waits
					tap.wants = append(tap.wants, domain.SignalReenqueueFailed)
					w.m.Watch(w.now)
				}
				w.advance(soon)
				c.play(w, id)
				w.store()
				for range 40 {
					if wake := w.m.NextWake(); wake == 0 || wake > w.now.Add(100*time.Millisecond) {
						w.now = w.now.Add(100 * time.Millisecond)
						continue
					}
					w.advance(100 * time.Millisecond)
					w.store()
				}
				var want []string
				for _, line := range c.want {
					want = append(want, "workflow.task_reenqueue_failed "+line)
				}
				if diff := cmp.Diff(want, tap.signals(), cmp.Transformer("", func(s []string) string { return fmt.Sprint(len(s), s) })); diff != "" {
					t.Errorf("opened late %t: (-want +got)\n%s", late, diff)
				}
			}
		})
	}
}

func TestNobodyWatchesForWakeUpsWhileNobodyWantsToKnow(t *testing.T) {
	w, tap := tapped(t)
	id := w.submit(chain(t, nil, "a"), 1)
	w.store()
	w.fail(id, 0, 1, domain.KindError)
	w.store()
	if w.m.Watch(w.now); w.m.watch != nil {
		t.Error("it watches")
	}
	tap.wants = append(tap.wants, domain.SignalReenqueueFailed)
	w.m.Watch(w.now)
	w.do("cancel", id, domain.CancelTask{})
	w.store()
	if w.m.NextWake() == 0 {
		t.Error("it does not wake to say so")
	}
	tap.wants = nil
	w.advance(time.Hour)
	if w.m.watch != nil || w.m.NextWake() != 0 || len(tap.signals()) > 0 {
		t.Errorf("it goes on watching: %v, %q", w.m.NextWake(), tap.signals())
	}
}
