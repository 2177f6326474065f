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
	if e.Verb != nil {
		if events, err := domain.Decide(t, e.Verb, now, nil); err != nil || len(events) == 0 {
			return fmt.Sprintf("%q: the command %q changes nothing, error %v", e.Text, e.Fix, err)
		}
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
