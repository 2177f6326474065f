package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/httpapi"
)

// Limits and defaults of OIDC.
const (
	// DefaultScopePrefix begins those values of the scope claim that are Tasker's.
	DefaultScopePrefix = "tasker:"
	// ClockSkew is how far the clock of the provider may be off.
	ClockSkew = time.Minute

	maxName          = 256 // bytes of a caller's name
	maxNamespaces    = domain.MaxTokenNamespaces
	discoverAgain    = 5 * time.Second // after a try that failed
	discoveryTimeout = 5 * time.Second
)

// algorithms are those with a private key at the provider. With HS256 the provider's public key would be a secret that
// everybody knows, and "none" is no signature.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// OIDCOptions of OIDC. Issuer and Audience are required.
type OIDCOptions struct {
	// Issuer is the URL of the provider, as it stands in the claim iss: https, or http on loopback. Its keys are found by
	// discovery.
	Issuer string
	// Audience must be among those of a token (claim aud), so that one for another service is not taken.
	Audience string
	// ScopeClaim names the claim with the scopes: a text with spaces, or a list. Default "scope".
	ScopeClaim string
	// ScopePrefix begins the values of it that are meant: "tasker:read". "-" means none. Default DefaultScopePrefix.
	ScopePrefix string
	// NamespaceClaim names the claim with the namespaces; "*" in it means all. A token without the claim is refused. Default
	// "": every token is for all namespaces.
	NamespaceClaim string
	// NameClaim names the claim with the caller's name, the actor of what it does. Default "sub", which nobody can choose for
	// himself; many providers let people change the others.
	NameClaim string

	Client *http.Client     // to the provider; default: one with a timeout of 5 s
	Clock  func() time.Time // default time.Now
	Logger *slog.Logger     // default slog.Default()
}

// OIDC authenticates by JWTs that an OpenID Connect provider signed. Its methods may be called from any goroutine.
type OIDC struct {
	opts    OIDCOptions
	refused *refusals

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil until the provider was found
	tried    time.Time
	failure  error
	trying   chan struct{} // closed when the try that runs has ended; nil: none runs
}

// NewOIDC checks the options; nothing is asked of the provider yet.
func NewOIDC(o OIDCOptions) (*OIDC, error) {
	u, err := url.Parse(o.Issuer)
	loopback := err == nil && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("OIDC issuer %q: want the URL of the provider, such as https://login.example.com/realms/ops", o.Issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback):
		return nil, fmt.Errorf("OIDC issuer %q: want https, or whoever is in between signs tokens", o.Issuer)
	case o.Audience == "":
		return nil, errors.New("OIDC needs an audience: without one every token of the provider would be taken, whatever it is for")
	}
	set := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	set(&o.ScopeClaim, "scope")
	set(&o.ScopePrefix, DefaultScopePrefix)
	set(&o.NameClaim, "sub")
	if o.ScopePrefix == "-" {
		o.ScopePrefix = ""
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: discoveryTimeout}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &OIDC{opts: o, refused: newRefusals(o.Logger, o.Clock)}, nil
}

// Discover asks the provider where its keys are, unless that is known. Authenticate does it by itself; at a start it says early
// what is wrong.
func (a *OIDC) Discover(ctx context.Context) error {
	_, err := a.find(ctx)
	return err
}

// find returns the verifier. One try runs at a time; a failed one counts for a moment.
func (a *OIDC) find(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	for {
		a.mu.Lock()
		switch {
		case a.verifier != nil:
			defer a.mu.Unlock()
			return a.verifier, nil
		case a.failure != nil && a.opts.Clock().Sub(a.tried) < discoverAgain:
			defer a.mu.Unlock()
			return nil, a.failure
		case a.trying == nil:
			a.trying = make(chan struct{})
			a.mu.Unlock()
			a.discover(ctx)
			continue
		}
		running := a.trying
		a.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (a *OIDC) discover(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discoveryTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, limited(a.opts.Client)), a.opts.Issuer)
	var found struct {
		JWKS string `json:"jwks_uri"`
	}
	if err == nil {
		err = provider.Claims(&found)
	}
	if err == nil && found.JWKS == "" {
		err = errors.New("it names no jwks_uri")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.trying)
	a.trying, a.tried, a.failure = nil, a.opts.Clock(), nil
	if err != nil {
		a.failure = fmt.Errorf("the OIDC provider %s cannot be asked for its configuration: %s", a.opts.Issuer, clean(err.Error()))
		return
	}
	keys := newKeySet(found.JWKS, limited(a.opts.Client), a.opts.Clock, a.opts.Logger)
	a.verifier = oidc.NewVerifier(a.opts.Issuer, keys, &oidc.Config{
		ClientID: a.opts.Audience, SupportedSigningAlgs: algorithms,
		SkipExpiryCheck: true, // done in times, with a tolerance that is ours
	})
}

