package domain

import (
	"encoding/json"
	"fmt"
)

// State is the state of a task or of a step; both machines have the same six (SEMANTICS 1).
type State uint8

// The states.
const (
	Pending State = iota
	InProgress
	Complete
	Error
	Cancelled
	ResolvedManually

	numStates = iota
)

var stateNames = [numStates]string{"pending", "in_progress", "complete", "error", "cancelled", "resolved_manually"}

// States lists them all, in the order of SEMANTICS 1.
var States = []State{Pending, InProgress, Complete, Error, Cancelled, ResolvedManually}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// ParseState reads the name of a state.
func ParseState(name string) (State, bool) {
	for i, n := range stateNames {
		if n == name {
			return State(i), true // #nosec G115 -- six of them
		}
	}
	return 0, false
}

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *State) UnmarshalText(text []byte) error {
	state, ok := ParseState(string(text))
	if !ok {
		return fmt.Errorf("%q is no state of a task or step", text)
	}
	*s = state
	return nil
}

// Live: a task that goes on by itself: pending or in_progress.
func (s State) Live() bool { return s == Pending || s == InProgress }

// Ended: the states that never change any more: complete, cancelled, resolved_manually.
func (s State) Ended() bool { return s == Complete || s == Cancelled || s == ResolvedManually }

// Task is the state of one run: the fold of its events. Only Evolve changes it. Its counters make every question
// about the whole task O(1), so that a fact costs O(children of its step).
type Task struct {
	ID         TaskID
	Definition *Definition
	State      State
	Paused     bool
	Expired    bool // in error for longer than error_retention: nothing but notes changes it any more
	Round      int  // from 1; a retry of the task starts a new one

	Context      Payload
	Initiator    string
	SourceSystem string
	Reason       string
	Correlation  string
	Traceparent  string
	Tags         []string
	InputHash    uint32
	Forked       *ForkedFrom // nil: no fork
	bypass       []bool      // by step; nil when nothing is bypassed

	CreatedAt Instant
	StartedAt Instant // of the first start
	EndedAt   Instant // of the end or the failure
	Deadline  Instant
	Waiting   Waiting    // while pending: what for
	Failed    FailReason // while in error: why
	Result    Payload
	// ResultFrom names the steps whose results are the task's, when they do not stand in Result.
	ResultFrom []string

	Steps []Step

	counts   counts
	retries  wakeHeap // steps in error with RetryAt, by it
	sleepers wakeHeap // steps in progress that the engine completes, by Until
	offered  []int32  // see TakeOffered
	// Last is the sequence of the newest commit that touched the task, before the one before it (see Touch).
	Last   uint64
	before uint64
}

// Waiting is what a pending task said that it waits for.
type Waiting struct {
	Reason WaitReason
	Until  Instant
}

// Step is the state of one step.
type Step struct {
	State      State
	Skipped    bool
	Inherited  bool // it ended in the task that this one is a fork of, and never ran here
	offered    bool
	Attempt    int32 // number of the last execution; never goes back
	Executions int32 // of this round, finished or failed ones; worker_lost and interrupted do not count
	Lost       int32 // of this round: executions that did not count
	Round      int32 // from 1
	open       int32 // parents that do not satisfy it yet
	StartedAt  Instant
	EndedAt    Instant // of the last execution, or of the end
	WakeAt     Instant // in error: retry_at; in progress: the end of a sleep; else none
	Result     Payload
	More       *StepMore
}

// StepMore is what few steps have.
type StepMore struct {
	Error      *StepError // of the last failed execution of this round
	RetryLimit int        // an operator's; 0 = the template's
	Inputs     json.RawMessage
	Cursor     json.RawMessage // of the last checkpoint; nil = none
	Progress   *Progress       // the last one of the newest execution; nil = none
}

// Progress is how far a running step says that it has come.
type Progress struct {
	Done, Total int // Total 0: nobody knows
	Message     string
	At          Instant
}

// Cursor is what the step's last checkpoint stored; nil when there is none.
func (s *Step) Cursor() json.RawMessage {
	if s.More == nil {
		return nil
	}
	return s.More.Cursor
}

// Progress is how far the newest execution of the step said that it has come; nil when it has not.
func (s *Step) Progress() *Progress {
	if s.More == nil {
		return nil
	}
	return s.More.Progress
}

// LastError is the error of the last failed execution of the round, or nil.
func (s *Step) LastError() *StepError {
	if s.More == nil {
		return nil
	}
	return s.More.Error
}

// FailedForGood reports whether the step is in error and will not be tried again by itself.
func (s *Step) FailedForGood() bool { return s.State == Error && s.WakeAt == 0 }

// Over reports whether nothing more will happen to the step by itself (SEMANTICS, words).
func (s *Step) Over() bool { return s.State.Ended() || s.FailedForGood() }

// counts are the numbers that the execution context is made of.
type counts struct {
	state     [numStates]int32
	eligible  int32 // ready but for what holds the whole task back (pause, stop, not live)
	retrying  int32 // in error with a retry to come
	blocked   int32 // not optional, failed for good
	failed    int32 // not optional, in error
	cancelled int32 // not optional, cancelled
	tolerated int32 // optional, over without success
}

// RetryLimit is how many executions a round of the step may have.
func (t *Task) RetryLimit(i int) int {
	if m := t.Steps[i].More; m != nil && m.RetryLimit > 0 {
		return m.RetryLimit
	}
	return t.Definition.Steps[i].RetryLimit
}

// Bypassed reports whether the submitter asked to skip the step.
func (t *Task) Bypassed(i int) bool { return t.bypass != nil && t.bypass[i] }

// Over reports whether nothing but notes changes the task any more: it has ended, or it failed and has expired.
func (t *Task) Over() bool { return t.State.Ended() || t.Expired }

// Template is the template of step i.
func (t *Task) Template(i int) *StepTemplate { return &t.Definition.Steps[i] }

// Running is an execution that a handler has in hand.
type Running struct{ Step, Attempt int }

// Running lists the executions in progress, sleeps left out: those are the engine's own. A task that is not live runs
// nothing: what a cancel that was cut short left in progress is not waited for.
func (t *Task) Running() []Running {
	if t.counts.state[InProgress] == 0 || !t.State.Live() {
		return nil
	}
	var running []Running
	for i := range t.Steps {
		if s := &t.Steps[i]; s.State == InProgress && s.WakeAt == 0 {
			running = append(running, Running{i, int(s.Attempt)})
		}
	}
	return running
}

// Touch notes that a commit at that sequence is about the task.
func (t *Task) Touch(sequence uint64) {
	if t.Last != sequence {
		t.before, t.Last = t.Last, sequence
	}
}

// Prev is the sequence of the task's newest commit before the given one; 0 when there is none.
func (t *Task) Prev(sequence uint64) uint64 {
	if t.Last == sequence {
		return t.before
	}
	return t.Last
}

// Move raises every position of the task from the given sequence on by one: something else was stored there.
func (t *Task) Move(from uint64) {
	move := func(sequence *uint64) {
		if *sequence >= from {
			*sequence++
		}
	}
	move(&t.Last)
	move(&t.before)
	move(&t.Context.Pos.Sequence)
	move(&t.Result.Pos.Sequence)
	for i := range t.Steps {
		move(&t.Steps[i].Result.Pos.Sequence)
	}
}
