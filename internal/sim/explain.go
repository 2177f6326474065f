package sim

import (
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// unexplained says what is wrong with the answer to "why does it not move" about a task of an owner that has nothing to do:
// it has exactly one reason, which is so, and the command that is named changes something.
func (p *process) unexplained(t *domain.Task) string {
	now := p.now()
	e := domain.Explain(t, domain.Circumstances{Now: now, Slot: func(step int) domain.Hold {
		h := handlerOf(t.Definition, step)
		switch x := p.exec; {
		case x.free == 0:
			return domain.Hold{Reason: domain.ReasonNoSlot}
		case x.used[h] >= x.limit[h]:
			return domain.Hold{Reason: domain.ReasonNoHandlerSlot}
		}
		return domain.Hold{}
	}})
	if what := carriedOut(t, e, now); what != "" {
		return what
	}
	ctx := t.ExecutionContext()
	right := false
	switch e.Reason { //nolint:exhaustive // what cannot be in this world is wrong
	case domain.ReasonTaskPaused:
		right = t.Paused
	case domain.ReasonStepRunning, domain.ReasonStepSleeping:
		right = ctx.InProgress > 0
	case domain.ReasonNoSlot, domain.ReasonNoHandlerSlot:
		right = ctx.Ready > 0
	case domain.ReasonBackoff:
		at, _ := t.NextRetry()
		right = e.Until == at && ctx.InProgress == 0 && ctx.Ready == 0
	case domain.ReasonAboutToMove:
		right = p.holds && ctx.Ready > 0 // slots have come free, and it will look
	}
	if !right {
		return fmt.Sprintf("it is said to be %s: %q", e.Reason, e.Text)
	}
	return ""
}

// unexplainedFailure is unexplained for a failed task.
func (p *process) unexplainedFailure(t *domain.Task) string {
	now := p.now()
	e := domain.Explain(t, domain.Circumstances{Now: now})
	right := false
	switch e.Reason { //nolint:exhaustive // what cannot be of a failed task is wrong
	case domain.ReasonTaskFailed:
		right = t.Failed == domain.FailStepsInError && !t.Expired
	case domain.ReasonDeadline:
		right = t.Failed == domain.FailDeadline && !t.Expired
	case domain.ReasonTaskExpired:
		right = t.Expired
	}
	switch {
	case !right:
		return fmt.Sprintf("it is said to be %s: %q", e.Reason, e.Text)
	case e.Verb == nil && !t.Expired:
		return fmt.Sprintf("%q: and nothing is said of what moves it", e.Text)
	}
	return carriedOut(t, e, now)
}

// carriedOut does what the explanation says, to a copy of the task: it is accepted, and then something else is to be said.
func carriedOut(t *domain.Task, e domain.Explanation, now domain.Instant) string {
	if e.Verb == nil {
		return ""
	}
	after := t.Clone()
	events, err := domain.Decide(after, e.Verb, now, nil)
	if err != nil || len(events) == 0 {
		return fmt.Sprintf("%q: the command %q changes nothing, error %v", e.Text, e.Fix, err)
	}
	for _, event := range events {
		domain.Evolve(after, domain.Record{Event: event, At: now, By: "operator:sim", Task: t.ID})
	}
	if then := domain.Explain(after, domain.Circumstances{Now: now}); then.Text == e.Text {
		return fmt.Sprintf("%q: the command %q was accepted, and the same is still so", e.Text, e.Fix)
	}
	return ""
}