// Authenticate implements httpapi.Authenticator.
func (a *OIDC) Authenticate(r *http.Request) (httpapi.Identity, error) {
	text, err := bearer(r)
	if err != nil {
		return httpapi.Identity{}, err
	}
	who, err := a.identify(r.Context(), text)
	if errors.Is(err, httpapi.ErrUnauthorized) {
		a.refused.tell(r, err)
	}
	return who, err
}

func (a *OIDC) identify(ctx context.Context, text string) (httpapi.Identity, error) {
	none := httpapi.Identity{}
	if strings.Count(text, ".") != 2 {
		return none, refusal("what was sent is no JWT")
	}
	const hint = "the OpenID Connect provider cannot be reached from the server, which therefore knows no key for this token"
	verifier, err := a.find(ctx)
	if err != nil {
		return none, &noAnswer{err, hint}
	}
	var unreachable error // what is wrong with the provider, which the verifier only has as text
	token, err := verifier.Verify(context.WithValue(ctx, unreachableKey{}, &unreachable), text)
	if unreachable != nil {
		return none, &noAnswer{unreachable, hint}
	}
	if err != nil {
		return none, refusal("the JWT is not valid: %s", clean(err.Error()))
	}
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return none, refusal("the JWT has claims that cannot be read")
	}
	if err := a.times(claims); err != nil {
		return none, err
	}
	return a.identity(claims)
}

// times compares the claims exp, which must be there, and nbf.
func (a *OIDC) times(claims map[string]json.RawMessage) error {
	now := a.opts.Clock()
	at := func(name string) (time.Time, bool, error) {
		raw, ok := claims[name]
		if !ok || string(raw) == "null" {
			return time.Time{}, false, nil
		}
		var seconds float64
		if json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > 1e11 {
			return time.Time{}, false, refusal("the JWT's claim %s is no time", name)
		}
		return time.Unix(int64(seconds), 0).UTC(), true, nil
	}
	expires, ok, err := at("exp")
	switch {
	case err != nil:
		return err
	case !ok:
		return refusal("the JWT never expires: it has no claim exp")
	case !now.Before(expires.Add(ClockSkew)):
		return refusal("the JWT expired at %s", expires.Format(time.RFC3339))
	}
	begins, ok, err := at("nbf")
	if err != nil {
		return err
	}
	if ok && now.Before(begins.Add(-ClockSkew)) {
		return refusal("the JWT is not valid before %s", begins.Format(time.RFC3339))
	}
	return nil
}

func (a *OIDC) identity(claims map[string]json.RawMessage) (httpapi.Identity, error) {
	who := httpapi.Identity{Kind: httpapi.AuthOIDC}
	if json.Unmarshal(claims[a.opts.NameClaim], &who.Name) != nil || !usable(who.Name) {
		return httpapi.Identity{}, refusal("the JWT's claim %s names nobody: want 1 to %d bytes of text", a.opts.NameClaim, maxName)
	}
	var given []tasker.Scope
	for _, word := range words(claims[a.opts.ScopeClaim]) {
		if rest, ok := strings.CutPrefix(word, a.opts.ScopePrefix); ok {
			if scope, err := domain.ParseScope(rest); err == nil {
				given = append(given, scope)
			}
		}
	}
	who.Scopes = scopes(given)
	if a.opts.NamespaceClaim == "" {
		return who, nil
	}
	who.Namespaces = words(claims[a.opts.NamespaceClaim])
	switch {
	case slices.Contains(who.Namespaces, "*"):
		who.Namespaces = nil
	case len(who.Namespaces) == 0: // none would mean all
		return httpapi.Identity{}, refusal("the JWT has no claim %s with the namespaces that it is for", a.opts.NamespaceClaim)
	case len(who.Namespaces) > maxNamespaces:
		return httpapi.Identity{}, refusal("the JWT's claim %s has %d namespaces; at most %d are taken", a.opts.NamespaceClaim, len(who.Namespaces), maxNamespaces)
	}
	return who, nil
}

// words are those of a claim that is a text with spaces, or a list of texts; what is neither has none.
func words(raw json.RawMessage) []string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return strings.Fields(text)
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

func usable(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl) && strings.TrimSpace(name) == name
}

// clean shortens a text of the library, which may quote what the caller sent.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.TrimPrefix(text, "oidc: "))
	const most = 200
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
