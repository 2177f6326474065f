package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/httpapi"
)

// Limits of Tokens.
const (
	// DefaultTTL is how long a token is remembered before it is looked up again: so long a revoked one may go on.
	DefaultTTL = 2 * time.Second
	// StaleFor is how long a token that was known goes on while the log cannot be reached.
	StaleFor = time.Minute

	readTimeout  = 5 * time.Second // for one look
	readAgain    = time.Second     // after one that failed
	unknownReads = 20              // looks a second for names that nobody had before, in all
	unknownBurst = 100
	maxUnknown   = 1024 // names that are remembered to be nobody's
	maxKnown     = 2 * tasker.MaxTokens
)

// errBusy is for a caller whose token nobody has seen before, while too many others send such.
var errBusy = errors.New("too many unknown tokens come in; new ones are looked up again in a second")

// errNoToken has the same text for a wrong secret and for an unknown name.
var errNoToken = errors.New("the token is not known here, or was revoked")

// Source is where tokens are kept: *tasker.Engine and *tasker.Client.
type Source interface {
	Token(ctx context.Context, name string) (tasker.Token, error)
	Tokens(ctx context.Context) ([]tasker.Token, error)
}

// TokensOptions of Tokens. The zero value is useful.
type TokensOptions struct {
	TTL    time.Duration    // default DefaultTTL
	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default slog.Default()
}

// Tokens authenticates by the access tokens of a log. It remembers them for a moment, so a request costs no read, and one with
// a wrong secret never does; names that it has not seen before are looked up so many times a second in all. Its methods may be
// called from any goroutine.
type Tokens struct {
	source  Source
	opts    TokensOptions
	unknown *rate.Limiter
	refused *refusals

	mu     sync.Mutex
	known  map[string]*held
	nobody map[string]time.Time // names without a token, and when that was seen
}

// held is a token that was read.
type held struct {
	token   tasker.Token
	read    time.Time     // when it was known to be so
	reading chan struct{} // closed when the look that runs has ended; nil: none runs
	failed  time.Time     // when the last look failed
	err     error         // of that look
}

// NewTokens makes an authenticator on a source.
func NewTokens(source Source, o TokensOptions) *Tokens {
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Tokens{
		source: source, opts: o, unknown: rate.NewLimiter(unknownReads, unknownBurst), refused: newRefusals(o.Logger, o.Clock),
		known: map[string]*held{}, nobody: map[string]time.Time{},
	}
}

// Warm learns all tokens at once, so that none of them is unknown when many wrong ones come in. It returns how many may be used.
func (a *Tokens) Warm(ctx context.Context) (int, error) {
	tokens, err := a.source.Tokens(ctx)
	now, live := a.opts.Clock(), 0
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range tokens {
		if t.Live(now) {
			live++
		}
		a.keep(t.Name, &held{token: t, read: now})
	}
	return live, err
}

// Authenticate implements httpapi.Authenticator.
func (a *Tokens) Authenticate(r *http.Request) (httpapi.Identity, error) {
	text, err := bearer(r)
	if err != nil {
		return httpapi.Identity{}, err
	}
	name, secret, ok := domain.SplitToken(text)
	if !ok {
		err := refusal("what was sent is no token of Tasker, which begins with tsk_")
		a.refused.tell(r, err)
		return httpapi.Identity{}, err
	}
	token, err := a.lookup(r.Context(), name)
	if err == nil {
		err = a.check(&token, secret)
	} else if errors.Is(err, tasker.ErrTokenNotFound) {
		err = refusal("%w", errNoToken)
	}
	if errors.Is(err, httpapi.ErrUnauthorized) {
		a.refused.tell(r, err, "token", name)
	}
	if err != nil {
		return httpapi.Identity{}, err
	}
	return httpapi.Identity{Name: token.Name, Scopes: scopes(token.Scopes), Namespaces: token.Namespaces, Kind: httpapi.AuthToken}, nil
}

