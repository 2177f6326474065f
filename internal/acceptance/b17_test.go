package acceptance

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// firstRounds fails for good in the first n rounds.
func firstRounds(n int) tasker.StepHandlerFunc {
	return func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Round <= n {
			return nil, tasker.Permanent(errPlanned)
		}
		return "in the end", nil
	}
}

func TestB17FailedTaskIsRetriedByAnOperator(t *testing.T) {
	both(t, func(w *world) {
		w.add(linear.workflow(w, handlers{"process_data": firstRounds(1)}))
		id := w.submit(linear.name, nil)
		w.fail(id)
		if _, err := w.Retry(id, ann("the disk is back")); err != nil {
			w.t.Fatal(err)
		}
		w.complete(id)
		h, err := w.History(context.Background(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		var rounds []int
		for _, x := range h.Executions {
			if x.Step == "process_data" && (x.Error == nil || x.Error.Kind != domain.KindWorkerLost) {
				rounds = append(rounds, x.Round)
			}
		}
		equal(w, "rounds", rounds, []int{1, 2})
		asked := 0
		for _, r := range w.records(id) {
			if e, ok := r.Event.(domain.TaskRetryRequested); ok {
				asked++
				equal(w, "who and why", []string{string(r.Actor()), e.Reason}, []string{"operator:ann", "the disk is back"})
			}
		}
		equal(w, "retries", asked, 1)
	})
}

func TestB18FailedStepIsResolvedWithAResult(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("sum").
			Step("ask", fails(tasker.Permanent(errPlanned))).
			Step("add", tasker.Handle(func(ctx context.Context, _ struct{}) (int, error) {
				n, err := tasker.ResultOf[int](ctx, "ask")
				return n + 1, err
			}), tasker.After("ask")).MustBuild())
		id := w.submit("sum", map[string]any{})
		w.fail(id)
		if _, err := w.ResolveStep(id, "ask", 41, ann("by hand")); err != nil {
			w.t.Fatal(err)
		}
		result := w.complete(id)
		equal(w, "result", string(result.Value), `{"add":42}`)
		records := w.records(id)
		for i, r := range records {
			if r.Event.Type() == domain.StepResolvedManuallyType {
				equal(w, "next", records[i+1].Event.Type(), domain.TaskRetryRequestedType)
				equal(w, "commits", commits(records[i:i+2]), 1)
			}
		}
	})
}

func TestB18ResolvingTheLastStepCompletesInThatCommit(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("last").Step("ask", fails(tasker.Permanent(errPlanned))).MustBuild())
		id := w.submit("last", nil)
		w.fail(id)
		n := len(w.records(id))
		if _, err := w.ResolveStep(id, "ask", "by hand", ann("by hand")); err != nil {
			w.t.Fatal(err)
		}
		w.complete(id)
		end := w.records(id)[n:]
		equal(w, "events", lines(end), []string{"step.resolved_manually ask", "task.retry_requested", "task.start_requested", "task.completed"})
		equal(w, "commits", commits(end), 1)
	})
}

func TestB19SkippableStepIsBypassed(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("trip").
			Step("insure", w.noting(gives("insured")), tasker.Skippable()).
			Step("go", tasker.Handle(func(ctx context.Context, _ struct{}) (bool, error) {
				_, err := tasker.ResultOf[string](ctx, "insure")
				return errors.Is(err, tasker.ErrNoResult), nil
			}), tasker.After("insure")).MustBuild())
		id, result := w.runs("trip", map[string]any{}, tasker.Bypass("insure"))
		equal(w, "result", string(result.Value), `{"go":true}`)
		equal(w, "calls", len(w.of(id, "insure")), 0)
		equal(w, "skipped", w.step(id, "insure").Skipped, true)
		for _, step := range []string{"go", "nowhere"} {
			_, err := w.Submit(context.Background(), "trip", map[string]any{}, tasker.Bypass(step))
			var refused *domain.BypassError
			if !errors.As(err, &refused) || refused.Step != step {
				w.t.Errorf("a bypass of %s gave %v", step, err)
			}
		}
	})
}

func TestB21CycleIsRefusedAndNamed(t *testing.T) {
	_, err := tasker.Define("round").
		Step("A", gives(nil), tasker.After("C")).Step("B", gives(nil), tasker.After("A")).Step("C", gives(nil), tasker.After("B")).Build()
	if err == nil || !strings.Contains(err.Error(), "A") || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("the cycle gave %v", err)
	}
	both(t, func(w *world) {
		w.add(tasker.Define("paths").
			Step("A", gives(nil)).Step("B", gives(nil), tasker.After("A")).Step("C", gives(nil), tasker.After("A", "B")).MustBuild())
		w.runs("paths", nil)
	})
}

