package domain

import "encoding/json"

// EventType is the name of an event on the wire. Names are written by hand and never change; a new meaning gets a new
// version (see Version) or a new name.
type EventType string

// The facts: what the log holds. Each is one struct below, in the order of a task's life.
const (
	PartitionOpenedType   EventType = "partition.opened"
	PartitionSkippedType  EventType = "partition.skipped"
	DefinitionAdoptedType EventType = "definition.adopted"

	TaskCreatedType          EventType = "task.created"
	TaskStartRequestedType   EventType = "task.start_requested"
	TaskReenqueuedType       EventType = "workflow.task_reenqueue_requested"
	TaskDelayedType          EventType = "workflow.task_reenqueue_delayed"
	TaskCompletedType        EventType = "task.completed"
	TaskFailedType           EventType = "task.failed"
	TaskRetryRequestedType   EventType = "task.retry_requested"
	TaskCancelledType        EventType = "task.cancelled"
	TaskResolvedManuallyType EventType = "task.resolved_manually"
	TaskPausedType           EventType = "task.paused"
	TaskResumedType          EventType = "task.resumed"
	TaskAnnotatedType        EventType = "task.annotated"
	TaskExpiredType          EventType = "task.expired"

	StepInheritedType          EventType = "step.inherited"
	StepExecutionRequestedType EventType = "step.execution_requested"
	StepCompletedType          EventType = "step.completed"
	StepFailedType             EventType = "step.failed"
	StepRetryRequestedType     EventType = "step.retry_requested"
	StepCancelledType          EventType = "step.cancelled"
	StepResolvedManuallyType   EventType = "step.resolved_manually"
	StepSkippedType            EventType = "step.skipped"
	StepCheckpointedType       EventType = "step.checkpointed"
	StepProgressedType         EventType = "step.progressed"
	StepLogAppendedType        EventType = "step.log_appended"
)

// Event is a fact: something that happened, stored, never refused. The set is closed; CONTRIBUTING.md has the recipe
// for a new one.
//
//sumtype:decl
type Event interface {
	// Type is the name on the wire.
	Type() EventType
	event()
}

// StepEvent is an event about one step of a task.
type StepEvent interface {
	Event
	// StepName is the step that the event is about.
	StepName() string
	// AttemptNumber is the execution that the event is about; 0 when it is about none.
	AttemptNumber() int
}

// Actor says who brought an event about.
type Actor string

// The actors. A named operator is "operator:<name>".
const (
	ByEngine    Actor = "engine"
	ByHandler   Actor = "handler"
	ByOperator  Actor = "operator"
	BySubmitter Actor = "submitter"
)

// ---- facts without a task

// PartitionOpened is the first commit of a writer that took the partition over. After it, nothing that a predecessor
// sent can be stored any more, because every append names the sequence before it.
type PartitionOpened struct {
	Writer      string `json:"writer"`                 // unique per process start
	Engine      string `json:"engine"`                 // version of the writing engine
	LeastReader int    `json:"least_reader,omitempty"` // least format version that can read what this writer appends
}

// PartitionSkipped tells readers to pass over a message that cannot be read. An operator appends it
// (tasker log skip PP SEQ --reason).
type PartitionSkipped struct {
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
}

// DefinitionAdopted stores a definition in the partition, before the first task that uses it, so that the log can be
// read without anything else. Once per partition and hash.
type DefinitionAdopted struct {
	Hash   string          `json:"hash"`
	Body   json.RawMessage `json:"body,omitempty"`
	Packed []byte          `json:"packed,omitempty"` // instead of Body when that is large: deflated, in base64
}

// ---- the task

