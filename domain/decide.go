package domain

import (
	"encoding/json"
	"unicode/utf8"
)

// DecideCreate answers a submission for a task that does not exist yet.
func DecideCreate(def *Definition, cmd CreateTask, now Instant) (TaskCreated, error) {
	for _, name := range cmd.BypassSteps {
		switch i := def.graph.Index(name); {
		case i < 0:
			return TaskCreated{}, &BypassError{def.FullName(), name, "is not a step of it"}
		case !def.Steps[i].Skippable:
			return TaskCreated{}, &BypassError{def.FullName(), name, "is not skippable"}
		}
	}
	e := TaskCreated{
		Namespace: def.Namespace, Name: def.Name, Version: def.Version, Definition: def.hash,
		Context: cmd.Context, Initiator: cmd.Initiator, SourceSystem: cmd.SourceSystem, Reason: cmd.Reason,
		Tags: cmd.Tags, BypassSteps: cmd.BypassSteps, Correlation: cmd.Correlation, Traceparent: cmd.Traceparent,
		InputHash: cmd.InputHash, Forked: cmd.Forked,
		Deadline: deadlineFrom(def, now),
	}
	if e.Namespace == DefaultNamespace {
		e.Namespace = "" // left out; see TaskCreated
	}
	if len(def.Tags) > 0 {
		e.Tags = append(append([]string(nil), def.Tags...), cmd.Tags...)
	}
	return e, nil
}

func deadlineFrom(def *Definition, now Instant) Instant {
	if def.Deadline == 0 {
		return 0
	}
	return now.Add(def.Deadline)
}

// Decide answers a command to a task: the events that it leads to, appended to out; none when it changes nothing (a
// transition to the current state); or an error that says why it is refused. It does not change the task.
func Decide(t *Task, cmd Command, now Instant, out []Event) ([]Event, error) {
	if t.Expired {
		return t.decideExpired(cmd, out)
	}
	switch c := cmd.(type) {
	case CompleteStep:
		return t.completeStep(c, out)
	case FailStep:
		return t.reportFailure(c, now, out)
	case CheckpointStep:
		return t.whileRunning(c.Step, c.Attempt, out, c.event)
	case ProgressStep:
		return t.whileRunning(c.Step, c.Attempt, out, c.event)
	case LogStep:
		return t.whileRunning(c.Step, c.Attempt, out, c.event)
	case CancelTask:
		return t.cancel(c, out)
	case RetryTask:
		return t.retry(c, now, out)
	case ResolveTask:
		return t.resolve(c, out)
	case PauseTask:
		return t.pause(c, out)
	case ResumeTask:
		return t.resume(c, out), nil
	case AnnotateTask:
		return append(out, c.Event()), nil
	case RetryStep:
		return t.onStep(c.verb(), now, out)
	case ResolveStep:
		return t.onStep(c.verb(), now, out)
	case CancelStep:
		return t.onStep(c.verb(), now, out)
	case FinishStep:
		return t.onStep(c.verb(), now, out)
	case StartTask:
		if t.State == Pending {
			out = append(out, TaskStartRequested{Again: t.StartedAt != 0})
		}
		return out, nil
	case WaitTask:
		return t.waitFor(c.Waiting, out), nil
	case CompleteTask:
		if t.State == InProgress && t.allComplete() {
			out = append(out, t.completed())
		}
		return out, nil
	case FailTask:
		if t.State.Live() {
			out = append(out, TaskFailed{Reason: FailStepsInError, Steps: t.Culprits()})
		}
		return out, nil
	case StartStep:
		return t.startStep(c.Step, now, out), nil
	case SkipStep:
		if t.Ready(c.Step) && t.Bypassed(c.Step) {
			out = append(out, StepSkipped{Step: t.Template(c.Step).Name, Reason: "bypass_steps"})
		}
		return out, nil
	case ReleaseStep:
		if s := &t.Steps[c.Step]; s.State == Error && s.WakeAt != 0 && s.WakeAt <= now && t.gate() {
			out = append(out, StepRetryRequested{Step: t.Template(c.Step).Name})
		}
		return out, nil
	case EndSleep:
		if s := &t.Steps[c.Step]; s.State == InProgress && s.WakeAt != 0 && s.WakeAt <= now {
			result := Inline(json.RawMessage(`{"slept":"` + t.Template(c.Step).Wait.String() + `"}`))
			out = append(out, StepCompleted{Step: t.Template(c.Step).Name, Attempt: int(s.Attempt), Result: result})
		}
		return out, nil
	case HitDeadline:
		return t.hitDeadline(now, out), nil
	case ExpireTask:
		if t.State == Error {
			out = append(out, TaskExpired{})
		}
		return out, nil
	case CreateTask:
		return out, nil // the task exists: submitting it again changes nothing
	}
	return out, nil
}

