package domain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// around are the circumstances of a play in which all is well.
func (p *play) around() domain.Circumstances {
	return domain.Circumstances{Now: p.Now, History: p.Log, Partition: 1}
}

// explains compares what is said of the task.
func (p *play) explains(c domain.Circumstances, reason domain.Reason, want string) domain.Explanation {
	p.Helper()
	e := domain.Explain(p.Task, c)
	p.said(e, reason, want)
	return e
}

// stepExplains compares what is said of a step.
func (p *play) stepExplains(step string, c domain.Circumstances, reason domain.Reason, want string) domain.Explanation {
	p.Helper()
	e := domain.ExplainStep(p.Task, p.Def.Graph().Index(step), c)
	if e.Step == "" {
		p.Errorf("the explanation of step %q names no step", step)
	}
	p.said(e, reason, want)
	return e
}

func (p *play) said(e domain.Explanation, reason domain.Reason, want string) {
	p.Helper()
	got := e.Text
	if e.Fix != "" {
		got += " -> " + strings.Replace(e.Fix, p.Task.ID.String(), "T", 1)
	}
	if e.Reason != reason || got != want || e.Task != p.Task.ID {
		p.Errorf("%s: %s\nwant %s: %s", e.Reason, got, reason, want)
	}
	if (e.Verb == nil) != (e.Fix == "") && e.Reason != domain.ReasonClosed {
		p.Errorf("the command %q and the verb %T do not belong together", e.Fix, e.Verb)
	}
}

// shows compares the event that the explanation names.
func (p *play) shows(e domain.Explanation, want domain.EventType) {
	p.Helper()
	for _, r := range p.Log {
		if r.ID() == e.Evidence {
			if r.Event.Type() != want {
				p.Errorf("the evidence is %s, want %s", r.Event.Type(), want)
			}
			return
		}
	}
	p.Errorf("the evidence %q is no event of the task, want %s", e.Evidence, want)
}

func two(change func(*domain.StepTemplate)) []domain.StepTemplate {
	first := domain.StepTemplate{Name: "first", Handler: "h"}
	if change != nil {
		change(&first)
	}
	return []domain.StepTemplate{first, {Name: "second", Handler: "h", DependsOn: []string{"first"}}}
}

func TestExplainWhatRuns(t *testing.T) {
	p := begin(t, nil, two(func(s *domain.StepTemplate) { s.Timeout = time.Minute })...)
	p.Advance(90 * time.Second / 2)
	e := p.explains(p.around(), domain.ReasonStepRunning, `step "first" has been running for 45s, attempt 1 of at most 3`)
	p.shows(e, domain.StepExecutionRequestedType)
	if e.Until.Sub(e.Since) != time.Minute || e.Step != "first" {
		t.Errorf("it runs from %s until %s, step %q", e.Since, e.Until, e.Step)
	}
	p.stepExplains("second", p.around(), domain.ReasonParents, `step "second" waits for "first"`)

	silent := p.around()
	silent.Heard = func(int) (domain.Instant, time.Duration) { return p.Now.Add(-20 * time.Second), 30 * time.Second }
	p.explains(silent, domain.ReasonWorkerSilent, `step "first" has been running for 45s, attempt 1 of at most 3; its handler has given no sign of life for 20s, `+
		`and may be silent for 30s -> tasker step cancel T first`)
	silent.Heard = func(int) (domain.Instant, time.Duration) { return p.Now.Add(-10 * time.Second), 30 * time.Second }
	p.explains(silent, domain.ReasonStepRunning, `step "first" has been running for 45s, attempt 1 of at most 3`)

	if _, err := p.Do(domain.ProgressStep{Step: 0, Attempt: 1, Done: 3, Total: 9, Message: "files"}); err != nil {
		t.Fatal(err)
	}
	p.explains(p.around(), domain.ReasonStepRunning, `step "first" has been running for 45s, attempt 1 of at most 3; it says 3 of 9, files`)
}

