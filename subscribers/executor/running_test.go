package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// says is a handler that only looks at its step.
func says(f func(ctx context.Context, step domain.StepView) (any, error)) handlerFunc {
	return func(ctx context.Context, _ domain.TaskView, _ domain.Sequence, step domain.StepView) (any, error) {
		return f(ctx, step)
	}
}

func emitting() domain.StepTemplate {
	s := one()
	s.CustomEvents = []domain.CustomEvent{{Name: "paid"}}
	return s
}

func TestProgressIsReportedOnceASecondAndTheLastOneBeforeTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, one()))
		b.register("h", says(func(_ context.Context, step domain.StepView) (any, error) {
			for n := 1; n <= 250; n++ {
				step.Progress(n, 250, "rows\x00\xff")
				time.Sleep(9 * time.Millisecond)
			}
			step.Progress(250, 250, "done")
			return "ok", nil
		}))
		b.request("one")
		b.drain()
		var got []string
		for _, r := range b.reported() {
			if c, ok := r.cmd.(domain.ProgressStep); ok {
				got = append(got, fmt.Sprintf("%s %d/%d %s", r.after, c.Done, c.Total, c.Message))
			} else {
				got = append(got, fmt.Sprintf("%s %T", r.after, r.cmd))
			}
		}
		want := "[0s 1/250 rows\uFFFD\uFFFD 1s 112/250 rows\uFFFD\uFFFD 2s 223/250 rows\uFFFD\uFFFD 2.25s 250/250 done 2.25s domain.CompleteStep]"
		if fmt.Sprint(got) != want {
			t.Errorf("got  %v\nwant %s", got, want)
		}
	})
}

func TestLogLinesAreBoundedAndComeBeforeTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, one()))
		var late domain.StepView
		b.register("h", says(func(ctx context.Context, step domain.StepView) (any, error) {
			step.Log("first\nsecond %d\n", 7)
			time.Sleep(1500 * time.Millisecond) // reported after a second
			if run, ok := domain.RunFrom(ctx); ok {
				run.AppendLog(strings.Repeat("ä", domain.MaxLogLine))
			}
			for range 1000 {
				step.Log("%s", strings.Repeat("x", 99))
			}
			late = step
			return nil, errors.New("no")
		}))
		b.request("one")
		b.drain()
		late.Log("after the end")
		late.Progress(1, 1, "")
		if err := late.Emit("paid", 1); err == nil {
			t.Error("an event after the end")
		}
		reports := b.reported()
		if len(reports) != 3 {
			t.Fatalf("%d reports", len(reports))
		}
		first, second := reports[0].cmd.(domain.LogStep), reports[1].cmd.(domain.LogStep)
		if fmt.Sprint(first.Lines) != "[first second 7]" || first.Dropped != 0 || reports[0].after != time.Second {
			t.Errorf("after %s: %+v", reports[0].after, first)
		}
		size := 0
		for _, line := range second.Lines {
			size += len(line) + 1
		}
		if cut := second.Lines[0]; len(cut) > domain.MaxLogLine || !strings.HasSuffix(cut, "ä [cut]") {
			t.Errorf("a long line has %d bytes: %s", len(cut), cut[len(cut)-20:])
		}
		if size > domain.MaxLogEvent || second.Dropped != 1001-len(second.Lines) || len(second.Lines) < 100 {
			t.Errorf("%d bytes in %d lines, %d dropped", size, len(second.Lines), second.Dropped)
		}
		if _, ok := reports[2].cmd.(domain.FailStep); !ok {
			t.Errorf("the last report is %T", reports[2].cmd)
		}
	})
}

func TestALongTalkerIsCutOffAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, define(t, one()))
		b.register("h", says(func(_ context.Context, step domain.StepView) (any, error) {
			for range 20 {
				for range 10 {
					step.Log("%s", strings.Repeat("x", 999))
				}
				time.Sleep(time.Second)
			}
			return nil, nil
		}))
		b.request("one")
		b.drain()
		size, lines, dropped := 0, 0, 0
		for _, r := range b.reported() {
			if c, ok := r.cmd.(domain.LogStep); ok {
				for _, line := range c.Lines {
					size += len(line) + 1
				}
				lines, dropped = lines+len(c.Lines), dropped+c.Dropped
			}
		}
		if size > domain.MaxLogAttempt || lines+dropped != 200 || lines < 60 {
			t.Errorf("%d bytes in %d lines, %d dropped", size, lines, dropped)
		}
	})
}

