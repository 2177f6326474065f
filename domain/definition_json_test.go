package domain_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

var rewriteDefinitions = flag.Bool("rewrite-definitions", false, "rewrite the golden files of definitions")

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewriteDefinitions {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestEveryFieldIsReadAndWrittenBack(t *testing.T) {
	const body = `{"name":"order","namespace":"shop","version":"1.10.0","description":"buys <things>","schema":{"type":"object"},` +
		`"steps":[{"name":"cart","handler":"exec","handler_config":{"command":"echo hi"}},` +
		`{"name":"pay","description":"takes money","handler":"Payments::Charge","handler_config":{"amount":1152921504606846976,"b":[1.50,null]},` +
		`"depends_on":["cart"],"retryable":false,"retry_limit":5,"backoff":{"strategy":"exponential","base":"2s","factor":1.5,"max":"1m0s","jitter":0},` +
		`"max_retry_after":"1h0m0s","timeout":0,"skippable":true,"optional":true,"final_errors":["timeout","declined"],"dependent_system":"bank",` +
		`"custom_events":[{"name":"payment.declined","description":"the bank said no"},{"name":"payment_made"}]},` +
		`{"name":"ship","handler":"ship","backoff":{"strategy":"list","list":["1s","5s"],"jitter":0.25},"timeout":"30s","heartbeat_timeout":"5s"}],` +
		`"on_failure":"stop","deadline":"24h0m0s","output":"ship","tags":["a","b"],` +
		`"identity":{"strategy":"hash","window":"5m0s"},"custom_events":[{"name":"order.shipped"}],"index":["customer.id","express"]}`
	d, err := domain.ParseDefinition([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(body, string(d.Body())); diff != "" {
		t.Error(diff)
	}
	pay := d.Steps[1]
	want := domain.StepTemplate{
		Name: "pay", Description: "takes money", Handler: "Payments::Charge",
		HandlerConfig: json.RawMessage(`{"amount":1152921504606846976,"b":[1.50,null]}`), DependsOn: []string{"cart"},
		NotRetryable: true, RetryLimit: 5, MaxRetryAfter: time.Hour, Timeout: domain.NoTimeout, Skippable: true, Optional: true,
		Backoff: domain.Backoff{Strategy: domain.StrategyExponential, Base: 2 * time.Second, Factor: 1.5, Max: time.Minute,
			Jitter: domain.NoJitter},
		FinalErrors: []domain.ErrorKind{domain.KindTimeout, "declined"}, DependentSystem: "bank",
		CustomEvents: []domain.CustomEvent{{Name: "payment.declined", Description: "the bank said no"}, {Name: "payment_made"}},
	}
	if diff := cmp.Diff(want, pay); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"customer.id", "express"}, d.Index); diff != "" {
		t.Error(diff)
	}
	if d.Steps[2].HeartbeatTimeout != 5*time.Second || d.Identity != (domain.Identity{Strategy: domain.IdentityHash, Window: 5 * time.Minute}) {
		t.Errorf("heartbeat %s, identity %v", d.Steps[2].HeartbeatTimeout, d.Identity)
	}
}

// Hashes are stored with every task: a release that gives a definition another one would not find it again.
func TestADefinitionKeepsItsHash(t *testing.T) {
	for body, want := range map[string]string{
		`{"name":"order","namespace":"shop","version":"1.10.0","description":"buys <things>","schema":{"type":"object"},"steps":[{"name":"cart","handler":"exec","handler_config":{"command":"echo hi"}},{"name":"pay","description":"takes money","handler":"Payments::Charge","handler_config":{"amount":1152921504606846976,"b":[1.50,null]},"depends_on":["cart"],"retryable":false,"retry_limit":5,"backoff":{"strategy":"exponential","base":"2s","factor":1.5,"max":"1m0s","jitter":0},"max_retry_after":"1h0m0s","timeout":0,"skippable":true,"optional":true,"final_errors":["timeout","declined"],"dependent_system":"bank"},{"name":"ship","handler":"ship","backoff":{"strategy":"list","list":["1s","5s"],"jitter":0.25},"timeout":"30s"}],"on_failure":"stop","deadline":"24h0m0s","output":"ship","tags":["a","b"]}`: "94c78ee0c1fa9dda12af22b7ae27f0c8",
		`{"name":"n","steps":[{"name":"a","handler":"h"}]}`: "a6400d5fab5967b07552102ee62dafc5",
	} {
		d, err := domain.ParseDefinition([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if d.Hash() != want || string(d.Body()) != body {
			t.Errorf("hash %s, want %s; body %s", d.Hash(), want, d.Body())
		}
	}
}

func TestShorthandsMeanTheSameAsTheLongForm(t *testing.T) {
	short := `{"namespace":null,"steps":[{"command":"echo \"<hi>\"","name":"a","timeout":900},
		{"depends_on":"a","name":"b","handler":"h","handler_config":{"y":1,"x":{"d":1,"c":2}},"timeout":1.5,"retry_limit":3,"custom_events":["x.y",{"name":"z"}]}],
		"name":"n","version":"","identity":"hash","custom_events":["w"],"index":"a.b"}`
	long := `{"name":"n","namespace":"default","version":"0.1.0","steps":[{"name":"a","handler":"exec",
		"handler_config":{"command":"echo \"<hi>\""},"timeout":"15m","depends_on":[]},
		{"name":"b","handler":"h","handler_config":{"x":{"c":2,"d":1},"y":1},"depends_on":["a"],"timeout":"1500ms",
		"heartbeat_timeout":0,"custom_events":[{"name":"x.y","description":""},{"name":"z"}]}],
		"identity":{"strategy":"hash","window":60},"custom_events":[{"name":"w"}],"index":["a.b"]}`
	a, err := domain.ParseDefinition([]byte(short))
	if err != nil {
		t.Fatal(err)
	}
	b, err := domain.ParseDefinition([]byte(long))
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash() != b.Hash() {
		t.Errorf("%s\n%s", a.Body(), b.Body())
	}
}

func TestEverythingWrongInADocumentIsReportedAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/definition-*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no test data")
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = domain.ParseDefinition(body)
		lines := problemsOf(t, err)
		goldenText(t, strings.TrimSuffix(filepath.Base(file), ".json")+".golden", strings.Join(lines, "\n")+"\n")
	}
}

func TestWhatIsNotADefinitionIsRefused(t *testing.T) {
	for body, want := range map[string]string{
		``:                      `not valid JSON: line 1, column 1: unexpected end of JSON input`,
		`{"name":"a"} {}`:       `not valid JSON: line 1, column 14: invalid character '{' after top-level value`,
		`[]`:                    `a definition must be an object, not a list: it begins like {"name": `,
		"{\"name\":\"\xff\"}":   `not valid JSON: the text is not UTF-8`,
		`{"name": NaN}`:         `not valid JSON: line 1, column 10: invalid character 'N' looking for beginning of value`,
		nested(200):             `nested deeper than 100 levels`,
		nested(20_000):          `not valid JSON: line 1, column 10001: invalid character '[' exceeded max depth`,
		`{"name":"a","name":1}`: `name: duplicate key "name": leave one of the two out`,
	} {
		_, err := domain.ParseDefinition([]byte(body))
		if got := problemsOf(t, err); got[0] != want {
			t.Errorf("%.40s: got %s, want %s", body, got[0], want)
		}
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// anyDefinition draws definitions that are right.
func anyDefinition(t *rapid.T) *domain.Definition {
	duration := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "d")) })
	word := rapid.StringN(0, 10, 40)
	d := &domain.Definition{
		Name:        rapid.StringMatching(`[A-Za-z0-9_-]{1,20}`).Draw(t, "name"),
		Namespace:   rapid.StringMatching(`[A-Za-z0-9_-]{0,20}`).Draw(t, "namespace"),
		Description: word.Draw(t, "description"),
		OnFailure:   rapid.SampledFrom([]domain.OnFailure{"", domain.FinishBranches, domain.Stop}).Draw(t, "on_failure"),
		Deadline:    duration.Draw(t, "deadline"),
		Tags:        rapid.SliceOfN(rapid.StringMatching(`[a-z]+`), 0, 3).Draw(t, "tags"),
		Identity: rapid.SampledFrom([]domain.Identity{
			{}, {Strategy: domain.IdentityDefault}, {Strategy: domain.IdentityHash}, {Strategy: domain.IdentityHash, Window: time.Hour},
			{Strategy: domain.IdentityCustom},
		}).Draw(t, "identity"),
	}
	events := rapid.SampledFrom([][]domain.CustomEvent{nil, {{Name: "a.b"}}, {{Name: "c", Description: "d"}, {Name: "-_."}}})
	d.CustomEvents = events.Draw(t, "custom_events")
	d.Index = rapid.SampledFrom([][]string{nil, {"a"}, {"b.c-d", "_"}}).Draw(t, "index")
	n := rapid.IntRange(1, 8).Draw(t, "steps")
	for i := range n {
		s := domain.StepTemplate{
			Name:            string(rune('a' + i)),
			Description:     word.Draw(t, "description"),
			Handler:         rapid.SampledFrom([]string{"h", "A::B", domain.ExecHandler}).Draw(t, "handler"),
			HandlerConfig:   json.RawMessage(rapid.SampledFrom([]string{``, `null`, `{"b":1,"a":[1e5,"<"]}`, `7`}).Draw(t, "config")),
			NotRetryable:    rapid.Bool().Draw(t, "not_retryable"),
			RetryLimit:      rapid.IntRange(0, 5).Draw(t, "retry_limit"),
			MaxRetryAfter:   duration.Draw(t, "max_retry_after"),
			Timeout:         rapid.OneOf(duration, rapid.Just(domain.NoTimeout)).Draw(t, "timeout"),
			Skippable:       rapid.Bool().Draw(t, "skippable"),
			Optional:        rapid.Bool().Draw(t, "optional"),
			DependentSystem: word.Draw(t, "dependent_system"),
			CustomEvents:    events.Draw(t, "custom_events"),
			Backoff:         domain.Backoff{Max: duration.Draw(t, "max"), Jitter: rapid.SampledFrom([]float64{0, domain.NoJitter, 0.3, 1}).Draw(t, "jitter")},
		}
		for j := range i {
			if rapid.Bool().Draw(t, "edge") {
				s.DependsOn = append(s.DependsOn, string(rune('a'+j)))
			}
		}
		if s.Timeout == domain.NoTimeout {
			s.HeartbeatTimeout = duration.Draw(t, "heartbeat")
		} else if s.Timeout > 1 {
			s.HeartbeatTimeout = s.Timeout / 2
		}
		switch rapid.IntRange(0, 4).Draw(t, "strategy") {
		case 0:
			s.Backoff.Strategy, s.Backoff.Base = domain.StrategyFixed, duration.Draw(t, "base")
		case 1:
			s.Backoff.Strategy, s.Backoff.Factor = domain.StrategyExponential, rapid.Float64Range(0.1, 10).Draw(t, "factor")
		case 2:
			s.Backoff.Strategy, s.Backoff.List = domain.StrategyList, []time.Duration{0, duration.Draw(t, "wait")}
		}
		d.Steps = append(d.Steps, s)
	}
	d.Output = rapid.SampledFrom([]string{"", "a"}).Draw(t, "output")
	return d
}

