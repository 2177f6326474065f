package domain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// StepHandler runs a step. The executor calls Handle from a goroutine of its own, once per execution; several
// executions run at the same time, so a handler keeps no state of a single one. The value returned is encoded as JSON
// and becomes the step's result; nil becomes null. An error fails the execution: see Permanent and RetryAfter. ctx ends
// at the step's timeout, when the step is cancelled, and when the engine stops.
//
// A handler runs at least once per attempt that ends: after a crash the same step runs again with a higher attempt and
// the same Step.IdempotencyKey.
type StepHandler interface {
	Handle(ctx context.Context, task TaskView, sequence Sequence, step StepView) (any, error)
}

// ResultsProcessor is a hook that a StepHandler may have (Tasker's process_results): it shapes what Handle returned into
// the result that is stored. It runs in the same execution; its error fails it like one of Handle.
type ResultsProcessor interface {
	ProcessResults(ctx context.Context, step StepView, output any) (any, error)
}

// TaskHandler gives the step handlers of one definition. It may have hooks besides: SchemaProvider, StepEstablisher and
// Annotator. Its methods are called from many goroutines at once.
type TaskHandler interface {
	// GetStepHandler returns the handler for the step; it is asked before every execution. ErrUseRegistered stands for the
	// handler that is registered under step.Handler; any other error, or a nil handler, fails the execution for good.
	GetStepHandler(step StepView) (StepHandler, error)
}

// ErrUseRegistered is what GetStepHandler returns for steps that it leaves alone: they run the handler that is registered
// in this process under the name that the step's template has.
var ErrUseRegistered = errors.New("the step runs the handler that is registered under its handler's name")

// SchemaProvider is a hook of a task handler (Tasker's schema): the JSON Schema of the task's context, for a definition
// that has none itself. It is asked once, when the definition and the handler are put together; nil is none.
type SchemaProvider interface {
	Schema() json.RawMessage
}

// StepEstablisher is a hook of a task handler (Tasker's establish_step_dependencies_and_defaults): it may change the step
// templates of the definition, their dependencies, limits and configs, before they are checked. The templates come in
// definition order with every default filled in; it cannot add or remove any. It is called once, when the definition and
// the handler are put together, and not per task as in Tasker: from then on the definition never changes, and neither do
// the tasks that are made from it. Every process has to come to the same templates, because a name and version stand for
// one content. An error refuses the definition.
type StepEstablisher interface {
	EstablishStepDependenciesAndDefaults(steps []StepTemplate) error
}

// Annotator is a hook of a task handler (Tasker's update_annotations): UpdateAnnotations is called after the commit in
// which a run of the task ended (complete, in error, or cancelled), with the steps that were completed. What it returns is
// stored with the task, in one commit, once per run. It is called again when the process died before that, and, after a
// restart, for runs that ended lately and for which it returned nothing or an error: so whatever else it does has to be
// idempotent. An error is logged and changes nothing.
type Annotator interface {
	UpdateAnnotations(ctx context.Context, task TaskView, sequence Sequence, completed []StepView) ([]Annotation, error)
}

// Annotation is a note that is stored with a task.
type Annotation struct {
	Kind  string          // Tasker's annotation type
	Step  string          // "" for a note about the whole task
	Value json.RawMessage // any JSON
}

// TaskView is what a handler sees of its task. It does not change while the handler runs.
type TaskView struct {
	ID            TaskID
	Namespace     string
	Name          string
	Version       string
	Context       json.RawMessage
	Tags          []string
	Initiator     string
	SourceSystem  string
	Reason        string
	CorrelationID string
	Traceparent   string // of the request that asked for the task; "" when it had none
	CreatedAt     time.Time
}

// StepView is what a handler sees of a step: its own, or another one of the sequence.
type StepView struct {
	Name            string
	Handler         string
	Config          json.RawMessage // handler_config of the template; nil when there is none
	Inputs          json.RawMessage // an operator's inputs of a retry, else nil
	DependentSystem string
	State           State
	Skipped         bool
	Attempt         int // of this execution, from 1; never goes back
	Round           int // from 1; an operator's retry starts a new one
	RetryLimit      int
	LastError       *StepError // of the previous attempt
	Result          json.RawMessage
	Cursor          json.RawMessage // what an earlier attempt's Checkpoint stored; nil = nothing
	IdempotencyKey  string          // task + step + round: the same for every attempt of a round

	run Run
}

// Sequence is the steps of the task in definition order (Tasker's word), with the results of those that are over.
type Sequence interface {
	// Find returns the named step. ErrUnknownStep when the definition has none of that name; other errors when the
	// result cannot be read.
	Find(ctx context.Context, name string) (StepView, error)
	// Steps returns all of them.
	Steps(ctx context.Context) ([]StepView, error)
}

// Errors of Sequence.
var (
	// ErrNoResult: the step has no result: it is not over, was skipped, or failed and is optional.
	ErrNoResult = errors.New("step has no result")
	// ErrUnknownStep: the definition has no step of that name.
	ErrUnknownStep = errors.New("no such step in the definition")
)

// Decode unmarshals the step's result into out. ErrNoResult when it has none; the text says why. A result that does not
// fit is a permanent failure: it will not fit the next time either.
func (s StepView) Decode(out any) error {
	if s.Result == nil {
		return fmt.Errorf("%w: step %q %s", ErrNoResult, s.Name, s.whyNoResult())
	}
	if err := json.Unmarshal(s.Result, out); err != nil {
		return Permanent(fmt.Errorf("the result of step %q does not fit %s: %w", s.Name, typeOf(out), err))
	}
	return nil
}

// whyNoResult is the rest of a sentence about the step.
func (s StepView) whyNoResult() string {
	switch {
	case s.Skipped:
		return "was skipped"
	case s.State == Error && s.LastError != nil:
		return "failed: " + s.LastError.Message
	case s.State == Error:
		return "failed"
	case s.State == Complete, s.State == ResolvedManually:
		return "is " + s.State.String() + " without a result"
	case s.State == Cancelled:
		return "was cancelled"
	}
	return "is " + s.State.String() + ", and not over yet"
}

// typeOf names the type that a pointer leads to.
func typeOf(out any) string { return strings.TrimPrefix(fmt.Sprintf("%T", out), "*") }

// Failure is an error that says how the engine has to treat it. Permanent and RetryAfter make them;
// errors.As finds them in a wrapped error.
type Failure struct {
	Err        error
	Kind       ErrorKind     // "" = KindError
	Code       string        // for people and programs, such as HTTP_404
	RetryAfter time.Duration // the wait that the handler asks for; 0 = the step's backoff
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return string(f.Kind)
	}
	return f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// Permanent marks an error as useless to retry: the step fails for good.
func Permanent(err error) error { return &Failure{Err: err, Kind: KindPermanent} }

// RetryAfter asks for the next execution d from now, at most the step's max_retry_after. It does not add executions
// beyond the retry limit.
func RetryAfter(d time.Duration, err error) error { return &Failure{Err: err, RetryAfter: d} }
