package tasker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/subscribers"
)

// ForkOptions say how a fork differs from the task that it is made of. The zero value is a fork of the task as it stands
// now, which differs in nothing.
type ForkOptions struct {
	// At is an event of the task: the fork begins where the task stood right after it. Zero: where it stands now.
	At Position
	// Context is the fork's input: anything that encodes to a JSON object that the definition's schema takes. nil: that of
	// the task. Steps that are taken over keep results that they made of the old one: see Rerun.
	Context any
	// Rerun names steps that run again although they were over. Whatever is behind them runs again, too.
	Rerun []string
	// ID chooses the fork's id, a UUID of version 7, so that the caller's own retry is the same fork. Default: made here.
	ID TaskID
	// Key makes the fork idempotent, in place of ID: the same key is the same fork of that task, until 24 h after its end
	// (Config.IdempotencyWindow). A repetition has to repeat At, Context and Rerun, or ErrIdempotencyMismatch comes beside
	// the receipt.
	Key string
	// Tags stand behind the tags of the task.
	Tags []string
	// By says who forks the task, and why: the actor of the fork's task.created, and its reason.
	By By
}

// ForkedFrom says which task a fork was made of, and right after which event.
type ForkedFrom = domain.ForkedFrom

// Fork makes a new task of the same definition that begins where another one stood, and returns when it is stored. Steps
// that were complete, skipped or resolved there are taken over with their results and do not run; all others run. It is
// a task of its own: the other one, in whatever state it is, stays as it is, and neither knows of the other's events.
//
// The definition is the one that the task had, also when another content has its name and version by now. Initiator,
// source system, correlation, tags and the steps to bypass are the task's. Everything else begins as in a new task: the
// state (no pause, no failure), the deadline, rounds and executions, progress, checkpoints, and what operators changed
// for a step's retry. See docs/fork.md.
//
// Errors: ErrTaskNotFound; *PositionError when At is no event of the task; *HistoryTrimmedError when what happened up to At
// is not stored any more; *domain.RefusedError when nothing would be left to run; *domain.UnknownStepError for a name in
// Rerun; *domain.ForkTooLargeError when the steps that are taken over do not fit into one message (that takes 2,500 of
// them at least); *FrozenError; ErrIdempotencyMismatch; those of Submit. Beside ErrOutcomeUnknown the receipt has the id,
// with which the same call is safe.
func (r *router) Fork(ctx context.Context, id TaskID, o ForkOptions) (Receipt, error) {
	s, err := o.submission(id)
	if err == nil {
		err = s.setTrace(ctx)
	}
	if err != nil {
		return Receipt{ID: s.ID}, fmt.Errorf("fork of task %s: %w", id, err)
	}
	req := &request{Op: opFork, Task: id, At: o.At, Submission: &s, Fork: &forkRequest{Rerun: o.Rerun, By: o.By.Actor}}
	for deadline := time.Now().Add(patience); ; {
		resp, err := r.call(ctx, r.partition(s.ID), req)
		again := errors.Is(err, ErrOutcomeUnknown) && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil
		switch {
		case again && time.Now().Before(deadline): // the owner changed meanwhile; the id makes asking the next one safe
			continue
		case resp != nil && resp.Receipt != nil:
			return *resp.Receipt, err
		}
		return Receipt{ID: s.ID}, err
	}
}

// forkRequest is what a fork says besides its submission, which has neither name nor version.
type forkRequest struct {
	Rerun []string `json:"rerun,omitempty"`
	By    string   `json:"by,omitempty"`
}

// submission is what a fork has in common with other submissions.
func (o *ForkOptions) submission(of TaskID) (Submission, error) {
	s := Submission{ID: o.ID, Key: o.Key, Reason: o.By.Reason, Tags: o.Tags}
	switch {
	case o.Key != "" && !o.ID.IsZero():
		return s, invalidSubmission("a fork has an id or an idempotency key, not both")
	case o.Key != "":
		s.ID = domain.ForkTaskID(of, o.Key)
	case o.ID.IsZero():
		made, err := uuid.NewV7()
		if err != nil {
			return s, err
		}
		s.ID = TaskID(made)
	case o.ID == of:
		return s, invalidSubmission("the id of a fork is not that of the task that it is made of")
	}
	if o.Context == nil {
		return s, nil
	}
	text, err := contextOf(o.Context)
	if err == nil {
		s.Context, err = domain.CompactJSON(text)
	}
	if err != nil {
		return s, invalidSubmission("the context: %w", err)
	}
	return s, nil
}

// check refuses what could not be stored; it runs where the fork is made, because the request may come from anywhere.
func (f *forkRequest) check(of TaskID, s *Submission) error {
	switch {
	case of.IsZero() || s.ID.IsZero() || s.ID == of:
		return invalidSubmission("a fork needs the task that it is made of, and an id of its own")
	case s.Key != "" && s.ID != domain.ForkTaskID(of, s.Key):
		return invalidSubmission("the id of the fork is not that of its idempotency key")
	}
	size := 0
	for _, name := range f.Rerun {
		size += len(name) + 3
	}
	if size > maxBypass {
		return invalidSubmission("the steps to run again have %d bytes; at most %d are possible", size, maxBypass)
	}
	return checkActor(f.By)
}

