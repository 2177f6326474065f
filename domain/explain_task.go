package domain

import (
	"fmt"
	"strings"
	"time"
)

func (x explainer) ended() Explanation {
	t := x.t
	e := x.say(ReasonTaskEnded, "the task is %s: nothing more happens to it", t.State)
	e.Since = t.EndedAt
	r, known := x.last(func(e Event) bool {
		switch e.(type) { //nolint:gochecksumtype // what ends a task
		case TaskCompleted, TaskCancelled, TaskResolvedManually:
			return true
		}
		return false
	})
	if !known {
		return e
	}
	e.Evidence = r.ID()
	switch done := r.Event.(type) { //nolint:gochecksumtype // what was looked for, but for the plain end
	case TaskCancelled:
		e.Text = "the task was cancelled" + by(r, done.Reason)
	case TaskResolvedManually:
		e.Text = "the task was resolved" + by(r, done.Reason)
	}
	return e
}

func (x explainer) failed() Explanation {
	t := x.t
	if t.Expired {
		e := x.say(ReasonTaskExpired, "the task failed and nobody retried it in time: it is history and can not be retried any more")
		if _, r, ok := lastOf[TaskExpired](x); ok {
			e.Evidence, e.Since = r.ID(), r.At
		}
		e.Hint = "how long a failed task is kept: --error-retention" + x.orFork()
		return e
	}
	blame := t.Culprits()
	var e Explanation
	switch {
	case t.Failed == FailDeadline:
		e = x.say(ReasonDeadline, "the task was not over by its deadline%s", when(", ", t.Deadline))
		if len(blame) > 0 {
			e.Text += ": " + quoted(blame) + " had not ended"
		}
	case len(blame) == 0:
		e = x.say(ReasonTaskFailed, "the task failed")
	default:
		e = x.say(ReasonTaskFailed, "%s", x.blame(blame))
		e.Step = blame[0]
	}
	e.Since = t.EndedAt
	if _, r, ok := lastOf[TaskFailed](x); ok {
		e.Evidence = r.ID()
	}
	e = x.fix(e, RetryTask{}, ResolveTask{})
	if _, again := e.Verb.(RetryTask); !again && !x.c.Brief {
		e.Hint = "it cannot be tried again as it is" + x.orFork()
	}
	return e
}

// blame says what became of the steps that keep the task from completing.
func (x explainer) blame(names []string) string {
	i := x.t.Definition.Graph().Index(names[0])
	text := x.fate(i)
	if n := len(names) - 1; n > 0 {
		text += "; so did " + quoted(names[1:])
	}
	return "the task failed: " + text
}

// fate is how step i ended badly.
func (x explainer) fate(i int) string {
	s, name := &x.t.Steps[i], x.t.Template(i).Name
	if s.State == Cancelled {
		return fmt.Sprintf("step %q was cancelled", name)
	}
	text := fmt.Sprintf("step %q failed for good", name)
	if limit := x.t.RetryLimit(i); int(s.Executions) >= limit && limit > 0 {
		text += fmt.Sprintf(" after %d of %d executions", s.Executions, limit)
	}
	if err := s.LastError(); err != nil {
		if err.Message != "" {
			text += ": " + firstLine(err.Message)
		}
		if err.Kind != "" && err.Kind != KindError {
			text += " (" + string(err.Kind) + ")"
		}
	}
	return text
}

func (x explainer) frozen() Explanation {
	u := x.c.Frozen
	e := x.say(ReasonTaskFrozen, "the task has an event of type %q, version %d, which this version of tasker cannot read: nothing happens to it",
		u.TypeName, u.Version)
	e.Hint = "run the version of tasker that wrote it, or a newer one"
	if r, ok := x.last(func(e Event) bool { _, unknown := e.(Unknown); return unknown }); ok {
		e.Evidence, e.Since = r.ID(), r.At
	}
	return e
}

