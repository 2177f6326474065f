package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
	"github.com/tasker-go/tasker/taskertest"
)

// everything is every family of events, facts and signals.
var everything = []tasker.EventType{"task.*", "step.*", "workflow.*", "observability.*", "custom.*", "partition.*", "definition.*"}

// listener remembers what it is told of, in full.
type listener struct {
	mu    sync.Mutex
	heard []tasker.Event
}

func (l *listener) hear(e tasker.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, e)
}

func (l *listener) events() []tasker.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

func live(e tasker.Event) bool { return domain.LiveSignal(e.Event.Type()) }

// inFull is everything that a reader sees of the events.
func inFull(events []tasker.Event) []string {
	lines := []string{}
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s %s", e.ID(), e.Event.Type(), e.At, e.Task, e.Actor(), domain.EventData(e.Event)))
	}
	return lines
}

func replayed(t *testing.T, e *taskertest.Engine, types ...tasker.EventType) []tasker.Event {
	t.Helper()
	e.Settle()
	var all []tasker.Event
	for r, err := range e.Replay(context.Background(), tasker.ReplayOptions{Types: types}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// attach runs a durable subscriber until stop is called.
func attach(t *testing.T, e *taskertest.Engine, name string, l *listener, types ...tasker.EventType) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := e.Attach(ctx, name, types, func(_ context.Context, r tasker.Event) error { l.hear(r); return nil },
			tasker.AttachOptions{From: tasker.FromBeginning})
		if err != nil {
			t.Error(err)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// erratic is a handler that does what the dice say.
func erratic(dice *rand.Rand, mu *sync.Mutex) tasker.StepHandlerFunc {
	return func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		mu.Lock()
		n, wait := dice.IntN(10), time.Duration(dice.IntN(3000))*time.Millisecond
		mu.Unlock()
		time.Sleep(wait)
		if err := step.Emit("tried", n); err != nil {
			return nil, err
		}
		switch {
		case n < 3:
			return nil, errors.New("not this time")
		case n == 3:
			return nil, tasker.Permanent(errors.New("never"))
		case n == 4:
			panic("broken")
		}
		return n, nil
	}
}

// Whatever happens, a tap hears it as it happens, a durable subscriber and a replay read it afterwards, and all three are
// told the same.
func TestSignalsHeardLiveAreTheSignalsOfAReplay(t *testing.T) {
	for seed := range uint64(4) {
		taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
			var mu sync.Mutex
			dice := rand.New(rand.NewPCG(seed, 30))
			h := erratic(dice, &mu)
			e.MustRegister(tasker.Define("erratic").CustomEvents("tried").
				Step("a", h).Step("b", h, tasker.Optional()).Step("skipped", h, tasker.Skippable(), tasker.After("a")).
				StepNamed("sleep", domain.SleepHandler, tasker.After("a"), tasker.HandlerConfig(map[string]string{"duration": "2s"})).
				Step("c", h, tasker.After("b", "sleep", "skipped"), tasker.Retries(5)).
				Deadline(time.Minute).MustBuild())
			tapped, subscribed := &listener{}, &listener{}
			tap, err := e.Tap(everything, tapped.hear)
			if err != nil {
				t.Fatal(err)
			}
			stop := attach(t, e, "everything", subscribed, everything...)
			began := replayed(t, e, everything...) // before the tap was there
			var ids []tasker.TaskID
			for range 8 {
				ids = append(ids, e.MustSubmit("erratic", nil, tasker.Bypass("skipped")))
			}
			by := tasker.By{Actor: "ann"}
			for range 60 {
				mu.Lock()
				id, n := ids[dice.IntN(len(ids))], dice.IntN(6)
				mu.Unlock()
				// Most are refused: what they change is what is told.
				switch n {
				case 0:
					_, _ = e.Pause(context.Background(), id, by)
				case 1, 2:
					_, _ = e.Resume(context.Background(), id, by)
				case 3:
					_, _ = e.Retry(context.Background(), id, by)
				case 4:
					_, _ = e.RetryStep(context.Background(), id, "a", tasker.StepRetry{}, by)
				case 5:
					_, _ = e.CancelStep(context.Background(), id, "b", by)
				}
				e.Advance(1100 * time.Millisecond)
			}
			e.Advance(time.Hour)
			stop()
			tap.Stop()
			want := inFull(replayed(t, e, everything...))
			var kept []tasker.Event
			for _, r := range tapped.events() {
				if !live(r) {
					kept = append(kept, r)
				}
			}
			if diff := cmp.Diff(want, append(inFull(began), inFull(kept)...)); diff != "" {
				t.Errorf("seed %d: (-replay +tap)\n%s", seed, diff)
			}
			if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(inFull(subscribed.events())))); diff != "" {
				t.Errorf("seed %d: (-replay +subscriber)\n%s", seed, diff)
			}
			if tap.Dropped() > 0 || !strings.Contains(strings.Join(want, "\n"), `"execution_status":"finished"`) {
				t.Errorf("seed %d: %d dropped, or nothing ended", seed, tap.Dropped())
			}
		})
	}
}