// completeStep: only a report about the current execution counts (SEMANTICS 3).
func (t *Task) completeStep(c CompleteStep, out []Event) ([]Event, error) {
	if !t.runs(c.Step, c.Attempt) {
		return out, ErrStale
	}
	out = t.emitted(c.Step, c.Attempt, c.Emitted, out)
	return append(out, StepCompleted{Step: t.Template(c.Step).Name, Attempt: c.Attempt, Result: c.Result}), nil
}

// emitted appends the custom events of an execution, as they were emitted.
func (t *Task) emitted(i, attempt int, events []Custom, out []Event) []Event {
	for _, e := range events {
		e.Step, e.Attempt = t.Template(i).Name, attempt
		out = append(out, e)
	}
	return out
}

// whileRunning stores what an execution says before it ends.
func (t *Task) whileRunning(i, attempt int, out []Event, event func(step string) Event) ([]Event, error) {
	if !t.runs(i, attempt) {
		return out, ErrStale
	}
	return append(out, event(t.Template(i).Name)), nil
}

func (c CheckpointStep) event(step string) Event {
	return StepCheckpointed{Step: step, Attempt: c.Attempt, Cursor: c.Cursor}
}

func (c ProgressStep) event(step string) Event {
	return StepProgressed{Step: step, Attempt: c.Attempt, Done: c.Done, Total: c.Total, Message: cut(c.Message, MaxProgressMessage)}
}

func (c LogStep) event(step string) Event {
	return StepLogAppended{Step: step, Attempt: c.Attempt, Lines: c.Lines, Dropped: c.Dropped}
}

// decideExpired: a task whose time has run out takes notes, and nothing else.
func (t *Task) decideExpired(cmd Command, out []Event) ([]Event, error) {
	switch c := cmd.(type) {
	case AnnotateTask:
		return append(out, c.Event()), nil
	case CancelTask, RetryTask, ResolveTask, PauseTask, ResumeTask, RetryStep, ResolveStep, CancelStep, FinishStep:
		return out, &RefusedError{t.ID, "failed on " + t.EndedAt.String() +
			" and was not reopened within error_retention: it is history now; fork it, or submit it again"}
	case CompleteStep, FailStep, CheckpointStep, ProgressStep, LogStep:
		return out, ErrStale
	case CreateTask, StartTask, WaitTask, CompleteTask, FailTask, StartStep, SkipStep, ReleaseStep, EndSleep, HitDeadline, ExpireTask:
	}
	return out, nil
}

func (t *Task) reportFailure(c FailStep, now Instant, out []Event) ([]Event, error) {
	if !t.runs(c.Step, c.Attempt) {
		return out, ErrStale
	}
	if c.Error.Kind == "" {
		c.Error.Kind = KindError
	}
	c.Error.trim()
	retry := retryAt(t, c.Step, c, now)
	out = t.emitted(c.Step, c.Attempt, c.Emitted, out)
	return append(out, StepFailed{
		Step: t.Template(c.Step).Name, Attempt: c.Attempt, Error: c.Error, RetryAt: retry,
	}), nil
}

func (t *Task) runs(i, attempt int) bool {
	return i >= 0 && i < len(t.Steps) && t.Steps[i].State == InProgress && int(t.Steps[i].Attempt) == attempt &&
		t.State.Live()
}

