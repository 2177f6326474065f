package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// taskHandler is a task handler with a hook, which notes what is called.
type taskHandler struct {
	get      func(step domain.StepView) (domain.StepHandler, error)
	annotate func(ctx context.Context, task domain.TaskView, sequence domain.Sequence, completed []domain.StepView) ([]domain.Annotation, error)
}

func (h *taskHandler) GetStepHandler(step domain.StepView) (domain.StepHandler, error) {
	return h.get(step)
}

type annotatingHandler struct{ taskHandler }

func (h *annotatingHandler) UpdateAnnotations(ctx context.Context, task domain.TaskView, sequence domain.Sequence, completed []domain.StepView) ([]domain.Annotation, error) {
	return h.annotate(ctx, task, sequence, completed)
}

func three() []domain.StepTemplate {
	return []domain.StepTemplate{
		{Name: "one", Handler: "h"},
		{Name: "two", Handler: "h", Optional: true, RetryLimit: 1},
		{Name: "three", Handler: "h", DependsOn: []string{"one", "two"}, DependentSystem: "printer", HandlerConfig: json.RawMessage(`{"a":1}`), RetryLimit: 2},
		{Name: "four", Handler: "h"},
	}
}

func TestTheTwoCallsOfTheContractComeInOrder(t *testing.T) {
	b := newBench(t, Config{}, define(t, one()))
	var calls []string
	own := &taskHandler{get: func(step domain.StepView) (domain.StepHandler, error) {
		calls = append(calls, "GetStepHandler "+step.Name)
		return handlerFunc(func(_ context.Context, task domain.TaskView, _ domain.Sequence, step domain.StepView) (any, error) {
			calls = append(calls, "Handle "+task.Name+"/"+step.Name)
			return "own", nil
		}), nil
	}}
	other := &taskHandler{get: func(domain.StepView) (domain.StepHandler, error) { return nil, errors.New("of another version") }}
	for _, err := range []error{b.exec.RegisterTask("", "work", "", other), b.exec.RegisterTask("default", "work", "0.1.0", own)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.register("h", returns("from the registry", nil))
	b.request("one")
	b.drain()
	if want := []string{"GetStepHandler one", "Handle work/one"}; !reflect.DeepEqual(calls, want) {
		t.Errorf("got %q, want %q", calls, want)
	}
	if b.result() != `"own"` {
		t.Errorf("got %s", b.result())
	}
}

func TestATaskHandlerWithoutAStepHandlerFailsTheStepForGood(t *testing.T) {
	for name, get := range map[string]func(domain.StepView) (domain.StepHandler, error){
		"returned nil": func(domain.StepView) (domain.StepHandler, error) { return nil, nil },
		"no such step": func(domain.StepView) (domain.StepHandler, error) { return nil, errors.New("no such step") },
	} {
		b := newBench(t, Config{}, define(t, one()))
		if err := b.exec.RegisterTask("default", "work", "", &taskHandler{get: get}); err != nil {
			t.Fatal(err)
		}
		if !b.request("one") {
			t.Fatal("a task handler is enough")
		}
		b.drain()
		f := b.failure()
		for _, part := range []string{name, `step "one"`, b.task.ID.String(), "default.work@0.1.0"} {
			if !strings.Contains(f.Error.Message, part) || f.Error.Kind != domain.KindPermanent {
				t.Errorf("%q is missing in %+v", part, f.Error)
			}
		}
	}
}

func TestNamesHaveOneHandler(t *testing.T) {
	e := New(Config{})
	h, th := returns(nil, nil), &taskHandler{}
	var dup *DuplicateError
	if e.Register("h", h) != nil || !errors.As(e.Register("h", h), &dup) {
		t.Error("step handlers: want a DuplicateError")
	}
	if e.RegisterTask("", "work", "", th) != nil || e.RegisterTask("", "work", "1.0.0", th) != nil || !errors.As(e.RegisterTask("default", "work", "1.0.0", th), &dup) {
		t.Error("task handlers: want a DuplicateError")
	}
	for _, err := range []error{e.Register("", h), e.Register("x", nil), e.RegisterTask("", "", "", th), e.RegisterTask("", "x", "", nil)} {
		if err == nil {
			t.Error("want an error")
		}
	}
}

func TestAHandlerSeesTaskParentsAndStep(t *testing.T) {
	big := json.RawMessage(`"` + strings.Repeat("x", domain.InlineState) + `"`)
	loads := 0
	b := newBench(t, Config{Load: func(_ context.Context, p domain.Payload) (json.RawMessage, error) {
		if loads++; p.Pos.Partition != 3 || p.Size != len(big) {
			t.Errorf("asked for %+v", p)
		}
		return big, nil
	}}, define(t, three()...))
	check := handlerFunc(func(ctx context.Context, task domain.TaskView, seq domain.Sequence, step domain.StepView) (any, error) {
		if string(task.Context) != `{"n":6}` || task.ID != b.task.ID || task.Name != "work" || task.CreatedAt.IsZero() {
			t.Errorf("the task: %+v", task)
		}
		if step.Name != "three" || step.Attempt != 1 || step.Round != 1 || step.RetryLimit != 2 || step.State != domain.InProgress ||
			step.DependentSystem != "printer" || string(step.Config) != `{"a":1}` || step.IdempotencyKey != task.ID.String()+"/three/1" {
			t.Errorf("the step: %+v", step)
		}
		for range 2 {
			one, err := seq.Find(ctx, "one")
			if err != nil || !bytes.Equal(one.Result, big) || one.State != domain.Complete {
				t.Errorf("step one: %+v, %v", one, err)
			}
		}
		two, err := seq.Find(ctx, "two")
		if err != nil || two.State != domain.Error || two.LastError.Message != "jam" || !errors.Is(two.Decode(new(int)), domain.ErrNoResult) {
			t.Errorf("step two: %+v, %v", two, err)
		}
		if self, err := seq.Find(ctx, "three"); err != nil || self.Attempt != 1 {
			t.Errorf("the step itself: %+v, %v", self, err)
		}
		if _, err := seq.Find(ctx, "five"); !errors.Is(err, domain.ErrUnknownStep) {
			t.Errorf("an unknown step: %v", err)
		}
		if _, err := seq.Find(ctx, "four"); err == nil {
			t.Error("without Config.Sequence, only parents can be found")
		}
		call, ok := FromContext(ctx)
		if !ok || call.Task.ID != task.ID || call.Step.Name != "three" || call.Sequence != seq {
			t.Errorf("the call in the context: %+v, %v", call, ok)
		}
		return nil, nil
	})
	b.register("h", check)
	b.commit(domain.StepExecutionRequested{Step: "one", Attempt: 1, Until: 1}) // Until: nobody runs it
	b.commit(domain.StepCompleted{Step: "one", Attempt: 1, Result: domain.Inline(big)})
	b.commit(domain.StepExecutionRequested{Step: "two", Attempt: 1, Until: 1})
	b.commit(domain.StepFailed{Step: "two", Attempt: 1, Error: domain.StepError{Message: "jam"}})
	b.request("three")
	b.drain()
	if b.result() != "null" || loads != 1 {
		t.Errorf("got %s after %d loads", b.result(), loads)
	}
}

func TestAHandlerDoesNotSeeWhatIsNotStoredYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, three()...))
		b.register("h", func(ctx context.Context, _ domain.TaskView, seq domain.Sequence, _ domain.StepView) (any, error) {
			two, err := seq.Find(ctx, "two")
			return len(two.Result), err
		})
		b.commit(domain.StepExecutionRequested{Step: "one", Attempt: 1, Until: 1})
		b.commit(domain.StepCompleted{Step: "one", Attempt: 1})
		b.commit(domain.StepExecutionRequested{Step: "two", Attempt: 1, Until: 1})
		b.commit(domain.StepFailed{Step: "two", Attempt: 1})
		b.exec.Take(b.task.Definition, 2)
		requested := b.fold(domain.StepExecutionRequested{Step: "three", Attempt: 1}, "")
		time.Sleep(time.Millisecond)
		b.fold(domain.StepResolvedManually{Step: "two", Result: domain.Inline([]byte(`"later"`))}, "")
		b.exec.Notify(requested)
		b.drain()
		if b.result() != "0" {
			t.Errorf("the handler saw %s bytes of the future", b.result())
		}
	})
}

