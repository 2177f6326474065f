package domain_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestWhatARunningStepSaysIsStoredWhileItRuns(t *testing.T) {
	p := begin(t, nil, step("a"), step("b", "a"))
	at := p.Task
	p.does(domain.CheckpointStep{Step: 0, Attempt: 1, Cursor: json.RawMessage(`{"page":1}`)}, "step.checkpointed a")
	p.does(domain.CheckpointStep{Step: 0, Attempt: 1, Cursor: json.RawMessage(`{"page":2}`)}, "step.checkpointed a")
	p.does(domain.ProgressStep{Step: 0, Attempt: 1, Done: 2, Total: 9, Message: "pages"}, "step.progressed a")
	p.does(domain.LogStep{Step: 0, Attempt: 1, Lines: []string{"hello"}}, "step.log_appended a")
	if s := &at.Steps[0]; string(s.Cursor()) != `{"page":2}` || s.Progress().Done != 2 || s.Progress().Total != 9 {
		t.Errorf("cursor %s, progress %+v", s.Cursor(), s.Progress())
	}
	for _, late := range []domain.Command{
		domain.CheckpointStep{Step: 0, Attempt: 2}, domain.ProgressStep{Step: 1, Attempt: 1},
		domain.LogStep{Step: 0, Attempt: 0}, domain.CheckpointStep{Step: 7, Attempt: 1}, domain.LogStep{Step: -1, Attempt: 1},
	} {
		p.refuses(late, domain.ErrStale.Error())
	}
	// The next attempt finds the checkpoint, but not the progress of the one before.
	p.does(domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Message: "boom"}}, "step.failed a",
		"workflow.task_reenqueue_delayed")
	p.Advance(time.Second)
	if got := p.events(); got != "step.retry_requested a, task.start_requested, step.execution_requested a" {
		t.Errorf("then %s", got)
	}
	if s := &at.Steps[0]; string(s.Cursor()) != `{"page":2}` || s.Progress() != nil {
		t.Errorf("attempt 2: cursor %s, progress %+v", s.Cursor(), s.Progress())
	}
	p.does(domain.CompleteStep{Step: 0, Attempt: 2, Result: domain.Inline([]byte(`1`))}, "step.completed a", "step.execution_requested b")
	if s := &at.Steps[0]; s.Cursor() != nil {
		t.Errorf("complete, and its cursor is %s", s.Cursor())
	}
}

func TestLostWorkersAreForgivenToAStepThatComesFurther(t *testing.T) {
	p := begin(t, nil, step("a"))
	for kill := range 5 * domain.MaxLost {
		attempt := kill + 1
		if kill%domain.MaxLost == 0 {
			p.does(domain.CheckpointStep{Step: 0, Attempt: attempt, Cursor: json.RawMessage(`1`)}, "step.checkpointed a")
		}
		p.Lose()
		p.events()
		if p.Task.Steps[0].State != running {
			t.Fatalf("after %d lost workers: %s", attempt, p.Task.Steps[0].State)
		}
	}
	p.Lose() // the sixth since the last checkpoint
	if p.is(failed, failed); p.Task.Steps[0].Executions != 0 {
		t.Errorf("%d executions were counted", p.Task.Steps[0].Executions)
	}
}

func TestACheckpointSurvivesAnOperatorsRetryButNotOtherInputs(t *testing.T) {
	for inputs, want := range map[string]string{"": `7`, `{"from":3}`: ``} {
		p := begin(t, func(d *domain.Definition) { d.Steps[0].NotRetryable = true }, step("a"))
		p.does(domain.CheckpointStep{Step: 0, Attempt: 1, Cursor: json.RawMessage(`7`)}, "step.checkpointed a")
		p.does(domain.FailStep{Step: 0, Attempt: 1}, "step.failed a", "task.failed")
		retry := domain.RetryStep{Step: "a"}
		if inputs != "" {
			retry.Inputs = json.RawMessage(inputs)
		}
		if changed, err := p.Do(retry); !changed || err != nil {
			t.Fatal(err)
		}
		if got := string(p.Task.Steps[0].Cursor()); got != want {
			t.Errorf("inputs %q: the cursor is %q, want %q", inputs, got, want)
		}
	}
}

func TestCustomEventsAreStoredWithTheOutcomeThatTheyCameWith(t *testing.T) {
	paid := []domain.Custom{{Name: "order.paid", Data: json.RawMessage(`{"n":1}`)}, {Name: "order.shipped"}}
	p := begin(t, nil, step("a"))
	p.does(domain.FailStep{Step: 0, Attempt: 1, Emitted: paid[:1]}, "custom.order.paid a", "step.failed a", "workflow.task_reenqueue_delayed")
	p.Advance(time.Second)
	p.events()
	p.refuses(domain.CompleteStep{Step: 0, Attempt: 1, Emitted: paid}, domain.ErrStale.Error())
	p.does(domain.CompleteStep{Step: 0, Attempt: 2, Result: domain.Inline([]byte(`1`)), Emitted: paid},
		"custom.order.paid a", "custom.order.shipped a", "step.completed a", "task.completed")
	for _, r := range p.Log {
		if c, ok := r.Event.(domain.Custom); ok && (c.Step != "a" || c.Attempt < 1 || r.Actor() != domain.ByHandler) {
			t.Errorf("%+v by %s", c, r.Actor())
		}
	}
}

func TestAFailedTaskExpires(t *testing.T) {
	p := begin(t, nil, step("a"))
	p.keeps(domain.ExpireTask{})
	p.does(domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}}, "step.failed a", "task.failed")
	p.does(domain.ExpireTask{}, "task.expired")
	p.keeps(domain.ExpireTask{})
	text := "task ID" + ": failed on " + p.Task.EndedAt.String() +
		" and was not reopened within error_retention: it is history now; fork it, or submit it again"
	for _, c := range []domain.Command{
		domain.CancelTask{}, domain.RetryTask{}, domain.ResolveTask{}, domain.PauseTask{}, domain.ResumeTask{},
		domain.RetryStep{Step: "a"}, domain.ResolveStep{Step: "a"}, domain.CancelStep{Step: "a"}, domain.FinishStep{Step: "a"},
	} {
		p.refuses(c, text)
	}
	p.refuses(domain.CompleteStep{Step: 0, Attempt: 1}, domain.ErrStale.Error())
	p.does(domain.AnnotateTask{Kind: "k", Value: json.RawMessage(`1`)}, "task.annotated")
	if !p.Task.Over() || p.Task.State != domain.Error {
		t.Errorf("%s, over: %v", p.Task.State, p.Task.Over())
	}
	// Whatever the log should hold behind it changes nothing either.
	domain.Evolve(p.Task, domain.Record{Event: domain.TaskRetryRequested{}, Task: p.Task.ID})
	domain.Evolve(p.Task, domain.Record{Event: domain.StepRetryRequested{Step: "a", NewRound: true}, Task: p.Task.ID})
	if p.Task.State != domain.Error || p.Task.Steps[0].State != domain.Error {
		t.Error("an event changed it")
	}
}