// TaskCreated begins a task: it is pending, and so are all its steps.
type TaskCreated struct {
	Namespace    string   `json:"namespace,omitempty"` // left out for "default"
	Name         string   `json:"name"`
	Version      string   `json:"version"`
	Definition   string   `json:"definition"` // hash of the definition, adopted earlier in this partition
	Context      Payload  `json:"context"`
	Initiator    string   `json:"initiator,omitempty"`
	SourceSystem string   `json:"source_system,omitempty"`
	Reason       string   `json:"reason,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	BypassSteps  []string `json:"bypass_steps,omitempty"`
	Correlation  string   `json:"correlation,omitempty"`
	Traceparent  string   `json:"traceparent,omitempty"` // of the request that asked for the task (W3C Trace Context)
	Deadline     Instant  `json:"deadline,omitzero"`     // the task fails when it is not over by then
	InputHash    uint32   `json:"input,omitempty"`       // of everything that an idempotent repetition must repeat

	Forked *ForkedFrom `json:"forked,omitempty"` // of a fork; the steps that it takes over follow in the same message
}

// TaskStartRequested moves the task from pending to in_progress: something of it can run.
type TaskStartRequested struct {
	Again bool `json:"again,omitempty"` // it has been in progress before
}

// TaskReenqueued moves the task back to pending, to wait for something that has no date.
type TaskReenqueued struct {
	Reason WaitReason `json:"reason"`
}

// TaskDelayed moves the task back to pending, to wait until a date.
type TaskDelayed struct {
	Reason WaitReason `json:"reason"`
	Until  Instant    `json:"until"`
}

// TaskCompleted ends the task well. Its result stands in it, unless it is too large to be repeated: then From names the
// steps whose results it is made of.
type TaskCompleted struct {
	Result Payload  `json:"result,omitzero"`
	From   []string `json:"from,omitempty"`
}

// TaskFailed stops the task: it stays in error until an operator retries, resolves or cancels it.
type TaskFailed struct {
	Reason FailReason `json:"reason"`
	Steps  []string   `json:"steps,omitempty"` // the steps to blame
}

// TaskRetryRequested reopens a failed task.
type TaskRetryRequested struct {
	Reason   string  `json:"reason,omitempty"`
	Deadline Instant `json:"deadline,omitzero"`
}

// TaskCancelled ends the task by an operator's order.
type TaskCancelled struct {
	Reason string `json:"reason,omitempty"`
}

// TaskResolvedManually ends a failed task by an operator's word.
type TaskResolvedManually struct {
	Reason string `json:"reason,omitempty"`
}

// TaskPaused stops the task from starting steps; what runs may end.
type TaskPaused struct {
	Reason string `json:"reason,omitempty"`
}

// TaskResumed takes the pause back.
type TaskResumed struct {
	Reason string `json:"reason,omitempty"`
}

// TaskAnnotated attaches a note to the task.
type TaskAnnotated struct {
	Kind       string          `json:"kind"`
	Step       string          `json:"step,omitempty"`
	Round      int             `json:"round,omitempty"` // which run of the task the note is about
	Annotation json.RawMessage `json:"annotation"`
}

// TaskExpired ends the time in which a failed task could be reopened (error_retention): it stays in error, as history.
type TaskExpired struct{}

// ---- the step

// StepInherited ends a step of a fork without an execution, as it had ended in the task that the fork was made of.
type StepInherited struct {
	Step     string   `json:"-"`
	Result   Payload  `json:"result,omitzero"`
	Skipped  bool     `json:"skipped,omitempty"`  // complete, without having run
	Resolved bool     `json:"resolved,omitempty"` // resolved_manually; else complete
	From     Position `json:"from,omitzero"`      // of the event that ended it there; left out where the log has that no more
}

// StepExecutionRequested moves a step from pending to in_progress: it has been handed to its handler.
type StepExecutionRequested struct {
	Step    string  `json:"-"`
	Attempt int     `json:"-"`
	Until   Instant `json:"until,omitzero"` // a sleep: the engine itself completes it then
}

// StepCompleted ends a step well.
type StepCompleted struct {
	Step    string  `json:"-"`
	Attempt int     `json:"-"`
	Result  Payload `json:"result"`
	Reason  string  `json:"reason,omitempty"` // an operator's
}

// StepFailed ends an execution badly. With RetryAt the step will be tried again then, without it has failed for good.
type StepFailed struct {
	Step    string    `json:"-"`
	Attempt int       `json:"-"`
	Error   StepError `json:"error"`
	RetryAt Instant   `json:"retry_at,omitzero"`
}

// StepRetryRequested moves a step from error back to pending.
type StepRetryRequested struct {
	Step       string          `json:"-"`
	NewRound   bool            `json:"new_round,omitempty"`   // an operator's: executions start at 0 again
	RetryLimit int             `json:"retry_limit,omitempty"` // an operator's; 0 keeps the old one
	Inputs     json.RawMessage `json:"inputs,omitempty"`      // an operator's; nil keeps the old ones
	Reason     string          `json:"reason,omitempty"`
}

// StepCancelled ends a step that will not run (any more).
type StepCancelled struct {
	Step   string `json:"-"`
	Reason string `json:"reason,omitempty"`
}

// StepResolvedManually ends a step by an operator's word; children may run.
type StepResolvedManually struct {
	Step   string  `json:"-"`
	Result Payload `json:"result,omitzero"`
	Reason string  `json:"reason,omitempty"`
}

// StepSkipped completes a step without running it.
type StepSkipped struct {
	Step   string `json:"-"`
	Reason string `json:"reason,omitempty"`
}

// StepCheckpointed stores how far a running step has come; its next attempt goes on there.
type StepCheckpointed struct {
	Step    string          `json:"-"`
	Attempt int             `json:"-"`
	Cursor  json.RawMessage `json:"cursor"` // at most MaxCursor bytes
}

// StepProgressed says how far a running step has come, for people: nothing depends on it. At most one a second and step.
type StepProgressed struct {
	Step    string `json:"-"`
	Attempt int    `json:"-"`
	Done    int    `json:"done,omitempty"`
	Total   int    `json:"total,omitempty"` // 0: nobody knows
	Message string `json:"message,omitempty"`
}

// StepLogAppended stores lines that a running step wrote for people. At most one a second and step.
type StepLogAppended struct {
	Step    string   `json:"-"`
	Attempt int      `json:"-"`
	Lines   []string `json:"lines,omitempty"`
	Dropped int      `json:"dropped,omitempty"` // lines that were too many to be stored
}

// StepError is why an execution failed, as it is stored (SEMANTICS 3).
type StepError struct {
	Message string    `json:"message"`
	Kind    ErrorKind `json:"kind"`
	Code    string    `json:"code,omitempty"`
	Frames  []string  `json:"frames,omitempty"` // at most MaxFrames
}

// Limits of a stored error.
const (
	MaxFrames       = 10
	MaxErrorMessage = 4 << 10 // bytes; the rest is cut
	MaxErrorWord    = 256     // bytes of kind and code
)

// ErrorKind classifies a failure. Handlers may use kinds of their own.
type ErrorKind string

// The kinds that the engine knows.
const (
	KindError       ErrorKind = "error"       // the handler returned an error
	KindPermanent   ErrorKind = "permanent"   // the handler said that trying again is useless: final
	KindPanic       ErrorKind = "panic"       // the handler panicked
	KindTimeout     ErrorKind = "timeout"     // the step's timeout passed
	KindWorkerLost  ErrorKind = "worker_lost" // the process that ran it is gone: does not count as an execution
	KindInterrupted ErrorKind = "interrupted" // a drain ran out of time: does not count as an execution
	KindDeadline    ErrorKind = "deadline"    // the task's deadline passed: final
)

// WaitReason says what a waiting task waits for.
type WaitReason string

// The reasons (SEMANTICS 5).
const (
	WaitRetryBackoff WaitReason = "retry_backoff"
	WaitPaused       WaitReason = "workflow_paused"
	WaitDependencies WaitReason = "awaiting_dependencies"
)

// FailReason says why a task failed.
type FailReason string

// The reasons (SEMANTICS 3 and 5).
const (
	FailStepsInError FailReason = "steps_in_error_state"
	FailDeadline     FailReason = "deadline_exceeded"
)

func (PartitionOpened) Type() EventType        { return PartitionOpenedType }
func (PartitionSkipped) Type() EventType       { return PartitionSkippedType }
func (DefinitionAdopted) Type() EventType      { return DefinitionAdoptedType }
func (TaskCreated) Type() EventType            { return TaskCreatedType }
func (TaskStartRequested) Type() EventType     { return TaskStartRequestedType }
func (TaskReenqueued) Type() EventType         { return TaskReenqueuedType }
func (TaskDelayed) Type() EventType            { return TaskDelayedType }
func (TaskCompleted) Type() EventType          { return TaskCompletedType }
func (TaskFailed) Type() EventType             { return TaskFailedType }
func (TaskRetryRequested) Type() EventType     { return TaskRetryRequestedType }
func (TaskCancelled) Type() EventType          { return TaskCancelledType }
func (TaskResolvedManually) Type() EventType   { return TaskResolvedManuallyType }
func (TaskPaused) Type() EventType             { return TaskPausedType }
func (TaskResumed) Type() EventType            { return TaskResumedType }
func (TaskAnnotated) Type() EventType          { return TaskAnnotatedType }
func (StepInherited) Type() EventType          { return StepInheritedType }
func (StepExecutionRequested) Type() EventType { return StepExecutionRequestedType }
func (StepCompleted) Type() EventType          { return StepCompletedType }
func (StepFailed) Type() EventType             { return StepFailedType }
func (StepRetryRequested) Type() EventType     { return StepRetryRequestedType }
func (StepCancelled) Type() EventType          { return StepCancelledType }
func (StepResolvedManually) Type() EventType   { return StepResolvedManuallyType }
func (StepSkipped) Type() EventType            { return StepSkippedType }
func (TaskExpired) Type() EventType            { return TaskExpiredType }
func (StepCheckpointed) Type() EventType       { return StepCheckpointedType }
func (StepProgressed) Type() EventType         { return StepProgressedType }
func (StepLogAppended) Type() EventType        { return StepLogAppendedType }

func (PartitionOpened) event()        {}
func (PartitionSkipped) event()       {}
func (DefinitionAdopted) event()      {}
func (TaskCreated) event()            {}
func (TaskStartRequested) event()     {}
func (TaskReenqueued) event()         {}
func (TaskDelayed) event()            {}
func (TaskCompleted) event()          {}
func (TaskFailed) event()             {}
func (TaskRetryRequested) event()     {}
func (TaskCancelled) event()          {}
func (TaskResolvedManually) event()   {}
func (TaskPaused) event()             {}
func (TaskResumed) event()            {}
func (TaskAnnotated) event()          {}
func (StepInherited) event()          {}
func (StepExecutionRequested) event() {}
func (StepCompleted) event()          {}
func (StepFailed) event()             {}
func (StepRetryRequested) event()     {}
func (StepCancelled) event()          {}
func (StepResolvedManually) event()   {}
func (StepSkipped) event()            {}
func (TaskExpired) event()            {}
func (StepCheckpointed) event()       {}
func (StepProgressed) event()         {}
func (StepLogAppended) event()        {}

// StepName names the step; the rest of the file makes the step events StepEvents.
func (e StepInherited) StepName() string          { return e.Step }
func (e StepExecutionRequested) StepName() string { return e.Step }
func (e StepCompleted) StepName() string          { return e.Step }
func (e StepFailed) StepName() string             { return e.Step }
func (e StepRetryRequested) StepName() string     { return e.Step }
func (e StepCancelled) StepName() string          { return e.Step }
func (e StepResolvedManually) StepName() string   { return e.Step }
func (e StepSkipped) StepName() string            { return e.Step }
func (e StepCheckpointed) StepName() string       { return e.Step }
func (e StepProgressed) StepName() string         { return e.Step }
func (e StepLogAppended) StepName() string        { return e.Step }

func (e StepExecutionRequested) AttemptNumber() int { return e.Attempt }
func (e StepCompleted) AttemptNumber() int          { return e.Attempt }
func (e StepFailed) AttemptNumber() int             { return e.Attempt }
func (StepInherited) AttemptNumber() int            { return 0 }
func (StepRetryRequested) AttemptNumber() int       { return 0 }
func (StepCancelled) AttemptNumber() int            { return 0 }
func (StepResolvedManually) AttemptNumber() int     { return 0 }
func (StepSkipped) AttemptNumber() int              { return 0 }
func (e StepCheckpointed) AttemptNumber() int       { return e.Attempt }
func (e StepProgressed) AttemptNumber() int         { return e.Attempt }
func (e StepLogAppended) AttemptNumber() int        { return e.Attempt }
