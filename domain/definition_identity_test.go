package domain_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

func keyOf(t testing.TB, f domain.IdentityFields, window time.Duration, at domain.Instant) string {
	t.Helper()
	key, err := domain.IdentityKey(f, window, at)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var (
	identityAt     = domain.InstantOf(time.Date(2026, 1, 31, 8, 0, 59, 999_999_000, time.UTC))
	identityFields = domain.IdentityFields{
		Namespace: "shop", Name: "order", Initiator: "ann", SourceSystem: "web", Reason: "a click", BypassSteps: []string{"gift", "audit"},
		Context: json.RawMessage(`{"cart":[{"sku":"a","price":19.90,"n":2}],"note":"<ü>","gift":null,"express":false}`),
	}
)

// The keys of a release must be those of the one before: a client that tries again after an update means the same task.
func TestIdentityKeysNeverChange(t *testing.T) {
	for name, tt := range map[string]struct {
		f      domain.IdentityFields
		window time.Duration
		want   string
	}{
		"everything":     {identityFields, time.Minute, "identity-c8af63a765103f49febbc003c9ef2188f4204df1a9ac2b9471c1a82af2b29570"},
		"another window": {identityFields, time.Hour, "identity-ac61130cd11ff36d80af9f487c0beea779e4bd126a26bd1326d256b3b35be272"},
		"nothing":        {domain.IdentityFields{Namespace: "default", Name: "n"}, time.Minute, "identity-15bcc88d98215d93026c61c66f727d83d8b282cb237dbeace2abf7574f8ae52b"},
	} {
		if got := keyOf(t, tt.f, tt.window, identityAt); got != tt.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestIdentityDependsOnEveryField(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(f *domain.IdentityFields){
		"nothing":                    func(*domain.IdentityFields) {},
		"namespace":                  func(f *domain.IdentityFields) { f.Namespace = "shop2" },
		"name":                       func(f *domain.IdentityFields) { f.Name = "order2" },
		"initiator":                  func(f *domain.IdentityFields) { f.Initiator = "bob" },
		"source_system":              func(f *domain.IdentityFields) { f.SourceSystem = "app" },
		"reason":                     func(f *domain.IdentityFields) { f.Reason = "two clicks" },
		"no bypass":                  func(f *domain.IdentityFields) { f.BypassSteps = nil },
		"another bypass":             func(f *domain.IdentityFields) { f.BypassSteps = []string{"gift"} },
		"a comma in a bypass":        func(f *domain.IdentityFields) { f.BypassSteps = []string{"audit,gift"} },
		"a letter moved to the next": func(f *domain.IdentityFields) { f.Initiator, f.SourceSystem = "annw", "eb" },
		"a number":                   func(f *domain.IdentityFields) { f.Context = json.RawMessage(`{"n":1}`) },
		"the number as text":         func(f *domain.IdentityFields) { f.Context = json.RawMessage(`{"n":"1"}`) },
		"a number that differs at the end": func(f *domain.IdentityFields) {
			f.Context = json.RawMessage(`{"n":1.00000000000000000000000000001}`)
		},
		"a null":        func(f *domain.IdentityFields) { f.Context = json.RawMessage(`{"n":null}`) },
		"an empty list": func(f *domain.IdentityFields) { f.Context = json.RawMessage(`{"n":[]}`) },
		"a list":        func(f *domain.IdentityFields) { f.Context = json.RawMessage(`{"n":[1,[2,3]]}`) },
		"another list":  func(f *domain.IdentityFields) { f.Context = json.RawMessage(`{"n":[[1,2],3]}`) },
		"no context":    func(f *domain.IdentityFields) { f.Context = nil },
	} {
		f := identityFields
		change(&f)
		key := keyOf(t, f, time.Minute, identityAt)
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q have the same key", name, other)
		}
		seen[key] = name
	}
}

func TestIdentityOfEqualContextsIsEqual(t *testing.T) {
	for _, group := range [][]string{
		{`{"a":1,"b":[true,{"c":"é","d":null}]}`, "{ \"b\" : [ true , {\"d\":null,\"c\":\"\\u00e9\"} ],\n\"a\":1.0}", `{"b":[true,{"c":"x","d":null,"c":"é"}],"a":10e-1}`},
		{``, ` `, `{}`, `{ }`},
		{`0`, `-0`, `0.00`, `-0e7`, `0E+9`},
		{`1500`, `1.5e3`, `15E+2`, `1500.0`, `0.0015e6`, `150000e-2`},
		{`-0.25`, `-25e-2`, `-0.2500`, `-2.5E-1`},
		{`"</"`, `"\u003c\/"`},
	} {
		want := ""
		for i, text := range group {
			key := keyOf(t, domain.IdentityFields{Name: "n", Context: json.RawMessage(text)}, time.Minute, identityAt)
			if i == 0 {
				want = key
			} else if key != want {
				t.Errorf("%s and %s have different keys", group[0], text)
			}
		}
	}
	f := identityFields
	f.BypassSteps = []string{"audit", "gift", "audit"}
	if keyOf(t, f, time.Minute, identityAt) != keyOf(t, identityFields, time.Minute, identityAt) {
		t.Error("the order of bypass_steps makes a difference")
	}
	if identityFields.BypassSteps[0] != "gift" {
		t.Error("the caller's list was sorted")
	}
}

func TestIdentityChangesWithTheWindow(t *testing.T) {
	date := func(text string) domain.Instant {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return domain.InstantOf(at)
	}
	for _, tt := range []struct {
		window time.Duration
		a, b   string
		same   bool
	}{
		{time.Minute, "2026-01-31T08:00:00Z", "2026-01-31T08:00:59.999999Z", true},
		{time.Minute, "2026-01-31T08:00:59.999999Z", "2026-01-31T08:01:00Z", false},
		{24 * time.Hour, "2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999999Z", true},
		{24 * time.Hour, "2026-01-31T23:59:59.999999Z", "2026-02-01T00:00:00Z", false},
		{7 * time.Second, "1970-01-01T00:00:07Z", "1970-01-01T00:00:13.999999Z", true},
		{7 * time.Second, "1970-01-01T00:00:06.999999Z", "1970-01-01T00:00:07Z", false},
		{time.Millisecond, "9999-12-31T23:59:59.998Z", "9999-12-31T23:59:59.998999Z", true},
		{time.Millisecond, "9999-12-31T23:59:59.998999Z", "9999-12-31T23:59:59.999Z", false},
		{1500 * time.Nanosecond, "1970-01-01T00:00:00.000003Z", "1970-01-01T00:00:00.000004Z", true},
		{1500 * time.Nanosecond, "1970-01-01T00:00:00.000002Z", "1970-01-01T00:00:00.000003Z", false},
	} {
		same := keyOf(t, identityFields, tt.window, date(tt.a)) == keyOf(t, identityFields, tt.window, date(tt.b))
		if same != tt.same {
			t.Errorf("window %s, %s and %s: same %t", tt.window, tt.a, tt.b, same)
		}
	}
	if keyOf(t, identityFields, time.Minute, 0) == keyOf(t, identityFields, time.Hour, 0) {
		t.Error("windows that begin together but are not equally long have the same key")
	}
}

func TestIdentityOfWhatIsNotJSONIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":}`: "identity of shop.order: context: not valid JSON: line 1, column 6", "{} {}": "line 1, column 4",
		"\"\xff\"": "not UTF-8", strings.Repeat("[", 20_000): "exceeded max depth",
	} {
		_, err := domain.IdentityKey(domain.IdentityFields{Namespace: "shop", Name: "order", Context: json.RawMessage(text)}, time.Minute, 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
	for _, window := range []time.Duration{0, -time.Second} {
		if _, err := domain.IdentityKey(identityFields, window, 1); err == nil {
			t.Errorf("a window of %s is accepted", window)
		}
	}
}

// Two numbers have the same key exactly when they are the same number.
func TestIdentityComparesNumbersExactly(t *testing.T) {
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := number.Draw(rt, "a"), number.Draw(rt, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		keys := [2]string{}
		for i, text := range []string{a, b} {
			keys[i] = keyOf(t, domain.IdentityFields{Context: json.RawMessage(text)}, time.Minute, 0)
		}
		if (x.Cmp(y) == 0) != (keys[0] == keys[1]) {
			rt.Fatalf("%s and %s", a, b)
		}
	})
}
