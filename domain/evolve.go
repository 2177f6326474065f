package domain

import "math"

// NewTask is the state of a task after its task.created, before anything else. def is the definition that the event
// names. The steps are born pending with the task.
func NewTask(r Record, def *Definition) *Task {
	e := r.Event.(TaskCreated)
	g := def.Graph()
	t := &Task{
		ID: r.Task, Definition: def, State: Pending, Round: 1,
		Context:   e.Context.settle(r.Position),
		Initiator: e.Initiator, SourceSystem: e.SourceSystem, Reason: e.Reason, Correlation: e.Correlation,
		Traceparent: e.Traceparent, Tags: e.Tags, InputHash: e.InputHash, Forked: e.Forked,
		CreatedAt: r.At, Deadline: e.Deadline,
		Steps: make([]Step, g.Len()),
	}
	for _, name := range e.BypassSteps {
		if i := g.Index(name); i >= 0 {
			if t.bypass == nil {
				t.bypass = make([]bool, g.Len())
			}
			t.bypass[i] = true
		}
	}
	for i := range t.Steps {
		t.Steps[i] = Step{Round: 1, open: int32(len(g.Parents(i)))} // #nosec G115 -- at most MaxSteps
	}
	t.recount()
	return t
}

// Evolve folds one event into the task. It is total: an event that does not apply (to this state, or to a step that
// the definition does not have) leaves the task as it is. Live path and replay path both come here; nothing else
// changes a task.
func Evolve(t *Task, r Record) {
	if t.Expired {
		return
	}
	open := t.gate()
	switch e := r.Event.(type) {
	case TaskStartRequested:
		if t.State == Pending {
			t.State, t.Waiting = InProgress, Waiting{}
			if t.StartedAt == 0 {
				t.StartedAt = r.At
			}
		}
	case TaskReenqueued:
		t.wait(Waiting{Reason: e.Reason})
	case TaskDelayed:
		t.wait(Waiting(e))
	case TaskCompleted:
		if t.State == InProgress {
			t.end(Complete, r.At)
			t.Result, t.ResultFrom = e.Result.settle(r.Position), e.From
		}
	case TaskFailed:
		if t.State.Live() {
			t.end(Error, r.At)
			t.Failed = e.Reason
		}
	case TaskCancelled:
		if t.State.Live() || t.State == Error {
			t.end(Cancelled, r.At)
		}
	case TaskResolvedManually:
		if t.State == Error {
			t.end(ResolvedManually, r.At)
		}
	case TaskRetryRequested:
		if t.State == Error {
			t.State, t.Paused, t.Failed, t.EndedAt = Pending, false, "", 0
			t.Deadline = e.Deadline
			t.Round++
		}
	case TaskPaused:
		if t.State.Live() {
			t.Paused = true
		}
	case TaskResumed:
		t.Paused = false
	case TaskExpired:
		t.Expired = t.State == Error
	case StepInherited, StepExecutionRequested, StepCompleted, StepFailed, StepRetryRequested, StepCancelled,
		StepResolvedManually, StepSkipped:
		t.evolveStep(r)
	case StepCheckpointed, StepProgressed:
		t.evolveRunning(r)
	case TaskCreated, TaskAnnotated, StepLogAppended, Custom, PartitionOpened, PartitionSkipped, DefinitionAdopted,
		Signal, Unknown:
		// A second task.created is the same task; notes, lines and custom events are history; the others are not about
		// a task's state.
	}
	if !open && t.gate() {
		t.offerAll()
	}
}

func (t *Task) wait(w Waiting) {
	if t.State.Live() {
		t.State, t.Waiting = Pending, w
	}
}

func (t *Task) end(s State, at Instant) {
	t.State, t.EndedAt, t.Waiting = s, at, Waiting{}
}

