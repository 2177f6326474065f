package domain

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Reason is why a task or a step does not move now: the answer to "why is it stuck". The set is closed; docs/explain.md
// says of each what it means and what to do.
type Reason string

// What holds every task of a partition.
const (
	ReasonNoOwner      Reason = "partition_without_owner" // no engine has it
	ReasonLoading      Reason = "partition_loading"       // an engine is about to have it
	ReasonClosed       Reason = "partition_closed"        // it cannot be opened until an operator acts
	ReasonLogAway      Reason = "log_unreachable"         // the owner's commits are not acknowledged
	ReasonStoreFull    Reason = "store_full"              // nothing can be appended for want of space
	ReasonLeaseStale   Reason = "lease_not_renewed"       // the owner may not start anything until it is
	ReasonTaskFrozen   Reason = "task_frozen"             // an event of it cannot be read by this version
	ReasonEngineDrains Reason = "engine_draining"         // the owner is stopping and starts no steps
)

// What a task says of itself.
const (
	ReasonTaskEnded   Reason = "task_ended"        // complete, cancelled or resolved: nothing more happens
	ReasonTaskFailed  Reason = "task_failed"       // steps failed for good or were cancelled
	ReasonDeadline    Reason = "deadline_exceeded" // it was not over in time
	ReasonTaskExpired Reason = "task_expired"      // it failed so long ago that it is history
	ReasonTaskPaused  Reason = "task_paused"       // an operator paused it
	ReasonStopped     Reason = "on_failure_stop"   // a step failed, and the definition says stop: the rest is not started
	ReasonAboutToMove Reason = "about_to_move"     // nothing holds it: the next commit moves it
)

// What a step says of itself.
const (
	ReasonStepRunning   Reason = "step_running"              // its handler has it
	ReasonWorkerSilent  Reason = "worker_silent"             // its handler has it, and has given no sign of life for long
	ReasonStepSleeping  Reason = "step_sleeping"             // a sleep of the definition
	ReasonBackoff       Reason = "backoff"                   // it failed and will be tried again
	ReasonNoHandler     Reason = "no_handler"                // no engine has a handler of that name
	ReasonNoSlot        Reason = "no_slot"                   // all slots of the process are taken
	ReasonNoHandlerSlot Reason = "no_slot_for_handler"       // all slots of the handler are taken
	ReasonHandlerLeaks  Reason = "handler_ignores_cancel"    // too many executions go on after their end
	ReasonParents       Reason = "waiting_for_steps"         // steps before it are not over
	ReasonParentFailed  Reason = "blocked_by_failed_step"    // a step before it failed for good
	ReasonParentGone    Reason = "blocked_by_cancelled_step" // a step before it was cancelled
	ReasonStepFailed    Reason = "step_failed"               // it failed for good
	ReasonStepCancelled Reason = "step_cancelled"            // an operator cancelled it, or the task
	ReasonStepOver      Reason = "step_over"                 // it is complete, skipped or resolved
)

// ReasonIndexBehind is no reason of a task: an answer from the index does not contain what it was to contain. See
// ExplainBehind.
const ReasonIndexBehind Reason = "index_behind"

// Explanation says why a task or a step does not move, since when, on what evidence, and what moves it.
type Explanation struct {
	Task   TaskID `json:"task,omitzero"`
	Step   string `json:"step,omitempty"` // the step that the reason is about
	Reason Reason `json:"reason"`
	// Text is one or two sentences for people. Everything that shows an explanation shows this text.
	Text  string  `json:"text"`
	Since Instant `json:"since,omitzero"`
	Until Instant `json:"until,omitzero"` // it goes on by itself then, at the latest
	// Evidence is the id of the event that shows it; "" when no single event does, or its history is gone.
	Evidence string `json:"evidence,omitempty"`
	// Fix is the command that moves it; "" when it moves by itself, or nothing of ours can move it: then Hint says what to do.
	Fix  string `json:"fix,omitempty"`
	Hint string `json:"hint,omitempty"`
	// Verb is what Fix does, when that is a verb on the task.
	Verb Command `json:"-"`
}

// Circumstances are what an explanation needs to know beside the task. The zero value: everything around it is well.
type Circumstances struct {
	Now       Instant
	Partition int
	// Held is why no task of the partition moves; its Reason is "" when they do.
	Held Hold
	// Frozen is the event of the task that this version cannot read.
	Frozen *Unknown
	// History of the task, the oldest first, as far as it is kept: for evidence, and for who did what.
	History []Record
	// Slot says why a ready step is not started; nil, or a Hold without Reason: nothing holds it.
	Slot func(step int) Hold
	// Heard is when the handler of a running step last gave a sign of life, and the limit of its silence; nil or zero: it
	// gives none.
	Heard func(step int) (at Instant, limit time.Duration)
	// Brief leaves everything out of an explanation of the task that takes time to write: it has a reason, a step, since and
	// until.
	Brief bool
}

// Hold is what keeps steps from being started that are ready.
type Hold struct {
	Reason  Reason
	Since   Instant
	Why     string // what went wrong, where it did
	Limit   int    // of the slots
	Holders []Holder
	Fix     string // the command, where the one who holds knows it
}