// check compares the secret first: only who has it is told more.
func (a *Tokens) check(t *tasker.Token, secret string) error {
	switch {
	case !t.Matches(secret):
		return refusal("%w", errNoToken)
	case t.Revoked != nil:
		return refusal("token %s was revoked at %s", t.Name, t.Revoked.Format(time.RFC3339))
	case !t.Live(a.opts.Clock()):
		return refusal("token %s expired at %s", t.Name, t.Expires.Format(time.RFC3339))
	}
	return nil
}

// lookup returns a token as it was at most the TTL ago, or while the log is away at most StaleFor.
func (a *Tokens) lookup(ctx context.Context, name string) (tasker.Token, error) {
	for {
		a.mu.Lock()
		now := a.opts.Clock()
		h := a.known[name]
		if h != nil && now.Sub(h.read) < a.opts.TTL {
			a.mu.Unlock()
			return h.token, nil
		}
		if h != nil && h.err != nil && now.Sub(h.failed) < readAgain {
			defer a.mu.Unlock()
			return h.stale(now)
		}
		if at, ok := a.nobody[name]; h == nil && ok && now.Sub(at) < a.opts.TTL {
			a.mu.Unlock()
			return tasker.Token{}, tasker.ErrTokenNotFound
		}
		if h == nil {
			allowed := a.unknown.AllowN(now, 1)
			a.mu.Unlock()
			if !allowed {
				return tasker.Token{}, &noAnswer{errBusy, errBusy.Error()}
			}
			return a.read(ctx, name, nil)
		}
		if h.reading == nil {
			h.reading = make(chan struct{})
			a.mu.Unlock()
			return a.read(ctx, name, h)
		}
		running := h.reading
		a.mu.Unlock()
		select {
		case <-running: // and look at what it found
		case <-ctx.Done():
			return tasker.Token{}, ctx.Err()
		}
	}
}

// read asks the source. h is what was known before, which this call alone reads anew; nil for nothing.
func (a *Tokens) read(ctx context.Context, name string, h *held) (tasker.Token, error) {
	// What others wait for must not end with the request of one of them.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	token, err := a.source.Token(ctx, name)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.opts.Clock()
	if h != nil {
		close(h.reading)
		h.reading = nil
	}
	switch {
	case err == nil:
		a.keep(name, &held{token: token, read: now})
	case errors.Is(err, tasker.ErrTokenNotFound):
		delete(a.known, name)
		a.forget(now)
		a.nobody[name] = now
	case h != nil:
		h.failed, h.err = now, err
		a.opts.Logger.Warn("an access token cannot be looked up, and goes on as it was for a minute", "token", name, "known", h.read, "error", err)
		return h.stale(now)
	default:
		return token, unreadable(err)
	}
	return token, err
}

// stale is what counts while the log cannot be reached.
func (h *held) stale(now time.Time) (tasker.Token, error) {
	if now.Sub(h.read) < StaleFor {
		return h.token, nil
	}
	return tasker.Token{}, unreadable(h.err)
}

func unreadable(err error) error {
	return &noAnswer{fmt.Errorf("looking up an access token: %w", err), "the server cannot reach its log, where tokens are kept"}
}

// keep is called with mu held.
func (a *Tokens) keep(name string, h *held) {
	for other, o := range a.known {
		if len(a.known) < maxKnown {
			break
		}
		if o.reading == nil {
			delete(a.known, other) // any: it is read again when it comes
		}
	}
	delete(a.nobody, name)
	a.known[name] = h
}

// forget makes room for one more name without a token. It is called with mu held.
func (a *Tokens) forget(now time.Time) {
	if len(a.nobody) < maxUnknown {
		return
	}
	for name, at := range a.nobody {
		if now.Sub(at) >= a.opts.TTL {
			delete(a.nobody, name)
		}
	}
	for name := range a.nobody {
		if len(a.nobody) < maxUnknown {
			return
		}
		delete(a.nobody, name)
	}
}

func scopes(given []tasker.Scope) []httpapi.Scope {
	var list []httpapi.Scope
	for _, s := range domain.ExpandScopes(given) {
		list = append(list, httpapi.Scope(s))
	}
	return list
}
