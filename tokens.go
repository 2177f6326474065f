package tasker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Token is what is kept of an access token for the HTTP API: never its secret. Tokens are kept with the log, so every process
// that serves it knows them.
type Token = domain.Token

// Scope is what the holder of a token may do.
type Scope = domain.Scope

// The scopes. Admin contains all others, operate contains read; submit and operate do not contain each other.
const (
	ScopeRead    = domain.ScopeRead
	ScopeSubmit  = domain.ScopeSubmit
	ScopeOperate = domain.ScopeOperate
	ScopeAdmin   = domain.ScopeAdmin
)

// MaxTokens is how many tokens a log keeps. At the limit those that expired or were revoked make room.
const MaxTokens = 1000

// tokenTries at a record that somebody else changes at the same time.
const tokenTries = 8

var (
	// ErrTokenNotFound: there is no token of that name, or it was made room for.
	ErrTokenNotFound = errors.New("there is no token of that name")
	// ErrTokenExists: a token of that name is in use. A name that expired or was revoked can be given again.
	ErrTokenExists = errors.New("a token of that name is in use: revoke it first, or choose another name")
	// ErrTooManyTokens: MaxTokens are in use.
	ErrTooManyTokens = fmt.Errorf("%d tokens are in use: revoke those that nobody needs", MaxTokens)
)

// InvalidTokenError: a token that cannot be made as it is asked for. Nothing was stored.
type InvalidTokenError struct{ Reason error }

func (e *InvalidTokenError) Error() string { return e.Reason.Error() }

func (e *InvalidTokenError) Unwrap() error { return e.Reason }

// TokenSpec says what a new token is good for.
type TokenSpec struct {
	// Name of its holder: the actor of what it does. 1 to 64 letters, digits, "-", "_" and ".", a letter or digit first.
	Name   string
	Scopes []Scope // at least one
	// Namespaces that it may see and touch, at most 64; empty means all of them.
	Namespaces []string
	// Expires is when it ends; the zero time means never.
	Expires time.Time
}

// CreateToken makes a token and returns the text that its holder presents, tsk_<name>_<secret>: it is nowhere else, and cannot
// be asked for again. actor is stored with it. Two calls with the same name at once make one token, and one error.
//
// Errors: *InvalidTokenError, ErrTokenExists, ErrTooManyTokens, ErrUnavailable.
func (r *router) CreateToken(ctx context.Context, spec TokenSpec, actor string) (text string, token Token, err error) {
	now := r.clock().UTC().Truncate(time.Second)
	token = Token{Name: spec.Name, Scopes: sortedScopes(spec.Scopes), Created: now, CreatedBy: actor}
	token.Namespaces = slices.Compact(slices.Sorted(slices.Values(spec.Namespaces)))
	if !spec.Expires.IsZero() {
		at := spec.Expires.UTC()
		token.Expires = &at
	}
	if err := token.Check(); err != nil {
		return "", Token{}, &InvalidTokenError{err}
	}
	if !token.Live(r.clock()) {
		return "", Token{}, &InvalidTokenError{fmt.Errorf("the token would have expired at %s: choose a time to come", token.Expires.Format(time.RFC3339))}
	}
	if err := checkActor(actor); err != nil {
		return "", Token{}, &InvalidTokenError{err}
	}
	random := make([]byte, domain.TokenSecretBytes)
	_, _ = rand.Read(random) // never fails
	text = token.SetSecret(random)
	if err := r.storeToken(ctx, token); err != nil {
		return "", Token{}, err
	}
	return text, token, nil
}

