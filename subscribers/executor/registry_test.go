package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

// noted is an annotation hook alone.
type noted struct{}

func (noted) UpdateAnnotations(context.Context, domain.TaskView, domain.Sequence, []domain.StepView) ([]domain.Annotation, error) {
	return nil, nil
}

func TestASetIsRegisteredAsAWholeOrNotAtAll(t *testing.T) {
	h := returns(nil, nil)
	e := New(Config{})
	if err := e.Register("b", h); err != nil {
		t.Fatal(err)
	}
	err := e.RegisterSet(Set{
		Steps: map[string]domain.StepHandler{"a": h, "b": h, "c": h}, Of: TaskName{Name: "work"}, Task: &taskHandler{},
	})
	var dup *DuplicateError
	if !errors.As(err, &dup) || !strings.Contains(err.Error(), `handler "b"`) {
		t.Fatalf("got %v, want a DuplicateError that names b", err)
	}
	if got := e.Handlers(); !slices.Equal(got, []string{"b"}) || len(e.TaskHandlers()) != 0 {
		t.Errorf("a part of it is there: %q, %v", got, e.TaskHandlers())
	}
	if err := e.RegisterSet(Set{Annotator: noted{}}); err == nil {
		t.Error("a hook of no definition was taken")
	}
	for range 2 {
		err = e.RegisterSet(Set{Of: TaskName{Name: "work", Version: "1.0.0"}, Annotator: noted{}})
	}
	if !errors.As(err, &dup) || !strings.Contains(err.Error(), "default.work@1.0.0") {
		t.Errorf("got %v, want a DuplicateError that names the version", err)
	}
}

func TestWhatIsNotRegisteredIsNamedWithWhatIs(t *testing.T) {
	e := New(Config{})
	var missing *HandlerNotFoundError
	if _, err := e.Handler("pay"); !errors.As(err, &missing) || !strings.HasSuffix(err.Error(), "none is registered at all") {
		t.Errorf("got %v", err)
	}
	h := returns(nil, nil)
	for _, name := range []string{"ship", "charge"} {
		if err := e.Register(name, h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Handler("pay"); !errors.As(err, &missing) || missing.Name != "pay" || !slices.Equal(missing.Known, []string{"charge", "ship"}) {
		t.Errorf("got %v", err)
	}
	if _, err := e.Handler("ship"); err != nil {
		t.Error(err)
	}
}

func TestATaskHandlerIsFoundByItsVersionFirst(t *testing.T) {
	e := New(Config{})
	every, own := &taskHandler{}, &taskHandler{}
	for _, err := range []error{
		e.Register("h", returns(nil, nil)),
		e.RegisterTask("", "work", "", every), e.RegisterTask("", "work", "2.0.0", own),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(e.TaskHandlers()); got != "[default.work default.work@2.0.0]" {
		t.Error(got)
	}
	for version, want := range map[string]domain.TaskHandler{"1.0.0": every, "2.0.0": own} {
		if got := e.TaskHandler(&domain.Definition{Namespace: "default", Name: "work", Version: version}); got != want {
			t.Errorf("version %s has another task handler", version)
		}
	}
	other := e.TaskHandler(&domain.Definition{Namespace: "other", Name: "work", Version: "1.0.0"})
	if _, err := other.GetStepHandler(domain.StepView{Handler: "h"}); err != nil {
		t.Errorf("a definition without a task handler of its own: %v", err)
	}
	var missing *HandlerNotFoundError
	if _, err := other.GetStepHandler(domain.StepView{Handler: "x"}); !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
}

func TestATaskHandlerLeavesAStepToTheRegisteredHandler(t *testing.T) {
	leaves := &taskHandler{get: func(domain.StepView) (domain.StepHandler, error) {
		return nil, fmt.Errorf("not mine: %w", domain.ErrUseRegistered)
	}}
	b := newBench(t, Config{}, define(t, one()))
	if err := b.exec.RegisterTask("default", "work", "", leaves); err != nil {
		t.Fatal(err)
	}
	b.register("h", returns("registered", nil))
	b.request("one")
	b.drain()
	if b.result() != `"registered"` {
		t.Errorf("got %s", b.result())
	}

	b = newBench(t, Config{}, define(t, one()))
	if err := b.exec.RegisterTask("default", "work", "", leaves); err != nil {
		t.Fatal(err)
	}
	b.register("other", returns(nil, nil))
	b.request("one")
	b.drain()
	if f := b.failure(); f.Error.Kind != domain.KindPermanent || !strings.Contains(f.Error.Message, `no handler "h" is registered in this process; there are: other`) {
		t.Errorf("got %+v", f.Error)
	}
}

func TestAHookAloneDoesNotStartStepsThatHaveNoHandler(t *testing.T) {
	b := newBench(t, Config{}, define(t, one()))
	if err := b.exec.RegisterSet(Set{Of: TaskName{Name: "work"}, Annotator: noted{}}); err != nil {
		t.Fatal(err)
	}
	d := b.task.Definition
	if b.exec.Registered(d, 0) || b.exec.Take(d, 0) || !strings.Contains(b.exec.Explain(d, 0), `no handler "h"`) {
		t.Fatalf("the step would start: %q", b.exec.Explain(d, 0))
	}
	b.register("h", returns(nil, nil))
	b.request("one")
	b.drain()
	if b.result() != "null" {
		t.Errorf("got %s", b.result())
	}
}
