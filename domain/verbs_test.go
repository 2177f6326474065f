package domain_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/internal/scenario"
)

// play is one task whose life the tests of the verbs drive.
type play struct {
	*testing.T
	*scenario.Run
	mark int
}

func begin(t *testing.T, change func(*domain.Definition), steps ...domain.StepTemplate) *play {
	t.Helper()
	def := definition(steps...)
	for i := range def.Steps {
		def.Steps[i].Backoff.Jitter = domain.NoJitter
	}
	if change != nil {
		change(def)
	}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	p := &play{t, scenario.New(def, scenario.AllSlots), 0}
	if err := p.Submit(domain.CreateTask{Context: domain.Inline([]byte(`{}`))}); err != nil {
		t.Fatal(err)
	}
	p.mark = len(p.Log)
	return p
}

// events are the events since the last call, by type and step.
func (p *play) events() string {
	var list []string
	for _, r := range p.Log[p.mark:] {
		text := string(r.Event.Type())
		if e, ok := r.Event.(domain.StepEvent); ok {
			text += " " + e.StepName()
		}
		list = append(list, text)
	}
	p.mark = len(p.Log)
	return strings.Join(list, ", ")
}

// does a verb and compares the events that it led to.
func (p *play) does(cmd domain.Command, want ...string) {
	p.Helper()
	changed, err := p.Do(cmd)
	if got := p.events(); err != nil || !changed || got != strings.Join(want, ", ") {
		p.Errorf("%T: %v, error %v, events\n%s, want\n%s", cmd, changed, err, got, strings.Join(want, ", "))
	}
}

// keeps: a verb that finds everything as it asks for.
func (p *play) keeps(cmd domain.Command) {
	p.Helper()
	changed, err := p.Do(cmd)
	if got := p.events(); err != nil || changed || got != "" {
		p.Errorf("%T: %v, error %v, events %s", cmd, changed, err, got)
	}
}

// refuses: a verb that is not possible, and what it says.
func (p *play) refuses(cmd domain.Command, want string) {
	p.Helper()
	changed, err := p.Do(cmd)
	if err == nil || changed || p.events() != "" {
		p.Fatalf("%T: %v, error %v", cmd, changed, err)
	}
	if got := strings.ReplaceAll(err.Error(), scenario.ID.String(), "ID"); got != want {
		p.Errorf("%T says\n%s, want\n%s", cmd, got, want)
	}
}

func (p *play) ok(names ...string) {
	p.Helper()
	for _, name := range names {
		if err := p.Report(name, `{"from":"`+name+`"}`, nil, 0); err != nil {
			p.Fatalf("%s: %v", name, err)
		}
	}
	p.events()
}

func (p *play) fails(name string, kind domain.ErrorKind) {
	p.Helper()
	if err := p.Report(name, "", &domain.StepError{Kind: kind, Message: "no"}, 0); err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	p.events()
}

func (p *play) is(task domain.State, steps ...domain.State) {
	p.Helper()
	var got []domain.State
	for i := range p.Task.Steps {
		got = append(got, p.Task.Steps[i].State)
	}
	if p.Task.State != task || !slices.Equal(got, steps) {
		p.Errorf("the task is %s, its steps %v; want %s, %v", p.Task.State, got, task, steps)
	}
}

const (
	pending   = domain.Pending
	running   = domain.InProgress
	complete  = domain.Complete
	failed    = domain.Error
	cancelled = domain.Cancelled
	resolved  = domain.ResolvedManually
)

func TestB16CancelEndsEveryStepInOneCommit(t *testing.T) {
	p := begin(t, nil, step("done"), step("runs"), step("waits"), step("gone"), step("behind", "runs"))
	p.ok("done")
	p.fails("waits", domain.KindError)
	p.fails("gone", domain.KindPermanent)
	p.does(domain.CancelTask{Reason: "wrong"},
		"task.cancelled", "step.cancelled runs", "step.cancelled waits", "step.cancelled gone", "step.cancelled behind")
	p.is(cancelled, complete, cancelled, cancelled, cancelled, cancelled)
	if err := p.Report("runs", `1`, nil, 0); !errors.Is(err, domain.ErrStale) {
		t.Errorf("the late result: %v", err)
	}
	p.keeps(domain.CancelTask{})
	p.keeps(domain.ResumeTask{})
	p.refuses(domain.RetryTask{}, "task ID is cancelled and cannot become pending: only a failed task can be retried: submit a new one")
	p.refuses(domain.PauseTask{}, "task ID: its state is cancelled, and only a task that is pending or in progress can be paused")
	p.Advance(time.Hour)
	if got := p.events(); got != "" {
		t.Error("afterwards:", got)
	}
}

