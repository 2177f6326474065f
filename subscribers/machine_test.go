package subscribers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestNothingIsReleasedBeforeItsMessageIsStored(t *testing.T) {
	w := newWorld(t)
	w.forget()
	d := chain(t, nil, "a", "b")
	id := w.submit(d, 1)
	w.m.Await(id, func(o Outcome, err error) { w.say("%s %v", o.State, err) })
	w.heardNothing()
	w.send()
	w.submit(d, 2) // while the first is under way
	w.heardNothing()
	w.keep()
	w.m.Stored()
	w.expect("submit 1: created=true changed=false at=2 err=<nil>")
	if n := count(w.told, domain.StepExecutionRequestedType); n != 1 {
		t.Fatalf("%d executions were requested, the second task is not stored", n)
	}
	w.store()
	w.expect("submit 2: created=true changed=false at=3 err=<nil>")
	w.complete(id, 0, 1)
	w.store()
	w.complete(id, 1, 1)
	w.heard = nil
	w.send()
	if len(w.heard) > 0 {
		t.Fatal("the end was told before it was stored")
	}
	w.keep()
	w.m.Stored()
	w.expect("complete <nil>")
}

func TestAnAnswerThatAppendsNothingLeavesWithWhatItRestsOn(t *testing.T) {
	for name, ask := range map[string]func(*world, domain.TaskID){
		"duplicate": func(w *world, _ domain.TaskID) { w.submit(chain(w.t, nil, "a"), 1) },
		"refusal":   func(w *world, id domain.TaskID) { w.do("resolve", id, domain.ResolveTask{}) },
		"no-op":     func(w *world, id domain.TaskID) { w.do("resume", id, domain.ResumeTask{}) },
		"query": func(w *world, id domain.TaskID) {
			w.m.Look(id, func(t *domain.Task, err error) { w.say("%s %v", t.State, err) })
		},
		"everything": func(w *world, _ domain.TaskID) { w.m.AfterNewest(func(err error) { w.say("%v", err) }) },
	} {
		for _, underway := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, under way %t", name, underway), func(t *testing.T) {
				w := newWorld(t)
				w.forget()
				d := chain(t, nil, "a")
				id := taskID(1)
				w.m.Submit(d, domain.CreateTask{ID: id, Context: domain.Inline(json.RawMessage("{}"))}, w.now, nil)
				if underway {
					w.send()
				}
				ask(w, id)
				w.heardNothing()
				w.store()
				if len(w.heard) != 1 {
					t.Fatalf("%d answers: %q", len(w.heard), w.heard)
				}
				w.forget()
				ask(w, id)
				if len(w.heard) != 1 {
					t.Fatalf("what rests on stored facts is answered at once: %q", w.heard)
				}
			})
		}
	}
}

func TestQueriesOfATaskWhoseEndIsNotStoredWait(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "a"), 1)
	w.store()
	w.complete(id, 0, 1)
	w.forget()
	for range 2 { // the second finds what the first left behind
		w.m.Look(id, func(t *domain.Task, err error) { w.say("%s %v", t.State, err) })
		w.m.Await(id, func(o Outcome, err error) { w.say("%s %v", o.State, err) })
		w.do("cancel", id, domain.CancelTask{})
	}
	w.heardNothing()
	w.store()
	if len(w.heard) != 6 {
		t.Fatalf("%q", w.heard)
	}
}

