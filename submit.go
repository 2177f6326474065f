package tasker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/google/uuid"

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
	Key          string          `json:"key,omitempty"`          // idempotency key: the same key is the same task
	Initiator    string          `json:"initiator,omitempty"`
	SourceSystem string          `json:"source_system,omitempty"`
	Reason       string          `json:"reason,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
	BypassSteps  []string        `json:"bypass_steps,omitempty"` // skippable steps that are skipped when their turn comes
	Correlation  string          `json:"correlation,omitempty"`
}

// Receipt answers a submission, after it has been stored.
type Receipt struct {
	ID       TaskID   `json:"id"`
	Created  bool     `json:"created"` // false: the id or key named a task already
	Position Position `json:"position"`
}

// SubmitOption sets one field of a Submission.
type SubmitOption func(*Submission)

// Key makes the submission idempotent: the same key (in a namespace, for a name) is the same task, until 24 h after its
// end.
func Key(key string) SubmitOption { return func(s *Submission) { s.Key = key } }

// InNamespace chooses the namespace. Default "default".
func InNamespace(name string) SubmitOption { return func(s *Submission) { s.Namespace = name } }

// AtVersion chooses the version of the definition. Default: the highest release.
func AtVersion(v string) SubmitOption { return func(s *Submission) { s.Version = v } }

// WithID chooses the task's id, a UUID of version 7, so that the caller's own retry is the same task.
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

// Submit creates a task of the named definition and returns when it is stored. input is the task's context: anything
// that encodes to a JSON object. Errors: ErrNotRunning, ErrOverloaded, ErrStoreFull, ErrUnavailable (nothing was
// stored); ErrOutcomeUnknown (submit again with the receipt's id or the same key); ErrIdempotencyMismatch;
// *DefinitionNotFoundError; *jsonschema.ViolationsError; *domain.BypassError.
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
func (r *router) SubmitRequest(ctx context.Context, s Submission) (Receipt, error) {
	if err := s.identify(); err != nil {
		return Receipt{}, err
	}
	for deadline := time.Now().Add(patience); ; {
		resp, err := r.call(ctx, r.partition(s.ID), &request{Op: opSubmit, Submission: &s})
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

// identify gives the submission its id (SEMANTICS 8).
func (s *Submission) identify() error {
	if s.Namespace == "" {
		s.Namespace = domain.DefaultNamespace
	}
	switch {
	case s.Name == "":
		return fmt.Errorf("a submission needs the name of a definition")
	case s.Key != "" && !s.ID.IsZero() && s.ID != domain.KeyedTaskID(s.Namespace, s.Name, s.Key):
		return fmt.Errorf("a submission has an id or an idempotency key, not both")
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
	size := len(s.Initiator) + len(s.SourceSystem) + len(s.Reason) + len(s.Correlation)
	for _, tag := range s.Tags {
		size += len(tag) + 8
	}
	if size > maxText {
		return fmt.Errorf("initiator, source_system, reason, correlation and tags have %d bytes together; at most %d are possible: put the rest into the context",
			size, maxText)
	}
	size = 0
	for _, name := range s.BypassSteps {
		size += len(name) + 3
	}
	if size > maxBypass {
		return fmt.Errorf("bypass_steps has %d bytes; at most %d are possible", size, maxBypass)
	}
	return nil
}

// create checks a submission against its definition and makes the command of it.
func (r *router) create(ctx context.Context, s *Submission) (*Definition, domain.CreateTask, error) {
	if err := s.check(); err != nil {
		return nil, domain.CreateTask{}, err
	}
	k, err := r.definitions.find(s.Namespace, s.Name, s.Version)
	if err != nil {
		if refreshed := r.definitions.refresh(ctx); refreshed != nil {
			return nil, domain.CreateTask{}, err
		}
		if k, err = r.definitions.find(s.Namespace, s.Name, s.Version); err != nil {
			return nil, domain.CreateTask{}, err
		}
	}
	if s.ContextBlob != "" {
		if s.Context, err = r.payloads.load(ctx, domain.Payload{Blob: s.ContextBlob}); err != nil {
			return nil, domain.CreateTask{}, err
		}
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
		Tags: s.Tags, BypassSteps: s.BypassSteps, Correlation: s.Correlation, InputHash: inputHash(s, text),
	}, nil
}

// inputHash is what a repetition with the same key must repeat: the context, however its keys are ordered, and the
// steps to bypass. 0 without a key.
func inputHash(s *Submission, context json.RawMessage) uint32 {
	if s.Key == "" {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write(canonical(context))
	_, _ = h.Write([]byte("\x00" + strings.Join(s.BypassSteps, "\x00")))
	return max(h.Sum32(), 1)
}

// canonical orders the keys of every object.
func canonical(text json.RawMessage) []byte {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return text
	}
	out, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return out
}
