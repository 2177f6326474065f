package domain

// The operator's verbs (SEMANTICS 6). Each is idempotent: what is so already is a no-op.

func (t *Task) decideTaskVerb(cmd Command, now Instant, out []Event) ([]Event, error) {
	switch c := cmd.(type) {
	case CancelTask:
		return t.cancel(c, out)
	case RetryTask:
		return t.retry(c, now, out)
	case ResolveTask:
		if t.State == ResolvedManually {
			return out, nil
		}
		if t.State != Error {
			return out, t.refuse(ResolvedManually, "only a failed task can be resolved: cancel it, or resolve its steps")
		}
		return append(out, TaskResolvedManually(c)), nil
	case PauseTask:
		if !t.State.Live() {
			return out, &RefusedError{t.ID, "is " + t.State.String() + ": only a task that is pending or in progress can be paused"}
		}
		if t.Paused {
			return out, nil
		}
		return append(out, TaskPaused(c)), nil
	case ResumeTask:
		if !t.Paused || !t.State.Live() {
			return out, nil
		}
		return append(out, TaskResumed(c)), nil
	case AnnotateTask:
		return append(out, c.Event()), nil
	}
	return out, nil
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
		return out, t.refuse(Cancelled, "it has ended and stays as it is")
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

func (t *Task) decideStepVerb(cmd Command, now Instant, out []Event) ([]Event, error) {
	first := len(out)
	out, err := t.stepVerb(cmd, out)
	if err != nil || t.State != Error {
		return out, err
	}
	// A verb on a step of a failed task reopens the task when it makes something possible.
	after := t
	if len(out) > first {
		after = t.Clone()
		for _, e := range out[first:] {
			Evolve(after, Record{Event: e, At: now, Task: t.ID})
		}
	}
	if t.opens(after) {
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

func (t *Task) stepVerb(cmd Command, out []Event) ([]Event, error) {
	var name string
	switch c := cmd.(type) {
	case RetryStep:
		name = c.Step
	case ResolveStep:
		name = c.Step
	case CancelStep:
		name = c.Step
	case FinishStep:
		name = c.Step
	}
	i := t.Definition.graph.Index(name)
	if i < 0 {
		return out, &UnknownStepError{t.ID, name}
	}
	s := &t.Steps[i]
	refuse := func(to State, hint string) ([]Event, error) {
		return out, &TransitionError{Task: t.ID, Step: name, From: s.State, To: to, Hint: hint}
	}
	if s.State == verbTarget(cmd) {
		return out, nil
	}
	if t.State.Ended() {
		return refuse(verbTarget(cmd), "its task is "+t.State.String()+" and stays as it is")
	}
	switch c := cmd.(type) {
	case RetryStep:
		if s.State != Error {
			return refuse(Pending, "only a failed step can be retried")
		}
		return append(out, StepRetryRequested{
			Step: name, NewRound: true, RetryLimit: c.RetryLimit, Inputs: c.Inputs, Reason: c.Reason,
		}), nil
	case ResolveStep:
		switch {
		case s.State == InProgress:
			return refuse(ResolvedManually, "complete it with a result, or cancel it")
		case s.State != Pending && s.State != Error:
			return refuse(ResolvedManually, "it is over and stays as it is")
		}
		return append(out, StepResolvedManually{Step: name, Result: c.Result, Reason: c.Reason}), nil
	case CancelStep:
		if s.State == Complete || s.State == ResolvedManually {
			return refuse(Cancelled, "it is over and stays as it is")
		}
		return append(out, StepCancelled{Step: name, Reason: c.Reason}), nil
	case FinishStep:
		if s.State != InProgress {
			return refuse(Complete, "only a running step can be completed: resolve it instead")
		}
		return append(out, StepCompleted{Step: name, Attempt: int(s.Attempt), Result: c.Result, Reason: c.Reason}), nil
	}
	return out, nil
}

func verbTarget(cmd Command) State {
	switch cmd.(type) {
	case RetryStep:
		return Pending
	case ResolveStep:
		return ResolvedManually
	case CancelStep:
		return Cancelled
	}
	return Complete
}

// Event is the note as it is stored. Tasks that have ended take notes, too.
func (c AnnotateTask) Event() Event {
	return TaskAnnotated{Kind: c.Kind, Step: c.Step, Round: c.Round, Annotation: c.Value}
}
