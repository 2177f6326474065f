package auth

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tasker-go/tasker/httpapi"
)

// maxBearer is the longest token that is looked at, in bytes. Those of providers with many groups have a few KiB.
const maxBearer = 16 << 10

// refusal wraps httpapi.ErrUnauthorized: the caller is told the text, so it never holds what he sent.
func refusal(format string, args ...any) error {
	return fmt.Errorf("%w: %w", httpapi.ErrUnauthorized, fmt.Errorf(format, args...))
}

// noAnswer is not the caller's fault: 503, with what can be said to him.
type noAnswer struct {
	err  error
	hint string
}

func (n *noAnswer) Error() string { return n.err.Error() }

func (n *noAnswer) Unwrap() error { return n.err }

// Hint is for the caller.
func (n *noAnswer) Hint() string { return n.hint }

// bearer is the token of a request.
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", refusal("the request has no token")
	case len(values) > 1:
		return "", refusal("the request has %d headers Authorization, and may have one", len(values))
	case len(values[0]) > maxBearer:
		return "", refusal("the token has more than %d bytes", maxBearer)
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", refusal("the header Authorization is not of the form: Bearer TOKEN")
	}
	return token, nil
}

// Either asks Tokens about what begins like one of theirs, and OIDC about all else.
type Either struct {
	Tokens *Tokens
	OIDC   *OIDC
}

// Authenticate implements httpapi.Authenticator.
func (e *Either) Authenticate(r *http.Request) (httpapi.Identity, error) {
	if text, err := bearer(r); err == nil && !strings.HasPrefix(text, "tsk_") {
		return e.OIDC.Authenticate(r)
	}
	return e.Tokens.Authenticate(r)
}

// refusals logs what was refused: at most a few a second, because anybody can send more.
type refusals struct {
	logger  *slog.Logger
	limiter *rate.Limiter

	mu    sync.Mutex
	swept int // refused since the last line, and not told
	clock func() time.Time
}

func newRefusals(logger *slog.Logger, clock func() time.Time) *refusals {
	return &refusals{logger: logger, limiter: rate.NewLimiter(1, 5), clock: clock}
}

// tell logs a refusal. attrs must not hold what the caller sent but for a name that is a token's.
func (l *refusals) tell(r *http.Request, err error, attrs ...any) {
	l.mu.Lock()
	if !l.limiter.AllowN(l.clock(), 1) {
		l.swept++
		l.mu.Unlock()
		return
	}
	swept := l.swept
	l.swept = 0
	l.mu.Unlock()
	attrs = append(attrs, "from", r.RemoteAddr, "error", err)
	if swept > 0 {
		attrs = append(attrs, "more", swept)
	}
	l.logger.WarnContext(r.Context(), "a caller was refused", attrs...)
}
