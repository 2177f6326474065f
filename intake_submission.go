package tasker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/subscribers"
)

// submissionOf makes a submission of a foreign message: the same one, with the same id, for every delivery of it.
func (r *router) submissionOf(ctx context.Context, m domain.IntakeMessage) (Submission, error) {
	q, err := domain.ParseIntakeRequest(m.Target, m.Data)
	if err != nil {
		return Submission{}, err
	}
	s := Submission{
		Namespace: q.Namespace, Name: q.Name, Version: q.Version, Context: q.Context, Key: q.IdempotencyKey, Initiator: q.Initiator,
		SourceSystem: q.SourceSystem, Reason: q.Reason, Tags: q.Tags, BypassSteps: q.BypassSteps, Correlation: q.Correlation,
		Traceparent: q.Traceparent,
	}
	if s.Context == nil {
		s.Context = []byte("{}")
	}
	if s.Correlation == "" {
		s.Correlation = header(m, domain.HeaderCorrelation)
	}
	if text := header(m, domain.HeaderTraceparent); s.Traceparent == "" && text != "" {
		if _, err := domain.ParseTraceparent(text); err == nil {
			s.Traceparent = text
		}
	}
	if err := s.check(); err != nil {
		return s, fmt.Errorf("%w: %w", domain.ErrIntake, err)
	}
	k, err := r.known(ctx, &s)
	if err != nil {
		return s, err
	}
	return s, r.identifyMessage(k, &s, m)
}

// known finds the definition, also one that was registered a moment ago.
func (r *router) known(ctx context.Context, s *Submission) (*known, error) {
	k, err := r.definitions.find(s.Namespace, s.Name, s.Version)
	if err == nil {
		return k, nil
	}
	if failed := r.definitions.refresh(ctx); failed != nil {
		r.logger.Debug("definitions were not refreshed", "error", failed)
		if errors.Is(failed, ErrUnavailable) || ctx.Err() != nil {
			return nil, failed // it is not known whether it is known
		}
	}
	return r.definitions.find(s.Namespace, s.Name, s.Version)
}

// identifyMessage gives the submission its id; see the top of intake.go.
func (r *router) identifyMessage(k *known, s *Submission, m domain.IntakeMessage) error {
	if s.Key != "" {
		return nil
	}
	at := m.Stored
	if at.IsZero() {
		at = r.clock()
	}
	key, err := k.key(s, domain.InstantOf(at))
	if err != nil {
		var none *NoIdentityError
		if !errors.As(err, &none) {
			err = fmt.Errorf("%w: %w", domain.ErrIntake, err)
		}
		return err
	}
	id := header(m, domain.HeaderRequeued)
	if id == "" {
		id = header(m, domain.HeaderMessageID)
	}
	switch {
	case key != "":
		s.Key = key
	case id != "":
		s.ID = domain.MessageTaskID(s.Namespace, s.Name, id)
	case m.Sequence > 0:
		s.ID = domain.SequencedTaskID(r.store.Data().ID, m.Sequence, m.Stored)
	}
	return nil
}

// header is the first value of a header that has one.
func header(m domain.IntakeMessage, name string) string {
	for _, value := range m.Header[name] {
		return strings.TrimSpace(value)
	}
	return ""
}

// targetName is the definition that a message is about, as far as its subject tells.
func targetName(m domain.IntakeMessage) string { return strings.Join(m.Target, ".") }

// intakeFate is what becomes of a request that did not lead to a task.
type intakeFate struct {
	code      string
	retryable bool // nothing is wrong with it
	busy      bool // no other request would do better
	unknown   bool // its definition may be registered a moment later
	odd       bool // nobody thought of this error
}

var intakeFates = []struct {
	err  error
	fate intakeFate
}{
	{ErrOutcomeUnknown, intakeFate{code: "outcome_unknown", retryable: true}},
	{ErrOverloaded, intakeFate{code: "overloaded", retryable: true, busy: true}},
	{ErrStoreFull, intakeFate{code: "store_full", retryable: true, busy: true}},
	{ErrTooManyKeys, intakeFate{code: "too_many_keys", retryable: true}},
	{ErrNotRunning, intakeFate{code: "unavailable", retryable: true, busy: true}},
	{ErrNoOwner, intakeFate{code: "unavailable", retryable: true}},
	{ErrUnavailable, intakeFate{code: "unavailable", retryable: true}},
	{subscribers.ErrNotOwner, intakeFate{code: "unavailable", retryable: true}},
	{context.Canceled, intakeFate{code: "unavailable", retryable: true}},
	{context.DeadlineExceeded, intakeFate{code: "unavailable", retryable: true}},
	{ErrIdempotencyMismatch, intakeFate{code: "idempotency_mismatch"}},
	{domain.ErrIntake, intakeFate{code: "invalid_request"}},
	{domain.ErrPayload, intakeFate{code: "invalid_request"}},
}

func fateOf(err error) intakeFate {
	for _, x := range intakeFates {
		if errors.Is(err, x.err) {
			return x.fate
		}
	}
	var unknown *DefinitionNotFoundError
	var identity *NoIdentityError
	var violations *jsonschema.ViolationsError
	var bypass *domain.BypassError
	var refused *domain.RefusedError
	var closed *subscribers.UnreadableError
	var poison *subscribers.PoisonError
	var panicked *intakePanic
	switch {
	case errors.As(err, &unknown):
		return intakeFate{code: "definition_not_found", unknown: true}
	case errors.As(err, &identity):
		return intakeFate{code: "no_identity", unknown: true}
	case errors.As(err, &violations):
		return intakeFate{code: "violations"}
	case errors.As(err, &bypass):
		return intakeFate{code: "bypass"}
	case errors.As(err, &closed):
		return intakeFate{code: "unavailable", retryable: true}
	case errors.As(err, &refused), errors.As(err, &poison), errors.As(err, &panicked):
		return intakeFate{code: "refused"}
	}
	return intakeFate{code: "refused", odd: true}
}
