package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// Errors of results.
var (
	// ErrNoResult: the step has no result: it was skipped, is optional and failed, was resolved without one, or is not over.
	ErrNoResult = domain.ErrNoResult
	// ErrUnknownStep: the definition has no step of that name.
	ErrUnknownStep = domain.ErrUnknownStep
)

// callOf is the call of the handler, or of the hook, that the context belongs to.
func callOf(ctx context.Context, what string) (*executor.Call, error) {
	call, ok := executor.FromContext(ctx)
	if !ok {
		return nil, fmt.Errorf("tasker.%s: %w", what, ErrNoStep)
	}
	return call, nil
}

// InputOf decodes what the step was given: the inputs that an operator gave with a retry, else the task's context. It is
// what Handle hands to its function, for handlers that want another part of it, or a map. An input that does not fit
// fails the step for good.
func InputOf[T any](ctx context.Context) (T, error) {
	call, err := callOf(ctx, "InputOf")
	if err != nil {
		var none T
		return none, err
	}
	return inputOf[T](&call.Task, &call.Step)
}

func inputOf[T any](task *TaskView, step *StepView) (T, error) {
	var in T
	text, what := task.Context, "the task's context does"
	if step.Inputs != nil {
		text, what = step.Inputs, "the inputs of the retry do"
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return in, Permanent(fmt.Errorf("%s not fit %T: %w", what, in, err))
	}
	return in, nil
}

// ResultOf decodes the result of an earlier step, inside a handler: any step of the task, parents are the cheap ones.
// ErrNoResult when it has none, and why; ErrUnknownStep when the definition has no such step. A result that does not fit
// T fails the step for good. The result of a handler that returned nil is the zero T.
func ResultOf[T any](ctx context.Context, step string) (T, error) {
	var out T
	call, err := callOf(ctx, fmt.Sprintf("ResultOf(%q)", step))
	if err != nil {
		return out, err
	}
	view, err := call.Sequence.Find(ctx, step)
	if err != nil {
		return out, err
	}
	return out, view.Decode(&out)
}

// OptionalResultOf is ResultOf for steps that may have no result, because they are skippable or optional: false, and the
// zero T, instead of ErrNoResult.
func OptionalResultOf[T any](ctx context.Context, step string) (T, bool, error) {
	out, err := ResultOf[T](ctx, step)
	if errors.Is(err, ErrNoResult) {
		return out, false, nil
	}
	return out, err == nil, err
}

// ResultsOf decodes the results of several earlier steps of one type, by name; of all parents of the step when none is
// named. Steps that have no result are left out. Errors as ResultOf's.
func ResultsOf[T any](ctx context.Context, steps ...string) (map[string]T, error) {
	call, err := callOf(ctx, fmt.Sprintf("ResultsOf(%s)", strings.Join(steps, ", ")))
	if err != nil {
		return nil, err
	}
	if len(steps) == 0 {
		if steps, err = call.Parents(ctx); err != nil {
			return nil, err
		}
	}
	results := make(map[string]T, len(steps))
	for _, step := range steps {
		result, ok, err := OptionalResultOf[T](ctx, step)
		if err != nil {
			return nil, err
		}
		if ok {
			results[step] = result
		}
	}
	return results, nil
}

// TaskOf is the task whose step the handler runs; false outside of handlers and hooks.
func TaskOf(ctx context.Context) (TaskView, bool) {
	if call, ok := executor.FromContext(ctx); ok {
		return call.Task, true
	}
	return TaskView{}, false
}

// StepOf is the step that the handler runs: attempt, round, idempotency key, last error. false outside of handlers.
func StepOf(ctx context.Context) (StepView, bool) {
	if call, ok := executor.FromContext(ctx); ok && call.Step.Name != "" { // a hook has no step
		return call.Step, true
	}
	return StepView{}, false
}

// Logger writes to the log of the process (Config.Logger), with the task, the step and the attempt of the execution that
// the context belongs to, or one derived from it, in any goroutine; slog.Default() outside of handlers. See Log for lines
// that are stored with the step.
func Logger(ctx context.Context) *slog.Logger { return executor.Logger(ctx) }
