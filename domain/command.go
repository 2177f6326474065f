package domain

import (
	"encoding/json"
	"time"
)

// Command is a request. It may be refused, it may change nothing, and it is never stored. The set is closed.
//
//sumtype:decl
type Command interface{ command() }

// ---- from submitters

// CreateTask submits a task. DecideCreate answers it; the other commands go to Decide.
type CreateTask struct {
	ID           TaskID
	Context      Payload // valid against the schema, defaults applied
	Initiator    string
	SourceSystem string
	Reason       string
	Tags         []string
	BypassSteps  []string
	Correlation  string
	Traceparent  string // valid, or ""; see ParseTraceparent
	InputHash    uint32

	By        Actor           // of a fork: who made it; "" = the submitter
	Forked    *ForkedFrom     // of a fork: where it begins
	Inherited []StepInherited // of a fork: the steps that do not run
}

// ---- from handlers (reports)

// CompleteStep reports the result of an execution.
type CompleteStep struct {
	Step    int
	Attempt int
	Result  Payload
	Emitted []Custom // stored before the outcome; Step and Attempt are filled in
}

// FailStep reports the failure of an execution.
type FailStep struct {
	Step       int
	Attempt    int
	Error      StepError
	RetryAfter time.Duration // a wait that the handler asked for; 0 = none
	Emitted    []Custom      // as in CompleteStep
}

// CheckpointStep reports how far an execution has come, for the next attempt.
type CheckpointStep struct {
	Step    int
	Attempt int
	Cursor  json.RawMessage // compact JSON, at most MaxCursor bytes
}

// ProgressStep reports how far an execution has come, for people.
type ProgressStep struct {
	Step        int
	Attempt     int
	Done, Total int
	Message     string
}

// LogStep reports lines that an execution wrote for people.
type LogStep struct {
	Step    int
	Attempt int
	Lines   []string
	Dropped int
}

// ---- from operators (SEMANTICS 6)

// CancelTask ends the task and every step that is not over well.
type CancelTask struct{ Reason string }

// RetryTask reopens a failed task; every step in error gets a new round.
type RetryTask struct{ Reason string }

// ResolveTask ends a failed task.
type ResolveTask struct{ Reason string }

// PauseTask stops a live task from starting steps.
type PauseTask struct{ Reason string }

// ResumeTask takes a pause back.
type ResumeTask struct{ Reason string }

// AnnotateTask stores a note.
type AnnotateTask struct {
	Kind, Step string
	Round      int
	Value      json.RawMessage
}

// RetryStep gives a step in error a new round, without waiting.
type RetryStep struct {
	Step       string
	RetryLimit int             // 0 keeps it
	Inputs     json.RawMessage // nil keeps them
	Reason     string
}

// ResolveStep declares a pending or failed step done, optionally with a result that children read.
type ResolveStep struct {
	Step   string
	Result Payload
	Reason string
}

// CancelStep ends a step that is not over well.
type CancelStep struct{ Step, Reason string }

// FinishStep completes a running step with a result, in place of its handler.
type FinishStep struct {
	Step   string
	Result Payload
	Reason string
}

// ---- from reactors

// StartTask moves a pending task to in_progress.
type StartTask struct{}

// WaitTask moves the task to pending until something happens, or until a date.
type WaitTask struct{ Waiting }

// CompleteTask ends a task of which everything is complete.
type CompleteTask struct{}

// FailTask stops a task that cannot go on.
type FailTask struct{}

// StartStep hands a ready step to its handler.
type StartStep struct{ Step int }

// SkipStep completes a ready step that the submitter asked to bypass.
type SkipStep struct{ Step int }

// ReleaseStep makes a step pending whose retry is due.
type ReleaseStep struct{ Step int }

// EndSleep completes a sleep step whose time has come.
type EndSleep struct{ Step int }

// HitDeadline fails the task and everything of it that runs or waits for a retry.
type HitDeadline struct{}

// ---- from the coordinator

// ExpireTask ends the time in which a failed task can be reopened.
type ExpireTask struct{}

func (CreateTask) command()     {}
func (CompleteStep) command()   {}
func (FailStep) command()       {}
func (CancelTask) command()     {}
func (RetryTask) command()      {}
func (ResolveTask) command()    {}
func (PauseTask) command()      {}
func (ResumeTask) command()     {}
func (AnnotateTask) command()   {}
func (RetryStep) command()      {}
func (ResolveStep) command()    {}
func (CancelStep) command()     {}
func (FinishStep) command()     {}
func (StartTask) command()      {}
func (WaitTask) command()       {}
func (CompleteTask) command()   {}
func (FailTask) command()       {}
func (StartStep) command()      {}
func (SkipStep) command()       {}
func (ReleaseStep) command()    {}
func (EndSleep) command()       {}
func (HitDeadline) command()    {}
func (CheckpointStep) command() {}
func (ProgressStep) command()   {}
func (LogStep) command()        {}
func (ExpireTask) command()     {}