func TestNothingRunsInACancelledTaskWhoseStepsAreNotYet(t *testing.T) {
	p := begin(t, nil, step("a"), step("b"))
	p.does(domain.CancelTask{}, "task.cancelled", "step.cancelled a", "step.cancelled b")
	for cut := 1; cut <= 2; cut++ { // the commit was stored in part; then its owner was lost
		torn := scenario.New(p.Def, scenario.AllSlots)
		torn.Log = append(torn.Log, p.Log[:len(p.Log)-cut]...)
		if task := scenario.Fold(p.Def, torn.Log); len(task.Running()) > 0 || !task.Unfinished() {
			t.Errorf("%v runs in a cancelled task", task.Running())
		}
		torn.Lose()
		(&play{t, torn, 0}).is(cancelled, cancelled, cancelled)
	}
}

func TestCancelOfACompleteTaskIsRefused(t *testing.T) {
	p := begin(t, nil, step("a"))
	p.ok("a")
	p.refuses(domain.CancelTask{}, "task ID is complete and cannot become cancelled: it has ended and stays as it is")
	p.refuses(domain.ResolveTask{}, "task ID is complete and cannot become resolved_manually: it has ended and stays as it is")
	p.refuses(domain.CancelStep{Step: "a"}, `step "a" of task ID is complete and cannot become cancelled: its task is complete and stays as it is`)
	p.keeps(domain.FinishStep{Step: "a"})
}

func TestAFailedTaskCanBeCancelledOrResolved(t *testing.T) {
	for _, c := range []struct {
		cmd  domain.Command
		want []string
		task domain.State
		step domain.State
	}{
		{domain.CancelTask{}, []string{"task.cancelled", "step.cancelled a"}, cancelled, cancelled},
		{domain.ResolveTask{}, []string{"task.resolved_manually"}, resolved, failed},
	} {
		p := begin(t, nil, step("a"))
		p.fails("a", domain.KindPermanent)
		p.does(c.cmd, c.want...)
		p.is(c.task, c.step)
		p.keeps(c.cmd)
	}
	p := begin(t, nil, step("a"))
	p.refuses(domain.ResolveTask{}, "task ID is in_progress and cannot become resolved_manually: "+
		"only a failed task can be resolved: cancel it, or resolve its steps")
}

func TestB17RetryGivesEveryStepInErrorANewRoundAtOnce(t *testing.T) {
	p := begin(t, nil, step("a"), step("b"), step("c", "a", "b"))
	p.fails("a", domain.KindPermanent)
	p.keeps(domain.RetryTask{}) // it runs
	p.fails("b", domain.KindPermanent)
	p.is(failed, failed, failed, pending)
	p.does(domain.RetryTask{Reason: "again"}, "step.retry_requested a", "step.retry_requested b", "task.retry_requested",
		"task.start_requested", "step.execution_requested a", "step.execution_requested b")
	p.keeps(domain.RetryTask{})
	for i := range 2 {
		if s := p.Task.Steps[i]; s.Round != 2 || s.Attempt != 2 || s.Executions != 0 {
			t.Errorf("%+v", s)
		}
	}
	if p.Task.Round != 2 {
		t.Error("round", p.Task.Round)
	}
	p.ok("a", "b", "c")
	p.is(complete, complete, complete, complete)
}

func TestRetryLiftsAPause(t *testing.T) {
	p := begin(t, nil, step("a"))
	p.does(domain.PauseTask{}, "task.paused")
	p.fails("a", domain.KindPermanent) // running steps end, the task may end
	p.is(failed, failed)
	p.does(domain.RetryTask{}, "step.retry_requested a", "task.retry_requested", "task.start_requested", "step.execution_requested a")
	if p.Task.Paused {
		t.Error("still paused")
	}
}

