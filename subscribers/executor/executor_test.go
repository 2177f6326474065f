package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func returns(result any, err error) handlerFunc {
	return func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
		return result, err
	}
}

// untilCancelled is a handler that watches its context.
func untilCancelled(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// deaf is a handler that ignores its context for a while.
func deaf(d time.Duration) handlerFunc {
	return func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
		time.Sleep(d)
		return "late", nil
	}
}

func one() domain.StepTemplate { return domain.StepTemplate{Name: "one", Handler: "h"} }

func TestWhatAHandlerReturnsBecomesTheResult(t *testing.T) {
	for _, tt := range []struct {
		name   string
		result any
		want   string
	}{
		{"nil is null", nil, `null`},
		{"a struct is encoded", struct {
			N int `json:"n"`
		}{7}, `{"n":7}`},
		{"raw JSON is compacted", json.RawMessage("{ \"n\" :\n 7 }"), `{"n":7}`},
		{"empty raw JSON is null", json.RawMessage{}, `null`},
		{"a large number keeps its digits", int64(2_821_109_907_456), `2821109907456`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{}, define(t, one()))
			b.register("h", returns(tt.result, nil))
			b.request("one")
			b.drain()
			if got := b.result(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if r := b.only(); r.partition != 3 || r.task != b.task.ID || r.cmd.(domain.CompleteStep).Attempt != 1 {
				t.Errorf("the report is addressed wrongly: %+v", r)
			}
		})
	}
}

func TestWhatAHandlerReturnsCanFailTheStep(t *testing.T) {
	base := errors.New("out of paper")
	for _, tt := range []struct {
		name    string
		result  any
		err     error
		kind    domain.ErrorKind
		code    string
		wait    time.Duration
		message string
	}{
		{"an error", nil, base, domain.KindError, "", 0, "out of paper"},
		{"a permanent error", nil, domain.Permanent(base), domain.KindPermanent, "", 0, "out of paper"},
		{"a wrapped permanent error", nil, fmt.Errorf("printing: %w", domain.Permanent(base)), domain.KindPermanent, "", 0, "printing: out of paper"},
		{"a wish", nil, domain.RetryAfter(2*time.Minute, base), domain.KindError, "", 2 * time.Minute, "out of paper"},
		{"a negative wish", nil, domain.RetryAfter(-time.Minute, base), domain.KindError, "", 0, "out of paper"},
		{"a code", nil, &domain.Failure{Err: base, Kind: "http", Code: "HTTP_404"}, "http", "HTTP_404", 0, "out of paper"},
		{"a kind that only the engine uses", nil, &domain.Failure{Err: base, Kind: domain.KindInterrupted}, domain.KindError, "", 0, "out of paper"},
		{"a value that is no JSON", make(chan int), nil, domain.KindPermanent, "", 0, "json: unsupported type"},
		{"raw text that is no JSON", json.RawMessage(`{"n":`), nil, domain.KindPermanent, "", 0, "the result is not JSON"},
		{"a value that is too large", strings.Repeat("x", domain.MaxPayload), nil, domain.KindPermanent, "", 0, "return a reference"},
		{"an error with a long text", nil, errors.New(strings.Repeat("ä", domain.MaxErrorMessage)), domain.KindError, "", 0, "ä [cut]"},
		{"an error that is not UTF-8", nil, errors.New("a\xffb"), domain.KindError, "", 0, "a\uFFFDb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{}, define(t, one()))
			b.register("h", returns(tt.result, tt.err))
			b.request("one")
			b.drain()
			f := b.failure()
			if f.Error.Kind != tt.kind || f.Error.Code != tt.code || f.RetryAfter != tt.wait || !strings.Contains(f.Error.Message, tt.message) {
				t.Errorf("got %+v", f)
			}
			if len(f.Error.Message) > domain.MaxErrorMessage {
				t.Errorf("the message has %d bytes", len(f.Error.Message))
			}
		})
	}
}

