package acceptance

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// fork forks a task; the caller's own retry is the same fork.
func (w *world) fork(of tasker.TaskID, o tasker.ForkOptions) tasker.TaskID {
	w.t.Helper()
	if o.Key == "" {
		o.ID = tasker.TaskID(uuid.Must(uuid.NewV7()))
	}
	r, err := again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) (tasker.Receipt, error) { return e.Fork(ctx, of, o) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.notes.Lock()
	w.tasks = append(w.tasks, r.ID)
	w.notes.Unlock()
	return r.ID
}

// street is what the handlers of letters look at.
type street struct {
	Street string `json:"street"`
}

// letters are written, and posted to an address that has to be right.
func letters(w *world) *tasker.Workflow {
	step := func(f func(ctx context.Context, in street) (any, error)) tasker.StepHandler {
		return tasker.StepHandlerFunc(func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
			w.called(task, s)
			in, err := tasker.InputOf[street](ctx)
			if err != nil {
				return nil, err
			}
			return f(ctx, in)
		})
	}
	return tasker.Define("letters").
		Step("write", step(func(context.Context, street) (any, error) { return strings.Repeat("dear ", 500), nil })).
		Step("stamp", step(func(context.Context, street) (any, error) { return 85, nil })).
		Step("post", step(func(_ context.Context, in street) (any, error) {
			if in.Street != "right" {
				return nil, tasker.Permanent(errPlanned)
			}
			return "posted", nil
		}), tasker.After("write", "stamp")).
		Step("note", step(func(ctx context.Context, _ street) (any, error) {
			text, err := tasker.ResultOf[string](ctx, "write")
			if err != nil {
				return nil, err
			}
			stamp, err := tasker.ResultOf[int](ctx, "stamp")
			return len(text) + stamp, err
		}), tasker.After("post")).MustBuild()
}

// began is the position of the first start of a step.
func (w *world) began(id tasker.TaskID, step string) tasker.Position {
	w.t.Helper()
	for _, r := range w.raw(id) {
		if e, ok := r.Event.(domain.StepExecutionRequested); ok && e.Step == step {
			return r.Position
		}
	}
	w.t.Fatalf("step %s never began: %v", step, w.trace(id))
	return tasker.Position{}
}

func TestForkFromBeforeTheFailedStepWithOtherInputCompletes(t *testing.T) {
	both(t, func(w *world) {
		w.add(letters(w))
		id := w.submit("letters", street{"wrong"})
		w.fail(id)
		fork := w.fork(id, tasker.ForkOptions{At: w.began(id, "post"), Context: street{"right"}, By: ann("the street was wrong")})
		equal(w, "result", string(w.complete(fork).Value), `{"note":2585}`)
		equal(w, "what ran", [...]int{len(w.of(fork, "write")), len(w.of(fork, "stamp")), len(w.of(fork, "post")), len(w.of(fork, "note"))}, [...]int{0, 0, 1, 1})
		equal(w, "trace", w.trace(fork)[:4], []string{"task.created", "step.inherited write", "step.inherited stamp", "task.start_requested"})
		equal(w, "the other task", w.stands(id).State, domain.Error)

		again := w.fork(fork, tasker.ForkOptions{Rerun: []string{"stamp"}, By: ann("a dearer stamp")}) // and a fork of it
		w.complete(again)
		equal(w, "what ran again", [...]int{len(w.of(again, "write")), len(w.of(again, "stamp")), len(w.of(again, "post"))}, [...]int{0, 1, 1})
		equal(w, "forked from", w.stands(again).ForkedFrom.Task, fork)
	})
}

func TestForkWhileTheTaskRuns(t *testing.T) {
	both(t, func(w *world) {
		hold := newFlag()
		w.add(tasker.Define("held").
			Step("one", tasker.StepHandlerFunc(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
				w.called(task, s)
				return 1, nil
			})).
			Step("two", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
				select {
				case <-hold.up:
					return 2, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}), tasker.After("one")).MustBuild())
		id := w.submit("held", nil)
		w.until(id, "the start of two", func(all []tasker.Event) bool {
			e, ok := all[len(all)-1].Event.(domain.StepExecutionRequested)
			return ok && e.Step == "two"
		})
		fork := w.fork(id, tasker.ForkOptions{Key: "twin"})
		equal(w, "again", w.fork(id, tasker.ForkOptions{Key: "twin"}), fork)
		w.tasks = w.tasks[:2]
		hold.raise()
		w.complete(id)
		w.complete(fork)
		equal(w, "calls of one", len(w.of(id, "one"))+len(w.of(fork, "one")), 1)
	})
}

func TestTaskAsItWasIsTheFoldOfItsEvents(t *testing.T) {
	both(t, func(w *world) {
		w.add(letters(w))
		id := w.submit("letters", street{"wrong"})
		w.fail(id)
		if _, err := w.ResolveStep(id, "post", "by hand", ann("a neighbour took it")); err != nil {
			w.t.Fatal(err)
		}
		w.complete(id)
		fork := w.fork(id, tasker.ForkOptions{Rerun: []string{"note"}})
		w.complete(fork)
		def, err := w.Definition(context.Background(), "", "letters", "")
		if err != nil {
			w.t.Fatal(err)
		}
		for _, id := range []tasker.TaskID{id, fork} {
			records := w.raw(id)
			for n, r := range records {
				was, err := again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) (*tasker.Task, error) {
					return e.TaskAt(ctx, id, r.Position)
				})
				if err != nil {
					w.t.Fatal(err)
				}
				fold, err := projections.LoadTask(records[:n+1], func(string) (*tasker.Definition, bool) { return def, true })
				if err != nil {
					w.t.Fatal(err)
				}
				if was.State != fold.State || was.Execution != fold.ExecutionContext() {
					w.t.Errorf("after %s %s: %+v", r.ID(), r.Event.Type(), was)
				}
			}
			last, err := again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) (*tasker.Task, error) {
				return e.TaskAt(ctx, id, records[len(records)-1].Position)
			})
			if err != nil {
				w.t.Fatal(err)
			}
			equal(w, "the last", text(w.t, last), text(w.t, w.stands(id)))
		}
	})
}

func TestForkOfATaskThatNobodyKnowsIsRefused(t *testing.T) {
	both(t, func(w *world) {
		w.add(letters(w))
		_, err := again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) (tasker.Receipt, error) {
			return e.Fork(ctx, tasker.TaskID{6: 0x70, 8: 0x80, 9: 1}, tasker.ForkOptions{Key: "k"})
		})
		equal(w, "not found", errors.Is(err, tasker.ErrTaskNotFound), true)
		id, _ := w.runs("letters", street{"right"})
		_, err = again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) (tasker.Receipt, error) {
			return e.Fork(ctx, id, tasker.ForkOptions{})
		})
		var refused *domain.RefusedError
		equal(w, "nothing to run", errors.As(err, &refused), true)
	})
}
