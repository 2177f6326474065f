package domain

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func seconds(list ...float64) []time.Duration {
	waits := make([]time.Duration, len(list))
	for i, s := range list {
		waits[i] = time.Duration(s * float64(time.Second))
	}
	return waits
}

// waitsTable is SEMANTICS 3 for n = 1 to 20, jitter 0.
var waitsTable = []struct {
	name    string
	backoff Backoff
	waits   []time.Duration
}{
	{
		"tasker", Backoff{},
		seconds(1, 2, 4, 8, 16, 32, 49, 64, 81, 100, 121, 144, 169, 196, 225, 256, 289, 300, 300, 300),
	},
	{
		"tasker, no cap in reach", Backoff{Max: time.Hour},
		seconds(1, 2, 4, 8, 16, 32, 49, 64, 81, 100, 121, 144, 169, 196, 225, 256, 289, 324, 361, 400),
	},
	{
		"exponential", Backoff{Strategy: StrategyExponential},
		seconds(1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300),
	},
	{
		"exponential, base and factor", Backoff{Strategy: StrategyExponential, Base: 2 * time.Second, Factor: 3, Max: 1000 * time.Second},
		seconds(2, 6, 18, 54, 162, 486, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000),
	},
	{
		"exponential, overflowing", Backoff{Strategy: StrategyExponential, Base: time.Hour, Factor: 1e30, Max: 24 * time.Hour},
		append(seconds(3600), slices.Repeat(seconds(86400), 19)...),
	},
	{
		"exponential, shrinking to half of the first", Backoff{Strategy: StrategyExponential, Base: 10 * time.Second, Factor: 0.75},
		append(seconds(10, 7.5, 5.625), slices.Repeat(seconds(5), 17)...),
	},
	{
		"linear", Backoff{Strategy: StrategyLinear, Base: 20 * time.Second},
		seconds(20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 220, 240, 260, 280, 300, 300, 300, 300, 300, 300),
	},
	{"fixed", Backoff{Strategy: StrategyFixed, Base: 7 * time.Second}, slices.Repeat(seconds(7), 20)},
	{"fixed, above the cap", Backoff{Strategy: StrategyFixed, Base: time.Hour}, slices.Repeat(seconds(300), 20)},
	{
		"list", Backoff{Strategy: StrategyList, List: seconds(5, 60, 30)},
		append(seconds(5, 60), slices.Repeat(seconds(30), 18)...),
	},
	{
		"list, at least half of the first", Backoff{Strategy: StrategyList, List: seconds(60, 1)},
		append(seconds(60), slices.Repeat(seconds(30), 19)...),
	},
}

func TestWaitOfEveryStrategy(t *testing.T) {
	for _, c := range waitsTable {
		t.Run(c.name, func(t *testing.T) {
			b := c.backoff
			b.Jitter = NoJitter
			b.setDefaults()
			for n, want := range c.waits {
				for _, seed := range []float64{0, 0.5, 0.999} {
					if got := b.Delay(n+1, seed); got != want {
						t.Errorf("n = %d: %v, want %v", n+1, got, want)
					}
				}
			}
		})
	}
}

func TestJitterStaysWithinATenthBelowTheCapAndAboveHalf(t *testing.T) {
	for _, c := range waitsTable {
		b := c.backoff
		b.setDefaults()
		if b.Jitter != 0.1 {
			t.Fatalf("jitter %v by default", b.Jitter)
		}
		half := min(c.waits[0], b.Max) / 2
		for n := range c.waits {
			plain := Backoff{Strategy: b.Strategy, Base: b.Base, Factor: b.Factor, List: b.List, Max: 1 << 62, Jitter: NoJitter}.Delay(n+1, 0)
			for _, seed := range []float64{0, 0.25, 0.5, 0.75, 0.999999} {
				got := b.Delay(n+1, seed)
				low, high := min(float64(plain)*0.9, float64(b.Max)), min(float64(plain)*1.1, float64(b.Max))
				low, high = max(low, float64(half)), max(high, float64(half))
				if float64(got) < low-1 || float64(got) > high+1 {
					t.Errorf("%s, n = %d, seed %v: %v is not within %v and %v", c.name, n+1, seed, got, time.Duration(low), time.Duration(high))
				}
			}
		}
	}
	b := Backoff{}
	b.setDefaults()
	for seed, want := range map[float64]time.Duration{0: 900 * time.Millisecond, 0.5: time.Second, 1: 1100 * time.Millisecond} {
		if got := b.Delay(1, seed); got != want {
			t.Errorf("seed %v: %v, want %v", seed, got, want)
		}
	}
}