func TestBodyGivesTheSameDefinitionBackAndValidatingTwiceChangesNothing(t *testing.T) {
	same := cmp.Options{cmpopts.IgnoreUnexported(domain.Definition{}), cmpopts.EquateEmpty()}
	rapid.Check(t, func(t *rapid.T) {
		d := anyDefinition(t)
		if err := d.Validate(); err != nil {
			t.Fatal(err)
		}
		once, err := domain.ParseDefinition(d.Body())
		if err != nil {
			t.Fatalf("%s: %v", d.Body(), err)
		}
		if diff := cmp.Diff(d, once, same); diff != "" {
			t.Fatal(diff)
		}
		body, hash := string(d.Body()), d.Hash()
		if err := d.Validate(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, once, same); diff != "" || body != string(d.Body()) || hash != d.Hash() || hash != once.Hash() {
			t.Fatalf("%s became %s, then %s\n%s", body, once.Body(), d.Body(), diff)
		}
	})
}

func FuzzParseDefinition(f *testing.F) {
	f.Add([]byte(`{"name":"n","steps":[{"name":"a","command":"x"},{"name":"b","handler":"sleep","handler_config":{"duration":1e-3},"depends_on":"a"}]}`))
	f.Add([]byte(`{"name":"n","steps":[{"name":"a","handler":"h","depends_on":["a","b"],"backoff":{"strategy":"list","list":[1,"2s"]}}]}`))
	f.Add([]byte(`{"name":1,"steps":{},"schema":{"a":{"a":1,"a":2}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := domain.ParseDefinition(body)
		if err != nil {
			problemsOf(t, err)
			return
		}
		again, err := domain.ParseDefinition(d.Body())
		if err != nil {
			t.Fatalf("%s: %v", d.Body(), err)
		}
		if again.Hash() != d.Hash() {
			t.Fatalf("%s became %s", d.Body(), again.Body())
		}
	})
}
