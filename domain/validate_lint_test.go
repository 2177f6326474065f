package domain_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

func warnings(d *domain.Definition) []string {
	lines := []string{}
	for _, p := range d.Lint() {
		lines = append(lines, p.String())
	}
	return lines
}

func nap(name string, wait time.Duration, parents ...string) domain.StepTemplate {
	return domain.StepTemplate{Name: name, Handler: domain.SleepHandler, Wait: wait, DependsOn: parents}
}

func TestWhatIsLegalButNotMeantIsFound(t *testing.T) {
	one := func(change func(s *domain.StepTemplate)) *domain.Definition {
		d := definition(step("a"))
		change(&d.Steps[0])
		return d
	}
	with := func(d *domain.Definition, change func(d *domain.Definition)) *domain.Definition { change(d); return d }
	stop := func(d *domain.Definition) { d.OnFailure = domain.Stop }
	hour := func(d *domain.Definition) { d.Deadline = time.Hour }
	for name, tt := range map[string]struct {
		d    *domain.Definition
		want []string
	}{
		"indexed fields that the schema does not allow": {with(definition(step("a")), func(d *domain.Definition) {
			d.Schema = json.RawMessage(`{"properties":{"customer":{"properties":{"id":{}},"additionalProperties":false},"free":{"properties":{"a":{}}}},"additionalProperties":false}`)
			d.Index = []string{"custmer.id", "customer.name", "customer.id", "free.b", "free.a.x", "nobody"}
		}), []string{
			`index[0]: path "custmer.id" is never there: the schema allows no "custmer": did you mean "customer"?`,
			`index[1]: path "customer.name" is never there: in "customer" the schema allows no "name": leave it out`,
			`index[5]: path "nobody" is never there: the schema allows no "nobody": leave it out`,
		}},
		"nothing": {with(definition(step("a"), nap("b", time.Minute, "a"), step("c", "b")), hour), nil},
		"retry_limit of a step that is not retried": {one(func(s *domain.StepTemplate) { s.NotRetryable, s.RetryLimit = true, 5 }),
			[]string{`steps[0].retry_limit: retry_limit says nothing: step "a" runs once, because retryable is false: leave one of the two out`}},
		"everything else about retries of such a step": {one(func(s *domain.StepTemplate) {
			s.RetryLimit, s.MaxRetryAfter = 1, time.Minute
			s.Backoff.Strategy, s.FinalErrors = domain.StrategyFixed, []domain.ErrorKind{"declined"}
		}), []string{
			`steps[0].backoff: backoff says nothing: step "a" runs once, because retry_limit is 1: leave it out`,
			`steps[0].max_retry_after: max_retry_after says nothing: step "a" runs once, because retry_limit is 1: leave it out`,
			`steps[0].final_errors: final_errors says nothing: step "a" runs once, because retry_limit is 1: leave it out`,
		}},
		"a kind that is final anyway": {one(func(s *domain.StepTemplate) { s.FinalErrors = []domain.ErrorKind{"x", domain.KindPermanent} }),
			[]string{`steps[0].final_errors: errors of kind "permanent" are always final: leave it out`}},
		"timeout": {with(one(func(s *domain.StepTemplate) { s.Timeout = 2 * time.Hour }), hour),
			[]string{`steps[0].timeout: timeout 2h of step "a" is longer than the deadline of the task, 1h: ` +
				`the deadline always comes first: shorten the timeout, or lengthen the deadline`}},
		"the standard timeout": {with(definition(step("a")), func(d *domain.Definition) { d.Deadline = time.Minute }), nil},
		"base": {one(func(s *domain.StepTemplate) {
			s.Backoff = domain.Backoff{Strategy: domain.StrategyLinear, Base: 10 * time.Minute}
		}), []string{`steps[0].backoff.base: base 10m is longer than max, 5m, which every wait is cut to: write max: 10m`}},
		"list": {one(func(s *domain.StepTemplate) {
			s.Backoff = domain.Backoff{Strategy: domain.StrategyList, List: []time.Duration{time.Second, time.Hour, 10 * time.Minute}}
		}), []string{
			`steps[0].backoff.list[1]: wait 1h is cut to max, 5m: write max: 1h`,
			`steps[0].backoff.list[2]: wait 10m is cut to max, 5m: write max: 1h`,
		}},
		"factor": {one(func(s *domain.StepTemplate) {
			s.Backoff = domain.Backoff{Strategy: domain.StrategyExponential, Factor: 0.5}
		}),
			[]string{`steps[0].backoff.factor: the waits do not grow with factor 0.5: write more than 1, or strategy: fixed`}},
		"a sleep with what it does not have": {definition(domain.StepTemplate{
			Name: "nap", Handler: domain.SleepHandler, Wait: 1, Timeout: domain.NoTimeout, RetryLimit: 2, NotRetryable: true,
			CustomEvents: []domain.CustomEvent{{Name: "x"}}, Backoff: domain.Backoff{Jitter: 0.5},
		}), []string{
			`steps[0].backoff: backoff says nothing: step "nap" is a sleep, which only waits: leave it out`,
			`steps[0].retryable: retryable says nothing: step "nap" is a sleep, which only waits: leave it out`,
			`steps[0].retry_limit: retry_limit says nothing: step "nap" is a sleep, which only waits: leave it out`,
			`steps[0].timeout: timeout says nothing: step "nap" is a sleep, which only waits: leave it out`,
			`steps[0].custom_events: custom_events says nothing: step "nap" is a sleep, which only waits: leave it out`,
		}},
		"sleeps": {with(definition(nap("a", 40*time.Minute), nap("b", 30*time.Minute), nap("c", 20*time.Minute, "a", "b"),
			nap("d", time.Hour, "c"), step("e", "b")), hour),
			[]string{`steps[2].handler_config.duration: step "c" ends 1h after the beginning at the earliest, and the deadline is 1h: ` +
				`sleep less, or lengthen the deadline`}},
		"stop without retries": {with(definition(domain.StepTemplate{Name: "a", Handler: "h", NotRetryable: true},
			domain.StepTemplate{Name: "b", Handler: "h", Optional: true}, nap("c", 1)), stop),
			[]string{`on_failure: on_failure: stop, and no step is retried: the first failure of any step stops the whole task: ` +
				`let the steps be retried, or other branches run to their end`}},
		"stop with a retry": {with(definition(domain.StepTemplate{Name: "a", Handler: "h", NotRetryable: true}, step("b")), stop), nil},
		"stop that is never triggered": {with(one(func(s *domain.StepTemplate) { s.Optional = true }), stop),
			[]string{`on_failure: on_failure: stop says nothing: every step is optional: leave it out`}},
		"a tag twice": {with(definition(step("a")), func(d *domain.Definition) { d.Tags = []string{"x", "y", "x"} }),
			[]string{`tags[2]: tag "x" is there twice: leave it out`}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tt.d.Validate(); err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				tt.want = []string{}
			}
			if diff := cmp.Diff(tt.want, warnings(tt.d)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADefinitionThatIsWrongIsLookedThroughAllTheSame(t *testing.T) {
	d, err := domain.InspectDefinition(json.RawMessage(`{"name":"x y","on_failure":"stop","deadline":"1h","steps":[
		{"name":"a","handler":"h","retryable":false,"retry_limit":4,"depends_on":"b"},7,
		{"name":"b","handler":"sleep","handler_config":{"duration":"2h"},"depends_on":"a","backoff":{"strategy":"nobody"}}]}`))
	if err == nil || d == nil || d.Graph() != nil || d.Body() != nil || len(d.Steps) != 3 {
		t.Fatalf("%v, %+v", err, d)
	}
	want := []string{
		`steps[0].retry_limit: retry_limit says nothing: step "a" runs once, because retryable is false: leave one of the two out`,
		`steps[2].backoff: backoff says nothing: step "b" is a sleep, which only waits: leave it out`,
	}
	if diff := cmp.Diff(want, warnings(d)); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"steps":7}`, `{"steps":[]}`} {
		if d, err := domain.InspectDefinition([]byte(body)); d == nil || err == nil || len(d.Lint()) > 0 {
			t.Errorf("%s: %v, %v", body, d, err)
		}
	}
}
