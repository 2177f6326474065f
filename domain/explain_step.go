package domain

import "fmt"

// live finds what a task that goes on by itself waits for.
func (x explainer) live() Explanation {
	if e, ok := x.ready(); ok && e.Reason != ReasonAboutToMove {
		return e
	}
	if e, ok := x.running(); ok {
		return e
	}
	if e, ok := x.ready(); ok {
		return e
	}
	if at, i := x.t.NextRetry(); i >= 0 && at != 0 {
		return x.step(i)
	}
	e := x.say(ReasonAboutToMove, "nothing holds the task: the next commit moves it")
	e.Since = x.t.StartedAt
	return e
}

// ready looks at the steps that could be started: the first that something holds, or else the first.
func (x explainer) ready() (Explanation, bool) {
	first := -1
	for i := range x.t.Steps {
		if !x.t.Ready(i) {
			continue
		}
		if h := x.slot(i); h.Reason != "" {
			return x.held(h, i), true
		}
		if first < 0 {
			first = i
		}
	}
	if first < 0 {
		return Explanation{}, false
	}
	return x.step(first), true
}

func (x explainer) slot(i int) Hold {
	if x.c.Slot == nil || x.t.Bypassed(i) || x.t.Template(i).Handler == SleepHandler {
		return Hold{}
	}
	return x.c.Slot(i)
}

// running looks at the steps in progress: one that is silent, else the one that has run for longest, else a sleep.
func (x explainer) running() (Explanation, bool) {
	longest, sleep := -1, -1
	for i := range x.t.Steps {
		s := &x.t.Steps[i]
		switch {
		case s.State != InProgress:
			continue
		case s.WakeAt != 0:
			if sleep < 0 || s.WakeAt < x.t.Steps[sleep].WakeAt {
				sleep = i
			}
			continue
		}
		if _, silent := x.silent(i); silent {
			return x.step(i), true
		}
		if longest < 0 || s.StartedAt < x.t.Steps[longest].StartedAt {
			longest = i
		}
	}
	switch {
	case longest >= 0:
		return x.step(longest), true
	case sleep >= 0:
		return x.step(sleep), true
	}
	return Explanation{}, false
}

// silent reports since when the handler of a running step has given no sign of life, if that is more than half of what
// it may be.
func (x explainer) silent(i int) (since Instant, silent bool) {
	if x.c.Heard == nil {
		return 0, false
	}
	at, limit := x.c.Heard(i)
	return at, at != 0 && limit > 0 && x.c.Now.Sub(at) > limit/2
}

// step explains a step that is not over, of a task that nothing holds as a whole, except that it may be paused.
func (x explainer) step(i int) Explanation {
	var e Explanation
	switch x.t.Steps[i].State {
	case InProgress:
		e = x.inProgress(i)
	case Error:
		e = x.backoff(i)
	case Pending:
		e = x.pending(i)
	case Complete, Cancelled, ResolvedManually:
		e = x.stepOver(i)
	}
	return x.about(i, e)
}

func (x explainer) inProgress(i int) Explanation {
	t, s, name := x.t, &x.t.Steps[i], x.t.Template(i).Name
	if s.WakeAt != 0 {
		e := x.say(ReasonStepSleeping, "step %q sleeps until %s", name, when("", s.WakeAt))
		e.Since, e.Until = s.StartedAt, s.WakeAt
		return x.started(e, i)
	}
	e := x.say(ReasonStepRunning, "step %q has been running for %s, attempt %d of at most %d", name,
		round(max(0, x.c.Now.Sub(s.StartedAt))), s.Attempt, max(int(s.Attempt), t.RetryLimit(i)))
	if p := s.Progress(); p != nil {
		e.Text += fmt.Sprintf("; it says %d", p.Done)
		if p.Total > 0 {
			e.Text += fmt.Sprintf(" of %d", p.Total)
		}
		if p.Message != "" {
			e.Text += ", " + firstLine(p.Message)
		}
	}
	e.Since = s.StartedAt
	if limit := t.Template(i).Timeout; limit > 0 {
		e.Until = s.StartedAt.Add(limit)
	}
	if at, silent := x.silent(i); silent {
		_, limit := x.c.Heard(i)
		e.Reason, e.Since, e.Until = ReasonWorkerSilent, at, at.Add(limit)
		e.Text += fmt.Sprintf("; its handler has given no sign of life for %s, and may be silent for %s", round(x.c.Now.Sub(at)), round(limit))
		e = x.fix(e, CancelStep{Step: name})
	}
	return x.started(e, i)
}

// started adds the event that began the execution.
func (x explainer) started(e Explanation, i int) Explanation {
	if _, r, ok := lastOfStep[StepExecutionRequested](x, i); ok {
		e.Evidence = r.ID()
	}
	return e
}

// backoff explains a step in error that will be tried again.
func (x explainer) backoff(i int) Explanation {
	t, s, name := x.t, &x.t.Steps[i], x.t.Template(i).Name
	if t.Paused {
		return x.paused()
	}
	if t.Stopped() {
		return x.stopped()
	}
	e := x.say(ReasonBackoff, "step %q failed and is tried again at %s, execution %d of %d", name, when("", s.WakeAt), s.Executions+1, t.RetryLimit(i))
	if err := s.LastError(); err != nil {
		e.Text += ": " + firstLine(err.Message)
	}
	e.Since, e.Until = s.EndedAt, s.WakeAt
	if _, r, ok := lastOfStep[StepFailed](x, i); ok {
		e.Evidence = r.ID()
	}
	return x.fix(e, RetryStep{Step: name})
}

