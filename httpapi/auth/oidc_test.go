package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/httpapi"
	"github.com/tasker-go/tasker/httpapi/auth"
)

// provider is an OpenID Connect provider.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	keys    map[string]crypto.Signer
	broken  bool // every answer is a 500
	fetched atomic.Int32
	now     atomic.Int64 // seconds that the clock is ahead
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{keys: map[string]crypto.Signer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.fetched.Add(1)
		p.mu.Lock()
		set := jose.JSONWebKeySet{}
		for id, key := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Use: "sig"})
		}
		p.mu.Unlock()
		p.answer(w, set)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.rotate(t, "k1", nil)
	return p
}

func (p *provider) answer(w http.ResponseWriter, v any) {
	p.mu.Lock()
	broken := p.broken
	p.mu.Unlock()
	if broken {
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) breakDown(broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// rotate makes the key the only one; nil is the RSA key of all tests.
func (p *provider) rotate(t *testing.T, id string, key crypto.Signer) {
	t.Helper()
	if key == nil {
		key = testKey()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = map[string]crypto.Signer{id: key}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *provider) clock() time.Time {
	return time.Now().Add(time.Duration(p.now.Load()) * time.Second)
}

// claims are those of a good token, changed.
func (p *provider) claims(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.URL, "aud": "tasker", "sub": "ann", "exp": p.clock().Add(time.Hour).Unix(), "nbf": p.clock().Unix(), "scope": "openid tasker:read tasker:operate email",
	}
	for k, v := range change {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", id))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (p *provider) token(t *testing.T, change map[string]any) string {
	t.Helper()
	return sign(t, jose.RS256, testKey(), "k1", p.claims(change))
}

func (p *provider) door(t *testing.T, o auth.OIDCOptions) *auth.OIDC {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	o.Issuer, o.Audience, o.Clock, o.Client = p.URL, "tasker", p.clock, &http.Client{Transport: transport}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := auth.NewOIDC(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestASignedTokenSaysWhoCallsAndWhatHeMayDo(t *testing.T) {
	p := newProvider(t)
	for name, c := range map[string]struct {
		options auth.OIDCOptions
		claims  map[string]any
		want    httpapi.Identity
	}{
		"a text of scopes": {want: httpapi.Identity{Name: "ann", Scopes: []httpapi.Scope{"read", "operate"}}},
		"a list of scopes": {
			auth.OIDCOptions{ScopeClaim: "roles"}, map[string]any{"roles": []string{"tasker:submit", "tasker:", "tasker:root"}},
			httpapi.Identity{Name: "ann", Scopes: []httpapi.Scope{"submit"}},
		},
		"admin is all of them": {
			auth.OIDCOptions{ScopePrefix: "-"}, map[string]any{"scope": "admin"},
			httpapi.Identity{Name: "ann", Scopes: []httpapi.Scope{"read", "submit", "operate", "admin"}},
		},
		"without the prefix it means something else": {claims: map[string]any{"scope": "admin read"}, want: httpapi.Identity{Name: "ann"}},
		"no scopes":               {claims: map[string]any{"scope": nil}, want: httpapi.Identity{Name: "ann"}},
		"scopes of no known form": {claims: map[string]any{"scope": map[string]bool{"tasker:admin": true}}, want: httpapi.Identity{Name: "ann"}},
		"another name":            {auth.OIDCOptions{NameClaim: "email"}, map[string]any{"email": "ann@example.com", "scope": nil}, httpapi.Identity{Name: "ann@example.com"}},
		"namespaces": {
			auth.OIDCOptions{NamespaceClaim: "teams"}, map[string]any{"teams": []string{"shop", "eu"}, "scope": nil},
			httpapi.Identity{Name: "ann", Namespaces: []string{"shop", "eu"}},
		},
		"all namespaces":         {auth.OIDCOptions{NamespaceClaim: "teams"}, map[string]any{"teams": "shop *", "scope": nil}, httpapi.Identity{Name: "ann"}},
		"several audiences":      {claims: map[string]any{"aud": []string{"other", "tasker"}, "scope": nil}, want: httpapi.Identity{Name: "ann"}},
		"a clock that is behind": {claims: map[string]any{"nbf": p.clock().Add(30 * time.Second).Unix(), "scope": nil}, want: httpapi.Identity{Name: "ann"}},
		"a clock that is ahead":  {claims: map[string]any{"exp": p.clock().Add(-30 * time.Second).Unix(), "scope": nil}, want: httpapi.Identity{Name: "ann"}},
	} {
		who, err := p.door(t, c.options).Authenticate(bearer(p.token(t, c.claims)))
		c.want.Kind = httpapi.AuthOIDC
		if err != nil || who.Name != c.want.Name || who.Kind != c.want.Kind || !slices.Equal(who.Scopes, c.want.Scopes) || !slices.Equal(who.Namespaces, c.want.Namespaces) {
			t.Errorf("%s: %+v %v", name, who, err)
		}
	}
}

func TestHostileTokensAreRefused(t *testing.T) {
	p := newProvider(t)
	public, err := x509.MarshalPKIXPublicKey(testKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := p.token(t, nil)
	pieces := strings.Split(good, ".")
	body, err := json.Marshal(p.claims(map[string]any{"scope": "tasker:admin"}))
	if err != nil {
		t.Fatal(err)
	}
	a := p.door(t, auth.OIDCOptions{NamespaceClaim: "teams"})
	teams := func(change map[string]any) string {
		c := map[string]any{"teams": "shop"}
		for k, v := range change {
			c[k] = v
		}
		return p.token(t, c)
	}
	if _, err := a.Authenticate(bearer(teams(nil))); err != nil {
		t.Fatal(err)
	}
	many := make([]string, 65)
	for i := range many {
		many[i] = "n"
	}
	for name, text := range map[string]string{
		"alg none":                   part(`{"alg":"none","kid":"k1"}`) + "." + part(string(body)) + ".",
		"alg None with a signature":  part(`{"alg":"None","kid":"k1"}`) + "." + part(string(body)) + "." + pieces[2],
		"HS256 with the public key":  sign(t, jose.HS256, asPEM, "k1", p.claims(nil)),
		"HS256 with the bare key":    sign(t, jose.HS256, public, "k1", p.claims(nil)),
		"other claims":               pieces[0] + "." + part(string(body)) + "." + pieces[2],
		"no signature":               pieces[0] + "." + pieces[1] + ".",
		"another's key":              sign(t, jose.ES256, ecKey(t), "k1", p.claims(nil)),
		"an unknown key":             sign(t, jose.ES256, ecKey(t), "k9", p.claims(nil)),
		"a key that it brings":       part(`{"alg":"RS256","jku":"http://evil.example/keys","kid":"k1"}`) + "." + part(string(body)) + "." + pieces[2],
		"crit":                       part(`{"alg":"RS256","kid":"k1","crit":["exp"],"exp":1}`) + "." + pieces[1] + "." + pieces[2],
		"another audience":           teams(map[string]any{"aud": "billing"}),
		"no audience":                teams(map[string]any{"aud": nil}),
		"another issuer":             teams(map[string]any{"iss": "https://evil.example"}),
		"no issuer":                  teams(map[string]any{"iss": nil}),
		"expired":                    teams(map[string]any{"exp": p.clock().Add(-2 * time.Minute).Unix()}),
		"never expires":              teams(map[string]any{"exp": nil}),
		"expires null":               teams(map[string]any{"exp": json.RawMessage("null")}),
		"expires as text":            teams(map[string]any{"exp": "tomorrow"}),
		"expires at the end of time": teams(map[string]any{"exp": 1e300}),
		"not yet":                    teams(map[string]any{"nbf": p.clock().Add(2 * time.Minute).Unix()}),
		"no name":                    teams(map[string]any{"sub": nil}),
		"an empty name":              teams(map[string]any{"sub": ""}),
		"a name that is a list":      teams(map[string]any{"sub": []string{"ann"}}),
		"a long name":                teams(map[string]any{"sub": strings.Repeat("n", 257)}),
		"a name of two lines":        teams(map[string]any{"sub": "ann\nroot"}),
		"no namespaces":              p.token(t, nil),
		"empty namespaces":           teams(map[string]any{"teams": []string{"", ""}}),
		"too many namespaces":        teams(map[string]any{"teams": many}),
		"huge":                       teams(map[string]any{"x": strings.Repeat("x", 20<<10)}),
		"five parts":                 "a.b.c.d.e",
		"no parts":                   "..",
		"a token of the other kind":  "tsk_ci_" + strings.Repeat("a", 52),
		"JSON":                       `{"payload":"` + pieces[1] + `","signatures":[{"protected":"` + pieces[0] + `","signature":"` + pieces[2] + `"}]}`,
	} {
		who, err := a.Authenticate(bearer(text))
		if !errors.Is(err, httpapi.ErrUnauthorized) || who.Name != "" {
			t.Errorf("%s: %+v %v", name, who, err)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%s: the answer has %d bytes", name, len(err.Error()))
		}
	}
}

func TestARotatedKeyIsFoundAndTheOldOneEnds(t *testing.T) {
	p := newProvider(t)
	a := p.door(t, auth.OIDCOptions{})
	old := p.token(t, map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()})
	if _, err := a.Authenticate(bearer(old)); err != nil {
		t.Fatal(err)
	}
	next := ecKey(t)
	p.rotate(t, "k2", next)
	p.now.Add(11) // seconds: unknown keys are asked for every ten
	fresh := bearer(sign(t, jose.ES256, next, "k2", p.claims(nil)))
	if _, err := a.Authenticate(fresh); err != nil {
		t.Errorf("the new key: %v", err)
	}
	// The library puts what it fetched away a moment after it has answered.
	within(t, func() error {
		if _, err := a.Authenticate(bearer(old)); !errors.Is(err, httpapi.ErrUnauthorized) {
			return errors.Join(errors.New("a key that was taken away is still good"), err)
		}
		return nil
	})
}

func within(t *testing.T, try func() error) {
	t.Helper()
	err := try()
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); err = try() {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestAKeyThatWasTakenAwayEndsWithinTheHourWithoutAnyNewOne(t *testing.T) {
	p := newProvider(t)
	a := p.door(t, auth.OIDCOptions{})
	old := p.token(t, map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()})
	if _, err := a.Authenticate(bearer(old)); err != nil {
		t.Fatal(err)
	}
	p.rotate(t, "k2", ecKey(t))
	p.now.Add(3601)
	if _, err := a.Authenticate(bearer(old)); !errors.Is(err, httpapi.ErrUnauthorized) {
		t.Errorf("%v", err)
	}
}

func TestUnknownKeysDoNotMakeTheProviderBusy(t *testing.T) {
	p := newProvider(t)
	a := p.door(t, auth.OIDCOptions{})
	if _, err := a.Authenticate(bearer(p.token(t, nil))); err != nil {
		t.Fatal(err)
	}
	before := p.fetched.Load()
	key := ecKey(t)
	for range 100 {
		if _, err := a.Authenticate(bearer(sign(t, jose.ES256, key, "nobody's", p.claims(nil)))); !errors.Is(err, httpapi.ErrUnauthorized) {
			t.Fatal(err)
		}
	}
	if n := p.fetched.Load() - before; n > 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestWhileTheProviderIsAwayKnownKeysGoOn(t *testing.T) {
	p := newProvider(t)
	var log bytes.Buffer
	a := p.door(t, auth.OIDCOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	good := func() string { return p.token(t, nil) }
	if _, err := a.Authenticate(bearer(good())); err != nil {
		t.Fatal(err)
	}
	p.breakDown(true)
	unknown := sign(t, jose.ES256, ecKey(t), "k2", p.claims(nil))
	for _, seconds := range []int64{11, 3600, 11} {
		p.now.Add(seconds)
		if _, err := a.Authenticate(bearer(good())); err != nil {
			t.Errorf("a known key: %v", err)
		}
		_, err := a.Authenticate(bearer(unknown))
		if err == nil || errors.Is(err, httpapi.ErrUnauthorized) || !strings.Contains(err.Error(), "500 Internal Server Error") {
			t.Errorf("an unknown key: %v", err)
		}
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "provider cannot be reached") {
			t.Errorf("the caller is not told what is wrong: %v", err)
		}
	}
	if !strings.Contains(log.String(), "cannot be renewed, and go on") {
		t.Errorf("the log says\n%s", &log)
	}
	p.breakDown(false)
	p.now.Add(11)
	if _, err := a.Authenticate(bearer(unknown)); !errors.Is(err, httpapi.ErrUnauthorized) {
		t.Errorf("when it is back: %v", err)
	}
}

func TestAProviderThatComesLaterIsFound(t *testing.T) {
	p := newProvider(t)
	p.breakDown(true)
	a := p.door(t, auth.OIDCOptions{})
	if err := a.Discover(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be asked for its configuration") {
		t.Errorf("%v", err)
	}
	if _, err := a.Authenticate(bearer(p.token(t, nil))); err == nil || errors.Is(err, httpapi.ErrUnauthorized) {
		t.Errorf("%v", err)
	}
	p.breakDown(false)
	p.now.Add(6)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := a.Authenticate(bearer(p.token(t, nil))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAProviderWithoutKeysIsNotTakenForAWrongToken(t *testing.T) {
	for name, answer := range map[string]string{"no JSON": "<html>", "no keys": `{"keys":[]}`, "endless": `{"keys":["` + strings.Repeat("x", 2<<20)} {
		var url string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				_, _ = w.Write([]byte(answer))
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": url, "jwks_uri": url + "/keys"})
		}))
		url = server.URL
		p := &provider{Server: server}
		if _, err := p.door(t, auth.OIDCOptions{}).Authenticate(bearer(p.token(t, nil))); err == nil || errors.Is(err, httpapi.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}

func TestOptionsThatWouldLetStrangersInAreRefused(t *testing.T) {
	for want, o := range map[string]auth.OIDCOptions{
		"want the URL of the provider": {Issuer: "login.example.com", Audience: "tasker"},
		"want https":                   {Issuer: "http://login.example.com", Audience: "tasker"},
		"needs an audience":            {Issuer: "https://login.example.com"},
		"such as https":                {Issuer: "https://ann:secret@login.example.com", Audience: "tasker"},
	} {
		if _, err := auth.NewOIDC(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestEitherAsksTheOneWhoseTokenItIs(t *testing.T) {
	p, d := newProvider(t), newDesk(t)
	e := &auth.Either{Tokens: d.tokens, OIDC: p.door(t, auth.OIDCOptions{})}
	own := d.create(t, tasker.TokenSpec{})
	for text, want := range map[string]httpapi.AuthKind{own: httpapi.AuthToken, p.token(t, nil): httpapi.AuthOIDC} {
		if who, err := e.Authenticate(bearer(text)); err != nil || who.Kind != want {
			t.Errorf("%s: %+v %v", want, who, err)
		}
	}
	for _, r := range []*http.Request{with(), bearer("x"), with("Basic x")} {
		if _, err := e.Authenticate(r); !errors.Is(err, httpapi.ErrUnauthorized) {
			t.Errorf("%v", err)
		}
	}
}