func TestTheWholeSequenceIsAskedForOnce(t *testing.T) {
	asked := 0
	b := newBench(t, Config{}, define(t, three()...))
	b.exec.cfg.Sequence = func(_ context.Context, partition int, task domain.TaskID) ([]domain.StepView, error) {
		if asked++; asked == 1 {
			return nil, errors.New("no connection")
		}
		if partition != 3 || task != b.task.ID {
			t.Errorf("asked for %d, %s", partition, task)
		}
		var views []domain.StepView
		for i := range b.task.Steps {
			v, _ := View(b.task, i)
			views = append(views, v)
		}
		return views, nil
	}
	b.register("h", func(ctx context.Context, _ domain.TaskView, seq domain.Sequence, _ domain.StepView) (any, error) {
		if _, err := seq.Steps(ctx); err == nil || !strings.Contains(err.Error(), "no connection") {
			t.Errorf("got %v", err)
		}
		if four, err := seq.Find(ctx, "four"); err != nil || four.Name != "four" {
			t.Errorf("got %+v, %v", four, err)
		}
		all, err := seq.Steps(ctx)
		if len(all) != 4 || err != nil {
			t.Errorf("got %+v, %v", all, err)
		}
		all[3].Name = "changed"
		four, err := seq.Find(ctx, "four")
		return four.Name, err
	})
	b.request("one")
	b.drain()
	if b.result() != `"four"` || asked != 2 {
		t.Errorf("got %s after asking %d times", b.result(), asked)
	}
}

