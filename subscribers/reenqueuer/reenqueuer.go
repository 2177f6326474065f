// Package reenqueuer wakes waiting tasks: at the earliest retry of a step, at the end of a sleep, at the deadline
// (SEMANTICS 3).
package reenqueuer

import "github.com/tasker-go/tasker/domain"

// Reenqueuer is a reactor without state: the times are in the task.
type Reenqueuer struct{}

// Name is Tasker's: TaskReenqueuer.
func (Reenqueuer) Name() string { return "reenqueuer" }

// ReactsTo lists whatever can make something due at once: a lost execution is retried without waiting, and a retry
// may have come due during a pause. What React itself leads to is among them, because it does one thing at a time and
// several may be due at once.
func (Reenqueuer) ReactsTo() []domain.EventType {
	return []domain.EventType{
		domain.TaskCreatedType, domain.TaskResumedType, domain.TaskRetryRequestedType, domain.StepCompletedType,
		domain.StepFailedType, domain.StepResolvedManuallyType, domain.StepCancelledType, domain.StepRetryRequestedType,
	}
}

// React releases what is due, one thing at a time: the coordinator asks again after it.
func (Reenqueuer) React(t *domain.Task, now domain.Instant, out []domain.Command) []domain.Command {
	if !t.State.Live() {
		return out
	}
	if t.Deadline != 0 && t.Deadline <= now {
		return append(out, domain.HitDeadline{})
	}
	if at, step := t.NextSleepEnd(); step >= 0 && at <= now {
		return append(out, domain.EndSleep{Step: step})
	}
	if at, step := t.NextRetry(); step >= 0 && at <= now {
		return append(out, domain.ReleaseStep{Step: step})
	}
	return out
}

// WakeAt is when React will have something to say although nothing has happened.
func (Reenqueuer) WakeAt(t *domain.Task) domain.Instant { return t.NextWake() }
