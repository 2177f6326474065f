package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/httpapi"
	"github.com/tasker-go/tasker/httpapi/auth"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counted is a source that counts looks, and can be away.
type counted struct {
	auth.Source
	looks atomic.Int32
	away  atomic.Pointer[error]
}

func (c *counted) Token(ctx context.Context, name string) (tasker.Token, error) {
	c.looks.Add(1)
	if err := c.away.Load(); err != nil {
		return tasker.Token{}, *err
	}
	return c.Source.Token(ctx, name)
}

type desk struct {
	*tasker.Client
	source *counted
	tokens *auth.Tokens
	log    bytes.Buffer
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	d := &desk{Client: client, source: &counted{Source: client}}
	d.tokens = auth.NewTokens(d.source, auth.TokensOptions{Logger: slog.New(slog.NewTextHandler(&d.log, nil))})
	return d
}

func (d *desk) create(t *testing.T, spec tasker.TokenSpec) string {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "ci"
	}
	if spec.Scopes == nil {
		spec.Scopes = []tasker.Scope{tasker.ScopeRead}
	}
	text, _, err := d.CreateToken(t.Context(), spec, "ann")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func with(authorization ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/tasks", nil)
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	return r
}

func bearer(text string) *http.Request { return with("Bearer " + text) }

func TestATokenSaysWhoCallsAndWhatHeMayDo(t *testing.T) {
	d := newDesk(t)
	text := d.create(t, tasker.TokenSpec{Name: "night-shift", Scopes: []tasker.Scope{tasker.ScopeOperate}, Namespaces: []string{"shop"}})
	for _, r := range []*http.Request{bearer(text), with("bearer  " + text + " ")} {
		who, err := d.tokens.Authenticate(r)
		if err != nil || who.Name != "night-shift" || who.Kind != httpapi.AuthToken ||
			!slices.Equal(who.Scopes, []httpapi.Scope{httpapi.ScopeRead, httpapi.ScopeOperate}) || !slices.Equal(who.Namespaces, []string{"shop"}) {
			t.Errorf("%+v %v", who, err)
		}
	}
}

func TestWhatIsNoTokenIsRefusedWithoutALookAndWithoutBeingRepeated(t *testing.T) {
	d := newDesk(t)
	text := d.create(t, tasker.TokenSpec{})
	for name, r := range map[string]*http.Request{
		"nothing": with(), "two": with("Bearer "+text, "Bearer "+text), "basic": with("Basic " + text), "no scheme": with(text),
		"empty": with("Bearer "), "a prefix": bearer("tsk_"), "half a token": bearer(text[:40]), "garbage": bearer("x.y.z"),
		"huge": bearer(text + strings.Repeat("a", 20<<10)), "long": bearer(strings.Replace(text, "ci", strings.Repeat("c", 70), 1)),
		"hostile": bearer(strings.Replace(text, "ci", "../a*>", 1)), "NUL": bearer(text + "\x00"),
	} {
		who, err := d.tokens.Authenticate(r)
		if !errors.Is(err, httpapi.ErrUnauthorized) || who.Name != "" {
			t.Errorf("%s: %+v %v", name, who, err)
		}
		if err != nil && strings.Contains(err.Error(), text[len(text)-20:]) {
			t.Errorf("%s: the answer repeats it: %v", name, err)
		}
	}
	if n := d.source.looks.Load(); n != 0 {
		t.Errorf("%d looks at the store", n)
	}
}

func TestAWrongSecretAndAnUnknownNameLookTheSameAndAreLoggedWithoutTheSecret(t *testing.T) {
	d := newDesk(t)
	text := d.create(t, tasker.TokenSpec{})
	secret := text[strings.LastIndexByte(text, '_')+1:]
	wrong := strings.Repeat("a", len(secret))
	_, first := d.tokens.Authenticate(bearer("tsk_ci_" + wrong))
	_, second := d.tokens.Authenticate(bearer("tsk_nobody_" + wrong))
	if first == nil || second == nil || first.Error() != second.Error() || !errors.Is(first, httpapi.ErrUnauthorized) {
		t.Errorf("a wrong secret: %v\nan unknown name: %v", first, second)
	}
	for range 50 {
		if _, err := d.tokens.Authenticate(bearer("tsk_ci_" + wrong)); err == nil {
			t.Fatal("it got in")
		}
	}
	if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
		t.Errorf("the right one afterwards: %v", err)
	}
	log := d.log.String()
	if strings.Contains(log, wrong) || strings.Contains(log, secret) || !strings.Contains(log, "token=ci") {
		t.Errorf("the log says\n%s", log)
	}
	if n := strings.Count(log, "\n"); n > 8 {
		t.Errorf("50 refusals are %d lines", n)
	}
}

func TestARevokedTokenStopsWithinTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		text := d.create(t, tasker.TokenSpec{})
		if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.RevokeToken(t.Context(), "ci", "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(auth.DefaultTTL)
		if _, err := d.tokens.Authenticate(bearer(text)); !errors.Is(err, httpapi.ErrUnauthorized) || !strings.Contains(err.Error(), "was revoked at") {
			t.Errorf("%v", err)
		}
		_, err := d.tokens.Authenticate(bearer(text[:len(text)-1] + "a"))
		if text[len(text)-1] != 'a' && (err == nil || strings.Contains(err.Error(), "revoked at")) {
			t.Errorf("who does not have the secret is told: %v", err)
		}
	})
}

func TestATokenExpiresToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		text := d.create(t, tasker.TokenSpec{Expires: time.Now().Add(time.Second)})
		if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // less than the TTL: what is remembered expires, too
		if _, err := d.tokens.Authenticate(bearer(text)); !errors.Is(err, httpapi.ErrUnauthorized) || !strings.Contains(err.Error(), "expired at") {
			t.Errorf("%v", err)
		}
	})
}

func TestANewTokenIsKnownWithinTheTTLAlthoughItsNameWasNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		if _, err := d.tokens.Authenticate(bearer("tsk_ci_" + strings.Repeat("a", 52))); err == nil {
			t.Fatal("it got in")
		}
		text := d.create(t, tasker.TokenSpec{})
		time.Sleep(auth.DefaultTTL)
		if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
			t.Error(err)
		}
	})
}

func TestRequestsCostNoLooksAndWrongOnesFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		text, other := d.create(t, tasker.TokenSpec{}), d.create(t, tasker.TokenSpec{Name: "other"})
		if n, err := d.tokens.Warm(t.Context()); err != nil || n != 2 {
			t.Fatalf("%d tokens, %v", n, err)
		}
		for range 1000 {
			if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.source.looks.Load(); n != 0 {
			t.Errorf("%d looks for a token that is known", n)
		}
		busy := 0
		for i := range 5000 {
			_, err := d.tokens.Authenticate(bearer(fmt.Sprintf("tsk_x%d_%s", i, strings.Repeat("a", 52))))
			if err == nil {
				t.Fatal("it got in")
			}
			if !errors.Is(err, httpapi.ErrUnauthorized) {
				busy++
			}
		}
		if n := d.source.looks.Load(); n > 100 || busy < 4900 {
			t.Errorf("%d looks for 5000 unknown names, %d refused unseen", n, busy)
		}
		time.Sleep(auth.DefaultTTL) // what is known is looked up again all the same
		for _, text := range []string{text, other} {
			if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestManyRequestsWithOneTokenAreOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		text := d.create(t, tasker.TokenSpec{})
		if _, err := d.tokens.Warm(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(auth.DefaultTTL)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := d.source.looks.Load(); n != 1 {
			t.Errorf("%d looks", n)
		}
	})
}

func TestWhileTheLogIsAwayKnownTokensGoOnForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		text := d.create(t, tasker.TokenSpec{})
		if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
			t.Fatal(err)
		}
		away := tasker.ErrUnavailable
		d.source.away.Store(&away)
		time.Sleep(auth.DefaultTTL)
		before := d.source.looks.Load()
		for range 100 {
			if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.source.looks.Load() - before; n != 1 {
			t.Errorf("%d looks at a store that is away", n)
		}
		if _, err := d.tokens.Authenticate(bearer("tsk_new_" + strings.Repeat("a", 52))); !errors.Is(err, tasker.ErrUnavailable) || errors.Is(err, httpapi.ErrUnauthorized) {
			t.Errorf("one that was never seen: %v", err)
		}
		time.Sleep(auth.StaleFor)
		if _, err := d.tokens.Authenticate(bearer(text)); !errors.Is(err, tasker.ErrUnavailable) || errors.Is(err, httpapi.ErrUnauthorized) {
			t.Errorf("after a minute: %v", err)
		}
		d.source.away.Store(nil)
		time.Sleep(time.Second)
		if _, err := d.tokens.Authenticate(bearer(text)); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

func TestARecordThatIsNoTokenLetsNobodyIn(t *testing.T) {
	store := memlog.New(memlog.Options{})
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	token := domain.Token{Name: "ci", Scopes: []domain.Scope{domain.ScopeAdmin}}
	text := token.SetSecret(make([]byte, domain.TokenSecretBytes))
	if _, err := store.Tokens().Put(t.Context(), "ci", []byte(`{"name":"ci","scopes":["admin"],"hash":"`+token.Hash+`","x":1}`), 0); err != nil {
		t.Fatal(err)
	}
	if who, err := auth.NewTokens(client, auth.TokensOptions{}).Authenticate(bearer(text)); err == nil {
		t.Errorf("it is %+v", who)
	}
}
