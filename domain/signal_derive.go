package domain

// WithSignals puts the signals that follow from the records of one message of the log between them: those that announce
// a fact before it, the others after it. It is a pure function of the message, so that a subscriber hears the same
// whenever it reads. A commit that was cut into several messages, because one input was too large for one, gives
// the signals of each message.
//
// The records of the facts are passed on as they are; want chooses among them and the signals, nil = all. The context of
// workflow.task_finalization_completed is left to whoever has the task's history.
func WithSignals(records []Record, want func(Event) bool) []Record {
	turns := turnsOf(records)
	d := deriving{want: want, out: make([]Record, 0, 2*len(records))}
	for i := range records {
		d.record(&records[i], i, turns[records[i].Task])
	}
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
	want func(Event) bool
	out  []Record
}

func (d *deriving) add(r Record) {
	if d.want == nil || d.want(r.Event) {
		d.out = append(d.out, r)
	}
}

// record gives one fact between its signals, in the order of their ranks. t is nil when the message starts and reports
// nothing of the task.
func (d *deriving) record(r *Record, i int, t *turn) {
	signal := func(name EventType, s Signal) {
		s.Name = name
		d.add(Record{Event: s, At: r.At, Task: r.Task, Prev: r.Prev, Position: r.Position})
	}
	is := implied(r.Event)
	if is.decision {
		signal(SignalFinalizationStarted, is.decided)
	}
	if is.wait {
		signal(SignalReenqueueStarted, Signal{Reason: is.decided.Reason, Until: is.decided.Until})
	}
	if is.first {
		signal(SignalTaskStarted, Signal{})
	}
	if t != nil && i == t.firstStart {
		signal(SignalViableStepsDiscovered, Signal{Steps: t.started})
		signal(SignalStepsExecutionStarted, Signal{Steps: t.started})
	}
	d.add(*r)
	if is.step.Name != "" {
		signal(is.step.Name, is.step)
	}
	if t != nil && i == t.lastReport {
		signal(SignalStepsExecutionCompleted, Signal{Steps: t.reported, Outcomes: t.outcomes})
	}
	if is.wait {
		signal(SignalNoViableSteps, Signal{Reason: is.decided.Reason, Until: is.decided.Until})
	}
	if is.decision {
		signal(SignalFinalizationCompleted, is.decided)
	}
}

// implications are what one fact implies by itself.
type implications struct {
	decision bool // it is one of the finalizer's (SEMANTICS 5)
	wait     bool // it sends the task back to pending
	first    bool // it starts the task for the first time
	decided  Signal
	step     Signal // of observability.step.*; no Name = none
}

func implied(ev Event) implications {
	switch e := ev.(type) {
	case TaskStartRequested:
		return implications{decision: true, first: !e.Again, decided: Signal{Decision: e.Type()}}
	case TaskReenqueued:
		return implications{decision: true, wait: true, decided: Signal{Decision: e.Type(), Reason: string(e.Reason)}}
	case TaskDelayed:
		return implications{decision: true, wait: true, decided: Signal{Decision: e.Type(), Reason: string(e.Reason), Until: e.Until}}
	case TaskCompleted:
		return implications{decision: true, decided: Signal{Decision: e.Type()}}
	case TaskFailed:
		return implications{decision: true, decided: Signal{Decision: e.Type(), Reason: string(e.Reason), Steps: e.Steps}}
	case StepFailed:
		s := Signal{Name: SignalStepBackoff, Steps: []string{e.Step}, Attempt: e.Attempt, Until: e.RetryAt, Error: &e.Error}
		if e.RetryAt == 0 {
			s.Name = SignalMaxRetriesReached
		}
		return implications{step: s}
	case StepSkipped:
		return implications{step: Signal{Name: SignalStepSkip, Steps: []string{e.Step}, Reason: e.Reason}}
	case PartitionOpened, PartitionSkipped, DefinitionAdopted, TaskCreated, TaskRetryRequested, TaskCancelled,
		TaskResolvedManually, TaskPaused, TaskResumed, TaskAnnotated, TaskExpired, StepExecutionRequested, StepCompleted,
		StepRetryRequested, StepCancelled, StepResolvedManually, StepCheckpointed, StepProgressed, StepLogAppended, Custom,
		Signal, Unknown: // starts and reports are told once per message, see turnsOf
	}
	return implications{}
}