func TestAForeignMessageMovesEverythingThatIsNotStored(t *testing.T) {
	w := newWorld(t)
	w.forget()
	part := json.RawMessage(`"` + strings.Repeat("x", domain.InlineState-100) + `"`) // two of them are large
	large := json.RawMessage(`"` + strings.Repeat("x", 2*domain.InlineState) + `"`)
	d := fan(t, 2)
	one, two := w.submit(d, 1), w.submit(d, 2)
	w.store()
	w.forget()
	w.m.Await(one, func(o Outcome, _ error) {
		w.say("end at %d, result at %d", o.Position.Sequence, o.Result.Pos.Sequence)
	})
	w.m.Report(one, domain.CompleteStep{Step: 0, Attempt: 1, Result: domain.Inline(part)}, w.now)
	w.m.Report(one, domain.CompleteStep{Step: 1, Attempt: 1, Result: domain.Inline(part)}, w.now)
	w.m.Look(one, func(t *domain.Task, _ error) { w.say("task at %d, result at %d", t.Last, t.Result.Pos.Sequence) })
	w.m.Await(one, func(o Outcome, _ error) {
		w.say("ended at %d, result at %d", o.Position.Sequence, o.Result.Pos.Sequence)
	})
	w.send()
	w.m.Report(two, domain.CompleteStep{Step: 0, Attempt: 1, Result: domain.Inline(large)}, w.now)
	w.do("note", one, domain.AnnotateTask{Kind: "k", Value: []byte("1")})
	w.foreign()
	w.foreign()
	w.heardNothing()
	w.store()
	w.expect("end at 5, result at 5", "task at 5, result at 5", "ended at 5, result at 5", "note: created=false changed=true at=6 err=<nil>")
	if x := w.m.State().Live(two).Task; x.Steps[0].Result.Pos.Sequence != 6 {
		t.Fatalf("the result of the second task is at %d", x.Steps[0].Result.Pos.Sequence)
	}
	for _, id := range []domain.TaskID{one, two} {
		if h := w.history(id, 6); len(h) < 4 {
			t.Fatalf("%v", types(h))
		}
	}
	w.takeOver() // the moved messages can be loaded
	w.store()
}

func TestWhatWillNeverBeStoredIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		underway error
		want     string
	}{
		"nobody knows":           {ErrOutcomeUnknown, "outcome unknown"},
		"another's stands there": {ErrNotOwner, "does not own"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.forget()
			d := chain(t, nil, "a")
			id := w.submit(d, 1)
			w.m.Await(id, func(_ Outcome, err error) { w.say("await: %v", err) })
			w.send()
			w.submit(d, 2)
			w.m.Withdraw(ErrNotOwner, c.underway)
			if len(w.heard) != 3 || !strings.Contains(w.heard[0], c.want) || !strings.Contains(w.heard[1], ErrNotOwner.Error()) ||
				!strings.Contains(w.heard[2], ErrNotOwner.Error()) {
				t.Fatalf("%q", w.heard)
			}
			if n := count(w.withdrew, domain.StepExecutionRequestedType); n != 2 || len(w.told) != 0 {
				t.Fatalf("%d of 2 slots come back; told %v", n, types(w.told))
			}
		})
	}
}

func TestAnOwnerWhoseMessageIsFollowedByAnothersOnlyAnswers(t *testing.T) {
	w := newWorld(t)
	w.forget()
	w.submit(chain(t, nil, "a"), 1)
	w.send()
	w.m.Answered()
	w.expect("submit 1: created=true changed=false at=2 err=<nil>")
	if len(w.told) != 0 || count(w.withdrew, domain.StepExecutionRequestedType) != 1 {
		t.Fatalf("told %v, withdrew %v", types(w.told), types(w.withdrew))
	}
	w.m.Withdraw(ErrNotOwner, ErrOutcomeUnknown)
	w.expect()
}

func TestASplitBatchIsReleasedWithItsLastPart(t *testing.T) {
	w := newWorld(t)
	w.bytes = 1 << 10
	w.takeOver()
	w.store()
	id := w.submit(fan(t, 300), 1)
	w.store()
	w.forget()
	w.do("cancel", id, domain.CancelTask{})
	parts := 0
	for w.storeOne() {
		parts++
		if _, more := w.m.Inflight(); len(w.m.open.records) == 0 && w.m.inflight != nil || more {
			w.heardNothing()
		}
	}
	if parts < 5 || len(w.heard) != 1 || count(w.told, domain.StepCancelledType) != 300 {
		t.Fatalf("%d parts, %q, %d steps cancelled", parts, w.heard, count(w.told, domain.StepCancelledType))
	}
	h := w.history(id, uint64(len(w.log)))
	if count(h, domain.StepCancelledType) != 300 {
		t.Fatalf("the history has %d of 300", count(h, domain.StepCancelledType))
	}
}

