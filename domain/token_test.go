package domain_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestScopesContainWhatTheyMust(t *testing.T) {
	for given, want := range map[string]string{
		"read": "read", "submit": "submit", "operate": "read operate", "admin": "read submit operate admin",
		"submit operate": "read submit operate", "": "",
	} {
		var scopes []domain.Scope
		for _, s := range strings.Fields(given) {
			scope, err := domain.ParseScope(s)
			if err != nil {
				t.Fatal(err)
			}
			scopes = append(scopes, scope)
		}
		var have []string
		for _, s := range domain.ExpandScopes(scopes) {
			have = append(have, string(s))
		}
		if got := strings.Join(have, " "); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
	for _, wrong := range []string{"", "Read", "root", "read,submit"} {
		if _, err := domain.ParseScope(wrong); err == nil {
			t.Errorf("%q is a scope", wrong)
		}
	}
}

func TestTheTextOfATokenNamesItAndMatchesIt(t *testing.T) {
	for _, name := range []string{"ci", "a_b", "x.y-z", "A", strings.Repeat("n", domain.MaxTokenName)} {
		token := domain.Token{Name: name}
		text := token.SetSecret(bytes.Repeat([]byte{0xfe}, domain.TokenSecretBytes))
		got, secret, ok := domain.SplitToken(text)
		if !ok || got != name || !token.Matches(secret) {
			t.Errorf("%s: name %q, ok %t, matches %t", text, got, ok, token.Matches(secret))
		}
		if strings.Contains(token.Hash, secret) || token.Hash == "" {
			t.Errorf("what is kept is %s", token.Hash)
		}
		for _, wrong := range []string{"", secret[1:], secret + "a", strings.ToUpper(secret), strings.Repeat("a", len(secret)), token.Hash} {
			if token.Matches(wrong) {
				t.Errorf("%q is taken for the secret", wrong)
			}
		}
	}
	if none := (domain.Token{}); none.Matches("") {
		t.Error("a token without a secret is matched by none")
	}
}

func TestWhatIsNoTokenIsNotLookedUp(t *testing.T) {
	token := domain.Token{Name: "ci"}
	text := token.SetSecret(make([]byte, domain.TokenSecretBytes))
	for _, wrong := range []string{
		"", "tsk_", "tsk__", "tsk_ci", "tsk_ci_", text[:len(text)-1], text + "a", strings.Replace(text, "tsk_", "ghp_", 1),
		strings.Replace(text, "_ci_", "__", 1), strings.Replace(text, "_ci_", "_a>*_", 1), strings.Replace(text, "ci", strings.Repeat("n", 65), 1),
		strings.Repeat("x", 1<<20), "Bearer " + text,
	} {
		if _, _, ok := domain.SplitToken(wrong); ok {
			t.Errorf("%.90q passes for a token", wrong)
		}
	}
}

func TestATokenIsLiveUntilItExpiresOrIsRevoked(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before, after := now.Add(-time.Second), now.Add(time.Second)
	for name, c := range map[string]struct {
		token domain.Token
		live  bool
	}{
		"for ever":      {domain.Token{}, true},
		"until later":   {domain.Token{Expires: &after}, true},
		"until now":     {domain.Token{Expires: &now}, false},
		"until earlier": {domain.Token{Expires: &before}, false},
		"revoked":       {domain.Token{Expires: &after, Revoked: &before}, false},
	} {
		if c.token.Live(now) != c.live {
			t.Errorf("%s: live is %t", name, !c.live)
		}
	}
}

func TestOnlyTheRecordOfATokenIsReadAsOne(t *testing.T) {
	token := domain.Token{Name: "ci", Scopes: []domain.Scope{domain.ScopeRead}, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	token.SetSecret(make([]byte, domain.TokenSecretBytes))
	record, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := domain.ReadToken("ci", record); err != nil || got.Hash != token.Hash || !slices.Equal(got.Scopes, token.Scopes) {
		t.Fatalf("%+v %v", got, err)
	}
	with := func(change func(*domain.Token)) string {
		other := token
		change(&other)
		text, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, wrong := range map[string]string{
		"nothing": "", "no JSON": "commit", "no object": "[]", "null": "null", "another's": with(func(t *domain.Token) { t.Name = "root" }),
		"no hash": with(func(t *domain.Token) { t.Hash = "" }), "no scope": with(func(t *domain.Token) { t.Scopes = nil }),
		"an unknown scope":   with(func(t *domain.Token) { t.Scopes = []domain.Scope{"root"} }),
		"an empty namespace": with(func(t *domain.Token) { t.Namespaces = []string{""} }),
		"unknown fields":     strings.Replace(string(record), "{", `{"type":"io.nats.jetstream.api.v1.x",`, 1),
		"two of them":        string(record) + string(record),
		"a large one":        with(func(t *domain.Token) { t.CreatedBy = strings.Repeat("x", 20<<10) }),
	} {
		if _, err := domain.ReadToken("ci", []byte(wrong)); err == nil {
			t.Errorf("%s is read as a token", name)
		}
	}
}

func FuzzReadToken(f *testing.F) {
	f.Add("ci", []byte(`{"name":"ci","scopes":["read"],"created":"2026-01-02T03:04:05Z","hash":"sha256-`+strings.Repeat("0", 64)+`"}`))
	f.Fuzz(func(t *testing.T, name string, record []byte) {
		token, err := domain.ReadToken(name, record)
		if err != nil {
			return
		}
		if err := token.Check(); err != nil || token.Name != name {
			t.Errorf("%q was read, and is wrong: %v", record, err)
		}
		again, err := json.Marshal(token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := domain.ReadToken(name, again); err != nil && len(again) < 16<<10 {
			t.Errorf("%q was written as %q: %v", record, again, err)
		}
	})
}
