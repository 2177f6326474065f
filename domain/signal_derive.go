package domain

// WithSignals puts the signals that follow from the records of one message of the log between them: those that announce
// a fact before it, the others after it. It is a pure function of the message, so that a subscriber hears the same
// whenever it reads. A commit that was cut into several messages, because one input was too large for one, gives
// the signals of each message.
//
// The context of workflow.task_finalization_completed is left to whoever has the task's history.
func WithSignals(records []Record) []Record {
	d := deriving{out: make([]Record, 0, 2*len(records))}
	d.derive(records)
	return d.out
}

// Select is what the set has of WithSignals.
func (s EventSet) Select(records []Record) []Record {
	d := deriving{set: &s}
	d.derive(records)
	return d.out
}

// turn is what one message says of the steps of one task.
type turn struct {
	firstStart, lastReport int // indexes; -1 = none
	started, reported      []string
	outcomes               []State
}

// turnsOf gathers by task what is told once per message.
func turnsOf(records []Record) map[TaskID]*turn {
	turns := map[TaskID]*turn{}
	of := func(r *Record) *turn {
		t := turns[r.Task]
		if t == nil {
			t = &turn{firstStart: -1, lastReport: -1}
			turns[r.Task] = t
		}
		return t
	}
	for i := range records {
		r := &records[i]
		if e, ok := r.Event.(StepExecutionRequested); ok {
			t := of(r)
			if t.firstStart < 0 {
				t.firstStart = i
			}
			t.started = append(t.started, e.Step)
		}
		if step, outcome, ok := reportOf(r); ok {
			t := of(r)
			t.lastReport = i
			t.reported, t.outcomes = append(t.reported, step), append(t.outcomes, outcome)
		}
	}
	return turns
}

// reportOf reads the end of an execution that was reported, by its handler or, for a handler that is gone or that never
// was, by the engine. The deadline ends executions and waits alike, and an operator's word is no report.
func reportOf(r *Record) (step string, outcome State, ok bool) {
	by := r.Actor()
	if by != ByHandler && by != ByEngine {
		return "", 0, false
	}
	if e, ok := r.Event.(StepCompleted); ok {
		return e.Step, Complete, true
	}
	if e, ok := r.Event.(StepFailed); ok && e.Error.Kind != KindDeadline {
		return e.Step, Error, true
	}
	return "", 0, false
}

// deriving is one run of WithSignals.
type deriving struct {
	set *EventSet // nil = all
	out []Record
}

func (d *deriving) derive(records []Record) {
	var turns map[TaskID]*turn
	if d.wants(SignalViableStepsDiscovered) || d.wants(SignalStepsExecutionStarted) || d.wants(SignalStepsExecutionCompleted) {
		turns = turnsOf(records)
	}
	for i := range records {
		d.record(&records[i], i, turns[records[i].Task])
	}
}

func (d *deriving) wants(name EventType) bool { return d.set == nil || d.set.types[name] }

// signal adds a signal around the fact. It is asked for before it is made, because most subscribers want few of them.
func (d *deriving) signal(r *Record, s Signal) {
	d.out = append(d.out, Record{Event: s, At: r.At, Task: r.Task, Prev: r.Prev, Position: r.Position})
}

// record gives one fact between its signals, in the order of their ranks. t is nil when the message starts and reports
// nothing of the task.
func (d *deriving) record(r *Record, i int, t *turn) {
	is := implied(r.Event)
	if is.decision && d.wants(SignalFinalizationStarted) {
		d.signal(r, decisionSignal(SignalFinalizationStarted, r.Event))
	}
	if is.wait && d.wants(SignalReenqueueStarted) {
		d.signal(r, waitSignal(SignalReenqueueStarted, r.Event))
	}
	if is.first && d.wants(SignalTaskStarted) {
		d.signal(r, Signal{Name: SignalTaskStarted})
	}
	if t != nil && i == t.firstStart {
		for _, name := range [...]EventType{SignalViableStepsDiscovered, SignalStepsExecutionStarted} {
			if d.wants(name) {
				d.signal(r, Signal{Name: name, Steps: t.started})
			}
		}
	}
	if d.set == nil || d.set.Has(r.Event) {
		d.out = append(d.out, *r)
	}
	if is.step != "" && d.wants(is.step) {
		d.signal(r, stepSignal(is.step, r.Event))
	}
	if t != nil && i == t.lastReport && d.wants(SignalStepsExecutionCompleted) {
		d.signal(r, Signal{Name: SignalStepsExecutionCompleted, Steps: t.reported, Outcomes: t.outcomes})
	}
	if is.wait && d.wants(SignalNoViableSteps) {
		d.signal(r, waitSignal(SignalNoViableSteps, r.Event))
	}
	if is.decision && d.wants(SignalFinalizationCompleted) {
		d.signal(r, decisionSignal(SignalFinalizationCompleted, r.Event))
	}
}

// StepSignal is the type of the signal of observability.step.* that follows from the event; "" when none does.
func StepSignal(e Event) EventType { return implied(e).step }

// implications are what one fact implies by itself.
type implications struct {
	decision bool      // it is one of the finalizer's (SEMANTICS 5)
	wait     bool      // it sends the task back to pending
	first    bool      // it starts the task for the first time
	step     EventType // a signal of observability.step.*
}

func implied(ev Event) implications {
	switch e := ev.(type) {
	case TaskStartRequested:
		return implications{decision: true, first: !e.Again}
	case TaskReenqueued, TaskDelayed:
		return implications{decision: true, wait: true}
	case TaskCompleted, TaskFailed:
		return implications{decision: true}
	case StepFailed:
		if e.RetryAt == 0 {
			return implications{step: SignalMaxRetriesReached}
		}
		return implications{step: SignalStepBackoff}
	case StepSkipped:
		return implications{step: SignalStepSkip}
	case PartitionOpened, PartitionSkipped, DefinitionAdopted, TaskCreated, TaskRetryRequested, TaskCancelled,
		TaskResolvedManually, TaskPaused, TaskResumed, TaskAnnotated, TaskExpired, StepInherited, StepExecutionRequested, StepCompleted,
		StepRetryRequested, StepCancelled, StepResolvedManually, StepCheckpointed, StepProgressed, StepLogAppended, Custom,
		Signal, Unknown: // starts and reports are told once per message, see turnsOf
	}
	return implications{}
}

func decisionSignal(name EventType, ev Event) Signal {
	s := waitSignal(name, ev)
	s.Decision = ev.Type()
	if e, ok := ev.(TaskFailed); ok {
		s.Reason, s.Steps = string(e.Reason), e.Steps
	}
	return s
}

func waitSignal(name EventType, ev Event) Signal {
	s := Signal{Name: name}
	if e, ok := ev.(TaskReenqueued); ok {
		s.Reason = string(e.Reason)
	} else if e, ok := ev.(TaskDelayed); ok {
		s.Reason, s.Until = string(e.Reason), e.Until
	}
	return s
}

func stepSignal(name EventType, ev Event) Signal {
	s := Signal{Name: name}
	if e, ok := ev.(StepFailed); ok {
		s.Steps, s.Attempt, s.Until, s.Error = []string{e.Step}, e.Attempt, e.RetryAt, &e.Error
	} else if e, ok := ev.(StepSkipped); ok {
		s.Steps, s.Reason = []string{e.Step}, e.Reason
	}
	return s
}
