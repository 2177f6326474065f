package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// audience is a durable subscriber in a process of its own: it outlives the engines of the case.
type audience struct {
	w    *world
	name string
	stop func()

	mu    sync.Mutex
	heard []tasker.Event
	wake  chan struct{}
}

// attach starts a subscriber from the beginning of the log.
func (w *world) attach(name string, types ...tasker.EventType) *audience {
	w.t.Helper()
	a := &audience{w: w, name: name, wake: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := attached.Run(ctx, w.store, attached.Options{Name: name, Types: types, From: attached.FromBeginning}, a.hear)
		if err != nil {
			w.t.Errorf("subscriber %s: %v", name, err)
		}
	})
	a.stop = func() {
		cancel()
		running.Wait()
	}
	return a
}

func (a *audience) hear(_ context.Context, e tasker.Event) error {
	a.mu.Lock()
	a.heard = append(a.heard, e)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return nil
}

// said waits until so many events were heard, and says them: type, step, data. Twice the same event is an error.
func (a *audience) said(n int) []string {
	a.w.t.Helper()
	patience := time.NewTimer(a.w.patience())
	defer patience.Stop()
	for {
		a.mu.Lock()
		heard := slices.Clone(a.heard)
		a.mu.Unlock()
		if len(heard) >= n {
			return a.w.customs(heard)
		}
		select {
		case <-a.wake:
		case <-patience.C:
			a.w.t.Fatalf("%s heard %d events, want %d", a.name, len(heard), n)
		}
	}
}

// customs says the custom events among the events, as they stand in the log: none twice.
func (w *world) customs(events []tasker.Event) []string {
	w.t.Helper()
	said, seen := []string{}, map[string]bool{}
	for _, e := range events {
		c, ok := e.Event.(domain.Custom)
		if !ok {
			continue
		}
		if seen[e.ID()] {
			w.t.Errorf("%s %s came twice", e.ID(), c.Type())
		}
		seen[e.ID()] = true
		if e.Actor() != domain.ByHandler {
			w.t.Errorf("%s %s is by %s", e.ID(), c.Type(), e.Actor())
		}
		said = append(said, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Type(), c.Step, c.Data)))
	}
	return said
}

// shipping emits the events, each with the attempt without crashes, and ends as it is told to.
func (w *world) shipping(end func(attempt int) error, names ...string) tasker.StepHandlerFunc {
	return func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		attempt := w.attempt(task, step)
		for i, name := range names {
			if err := step.Emit(name, map[string]int{"attempt": attempt, "n": i}); err != nil {
				return nil, err
			}
		}
		return "shipped", end(attempt)
	}
}

func well(int) error { return nil }

func TestB30CustomEventIsStoredWithTheTaskAndDelivered(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("order").CustomEvent("order.noted", "somebody should know").
			Step("pack", w.shipping(well, "order.noted")).
			Step("ship", w.noting(w.shipping(well, "order.shipped", "order.noted")), tasker.After("pack"), tasker.Emits("order.shipped")).
			MustBuild())
		shipped, all := w.attach("warehouse", domain.CustomType("order.shipped")), w.attach("all", domain.CustomPrefix+"*")
		defer shipped.stop()
		defer all.stop()
		tapped := &audience{w: w, name: "tap", wake: make(chan struct{}, 1)}
		if w.calm() { // a tap is of one process, and ends with it
			tap, err := w.living().engine.Tap([]tasker.EventType{domain.CustomPrefix + "*"}, func(e tasker.Event) { _ = tapped.hear(context.Background(), e) })
			if err != nil {
				w.t.Fatal(err)
			}
			defer tap.Stop()
		}
		id, _ := w.runs("order", nil)
		want := []string{
			`custom.order.noted pack {"attempt":1,"n":0}`,
			`custom.order.shipped ship {"attempt":1,"n":0}`,
			`custom.order.noted ship {"attempt":1,"n":1}`,
		}
		equal(w, "heard by name", shipped.said(1), want[1:2])
		equal(w, "heard by all", all.said(3), want)
		if w.calm() {
			equal(w, "heard in the process", tapped.said(3), want)
		}
		records := w.records(id)
		equal(w, "stored", w.customs(records), want)
		for i, r := range records {
			if e, ok := r.Event.(domain.Custom); ok && e.Name == "order.shipped" {
				equal(w, "events of that report", lines(records[i:i+3]), []string{"custom.order.shipped ship 1", "custom.order.noted ship 1", "step.completed ship 1"})
				equal(w, "commits", commits(records[i:i+3]), 1)
			}
		}
		h, err := w.History(context.Background(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		var shown []string
		for _, e := range h.Events {
			if _, ok := domain.CustomName(e.Type); ok {
				shown = append(shown, fmt.Sprintf("%s %s %s", e.Type, e.Step, e.Data))
			}
		}
		equal(w, "history", shown, []string{
			`custom.order.noted pack {"data":{"attempt":1,"n":0}}`, `custom.order.shipped ship {"data":{"attempt":1,"n":0}}`,
			`custom.order.noted ship {"data":{"attempt":1,"n":1}}`,
		})
	})
}

