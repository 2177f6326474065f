package domain

// The operator's verbs (SEMANTICS 6). Each is idempotent: what is so already is a no-op.

func (t *Task) resolve(c ResolveTask, out []Event) ([]Event, error) {
	switch t.State {
	case ResolvedManually:
		return out, nil
	case Error:
		return append(out, TaskResolvedManually(c)), nil
	case Complete, Cancelled:
		return out, t.refuse(ResolvedManually, taskIsOver)
	case Pending, InProgress:
	}
	return out, t.refuse(ResolvedManually, "only a failed task can be resolved: cancel it, or resolve its steps")
}

func (t *Task) pause(c PauseTask, out []Event) ([]Event, error) {
	switch {
	case !t.State.Live():
		return out, &RefusedError{t.ID, "its state is " + t.State.String() + ", and only a task that is pending or in progress can be paused"}
	case t.Paused:
		return out, nil
	}
	return append(out, TaskPaused(c)), nil
}

func (t *Task) resume(c ResumeTask, out []Event) []Event {
	if t.Paused && t.State.Live() {
		out = append(out, TaskResumed(c))
	}
	return out
}

func (t *Task) refuse(to State, hint string) error {
	return &TransitionError{Task: t.ID, From: t.State, To: to, Hint: hint}
}

// cancel ends every step that is not over well in the same commit. The task comes first: a commit that is cut short
// must not leave a task that goes on with half of its steps. Asked about a cancelled task, it ends what is left.
func (t *Task) cancel(c CancelTask, out []Event) ([]Event, error) {
	switch {
	case t.State == Cancelled:
	case t.State.Ended():
		return out, t.refuse(Cancelled, taskIsOver)
	default:
		out = append(out, TaskCancelled(c))
	}
	for i := range t.Steps {
		switch t.Steps[i].State {
		case Pending, InProgress, Error:
			out = append(out, StepCancelled{Step: t.Template(i).Name})
		case Complete, Cancelled, ResolvedManually:
		}
	}
	return out, nil
}

// retry gives every step in error a new round, and is refused when that leads nowhere. The task comes last: cut short,
// it is a failed task that can be retried.
func (t *Task) retry(c RetryTask, now Instant, out []Event) ([]Event, error) {
	if t.State.Live() {
		return out, nil
	}
	if t.State != Error {
		return out, t.refuse(Pending, "only a failed task can be retried: submit a new one")
	}
	first := len(out)
	for i := range t.Steps {
		if t.Steps[i].State == Error {
			out = append(out, StepRetryRequested{Step: t.Template(i).Name, NewRound: true})
		}
	}
	out = append(out, TaskRetryRequested{Reason: c.Reason, Deadline: deadlineFrom(t.Definition, now)})
	after := t.Clone()
	for _, e := range out[first:] {
		Evolve(after, Record{Event: e, At: now, Task: t.ID})
	}
	if after.counts.eligible == 0 && !after.allComplete() {
		for i := range t.Steps {
			if after.class(i).cancelled {
				return out[:first], &RefusedError{t.ID, "nothing could run: step \"" + t.Template(i).Name +
					"\" was cancelled: resolve the task or fork it"}
			}
		}
		return out[:first], &RefusedError{t.ID, "nothing could run: resolve the task or fork it"}
	}
	return out, nil
}

// stepVerb is a verb on a step, taken apart.
type stepVerb struct {
	step  string
	to    State             // where it leads; a step that is there already stays so
	hints [numStates]string // by state of the step: why the verb is refused, "" where it is not
	event func(s *Step) Event
}

const (
	taskIsOver = "it has ended and stays as it is"
	stepIsOver = "it is over and stays as it is"
)

func (c RetryStep) verb() stepVerb {
	const hint = "only a failed step can be retried: complete it with a result, or cancel it"
	return stepVerb{
		c.Step, Pending,
		[numStates]string{InProgress: hint, Complete: stepIsOver, Cancelled: stepIsOver, ResolvedManually: stepIsOver},
		func(*Step) Event {
			return StepRetryRequested{Step: c.Step, NewRound: true, RetryLimit: c.RetryLimit, Inputs: c.Inputs, Reason: c.Reason}
		},
	}
}

func (c ResolveStep) verb() stepVerb {
	return stepVerb{
		c.Step, ResolvedManually,
		[numStates]string{InProgress: "complete it with a result, or cancel it", Complete: stepIsOver, Cancelled: stepIsOver},
		func(*Step) Event { return StepResolvedManually(c) },
	}
}

func (c CancelStep) verb() stepVerb {
	return stepVerb{
		c.Step, Cancelled, [numStates]string{Complete: stepIsOver, ResolvedManually: stepIsOver},
		func(*Step) Event { return StepCancelled(c) },
	}
}

func (c FinishStep) verb() stepVerb {
	const hint = "only a running step can be completed: resolve it instead"
	return stepVerb{
		c.Step, Complete, [numStates]string{Pending: hint, Error: hint, Cancelled: stepIsOver, ResolvedManually: stepIsOver},
		func(s *Step) Event {
			return StepCompleted{Step: c.Step, Attempt: int(s.Attempt), Result: c.Result, Reason: c.Reason}
		},
	}
}

// onStep applies a verb to its step, and reopens a failed task when that makes something possible.
func (t *Task) onStep(v stepVerb, now Instant, out []Event) ([]Event, error) {
	i := t.Definition.graph.Index(v.step)
	if i < 0 {
		return out, &UnknownStepError{t.ID, v.step}
	}
	s, after := &t.Steps[i], t
	if s.State != v.to {
		hint := v.hints[s.State]
		if t.State.Ended() {
			hint = "its task is " + t.State.String() + " and stays as it is"
		}
		if hint != "" {
			return out, &TransitionError{Task: t.ID, Step: v.step, From: s.State, To: v.to, Hint: hint}
		}
		event := v.event(s)
		out = append(out, event)
		if t.State == Error {
			after = t.Clone()
			Evolve(after, Record{Event: event, At: now, Task: t.ID})
		}
	}
	if t.State == Error && t.opens(after) {
		out = append(out, TaskRetryRequested{Deadline: deadlineFrom(t.Definition, now)})
	}
	return out, nil
}

// opens reports whether a failed task is reopened when a verb on one of its steps has made after of it. A task that
// failed for its steps could neither go on nor complete; if it can without the verb, the commit of an earlier verb was
// cut short before it reopened the task. In one that failed for its deadline, steps may have been ready all the time.
func (t *Task) opens(after *Task) bool {
	switch {
	case after == t && t.Failed != FailStepsInError:
		return false
	case after.allComplete():
		return true
	case !after.goesOn():
		return false
	case t.Failed == FailStepsInError || !t.goesOn():
		return true
	}
	for i := range after.Steps {
		if after.class(i).eligible && !t.class(i).eligible {
			return true
		}
	}
	return false
}

// Event is the note as it is stored. Tasks that have ended take notes, too.
func (c AnnotateTask) Event() Event {
	return TaskAnnotated{Kind: c.Kind, Step: c.Step, Round: c.Round, Annotation: c.Value}
}