// stopped explains what is not started because another step failed.
func (x explainer) stopped() Explanation {
	blame := x.t.Culprits()
	e := x.say(ReasonStopped, "%s failed, and the definition says on_failure: stop: nothing new is started", quoted(blame))
	if len(blame) > 0 {
		i := x.t.Definition.Graph().Index(blame[0])
		if _, r, ok := lastOfStep[StepFailed](x, i); ok {
			e.Evidence, e.Since = r.ID(), r.At
		}
		e = x.fix(e, RetryStep{Step: blame[0]}, ResolveStep{Step: blame[0]})
	}
	return e
}

func (x explainer) pending(i int) Explanation {
	t, s, name := x.t, &x.t.Steps[i], x.t.Template(i).Name
	if s.open > 0 {
		return x.parents(i)
	}
	switch {
	case t.Paused:
		return x.paused()
	case t.Stopped():
		return x.stopped()
	case !t.class(i).eligible:
		e := x.say(ReasonStepFailed, "step %q has used its %s and is not started again by itself", name, plural(t.RetryLimit(i), "execution", "executions"))
		return x.fix(e, RetryStep{Step: name}, ResolveStep{Step: name}, ResolveTask{})
	}
	if h := x.slot(i); h.Reason != "" {
		return x.held(h, i)
	}
	e := x.say(ReasonAboutToMove, "step %q is ready: the next commit starts it", name)
	e.Since = x.readySince(i)
	return e
}

// behind explains a step of a failed task that a step before it holds up; without Reason when none does.
func (x explainer) behind(i int) Explanation {
	if s := &x.t.Steps[i]; s.State != Pending || s.open == 0 {
		return Explanation{}
	}
	e := x.parents(i)
	if e.Reason == ReasonParents {
		return Explanation{}
	}
	if e.Fix == "" {
		e.Hint = "its task is over" + x.orFork()
	}
	return e
}

// orFork is the way on where the task itself has none.
func (x explainer) orFork() string {
	return "; a new task takes over what is done, and runs the rest: tasker task fork " + x.t.ID.String()
}

// parents explains a step by the worst of the steps before it.
func (x explainer) parents(i int) Explanation {
	name := x.t.Template(i).Name
	var open []string
	failed, gone := -1, -1
	for _, p := range x.t.Definition.graph.Parents(i) {
		c := x.t.class(int(p))
		switch {
		case c.satisfies:
			continue
		case c.blocked && failed < 0:
			failed = int(p)
		case c.cancelled && gone < 0:
			gone = int(p)
		}
		open = append(open, x.t.Template(int(p)).Name)
	}
	worst, reason := failed, ReasonParentFailed
	if worst < 0 {
		worst, reason = gone, ReasonParentGone
	}
	if worst < 0 {
		e := x.say(ReasonParents, "step %q waits for %s", name, quoted(open))
		e.Since = x.t.CreatedAt
		return e
	}
	before := x.t.Template(worst).Name
	e := x.say(reason, "step %q cannot start: %s", name, x.fate(worst))
	if reason == ReasonParentGone {
		if _, r, ok := lastOfStep[StepCancelled](x, worst); ok {
			e.Evidence, e.Since = r.ID(), r.At
		}
		e.Hint = "a cancelled step stays so" + x.orFork()
		return x.fix(e, ResolveStep{Step: before}, ResolveTask{}, CancelTask{})
	}
	if _, r, ok := lastOfStep[StepFailed](x, worst); ok {
		e.Evidence, e.Since = r.ID(), r.At
	}
	return x.fix(e, RetryStep{Step: before}, ResolveStep{Step: before})
}

// readySince is when the last of the steps before it was over, or its task began.
func (x explainer) readySince(i int) Instant {
	since := x.t.CreatedAt
	for _, p := range x.t.Definition.graph.Parents(i) {
		since = max(since, x.t.Steps[p].EndedAt)
	}
	return max(since, x.t.Steps[i].EndedAt)
}

// stepOver explains a step to which nothing more happens by itself.
func (x explainer) stepOver(i int) Explanation {
	t, s, name := x.t, &x.t.Steps[i], x.t.Template(i).Name
	var e Explanation
	switch s.State {
	case Error:
		e = x.say(ReasonStepFailed, "%s", x.fate(i))
		if _, r, ok := lastOfStep[StepFailed](x, i); ok {
			e.Evidence = r.ID()
		}
		if e = x.fix(e, RetryStep{Step: name}, ResolveStep{Step: name}); e.Fix == "" {
			e.Hint = "its task is over" + x.orFork()
		}
	case Cancelled:
		e = x.say(ReasonStepCancelled, "step %q was cancelled", name)
		if c, r, ok := lastOfStep[StepCancelled](x, i); ok {
			e.Text, e.Evidence = e.Text+by(r, c.Reason), r.ID()
		}
		e.Hint = "it stays so" + x.orFork()
	case Complete, ResolvedManually:
		e = x.say(ReasonStepOver, "step %q is %s", name, s.State)
		if s.Skipped {
			e.Text = fmt.Sprintf("step %q was skipped", name)
		}
	case Pending, InProgress: // of a task that was cancelled in a commit that was cut short
		e = x.say(ReasonTaskEnded, "the task is %s: nothing more happens to step %q", t.State, name)
	}
	e.Since = s.EndedAt
	return x.about(i, e)
}
