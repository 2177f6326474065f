package executor

import (
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// maxHolders is how many executions a Hold names: those that have had their slots for longest.
const maxHolders = 3

// Hold says why Take refuses the step now, for an explanation; without Reason when it would not.
func (e *Executor) Hold(d *domain.Definition, step int) domain.Hold {
	name := d.Steps[step].Handler
	if !e.Registered(d, step) {
		return domain.Hold{Reason: domain.ReasonNoHandler}
	}
	h := e.slots.hold(name)
	switch h.Reason { //nolint:exhaustive // the others have no holders
	case domain.ReasonNoSlot:
		h.Holders = e.holders("")
	case domain.ReasonNoHandlerSlot:
		h.Holders = e.holders(name)
	}
	return h
}

func (s *slots) hold(name string) domain.Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handlers[name]
	switch {
	case s.closed:
		return domain.Hold{Reason: domain.ReasonEngineDrains}
	case h != nil && h.leaked >= MaxLeaked:
		return domain.Hold{Reason: domain.ReasonHandlerLeaks, Limit: h.leaked}
	case h != nil && h.limit > 0 && h.used >= h.limit:
		return domain.Hold{Reason: domain.ReasonNoHandlerSlot, Limit: h.limit}
	case s.free <= 0:
		return domain.Hold{Reason: domain.ReasonNoSlot, Limit: s.total}
	}
	return domain.Hold{}
}

// holders are the executions of a handler that have run for longest; "" = of any.
func (e *Executor) holders(handler string) []domain.Holder {
	var all []domain.Holder
	for _, x := range e.Running() {
		if handler == "" || x.Handler == handler {
			all = append(all, domain.Holder{Task: x.Task, Step: x.Step, Attempt: x.Attempt, Since: domain.InstantOf(x.Since)})
		}
	}
	slices.SortFunc(all, func(a, b domain.Holder) int { return int(a.Since - b.Since) })
	return all[:min(len(all), maxHolders)]
}

// Heard is when the handler that has the step last gave a sign of life, and the step's heartbeat_timeout; zero when it
// need not give any, or nobody here has the step.
func (e *Executor) Heard(partition int, task domain.TaskID, step int) (time.Time, time.Duration) {
	shard := e.shard(partition)
	shard.mu.Lock()
	x := shard.running[key{task, int32(step)}] // #nosec G115 -- at most MaxSteps
	shard.mu.Unlock()
	if x == nil || x.silence <= 0 {
		return time.Time{}, 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.heard, x.silence
}