func TestExplainWhatIsTriedAgainAndWhatIsNot(t *testing.T) {
	p := begin(t, nil, two(func(s *domain.StepTemplate) { s.RetryLimit = 2 })...)
	fail := func(kind domain.ErrorKind) {
		t.Helper()
		if err := p.Report("first", "", &domain.StepError{Message: "no paper\nin the printer", Kind: kind}, 0); err != nil {
			t.Fatal(err)
		}
	}
	fail(domain.KindError)
	e := p.explains(p.around(), domain.ReasonBackoff,
		`step "first" failed and is tried again at 2026-01-01T00:00:01Z, execution 2 of 2: no paper -> tasker step retry T first`)
	p.shows(e, domain.StepFailedType)
	if e.Until.Sub(p.Now) != time.Second {
		t.Errorf("it goes on at %s", e.Until)
	}
	p.stepExplains("second", p.around(), domain.ReasonParents, `step "second" waits for "first"`)
	p.Advance(time.Second)
	fail(domain.KindTimeout)
	text := `step "first" failed for good after 2 of 2 executions: no paper (timeout)`
	p.shows(p.explains(p.around(), domain.ReasonTaskFailed, "the task failed: "+text+" -> tasker task retry T"), domain.TaskFailedType)
	p.shows(p.stepExplains("first", p.around(), domain.ReasonStepFailed, text+" -> tasker step retry T first"), domain.StepFailedType)
	p.shows(p.stepExplains("second", p.around(), domain.ReasonParentFailed, `step "second" cannot start: `+text+" -> tasker step retry T first"),
		domain.StepFailedType)

	if _, err := p.Do(domain.ExpireTask{}); err != nil {
		t.Fatal(err)
	}
	e = p.explains(p.around(), domain.ReasonTaskExpired, "the task failed and nobody retried it in time: it is history and can not be retried any more")
	p.shows(e, domain.TaskExpiredType)
	if e.Hint == "" {
		t.Error("it does not say what to do")
	}
}

func TestExplainWhatAFailureHoldsUp(t *testing.T) {
	// b fails while a runs.
	steps := []domain.StepTemplate{{Name: "a", Handler: "h"}, {Name: "b", Handler: "h"}, {Name: "c", Handler: "h", DependsOn: []string{"a"}},
		{Name: "d", Handler: "h", DependsOn: []string{"b"}}}
	p := begin(t, func(d *domain.Definition) { d.OnFailure = domain.Stop }, steps...)
	if err := p.Report("b", "", &domain.StepError{Message: "never", Kind: domain.KindPermanent}, 0); err != nil {
		t.Fatal(err)
	}
	p.explains(p.around(), domain.ReasonStepRunning, `step "a" has been running for 0s, attempt 1 of at most 3`)
	e := p.stepExplains("d", p.around(), domain.ReasonParentFailed,
		`step "d" cannot start: step "b" failed for good: never (permanent) -> tasker step retry T b`)
	p.shows(e, domain.StepFailedType)
	p.stepExplains("c", p.around(), domain.ReasonParents, `step "c" waits for "a"`)

	// The same with on_failure: stop, where c would be ready.
	q := begin(t, func(d *domain.Definition) { d.OnFailure = domain.Stop },
		domain.StepTemplate{Name: "a", Handler: "h"}, domain.StepTemplate{Name: "b", Handler: "h"}, domain.StepTemplate{Name: "e", Handler: "h"},
		domain.StepTemplate{Name: "c", Handler: "h", DependsOn: []string{"a"}})
	if err := q.Report("b", "", &domain.StepError{Message: "never", Kind: domain.KindPermanent}, 0); err != nil {
		t.Fatal(err)
	}
	if err := q.Report("a", "{}", nil, 0); err != nil {
		t.Fatal(err)
	}
	e = q.stepExplains("c", q.around(), domain.ReasonStopped,
		`"b" failed, and the definition says on_failure: stop: nothing new is started -> tasker step retry T b`)
	q.shows(e, domain.StepFailedType)
}

func TestExplainWhatOperatorsDid(t *testing.T) {
	p := begin(t, nil, two(nil)...)
	if _, err := p.Do(domain.PauseTask{Reason: "month's end"}); err != nil {
		t.Fatal(err)
	}
	p.Log[len(p.Log)-1].By = "operator:ann"
	e := p.explains(p.around(), domain.ReasonTaskPaused,
		"the task was paused by operator:ann: month's end; 1 step is still running -> tasker task resume T")
	p.shows(e, domain.TaskPausedType)
	without := p.around()
	without.History = nil // trimmed
	p.explains(without, domain.ReasonTaskPaused, "the task is paused; 1 step is still running -> tasker task resume T")
	if err := p.Report("first", "{}", nil, 0); err != nil {
		t.Fatal(err)
	}
	p.stepExplains("second", without, domain.ReasonTaskPaused, "the task is paused -> tasker task resume T")
	p.stepExplains("first", p.around(), domain.ReasonStepOver, `step "first" is complete`)

	if _, err := p.Do(domain.CancelStep{Step: "second", Reason: "not wanted"}); err != nil {
		t.Fatal(err)
	}
	e = p.stepExplains("second", p.around(), domain.ReasonStepCancelled, `step "second" was cancelled: not wanted`)
	p.shows(e, domain.StepCancelledType)
	fork := "; a new task takes over what is done, and runs the rest: tasker task fork " + p.Task.ID.String()
	if e.Hint != "it stays so"+fork {
		t.Errorf("the hint is %q", e.Hint)
	}
	e = p.explains(p.around(), domain.ReasonTaskFailed, `the task failed: step "second" was cancelled -> tasker task resolve T`)
	if e.Hint != "it cannot be tried again as it is"+fork {
		t.Errorf("the hint is %q", e.Hint)
	}
	if _, err := p.Do(domain.ResolveTask{Reason: "by mail"}); err != nil {
		t.Fatal(err)
	}
	p.shows(p.explains(p.around(), domain.ReasonTaskEnded, "the task was resolved: by mail"), domain.TaskResolvedManuallyType)

	q := begin(t, nil, append(two(nil), domain.StepTemplate{Name: "aside", Handler: "h"})...)
	if _, err := q.Do(domain.CancelStep{Step: "first"}); err != nil {
		t.Fatal(err)
	}
	e = q.stepExplains("second", q.around(), domain.ReasonParentGone,
		`step "second" cannot start: step "first" was cancelled -> tasker task cancel T`)
	q.shows(e, domain.StepCancelledType)
}