func TestJitterIsAFunctionOfTaskStepAndAttempt(t *testing.T) {
	id := KeyedTaskID("a", "b", "1")
	if got, want := jitterSeed(id, "process_payment", 1), jitterSeed(id, "process_payment", 1); got != want {
		t.Error("the same, and yet another seed")
	}
	low, high := 1.0, 0.0
	seen := map[float64]bool{}
	for n := range 1000 {
		seed := jitterSeed(id, "process_payment", n+1)
		if seed < 0 || seed >= 1 {
			t.Fatalf("seed %v", seed)
		}
		seen[seed] = true
		low, high = min(low, seed), max(high, seed)
	}
	if len(seen) != 1000 || low > 0.05 || high < 0.95 {
		t.Errorf("%d seeds between %v and %v of 1000 attempts", len(seen), low, high)
	}
	if jitterSeed(id, "a", 1) == jitterSeed(id, "b", 1) || jitterSeed(id, "a", 1) == jitterSeed(KeyedTaskID("a", "b", "2"), "a", 1) {
		t.Error("another step or task has the same seed")
	}
}

// retryTask is a task with one running step.
func retryTask(t *testing.T, tpl StepTemplate) *Task {
	t.Helper()
	tpl.Name, tpl.Handler = "a", "h"
	def := &Definition{Name: "retry", Steps: []StepTemplate{tpl}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	v := NewTask(Record{Event: TaskCreated{}, At: taskTime, Task: KeyedTaskID("a", "b", "1")}, def)
	v.State = InProgress
	start(v)
	return v
}

func start(v *Task) {
	Evolve(v, Record{Event: StepExecutionRequested{Step: "a", Attempt: int(v.Steps[0].Attempt) + 1}, At: taskTime})
}

// fail reports a failure of the running step and folds it; and starts the step again, when it is tried again.
func fail(t *testing.T, v *Task, kind ErrorKind, after time.Duration) StepFailed {
	t.Helper()
	cmd := FailStep{Attempt: int(v.Steps[0].Attempt), Error: StepError{Kind: kind, Message: "m"}, RetryAfter: after}
	events, err := Decide(v, cmd, taskTime, nil)
	if err != nil || len(events) != 1 {
		t.Fatalf("events %v, error %v", events, err)
	}
	failed := events[0].(StepFailed)
	Evolve(v, Record{Event: failed, At: taskTime})
	if failed.RetryAt != 0 {
		Evolve(v, Record{Event: StepRetryRequested{Step: "a"}, At: failed.RetryAt})
		start(v)
	}
	return failed
}

func TestWhatIsFinal(t *testing.T) {
	exact := Backoff{Jitter: NoJitter}
	for _, c := range []struct {
		name string
		tpl  StepTemplate
		kind ErrorKind
		want time.Duration // -1: never again
	}{
		{"an error is tried again", StepTemplate{}, KindError, time.Second},
		{"no kind is an error", StepTemplate{}, "", time.Second},
		{"a kind of the handler's own", StepTemplate{}, "mine", time.Second},
		{"a timeout", StepTemplate{}, KindTimeout, time.Second},
		{"a panic", StepTemplate{}, KindPanic, time.Second},
		{"permanent", StepTemplate{}, KindPermanent, -1},
		{"deadline", StepTemplate{}, KindDeadline, -1},
		{"a kind that the template lists", StepTemplate{FinalErrors: []ErrorKind{"other", "mine"}}, "mine", -1},
		{"a kind that it does not list", StepTemplate{FinalErrors: []ErrorKind{"other"}}, "mine", time.Second},
		{"the last execution", StepTemplate{RetryLimit: 1}, KindError, -1},
		{"not retryable", StepTemplate{NotRetryable: true}, KindError, -1},
		{"a lost worker, not retryable", StepTemplate{NotRetryable: true}, KindWorkerLost, -1},
		{"a drain, not retryable", StepTemplate{NotRetryable: true}, KindInterrupted, -1},
		{"a lost worker of the last execution", StepTemplate{RetryLimit: 1}, KindWorkerLost, 0},
		{"a drain of the last execution", StepTemplate{RetryLimit: 1}, KindInterrupted, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.tpl.Backoff = exact
			v := retryTask(t, c.tpl)
			e := fail(t, v, c.kind, 0)
			got := e.RetryAt.Sub(taskTime)
			if e.RetryAt == 0 {
				got = -1
			}
			if got != c.want {
				t.Errorf("again after %v, want %v", got, c.want)
			}
			if again := fail2(t, c.tpl, c.kind, time.Minute); c.want > 0 && again != taskTime.Add(time.Minute) || c.want < 0 && again != 0 {
				t.Errorf("when the handler asks for a minute: %v", again)
			}
		})
	}
}

func fail2(t *testing.T, tpl StepTemplate, kind ErrorKind, after time.Duration) Instant {
	t.Helper()
	return fail(t, retryTask(t, tpl), kind, after).RetryAt
}

