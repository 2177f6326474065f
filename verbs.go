package tasker

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tasker-go/tasker/domain"
)

// The operator's verbs on tasks and steps (SEMANTICS 6). Engines and clients have all of them; whichever process owns the
// task decides.
//
// A verb returns when it is stored, with what it changed. What is so already is no error: Changed is false then, and
// nothing was stored. So a second call does no harm, also after ErrOutcomeUnknown, which says that nobody knows whether the
// first one was stored; but a retry that has failed again in between is tried once more. A verb is one commit with all
// that follows from it: after a crash it has happened as a whole or not at all.
//
// Errors of every verb, also when the owner is another process:
//
//   - *domain.TransitionError: the task or the step is in a state in which the verb is not possible; the text says what is
//   - *domain.RefusedError: it is possible, but would lead nowhere
//   - *domain.UnknownStepError, which is ErrUnknownStep; ErrTaskNotFound
//   - *InvalidVerbError: no task could take it, for instance because a result is no JSON
//   - ErrNotRunning, ErrNoOwner, ErrOverloaded, ErrUnavailable: nothing was stored
//   - ErrOutcomeUnknown

// By says who acts, and why. Both are stored with the events that the verb leads to, and shown by History; together they
// have at most 16 KiB.
type By struct {
	// Actor is a person or a program. It is stored as "operator:<Actor>", and as "operator" when it is "". One line.
	Actor string
	// Reason is for whoever reads the history. "" is none.
	Reason string
}

// VerbReceipt answers a verb.
type VerbReceipt struct {
	Task TaskID `json:"task"`
	Step string `json:"step,omitempty"` // of a verb on a step
	// Changed: something was stored. false: what the verb asks for was so already.
	Changed bool `json:"changed"`
	// From and To are the states of the step, or of the task when the verb is about it, before the verb and right after it.
	// They are equal when nothing changed, and after Pause, Resume and Annotate. More may have followed in the same commit:
	// a step that was retried is perhaps in progress again.
	From domain.State `json:"from"`
	To   domain.State `json:"to"`
	// Attempt is the number of the step's last execution; its next one has the number after it.
	Attempt int `json:"attempt,omitempty"`
	// Reopened: the verb on the step has reopened the failed task.
	Reopened bool `json:"reopened,omitempty"`
	// Position is that of the task's newest commit.
	Position Position `json:"position"`
}

// Cancel ends a task for good: in one commit, the task and every step of it that is pending, in progress or in error
// become cancelled. The contexts of running handlers end; what they report afterwards is dropped. Tasks that are complete or resolved
// are refused.
func (r *router) Cancel(ctx context.Context, id TaskID, by By) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "cancel"}, by)
}

// Retry reopens a failed task: every step in error begins a new round (its executions count from 0, its idempotency key
// is a new one) and runs again at once, the task's deadline begins anew, and a pause is lifted. A task that is pending or in
// progress stays as it is; one that has ended is refused, and so is one of which nothing could run, because a step was
// cancelled.
func (r *router) Retry(ctx context.Context, id TaskID, by By) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "retry"}, by)
}

// Resolve ends a failed task for good, as resolved_manually: somebody has dealt with it in another way. Its steps stay as
// they are. Tasks that are not in error are refused.
func (r *router) Resolve(ctx context.Context, id TaskID, by By) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "resolve"}, by)
}

// Pause lets a pending or running task start no more steps. Steps that run may end, waits for retries and the deadline
// go on, and the task may end. Tasks that have failed or ended are refused.
func (r *router) Pause(ctx context.Context, id TaskID, by By) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "pause"}, by)
}

// Resume takes a pause back; a retry that came due in between is due now. A task that is not paused stays as it is.
func (r *router) Resume(ctx context.Context, id TaskID, by By) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "resume"}, by)
}

// Annotate stores a note with a task, in whatever state the task is. It changes nothing else, and a second call stores a
// second note: after ErrOutcomeUnknown look at the History first. The note's Kind is at most 16 KiB long and not empty, its Value is any JSON,
// at most 128 KiB; a Step must be one of the task's. actor is By.Actor.
func (r *router) Annotate(ctx context.Context, id TaskID, note Annotation, actor string) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "annotate", Step: note.Step, Note: &noteRequest{note.Kind, note.Value}}, By{Actor: actor})
}

