package domain

import (
	"encoding/json"
	"time"
)

// Signal is an event that is never stored. Most signals follow from a stored commit (SEMANTICS 11): WithSignals derives
// them, and does so again, with the same outcome, wherever that commit is read. A few come from a process while it works
// and cannot be read again; see SignalEntry.Live.
//
// The record around a derived signal has the time, the task and the position of the fact that implies it. So a position
// alone does not name a signal: position and type together do, and that is what a subscriber is idempotent by.
//
// Only the fields that are named at a type's SignalEntry are set; the others are zero.
type Signal struct {
	Name     EventType
	Steps    []string          // the steps that it is about, in the order of their facts
	Outcomes []State           // by step: Complete or Error
	Attempt  int               // of the one step that it is about
	Reason   string            // what is waited for, why a task failed or a step was skipped, or what a wake-up found
	Until    Instant           // the end of a wait, or the time of the next attempt
	Decision EventType         // the fact that the decision led to
	Error    *StepError        // why the execution failed
	Took     time.Duration     // how long the handler was at work
	Context  *ExecutionContext // of the task, right after the fact at its position; nil where its history is not to be had
}

// Type is the signal's name.
func (s Signal) Type() EventType { return s.Name }
func (Signal) event()            {}

// The signals, in the order of SEMANTICS 11.
const (
	SignalTaskStarted             EventType = "workflow.task_started"
	SignalViableStepsDiscovered   EventType = "workflow.viable_steps_discovered"
	SignalStepsExecutionStarted   EventType = "workflow.steps_execution_started"
	SignalStepsExecutionCompleted EventType = "workflow.steps_execution_completed"
	SignalNoViableSteps           EventType = "workflow.no_viable_steps"
	SignalFinalizationStarted     EventType = "workflow.task_finalization_started"
	SignalFinalizationCompleted   EventType = "workflow.task_finalization_completed"
	SignalReenqueueStarted        EventType = "workflow.task_reenqueue_started"
	SignalReenqueueFailed         EventType = "workflow.task_reenqueue_failed"
	SignalStateUnclear            EventType = "workflow.task_state_unclear"
	SignalStepBackoff             EventType = "observability.step.backoff"
	SignalMaxRetriesReached       EventType = "observability.step.max_retries_reached"
	SignalStepSkip                EventType = "observability.step.skip"
	SignalBeforeHandle            EventType = "step.before_handle"
	SignalHandle                  EventType = "step.handle"
)

// What the Reason of workflow.task_reenqueue_failed says that the wake-up found.
const (
	WakeFoundPaused  = "paused"  // the task is paused: what came due waits for the resume
	WakeFoundEnded   = "ended"   // the run of the task has ended, or failed
	WakeFoundRunning = "running" // the task is in progress already: what came due goes on all the same
)

// SignalEntry describes one type of signal. docs/events.md is made from the entries.
type SignalEntry struct {
	Type EventType
	When string   // exactly when it is emitted
	Has  []string // the fields of Signal that may be set, as in its JSON
	// Before: it is told before the fact at its position, because it announces that; else after it.
	Before bool
	// Live: it comes from a process while it works, to the taps of that process. It follows from no commit, so nobody can
	// subscribe to it durably, and no replay has it.
	Live bool
}

