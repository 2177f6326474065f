package acceptance

import (
	"slices"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// transition is what an event says: from one of these states to that one (SEMANTICS 1).
type transition struct {
	from []domain.State
	to   domain.State
}

var (
	liveStates = []domain.State{domain.Pending, domain.InProgress}
	notOver    = []domain.State{domain.Pending, domain.InProgress, domain.Error}

	taskTransitions = map[domain.EventType]transition{
		domain.TaskStartRequestedType:   {[]domain.State{domain.Pending}, domain.InProgress},
		domain.TaskReenqueuedType:       {liveStates, domain.Pending}, // from pending: it waits for something else now
		domain.TaskDelayedType:          {liveStates, domain.Pending},
		domain.TaskCompletedType:        {[]domain.State{domain.InProgress}, domain.Complete},
		domain.TaskFailedType:           {liveStates, domain.Error},
		domain.TaskRetryRequestedType:   {[]domain.State{domain.Error}, domain.Pending},
		domain.TaskCancelledType:        {notOver, domain.Cancelled},
		domain.TaskResolvedManuallyType: {[]domain.State{domain.Error}, domain.ResolvedManually},
	}
	stepTransitions = map[domain.EventType]transition{
		domain.StepExecutionRequestedType: {[]domain.State{domain.Pending}, domain.InProgress},
		domain.StepCompletedType:          {[]domain.State{domain.InProgress}, domain.Complete},
		domain.StepFailedType:             {[]domain.State{domain.InProgress}, domain.Error},
		domain.StepRetryRequestedType:     {[]domain.State{domain.Error}, domain.Pending},
		domain.StepCancelledType:          {notOver, domain.Cancelled},
		domain.StepResolvedManuallyType:   {[]domain.State{domain.Pending, domain.Error}, domain.ResolvedManually},
		domain.StepSkippedType:            {[]domain.State{domain.Pending}, domain.Complete},
		domain.StepInheritedType:          {[]domain.State{domain.Pending}, domain.Complete},
	}
)

// legal checks that every transition of a history is one of the tables', and that they lead to the task as it stands.
func (w *world) legal(task *tasker.Task, records []tasker.Event) {
	w.t.Helper()
	is, steps := domain.Pending, map[string]domain.State{}
	for _, r := range records {
		if move, ok := taskTransitions[r.Event.Type()]; ok {
			if !slices.Contains(move.from, is) {
				w.t.Errorf("%s happened to a task that was %s: %v", r.Event.Type(), is, lines(records))
			}
			is = move.to
		}
		move, ok := stepTransitions[r.Event.Type()]
		if !ok {
			continue
		}
		name := r.Event.(domain.StepEvent).StepName()
		if inherited, ok := r.Event.(domain.StepInherited); ok && inherited.Resolved {
			move.to = domain.ResolvedManually
		}
		failed, _ := r.Event.(domain.StepFailed)
		deadline := failed.Error.Kind == domain.KindDeadline && steps[name] == domain.Error // it waited for a retry
		if !slices.Contains(move.from, steps[name]) && !deadline {
			w.t.Errorf("%s happened to step %s that was %s: %v", r.Event.Type(), name, steps[name], lines(records))
		}
		steps[name] = move.to
	}
	if is != task.State {
		w.t.Errorf("the task is %s after %v", task.State, lines(records))
	}
	for _, s := range task.Steps {
		if s.State != steps[s.Name] {
			w.t.Errorf("step %s is %s after %v", s.Name, s.State, lines(records))
		}
	}
}
