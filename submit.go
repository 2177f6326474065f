package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-go/tasker/domain"
)

// TaskID identifies a task.
type TaskID = domain.TaskID

// ParseTaskID reads the text form of a task id.
func ParseTaskID(s string) (TaskID, error) { return domain.ParseTaskID(s) }

// Position is the place of an event or commit in the log.
type Position = domain.Position

// Submission asks for a task. Submit makes one from its arguments.
type Submission struct {
	Name         string          `json:"name"`
	Namespace    string          `json:"namespace,omitempty"`    // default "default"
	Version      string          `json:"version,omitempty"`      // default: the highest release
	Context      json.RawMessage `json:"context"`                // the task's input, a JSON object
	ContextBlob  string          `json:"context_blob,omitempty"` // instead of Context: its digest in the blob store
	ID           TaskID          `json:"id,omitzero"`            // default: made here
	Key          string          `json:"key,omitempty"`          // idempotency key; default: what the definition's identity says
	Initiator    string          `json:"initiator,omitempty"`
	SourceSystem string          `json:"source_system,omitempty"`
	Reason       string          `json:"reason,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
	BypassSteps  []string        `json:"bypass_steps,omitempty"` // skippable steps that are skipped when their turn comes
	Correlation  string          `json:"correlation,omitempty"`
	Traceparent  string          `json:"traceparent,omitempty"` // W3C Trace Context; default: that of the span in the context of Submit
}

// Receipt answers a submission, after it has been stored.
type Receipt struct {
	ID       TaskID   `json:"id"`
	Created  bool     `json:"created"` // false: the id, key or identity named a task already
	Position Position `json:"position"`
}

// SubmitOption sets one field of a Submission.
type SubmitOption func(*Submission)

// Key makes the submission idempotent: the same key (in a namespace, for a name) is the same task, until 24 h after its
// end (Config.IdempotencyWindow). It comes before the definition's identity (Builder.IdentityHash, Builder.IdentityFunc).
// A repetition has to repeat the context, as it is submitted and not with the schema's defaults in it, and the steps to
// bypass, or ErrIdempotencyMismatch comes beside the receipt; everything else may differ, and is that of the first one.
func Key(key string) SubmitOption { return func(s *Submission) { s.Key = key } }

// InNamespace chooses the namespace. Default "default".
func InNamespace(name string) SubmitOption { return func(s *Submission) { s.Namespace = name } }

// AtVersion chooses the version of the definition. Default: the highest release.
func AtVersion(v string) SubmitOption { return func(s *Submission) { s.Version = v } }

// WithID chooses the task's id, a UUID of version 7, so that the caller's own retry is the same task. It comes before the
// definition's identity.
func WithID(id TaskID) SubmitOption { return func(s *Submission) { s.ID = id } }

// Tagged adds tags.
func Tagged(tags ...string) SubmitOption {
	return func(s *Submission) { s.Tags = append(s.Tags, tags...) }
}

// From says who asks, from which system, and why.
func From(initiator, sourceSystem, reason string) SubmitOption {
	return func(s *Submission) { s.Initiator, s.SourceSystem, s.Reason = initiator, sourceSystem, reason }
}

// Bypass skips skippable steps when their turn comes.
func Bypass(steps ...string) SubmitOption {
	return func(s *Submission) { s.BypassSteps = append(s.BypassSteps, steps...) }
}

// Correlated sets the correlation id that every event of the task carries.
func Correlated(id string) SubmitOption { return func(s *Submission) { s.Correlation = id } }

// WithTraceparent puts the task into the trace of the request that it comes from, given as W3C Trace Context has it. It is
// not needed where the context of Submit has a span of OpenTelemetry. See docs/telemetry.md.
func WithTraceparent(text string) SubmitOption { return func(s *Submission) { s.Traceparent = text } }

// Submit creates a task of the named definition and returns when it is stored. input is the task's context: anything
// that encodes to a JSON object. Errors: ErrNotRunning, ErrOverloaded, ErrStoreFull, ErrUnavailable (nothing was
// stored); ErrOutcomeUnknown (submit again with the receipt's id or the same key); ErrIdempotencyMismatch;
// *DefinitionNotFoundError; *NoIdentityError; *InvalidSubmissionError; *ViolationsError; *domain.BypassError.
func (r *router) Submit(ctx context.Context, name string, input any, options ...SubmitOption) (Receipt, error) {
	s := Submission{Name: name}
	for _, o := range options {
		o(&s)
	}
	var err error
	if s.Context, err = contextOf(input); err != nil {
		return Receipt{}, fmt.Errorf("the input of %q: %w", name, err)
	}
	return r.SubmitRequest(ctx, s)
}

// SubmitRequest is Submit with everything in one value.
func (r *router) SubmitRequest(ctx context.Context, given Submission) (Receipt, error) {
	if err := given.setTrace(ctx); err != nil {
		return Receipt{ID: given.ID}, err
	}
	s := given
	identity, err := r.identify(ctx, &s)
	if err != nil {
		return Receipt{}, err
	}
	looked := false
	for deadline := time.Now().Add(patience); ; {
		resp, err := r.call(ctx, r.partition(s.ID), &request{Op: opSubmit, Submission: &s, Identity: identity})
		if errors.Is(err, errOtherIdentity) && !looked {
			looked = true // nothing was stored: what is known here is out of date
			if refreshed := r.definitions.refresh(ctx); refreshed != nil && ctx.Err() != nil {
				return Receipt{}, refreshed
			}
			s = given
			if identity, err = r.identify(ctx, &s); err != nil {
				return Receipt{}, err
			}
			continue
		}
		// The owner changed while the commit was under way. The id makes asking the next one safe.
		again := errors.Is(err, ErrOutcomeUnknown) && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil
		switch {
		case again && time.Now().Before(deadline):
			continue
		case resp != nil && resp.Receipt != nil:
			return *resp.Receipt, err
		}
		return Receipt{ID: s.ID}, err
	}
}

func contextOf(input any) (json.RawMessage, error) {
	switch x := input.(type) {
	case nil:
		return json.RawMessage("{}"), nil
	case json.RawMessage:
		return x, nil
	default:
		return json.Marshal(x)
	}
}

func (s *Submission) setNamespace() {
	if s.Namespace == "" {
		s.Namespace = domain.DefaultNamespace
	}
}

// setTrace takes the trace of the span in the context, if the submission names none. A span that is not sampled counts,
// too: then the task is not.
func (s *Submission) setTrace(ctx context.Context) error {
	if s.Traceparent != "" {
		return s.checkTrace()
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		s.Traceparent = domain.FormatTraceparent(span.TraceID(), span.SpanID(), byte(span.TraceFlags()))
	}
	return nil
}

func (s *Submission) checkTrace() error {
	if s.Traceparent == "" {
		return nil
	}
	if _, err := domain.ParseTraceparent(s.Traceparent); err != nil {
		return invalidSubmission("%w", err)
	}
	return nil
}

// identify gives the submission its id by its key, or makes one.
func (s *Submission) identify() error {
	s.setNamespace()
	switch {
	case s.Name == "":
		return invalidSubmission("a submission needs the name of a definition")
	case s.Key != "" && !s.ID.IsZero() && s.ID != domain.KeyedTaskID(s.Namespace, s.Name, s.Key):
		return invalidSubmission("a submission has an id or an idempotency key, not both")
	case s.Key != "":
		s.ID = domain.KeyedTaskID(s.Namespace, s.Name, s.Key)
	case s.ID.IsZero():
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		s.ID = TaskID(id)
	}
	return nil
}

// Limits of what describes a task, in bytes. It stands in one message with the events of other tasks, and a message that
// NATS refuses would hold its partition up for ever.
const (
	maxText   = 16 << 10  // of all descriptive fields together
	maxBypass = 256 << 10 // of the names in bypass_steps
)

// check refuses what would not fit into a message.
func (s *Submission) check() error {
	size := len(s.Initiator) + len(s.SourceSystem) + len(s.Reason) + len(s.Correlation) + len(s.Traceparent)
	for _, tag := range s.Tags {
		size += len(tag) + 8
	}
	if size > maxText {
		return invalidSubmission("initiator, source_system, reason, correlation and tags have %d bytes together; at most %d are possible: put the rest into the context",
			size, maxText)
	}
	if err := s.checkTrace(); err != nil {
		return err
	}
	size = 0
	for _, name := range s.BypassSteps {
		size += len(name) + 3
	}
	if size > maxBypass {
		return invalidSubmission("bypass_steps has %d bytes; at most %d are possible", size, maxBypass)
	}
	return nil
}

// create checks a submission against its definition and makes the command of it. identity is what its id rests on; see
// router.identify.
func (r *router) create(ctx context.Context, s *Submission, identity string) (*Definition, domain.CreateTask, error) {
	if err := s.check(); err != nil {
		return nil, domain.CreateTask{}, err
	}
	k, err := r.sameIdentity(ctx, s, identity)
	if err != nil {
		return nil, domain.CreateTask{}, err
	}
	if err := r.fetchContext(ctx, s); err != nil {
		return nil, domain.CreateTask{}, err
	}
	text, err := k.schema.Apply(s.Context)
	if err != nil {
		return nil, domain.CreateTask{}, fmt.Errorf("the context of %s is refused: %w", k.def.FullName(), err)
	}
	payload, err := r.payloads.store(ctx, text)
	if err != nil {
		return nil, domain.CreateTask{}, err
	}
	return k.def, domain.CreateTask{
		ID: s.ID, Context: payload, Initiator: s.Initiator, SourceSystem: s.SourceSystem, Reason: s.Reason,
		Tags: s.Tags, BypassSteps: s.BypassSteps, Correlation: s.Correlation, Traceparent: s.Traceparent,
		InputHash: inputHash(s),
	}, nil
}
