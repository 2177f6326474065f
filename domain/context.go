package domain

import "math"

// ExecutionStatus says what a task is doing.
type ExecutionStatus string

// The statuses, in the order in which they are tried (SEMANTICS 4).
const (
	StatusFinished               ExecutionStatus = "finished"
	StatusHasReadySteps          ExecutionStatus = "has_ready_steps"
	StatusProcessing             ExecutionStatus = "processing"
	StatusPaused                 ExecutionStatus = "paused"
	StatusWaitingForRetry        ExecutionStatus = "waiting_for_retry"
	StatusBlockedByFailures      ExecutionStatus = "blocked_by_failures"
	StatusAllComplete            ExecutionStatus = "all_complete"
	StatusWaitingForDependencies ExecutionStatus = "waiting_for_dependencies"
	StatusUnclear                ExecutionStatus = "unclear"
)

// Action is what the status recommends.
type Action string

// The actions, one per status.
const (
	ActionNone                Action = "none"
	ActionExecuteReadySteps   Action = "execute_ready_steps"
	ActionWaitForCompletion   Action = "wait_for_completion"
	ActionResume              Action = "resume"
	ActionWaitForRetry        Action = "wait_for_retry"
	ActionHandleFailures      Action = "handle_failures"
	ActionFinalizeTask        Action = "finalize_task"
	ActionWaitForDependencies Action = "wait_for_dependencies"
	ActionInspect             Action = "inspect"
)

// Health sums a task up in one word.
type Health string

// The healths (SEMANTICS 4).
const (
	Healthy       Health = "healthy"
	Recovering    Health = "recovering"
	Blocked       Health = "blocked"
	HealthUnknown Health = "unknown"
)

// ExecutionContext is the answer to "how is the task doing". It is a function of the task alone.
type ExecutionContext struct {
	Total      int `json:"total"`
	Pending    int `json:"pending"`
	InProgress int `json:"in_progress"`
	Completed  int `json:"completed"` // complete and resolved manually
	Ready      int `json:"ready"`
	Failed     int `json:"failed"`    // in error; like the next two, optional steps do not count
	Cancelled  int `json:"cancelled"` //
	Blocked    int `json:"blocked"`   // failed for good
	Tolerated  int `json:"tolerated"` // optional and over without success

	CompletionPercentage float64         `json:"completion_percentage"`
	Status               ExecutionStatus `json:"execution_status"`
	Action               Action          `json:"recommended_action"`
	Health               Health          `json:"health"`
}

// Status is the execution status alone. O(1).
func (t *Task) Status() ExecutionStatus {
	n := &t.counts
	switch {
	case t.State.Ended():
		return StatusFinished
	case n.eligible > 0 && t.gate():
		return StatusHasReadySteps
	case n.state[InProgress] > 0:
		return StatusProcessing
	case t.Paused && t.goesOn() && t.State.Live():
		return StatusPaused
	case n.retrying > 0 && !t.Stopped() && t.State.Live():
		return StatusWaitingForRetry
	case n.blocked > 0 || n.cancelled > 0 || t.State == Error:
		// A failed task without a failed step is one whose deadline passed before it could start any.
		return StatusBlockedByFailures
	case t.allComplete():
		return StatusAllComplete
	}
	return StatusUnclear
}

// goesOn reports whether a step would run now or later, if the task were live and not paused.
func (t *Task) goesOn() bool { return !t.Stopped() && (t.counts.eligible > 0 || t.counts.retrying > 0) }

// allComplete is the guard of task -> complete.
func (t *Task) allComplete() bool {
	n := &t.counts
	return int(n.state[Complete]+n.state[ResolvedManually]+n.tolerated) == len(t.Steps)
}

// ExecutionContext computes the whole context. O(1).
func (t *Task) ExecutionContext() ExecutionContext {
	n := &t.counts
	c := ExecutionContext{
		Total:      len(t.Steps),
		Pending:    int(n.state[Pending]),
		InProgress: int(n.state[InProgress]),
		Completed:  int(n.state[Complete] + n.state[ResolvedManually]),
		Failed:     int(n.failed),
		Cancelled:  int(n.cancelled),
		Blocked:    int(n.blocked),
		Tolerated:  int(n.tolerated),
		Status:     t.Status(),
	}
	if t.gate() {
		c.Ready = int(n.eligible)
	}
	c.CompletionPercentage = math.Round(100*100*float64(c.Completed)/float64(c.Total)) / 100
	c.Action = actions[c.Status]
	c.Health = t.health(c)
	return c
}

var actions = map[ExecutionStatus]Action{
	StatusFinished:               ActionNone,
	StatusHasReadySteps:          ActionExecuteReadySteps,
	StatusProcessing:             ActionWaitForCompletion,
	StatusPaused:                 ActionResume,
	StatusWaitingForRetry:        ActionWaitForRetry,
	StatusBlockedByFailures:      ActionHandleFailures,
	StatusAllComplete:            ActionFinalizeTask,
	StatusWaitingForDependencies: ActionWaitForDependencies,
	StatusUnclear:                ActionInspect,
}

func (t *Task) health(c ExecutionContext) Health {
	retrying := int(t.counts.retrying)
	proceeds := c.Ready > 0 || c.InProgress > 0 || retrying > 0 && !t.Stopped()
	switch {
	case c.Status == StatusUnclear:
		return HealthUnknown
	case (c.Blocked > 0 || c.Cancelled > 0) && !proceeds:
		return Blocked
	case c.Failed > 0 || c.Cancelled > 0:
		return Recovering
	}
	return Healthy
}

// Unfinished reports whether a task that was cancelled still has steps that are not over: the commit that ends them was
// cut short.
func (t *Task) Unfinished() bool {
	return t.State == Cancelled && t.counts.state[Pending]+t.counts.state[InProgress]+t.counts.state[Error] > 0
}
