package domain

// Moment is what an event found: how its task was just before it.
type Moment struct {
	Round   int32   // of the task, from 1; 0 = there was no task
	Attempt int32   // the execution in progress of the step that the event is about; 0 = none
	Step    int32   // index of that step in the definition; only with an Attempt
	State   State   // of the task
	Began   Instant // the start of that execution
}

// Moment is what the event, which comes next, finds.
func (t *Task) Moment(ev Event) Moment {
	m := Moment{Round: int32(t.Round), State: t.State} // #nosec G115 -- one per operator's retry
	about, ok := ev.(StepEvent)
	if !ok {
		return m
	}
	i := t.Definition.graph.Index(about.StepName())
	if i < 0 || t.Steps[i].State != InProgress {
		return m
	}
	m.Step, m.Attempt, m.Began = int32(i), t.Steps[i].Attempt, t.Steps[i].StartedAt // #nosec G115 -- at most MaxSteps
	return m
}
