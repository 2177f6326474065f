package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Result is how a task ended.
type Result struct {
	ID     TaskID            `json:"id"`
	State  domain.State      `json:"state"`
	Value  json.RawMessage   `json:"result,omitempty"` // of a complete task
	Failed domain.FailReason `json:"failed,omitempty"`
	Steps  []string          `json:"steps,omitempty"`  // to blame for a failure
	Errors map[string]string `json:"errors,omitempty"` // their last errors
	// Pending: it has not ended yet; only between processes.
	Pending bool `json:"pending,omitempty"`
}

// Decode unmarshals the result of a complete task.
func (r Result) Decode(out any) error { return json.Unmarshal(r.Value, out) }

// Wait waits until the task has ended or failed and returns its result: of its output step, or the results of its leaf
// steps by name. A task that did not complete gives *TaskFailedError beside the Result. Other errors: ErrTaskNotFound,
// and ctx's.
func (r *router) Wait(ctx context.Context, id TaskID) (Result, error) {
	for {
		resp, err := r.call(ctx, r.partition(id), &request{Op: opWait, Task: id})
		switch {
		case err == nil && resp.Result.Pending:
			continue
		case err == nil:
			return *resp.Result, resp.Result.err()
		case !r.waitAgain(err):
			return Result{ID: id}, err
		}
		select {
		case <-ctx.Done():
			return Result{ID: id}, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// waitAgain: waiting changes nothing, so it goes on after everything that passes.
func (r *router) waitAgain(err error) bool {
	for _, passing := range []error{subscribers.ErrNotOwner, ErrNoOwner, ErrUnavailable, ErrOutcomeUnknown, ErrOverloaded} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

func (r *Result) err() error {
	if r.State == domain.Complete {
		return nil
	}
	return &TaskFailedError{ID: r.ID, State: r.State, Reason: r.Failed, Steps: r.Steps, Errors: r.Errors}
}

// Run submits a task and waits for its result, decoded into Out.
func Run[Out any](ctx context.Context, e interface {
	Submit(context.Context, string, any, ...SubmitOption) (Receipt, error)
	Wait(context.Context, TaskID) (Result, error)
}, name string, input any, options ...SubmitOption) (Out, error) {
	var out Out
	receipt, err := e.Submit(ctx, name, input, options...)
	if err != nil {
		return out, err
	}
	result, err := e.Wait(ctx, receipt.ID)
	if err != nil {
		return out, err
	}
	if err := result.Decode(&out); err != nil {
		return out, fmt.Errorf("the result of task %s: %w", receipt.ID, err)
	}
	return out, nil
}
