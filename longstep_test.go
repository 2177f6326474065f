package tasker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

type items struct{ N int }

// copying handles the items of its input in order, and fails for the first time at the item of that number.
func copying(fail int, handled *[]int) tasker.StepHandler {
	return tasker.Handle(func(ctx context.Context, in items) (int, error) {
		next := 0
		if _, err := tasker.Resume(ctx, &next); err != nil {
			return 0, err
		}
		step, _ := tasker.StepOf(ctx)
		for ; next < in.N; next++ {
			if step.Attempt == 1 && next == fail {
				return 0, errors.New("the disk is full")
			}
			*handled = append(*handled, next)
			time.Sleep(400 * time.Millisecond)
			tasker.Progress(ctx, next+1, in.N, "copying")
			if (next+1)%5 == 0 {
				tasker.Log(ctx, "%d copied", next+1)
				if err := tasker.Checkpoint(ctx, next+1); err != nil {
					return 0, err
				}
			}
		}
		return next, tasker.Emit(ctx, "copied", map[string]int{"n": next})
	})
}

func TestATypedHandlerGoesOnAtItsCheckpoint(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		var handled []int
		e.MustRegister(tasker.Define("copy").Step("items", copying(7, &handled), tasker.Emits("copied")).Output("items").MustBuild())
		s := e.When("copy", items{12}).ThenComplete(12).ThenEmitted("copied").ThenCheckpoint("items", 10)
		if got := fmt.Sprint(handled); got != "[0 1 2 3 4 5 6 5 6 7 8 9 10 11]" {
			t.Errorf("handled %s", got)
		}
		if got := e.Lines(s.ID(), "items"); len(got) != 2 || got[0] != "5 copied" || got[1] != "10 copied" {
			t.Errorf("the lines are %q", got)
		}
		all := e.Progress(s.ID(), "items")
		if last := all[len(all)-1]; last.Done != 12 || last.Total != 12 || last.Message != "copying" || last.Attempt != 2 {
			t.Errorf("the last progress is %+v", last)
		}
		step := e.MustStep(s.ID(), "items")
		if p := step.Progress; p == nil || p.Done != 12 || p.Total != 12 || p.Message != "copying" || p.At.IsZero() || step.Checkpoint != nil {
			t.Errorf("the complete step shows progress %+v and checkpoint %s", p, step.Checkpoint)
		}
		if len(all) > 9 { // 5.6 s of work in two executions, and each one's first and last
			t.Errorf("%d facts of progress", len(all))
		}
		again := e.MustSubmit("copy", items{12})
		e.Advance(3 * time.Second)
		if step := e.MustStep(again, "items"); step.State != domain.Error || string(step.Checkpoint) != "5" || step.Progress.Done != 7 {
			t.Errorf("between the attempts it is %+v", step)
		}
		e.MustWait(again)
		if c := e.Emitted(s.ID())[0]; c.Step != "items" || c.Attempt != 2 || string(c.Data) != `{"n":12}` {
			t.Errorf("emitted %+v", c)
		}
	})
}

func TestWhatAHandlerSaysWorksInGoroutinesAndEndsWithTheStep(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		var late error
		var left sync.WaitGroup
		left.Add(1)
		e.MustRegister(tasker.Define("work").Step("parts", tasker.Handle(func(ctx context.Context, _ struct{}) (any, error) {
			var parts sync.WaitGroup
			errs := make([]error, 4)
			for i := range errs {
				parts.Go(func() {
					inner, cancel := context.WithTimeout(context.WithValue(ctx, items{}, i), time.Hour)
					defer cancel()
					tasker.Heartbeat(inner)
					errs[i] = tasker.Emit(inner, "part", i)
				})
			}
			parts.Wait()
			outlives := context.WithoutCancel(ctx)
			go func() {
				defer left.Done()
				time.Sleep(time.Minute)
				tasker.Progress(outlives, 1, 1, "late")
				late = errors.Join(tasker.Emit(outlives, "part", nil), tasker.Checkpoint(outlives, 1))
			}()
			return nil, errors.Join(errs...)
		}), tasker.HeartbeatTimeout(time.Minute)).CustomEvents("part").MustBuild())
		s := e.When("work", struct{}{}).ThenComplete(map[string]any{"parts": nil}).ThenEmitted("part", "part", "part", "part")
		left.Wait()
		if !errors.Is(late, domain.ErrStale) || len(e.Progress(s.ID(), "parts"))+len(e.Checkpoints(s.ID(), "parts")) != 0 {
			t.Errorf("what came after the end: %v", late)
		}
	})
}

func TestASilentHandlerIsGivenUpAndOneThatBeatsIsNot(t *testing.T) {
	beat := func(every time.Duration) tasker.StepHandler {
		return tasker.Handle(func(ctx context.Context, _ struct{}) (string, error) {
			for range 10 {
				select {
				case <-ctx.Done():
					return "", context.Cause(ctx)
				case <-time.After(every):
				}
				tasker.Heartbeat(ctx)
			}
			return "done", nil
		})
	}
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(
			tasker.Define("lively").Step("only", beat(9*time.Second), tasker.HeartbeatTimeout(10*time.Second)).Output("only").MustBuild(),
			tasker.Define("silent").Step("only", beat(11*time.Second), tasker.HeartbeatTimeout(10*time.Second), tasker.Retries(1)).MustBuild())
		e.When("lively", struct{}{}).ThenComplete("done")
		s := e.When("silent", struct{}{}).ThenFail("only")
		if err := e.MustStep(s.ID(), "only").Error; err.Kind != domain.KindTimeout || err.Code != "HEARTBEAT" {
			t.Errorf("it failed with %+v", err)
		}
	})
}