// StepRetry is what RetryStep may change for the new round.
type StepRetry struct {
	// RetryLimit is how many executions this round and later ones may have, at least 1. 0 keeps what it is.
	RetryLimit int
	// Inputs are what the handler gets (StepView.Inputs; for Handle, in place of the task's context): anything that encodes
	// to JSON, at most 128 KiB. nil keeps what they are.
	Inputs any
}

// RetryStep begins a new round of a step in error: its executions count from 0, its idempotency key is a new one, and it
// runs again at once, without waiting for its backoff. A failed task is reopened in the same commit when that makes a step
// ready; the other steps keep their state and their counts. A step that is pending stays as it is, and does not take the
// changes of with. A step in any other state is refused.
func (r *router) RetryStep(ctx context.Context, id TaskID, step string, with StepRetry, by By) (VerbReceipt, error) {
	v := verb{Name: "retry_step", Step: step, RetryLimit: with.RetryLimit}
	var err error
	if v.Inputs, err = jsonOf(with.Inputs); err != nil {
		return VerbReceipt{Task: id, Step: step}, invalid("the inputs of step %q: %w", step, err)
	}
	return r.do(ctx, id, v, by)
}

// ResolveStep declares a step done that is pending or in error: it becomes resolved_manually, its children may run, and read
// result as its result. result is anything that encodes to JSON, at most 16 MiB; nil is none (ErrNoResult for the
// children). A failed task is reopened in the same commit when a step becomes ready, or completes in it when nothing
// is left to do. A step that runs is refused: complete or cancel it; so is one that is complete or cancelled.
func (r *router) ResolveStep(ctx context.Context, id TaskID, step string, result any, by By) (VerbReceipt, error) {
	return r.doResult(ctx, id, verb{Name: "resolve_step", Step: step}, result, by)
}

// CancelStep ends a step that is pending, in progress or in error; the context of its handler ends. Children of the step
// never run, unless it is optional, and a task cannot complete without a step that is not optional: it fails when
// nothing else of it can run. A step that is complete or resolved is refused.
func (r *router) CancelStep(ctx context.Context, id TaskID, step string, by By) (VerbReceipt, error) {
	return r.do(ctx, id, verb{Name: "cancel_step", Step: step}, by)
}

// CompleteStep completes a step that is in progress, in place of its handler: the handler's context ends, and what it
// reports afterwards is dropped. result is as in ResolveStep. A step in any other state is refused, except that a complete
// one stays as it is and keeps its result.
func (r *router) CompleteStep(ctx context.Context, id TaskID, step string, result any, by By) (VerbReceipt, error) {
	return r.doResult(ctx, id, verb{Name: "complete_step", Step: step}, result, by)
}

func (r *router) doResult(ctx context.Context, id TaskID, v verb, result any, by By) (VerbReceipt, error) {
	var err error
	if v.Result, err = jsonOf(result); err != nil {
		return VerbReceipt{Task: id, Step: v.Step}, invalid("the result of step %q: %w", v.Step, err)
	}
	return r.do(ctx, id, v, by)
}

// do brings a verb to the owner of the task.
func (r *router) do(ctx context.Context, id TaskID, v verb, by By) (VerbReceipt, error) {
	v.By, v.Reason = by.Actor, by.Reason
	if err := v.check(); err != nil { // before it travels
		return VerbReceipt{Task: id, Step: v.Step}, err
	}
	resp, err := r.call(ctx, r.partition(id), &request{Op: opVerb, Task: id, Verb: &v})
	if resp == nil || resp.Verb == nil {
		if err == nil {
			err = errors.New("the answer has no receipt: the owner of the task is another version of tasker")
		}
		return VerbReceipt{Task: id, Step: v.Step}, err
	}
	return *resp.Verb, err
}

// jsonOf encodes what a caller handed over; nil is nothing.
func jsonOf(value any) (json.RawMessage, error) {
	switch x := value.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		if len(x) == 0 {
			return nil, nil
		}
		return x, nil
	default:
		return json.Marshal(x)
	}
}
