package tasker

import (
	"context"

	"github.com/tasker-go/tasker/domain"
)

// Operate carries out an operator's verb that is given as one value, as it comes in a message: it calls Cancel, Retry and
// so on, and has their errors. It makes engines and clients a watermill.Operator.
func (r *router) Operate(ctx context.Context, o domain.OperatorRequest) error {
	by := By{Actor: o.Actor, Reason: o.Reason}
	if o.Verb.OfStep() && o.Step == "" {
		return invalid("%s needs the name of a step", o.Verb)
	}
	switch o.Verb {
	case domain.VerbCancel:
		_, err := r.Cancel(ctx, o.Task, by)
		return err
	case domain.VerbRetry:
		_, err := r.Retry(ctx, o.Task, by)
		return err
	case domain.VerbResolve:
		_, err := r.Resolve(ctx, o.Task, by)
		return err
	case domain.VerbPause:
		_, err := r.Pause(ctx, o.Task, by)
		return err
	case domain.VerbResume:
		_, err := r.Resume(ctx, o.Task, by)
		return err
	case domain.VerbRetryStep:
		_, err := r.RetryStep(ctx, o.Task, o.Step, StepRetry{RetryLimit: o.RetryLimit, Inputs: o.Inputs}, by)
		return err
	case domain.VerbResolveStep:
		_, err := r.ResolveStep(ctx, o.Task, o.Step, o.Result, by)
		return err
	case domain.VerbCancelStep:
		_, err := r.CancelStep(ctx, o.Task, o.Step, by)
		return err
	case domain.VerbCompleteStep:
		_, err := r.CompleteStep(ctx, o.Task, o.Step, o.Result, by)
		return err
	}
	return invalid("%q is no verb: want one of %q", o.Verb, domain.Verbs())
}