func TestB18ResolvingAFailedStepReopensTheTask(t *testing.T) {
	p := begin(t, nil, step("a"), step("b", "a"))
	p.fails("a", domain.KindPermanent)
	p.does(domain.ResolveStep{Step: "a", Result: domain.Inline(json.RawMessage(`{"id":7}`))},
		"step.resolved_manually a", "task.retry_requested", "task.start_requested", "step.execution_requested b")
	if got := string(p.Task.Steps[0].Result.JSON); got != `{"id":7}` {
		t.Error("children read", got)
	}
	p.keeps(domain.ResolveStep{Step: "a"})
	p.fails("b", domain.KindPermanent)
	p.does(domain.ResolveStep{Step: "b", Result: domain.Inline(json.RawMessage(`8`))},
		"step.resolved_manually b", "task.retry_requested", "task.start_requested", "task.completed")
	if got := string(p.Task.Result.JSON); got != `{"b":8}` {
		t.Error("result", got)
	}
	p.keeps(domain.ResolveStep{Step: "b"})
}

func TestB19Bypass(t *testing.T) {
	def := definition(step("a"), step("b", "a"))
	def.Steps[1].Skippable = true
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	var refused *domain.BypassError
	for name, want := range map[string]string{"a": `bypass_steps: "a" is not skippable`, "z": `bypass_steps: "z" is not a step of it`} {
		err := scenario.New(def, 1).Submit(domain.CreateTask{BypassSteps: []string{"b", name}})
		if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := scenario.New(def, 1)
	if err := r.Submit(domain.CreateTask{BypassSteps: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	p := &play{t, r, 0}
	p.ok("a")
	p.is(complete, complete, complete)
	if b := p.Task.Steps[1]; !b.Skipped || !b.Result.IsZero() || string(p.Task.Result.JSON) != `{"b":null}` {
		t.Errorf("%+v, result %s", b, p.Task.Result.JSON)
	}
}

func TestB32WhatIsNotRetryableRunsOnceMorePerRound(t *testing.T) {
	final := step("a")
	final.NotRetryable = true
	p := begin(t, nil, final)
	p.fails("a", domain.KindError)
	p.does(domain.RetryTask{}, "step.retry_requested a", "task.retry_requested", "task.start_requested", "step.execution_requested a")
	p.fails("a", domain.KindError)
	p.is(failed, failed)
	p.does(domain.RetryStep{Step: "a", RetryLimit: 5, Inputs: json.RawMessage(`{"x":1}`)},
		"step.retry_requested a", "task.retry_requested", "task.start_requested", "step.execution_requested a")
	if m := p.Task.Steps[0].More; m == nil || m.RetryLimit != 5 || string(m.Inputs) != `{"x":1}` {
		t.Errorf("%+v", m)
	}
	p.refuses(domain.RetryStep{Step: "a"}, `step "a" of task ID is in_progress and cannot become pending: `+
		"only a failed step can be retried: complete it with a result, or cancel it")
}

func TestRetryOfAStepDoesNotWaitAndLeavesTheBudgetsOfOthers(t *testing.T) {
	p := begin(t, nil, step("a"), step("b"))
	p.fails("a", domain.KindError)
	p.fails("b", domain.KindError)
	p.does(domain.RetryStep{Step: "a"}, "step.retry_requested a", "task.start_requested", "step.execution_requested a")
	a, b := p.Task.Steps[0], p.Task.Steps[1]
	if a.Executions != 0 || a.Round != 2 || b.Executions != 1 || b.Round != 1 {
		t.Errorf("%+v\n%+v", a, b)
	}
	p.keeps(domain.RetryTask{})
}

func TestB33RetryAfterACancelledStepIsRefused(t *testing.T) {
	p := begin(t, nil, step("a"), step("b", "a"))
	p.does(domain.CancelStep{Step: "a"}, "step.cancelled a", "task.failed")
	p.is(failed, cancelled, pending)
	if got := p.Task.Culprits(); len(got) != 1 || got[0] != "a" {
		t.Error("to blame:", got)
	}
	p.keeps(domain.CancelStep{Step: "a"})
	p.refuses(domain.RetryTask{}, `task ID: nothing could run: step "a" was cancelled: resolve the task or fork it`)
	p.refuses(domain.RetryStep{Step: "a"}, `step "a" of task ID is cancelled and cannot become pending: it is over and stays as it is`)
	p.refuses(domain.FinishStep{Step: "a"}, `step "a" of task ID is cancelled and cannot become complete: it is over and stays as it is`)
	p.refuses(domain.ResolveStep{Step: "a"}, `step "a" of task ID is cancelled and cannot become resolved_manually: it is over and stays as it is`)
	p.does(domain.ResolveTask{}, "task.resolved_manually")
}

func TestRetryRunsWhatCanRunBesideACancelledStep(t *testing.T) {
	p := begin(t, nil, step("a"), step("b"))
	p.does(domain.CancelStep{Step: "a"}, "step.cancelled a")
	p.fails("b", domain.KindPermanent)
	p.does(domain.RetryTask{}, "step.retry_requested b", "task.retry_requested", "task.start_requested", "step.execution_requested b")
	p.ok("b")
	p.is(failed, cancelled, complete)
	p.refuses(domain.RetryTask{}, `task ID: nothing could run: step "a" was cancelled: resolve the task or fork it`)
}

func TestB34AnOptionalFailureIsTolerated(t *testing.T) {
	optional := step("a")
	optional.Optional = true
	p := begin(t, nil, optional, step("b", "a"))
	p.fails("a", domain.KindPermanent)
	p.is(running, failed, running)
	p.ok("b")
	p.is(complete, failed, complete)
	if c := p.Task.ExecutionContext(); c.Tolerated != 1 || c.Failed != 0 || c.Health != domain.Healthy || c.CompletionPercentage != 50 {
		t.Errorf("%+v", c)
	}
}

func TestCancelOfAnOptionalStepReopensTheTaskForItsChildren(t *testing.T) {
	optional := step("o", "a")
	optional.Optional = true
	p := begin(t, nil, step("a"), optional, step("b", "o"), step("bad"))
	p.does(domain.CancelStep{Step: "a"}, "step.cancelled a")
	p.fails("bad", domain.KindPermanent)
	p.is(failed, cancelled, pending, pending, failed)
	p.does(domain.CancelStep{Step: "o"}, "step.cancelled o", "task.retry_requested", "task.start_requested", "step.execution_requested b")
	p.ok("b")
	p.is(failed, cancelled, cancelled, complete, failed)
}

func TestStepVerbThatMakesNothingPossibleLeavesTheTaskFailed(t *testing.T) {
	p := begin(t, nil, step("a"), step("b"), step("c", "a", "b"))
	p.fails("a", domain.KindPermanent)
	p.fails("b", domain.KindPermanent)
	p.does(domain.ResolveStep{Step: "a"}, "step.resolved_manually a")
	p.is(failed, resolved, failed, pending)
	p.does(domain.CancelStep{Step: "c"}, "step.cancelled c")
	p.is(failed, resolved, failed, cancelled)
	p.does(domain.ResolveStep{Step: "b"}, "step.resolved_manually b")
	p.is(failed, resolved, resolved, cancelled)
}

func TestAReadyStepOfATaskThatMissedItsDeadlineMakesRoomForItsChild(t *testing.T) {
	p := begin(t, func(d *domain.Definition) { d.Deadline = time.Minute }, step("a"), step("b", "a"))
	p.Slots = 0
	p.Lose() // the step waits for a slot
	p.Advance(time.Minute)
	p.events()
	p.is(failed, pending, pending)
	p.keeps(domain.RetryStep{Step: "a"}) // it is pending
	p.does(domain.ResolveStep{Step: "a"}, "step.resolved_manually a", "task.retry_requested", "task.start_requested")
	p.is(running, resolved, pending)
}

func TestB35CompleteWithAResultMakesTheReportStale(t *testing.T) {
	p := begin(t, nil, step("a"), step("b", "a"))
	p.refuses(domain.FinishStep{Step: "b"}, `step "b" of task ID is pending and cannot become complete: only a running step can be completed: resolve it instead`)
	p.refuses(domain.ResolveStep{Step: "a"}, `step "a" of task ID is in_progress and cannot become resolved_manually: complete it with a result, or cancel it`)
	p.does(domain.FinishStep{Step: "a", Result: domain.Inline(json.RawMessage(`1`))}, "step.completed a", "step.execution_requested b")
	p.keeps(domain.FinishStep{Step: "a"})
	if err := p.Report("a", `2`, nil, 0); !errors.Is(err, domain.ErrStale) || string(p.Task.Steps[0].Result.JSON) != `1` {
		t.Errorf("%v, result %s", err, p.Task.Steps[0].Result.JSON)
	}
	p.ok("b")
	if err := p.Report("b", `2`, nil, 0); !errors.Is(err, domain.ErrStale) {
		t.Errorf("the same report twice: %v", err)
	}
}

func TestB37DeadlineFailsWhatRunsAndWhatWaits(t *testing.T) {
	slow := step("waits")
	slow.Backoff = domain.Backoff{Strategy: domain.StrategyFixed, Base: 4 * time.Minute}
	p := begin(t, func(d *domain.Definition) { d.Deadline = 3 * time.Minute }, step("runs"), slow, step("behind", "runs"))
	p.fails("waits", domain.KindError)
	p.does(domain.PauseTask{}, "task.paused") // the deadline runs on
	p.Advance(3*time.Minute - time.Microsecond)
	if got := p.events(); got != "" {
		t.Error("too early:", got)
	}
	p.Advance(time.Microsecond)
	if got := p.events(); got != "step.failed runs, step.failed waits, task.failed" {
		t.Error(got)
	}
	p.is(failed, failed, failed, pending)
	for i := range 2 {
		if s := p.Task.Steps[i]; !s.FailedForGood() || s.LastError().Kind != domain.KindDeadline {
			t.Errorf("%+v", s)
		}
	}
	if p.Task.Failed != domain.FailDeadline {
		t.Error(p.Task.Failed)
	}
	p.does(domain.RetryTask{}, "step.retry_requested runs", "step.retry_requested waits", "task.retry_requested",
		"task.start_requested", "step.execution_requested runs", "step.execution_requested waits")
	if want := scenario.Start.Add(6 * time.Minute); p.Task.Deadline != want {
		t.Error("deadline", p.Task.Deadline, "want", want)
	}
}

func TestATaskThatMissedItsDeadlineStaysFailedThoughOnlyOptionalStepsWereLate(t *testing.T) {
	late := step("late")
	late.Optional = true
	p := begin(t, func(d *domain.Definition) { d.Deadline = time.Minute }, step("done"), late)
	p.ok("done")
	p.Advance(time.Minute)
	p.events()
	p.is(failed, complete, failed)
	p.keeps(domain.FinishStep{Step: "done"})
	p.Lose()
	p.is(failed, complete, failed)
	p.does(domain.ResolveStep{Step: "late"}, "step.resolved_manually late", "task.retry_requested", "task.start_requested", "task.completed")
}

func TestPauseLetsRunningStepsEndAndHoldsTimers(t *testing.T) {
	p := begin(t, nil, step("a"), step("b"), step("c", "b"))
	p.fails("a", domain.KindError)
	p.does(domain.PauseTask{}, "task.paused")
	p.keeps(domain.PauseTask{})
	p.ok("b")
	p.Advance(time.Hour)
	p.is(pending, failed, complete, pending)
	p.does(domain.ResumeTask{}, "task.resumed", "step.retry_requested a", "task.start_requested",
		"step.execution_requested c", "step.execution_requested a")
	p.keeps(domain.ResumeTask{})
	p.does(domain.PauseTask{}, "task.paused")
	p.ok("c", "a")
	p.is(complete, complete, complete, complete) // with nothing left to hold back
}

func TestVerbOnAnUnknownStepNamesIt(t *testing.T) {
	p := begin(t, nil, step("a"))
	for _, cmd := range []domain.Command{
		domain.RetryStep{Step: "z"}, domain.ResolveStep{Step: "z"}, domain.CancelStep{Step: "z"}, domain.FinishStep{Step: "z"},
	} {
		if _, err := p.Do(cmd); !errors.Is(err, domain.ErrUnknownStep) {
			t.Errorf("%T: %v", cmd, err)
		}
		p.refuses(cmd, `task ID has no step "z"`)
	}
}

func TestNotesAreTakenInEveryState(t *testing.T) {
	p := begin(t, nil, step("a"))
	p.does(domain.AnnotateTask{Kind: "k", Value: json.RawMessage(`1`)}, "task.annotated")
	p.ok("a")
	p.does(domain.AnnotateTask{Kind: "k", Value: json.RawMessage(`2`)}, "task.annotated")
	p.is(complete, complete)
}
