package tasker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// The operator's verbs on tasks. Each is idempotent, stored with actor and reason, and answered after it is stored.
// Errors: ErrTaskNotFound, *domain.TransitionError and *domain.RefusedError (a RemoteError with their text when the
// owner is another process), and those of Submit.

// Cancel ends a task, and every step of it that is not over well, in one commit. Contexts of running handlers are cancelled.
// Cancelling a cancelled task changes nothing; cancelling one that ended otherwise is refused.
func (r *router) Cancel(ctx context.Context, id TaskID, reason string) error {
	return r.do(ctx, id, verb{Name: "cancel", Reason: reason})
}

func (r *router) do(ctx context.Context, id TaskID, v verb) error {
	_, err := r.call(ctx, r.partition(id), &request{Op: opVerb, Task: id, Verb: &v})
	return err
}

// command makes the domain's command of a verb.
func (r *router) command(ctx context.Context, v *verb) (domain.Command, domain.Actor, error) {
	by := domain.ByOperator
	if v.By != "" {
		by += domain.Actor(":" + v.By)
	}
	if len(v.Reason)+len(v.By) > maxText {
		return nil, by, fmt.Errorf("reason and actor have %d bytes; at most %d are possible", len(v.Reason)+len(v.By), maxText)
	}
	var result domain.Payload
	if v.Result != nil {
		text, err := domain.CompactJSON(v.Result)
		if err != nil {
			return nil, by, fmt.Errorf("the result: %w", err)
		}
		if result, err = r.payloads.store(ctx, text); err != nil {
			return nil, by, err
		}
	}
	var inputs json.RawMessage
	if v.Inputs != nil {
		var err error
		if inputs, err = domain.CompactJSON(v.Inputs); err != nil {
			return nil, by, fmt.Errorf("the inputs: %w", err)
		}
		if len(inputs) > domain.InlineLog {
			return nil, by, fmt.Errorf("the inputs have %d bytes; at most %d are possible: hand over a reference", len(inputs), domain.InlineLog)
		}
	}
	switch v.Name {
	case "cancel":
		return domain.CancelTask{Reason: v.Reason}, by, nil
	case "retry":
		return domain.RetryTask{Reason: v.Reason}, by, nil
	case "resolve":
		return domain.ResolveTask{Reason: v.Reason}, by, nil
	case "pause":
		return domain.PauseTask{Reason: v.Reason}, by, nil
	case "resume":
		return domain.ResumeTask{Reason: v.Reason}, by, nil
	case "retry_step":
		return domain.RetryStep{Step: v.Step, RetryLimit: v.RetryLimit, Inputs: inputs, Reason: v.Reason}, by, nil
	case "resolve_step":
		return domain.ResolveStep{Step: v.Step, Result: result, Reason: v.Reason}, by, nil
	case "cancel_step":
		return domain.CancelStep{Step: v.Step, Reason: v.Reason}, by, nil
	case "complete_step":
		return domain.FinishStep{Step: v.Step, Result: result, Reason: v.Reason}, by, nil
	}
	return nil, by, fmt.Errorf("unknown verb %q", v.Name)
}