func TestCustomEventsComeWithTheOutcome(t *testing.T) {
	for _, fails := range []bool{false, true} {
		b := newBench(t, Config{}, define(t, emitting()))
		b.register("h", says(func(_ context.Context, step domain.StepView) (any, error) {
			if err := step.Emit("paid", map[string]int{"n": 1}); err != nil {
				t.Error(err)
			}
			if err := step.Emit("paid", nil); err != nil {
				t.Error(err)
			}
			if err := step.Emit("shipped", nil); err == nil || !strings.Contains(err.Error(), `"shipped" is declared neither by step "one" nor by default.work@0.1.0: add it to custom_events`) {
				t.Errorf("undeclared: %v", err)
			}
			if err := step.Emit("paid", make(chan int)); err == nil {
				t.Error("a channel was emitted")
			}
			if err := step.Emit("paid", strings.Repeat("x", domain.MaxEmittedBytes)); err == nil || !strings.Contains(err.Error(), "emit a reference") {
				t.Errorf("too large: %v", err)
			}
			if fails {
				return nil, errors.New("no")
			}
			return nil, nil
		}))
		b.request("one")
		b.drain()
		var emitted []domain.Custom
		if fails {
			emitted = b.failure().Emitted
		} else {
			emitted = b.only().cmd.(domain.CompleteStep).Emitted
		}
		if len(emitted) != 2 || string(emitted[0].Data) != `{"n":1}` || emitted[0].Name != "paid" || emitted[1].Data != nil {
			t.Errorf("fails %v: %+v", fails, emitted)
		}
	}
}

func TestTooManyCustomEventsAreRefused(t *testing.T) {
	b := newBench(t, Config{}, define(t, emitting()))
	b.register("h", says(func(_ context.Context, step domain.StepView) (any, error) {
		for range domain.MaxEmitted {
			if err := step.Emit("paid", nil); err != nil {
				t.Error(err)
			}
		}
		return nil, step.Emit("paid", nil)
	}))
	b.request("one")
	b.drain()
	if f := b.failure(); len(f.Emitted) != domain.MaxEmitted || !strings.Contains(f.Error.Message, "at most 100 events") {
		t.Errorf("%d events, %s", len(f.Emitted), f.Error.Message)
	}
}

func TestAHandlerWithoutSignsOfLifeIsGivenUp(t *testing.T) {
	for name, tt := range map[string]struct {
		beat func(domain.StepView)
		want time.Duration
	}{
		"none":     {func(domain.StepView) {}, 10 * time.Second},
		"beats":    {domain.StepView.Heartbeat, 41 * time.Second},
		"progress": {func(s domain.StepView) { s.Progress(1, 0, "") }, 41 * time.Second},
		"log":      {func(s domain.StepView) { s.Log("x") }, 41 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tpl := one()
				tpl.HeartbeatTimeout = 10 * time.Second
				b := newBench(t, Config{}, define(t, tpl))
				var cause error
				b.register("h", says(func(ctx context.Context, step domain.StepView) (any, error) {
					for range 4 {
						time.Sleep(7750 * time.Millisecond)
						tt.beat(step)
					}
					<-ctx.Done()
					cause = context.Cause(ctx)
					return nil, ctx.Err()
				}))
				b.request("one")
				b.drain()
				var f domain.FailStep
				var after time.Duration
				for _, r := range b.reported() {
					if c, ok := r.cmd.(domain.FailStep); ok {
						f, after = c, r.after
					}
				}
				if f.Error.Kind != domain.KindTimeout || f.Error.Code != "HEARTBEAT" || after != tt.want ||
					f.Error.Message != "the handler gave no sign of life for 10s (heartbeat_timeout)" {
					t.Errorf("after %s: %+v", after, f.Error)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if !errors.Is(cause, ErrNoHeartbeat) {
					t.Errorf("the cause is %v", cause)
				}
			})
		})
	}
}

func TestACheckpointReturnsWhenItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stored []string
		b := newBench(t, Config{
			Confirm: func(_ context.Context, partition int, _ domain.TaskID, cmd domain.Command) error {
				time.Sleep(time.Second)
				c := cmd.(domain.CheckpointStep)
				stored = append(stored, fmt.Sprintf("%d %d/%d %s", partition, c.Step, c.Attempt, c.Cursor))
				if len(stored) == 3 {
					return domain.ErrStale
				}
				return nil
			},
		}, define(t, one()))
		began := time.Now()
		b.register("h", says(func(ctx context.Context, step domain.StepView) (any, error) {
			if err := step.Checkpoint(ctx, strings.Repeat("x", domain.MaxCursor)); err == nil || !strings.Contains(err.Error(), "store the data elsewhere") {
				t.Errorf("too large: %v", err)
			}
			for n := range 5 {
				if err := step.Checkpoint(ctx, map[string]int{"n": n}); err != nil {
					return nil, err
				}
				if took := time.Since(began); took != time.Duration(n+1)*time.Second {
					t.Errorf("checkpoint %d after %s", n, took)
				}
			}
			return nil, nil
		}))
		b.request("one")
		b.drain()
		if got := fmt.Sprint(stored); got != `[3 0/1 {"n":0} 3 0/1 {"n":1} 3 0/1 {"n":2}]` {
			t.Error(got)
		}
		if f := b.failure(); !strings.Contains(f.Error.Message, `checkpoint of step "one": stale report`) {
			t.Error(f.Error.Message)
		}
	})
}

func TestACheckpointEndsWithTheExecutionWhateverItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{
			Confirm: func(ctx context.Context, _ int, _ domain.TaskID, _ domain.Command) error {
				<-ctx.Done()
				return context.Cause(ctx)
			},
		}, define(t, one()))
		var got error
		b.register("h", says(func(_ context.Context, step domain.StepView) (any, error) {
			got = step.Checkpoint(context.Background(), 1)
			return nil, got
		}))
		b.request("one")
		synctest.Wait()
		b.commit(domain.StepCancelled{Step: "one"})
		b.drain()
		if !errors.Is(got, ErrStepCancelled) {
			t.Error(got)
		}
	})
}

func TestTheNextAttemptFindsTheCheckpoint(t *testing.T) {
	b := newBench(t, Config{}, define(t, one()))
	b.fold(domain.StepExecutionRequested{Step: "one", Attempt: 1}, "")
	b.fold(domain.StepCheckpointed{Step: "one", Attempt: 1, Cursor: json.RawMessage(`{"n":3}`)}, "")
	b.fold(domain.StepFailed{Step: "one", Attempt: 1, RetryAt: 1}, "")
	b.fold(domain.StepRetryRequested{Step: "one"}, "")
	b.register("h", says(func(_ context.Context, step domain.StepView) (any, error) {
		var cursor struct{ N int }
		found, err := step.Resume(&cursor)
		if err == nil {
			var other []string
			if _, misfit := step.Resume(&other); misfit == nil {
				t.Error("a checkpoint of another shape fits")
			}
		}
		return fmt.Sprint(found, cursor.N), err
	}))
	b.request("one")
	b.drain()
	if got := b.result(); got != `"true 3"` {
		t.Error(got)
	}
}

// shaper is a handler with the hook.
type shaper struct {
	handlerFunc
	shape func(output any) (any, error)
}

func (s shaper) ProcessResults(_ context.Context, _ domain.StepView, output any) (any, error) {
	return s.shape(output)
}

func TestAHandlerMayShapeItsResultInAHook(t *testing.T) {
	for name, tt := range map[string]struct {
		output error
		shape  func(any) (any, error)
		want   string
	}{
		"shaped":        {nil, func(o any) (any, error) { return []any{o, "shaped"}, nil }, `["raw","shaped"]`},
		"an error":      {nil, func(any) (any, error) { return nil, domain.Permanent(errors.New("misshapen")) }, "permanent: misshapen"},
		"a panic":       {nil, func(any) (any, error) { panic("hook") }, "panic: panic: hook"},
		"failed before": {errors.New("no"), func(any) (any, error) { panic("not called") }, "error: no"},
	} {
		b := newBench(t, Config{}, define(t, one()))
		if err := b.exec.Register("h", shaper{returns("raw", tt.output), tt.shape}); err != nil {
			t.Fatal(err)
		}
		b.request("one")
		b.drain()
		var got string
		if c, ok := b.only().cmd.(domain.CompleteStep); ok {
			got = string(c.Result.JSON)
		} else {
			f := b.failure()
			got = string(f.Error.Kind) + ": " + f.Error.Message
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