// signals are in the order in which those of one position are told, around the fact.
var signals = []SignalEntry{
	{SignalFinalizationStarted, "Before each fact by which the engine decides what becomes of the task: `task.start_requested`, " +
		"`workflow.task_reenqueue_requested`, `workflow.task_reenqueue_delayed`, `task.completed`, `task.failed`. " +
		"An operator's word (cancel, resolve, retry) is no such decision; what the engine makes of it is.",
		[]string{"steps", "reason", "until", "decision"}, true, false},
	{SignalReenqueueStarted, "Before each `workflow.task_reenqueue_requested` and `workflow.task_reenqueue_delayed`.",
		[]string{"reason", "until"}, true, false},
	{SignalTaskStarted, "Before the first `task.start_requested` of a task, the one without `again`.", nil, true, false},
	{SignalViableStepsDiscovered, "Once per task and message of the log that starts at least one step, before the first " +
		"`step.execution_requested`; with the names of all of them.", []string{"steps"}, true, false},
	{SignalStepsExecutionStarted, "Right after `workflow.viable_steps_discovered`, for the same steps.", []string{"steps"}, true, false},

	{SignalStepBackoff, "After each `step.failed` that has a `retry_at`.", []string{"steps", "attempt", "until", "error"}, false, false},
	{SignalMaxRetriesReached, "After each `step.failed` that has no `retry_at`: the step has failed for good, for whatever reason.",
		[]string{"steps", "attempt", "error"}, false, false},
	{SignalStepSkip, "After each `step.skipped`.", []string{"steps", "reason"}, false, false},
	{SignalStepsExecutionCompleted, "Once per task and message of the log that accepts at least one report, after the last of them; " +
		"with names and outcomes. Reports are handlers' results and errors, and the ends that the engine makes itself: timeouts, " +
		"lost workers, interruptions, sleeps. An execution that is cancelled, completed by an operator or ended by the task's " +
		"deadline reported nothing.", []string{"steps", "outcomes"}, false, false},
	{SignalNoViableSteps, "After each `workflow.task_reenqueue_requested` and `workflow.task_reenqueue_delayed`: the task is live, " +
		"and nothing of it is ready or in progress.", []string{"reason", "until"}, false, false},
	{SignalFinalizationCompleted, "After each fact that `workflow.task_finalization_started` announces, with the execution context " +
		"right after it. The context is read from the log for those who subscribe to this signal; it is absent where the " +
		"beginning of the task's history has been pruned.",
		[]string{"steps", "reason", "until", "decision", "context"}, false, false},

	{SignalReenqueueFailed, "When the time of a `workflow.task_reenqueue_delayed` comes and the task does not wait for it any more; " +
		"`reason` is what the wake-up found: `paused`, `ended` (also: failed) or `running`. Nothing is lost by it. A wait that " +
		"another one has replaced is not reported.", []string{"reason", "until"}, false, true},
	{SignalStateUnclear, "Whenever the engine has dealt with a task and its execution status is `unclear`. That is a bug: please report it.",
		[]string{"context"}, false, true},
	{SignalBeforeHandle, "In the process that runs the handler, right before it is called.", []string{"steps", "attempt"}, false, true},
	{SignalHandle, "In the process that runs the handler, when its call is over, with what it returned. Whether that counts is " +
		"decided afterwards: a step that has timed out or was cancelled meanwhile drops it.",
		[]string{"steps", "outcomes", "attempt", "error", "took"}, false, true},
}

// SignalCatalogue lists every signal, those of one position in the order in which they are told.
func SignalCatalogue() []SignalEntry {
	list := make([]SignalEntry, len(signals))
	for i, entry := range signals {
		entry.Has = append([]string(nil), entry.Has...)
		list[i] = entry
	}
	return list
}

// rankOfFact leaves room for more signals before and after it.
const rankOfFact = 16

var ranks = func() map[EventType]int {
	ranks := map[EventType]int{}
	after := rankOfFact
	for i, entry := range signals {
		if entry.Before {
			ranks[entry.Type] = i + 1
		} else if !entry.Live {
			after++
			ranks[entry.Type] = after
		}
	}
	return ranks
}()

// RankOf is the place of an event among those of one position, from 1: the signals that announce the fact, the fact, the
// signals that follow from it. It depends on the type alone. The cursors of durable subscribers hold ranks, so they never
// change.
func RankOf(e Event) int {
	if s, ok := e.(Signal); ok {
		return ranks[s.Name]
	}
	return rankOfFact
}

// fields appends what the signal says, for EventData.
func (s Signal) fields(o object) object {
	o = o.textsIf("steps", s.Steps)
	if len(s.Outcomes) > 0 {
		names := make([]string, len(s.Outcomes))
		for i, state := range s.Outcomes {
			names[i] = state.String()
		}
		o = o.textsIf("outcomes", names)
	}
	o = o.numberIf("attempt", int64(s.Attempt)).textIf("reason", s.Reason).instantIf("until", s.Until).
		textIf("decision", string(s.Decision))
	if s.Error != nil {
		o = o.failure("error", s.Error)
	}
	if s.Took != 0 {
		o = o.text("took", s.Took.String())
	}
	if s.Context != nil {
		text, err := json.Marshal(s.Context)
		if err != nil {
			panic(err) // numbers and words
		}
		o = o.raw("context", text)
	}
	return o
}