func TestALargeContextIsLoadedBeforeTheCallAndALargeResultStoredAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := strings.Repeat("x", domain.InlineLog)
		loads, stores := 0, 0
		b := newBench(t, Config{
			Load: func(context.Context, domain.Payload) (json.RawMessage, error) {
				if loads++; loads < 3 {
					return nil, domain.ErrUnavailable
				}
				return json.RawMessage(`{"n":7}`), nil
			},
			Store: func(_ context.Context, text json.RawMessage) (domain.Payload, error) {
				if stores++; stores < 3 {
					return domain.Payload{}, domain.ErrUnavailable
				}
				return domain.Payload{Blob: "sha256-x", Size: len(text)}, nil
			},
		}, define(t, one()))
		b.task.Context = domain.Payload{Blob: "sha256-c", Size: 7}
		b.register("h", func(_ context.Context, task domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
			return string(task.Context) + big, nil
		})
		b.request("one")
		b.drain()
		if cmd := b.only().cmd.(domain.CompleteStep); cmd.Result.Blob != "sha256-x" || cmd.Result.JSON != nil || loads != 3 || stores != 3 {
			t.Errorf("got %+v after %d loads, %d stores", cmd, loads, stores)
		}
	})
}

func TestAContextThatIsGoneFailsTheStep(t *testing.T) {
	b := newBench(t, Config{Load: func(context.Context, domain.Payload) (json.RawMessage, error) { return nil, domain.ErrNoKey }}, define(t, one()))
	b.task.Context = domain.Payload{Blob: "sha256-c", Size: 7}
	b.register("h", returns(nil, errors.New("must not run")))
	b.request("one")
	b.drain()
	if f := b.failure(); f.Error.Code != "INPUT_UNREADABLE" || f.Error.Kind != domain.KindError {
		t.Errorf("got %+v", f)
	}
}

func TestTheLoggerOfACallNamesIt(t *testing.T) {
	var out bytes.Buffer
	b := newBench(t, Config{Logger: slog.New(slog.NewTextHandler(&out, nil))}, define(t, one()))
	b.register("h", func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
		Logger(ctx).Info("printing")
		return nil, nil
	})
	b.request("one")
	b.drain()
	if want := "msg=printing task=" + b.task.ID.String() + " step=one attempt=1\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if Logger(context.Background()) != slog.Default() {
		t.Error("outside of handlers it is the default logger")
	}
	if call, ok := FromContext(NewContext(context.Background(), &Call{Step: domain.StepView{Name: "x"}})); !ok || call.Step.Name != "x" || call.Logger() == nil {
		t.Error("a call made by hand is found")
	}
}

