package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	_ "github.com/tasker-go/tasker/internal/sameseed"
)

// world is a drawn definition and what its handlers do: by step and counted execution of the round, so that it is the
// same whatever is run again.
type world struct {
	def      *domain.Definition
	bypass   []string
	outcomes [][]string
}

func drawWorld(rt *rapid.T, handlersAlone bool) world {
	w := world{def: &domain.Definition{Name: "world"}}
	if !handlersAlone {
		w.def.OnFailure = rapid.SampledFrom([]domain.OnFailure{domain.FinishBranches, domain.Stop}).Draw(rt, "on_failure")
		w.def.Deadline = rapid.SampledFrom([]time.Duration{0, 0, time.Second, 5 * time.Second}).Draw(rt, "deadline")
	}
	for i := range rapid.IntRange(1, 6).Draw(rt, "steps") {
		tpl := domain.StepTemplate{
			Name: string(rune('a' + i)), Handler: "work", RetryLimit: rapid.IntRange(1, 3).Draw(rt, "limit"),
			Optional: rapid.Bool().Draw(rt, "optional"), Skippable: rapid.IntRange(0, 4).Draw(rt, "skippable") == 0,
			Backoff: domain.Backoff{Jitter: domain.NoJitter},
		}
		switch {
		case rapid.IntRange(0, 5).Draw(rt, "sleep") == 0:
			tpl.Handler, tpl.Wait = domain.SleepHandler, time.Second
		case !handlersAlone:
			tpl.NotRetryable = rapid.IntRange(0, 4).Draw(rt, "final") == 0
		}
		if tpl.Skippable {
			w.bypass = append(w.bypass, tpl.Name)
		}
		for p := range i {
			if rapid.IntRange(0, 2).Draw(rt, "edge") == 0 {
				tpl.DependsOn = append(tpl.DependsOn, string(rune('a'+p)))
			}
		}
		w.def.Steps = append(w.def.Steps, tpl)
		w.outcomes = append(w.outcomes, rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "fail", "permanent"}), 3, 3).Draw(rt, "outcomes"))
	}
	if err := w.def.Validate(); err != nil {
		rt.Fatal(err)
	}
	return w
}

func (w world) submit(rt *rapid.T, slots int) *Run {
	r := New(w.def, slots)
	if err := r.Submit(domain.CreateTask{Context: domain.Inline([]byte(`{}`)), BypassSteps: w.bypass}); err != nil {
		rt.Fatal(err)
	}
	return r
}

// play lets the handlers run, the one that pick chooses of those that run, until nothing is left to happen.
func (w world) play(rt *rapid.T, r *Run, pick func(n int) int) {
	for range 1000 {
		running := r.Task.Running()
		if len(running) == 0 {
			wake := r.Task.NextWake()
			if wake == 0 {
				if r.Task.State.Live() {
					rt.Fatalf("stuck: %s", show(r.Task))
				}
				return
			}
			r.Advance(max(0, wake.Sub(r.Now)))
			continue
		}
		x := running[pick(len(running))]
		step := w.def.Steps[x.Step].Name
		var err error
		switch outcome := w.outcomes[x.Step][r.Task.Steps[x.Step].Executions]; outcome {
		case "ok":
			err = r.Report(step, `"`+step+`"`, nil, 0)
		case "fail":
			err = r.Report(step, "", &domain.StepError{Message: "no"}, 0)
		default:
			err = r.Report(step, "", &domain.StepError{Kind: domain.KindPermanent, Message: "no"}, 0)
		}
		if err != nil {
			rt.Fatal(err)
		}
		if c := r.Unsettled(); len(c) > 0 {
			rt.Fatalf("settled, and yet the reactors say %#v", c)
		}
	}
	rt.Fatal("the task never ends")
}

func first(int) int { return 0 }

// end is how a task ended, without attempts and times.
func end(t *domain.Task) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s expired=%v %s %v %s %v;", t.State, t.Expired, t.Failed, t.Culprits(), t.Result.JSON, t.ResultFrom)
	for i := range t.Steps {
		s := &t.Steps[i]
		fmt.Fprintf(&b, " %s %s skipped=%v executions=%d result=%s retry=%v cursor=%s", t.Template(i).Name, s.State, s.Skipped, s.Executions, s.Result.JSON, s.WakeAt != 0, s.Cursor())
	}
	return b.String()
}

