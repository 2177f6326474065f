package taskertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

type empty struct{}

var errBusy = errors.New("busy")

func one(h tasker.StepHandler, options ...tasker.StepOption) *tasker.Workflow {
	return tasker.Define("one").Step("only", h, options...).MustBuild()
}

func TestThreeHoursOfBackoffTakeMilliseconds(t *testing.T) {
	began := time.Now()
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		virtual := time.Now()
		e.MustRegister(one(taskertest.FailTimes(3, tasker.RetryAfter(time.Hour, errBusy), "done"), tasker.Retries(4)))
		e.When("one", empty{}).ThenComplete(map[string]string{"only": "done"})
		if got := time.Since(virtual); got != 3*time.Hour {
			t.Errorf("it took %s of virtual time, want 3h", got)
		}
	})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s of real time", took)
	}
}

func TestTraceTellsWhatHappened(t *testing.T) {
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		e.MustRegister(one(taskertest.FailTimes(1, errBusy, nil)))
		e.When("one", empty{}).ThenComplete(map[string]any{"only": nil}).ThenTrace(
			"task.created", "task.start_requested", "step.execution_requested only 1", "step.failed only 1",
			"workflow.task_reenqueue_delayed", "step.retry_requested only", "task.start_requested",
			"step.execution_requested only 2", "step.completed only 2", "task.completed")
	})
}

func TestStubReplacesSomeHandlersOnly(t *testing.T) {
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		w := tasker.Define("two").
			Step("first", taskertest.Fails(errBusy)).
			Step("second", tasker.Handle(func(ctx context.Context, _ empty) (string, error) {
				first, err := tasker.ResultOf[string](ctx, "first")
				return "after " + first, err
			}), tasker.After("first")).
			MustBuild()
		e.MustRegister(w)
		e.Stub(w, "first", taskertest.Returns("stub"))
		e.When("two", empty{}).ThenComplete(map[string]string{"second": "after stub"})
	})
}

// shop is a task handler with a hook.
type shop struct{}

func (shop) GetStepHandler(step tasker.StepView) (tasker.StepHandler, error) {
	if step.Name == "named" {
		return nil, tasker.ErrUseRegistered
	}
	return taskertest.Returns("of the task handler"), nil
}

func (shop) UpdateAnnotations(context.Context, tasker.TaskView, tasker.Sequence, []tasker.StepView) ([]tasker.Annotation, error) {
	return []tasker.Annotation{{Kind: "over"}}, nil
}

func TestStubReplacesHandlersOfATaskHandlerAndKeepsItsHooks(t *testing.T) {
	build := func(name string) *tasker.Workflow {
		return tasker.Define(name).Step("first", taskertest.Returns("inline")).StepNamed("second", "x").StepNamed("named", "registered").
			TaskHandler(shop{}).MustBuild()
	}
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		after, before := build("after"), build("before")
		e.MustHandle("registered", taskertest.Returns("registered"))
		e.MustRegister(after, after)
		e.Stub(after, "first", taskertest.Returns("stub"))
		e.Stub(before, "first", taskertest.Returns("stub"))
		e.MustRegister(before)
		for range 2 {
			for _, name := range []string{"after", "before"} {
				s := e.When(name, nil).ThenComplete(map[string]string{"first": "stub", "second": "of the task handler", "named": "registered"})
				e.Settle()
				s.ThenAnnotated("over")
			}
			e.Restart()
		}
	})
}

func TestStubLeavesNamedHandlersToTheRegistry(t *testing.T) {
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		w := tasker.Define("two").StepNamed("first", "x").StepNamed("second", "x").MustBuild()
		e.MustHandle("x", taskertest.Returns("registered"))
		e.MustRegister(w)
		e.Stub(w, "first", taskertest.Returns("stub"))
		e.When("two", nil).ThenComplete(map[string]string{"first": "stub", "second": "registered"})
	})
}

func TestCrashRunsTheStepAgain(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(one(taskertest.Takes(5*time.Minute, "done"), tasker.NoRetry()))
		_ = e.MustSubmit("one", empty{})
		id := e.MustSubmit("one", empty{})
		e.Advance(time.Second)
		e.Crash()
		if got := e.MustFail(id); got.Errors["only"] != "the process that ran it is gone" {
			t.Errorf("the error is %q", got.Errors["only"])
		}
	})
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(one(taskertest.Takes(5*time.Minute, "done"), tasker.Retries(1)))
		id := e.MustSubmit("one", empty{})
		e.Advance(time.Second)
		e.Crash()
		e.MustWait(id)
		s := e.MustStep(id, "only")
		if s.Attempt != 2 || s.Executions != 1 {
			t.Errorf("attempt %d, executions %d, want 2 and 1", s.Attempt, s.Executions)
		}
	})
}

func TestRestartWaitsForWhatRuns(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(one(taskertest.Takes(30*time.Second, "done")))
		id := e.MustSubmit("one", empty{})
		e.Restart()
		e.MustWait(id)
		if got := e.MustStep(id, "only").Attempt; got != 1 {
			t.Errorf("it took %d attempts", got)
		}
	})
}

