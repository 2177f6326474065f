package main

import (
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// taskView is a task as the progress shows it: the fold of its events, as far as they are worth a look.
type taskView struct {
	id      tasker.TaskID
	name    string // with version
	own     bool   // the one that this command submitted
	state   domain.State
	paused  bool
	waiting domain.WaitReason
	until   time.Time
	created time.Time
	ended   time.Time
	covered uint64          // sequence up to which it is known already
	last    tasker.Position // of the last event that was applied
	steps   []stepView
	index   map[string]int
	tree    []row
}

type stepView struct {
	name      string
	handler   string
	system    string // the dependent system
	held      string // why it has not started although it is ready
	dependsOn []string
	state     domain.State
	skipped   bool
	attempt   int
	limit     int // executions per round
	started   time.Time
	took      time.Duration // of the last execution
	retryAt   time.Time
	err       *domain.StepError
}

func viewOfDefinition(id tasker.TaskID, d *tasker.Definition) *taskView {
	v := &taskView{id: id, name: d.Name + " " + d.Version}
	for i := range d.Steps {
		s := &d.Steps[i]
		limit := s.RetryLimit
		if s.NotRetryable {
			limit = 1
		}
		v.steps = append(v.steps, stepView{name: s.Name, handler: s.Handler, system: s.DependentSystem, dependsOn: s.DependsOn, limit: limit})
	}
	v.build()
	return v
}

func viewOfTask(t *tasker.Task) *taskView {
	v := &taskView{
		id: t.ID, name: t.Name + " " + t.Version, state: t.State, paused: t.Paused, waiting: t.Waiting, until: t.WaitingUntil,
		created: t.CreatedAt, ended: t.EndedAt, covered: t.Position.Sequence,
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		x := stepView{
			name: s.Name, handler: s.Handler, system: s.DependentSystem, held: s.Held, dependsOn: s.DependsOn, state: s.State, skipped: s.Skipped, attempt: s.Attempt,
			limit: s.RetryLimit, started: s.StartedAt, retryAt: s.RetryAt, err: s.Error,
		}
		if s.State != domain.InProgress && !s.EndedAt.IsZero() && !s.StartedAt.IsZero() {
			x.took = s.EndedAt.Sub(s.StartedAt)
		}
		v.steps = append(v.steps, x)
	}
	v.build()
	return v
}

func (v *taskView) build() {
	v.index = make(map[string]int, len(v.steps))
	for i := range v.steps {
		v.index[v.steps[i].name] = i
	}
	v.tree = layout(v.steps)
}

func (v *taskView) step(name string) *stepView {
	if i, ok := v.index[name]; ok {
		return &v.steps[i]
	}
	return &stepView{}
}

// over reports whether nothing more happens to the task by itself.
func (v *taskView) over() bool { return !v.state.Live() }

// waits reports whether the task only waits for a date that is not close, or for an operator.
func (v *taskView) waits(now time.Time) bool {
	sleeps := false
	for i := range v.steps {
		s := &v.steps[i]
		switch {
		case s.state != domain.InProgress:
		case s.handler == domain.SleepHandler:
			sleeps = true
		default:
			return false
		}
	}
	if sleeps {
		return true
	}
	return v.state == domain.Pending && (v.paused || v.waiting != "" && (v.until.IsZero() || v.until.Sub(now) > 5*time.Second))
}

// done counts the steps that are over well.
func (v *taskView) done() int {
	n := 0
	for i := range v.steps {
		if s := v.steps[i].state; s == domain.Complete || s == domain.ResolvedManually {
			n++
		}
	}
	return n
}

// apply folds one event; false when it is known already.
func (v *taskView) apply(e tasker.Event) bool {
	if p := e.Position; p.Sequence <= v.covered || p.Sequence < v.last.Sequence || p.Sequence == v.last.Sequence && p.Index <= v.last.Index {
		return false
	}
	v.last = e.Position
	at := e.At.Time()
	switch x := e.Event.(type) {
	case domain.TaskCreated:
		v.created = at
	case domain.TaskStartRequested:
		v.state, v.waiting = domain.InProgress, ""
	case domain.TaskReenqueued:
		v.state, v.waiting, v.until = domain.Pending, x.Reason, time.Time{}
	case domain.TaskDelayed:
		v.state, v.waiting, v.until = domain.Pending, x.Reason, x.Until.Time()
	case domain.TaskCompleted:
		v.end(domain.Complete, at)
	case domain.TaskFailed:
		v.end(domain.Error, at)
	case domain.TaskRetryRequested:
		v.state, v.ended, v.waiting = domain.Pending, time.Time{}, ""
	case domain.TaskCancelled:
		v.end(domain.Cancelled, at)
	case domain.TaskResolvedManually:
		v.end(domain.ResolvedManually, at)
	case domain.TaskPaused:
		v.paused = true
	case domain.TaskResumed:
		v.paused = false
	case domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested,
		domain.StepCancelled, domain.StepResolvedManually, domain.StepSkipped:
		v.applyStep(x, at)
	case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskAnnotated, domain.TaskExpired,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.Signal, domain.Unknown:
	}
	return true
}

func (v *taskView) end(state domain.State, at time.Time) { v.state, v.ended, v.waiting = state, at, "" }

func (v *taskView) applyStep(e domain.Event, at time.Time) {
	about, ok := e.(domain.StepEvent)
	if !ok {
		return
	}
	s := v.step(about.StepName())
	s.held = ""
	if s.state == domain.InProgress && !s.started.IsZero() {
		s.took = at.Sub(s.started)
	}
	switch x := about.(type) {
	case domain.StepExecutionRequested:
		s.state, s.attempt, s.started, s.retryAt = domain.InProgress, x.Attempt, at, time.Time{}
		s.took = 0
	case domain.StepCompleted:
		s.state, s.err = domain.Complete, nil
	case domain.StepFailed:
		err := x.Error
		s.state, s.err, s.retryAt = domain.Error, &err, time.Time{}
		if x.RetryAt != 0 {
			s.retryAt = x.RetryAt.Time()
		}
	case domain.StepRetryRequested:
		s.state, s.retryAt = domain.Pending, time.Time{}
	case domain.StepCancelled:
		s.state = domain.Cancelled
	case domain.StepResolvedManually:
		s.state = domain.ResolvedManually
	case domain.StepSkipped:
		s.state, s.skipped = domain.Complete, true
	case domain.StepInherited:
		s.state, s.skipped = domain.Complete, x.Skipped
		if x.Resolved {
			s.state = domain.ResolvedManually
		}
	}
}