// trim holds an error to what is stored of it.
func (e *StepError) trim() {
	e.Message = cut(e.Message, MaxErrorMessage)
	e.Code = cut(e.Code, MaxErrorWord)
	e.Kind = ErrorKind(cut(string(e.Kind), MaxErrorWord))
	if len(e.Frames) > MaxFrames {
		e.Frames = e.Frames[:MaxFrames]
	}
}

// cut ends a text after so many bytes, never through the middle of a character.
func cut(text string, end int) string {
	if len(text) <= end {
		return text
	}
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " [cut]"
}

// waitFor: said once, and again only when reason or date change (SEMANTICS 5).
func (t *Task) waitFor(w Waiting, out []Event) []Event {
	if !t.State.Live() || t.State == Pending && t.Waiting == w {
		return out
	}
	if w.Until != 0 {
		return append(out, TaskDelayed(w))
	}
	return append(out, TaskReenqueued{Reason: w.Reason})
}

func (t *Task) startStep(i int, now Instant, out []Event) []Event {
	if !t.Ready(i) {
		return out
	}
	tpl := t.Template(i)
	e := StepExecutionRequested{Step: tpl.Name, Attempt: int(t.Steps[i].Attempt) + 1}
	if tpl.Handler == SleepHandler {
		e.Until = now.Add(tpl.Wait)
	}
	return append(out, e)
}

// completed makes the task's result (SEMANTICS 5): of the output step, or of the leaves by name. A result that would
// be large, or of which a part is not at hand, is named instead of repeated.
func (t *Task) completed() TaskCompleted {
	if name := t.Definition.Output; name != "" {
		result := t.Steps[t.Definition.graph.Index(name)].Result
		if result.Pos.Sequence != 0 {
			return TaskCompleted{From: []string{name}}
		}
		return TaskCompleted{Result: result}
	}
	leaves := t.Definition.graph.leaves
	size := 2
	for _, i := range leaves {
		size += len(t.Template(int(i)).Name) + len(t.Steps[i].Result.JSON) + len(`"":null,`)
		if r := t.Steps[i].Result; r.JSON == nil && !r.IsZero() || size > InlineLog/2 {
			names := make([]string, len(leaves))
			for k, leaf := range leaves {
				names[k] = t.Template(int(leaf)).Name
			}
			return TaskCompleted{From: names}
		}
	}
	b := append(make([]byte, 0, size), '{')
	for k, i := range leaves {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, t.Template(int(i)).Name...) // names need no escaping, see Validate
		b = append(b, '"', ':')
		if r := t.Steps[i].Result.JSON; r != nil {
			b = append(b, r...)
		} else {
			b = append(b, "null"...)
		}
	}
	return TaskCompleted{Result: Inline(append(b, '}'))}
}

// Culprits are the steps that keep the task from completing: failed for good or cancelled, and not optional.
func (t *Task) Culprits() []string {
	var names []string
	for i := range t.Steps {
		if c := t.class(i); c.blocked || c.cancelled {
			names = append(names, t.Template(i).Name)
		}
	}
	return names
}

// hitDeadline fails everything that runs or would run again, and the task with it (SEMANTICS 3).
func (t *Task) hitDeadline(now Instant, out []Event) []Event {
	if !t.State.Live() || t.Deadline == 0 || t.Deadline > now {
		return out
	}
	var blame []string
	for i := range t.Steps {
		s, name := &t.Steps[i], t.Template(i).Name
		switch {
		case s.FailedForGood() && s.LastError() != nil && s.LastError().Kind == KindDeadline:
			blame = append(blame, name) // by an earlier part of a commit that was cut short
		case s.State == InProgress || s.State == Error && s.WakeAt != 0:
			blame = append(blame, name)
			out = append(out, StepFailed{Step: name, Attempt: int(s.Attempt), Error: StepError{
				Kind:    KindDeadline,
				Message: "the task's deadline " + t.Deadline.String() + " passed",
			}})
		}
	}
	return append(out, TaskFailed{Reason: FailDeadline, Steps: blame})
}