func TestAPanicIsAFailureWithTheHandlersFrames(t *testing.T) {
	for name, h := range map[string]handlerFunc{
		"panic: boom": func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) { panic("boom") },
		"panic: assignment to entry in ni": func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
			crash()
			return nil, nil
		},
		"runtime.Goexit": func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
			runtime.Goexit()
			return nil, nil
		},
		"panic: a executor.rude that": func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) { panic(rude{}) },
		"panic: very rude": func(context.Context, domain.TaskView, domain.Sequence, domain.StepView) (any, error) {
			return rude{"very rude"}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{}, define(t, one()))
			b.register("h", h)
			b.request("one")
			b.drain()
			f := b.failure()
			if f.Error.Kind != domain.KindPanic || !strings.Contains(f.Error.Message, name) {
				t.Errorf("got %+v", f)
			}
			if !strings.Contains(strings.Join(f.Error.Frames, "\n"), "executor_test.go:") || len(f.Error.Frames) > domain.MaxFrames {
				t.Errorf("the handler's frames are missing: %q", f.Error.Frames)
			}
			if got := b.exec.Stats(); got.Panics != 1 || got.Failed != 1 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func crash() { var m map[string]int; m["x"] = 1 } //nolint:staticcheck // a fault of the runtime is the point

// rude panics wherever it can.
type rude struct{ text string }

func (r rude) Error() string                { panic("rude") }
func (r rude) MarshalJSON() ([]byte, error) { panic(r.text) }

func TestAHandlerThatIgnoresItsTimeoutFreesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := one()
		step.Timeout = time.Second
		b := newBench(t, Config{Slots: 1}, define(t, step))
		var freed atomic.Int64
		b.exec.OnFree(func() { freed.Store(int64(time.Since(b.began))) })
		b.register("h", deaf(3*time.Second))
		freed.Store(0)
		b.request("one")
		if b.exec.Take(b.task.Definition, 0) {
			t.Fatal("there is one slot")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if f := b.failure(); f.Error.Kind != domain.KindTimeout || f.Error.Message != "the handler did not return within 1s" || b.only().after != time.Second {
			t.Errorf("got %+v after %s", f, b.only().after)
		}
		if time.Duration(freed.Load()) != time.Second {
			t.Errorf("the slot came free after %s", time.Duration(freed.Load()))
		}
		if st := b.exec.Stats(); st.Free != 1 || st.Leaked != 1 || st.Handlers[0].Leaked != 1 || st.Timeouts != 1 {
			t.Errorf("got %+v", st)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.only() // the late result is dropped
		if st := b.exec.Stats(); st.Leaked != 0 || st.Late != 1 {
			t.Errorf("got %+v", st)
		}
		b.drain()
	})
}

func TestTheTimeoutReachesTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := one()
		step.Timeout = time.Second
		b := newBench(t, Config{}, define(t, step))
		var child, cause error
		b.register("h", func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
			if d, ok := ctx.Deadline(); !ok || !d.Equal(b.began.Add(time.Second)) {
				t.Errorf("the deadline is %v, %v", d, ok)
			}
			below, stop := context.WithCancel(ctx)
			defer stop()
			<-below.Done()
			child, cause = below.Err(), context.Cause(ctx)
			return nil, fmt.Errorf("asking: %w", ctx.Err())
		})
		b.request("one")
		time.Sleep(2 * time.Second)
		b.drain()
		if !errors.Is(child, context.DeadlineExceeded) || !errors.Is(cause, ErrStepTimeout) {
			t.Errorf("child context: %v, cause: %v", child, cause)
		}
		if f := b.failure(); f.Error.Kind != domain.KindTimeout {
			t.Errorf("got %+v", f)
		}
	})
}

func TestAHandlerWithAHundredLeakedExecutionsIsNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []domain.StepTemplate
		for i := range MaxLeaked + 1 {
			steps = append(steps, domain.StepTemplate{Name: fmt.Sprint("s", i), Handler: "h", Timeout: time.Second})
		}
		b := newBench(t, Config{}, define(t, steps...))
		b.register("h", deaf(time.Minute))
		for i := range MaxLeaked {
			b.request(steps[i].Name)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.exec.Take(b.task.Definition, MaxLeaked) {
			t.Error("a slot was given for a handler that leaks")
		}
		if text := b.exec.Explain(b.task.Definition, MaxLeaked); !strings.Contains(text, `100 executions of handler "h" ignore`) || b.exec.Stats().Handlers[0].Refused != text {
			t.Errorf("explained by %q", text)
		}
		woken := make(chan struct{}, MaxLeaked)
		b.exec.OnFree(func() { woken <- struct{}{} })
		<-woken // when the first of them returns
		if !b.request(steps[MaxLeaked].Name) {
			t.Error("still refused")
		}
		time.Sleep(2 * time.Minute)
		b.drain()
	})
}