func (x explainer) paused() Explanation {
	e := x.say(ReasonTaskPaused, "the task is paused")
	if p, r, ok := lastOf[TaskPaused](x); ok {
		e.Text, e.Evidence, e.Since = "the task was paused"+by(r, p.Reason), r.ID(), r.At
	}
	if n := x.t.counts.state[InProgress]; n > 0 {
		e.Text += fmt.Sprintf("; %s still running", plural(int(n), "step is", "steps are"))
	}
	return x.fix(e, ResumeTask{})
}

// held explains a hold of the partition (step -1), or of one ready step.
func (x explainer) held(h Hold, step int) Explanation {
	e := x.say(h.Reason, "%s", x.holdText(h, step))
	e.Since, e.Fix = h.Since, h.Fix
	if step >= 0 {
		e.Step = x.t.Template(step).Name
		if e.Since == 0 {
			e.Since = x.readySince(step)
		}
	}
	e.Hint = holdHints[h.Reason]
	return e
}

// holdHints say what to do where no command of ours is the answer.
var holdHints = map[Reason]string{
	ReasonNoOwner:       "start an engine on this log: tasker serve",
	ReasonStoreFull:     "make room: tasker prune, or raise the limit of the store",
	ReasonLogAway:       "bring NATS back; the owner goes on by itself",
	ReasonNoHandler:     "start an engine that registers the handler, or register it in this one",
	ReasonNoSlot:        "wait for one to end, or raise --slots",
	ReasonNoHandlerSlot: "wait for one to end, or raise Config.SlotsPerHandler",
	ReasonHandlerLeaks:  "make the handler watch its context, and restart the engine",
	ReasonClosed:        "the text says what is to be decided; tasker status shows the partition",
}

func (x explainer) holdText(h Hold, step int) string {
	handler := ""
	if step >= 0 {
		handler = x.t.Template(step).Handler
	}
	switch h.Reason { //nolint:exhaustive // what tasks and steps say of themselves is no hold
	case ReasonNoOwner:
		return fmt.Sprintf("no engine has partition %02d, which the task is in", x.c.Partition)
	case ReasonLoading:
		return fmt.Sprintf("partition %02d is being loaded", x.c.Partition)
	case ReasonClosed:
		is := fmt.Sprintf("partition %02d is closed: ", x.c.Partition)
		return is + strings.TrimPrefix(h.Why, is)
	case ReasonLogAway:
		return "the log does not acknowledge commits: NATS cannot be reached"
	case ReasonStoreFull:
		return "the store is full: nothing can be appended"
	case ReasonLeaseStale:
		return "the engine has not been able to renew its lease and may start nothing"
	case ReasonEngineDrains:
		return "the engine is stopping and starts no more steps"
	case ReasonNoHandler:
		return fmt.Sprintf("the step is ready, and no handler %q is registered in the engine that has its partition", handler)
	case ReasonNoSlot:
		return fmt.Sprintf("the step is ready, and all %d slots of the process are taken%s", h.Limit, holders(h.Holders, x.c.Now))
	case ReasonNoHandlerSlot:
		return fmt.Sprintf("the step is ready, and all %d slots of handler %q are taken%s", h.Limit, handler, holders(h.Holders, x.c.Now))
	case ReasonHandlerLeaks:
		return fmt.Sprintf("%d executions of handler %q ignore that their context has ended and are still running: no new one is started", h.Limit, handler)
	}
	return h.Why
}

// holders names the one that has held its slot for longest.
func holders(all []Holder, now Instant) string {
	if len(all) == 0 {
		return ""
	}
	first := all[0]
	for _, h := range all {
		if h.Since < first.Since {
			first = h
		}
	}
	text := fmt.Sprintf("; step %q of task %s has had one for longest", first.Step, first.Task)
	if first.Since != 0 && now > first.Since {
		text += ", " + round(now.Sub(first.Since))
	}
	return text
}

func when(before string, at Instant) string {
	if at == 0 {
		return ""
	}
	return before + at.Time().Format(time.RFC3339)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// round writes a span as people read it.
func round(d time.Duration) string {
	switch {
	case d >= 10*time.Minute:
		d = d.Round(time.Minute)
	case d >= time.Second:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Millisecond)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

func firstLine(text string) string {
	const most = 200
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