// localFork makes a fork in this process, which owns the partition of the fork; the task may be anybody's.
func (e *Engine) localFork(ctx context.Context, c *subscribers.Coordinator, r *request) (*response, error) {
	if err := c.Admits(); err != nil {
		return nil, err
	}
	if err := r.Fork.check(r.Task, r.Submission); err != nil {
		return nil, err
	}
	if err := e.fetchContext(ctx, r.Submission); err != nil {
		return nil, err
	}
	if bytes.Equal(r.Submission.Context, []byte("null")) { // which is what no context travels as
		r.Submission.Context = nil
	}
	hash, err := forkHash(r)
	if err != nil {
		return nil, err
	}
	known, err := await(ctx, c, func(reply func(subscribers.Answer, error)) error {
		return c.Known(domain.CreateTask{ID: r.Submission.ID, InputHash: hash}, func(a subscribers.Answer) { reply(a, a.Err) })
	})
	if !errors.Is(err, ErrTaskNotFound) { // the task itself may have been pruned meanwhile
		return &response{Receipt: &Receipt{ID: r.Submission.ID, Position: known.Position}}, err
	}
	f, err := e.forkOf(ctx, r)
	if err != nil {
		return nil, err
	}
	f.cmd.InputHash = hash
	for most := domain.InlineState; ; most = worthABlob {
		if err := f.carryResults(ctx, e.payloads, most); err != nil {
			return nil, err
		}
		a, err := await(ctx, c, func(reply func(subscribers.Answer, error)) error {
			return c.Submit(f.def, f.cmd, func(a subscribers.Answer) { reply(a, a.Err) })
		})
		var large *domain.ForkTooLargeError
		if errors.As(err, &large) && most > worthABlob {
			continue // with more of the results as references
		}
		return &response{Receipt: &Receipt{ID: f.cmd.ID, Created: a.Created, Position: a.Position}}, err
	}
}

// worthABlob is the size from which on a result is longer than the reference to it.
const worthABlob = 128

// forkHash is what a repetition of a fork with the same key must repeat; 0 without a key.
func forkHash(r *request) (uint32, error) {
	s := r.Submission
	if s.Key == "" {
		return 0, nil
	}
	f := domain.IdentityFields{Name: "fork", Initiator: r.Task.String(), BypassSteps: r.Fork.Rerun, Context: s.Context}
	if r.At != (Position{}) {
		f.SourceSystem = r.At.String()
	}
	if s.Context == nil {
		f.Reason = "the same context"
	}
	n, err := hashOf(f)
	if err != nil {
		return 0, invalidSubmission("the context: %w", err)
	}
	return n, nil
}

// forking is a fork that is being made.
type forking struct {
	def *Definition
	cmd domain.CreateTask
}

// forkOf asks how the task stood, and makes the command of it.
func (e *Engine) forkOf(ctx context.Context, r *request) (*forking, error) {
	resp, err := e.call(ctx, e.partition(r.Task), &request{Op: opStand, Task: r.Task, At: r.At})
	if err != nil {
		return nil, fmt.Errorf("the fork of task %s: %w", r.Task, err)
	}
	t, err := resp.Stand.task()
	if err != nil {
		return nil, err
	}
	s, f := r.Submission, &forking{def: t.Definition}
	if f.cmd, err = t.Fork(r.Fork.Rerun); err != nil {
		return nil, err
	}
	f.cmd.ID, f.cmd.By, f.cmd.Reason, f.cmd.Traceparent = s.ID, actor(r.Fork.By), s.Reason, s.Traceparent
	f.cmd.Tags = slices.Concat(f.cmd.Tags, s.Tags)
	f.cmd.Forked = &domain.ForkedFrom{Task: t.ID, Position: resp.Stand.Position}
	for i := range f.cmd.Inherited {
		f.cmd.Inherited[i].From = resp.Stand.Over[f.cmd.Inherited[i].Step]
	}
	whole := Submission{
		Initiator: f.cmd.Initiator, SourceSystem: f.cmd.SourceSystem, Reason: s.Reason + r.Fork.By, Correlation: f.cmd.Correlation,
		Traceparent: s.Traceparent, Tags: f.cmd.Tags, BypassSteps: f.cmd.BypassSteps,
	}
	if err := whole.check(); err != nil {
		return nil, err
	}
	f.cmd.Context, err = e.forkContext(ctx, t, s.Context)
	return f, err
}

// forkContext is the context of a fork: the given one, or that of the task, which its schema has taken already.
func (e *Engine) forkContext(ctx context.Context, t *domain.Task, given json.RawMessage) (domain.Payload, error) {
	if given == nil {
		return e.payloads.carry(ctx, t.Context, domain.InlineLog)
	}
	schema, err := jsonschema.Compile(t.Definition.Schema)
	if err != nil {
		return domain.Payload{}, err
	}
	text, err := schema.Apply(given)
	if err != nil {
		return domain.Payload{}, fmt.Errorf("the context of a fork of %s is refused: %w", t.Definition.FullName(), err)
	}
	return e.payloads.store(ctx, text)
}

// carryResults makes of results, wherever they are, what the events of another partition can hold.
func (f *forking) carryResults(ctx context.Context, p payloads, most int) error {
	for i := range f.cmd.Inherited {
		x := &f.cmd.Inherited[i]
		var err error
		if x.Result, err = p.carry(ctx, x.Result, most); err != nil {
			return fmt.Errorf("the result of step %q: %w", x.Step, err)
		}
	}
	return nil
}

// carry is a payload that does not depend on the event which holds it now: that may be pruned with its task. It stands in
// another event itself when it has at most so many bytes, else in the blob store, where it stays.
func (p payloads) carry(ctx context.Context, x domain.Payload, most int) (domain.Payload, error) {
	if x.IsZero() || x.Blob != "" {
		return x, nil
	}
	text, err := p.load(ctx, x)
	if err != nil {
		return domain.Payload{}, err
	}
	if len(text) <= most {
		return domain.Inline(text), nil
	}
	digest, err := p.from.Blobs().Put(ctx, text)
	if err != nil {
		return domain.Payload{}, err
	}
	return domain.Payload{Blob: digest, Size: len(text)}, nil
}