func TestTheHookAnnotatesTheRunThatEnded(t *testing.T) {
	b := newBench(t, Config{}, define(t, one(), domain.StepTemplate{Name: "two", Handler: "h", DependsOn: []string{"one"}}))
	h := &annotatingHandler{}
	h.annotate = func(ctx context.Context, task domain.TaskView, seq domain.Sequence, completed []domain.StepView) ([]domain.Annotation, error) {
		if len(completed) != 1 || completed[0].Name != "one" || string(completed[0].Result) != `{"n":1}` || task.ID != b.task.ID {
			t.Errorf("completed: %+v", completed)
		}
		if all, err := seq.Steps(ctx); err != nil || len(all) != 2 || all[1].State != domain.Error {
			t.Errorf("all: %+v, %v", all, err)
		}
		if _, err := seq.Find(ctx, "three"); !errors.Is(err, domain.ErrUnknownStep) {
			t.Errorf("got %v", err)
		}
		return []domain.Annotation{{Kind: "dummy", Step: "one", Value: json.RawMessage(`{ "n": 1 }`)}, {Kind: "empty"}}, nil
	}
	if err := b.exec.RegisterTask("default", "work", "", h); err != nil {
		t.Fatal(err)
	}
	b.commit(domain.TaskStartRequested{})
	b.commit(domain.StepExecutionRequested{Step: "one", Attempt: 1, Until: 1})
	b.commit(domain.StepCompleted{Step: "one", Attempt: 1, Result: domain.Inline([]byte(`{"n":1}`))})
	b.commit(domain.StepExecutionRequested{Step: "two", Attempt: 1, Until: 1})
	b.commit(domain.StepFailed{Step: "two", Attempt: 1})
	b.commit(domain.TaskFailed{Reason: domain.FailStepsInError})
	b.commit(domain.TaskCancelled{}) // the run ended before: no second call
	b.drain()
	if len(b.notes) != 2 || string(b.notes[0].Value) != `{"n":1}` || string(b.notes[1].Value) != "null" || b.round != 1 {
		t.Errorf("got %+v, round %d", b.notes, b.round)
	}
	if st := b.exec.Stats(); st.Annotated != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestAHookThatGoesWrongChangesNothing(t *testing.T) {
	for name, annotate := range map[string]func() ([]domain.Annotation, error){
		"no ink":      func() ([]domain.Annotation, error) { return nil, errors.New("no ink") },
		"panic: boom": func() ([]domain.Annotation, error) { panic("boom") },
		"not JSON":    func() ([]domain.Annotation, error) { return []domain.Annotation{{Value: json.RawMessage(`{`)}}, nil },
	} {
		var out bytes.Buffer
		b := newBench(t, Config{Logger: slog.New(slog.NewTextHandler(&out, nil))}, define(t, one()))
		h := &annotatingHandler{}
		h.annotate = func(context.Context, domain.TaskView, domain.Sequence, []domain.StepView) ([]domain.Annotation, error) {
			return annotate()
		}
		if err := b.exec.RegisterTask("default", "work", "", h); err != nil {
			t.Fatal(err)
		}
		b.commit(domain.TaskCancelled{})
		b.drain()
		if len(b.notes) != 0 || !strings.Contains(out.String(), name) || b.exec.Stats().Unannotated != 1 {
			t.Errorf("got %+v, log %s", b.notes, out.String())
		}
	}
}

func TestDrainDoesNotWaitForHooksForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, one()))
		h := &annotatingHandler{}
		h.annotate = func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ []domain.StepView) ([]domain.Annotation, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if err := b.exec.RegisterTask("default", "work", "", h); err != nil {
			t.Fatal(err)
		}
		ended := b.fold(domain.TaskCancelled{}, "")
		for range 2 * MaxAnnotators {
			b.exec.Notify(ended)
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		b.exec.Drain(ctx)
		synctest.Wait()
		if st := b.exec.Stats(); st.Unannotated != 0 || b.exec.pending.Load() != 0 {
			t.Errorf("got %+v, %d pending", st, b.exec.pending.Load())
		}
		b.exec.Notify(ended) // one that ends after all
		if b.exec.Settle(context.Background(), 3, b.seq) || !b.exec.Settle(context.Background(), 3, b.seq-1) || !b.exec.Settle(context.Background(), 4, b.seq) {
			t.Error("a snapshot would hide runs that are left to the next process, or one that hides none is given up")
		}
	})
}