func TestB30CustomEventsOfAFailedExecutionAreStoredToo(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("order").
			Step("ship", w.shipping(func(attempt int) error {
				if attempt == 1 {
					return errPlanned
				}
				return tasker.Permanent(errPlanned)
			}, "order.tried"), tasker.Emits("order.tried")).MustBuild())
		tried := w.attach("tries", domain.CustomType("order.tried"))
		defer tried.stop()
		id := w.submit("order", nil)
		w.fail(id)
		want := []string{`custom.order.tried ship {"attempt":1,"n":0}`, `custom.order.tried ship {"attempt":2,"n":0}`}
		equal(w, "heard", tried.said(2), want)
		records := w.records(id)
		equal(w, "stored", w.customs(records), want)
		for i, r := range records {
			if _, ok := r.Event.(domain.Custom); ok {
				equal(w, "what follows", records[i+1].Event.Type(), domain.StepFailedType)
				equal(w, "commits", commits(records[i:i+2]), 1)
			}
		}
	})
}

func TestB30CustomEventThatIsNotDeclaredFailsTheStepOnlyIfTheHandlerSaysSo(t *testing.T) {
	both(t, func(w *world) {
		ignores := func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			return fmt.Sprint(step.Emit("order.lost", nil)), nil
		}
		returns := func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			return nil, tasker.Permanent(step.Emit("order.lost", nil))
		}
		w.add(tasker.Define("order").
			Step("ignores", tasker.StepHandlerFunc(ignores)).
			Step("returns", tasker.StepHandlerFunc(returns), tasker.After("ignores")).
			Step("declares", gives(nil), tasker.After("returns"), tasker.Emits("order.lost")).MustBuild())
		id := w.submit("order", nil)
		failed := w.fail(id)
		equal(w, "blamed", failed.Steps, []string{"returns"})
		var said string
		if err := json.Unmarshal(w.step(id, "ignores").Result, &said); err != nil {
			w.t.Fatal(err)
		}
		for _, text := range []string{said, failed.Errors["returns"]} {
			if !strings.Contains(text, `event "order.lost" is declared neither by step`) || !strings.Contains(text, "custom_events") {
				w.t.Errorf("Emit said %q", text)
			}
		}
		equal(w, "stored", w.customs(w.records(id)), []string{})
	})
}

func TestB30NamesOfTheEnginesOwnEventsAreRefused(t *testing.T) {
	for _, name := range []string{"task.x", "step.completed", "workflow.mine", "observability.mine", "custom.mine"} {
		word, _, _ := strings.Cut(name, ".")
		for _, b := range []*tasker.Builder{
			tasker.Define("order").CustomEvent(name, "").Step("ship", gives(nil)),
			tasker.Define("order").Step("ship", gives(nil), tasker.Emits(name)),
		} {
			_, err := b.Build()
			var wrong *domain.DefinitionError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), `custom event "`+name+`"`) || !strings.Contains(err.Error(), `"`+word+`." is reserved`) {
				t.Errorf("the custom event %q gave %v", name, err)
			}
		}
	}
}