// checkAttempts: attempts strictly increase, and every execution that begins ends once.
func checkAttempts(rt *rapid.T, log []domain.Record) {
	last, open := map[string]int{}, map[string]bool{}
	for _, rec := range log {
		switch e := rec.Event.(type) { //nolint:gochecksumtype // the events of executions
		case domain.StepExecutionRequested:
			if e.Attempt != last[e.Step]+1 || open[e.Step] {
				rt.Fatalf("%s: attempt %d after %d (running: %v)", e.Step, e.Attempt, last[e.Step], open[e.Step])
			}
			last[e.Step], open[e.Step] = e.Attempt, true
		case domain.StepCompleted:
			if e.Attempt != last[e.Step] || !open[e.Step] {
				rt.Fatalf("%s: attempt %d ends, %d was running: %v", e.Step, e.Attempt, last[e.Step], open[e.Step])
			}
			open[e.Step] = false
		case domain.StepFailed:
			if e.Attempt != last[e.Step] {
				rt.Fatalf("%s: attempt %d ends, %d was running", e.Step, e.Attempt, last[e.Step])
			}
			open[e.Step] = false
		}
	}
}

// checkSayings: what a handler says belongs to the execution that runs, and nothing but notes follows the expiry.
func checkSayings(rt *rapid.T, log []domain.Record) {
	running, expired := map[string]int{}, false
	for _, rec := range log {
		if _, note := rec.Event.(domain.TaskAnnotated); expired && !note {
			rt.Fatalf("%T after the task had expired", rec.Event)
		}
		switch e := rec.Event.(type) { //nolint:gochecksumtype // what begins, ends and belongs to executions
		case domain.StepExecutionRequested:
			running[e.Step] = e.Attempt
		case domain.StepCompleted, domain.StepFailed, domain.StepCancelled:
			delete(running, e.(domain.StepEvent).StepName())
		case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
			if s := e.(domain.StepEvent); running[s.StepName()] != s.AttemptNumber() {
				rt.Fatalf("%+v while attempt %d runs", e, running[s.StepName()])
			}
		case domain.TaskExpired:
			expired = true
		}
	}
}

func TestHistoryCutAfterAnyEventEndsTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, false)
		whole := w.submit(rt, AllSlots)
		w.play(rt, whole, first)
		checkAttempts(rt, whole.Log)
		for n := range whole.Log {
			r := New(w.def, AllSlots)
			r.Log = append(r.Log, whole.Log...)
			r.Cut(n)
			w.play(rt, r, first)
			checkAttempts(rt, r.Log)
			if got, want := end(r.Task), end(whole.Task); got != want {
				rt.Fatalf("cut before the last %d events, after %T:\n%s\nwant\n%s", n, whole.Log[len(whole.Log)-n-1].Event, got, want)
			}
		}
	})
}

// Lost workers end what cannot be retried, so every step here can; and a deadline or a stop depends on what came first.
func TestOwnerLostAfterAnyEventChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, true)
		whole := w.submit(rt, AllSlots)
		w.play(rt, whole, first)
		for n := range whole.Log {
			r := New(w.def, rapid.SampledFrom([]int{1, 2, AllSlots}).Draw(rt, "slots"))
			r.Log = append(r.Log, whole.Log[:len(whole.Log)-n]...)
			r.Task = Fold(w.def, r.Log)
			r.Now = r.Log[len(r.Log)-1].At
			r.Lose()
			w.play(rt, r, first)
			checkAttempts(rt, r.Log)
			if got, want := end(r.Task), end(whole.Task); got != want {
				rt.Fatalf("lost before the last %d events, after %T:\n%s\nwant\n%s", n, whole.Log[len(whole.Log)-n-1].Event, got, want)
			}
		}
	})
}