// storeToken writes a new token, over one of its name that is not in use any more.
func (r *router) storeToken(ctx context.Context, token Token) error {
	if err := r.tokenRoom(ctx); err != nil {
		return err
	}
	for range tokenTries {
		old, revision, err := r.readToken(ctx, token.Name)
		switch {
		case errors.Is(err, ErrTokenNotFound):
			revision = 0
		case err != nil && revision == 0:
			return err
		case err == nil && old.Live(r.clock()):
			return fmt.Errorf("%s: %w", token.Name, ErrTokenExists)
		}
		if err = r.putToken(ctx, token, revision); err == nil || !errors.Is(err, domain.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%s: %w", token.Name, domain.ErrConflict)
}

// tokenRoom makes room for one more token.
func (r *router) tokenRoom(ctx context.Context) error {
	keys, err := r.store.Tokens().Keys(ctx)
	if err != nil || len(keys) < MaxTokens {
		return err
	}
	left := len(keys)
	for _, name := range keys {
		token, revision, err := r.readToken(ctx, name)
		if err != nil && revision == 0 && !errors.Is(err, ErrTokenNotFound) {
			return err
		}
		if err == nil && !token.Live(r.clock()) {
			if err := r.store.Tokens().Delete(ctx, name); err != nil {
				return err
			}
			left--
		}
	}
	if left >= MaxTokens {
		return ErrTooManyTokens
	}
	return nil
}

// Tokens lists all tokens by name, those that expired or were revoked as well. What is stored as one and cannot be read is
// named by the error beside the list.
func (r *router) Tokens(ctx context.Context) ([]Token, error) {
	names, err := r.store.Tokens().Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the tokens: %w", err)
	}
	tokens := make([]Token, 0, len(names))
	var broken []error
	for _, name := range names {
		token, revision, err := r.readToken(ctx, name)
		switch {
		case err == nil:
			tokens = append(tokens, token)
		case errors.Is(err, ErrTokenNotFound): // removed meanwhile
		case revision > 0:
			broken = append(broken, err)
		default:
			return nil, err
		}
	}
	return tokens, errors.Join(broken...)
}

// Token returns one token, also one that expired or was revoked. Errors: ErrTokenNotFound, ErrUnavailable.
func (r *router) Token(ctx context.Context, name string) (Token, error) {
	token, _, err := r.readToken(ctx, name)
	return token, err
}

// RevokeToken ends a token: servers refuse it within seconds. Its record stays, so that its name still says who it was. A
// second call changes nothing. What cannot be read as a token is removed. Errors: ErrTokenNotFound, ErrUnavailable.
func (r *router) RevokeToken(ctx context.Context, name, actor string) (Token, error) {
	if err := checkActor(actor); err != nil {
		return Token{}, &InvalidTokenError{err}
	}
	for range tokenTries {
		token, revision, err := r.readToken(ctx, name)
		if err != nil && revision > 0 {
			return Token{Name: name}, r.store.Tokens().Delete(ctx, name)
		}
		if err != nil || token.Revoked != nil {
			return token, err
		}
		at := r.clock().UTC().Truncate(time.Second)
		token.Revoked, token.RevokedBy = &at, actor
		if err = r.putToken(ctx, token, revision); !errors.Is(err, domain.ErrConflict) {
			return token, err
		}
	}
	return Token{}, fmt.Errorf("revoking token %s: %w", name, domain.ErrConflict)
}

// readToken returns a revision above 0 beside an error when something is stored that is no token.
func (r *router) readToken(ctx context.Context, name string) (Token, uint64, error) {
	if domain.CheckTokenName(name) != nil {
		return Token{}, 0, fmt.Errorf("%.80q: %w", name, ErrTokenNotFound)
	}
	record, revision, err := r.store.Tokens().Get(ctx, name)
	if errors.Is(err, domain.ErrNoKey) {
		return Token{}, 0, fmt.Errorf("%s: %w", name, ErrTokenNotFound)
	}
	if err != nil {
		return Token{}, 0, err
	}
	token, err := domain.ReadToken(name, record)
	return token, revision, err
}

func (r *router) putToken(ctx context.Context, token Token, revision uint64) error {
	record, err := json.Marshal(token)
	if err == nil {
		_, err = r.store.Tokens().Put(ctx, token.Name, record, revision)
	}
	return err
}

// sortedScopes are in the order of domain.Scopes; unknown ones last, for Check to name.
func sortedScopes(given []Scope) []Scope {
	rank := func(s Scope) int {
		if i := slices.Index(domain.Scopes(), s); i >= 0 {
			return i
		}
		return len(domain.Scopes())
	}
	sorted := slices.Clone(given)
	slices.SortFunc(sorted, func(a, b Scope) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(string(a), string(b))
	})
	return slices.Compact(sorted)
}