// evolveStep applies an event about one step. The legal source states stand in each case; they are the columns of the
// transition table (SEMANTICS 1), which transition_test.go compares.
func (t *Task) evolveStep(r Record) {
	name := r.Event.(StepEvent).StepName()
	i := t.Definition.graph.Index(name)
	if i < 0 {
		return
	}
	s := &t.Steps[i]
	before := t.class(i)
	switch e := r.Event.(type) {
	case StepInherited:
		if s.State == Pending {
			s.inherit(e, &r)
		}
	case StepExecutionRequested:
		if s.State == Pending && e.Attempt > int(s.Attempt) && e.Attempt <= math.MaxInt32 {
			if s.Progress() != nil {
				s.more().Progress = nil
			}
			s.State, s.Attempt, s.StartedAt, s.EndedAt = InProgress, int32(e.Attempt), r.At, 0
			if s.WakeAt = e.Until; e.Until != 0 {
				t.sleepers.push(e.Until, int32(i)) // #nosec G115 -- at most MaxSteps
			}
		}
	case StepCompleted:
		if s.State == InProgress && e.Attempt == int(s.Attempt) {
			s.end(Complete, r.At)
			s.Executions++
			s.Result = e.Result.settle(r.Position)
			if s.More != nil {
				m := s.more()
				m.Error, m.Cursor = nil, nil
			}
		}
	case StepFailed:
		t.failStep(i, e, r.At)
	case StepRetryRequested:
		if s.State == Error {
			s.State, s.WakeAt = Pending, 0
			if e.NewRound {
				s.Round++
				s.Executions, s.Lost = 0, 0
			}
			if e.RetryLimit > 0 || e.Inputs != nil {
				s.adjust(e)
			}
		}
	case StepCancelled:
		if s.State == Pending || s.State == InProgress || s.State == Error {
			s.end(Cancelled, r.At)
		}
	case StepResolvedManually:
		if s.State == Pending || s.State == Error {
			s.end(ResolvedManually, r.At)
			s.Result = e.Result.settle(r.Position)
		}
	case StepSkipped:
		if s.State == Pending {
			s.end(Complete, r.At)
			s.Skipped = true
		}
	case TaskCreated, TaskStartRequested, TaskReenqueued, TaskDelayed, TaskCompleted, TaskFailed, TaskRetryRequested,
		TaskCancelled, TaskResolvedManually, TaskPaused, TaskResumed, TaskAnnotated, TaskExpired, StepCheckpointed,
		StepProgressed, StepLogAppended, Custom, PartitionOpened, PartitionSkipped, DefinitionAdopted, Signal, Unknown:
		// Evolve sends only what changes a step's state here.
	}
	t.reclass(i, before)
}

func (s *Step) end(state State, at Instant) {
	s.State, s.EndedAt, s.WakeAt = state, at, 0
}

// evolveRunning applies what an execution says while it runs. No state changes with it.
func (t *Task) evolveRunning(r Record) {
	e := r.Event.(StepEvent)
	i := t.Definition.graph.Index(e.StepName())
	if i < 0 || !t.runs(i, e.AttemptNumber()) {
		return
	}
	switch e := e.(type) {
	case StepCheckpointed:
		t.Steps[i].more().Cursor = e.Cursor
		t.Steps[i].Lost = 0 // it has come further: it is not what kills its workers (ADR 7)
	case StepProgressed:
		t.Steps[i].more().Progress = &Progress{Done: e.Done, Total: e.Total, Message: e.Message, At: r.At}
	}
}

// failStep ends the execution, or, with kind deadline, the wait for the next one.
func (t *Task) failStep(i int, e StepFailed, at Instant) {
	s := &t.Steps[i]
	waiting := s.State == Error && s.WakeAt != 0 && e.Error.Kind == KindDeadline
	if e.Attempt != int(s.Attempt) || s.State != InProgress && !waiting {
		return
	}
	if s.State == InProgress {
		if e.Error.Kind.counts() {
			s.Executions++
		} else {
			s.Lost++
		}
	}
	s.end(Error, at)
	err := e.Error
	s.more().Error = &err
	if s.WakeAt = e.RetryAt; e.RetryAt != 0 {
		t.retries.push(e.RetryAt, int32(i)) // #nosec G115 -- at most MaxSteps
	}
}

// counts: an execution that a lost worker or a drain ended is not counted (SEMANTICS 3).
func (k ErrorKind) counts() bool { return k != KindWorkerLost && k != KindInterrupted }

// more is what few steps have, to be changed: a new copy of it, because copies of a task share the old one.
func (s *Step) more() *StepMore {
	more := StepMore{}
	if s.More != nil {
		more = *s.More
	}
	s.More = &more
	return s.More
}

// adjust takes an operator's changes. A checkpoint of other inputs means nothing.
func (s *Step) adjust(e StepRetryRequested) {
	more := s.more()
	if e.RetryLimit > 0 {
		more.RetryLimit = e.RetryLimit
	}
	if e.Inputs != nil {
		more.Inputs, more.Cursor = e.Inputs, nil
	}
}

// Clone is a copy that evolves on its own.
func (t *Task) Clone() *Task {
	c := *t
	c.Steps = append([]Step(nil), t.Steps...)
	c.retries = append(wakeHeap(nil), t.retries...)
	c.sleepers = append(wakeHeap(nil), t.sleepers...)
	c.offered = append([]int32(nil), t.offered...)
	return &c
}