func TestOutcomeDoesNotDependOnTiming(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, true)
		want := ""
		for range 4 {
			r := w.submit(rt, rapid.SampledFrom([]int{1, 2, AllSlots}).Draw(rt, "slots"))
			w.play(rt, r, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "next") })
			checkAttempts(rt, r.Log)
			if got := end(r.Task); want != "" && got != want {
				rt.Fatalf("ended\n%s, and in another order\n%s", want, got)
			} else {
				want = got
			}
		}
	})
}

func TestVerbsAtAnyMomentKeepWhatIsPromised(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, false)
		r := w.submit(rt, rapid.SampledFrom([]int{1, 2, AllSlots}).Draw(rt, "slots"))
		for range rapid.IntRange(1, 40).Draw(rt, "moves") {
			step := rapid.SampledFrom(w.def.Steps).Draw(rt, "step").Name
			i := w.def.Graph().Index(step)
			attempt := int(r.Task.Steps[i].Attempt) - rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "stale")
			switch rapid.IntRange(0, 7).Draw(rt, "move") {
			case 0:
				r.Lose()
			case 1:
				r.Advance(time.Duration(rapid.IntRange(0, 9).Draw(rt, "seconds")) * time.Second)
			case 2:
				if n := len(r.Log) - 1; n > 0 { // what an operator did may be cut away; the rest goes on
					r.Cut(rapid.IntRange(0, min(n, 5)).Draw(rt, "cut"))
				}
			default:
				_, _ = r.Do(rapid.SampledFrom([]domain.Command{
					domain.CompleteStep{Step: i, Attempt: attempt, Result: domain.Inline([]byte(`1`))},
					domain.CompleteStep{Step: i, Attempt: attempt, Result: domain.Inline([]byte(`1`))},
					domain.FailStep{Step: i, Attempt: attempt},
					domain.FailStep{Step: i, Attempt: attempt, Error: domain.StepError{Kind: domain.KindPermanent}},
					domain.FailStep{Step: i, Attempt: attempt, Error: domain.StepError{Kind: domain.KindInterrupted}},
					domain.CancelTask{}, domain.RetryTask{}, domain.ResolveTask{}, domain.PauseTask{}, domain.ResumeTask{},
					domain.RetryStep{Step: step}, domain.RetryStep{Step: step, RetryLimit: 1}, domain.ResolveStep{Step: step},
					domain.CancelStep{Step: step}, domain.FinishStep{Step: step},
					domain.CheckpointStep{Step: i, Attempt: attempt, Cursor: []byte(strconv.Itoa(len(r.Log)))},
					domain.ProgressStep{Step: i, Attempt: attempt, Done: 1}, domain.LogStep{Step: i, Attempt: attempt, Lines: []string{"x"}},
					domain.RetryStep{Step: step, Inputs: []byte(`{}`)},
					domain.CompleteStep{Step: i, Attempt: attempt, Emitted: []domain.Custom{{Name: "noted"}}},
					rapid.SampledFrom([]domain.Command{domain.AnnotateTask{Kind: "note"}, domain.ExpireTask{}}).Draw(rt, "rare"),
				}).Draw(rt, "command"))
			}
			checkSayings(rt, r.Log)
			if c := r.Unsettled(); len(c) > 0 {
				rt.Fatalf("settled, and yet the reactors say %#v\n%s", c, show(r.Task))
			}
			if len(r.Task.Running()) > r.Slots {
				rt.Fatalf("%d executions and %d slots", len(r.Task.Running()), r.Slots)
			}
			live := r.Task.State.Live()
			for k := range r.Task.Steps {
				switch {
				case r.Task.Steps[k].State == domain.InProgress && !live:
					rt.Fatalf("a step runs: %s", show(r.Task))
				case r.Task.Ready(k) && len(r.Task.Running()) < r.Slots:
					rt.Fatalf("step %d is ready, a slot is free, and it does not start: %s", k, show(r.Task))
				}
			}
			if again := Fold(w.def, r.Log); end(again) != end(r.Task) || again.ExecutionContext() != r.Task.ExecutionContext() {
				rt.Fatalf("folded again\n%s\n%+v\nis not\n%s\n%+v", end(again), again.ExecutionContext(), end(r.Task), r.Task.ExecutionContext())
			}
			checkAttempts(rt, r.Log)
		}
	})
}
