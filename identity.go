package tasker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// IdentityFunc gives a submission that has no idempotency key one: submissions with the same key are the same task, as
// with Key. "" means that this submission is a task of its own. It is called where the task is submitted, before its
// context is checked, from the submitter's goroutine; the Submission has its namespace, and must not be changed. An
// error refuses the submission.
//
// What it says must not depend on anything but the Submission: it may be asked twice about the same one.
type IdentityFunc func(Submission) (key string, err error)

// errOtherIdentity: the owner of the partition knows the definition with another identity than the submitter does.
var errOtherIdentity = errors.New("the definition has another identity where the task is to run than where it was submitted: " +
	"register the same definition everywhere, or give an idempotency key")

// NoIdentityError: the identity of the definition is a Go function, which this process does not have.
type NoIdentityError struct{ Definition string }

func (e *NoIdentityError) Error() string {
	return fmt.Sprintf("what makes two submissions of %s the same task is a Go function that this process does not have: "+
		"register the workflow here, too, or give an idempotency key", e.Definition)
}

// identityText is how an identity stands in a request.
func identityText(i domain.Identity) string {
	if i.Strategy == domain.IdentityHash {
		return string(i.Strategy) + " " + i.Window.String()
	}
	return string(i.Strategy)
}

// identify gives a submission its id, by what its definition says makes two submissions the same task (SEMANTICS 8), and
// returns what that was; "" when the submitter said it himself, with a key or an id. A definition that is not known here
// counts as one without identity: the owner of the partition knows better, and refuses it with errOtherIdentity.
func (r *router) identify(ctx context.Context, s *Submission) (string, error) {
	if s.Key != "" || !s.ID.IsZero() || s.Name == "" {
		return "", s.identify()
	}
	s.setNamespace()
	k, err := r.definitions.find(s.Namespace, s.Name, s.Version)
	if err != nil {
		return string(domain.IdentityDefault), s.identify()
	}
	if k.def.Identity.Strategy != domain.IdentityDefault {
		if err := r.fetchContext(ctx, s); err != nil {
			return "", err
		}
		if s.Key, err = k.key(s, domain.InstantOf(r.clock())); err != nil {
			return "", err
		}
	}
	return k.identity, s.identify()
}

// key is the idempotency key of a submission without one; "" for none.
func (k *known) key(s *Submission, now domain.Instant) (string, error) {
	switch k.def.Identity.Strategy {
	case domain.IdentityHash:
		return domain.IdentityKey(domain.IdentityFields{
			Namespace: s.Namespace, Name: s.Name, Initiator: s.Initiator, SourceSystem: s.SourceSystem,
			Context: s.Context, Reason: s.Reason, BypassSteps: s.BypassSteps,
		}, k.def.Identity.Window, now)
	case domain.IdentityCustom:
		if k.identify == nil {
			return "", &NoIdentityError{k.def.FullName()}
		}
		key, err := k.identify(*s)
		if err != nil {
			return "", fmt.Errorf("the identity of a submission of %s: %w", k.def.FullName(), err)
		}
		return key, nil
	case domain.IdentityDefault:
	}
	return "", nil
}

// sameIdentity finds the definition of a submission, and refuses one whose id rests on another identity than the
// definition has.
func (r *router) sameIdentity(ctx context.Context, s *Submission, identity string) (*known, error) {
	for looked := false; ; looked = true {
		k, err := r.definitions.find(s.Namespace, s.Name, s.Version)
		switch {
		case err == nil && (identity == "" || identity == k.identity):
			return k, nil
		case err != nil && looked:
			return nil, err
		case looked:
			return nil, fmt.Errorf("%s has identity %q, and was submitted with %q: %w", k.def.FullName(), k.identity, identity, errOtherIdentity)
		}
		if refreshed := r.definitions.refresh(ctx); refreshed != nil && ctx.Err() != nil {
			return nil, refreshed // any other error is about definitions of this process, or shows itself soon enough
		}
	}
}

// fetchContext reads the context of a submission that names it only.
func (r *router) fetchContext(ctx context.Context, s *Submission) error {
	if s.ContextBlob == "" || len(s.Context) > 0 && string(s.Context) != "null" { // null is what no context travels as
		return nil
	}
	var err error
	s.Context, err = r.payloads.load(ctx, domain.Payload{Blob: s.ContextBlob})
	return err
}

// inputHash is what a repetition with the same key must repeat; another one is refused with ErrIdempotencyMismatch. It
// covers the context as it was submitted, before the defaults of the schema are filled in, so that a definition whose
// defaults have changed still knows a repetition; and the steps to bypass. Neither the order of keys and of steps nor
// the way in which a number is written makes a difference. It does not cover version, initiator, source system, reason,
// tags and correlation. 0 without a key.
func inputHash(s *Submission) uint32 {
	if s.Key == "" {
		return 0
	}
	n, err := hashOf(domain.IdentityFields{Context: s.Context, BypassSteps: s.BypassSteps})
	if err != nil {
		return 0 // not reached: the context has been checked
	}
	return n
}

// hashOf is never 0. An error says that the context is no JSON.
func hashOf(f domain.IdentityFields) (uint32, error) {
	key, err := domain.IdentityKey(f, time.Hour, 0)
	if err != nil {
		return 0, err
	}
	_, digits, _ := strings.Cut(key, "-")
	n, err := strconv.ParseUint(digits[:8], 16, 32)
	return max(uint32(n), 1), err
}
