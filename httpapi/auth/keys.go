package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Settings of the provider's keys.
const (
	keysMaxAge    = time.Hour        // then they are fetched again, so that one that was withdrawn ends
	keysAgain     = 10 * time.Second // between two fetches because of an unknown key: anybody can name one
	keysAfterFail = 2 * time.Second  // after a fetch that failed
	maxKeys       = 1 << 20          // bytes of an answer of the provider
)

// unreachableKey is of the value in a context that takes what is wrong with the provider.
type unreachableKey struct{}

// keySet holds the keys of a provider. It implements oidc.KeySet with the library's own, which fetches keys whenever a token
// names one that it does not have, and never gives one up: this one asks at most so often, and forgets after an hour. While the
// provider is away what is known goes on.
type keySet struct {
	url    string
	client *http.Client
	door   *seldom
	clock  func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	current *oidc.RemoteKeySet
	since   time.Time
}

func newKeySet(url string, client *http.Client, clock func() time.Time, logger *slog.Logger) *keySet {
	own := *client
	door := &seldom{to: client.Transport, clock: clock}
	own.Transport = door
	k := &keySet{url: url, client: &own, door: door, clock: clock, logger: logger, since: clock()}
	k.current = k.fresh()
	return k
}

func (k *keySet) fresh() *oidc.RemoteKeySet {
	return oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), k.client), k.url)
}

// VerifySignature implements oidc.KeySet.
func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	k.mu.Lock()
	old := k.clock().Sub(k.since) >= keysMaxAge
	set := k.current
	if old {
		k.since = k.clock() // this call renews them, once
	}
	k.mu.Unlock()
	if old {
		next := k.fresh()
		payload, err := k.verify(ctx, next, jwt)
		if !isUnreachable(err) {
			k.mu.Lock()
			k.current = next
			k.mu.Unlock()
			return payload, err
		}
		k.logger.Warn("the keys of the OIDC provider cannot be renewed, and go on", "error", err)
		k.mu.Lock()
		k.since = k.clock().Add(keysAgain - keysMaxAge)
		k.mu.Unlock()
	}
	payload, err := k.verify(ctx, set, jwt)
	if isUnreachable(err) {
		if out, ok := ctx.Value(unreachableKey{}).(*error); ok {
			*out = fmt.Errorf("the keys of the OIDC provider cannot be fetched: %w", err)
		}
	}
	return payload, err
}

// verify refuses a token only after it has looked at the provider's keys itself. The library lets a call share the fetch of one
// before it for a moment after that has ended, with keys of then, or its error.
func (k *keySet) verify(ctx context.Context, set *oidc.RemoteKeySet, jwt string) ([]byte, error) {
	const tries = 100 // a moment: what is wrong for another reason is not asked for for ever
	for try := 1; ; try++ {
		before := k.door.asked.Load()
		payload, err := set.VerifySignature(ctx, jwt)
		if err == nil || k.door.asked.Load() != before || try == tries {
			return payload, err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// unreachable is an error of the provider, not of a token.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }

func (u *unreachable) Unwrap() error { return u.err }

func isUnreachable(err error) bool {
	var u *unreachable
	return errors.As(err, &u) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// seldom fetches one URL at most every keysAgain, and answers the same in between.
type seldom struct {
	to    http.RoundTripper
	clock func() time.Time
	asked atomic.Int64 // by the library

	mu   sync.Mutex
	at   time.Time
	body []byte
	err  error
}

// RoundTrip implements http.RoundTripper. Every error is an *unreachable, and every answer a 200 with JSON.
func (s *seldom) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	again := keysAgain
	if s.err != nil {
		again = keysAfterFail
	}
	if s.at.IsZero() || now.Sub(s.at) >= again {
		s.at = now
		s.body, s.err = s.fetch(r)
	}
	if s.err != nil {
		return nil, &unreachable{s.err}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: body(s.body), ContentLength: int64(len(s.body)),
	}, nil
}

func (s *seldom) fetch(r *http.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), discoveryTimeout)
	defer cancel()
	to := s.to
	if to == nil {
		to = http.DefaultTransport
	}
	response, err := to.RoundTrip(r.Clone(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", r.URL, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxKeys+1))
	if err != nil {
		return nil, err
	}
	return text, checkKeys(text)
}