func TestHandlersThatIgnoreTheirContextEndBeforeTheBubble(t *testing.T) {
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		e.MustRegister(one(tasker.Handle(func(context.Context, empty) (string, error) {
			time.Sleep(time.Hour)
			return "late", nil
		}), tasker.Timeout(time.Second), tasker.NoRetry()))
		e.When("one", empty{}).ThenFail("only")
	})
}

func TestGivenCallsAHandlerWithoutAnEngine(t *testing.T) {
	type order struct{ Total int }
	h := tasker.Handle(func(ctx context.Context, in order) (int, error) {
		step, _ := tasker.StepOf(ctx)
		switch factor, err := tasker.ResultOf[int](ctx, "factor"); {
		case errors.Is(err, tasker.ErrNoResult):
			return 0, tasker.Permanent(err)
		case step.Attempt < 2:
			return 0, tasker.RetryAfter(time.Minute, errBusy)
		default:
			return factor * in.Total, err
		}
	})
	given := func() *taskertest.Case { return taskertest.Given(h).Context(order{7}) }

	if got := given().NoResult("factor").Call(t.Context()); !got.Permanent() {
		t.Errorf("without a factor: %v", got.Err)
	}
	got := given().Result("factor", 6).Call(t.Context())
	if got.Permanent() || got.RetryAfter() != time.Minute || !errors.Is(got.Err, errBusy) {
		t.Errorf("first attempt: %v", got.Err)
	}
	var n int
	if err := given().Result("factor", 6).Attempt(2, got.Err).Call(t.Context()).Decode(&n); err != nil || n != 42 {
		t.Errorf("second attempt: %d, %v", n, err)
	}
	if got := given().Attempt(2, nil).Call(t.Context()); !errors.Is(got.Err, domain.ErrUnknownStep) {
		t.Errorf("a step that was not given: %v", got.Err)
	}
	if got := taskertest.Given(h).Context("no object").Result("factor", 1).Call(t.Context()); !got.Permanent() {
		t.Errorf("a context that does not fit: %v", got.Err)
	}
}

func TestGivenNotesWhatTheHandlerSaysBeforeItReturns(t *testing.T) {
	var after func() error
	h := tasker.Handle(func(ctx context.Context, _ empty) (int, error) {
		after = func() error { return tasker.Checkpoint(context.WithoutCancel(ctx), 11) }
		next := 0
		if _, err := tasker.Resume(ctx, &next); err != nil {
			return 0, err
		}
		tasker.Progress(ctx, next, 10, "going on")
		tasker.Heartbeat(ctx)
		tasker.Log(ctx, "from %d\nto 10", next)
		if err := errors.Join(tasker.Emit(ctx, "moved", next), tasker.Checkpoint(ctx, 10)); err != nil {
			return 0, err
		}
		return 10 - next, nil
	})
	t.Run("a call", func(t *testing.T) {
		got := taskertest.Given(h).Checkpoint(7).Attempt(2, nil).Call(t.Context())
		if string(got.Result) != "3" || len(got.Checkpoints) != 1 || string(got.Checkpoints[0]) != "10" || got.Heartbeats != 1 {
			t.Errorf("%+v", got)
		}
		if len(got.Lines) != 2 || got.Lines[0] != "from 7" || got.Lines[1] != "to 10" {
			t.Errorf("lines %q", got.Lines)
		}
		if p := got.Progress; len(p) != 1 || p[0] != (domain.StepProgressed{Step: "step", Attempt: 2, Done: 7, Total: 10, Message: "going on"}) {
			t.Errorf("progress %+v", p)
		}
		if e := got.Emitted; len(e) != 1 || e[0].Name != "moved" || string(e[0].Data) != "7" || e[0].Attempt != 2 {
			t.Errorf("emitted %+v", e)
		}
	})
	if got := taskertest.Given(h).Checkpoint("seven").Call(t.Context()); !got.Permanent() {
		t.Errorf("a checkpoint that does not fit: %v", got.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := taskertest.Given(h).Call(ctx); !errors.Is(got.Err, context.Canceled) || len(got.Emitted) != 1 {
		t.Errorf("a call with a context that has ended: %+v", got)
	}
	if err := after(); !errors.Is(err, domain.ErrStale) {
		t.Errorf("a checkpoint after the end: %v", err)
	}
}

// shouting is a step handler with the other hook.
type shouting struct{ tasker.StepHandler }

func (shouting) ProcessResults(_ context.Context, step tasker.StepView, output any) (any, error) {
	if output == "" {
		return nil, tasker.Permanent(errors.New("nothing to shout"))
	}
	return fmt.Sprint(output, "! (", step.Name, ")"), nil
}

func TestGivenProcessesTheResult(t *testing.T) {
	if got := taskertest.Given(shouting{taskertest.Returns("hello")}).Call(t.Context()); string(got.Result) != `"hello! (step)"` {
		t.Errorf("%+v", got)
	}
	if got := taskertest.Given(shouting{taskertest.Returns("")}).Call(t.Context()); !got.Permanent() {
		t.Errorf("%+v", got)
	}
}

func TestAWeekOfWaitingIsCheap(t *testing.T) {
	began := time.Now()
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) { e.Advance(7 * 24 * time.Hour) })
	if took := time.Since(began); took > 20*time.Second { // 0.15 s on two cores, 0.7 s with the race detector
		t.Errorf("it took %s", took)
	}
}