func TestWhateverPartOfACancelIsStoredTheNextOwnerEndsIt(t *testing.T) {
	for cut := 1; cut < 8; cut++ {
		w := newWorld(t)
		w.bytes = 1 << 10
		w.takeOver()
		w.store()
		id := w.submit(fan(t, 100), 1)
		w.store()
		w.do("cancel", id, domain.CancelTask{})
		for range cut {
			w.storeOne()
		}
		w.m = nil
		w.forget()
		w.takeOver()
		w.store()
		h := w.history(id, w.lastOf(id))
		if n := count(h, domain.StepCancelledType); n != 100 {
			t.Fatalf("cut after part %d: %d of 100 steps are cancelled", cut, n)
		}
		if w.m.State().LiveCount() != 0 {
			t.Fatalf("cut after part %d: the task stays in memory", cut)
		}
	}
}

func (w *world) lastOf(id domain.TaskID) uint64 {
	ended, ok := w.m.State().Ended.Get(id)
	if !ok {
		w.t.Fatalf("task %s has not ended", id)
	}
	return ended.Last
}

func TestAReportCountsOnce(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "a"), 1)
	w.store()
	w.complete(id, 0, 1)
	w.complete(id, 0, 1) // doubled
	w.complete(id, 0, 2) // of an execution that never was
	w.complete(taskID(9), 0, 1)
	w.complete(id, 99, 1)
	w.complete(id, -1, 1)
	w.store()
	if w.m.Stale() != 5 || count(w.told, domain.StepCompletedType) != 1 {
		t.Fatalf("%d stale, %d completions", w.m.Stale(), count(w.told, domain.StepCompletedType))
	}
}

func TestTimersAreArmedWhenWhatTheyRestOnIsStored(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "a"), 1)
	w.store()
	w.fail(id, 0, 1, domain.KindError)
	if w.m.NextWake() != 0 {
		t.Fatal("armed before it was stored")
	}
	w.send()
	if w.m.NextWake() != 0 {
		t.Fatal("armed while it was under way")
	}
	w.keep()
	w.m.Stored()
	wake := w.m.NextWake()
	if wake == 0 || len(w.m.alerts) != 1 {
		t.Fatalf("next wake %d, %d alarms", wake, len(w.m.alerts))
	}
	w.forget()
	w.advance(time.Minute)
	w.store()
	if count(w.told, domain.StepExecutionRequestedType) != 1 {
		t.Fatalf("%v", types(w.told))
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	w := newWorld(t)
	d := chain(t, nil, "a")
	w.submit(d, 1)
	w.now = w.m.Now(w.now.Add(time.Second))
	w.submit(d, 2)
	w.now = w.m.Now(begin.Add(-time.Hour))
	w.submit(d, 3)
	w.store()
	w.now = w.m.Now(begin)
	w.submit(d, 4)
	w.store()
	var last domain.Instant
	for _, c := range w.log {
		for _, r := range c.Records {
			if r.At < last {
				t.Fatalf("%s of %s comes after %s", r.ID(), r.At, last)
			}
			last = r.At
		}
	}
}

func TestTheNextOwnerStartsWhatTheLastOneRan(t *testing.T) {
	w := newWorld(t)
	d := chain(t, nil, "a")
	for n := range 3 {
		w.submit(d, n)
	}
	w.store()
	w.forget()
	w.m = nil
	w.takeOver()
	w.heardNothing()
	w.store()
	if count(w.told, domain.StepFailedType) != 3 || count(w.told, domain.StepExecutionRequestedType) != 3 {
		t.Fatalf("%v", types(w.told))
	}
}

func TestKeyedSubmissionsAreRefusedWhenTooManyKeysAreRemembered(t *testing.T) {
	w := newWorld(t)
	w.maxKeys = 1
	w.takeOver()
	w.store()
	d := chain(t, nil, "a")
	submit := func(key string, input uint32) error {
		var answer error
		id := domain.KeyedTaskID("default", "chain", key)
		w.m.Submit(d, domain.CreateTask{ID: id, InputHash: input, Context: domain.Inline(json.RawMessage("{}"))}, w.now, func(a Answer) { answer = a.Err })
		w.store()
		w.complete(id, 0, 1)
		w.store()
		return answer
	}
	if err := submit("a", 1); err != nil {
		t.Fatal(err)
	}
	if err := submit("b", 1); !errors.Is(err, ErrTooManyKeys) {
		t.Fatal(err)
	}
	if err := submit("a", 1); err != nil {
		t.Fatal(err)
	}
	if err := submit("a", 2); !errors.Is(err, ErrIdempotencyMismatch) {
		t.Fatal(err)
	}
}
