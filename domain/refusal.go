package domain

import (
	"errors"
	"fmt"
)

// ErrStale: a report about an execution that is not the current one. It is dropped and counted; nothing is wrong.
var ErrStale = errors.New("stale report: the step is not in progress with that attempt")

// TransitionError: the command asks for a transition that the state machine does not have (SEMANTICS 1). A transition
// to the current state is none: it is a no-op without error.
type TransitionError struct {
	Task TaskID `json:"task"`
	Step string `json:"step,omitempty"` // "" when the transition is the task's
	From State  `json:"from"`
	To   State  `json:"to"`
	Hint string `json:"hint,omitempty"` // what is possible instead
}

func (e *TransitionError) Error() string {
	subject := "task " + e.Task.String()
	if e.Step != "" {
		subject = fmt.Sprintf("step %q of %s", e.Step, subject)
	}
	text := fmt.Sprintf("%s is %s and cannot become %s", subject, e.From, e.To)
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// UnknownStepError: the definition has no step of that name.
type UnknownStepError struct {
	Task TaskID `json:"task"`
	Step string `json:"step"`
}

func (e *UnknownStepError) Error() string {
	return fmt.Sprintf("task %s has no step %q", e.Task, e.Step)
}

func (e *UnknownStepError) Unwrap() error { return ErrUnknownStep }

// RefusedError: the command is legal but would lead nowhere.
type RefusedError struct {
	Task   TaskID `json:"task"`
	Reason string `json:"reason"`
}

func (e *RefusedError) Error() string { return fmt.Sprintf("task %s: %s", e.Task, e.Reason) }

// BypassError: a submission asks to bypass a step that it may not.
type BypassError struct {
	Definition string `json:"definition"`
	Step       string `json:"step"`
	Reason     string `json:"reason"` // "is not a step of it" or "is not skippable"
}

func (e *BypassError) Error() string {
	return fmt.Sprintf("bypass_steps: %q %s (%s)", e.Step, e.Reason, e.Definition)
}