// Holder is an execution that has one of the slots.
type Holder struct {
	Task    TaskID
	Step    string
	Attempt int
	Since   Instant
}

// Explain says why the task does not move. It always has exactly one reason; of several it takes the one to deal with
// first: what holds the whole partition, then what the task says of itself, then its steps.
func Explain(t *Task, c Circumstances) Explanation {
	e := explainer{t, c}.task()
	if c.Brief {
		e.Text, e.Evidence, e.Fix, e.Hint = "", "", "", ""
	}
	return e
}

func (x explainer) task() Explanation {
	switch t, c := x.t, x.c; {
	case t.State.Ended():
		return x.ended()
	case t.State == Error:
		return x.failed()
	case c.Frozen != nil:
		return x.frozen()
	case c.Held.Reason != "":
		return x.held(c.Held, -1)
	case t.Paused:
		return x.paused()
	}
	return x.live()
}

// ExplainHeld explains a task of which nothing can be had but its id, by what holds its partition.
func ExplainHeld(id TaskID, c Circumstances) Explanation {
	return explainer{&Task{ID: id}, c}.held(c.Held, -1)
}

// ExplainStep says why step i does not move.
func ExplainStep(t *Task, i int, c Circumstances) Explanation {
	x := explainer{t, c}
	if s := &t.Steps[i]; s.Over() || t.State == Cancelled {
		return x.stepOver(i)
	}
	if !t.State.Live() {
		if e := x.behind(i); e.Reason != "" {
			return x.about(i, e)
		}
		return x.about(i, Explain(t, c))
	}
	switch {
	case c.Frozen != nil:
		return x.about(i, x.frozen())
	case c.Held.Reason != "":
		return x.about(i, x.held(c.Held, -1))
	}
	return x.step(i)
}

// explainer has the answers in pieces.
type explainer struct {
	t *Task
	c Circumstances
}

func (x explainer) say(reason Reason, format string, args ...any) Explanation {
	if x.c.Brief {
		return Explanation{Task: x.t.ID, Reason: reason}
	}
	return Explanation{Task: x.t.ID, Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// about makes an explanation of the task one of its step.
func (x explainer) about(i int, e Explanation) Explanation {
	if e.Step == "" {
		e.Step = x.t.Template(i).Name
	}
	return e
}

// last finds the newest event that fits.
func (x explainer) last(fits func(Event) bool) (Record, bool) {
	for i := len(x.c.History) - 1; i >= 0; i-- {
		if r := x.c.History[i]; fits(r.Event) {
			return r, true
		}
	}
	return Record{}, false
}

// lastOf finds the newest event of a type.
func lastOf[E Event](x explainer) (E, Record, bool) {
	r, ok := x.last(func(e Event) bool { _, is := e.(E); return is })
	if !ok {
		var none E
		return none, r, false
	}
	return r.Event.(E), r, true //nolint:forcetypeassert // last looked for it
}

// lastOfStep finds the newest event of a type about step i.
func lastOfStep[E StepEvent](x explainer, i int) (E, Record, bool) {
	name := x.t.Template(i).Name
	r, ok := x.last(func(e Event) bool { s, is := e.(E); return is && s.StepName() == name })
	if !ok {
		var none E
		return none, r, false
	}
	return r.Event.(E), r, true //nolint:forcetypeassert // last looked for it
}

// by puts who and why behind what was done: "by operator:ann: invoice lost".
func by(r Record, reason string) string {
	text := ""
	if r.By != "" {
		text = " by " + string(r.By)
	}
	if reason != "" {
		text += ": " + reason
	}
	return text
}

// fix names the first of the verbs that the law would accept now.
func (x explainer) fix(e Explanation, verbs ...Command) Explanation {
	if x.c.Brief {
		return e
	}
	for _, v := range verbs {
		if events, err := Decide(x.t, v, x.c.Now, nil); err == nil && len(events) > 0 {
			e.Verb, e.Fix = v, commandOf(x.t.ID, v)
			return e
		}
	}
	return e
}

// commandOf is how an operator types a verb.
func commandOf(id TaskID, v Command) string {
	step := func(verb, name string) string { return "tasker step " + verb + " " + id.String() + " " + name }
	task := func(verb string) string { return "tasker task " + verb + " " + id.String() }
	switch v := v.(type) { //nolint:gochecksumtype // those that explanations name
	case RetryTask:
		return task("retry")
	case ResolveTask:
		return task("resolve")
	case ResumeTask:
		return task("resume")
	case CancelTask:
		return task("cancel")
	case RetryStep:
		return step("retry", v.Step)
	case ResolveStep:
		return step("resolve", v.Step)
	case CancelStep:
		return step("cancel", v.Step)
	case FinishStep:
		return step("complete", v.Step) + " --result '{}'"
	}
	return ""
}

func quoted(names []string) string {
	all := make([]string, len(names))
	for i, n := range names[:min(len(names), maxListed)] {
		all[i] = strconv.Quote(n)
	}
	return listed(all)
}

// maxListed is how many names a text has; of more it says the number.
const maxListed = 5

func listed(names []string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i == maxListed:
			fmt.Fprintf(&b, " and %d more", len(names)-maxListed)
			return b.String()
		case i > 0 && i == len(names)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(n)
	}
	return b.String()
}
