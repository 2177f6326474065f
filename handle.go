package tasker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// The handler contract; see package domain for the words of it.
type (
	// StepHandler runs a step: Handle(ctx, task, sequence, step) (any, error).
	StepHandler = domain.StepHandler
	// TaskHandler gives the step handlers of a definition: GetStepHandler(step) (StepHandler, error).
	TaskHandler = domain.TaskHandler
	// Annotator is a hook that a TaskHandler may have.
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
// Results of earlier steps are read with ResultOf.
func Handle[In, Out any](f func(ctx context.Context, in In) (Out, error)) StepHandler {
	return StepHandlerFunc(func(ctx context.Context, task TaskView, _ Sequence, step StepView) (any, error) {
		text := task.Context
		if step.Inputs != nil {
			text = step.Inputs
		}
		var in In
		if err := json.Unmarshal(text, &in); err != nil {
			return nil, Permanent(fmt.Errorf("the input does not fit %T: %w", in, err))
		}
		return f(ctx, in)
	})
}

// ResultOf decodes the result of an earlier step, inside a handler. ErrNoResult when it has none (it was skipped, or is
// optional and failed); ErrUnknownStep when the definition has no such step.
func ResultOf[T any](ctx context.Context, step string) (T, error) {
	var out T
	run, ok := executor.FromContext(ctx)
	if !ok {
		return out, fmt.Errorf("tasker.ResultOf(%q) was called outside a handler", step)
	}
	view, err := run.Sequence.Find(ctx, step)
	if err != nil {
		return out, err
	}
	return out, view.Decode(&out)
}

// TaskOf is the task whose step the handler runs.
func TaskOf(ctx context.Context) (TaskView, bool) {
	if run, ok := executor.FromContext(ctx); ok {
		return run.Task, true
	}
	return TaskView{}, false
}

// StepOf is the step that the handler runs: attempt, round, idempotency key, last error.
func StepOf(ctx context.Context) (StepView, bool) {
	if run, ok := executor.FromContext(ctx); ok {
		return run.Step, true
	}
	return StepView{}, false
}

// Logger is the logger of the execution, with task, step and attempt; slog.Default() outside a handler.
func Logger(ctx context.Context) *slog.Logger { return executor.Logger(ctx) }

// Permanent marks an error as useless to retry: the step fails for good.
func Permanent(err error) error { return domain.Permanent(err) }

// RetryAfter asks for the next execution d from now, at most the step's max_retry_after (24 h). It adds no execution
// to the retry limit.
func RetryAfter(d time.Duration, err error) error { return domain.RetryAfter(d, err) }

// Errors of results.
var (
	ErrNoResult    = domain.ErrNoResult
	ErrUnknownStep = domain.ErrUnknownStep
)