func TestOutsideOfAHandlerNothingIsSaidAndErrorsSaySo(t *testing.T) {
	ctx := context.Background()
	tasker.Progress(ctx, 1, 2, "")
	tasker.Heartbeat(ctx)
	tasker.Log(ctx, "x")
	_, resumed := tasker.Resume(ctx, new(int))
	_, input := tasker.InputOf[int](ctx)
	_, result := tasker.ResultOf[int](ctx, "a")
	_, _, optional := tasker.OptionalResultOf[int](ctx, "a")
	_, results := tasker.ResultsOf[int](ctx, "a", "b")
	for i, err := range []error{resumed, input, result, optional, results, tasker.Checkpoint(ctx, 1), tasker.Emit(ctx, "x", nil)} {
		if !errors.Is(err, tasker.ErrNoStep) {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if tasker.Logger(ctx) != slog.Default() {
		t.Error("the logger is not the default one")
	}
	if _, ok := tasker.TaskOf(ctx); ok {
		t.Error("there is a task")
	}
}

func TestTheLoggerKnowsTaskStepAndAttemptInEveryGoroutine(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), nil))
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("work").Step("talks", tasker.Handle(func(ctx context.Context, _ struct{}) (any, error) {
			var all sync.WaitGroup
			for range 3 {
				inner, cancel := context.WithCancel(ctx)
				defer cancel()
				all.Go(func() { tasker.Logger(inner).Info("working", "part", "x") })
			}
			all.Wait()
			if step, _ := tasker.StepOf(ctx); step.Attempt == 1 {
				return nil, errors.New("once more")
			}
			return nil, nil
		})).MustBuild())
		id := e.MustSubmit("work", nil)
		e.MustWait(id)
		seen := map[float64]int{}
		for line := range strings.Lines(out.String()) {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["msg"] != "working" {
				continue
			}
			attempt, _ := entry["attempt"].(float64)
			if seen[attempt]++; entry["task"] != id.String() || entry["step"] != "talks" || entry["part"] != "x" {
				t.Errorf("the line says %s", line)
			}
		}
		if seen[1] != 3 || seen[2] != 3 || len(seen) != 2 {
			t.Errorf("lines by attempt: %v", seen)
		}
	}, func(c *tasker.Config) { c.Logger = log })
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func TestResultsOfAreThoseOfTheParentsWithAResult(t *testing.T) {
	join := tasker.Handle(func(ctx context.Context, _ struct{}) (any, error) {
		parents, err := tasker.ResultsOf[int](ctx)
		if err != nil {
			return nil, err
		}
		named, err := tasker.ResultsOf[int](ctx, "first", "two")
		if err != nil {
			return nil, err
		}
		_, skipped, err := tasker.OptionalResultOf[int](ctx, "skipped")
		if err != nil {
			return nil, err
		}
		two, there, err := tasker.OptionalResultOf[int](ctx, "two")
		return map[string]any{"parents": parents, "named": named, "skipped": skipped, "two": two, "there": there}, err
	})
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("fan").
			Step("first", taskertest.Returns(1)).
			Step("two", taskertest.Returns(2), tasker.After("first")).
			Step("three", taskertest.Returns(3), tasker.After("first")).
			Step("skipped", taskertest.Returns(4), tasker.Skippable()).
			Step("fails", taskertest.Fails(errors.New("no")), tasker.Optional(), tasker.NoRetry()).
			Step("join", join, tasker.After("two", "three", "skipped", "fails")).
			Output("join").MustBuild())
		e.When("fan", nil, tasker.Bypass("skipped")).ThenComplete(map[string]any{
			"parents": map[string]int{"two": 2, "three": 3}, "named": map[string]int{"first": 1, "two": 2},
			"skipped": false, "two": 2, "there": true,
		})
	})
}

func TestWhatDoesNotFitFailsForGoodAndSaysWhat(t *testing.T) {
	for want, h := range map[string]tasker.StepHandler{
		`the result of step "count" does not fit bool: json: cannot unmarshal number into Go value of type bool`: tasker.Handle(
			func(ctx context.Context, _ struct{}) (bool, error) { return tasker.ResultOf[bool](ctx, "count") }),
		`the task's context does not fit []int: json: cannot unmarshal object into Go value of type []int`: tasker.Handle(
			func(context.Context, []int) (bool, error) { return true, nil }),
		`step has no result: step "skipped" was skipped`: tasker.Handle(
			func(ctx context.Context, _ struct{}) (int, error) { return tasker.ResultOf[int](ctx, "skipped") }),
	} {
		got := taskertest.Given(h).Result("count", 3).NoResult("skipped").Call(t.Context())
		if got.Err == nil || got.Err.Error() != want || got.Permanent() == errors.Is(got.Err, tasker.ErrNoResult) {
			t.Errorf("got %v, want %s", got.Err, want)
		}
	}
	inputs := taskertest.Given(tasker.Handle(func(ctx context.Context, _ any) (int, error) { return tasker.InputOf[int](ctx) })).
		Context(map[string]int{"a": 1})
	if got := inputs.Call(t.Context()); !got.Permanent() || !strings.HasPrefix(got.Err.Error(), "the task's context does not fit int: ") {
		t.Errorf("got %v", got.Err)
	}
	if got := inputs.Inputs(7).Call(t.Context()); string(got.Result) != "7" {
		t.Errorf("got %+v", got)
	}
	if got := inputs.Inputs("x").Call(t.Context()); !got.Permanent() || !strings.HasPrefix(got.Err.Error(), "the inputs of the retry do not fit int: ") {
		t.Errorf("got %v", got.Err)
	}
}