func TestACancelledStepEndsItsHandlerWithoutAReport(t *testing.T) {
	for name, ev := range map[string]domain.Event{
		"cancelled":              domain.StepCancelled{Step: "one"},
		"failed by the deadline": domain.StepFailed{Step: "one", Attempt: 1, Error: domain.StepError{Kind: domain.KindDeadline}},
		"completed by hand":      domain.StepCompleted{Step: "one", Attempt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Config{}, define(t, one()))
				var cause error
				b.register("h", func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, _ domain.StepView) (any, error) {
					<-ctx.Done()
					cause = context.Cause(ctx)
					return "late", nil
				})
				b.request("one")
				synctest.Wait()
				if got := b.exec.Running(); len(got) != 1 || got[0].Step != "one" || got[0].Attempt != 1 || got[0].Task != b.task.ID {
					t.Errorf("running: %+v", got)
				}
				b.exec.Notify(b.fold(ev, "operator:ann"))
				b.drain()
				if len(b.reported()) != 0 || cause == nil || errors.Is(cause, context.Canceled) {
					t.Errorf("reports %+v, cause %v", b.reported(), cause)
				}
				if st := b.exec.Stats(); st.Cancelled != 1 || st.Late != 1 || len(b.exec.Running()) != 0 {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

func TestACancelledHandlerThatGoesOnLosesItsSlotAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Slots: 1}, define(t, one()))
		b.register("h", deaf(time.Minute))
		b.request("one")
		synctest.Wait()
		b.commit(domain.StepCancelled{Step: "one"})
		time.Sleep(CancelGrace - time.Millisecond)
		synctest.Wait()
		if st := b.exec.Stats(); st.Free != 0 || st.Leaked != 0 {
			t.Errorf("before: %+v", st)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if st := b.exec.Stats(); st.Free != 1 || st.Leaked != 1 {
			t.Errorf("after: %+v", st)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := b.exec.Stats(); st.Leaked != 0 {
			t.Errorf("in the end: %+v", st)
		}
		b.drain()
	})
}

func TestAStepThatTheNextCommitEndsIsNotStarted(t *testing.T) {
	b := newBench(t, Config{Slots: 1}, define(t, one()))
	b.register("h", returns(nil, errors.New("must not run")))
	if !b.exec.Take(b.task.Definition, 0) {
		t.Fatal("no slot")
	}
	requested := b.fold(domain.StepExecutionRequested{Step: "one", Attempt: 1}, "")
	cancelled := b.fold(domain.StepCancelled{Step: "one"}, "")
	b.exec.Notify(requested)
	b.exec.Notify(cancelled)
	b.drain()
	if st := b.exec.Stats(); st.Executions != 0 || len(b.reported()) != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestAWithdrawnRequestGivesItsSlotBack(t *testing.T) {
	b := newBench(t, Config{Slots: 1}, define(t, one()))
	b.register("h", returns(nil, nil))
	woken := false
	b.exec.OnFree(func() { woken = true })
	if !b.exec.Take(b.task.Definition, 0) || b.exec.Take(b.task.Definition, 0) {
		t.Fatal("want one slot")
	}
	b.exec.Withdraw(b.fold(domain.StepExecutionRequested{Step: "one", Attempt: 1}, ""))
	if !woken {
		t.Error("nobody was told")
	}
	b.drain()
}

func TestSleepStepsAreTheEngines(t *testing.T) {
	step := domain.StepTemplate{Name: "one", Handler: domain.SleepHandler, HandlerConfig: json.RawMessage(`{"duration":"1s"}`), Wait: time.Second}
	b := newBench(t, Config{}, define(t, step))
	requested := b.fold(domain.StepExecutionRequested{Step: "one", Attempt: 1, Until: now().Add(time.Second)}, "")
	b.exec.Notify(requested)
	b.exec.Withdraw(requested)
	b.drain()
	if !b.exec.Registered(b.task.Definition, 0) || b.exec.Register(domain.SleepHandler, returns(nil, nil)) == nil {
		t.Error("sleep is always there and cannot be replaced")
	}
}

func TestNothingIsReportedForALostPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, one()))
		b.register("h", untilCancelled)
		b.request("one")
		synctest.Wait()
		b.exec.CancelPartition(4)
		b.exec.CancelPartition(3 + activeShards)
		if len(b.exec.Running()) != 1 {
			t.Fatal("another partition's execution was cancelled")
		}
		b.exec.CancelPartition(3)
		b.drain()
		if len(b.reported()) != 0 {
			t.Errorf("got %+v", b.reported())
		}
	})
}

func TestDrainWaitsAndThenInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, one(), domain.StepTemplate{Name: "two", Handler: "slow"}, domain.StepTemplate{Name: "three", Handler: "h"}))
		b.register("h", deaf(3*time.Second))
		b.register("slow", untilCancelled)
		b.request("one")
		b.request("two")
		if !b.exec.Take(b.task.Definition, 2) {
			t.Fatal("no slot")
		}
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		b.exec.Drain(ctx)
		if got := time.Since(b.began); got != 5*time.Second {
			t.Errorf("it took %s", got)
		}
		b.commit(domain.StepExecutionRequested{Step: "three", Attempt: 1}) // committed before, told after
		synctest.Wait()
		got := b.reported()
		if len(got) != 3 || got[0].after != 3*time.Second {
			t.Fatalf("got %+v", got)
		}
		for i, step := range []int{1, 2} {
			f, ok := got[i+1].cmd.(domain.FailStep)
			if !ok || f.Step != step || f.Error.Kind != domain.KindInterrupted {
				t.Errorf("got %+v", got[i+1])
			}
		}
		if b.exec.Take(b.task.Definition, 0) || b.exec.Explain(b.task.Definition, 0) != "the engine is stopping" {
			t.Error("a slot was given after the end")
		}
		b.drain()
	})
}

func TestSlotsAreLimitedInAllAndPerHandler(t *testing.T) {
	d := define(t, one(), domain.StepTemplate{Name: "two", Handler: "rare"}, domain.StepTemplate{Name: "three", Handler: "absent"})
	b := newBench(t, Config{Slots: 3, PerHandler: map[string]int{"rare": 1}}, d)
	b.register("h", returns(nil, nil))
	b.register("rare", returns(nil, nil))
	woken := 0
	remove := b.exec.OnFree(func() { woken++ })
	take := func(step int, want bool, why string) {
		t.Helper()
		if got := b.exec.Explain(d, step); !strings.Contains(got, why) || (why == "") != (got == "") {
			t.Errorf("step %d is explained by %q, want %q", step, got, why)
		}
		if b.exec.Take(d, step) != want {
			t.Errorf("taking a slot for step %d: want %v", step, want)
		}
	}
	take(2, false, `no handler "absent" is registered`)
	take(1, true, "")
	take(1, false, `all 1 slots of handler "rare"`)
	take(0, true, "")
	b.exec.Release(d, 0)
	if woken != 0 {
		t.Error("nobody waited for that slot")
	}
	take(0, true, "")
	take(0, true, "")
	take(0, false, "all 3 slots of this process")
	b.exec.Release(d, 1)
	b.exec.Release(d, 0)
	if woken != 1 {
		t.Errorf("woken %d times, want 1", woken)
	}
	b.register("absent", returns(nil, nil))
	if woken != 2 {
		t.Error("a new handler wakes up who waits for it")
	}
	remove()
	b.exec.Release(d, 0)
	b.drain()
	if want := []string{"absent", "h", "rare"}; !reflect.DeepEqual(b.exec.Handlers(), want) || woken != 2 {
		t.Errorf("handlers %v, woken %d", b.exec.Handlers(), woken)
	}
}
