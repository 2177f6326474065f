// Package finalizer decides what becomes of a task when something has happened to its steps: it goes on, waits,
// completes or fails (SEMANTICS 5).
package finalizer

import "github.com/tasker-go/tasker/domain"

// Finalizer is a reactor without state.
type Finalizer struct{}

// Name is Tasker's: TaskFinalizer.
func (Finalizer) Name() string { return "finalizer" }

// ReactsTo lists whatever can change a task's execution status.
func (Finalizer) ReactsTo() []domain.EventType {
	return []domain.EventType{
		domain.TaskCreatedType, domain.TaskRetryRequestedType, domain.TaskCancelledType, domain.TaskPausedType,
		domain.TaskResumedType, domain.StepCompletedType, domain.StepFailedType, domain.StepRetryRequestedType,
		domain.StepCancelledType, domain.StepResolvedManuallyType, domain.StepSkippedType, domain.StepInheritedType,
	}
}

// React gives the commands of the table in SEMANTICS 5.
func (Finalizer) React(t *domain.Task, _ domain.Instant, out []domain.Command) []domain.Command {
	switch t.Status() {
	case domain.StatusFinished:
		if t.Unfinished() {
			// The commit that cancelled the task was cut short: its steps follow.
			out = append(out, domain.CancelTask{})
		}
	case domain.StatusHasReadySteps, domain.StatusProcessing:
		if t.State == domain.Pending {
			out = append(out, domain.StartTask{})
		}
	case domain.StatusPaused:
		out = append(out, domain.WaitTask{Waiting: domain.Waiting{Reason: domain.WaitPaused}})
	case domain.StatusWaitingForRetry:
		until, _ := t.NextRetry()
		out = append(out, domain.WaitTask{Waiting: domain.Waiting{Reason: domain.WaitRetryBackoff, Until: until}})
	case domain.StatusAllComplete:
		if t.State == domain.Pending {
			out = append(out, domain.StartTask{})
		}
		out = append(out, domain.CompleteTask{})
	case domain.StatusBlockedByFailures:
		if t.State.Live() {
			out = append(out, domain.FailTask{})
		}
	case domain.StatusWaitingForDependencies:
		out = append(out, domain.WaitTask{Waiting: domain.Waiting{Reason: domain.WaitDependencies}})
	case domain.StatusUnclear:
		// Nothing is right here; the coordinator reports it. The simulation never sees it.
	}
	return out
}
