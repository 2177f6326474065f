package domain

// Signal is an event that is never stored: it follows from the commit that caused it (SEMANTICS 11), and is derived
// again wherever that commit is read. Subscribers name its type beside those of the facts; the record around it has
// time, task and position of the fact that implies it.
type Signal struct {
	Name     EventType
	Steps    []string          // the steps that it is about
	Outcomes []State           // of steps_execution_completed: by step
	Reason   string            // what is waited for, why a task failed, or which wake-up came to nothing
	Until    Instant           // of a wait that has an end
	Decision EventType         // of task_finalization_*: the fact that the decision led to
	Context  *ExecutionContext // of task_finalization_completed, where the state is at hand; else nil
	Error    *StepError        // of observability.step.*: why the execution failed
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
