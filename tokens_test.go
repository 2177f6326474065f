package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func tokenClient(t *testing.T) (*tasker.Client, *memlog.Store) {
	t.Helper()
	store := memlog.New(memlog.Options{})
	c, err := tasker.NewClient(t.Context(), tasker.Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, store
}

func TestATokenIsMadeOnceListedAndRevoked(t *testing.T) {
	c, store := tokenClient(t)
	spec := tasker.TokenSpec{
		Name: "ci", Scopes: []tasker.Scope{tasker.ScopeOperate, tasker.ScopeRead, tasker.ScopeRead}, Namespaces: []string{"shop", "eu", "shop"},
		Expires: time.Now().Add(time.Hour),
	}
	text, token, err := c.CreateToken(t.Context(), spec, "ann")
	if err != nil {
		t.Fatal(err)
	}
	name, secret, ok := domain.SplitToken(text)
	if !ok || name != "ci" || !token.Matches(secret) || token.CreatedBy != "ann" ||
		!slices.Equal(token.Scopes, []tasker.Scope{tasker.ScopeRead, tasker.ScopeOperate}) || !slices.Equal(token.Namespaces, []string{"eu", "shop"}) {
		t.Errorf("%s: %+v", text, token)
	}
	record, _, err := store.Tokens().Get(t.Context(), "ci")
	if err != nil || strings.Contains(string(record), secret) {
		t.Errorf("what is stored is %s, %v", record, err)
	}
	again, _, err := c.CreateToken(t.Context(), spec, "bob")
	if !errors.Is(err, tasker.ErrTokenExists) || again != "" {
		t.Errorf("a second one: %q %v", again, err)
	}
	list, err := c.Tokens(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != "ci" || list[0].Revoked != nil {
		t.Errorf("%+v %v", list, err)
	}
	revoked, err := c.RevokeToken(t.Context(), "ci", "bob")
	if err != nil || revoked.Revoked == nil || revoked.RevokedBy != "bob" || revoked.Live(time.Now()) {
		t.Errorf("%+v %v", revoked, err)
	}
	if second, err := c.RevokeToken(t.Context(), "ci", "eve"); err != nil || second.RevokedBy != "bob" {
		t.Errorf("revoked again: %+v %v", second, err)
	}
	if _, err := c.RevokeToken(t.Context(), "cy", "bob"); !errors.Is(err, tasker.ErrTokenNotFound) {
		t.Errorf("another: %v", err)
	}
	next, token, err := c.CreateToken(t.Context(), spec, "ann")
	if err != nil || next == text || token.Matches(secret) {
		t.Errorf("the name is given again: %+v %v", token, err)
	}
}

func TestATokenThatMakesNoSenseIsRefused(t *testing.T) {
	c, _ := tokenClient(t)
	read := []tasker.Scope{tasker.ScopeRead}
	for want, spec := range map[string]tasker.TokenSpec{
		`"" cannot be a token's name`:            {Scopes: read},
		`"a b" cannot be a token's name`:         {Name: "a b", Scopes: read},
		`"a>" cannot be a token's name`:          {Name: "a>", Scopes: read},
		"needs at least one scope":               {Name: "a"},
		`"root" is no scope`:                     {Name: "a", Scopes: []tasker.Scope{"read", "root"}},
		`"" is no namespace`:                     {Name: "a", Scopes: read, Namespaces: []string{"x", ""}},
		"would have expired at 2020-01-01":       {Name: "a", Scopes: read, Expires: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
		"65 namespaces: a token is limited to a": {Name: "a", Scopes: read, Namespaces: names(65)},
	} {
		var invalid *tasker.InvalidTokenError
		if text, _, err := c.CreateToken(t.Context(), spec, "ann"); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) || text != "" {
			t.Errorf("%q: %q, %v", want, text, err)
		}
	}
	if _, _, err := c.CreateToken(t.Context(), tasker.TokenSpec{Name: "a", Scopes: read}, "ann\n"); err == nil {
		t.Error("an actor with a line break")
	}
	if list, err := c.Tokens(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

func names(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("n%d", i))
	}
	return list
}

func TestOfManyWhoMakeATokenOfOneNameOneGetsIt(t *testing.T) {
	c, _ := tokenClient(t)
	var wg sync.WaitGroup
	made := make(chan string, 16)
	for range cap(made) {
		wg.Go(func() {
			text, _, err := c.CreateToken(t.Context(), tasker.TokenSpec{Name: "ci", Scopes: []tasker.Scope{tasker.ScopeRead}}, "")
			if err == nil {
				made <- text
			} else if !errors.Is(err, tasker.ErrTokenExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(made) != 1 {
		t.Fatalf("%d got it", len(made))
	}
	_, secret, _ := domain.SplitToken(<-made)
	if token, err := c.Token(t.Context(), "ci"); err != nil || !token.Matches(secret) {
		t.Errorf("the one that is stored is another: %v", err)
	}
}

func TestANameIsFreeAgainWhenItsTokenExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := tokenClient(t)
		spec := tasker.TokenSpec{Name: "ci", Scopes: []tasker.Scope{tasker.ScopeRead}, Expires: time.Now().Add(time.Hour)}
		if _, _, err := c.CreateToken(t.Context(), spec, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		spec.Expires = time.Time{}
		if _, _, err := c.CreateToken(t.Context(), spec, ""); !errors.Is(err, tasker.ErrTokenExists) {
			t.Errorf("a second before: %v", err)
		}
		time.Sleep(time.Second)
		if _, _, err := c.CreateToken(t.Context(), spec, ""); err != nil {
			t.Error(err)
		}
	})
}

func TestTokensThatNobodyCanUseMakeRoom(t *testing.T) {
	c, store := tokenClient(t)
	put := func(name string, revoked *time.Time) {
		record, err := json.Marshal(tasker.Token{Name: name, Scopes: []tasker.Scope{tasker.ScopeRead}, Revoked: revoked, Hash: "sha256-" + strings.Repeat("0", 64)})
		if err == nil {
			_, err = store.Tokens().Put(t.Context(), name, record, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range tasker.MaxTokens - 1 {
		put(fmt.Sprintf("t%d", i), nil)
	}
	long := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	put("old", &long)
	spec := tasker.TokenSpec{Name: "new", Scopes: []tasker.Scope{tasker.ScopeRead}}
	if _, _, err := c.CreateToken(t.Context(), spec, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(t.Context(), "old"); !errors.Is(err, tasker.ErrTokenNotFound) {
		t.Errorf("the revoked one: %v", err)
	}
	spec.Name = "newer"
	if _, _, err := c.CreateToken(t.Context(), spec, ""); !errors.Is(err, tasker.ErrTooManyTokens) {
		t.Errorf("one too many: %v", err)
	}
}

func TestWhatIsStoredAsATokenAndIsNoneIsNamedAndCanBeRemoved(t *testing.T) {
	c, store := tokenClient(t)
	if _, err := store.Tokens().Put(t.Context(), "ci", []byte(`{"v":1,"id":"c","tasks":[]}`), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(t.Context(), "ci"); err == nil || !strings.Contains(err.Error(), `what is stored as token "ci" is none`) {
		t.Errorf("%v", err)
	}
	if _, _, err := c.CreateToken(t.Context(), tasker.TokenSpec{Name: "ok", Scopes: []tasker.Scope{tasker.ScopeRead}}, ""); err != nil {
		t.Error(err)
	}
	if list, err := c.Tokens(t.Context()); err == nil || len(list) != 1 || list[0].Name != "ok" {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if _, err := c.RevokeToken(t.Context(), "ci", ""); err != nil {
		t.Error(err)
	}
	if _, err := c.Token(t.Context(), "ci"); !errors.Is(err, tasker.ErrTokenNotFound) {
		t.Errorf("afterwards: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.CreateToken(gone, tasker.TokenSpec{Name: "x", Scopes: []tasker.Scope{tasker.ScopeRead}}, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("without a store: %v", err)
	}
}