func TestExplainDeadlinesAndSleeps(t *testing.T) {
	p := begin(t, func(d *domain.Definition) { d.Deadline = time.Hour },
		domain.StepTemplate{Name: "nap", Handler: domain.SleepHandler, Wait: 2 * time.Hour})
	e := p.explains(p.around(), domain.ReasonStepSleeping, `step "nap" sleeps until 2026-01-01T02:00:00Z`)
	if p.shows(e, domain.StepExecutionRequestedType); e.Until.Sub(p.Now) != 2*time.Hour {
		t.Errorf("it sleeps until %s", e.Until)
	}
	p.Advance(time.Hour)
	e = p.explains(p.around(), domain.ReasonDeadline,
		`the task was not over by its deadline, 2026-01-01T01:00:00Z: "nap" had not ended -> tasker task retry T`)
	p.shows(e, domain.TaskFailedType)
}

func TestExplainWhatHoldsReadySteps(t *testing.T) {
	p := begin(t, nil, two(nil)...)
	other := domain.TaskID{15: 9}
	p.Slots = 0
	if err := p.Report("first", "{}", nil, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	for want, h := range map[string]domain.Hold{
		`the step is ready, and no handler "h" is registered in the engine that has its partition`: {Reason: domain.ReasonNoHandler},
		`the step is ready, and all 2 slots of the process are taken; step "x" of task ` + other.String() + ` has had one for longest, 1m3s`: {
			Reason: domain.ReasonNoSlot, Limit: 2, Holders: []domain.Holder{{Task: p.Task.ID, Step: "y", Since: p.Now}, {Task: other, Step: "x", Since: p.Now.Add(-63 * time.Second)}}},
		`the step is ready, and all 1 slots of handler "h" are taken`: {Reason: domain.ReasonNoHandlerSlot, Limit: 1},
		`100 executions of handler "h" ignore that their context has ended and are still running: no new one is started`: {
			Reason: domain.ReasonHandlerLeaks, Limit: 100},
		`the engine is stopping and starts no more steps`: {Reason: domain.ReasonEngineDrains},
	} {
		c := p.around()
		c.Slot = func(int) domain.Hold { return h }
		e := p.explains(c, h.Reason, want)
		if again := p.stepExplains("second", c, h.Reason, want); e.Step != "second" || again.Since != e.Since || e.Since.Sub(p.Now) != 0 {
			t.Errorf("%s: step %q since %s", h.Reason, e.Step, e.Since)
		}
	}
	p.explains(p.around(), domain.ReasonAboutToMove, `step "second" is ready: the next commit starts it`)
}

func TestExplainWhatHoldsAWholePartition(t *testing.T) {
	p := begin(t, nil, two(nil)...)
	for want, h := range map[string]domain.Hold{
		"no engine has partition 01, which the task is in":                      {Reason: domain.ReasonNoOwner},
		"partition 01 is being loaded":                                          {Reason: domain.ReasonLoading},
		"partition 01 is closed: message 9 is damaged":                          {Reason: domain.ReasonClosed, Why: "message 9 is damaged", Fix: "tasker log skip 01 9"},
		"the log does not acknowledge commits: NATS cannot be reached":          {Reason: domain.ReasonLogAway},
		"the store is full: nothing can be appended":                            {Reason: domain.ReasonStoreFull},
		"the engine has not been able to renew its lease and may start nothing": {Reason: domain.ReasonLeaseStale},
	} {
		c := p.around()
		c.Held = h
		text := want
		if h.Fix != "" {
			text += " -> " + h.Fix
		}
		p.explains(c, h.Reason, text)
		p.stepExplains("first", c, h.Reason, text)
	}
	c := p.around()
	c.Frozen = &domain.Unknown{TypeName: "task.exploded", Version: 2}
	const text = `the task has an event of type "task.exploded", version 2, which this version of tasker cannot read: nothing happens to it`
	p.explains(c, domain.ReasonTaskFrozen, text)
	p.stepExplains("second", c, domain.ReasonTaskFrozen, text)
}
