package tasker

import (
	"context"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// The handler contract; see package domain for the words of it.
type (
	// StepHandler runs a step: Handle(ctx, task, sequence, step) (any, error).
	StepHandler = domain.StepHandler
	// ResultsProcessor is a hook that a StepHandler may have: it shapes what Handle returned into what is stored.
	ResultsProcessor = domain.ResultsProcessor
	// TaskHandler gives the step handlers of a definition: GetStepHandler(step) (StepHandler, error).
	TaskHandler = domain.TaskHandler
	// SchemaProvider is a hook of a task handler: the JSON Schema of the context.
	SchemaProvider = domain.SchemaProvider
	// StepEstablisher is a hook of a task handler: it may change the step templates before they are checked.
	StepEstablisher = domain.StepEstablisher
	// Annotator is a hook of a task handler: it leaves notes with a task when a run is over.
	Annotator = domain.Annotator
	// Annotation is a note that is stored with a task.
	Annotation = domain.Annotation
	// TaskView is what a handler sees of its task.
	TaskView = domain.TaskView
	// StepView is what a handler sees of a step.
	StepView = domain.StepView
	// Sequence is the task's steps in definition order, with their results.
	Sequence = domain.Sequence
)

// StepHandlerFunc makes a function a StepHandler.
type StepHandlerFunc func(ctx context.Context, task TaskView, sequence Sequence, step StepView) (any, error)

// Handle calls the function.
func (f StepHandlerFunc) Handle(ctx context.Context, task TaskView, sequence Sequence, step StepView) (any, error) {
	return f(ctx, task, sequence, step)
}

// TaskHandlerFunc makes a function a TaskHandler.
type TaskHandlerFunc func(step StepView) (StepHandler, error)

// GetStepHandler calls the function.
func (f TaskHandlerFunc) GetStepHandler(step StepView) (StepHandler, error) { return f(step) }

// Handle adapts a typed function to a StepHandler: In is decoded from the task's context (or from the inputs that an
// operator gave with a retry), Out becomes the step's result. A context that does not fit In fails the step for good.
// Results of earlier steps are read with ResultOf; see Checkpoint, Progress and Emit for steps that take long.
func Handle[In, Out any](f func(ctx context.Context, in In) (Out, error)) StepHandler {
	return StepHandlerFunc(func(ctx context.Context, task TaskView, _ Sequence, step StepView) (any, error) {
		in, err := inputOf[In](&task, &step)
		if err != nil {
			return nil, err
		}
		return f(ctx, in)
	})
}

// Permanent marks an error as useless to retry: the step fails for good.
func Permanent(err error) error { return domain.Permanent(err) }

// RetryAfter asks for the next execution d from now, at most the step's max_retry_after (24 h). It adds no execution
// to the retry limit.
func RetryAfter(d time.Duration, err error) error { return domain.RetryAfter(d, err) }