func TestB22SameKeyIsOneTask(t *testing.T) {
	both(t, func(w *world) {
		w.add(dummy.workflow(w, nil))
		input := map[string]bool{"dummy": true}
		var created atomic.Int64
		var ids sync.Map
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				r, err := w.Submit(context.Background(), dummy.name, input, tasker.Key("order-7"))
				if err != nil {
					w.t.Error(err)
				}
				if r.Created {
					created.Add(1)
				}
				ids.Store(r.ID, true)
			})
		}
		all.Wait()
		if n := created.Load(); n > 1 || n == 0 && w.calm() { // the crash may come before anybody is told
			w.t.Errorf("%d submissions created the task", n)
		}
		id := domain.KeyedTaskID("default", dummy.name, "order-7")
		w.tasks = append(w.tasks, id)
		n := 0
		ids.Range(func(k, _ any) bool { n++; equal(w, "id", k.(tasker.TaskID), id); return true })
		equal(w, "ids", n, 1)
		w.complete(id)
		before := w.trace(id)
		again := func(when string) {
			r, err := w.Submit(context.Background(), dummy.name, input, tasker.Key("order-7"))
			if err != nil || r.Created || r.ID != id {
				w.t.Errorf("%s: %+v, %v", when, r, err)
			}
		}
		again("after its end")
		w.restart()
		again("after a restart")
		equal(w, "events", w.trace(id), before)
		r, err := w.Submit(context.Background(), dummy.name, map[string]bool{"dummy": false}, tasker.Key("order-7"))
		if !errors.Is(err, tasker.ErrIdempotencyMismatch) || r.ID != id {
			w.t.Errorf("another input gave %+v, %v", r, err)
		}
	})
}

func TestB23NamespacesDoNotMix(t *testing.T) {
	both(t, func(w *world) {
		for _, ns := range []string{"north", "south"} {
			b := tasker.Define("greet").Namespace(ns).Step("say-"+ns, gives(ns))
			if ns == "south" {
				b.Step("wave", gives("waved"), tasker.After("say-south"))
			}
			w.add(b.MustBuild())
		}
		north := w.submit("greet", nil, tasker.InNamespace("north"), tasker.Key("k"))
		south := w.submit("greet", nil, tasker.InNamespace("south"), tasker.Key("k"))
		if north == south {
			w.t.Error("one key in two namespaces is one task")
		}
		equal(w, "north", string(w.complete(north).Value), `{"say-north":"north"}`)
		equal(w, "south", string(w.complete(south).Value), `{"wave":"waved"}`)
		equal(w, "steps", []int{len(w.task(north).Steps), len(w.task(south).Steps)}, []int{1, 2})
	})
}

func squares() handlers {
	square := func(previous string) tasker.StepHandlerFunc {
		h := tasker.Handle(func(ctx context.Context, in struct{ N int }) (int, error) {
			n := in.N
			if previous != "" {
				var err error
				if n, err = tasker.ResultOf[int](ctx, previous); err != nil {
					return 0, err
				}
			}
			if n%2 != 0 {
				return 0, tasker.Permanent(errors.New("odd"))
			}
			return n * n, nil
		})
		return h.Handle
	}
	return handlers{"s1": square(""), "s2": square("s1"), "s3": square("s2"), "s4": square("s3")}
}

func TestB24MathematicalSequenceSquares(t *testing.T) {
	both(t, func(w *world) {
		w.add(mathematical.workflow(w, squares()))
		id, result := w.runs(mathematical.name, map[string]int{"n": 6})
		var results []string
		for _, s := range w.task(id).Steps {
			results = append(results, string(s.Result))
		}
		equal(w, "results", results, []string{"36", "1296", "1679616", "2821109907456"})
		equal(w, "result", string(result.Value), `{"s4":2821109907456}`)
		odd := w.submit(mathematical.name, map[string]int{"n": 7})
		equal(w, "odd", w.fail(odd).Errors, map[string]string{"s1": "odd"})
		equal(w, "executions", len(w.of(odd, "")), 1)
	})
}

func TestB27TaskEndsOnTheDefinitionThatItStartedWith(t *testing.T) {
	both(t, func(w *world) {
		began, release := make(chan struct{}, 2), make(chan struct{})
		w.handle("first", tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
			began <- struct{}{}
			<-release
			return nil, nil
		}))
		w.handle("next", gives("next"))
		old := tasker.Define("plan").StepNamed("one", "first").StepNamed("two", "next", tasker.After("one")).MustBuild()
		w.add(old)
		id := w.submit("plan", nil)
		receive(w, began, "the first step")
		changed := tasker.Define("plan").StepNamed("three", "next").MustBuild()
		if err := w.Register(changed); !errors.Is(err, tasker.ErrDefinitionExists) {
			w.t.Errorf("another content under the same version gave %v", err)
		}
		if err := w.Apply(context.Background(), changed.Definition, true); err != nil {
			w.t.Fatal(err)
		}
		w.mu.Lock()
		w.register = w.register[:2] // engines that are started from here on have the new definition from the store
		w.mu.Unlock()
		close(release)
		equal(w, "old", string(w.complete(id).Value), `{"two":"next"}`)
		_, result := w.runs("plan", nil)
		equal(w, "new", string(result.Value), `{"three":"next"}`)
	})
}
