package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/taskertest"
)

// jumble is a workflow in which everything may happen, as the dice fall.
func jumble(r *rand.Rand) *tasker.Workflow {
	var mu sync.Mutex // handlers run one after the other, and beside the test
	roll := func(sides int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(sides)
	}
	dice := func(sides int) bool { return roll(sides) == 0 }
	step := tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
		s.Progress(s.Attempt, 9, "on the way")
		if dice(3) {
			if err := s.Checkpoint(ctx, s.Attempt); err != nil {
				return nil, err
			}
		}
		switch {
		case dice(4):
			return nil, errors.New("once more")
		case dice(6):
			return nil, tasker.Permanent(errors.New("never"))
		case dice(3):
			return strings.Repeat("r", 1+roll(3000)), nil
		}
		return s.Attempt, nil
	})
	return tasker.Define("jumble").Deadline(3*time.Hour).
		Step("a", step).Step("b", step, tasker.Skippable()).Step("c", step, tasker.After("a", "b"), tasker.Optional()).
		StepNamed("d", domain.SleepHandler, tasker.HandlerConfig(map[string]string{"duration": "10s"}), tasker.After("a")).
		Step("e", step, tasker.After("c", "d")).Step("f", step, tasker.After("d")).MustBuild()
}

// shown is a task as a caller gets it, without what depends on the process.
func shown(t *testing.T, task *tasker.Task) string {
	t.Helper()
	for i := range task.Steps {
		task.Steps[i].Held = ""
	}
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTaskAtIsWhatTaskAnsweredThen(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				w := jumble(rand.New(rand.NewPCG(seed, 8)))
				e.MustRegister(w)
				answered := map[tasker.Position]string{} // by the newest event
				var ids []tasker.TaskID
				look := func() {
					e.Settle()
					for _, id := range ids {
						records := e.Records(id)
						answered[records[len(records)-1].Position] = shown(t, e.MustTask(id))
					}
				}
				for range 3 {
					ids = append(ids, e.MustSubmit("jumble", map[string]string{"text": strings.Repeat("c", r.IntN(3000))}, tasker.Bypass("b"), tasker.Tagged("x")))
					look()
				}
				for range 25 {
					trouble(t, e, r, ids[r.IntN(len(ids))])
					if r.IntN(6) == 0 {
						got, err := e.Fork(t.Context(), ids[r.IntN(len(ids))], tasker.ForkOptions{Rerun: []string{"ef"[r.IntN(2):][:1]}})
						if err != nil {
							t.Fatal(err)
						}
						ids = append(ids, got.ID)
					}
					look()
					e.Advance(time.Duration(r.IntN(8000)) * time.Millisecond)
					look()
				}
				if r.IntN(3) == 0 {
					e.Restart()
				}
				for _, id := range ids {
					everyEvent(t, e, w, id, answered)
				}
			}, func(c *tasker.Config) { c.Slots = 1 })
		})
	}
}

// trouble is an operator's verb, which may be refused.
func trouble(t *testing.T, e *taskertest.Engine, r *rand.Rand, id tasker.TaskID) {
	t.Helper()
	ctx, step := t.Context(), "abcdef"[r.IntN(6):][:1]
	var err error
	switch r.IntN(12) {
	case 0:
		_, err = e.Pause(ctx, id, ann)
	case 1, 2:
		_, err = e.Resume(ctx, id, ann)
	case 3:
		_, err = e.CancelStep(ctx, id, step, ann)
	case 4:
		_, err = e.ResolveStep(ctx, id, step, strings.Repeat("o", r.IntN(2000)), ann)
	case 5, 6:
		_, err = e.RetryStep(ctx, id, step, tasker.StepRetry{RetryLimit: r.IntN(4)}, ann)
	case 7, 8:
		_, err = e.Retry(ctx, id, ann)
	case 9:
		_, err = e.Annotate(ctx, id, tasker.Annotation{Kind: "note", Value: json.RawMessage(`1`)}, "ann")
	case 10:
		if r.IntN(4) == 0 {
			_, err = e.Cancel(ctx, id, ann)
		}
	}
	var transition *domain.TransitionError
	var refused *domain.RefusedError
	if err != nil && !errors.As(err, &transition) && !errors.As(err, &refused) {
		t.Fatal(err)
	}
}

// everyEvent compares the task after every event with the fold of the events up to it, and with what was answered then.
func everyEvent(t *testing.T, e *taskertest.Engine, w *tasker.Workflow, id tasker.TaskID, answered map[tasker.Position]string) {
	t.Helper()
	records := e.Records(id)
	compared := 0
	for n, rec := range records {
		at, err := e.TaskAt(t.Context(), id, rec.Position)
		if err != nil {
			t.Fatal(err)
		}
		fold, err := projections.LoadTask(records[:n+1], func(string) (*tasker.Definition, bool) { return w.Definition, true })
		if err != nil {
			t.Fatal(err)
		}
		if at.State != fold.State || at.Paused != fold.Paused || at.Execution != fold.ExecutionContext() || at.Round != fold.Round ||
			at.Position.Sequence != rec.Position.Sequence {
			t.Fatalf("after %s %s: %+v, want %+v", rec.ID(), rec.Event.Type(), at, fold)
		}
		for i, s := range at.Steps {
			f := &fold.Steps[i]
			if s.State != f.State || s.Attempt != int(f.Attempt) || s.Round != int(f.Round) || s.Inherited != f.Inherited || s.Ready != fold.Ready(i) ||
				len(s.Result) != f.Result.Size || s.RetryLimit != fold.RetryLimit(i) || string(s.Checkpoint) != string(f.Cursor()) {
				t.Fatalf("step %s after %s %s: %+v, want %+v", s.Name, rec.ID(), rec.Event.Type(), s, f)
			}
		}
		if want, ok := answered[rec.Position]; ok {
			compared++
			if diff := cmp.Diff(want, shown(t, at)); diff != "" {
				t.Fatalf("after %s %s (-answered +task at)\n%s", rec.ID(), rec.Event.Type(), diff)
			}
		}
	}
	if compared == 0 {
		t.Errorf("nothing was compared with an answer about task %s", id)
	}
	now, err := e.TaskAt(t.Context(), id, tasker.Position{})
	if err != nil || shown(t, now) != shown(t, e.MustTask(id)) {
		t.Errorf("now: %+v, %v", now, err)
	}
}
