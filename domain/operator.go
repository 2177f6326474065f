package domain

import "encoding/json"

// Verb names what an operator asks of a task or a step (SEMANTICS 6). A verb is a request and may be refused; what comes
// of it are facts with other names.
type Verb string

// The verbs.
const (
	VerbCancel       Verb = "task.cancel"
	VerbRetry        Verb = "task.retry"
	VerbResolve      Verb = "task.resolve"
	VerbPause        Verb = "task.pause"
	VerbResume       Verb = "task.resume"
	VerbRetryStep    Verb = "step.retry"
	VerbResolveStep  Verb = "step.resolve"
	VerbCancelStep   Verb = "step.cancel"
	VerbCompleteStep Verb = "step.complete"
)

// Verbs lists them all.
func Verbs() []Verb {
	return []Verb{
		VerbCancel, VerbRetry, VerbResolve, VerbPause, VerbResume, VerbRetryStep, VerbResolveStep, VerbCancelStep, VerbCompleteStep,
	}
}

// OfStep reports whether the verb is about a step.
func (v Verb) OfStep() bool {
	switch v {
	case VerbRetryStep, VerbResolveStep, VerbCancelStep, VerbCompleteStep:
		return true
	case VerbCancel, VerbRetry, VerbResolve, VerbPause, VerbResume:
	}
	return false
}

// OperatorRequest is a verb with its parameters, in one value.
type OperatorRequest struct {
	Verb Verb   `json:"-"`
	Task TaskID `json:"task"`
	Step string `json:"step,omitempty"` // of a verb about a step
	// Actor is a person or a program; it is stored as "operator:<actor>". Reason is for whoever reads the history.
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Result of step.resolve and step.complete: any JSON; none is no result.
	Result json.RawMessage `json:"result,omitempty"`
	// Inputs and RetryLimit of step.retry; none and 0 keep what is.
	Inputs     json.RawMessage `json:"inputs,omitempty"`
	RetryLimit int             `json:"retry_limit,omitempty"`
}