func TestATapHearsEachCallOfAHandlerBetweenItsFacts(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("work").Step("one", taskertest.FailTimes(1, errors.New("no"), 1), tasker.WithBackoff(tasker.Backoff{Jitter: domain.NoJitter})).MustBuild())
		l := &listener{}
		tap, err := e.Tap([]tasker.EventType{"step.*"}, l.hear)
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Stop()
		e.MustWait(e.MustSubmit("work", nil))
		e.Settle()
		var got []string
		for _, r := range l.events() {
			line := string(r.Event.Type())
			if s, ok := r.Event.(domain.Signal); ok {
				line += fmt.Sprintf(" %d %v", s.Attempt, s.Outcomes)
			}
			got = append(got, line)
		}
		want := []string{
			"step.execution_requested", "step.before_handle 1 []", "step.handle 1 [error]", "step.failed", "step.retry_requested",
			"step.execution_requested", "step.before_handle 2 []", "step.handle 2 [complete]", "step.completed",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestATapHearsOfWakeUpsThatComeToNothing(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		failsOnce := func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			if step.Attempt == 1 {
				return nil, errors.New("no")
			}
			time.Sleep(2 * time.Minute)
			return 1, nil
		}
		e.MustRegister(tasker.Define("work").Step("one", tasker.StepHandlerFunc(failsOnce),
			tasker.WithBackoff(tasker.Backoff{Strategy: domain.StrategyFixed, Base: time.Minute, Jitter: domain.NoJitter})).MustBuild())
		waits := e.MustSubmit("work", nil)
		e.Settle()
		l := &listener{}
		tap, err := e.Tap([]tasker.EventType{domain.SignalReenqueueFailed}, l.hear) // opened while the task waits
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Stop()
		paused, cancelled, running, due := e.MustSubmit("work", nil), e.MustSubmit("work", nil), e.MustSubmit("work", nil), time.Now().Add(time.Minute)
		e.Advance(time.Second)
		ctx, by := context.Background(), tasker.By{Actor: "ann"}
		for id, verb := range map[tasker.TaskID]func(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error){
			waits: e.Pause, paused: e.Pause, cancelled: e.Cancel,
			running: func(ctx context.Context, id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error) {
				return e.RetryStep(ctx, id, "one", tasker.StepRetry{}, by)
			},
		} {
			if _, err := verb(ctx, id, by); err != nil {
				t.Fatal(err)
			}
		}
		e.Advance(time.Hour)
		got := map[tasker.TaskID]string{}
		for _, r := range l.events() {
			if at := r.At.Time(); at.Before(due) || at.After(due.Add(time.Second)) {
				t.Errorf("told at %s, due at %s", at, due)
			}
			got[r.Task] += r.Event.(domain.Signal).Reason
		}
		want := map[tasker.TaskID]string{waits: "paused", paused: "paused", cancelled: "ended", running: "running"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestTypesThatNeverComeAreRefusedWithAWayOut(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		ctx := context.Background()
		nothing := func(context.Context, tasker.Event) error { return nil }
		var only *attached.LiveOnlyError
		if err := e.Attach(ctx, "books", []tasker.EventType{domain.SignalHandle}, nothing); !errors.As(err, &only) || !strings.Contains(err.Error(), "Engine.Tap") {
			t.Errorf("attached to a live signal: %v", err)
		}
		var unknown *domain.EventTypeError
		if err := e.Attach(ctx, "", []tasker.EventType{"task.complete"}, nothing); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "task.completed") {
			t.Errorf("attached to nothing: %v", err)
		}
		if _, err := e.Tap([]tasker.EventType{"task.complete"}, func(tasker.Event) {}); !errors.As(err, &unknown) {
			t.Errorf("tapped nothing: %v", err)
		}
		if _, err := e.Tap(nil, func(tasker.Event) {}, tasker.TapOptions{}, tasker.TapOptions{}); err == nil {
			t.Error("took two sets of options")
		}
	})
}

func TestATapEndsWithItsEngine(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("work").Step("one", taskertest.Returns(1)).MustBuild())
		l := &listener{}
		tap, err := e.Tap(nil, l.hear)
		if err != nil {
			t.Fatal(err)
		}
		first := e.Engine
		e.MustWait(e.MustSubmit("work", nil))
		e.Restart()
		<-tap.Done()
		n := len(l.events())
		e.MustWait(e.MustSubmit("work", nil))
		e.Settle()
		if n == 0 || len(l.events()) != n {
			t.Errorf("%d events, then %d", n, len(l.events()))
		}
		if _, err := first.Tap(nil, l.hear); !errors.Is(err, tasker.ErrNotRunning) {
			t.Errorf("a tap on an engine that has ended: %v", err)
		}
	})
}