func TestWaitThatTheHandlerAsksForIsClippedAndHasNoJitter(t *testing.T) {
	for _, c := range []struct{ asks, most, want time.Duration }{
		{120 * time.Second, 0, 120 * time.Second},
		{time.Millisecond, 0, time.Millisecond},
		{1000 * time.Second, 0, 1000 * time.Second}, // the cap of the backoff does not hold for it
		{48 * time.Hour, 0, 24 * time.Hour},
		{10 * time.Minute, time.Minute, time.Minute},
	} {
		if got := fail2(t, StepTemplate{MaxRetryAfter: c.most}, KindError, c.asks); got != taskTime.Add(c.want) {
			t.Errorf("%v of at most %v: again after %v", c.asks, c.most, got.Sub(taskTime))
		}
	}
	if got := fail2(t, StepTemplate{RetryLimit: 1}, KindError, time.Second); got != 0 {
		t.Error("asking for a wait added an execution")
	}
}

func TestLostExecutionsDoNotCountFiveTimesPerRound(t *testing.T) {
	for _, kind := range []ErrorKind{KindWorkerLost, KindInterrupted} {
		v := retryTask(t, StepTemplate{RetryLimit: 2, Backoff: Backoff{Jitter: NoJitter}})
		for n := range 5 {
			if e := fail(t, v, kind, 0); e.RetryAt != taskTime {
				t.Fatalf("%s %d: again at %v", kind, n+1, e.RetryAt)
			}
			if s := v.Steps[0]; s.Executions != 0 || int(s.Lost) != n+1 || int(s.Attempt) != n+2 {
				t.Fatalf("%s %d: %+v", kind, n+1, s)
			}
		}
		// What counts goes on counting beside it.
		if e := fail(t, v, KindError, 0); e.RetryAt != taskTime.Add(time.Second) || v.Steps[0].Executions != 1 {
			t.Fatalf("the first failure that counts: %+v", e)
		}
		if e := fail(t, v, kind, 0); e.RetryAt != 0 {
			t.Fatalf("the sixth %s is tried again", kind)
		}
		Evolve(v, Record{Event: StepRetryRequested{Step: "a", NewRound: true}, At: taskTime})
		start(v)
		if e := fail(t, v, kind, 0); e.RetryAt != taskTime || v.Steps[0].Attempt != 9 {
			t.Fatalf("the first %s of the next round: %+v", kind, e)
		}
	}
}

func TestExecutionsAreCountedPerRound(t *testing.T) {
	for limit := 1; limit <= 5; limit++ {
		v := retryTask(t, StepTemplate{RetryLimit: limit, Backoff: Backoff{Jitter: NoJitter}})
		for round := range 3 {
			for n := 1; n <= limit; n++ {
				e := fail(t, v, KindError, 0)
				if (e.RetryAt == 0) != (n == limit) {
					t.Fatalf("limit %d, round %d: after execution %d again at %v", limit, round+1, n, e.RetryAt)
				}
				if e.RetryAt != 0 && e.RetryAt != taskTime.Add(waitsTable[0].waits[n-1]) {
					t.Fatalf("limit %d, round %d: after execution %d again at %v", limit, round+1, n, e.RetryAt)
				}
				if e.Attempt != round*limit+n {
					t.Fatalf("attempt %d", e.Attempt)
				}
			}
			Evolve(v, Record{Event: StepRetryRequested{Step: "a", NewRound: true}, At: taskTime})
			start(v)
		}
	}
}

func TestRetryIsDecidedOnceAndStored(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tpl := StepTemplate{RetryLimit: rapid.IntRange(2, 30).Draw(rt, "limit"), Backoff: Backoff{
			Strategy: rapid.SampledFrom([]Strategy{StrategyTasker, StrategyExponential, StrategyLinear, StrategyFixed}).Draw(rt, "strategy"),
			Jitter:   rapid.SampledFrom([]float64{NoJitter, 0.1, 1}).Draw(rt, "jitter"),
		}}
		v, w := retryTask(t, tpl), retryTask(t, tpl)
		for range rapid.IntRange(1, tpl.RetryLimit-1).Draw(rt, "failures") {
			a, b := fail(t, v, KindError, 0), fail(t, w, KindError, 0)
			if a.RetryAt != b.RetryAt || a.RetryAt <= taskTime {
				rt.Fatalf("%v and %v", a, b)
			}
			if wait := a.RetryAt.Sub(taskTime); wait > 300*time.Second || wait < 500*time.Millisecond {
				rt.Fatalf("waits %v", wait)
			}
		}
	})
}

func TestStoredErrorIsHeldToItsLimits(t *testing.T) {
	v := retryTask(t, StepTemplate{})
	long := make([]byte, MaxErrorMessage-1, MaxErrorMessage+10)
	for i := range long {
		long[i] = 'x'
	}
	cmd := FailStep{Attempt: 1, Error: StepError{Message: string(append(long, "äöü"...)), Frames: make([]string, 30)}}
	events, err := Decide(v, cmd, taskTime, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := events[0].(StepFailed).Error
	if e.Message != string(long)+" [cut]" || len(e.Frames) != MaxFrames || e.Kind != KindError || len(cmd.Error.Frames) != 30 {
		t.Errorf("%d bytes, %d frames, kind %q", len(e.Message), len(e.Frames), e.Kind)
	}
	if !json.Valid(EventData(events[0])) {
		t.Error("no JSON")
	}
}
