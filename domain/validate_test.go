package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tasker-go/tasker/domain"
)

func step(name string, parents ...string) domain.StepTemplate {
	return domain.StepTemplate{Name: name, Handler: "noop", DependsOn: parents}
}

func definition(steps ...domain.StepTemplate) *domain.Definition {
	return &domain.Definition{Name: "order", Steps: steps}
}

// problemsOf gives the lines of the DefinitionError of a definition that must be wrong.
func problemsOf(t *testing.T, err error) []string {
	t.Helper()
	var wrong *domain.DefinitionError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v, want a DefinitionError", err)
	}
	lines := make([]string, len(wrong.Problems))
	for i, p := range wrong.Problems {
		lines[i] = p.String()
	}
	return lines
}

func TestValidateFillsInEveryDefault(t *testing.T) {
	d := definition(step("a"), domain.StepTemplate{Name: "b", Handler: "noop",
		Backoff: domain.Backoff{Strategy: domain.StrategyExponential}})
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	want := &domain.Definition{
		Namespace: "default", Name: "order", Version: "0.1.0", OnFailure: domain.FinishBranches,
		Identity: domain.Identity{Strategy: domain.IdentityDefault},
		Steps: []domain.StepTemplate{
			{
				Name: "a", Handler: "noop", RetryLimit: 3, MaxRetryAfter: 24 * time.Hour, Timeout: 15 * time.Minute,
				Backoff: domain.Backoff{Strategy: domain.StrategyTasker, Max: 300 * time.Second, Jitter: 0.1},
			},
			{
				Name: "b", Handler: "noop", RetryLimit: 3, MaxRetryAfter: 24 * time.Hour, Timeout: 15 * time.Minute,
				Backoff: domain.Backoff{Strategy: domain.StrategyExponential, Base: time.Second, Factor: 2,
					Max: 300 * time.Second, Jitter: 0.1},
			},
		},
	}
	if diff := cmp.Diff(want, d, cmpopts.IgnoreUnexported(domain.Definition{})); diff != "" {
		t.Error(diff)
	}
	if d.Graph() == nil || len(d.Hash()) != 32 {
		t.Errorf("graph %v, hash %q", d.Graph(), d.Hash())
	}
	if got, want := string(d.Body()), `{"name":"order","steps":[{"name":"a","handler":"noop"},`+
		`{"name":"b","handler":"noop","backoff":{"strategy":"exponential"}}]}`; got != want {
		t.Errorf("body %s\nwant %s", got, want)
	}
}

func TestEveryRuleIsReportedWithItsPath(t *testing.T) {
	backoff := func(b domain.Backoff) *domain.Definition {
		return definition(domain.StepTemplate{Name: "a", Handler: "noop", Backoff: b})
	}
	sleep := func(config string) *domain.Definition {
		return definition(domain.StepTemplate{Name: "a", Handler: "sleep", HandlerConfig: json.RawMessage(config)})
	}
	with := func(change func(*domain.Definition)) *domain.Definition {
		d := definition(step("a"))
		change(d)
		return d
	}
	tests := map[string]struct {
		d    *domain.Definition
		want []string
	}{
		"no name":       {&domain.Definition{Steps: []domain.StepTemplate{step("a")}}, []string{`name: name is missing: 1 to 128 of A-Z a-z 0-9 _ -`}},
		"bad character": {definition(step("käse")), []string{`steps[0].name: step name "käse" has the character 'ä': allowed are A-Z a-z 0-9 _ -`}},
		"long name":     {definition(step(strings.Repeat("x", 129))), []string{`steps[0].name: step name has 129 bytes; at most 128 are allowed: use a shorter one`}},
		"no steps":      {definition(), []string{`steps: a definition needs at least one step: write steps, each with a name and a handler`}},
		"version":       {with(func(d *domain.Definition) { d.Version = "1.0" }), []string{`version: version "1.0" is not three numbers: write it like "1.4.0"`}},
		"no handler":    {definition(domain.StepTemplate{Name: "a"}), []string{`steps[0].handler: step "a" has no handler: write handler: and the name of what runs it, or command:`}},
		"duplicate":     {definition(step("a"), step("b"), step("a")), []string{`steps[2].name: duplicate step name "a", first in steps[0]: give one of them another name`}},
		"unknown dependency": {definition(step("validate_cart"), step("pay", "validate_crat")),
			[]string{`steps[1].depends_on[0]: step "pay" depends on an unknown step "validate_crat": did you mean "validate_cart"?`}},
		"dependency twice": {definition(step("a"), step("b", "a", "a")), []string{`steps[1].depends_on[1]: step "b" depends on "a" twice: leave one of the two out`}},
		"cycle": {definition(step("A", "C"), step("B", "A"), step("C", "B")),
			[]string{`steps[0].depends_on[0]: cycle: A -> B -> C -> A: leave one of these dependencies out`}},
		"itself": {definition(step("a", "a")), []string{`steps[0].depends_on[0]: cycle: a -> a: leave one of these dependencies out`}},
		"two cycles beside an unknown dependency and a duplicate": {
			definition(step("a", "b"), step("b", "a"), step("c", "zzz"), step("d", "e"), step("e", "d"), step("e")),
			[]string{
				`steps[5].name: duplicate step name "e", first in steps[4]: give one of them another name`,
				`steps[2].depends_on[0]: step "c" depends on an unknown step "zzz": write the name of a step`,
				`steps[0].depends_on[0]: cycle: a -> b -> a: leave one of these dependencies out`,
				`steps[3].depends_on[0]: cycle: d -> e -> d: leave one of these dependencies out`,
			},
		},
		"retry limit": {definition(domain.StepTemplate{Name: "a", Handler: "noop", RetryLimit: -1}),
			[]string{`steps[0].retry_limit: retry_limit must be at least 1, got -1: it counts executions; 1 runs once`}},
		"negative times": {definition(domain.StepTemplate{Name: "a", Handler: "noop", Timeout: -time.Second, MaxRetryAfter: -1}),
			[]string{
				`steps[0].max_retry_after: max_retry_after must not be negative, got -1ns: leave it out for 24h`,
				`steps[0].timeout: timeout must not be negative, got -1s: 0 is none`,
			}},
		"deadline":   {with(func(d *domain.Definition) { d.Deadline = -1 }), []string{`deadline: deadline must not be negative, got -1ns: 0 is none`}},
		"on_failure": {with(func(d *domain.Definition) { d.OnFailure = "stopp" }), []string{`on_failure: unknown on_failure "stopp": did you mean "stop"?`}},
		"output":     {with(func(d *domain.Definition) { d.Output = "b" }), []string{`output: output names an unknown step "b": write the name of a step`}},
		"empty tag":  {with(func(d *domain.Definition) { d.Tags = []string{"x", ""} }), []string{`tags[1]: an empty tag: leave it out`}},
		"not UTF-8":  {with(func(d *domain.Definition) { d.Description = "\xff" }), []string{`description: "\xff" is not UTF-8 text: write it in UTF-8`}},
		"schema is not an object": {with(func(d *domain.Definition) { d.Schema = json.RawMessage(`true`) }),
			[]string{`schema: schema must be a JSON Schema object, not a boolean: write it like schema: {type: object}`}},
		"schema is not JSON": {with(func(d *domain.Definition) { d.Schema = json.RawMessage("{\n\"a\" 1}") }),
			[]string{`schema: not valid JSON: line 2, column 5: invalid character '1' after object key`}},
		"schema with a key twice": {with(func(d *domain.Definition) { d.Schema = json.RawMessage(`{"a":[{"b":1,"b":2}]}`) }),
			[]string{`schema.a[0].b: duplicate key "b": leave one of the two out`}},
		"strategy": {backoff(domain.Backoff{Strategy: "exponental"}),
			[]string{`steps[0].backoff.strategy: unknown backoff strategy "exponental": did you mean "exponential"?`}},
		"strategy out of nowhere": {backoff(domain.Backoff{Strategy: "zzzzzzzz"}),
			[]string{`steps[0].backoff.strategy: unknown backoff strategy "zzzzzzzz": it is one of tasker, exponential, linear, fixed, list`}},
		"fields of another strategy": {backoff(domain.Backoff{Base: 1, Factor: 2, List: []time.Duration{1}}),
			[]string{
				`steps[0].backoff.base: backoff strategy "tasker" has no base: exponential, linear and fixed have one`,
				`steps[0].backoff.factor: backoff strategy "tasker" has no factor: only exponential has one`,
				`steps[0].backoff.list: backoff strategy "tasker" has no list: write strategy: list`,
			}},
		"empty list": {backoff(domain.Backoff{Strategy: domain.StrategyList}),
			[]string{`steps[0].backoff.list: backoff strategy "list" needs at least one value: write it like list: [1s, 5s, 30s]`}},
		"negative waits": {backoff(domain.Backoff{Strategy: domain.StrategyList, List: []time.Duration{1, -1}, Max: -1}),
			[]string{
				`steps[0].backoff.list[1]: a wait must not be negative, got -1ns: 0 is no wait`,
				`steps[0].backoff.max: max must not be negative, got -1ns: leave it out for 5m`,
			}},
		"negative base and factor": {backoff(domain.Backoff{Strategy: domain.StrategyExponential, Base: -1, Factor: math.NaN()}),
			[]string{
				`steps[0].backoff.base: base must not be negative, got -1ns: leave it out for 1s`,
				`steps[0].backoff.factor: factor must be a number above 0, got NaN: leave it out for 2`,
			}},
		"jitter": {backoff(domain.Backoff{Jitter: 1.5}), []string{`steps[0].backoff.jitter: jitter must be between 0 and 1, got 1.5: it is a share of the wait`}},
		"jitter that is no number": {backoff(domain.Backoff{Jitter: math.NaN()}),
			[]string{`steps[0].backoff.jitter: jitter must be between 0 and 1, got NaN: it is a share of the wait`}},
		"sleep without duration": {sleep(``), []string{`steps[0].handler_config: step "a" needs a duration: write it like handler_config: {duration: 10m}`}},
		"sleep with more": {sleep(`{"duration":5,"until":"noon"}`),
			[]string{`steps[0].handler_config.until: unknown key "until" in the handler_config of sleep step "a": duration is the only one`}},
		"sleep with nonsense": {sleep(`{"duration":"5 minutes"}`),
			[]string{`steps[0].handler_config.duration: duration is not a duration: "5 minutes": write it like 90s, 15m or 1h30m, or as a number of seconds`}},
		"sleep of no length": {sleep(`{"duration":0}`), []string{`steps[0].handler_config.duration: duration must be more than 0, got 0s: write it like handler_config: {duration: 10m}`}},
		"heartbeat": {definition(domain.StepTemplate{Name: "a", Handler: "noop", HeartbeatTimeout: -1},
			domain.StepTemplate{Name: "b", Handler: "noop", HeartbeatTimeout: 15 * time.Minute},
			domain.StepTemplate{Name: "c", Handler: "sleep", Wait: 1, HeartbeatTimeout: 1}),
			[]string{
				`steps[0].heartbeat_timeout: heartbeat_timeout must not be negative, got -1ns: 0 is none`,
				`steps[1].heartbeat_timeout: heartbeat_timeout must be less than timeout: it is 15m, and timeout is 15m: the timeout would always come first`,
				`steps[2].heartbeat_timeout: a sleep has no heartbeat_timeout: leave it out: a sleep is a timer of the engine`,
			}},
		"fields to index": {with(func(d *domain.Definition) {
			d.Index = []string{"customer.id", "", "a..b", "a b", "customer.id", ".a", "ä", strings.Repeat("x", 257), "Ok_-9"}
		}), []string{
			`index[1]: an empty path: leave it out`,
			`index[2]: path "a..b" has an empty key: write the keys with dots between them, like customer.id; allowed are A-Z a-z 0-9 _ -`,
			`index[3]: path "a b" has the character ' ': write the keys with dots between them, like customer.id; allowed are A-Z a-z 0-9 _ -`,
			`index[4]: duplicate path "customer.id": leave one of the two out`,
			`index[5]: path ".a" has an empty key: write the keys with dots between them, like customer.id; allowed are A-Z a-z 0-9 _ -`,
			`index[6]: path "ä" has the character 'ä': write the keys with dots between them, like customer.id; allowed are A-Z a-z 0-9 _ -`,
			`index[7]: path has 257 bytes; at most 256 are allowed: index a field further out`,
		}},
		"too many fields to index": {with(func(d *domain.Definition) { d.Index = make([]string, 17) }),
			[]string{`index: 17 fields to index; at most 16 are allowed: every one costs a row per task: index only what tasks are searched by`}},
		"identity of nobody": {with(func(d *domain.Definition) { d.Identity.Strategy = "hsah" }),
			[]string{`identity.strategy: unknown identity strategy "hsah": did you mean "hash"?`}},
		"identity without a window": {with(func(d *domain.Definition) { d.Identity.Window = time.Minute }),
			[]string{`identity.window: identity strategy "default" has no window: only hash has one`}},
		"identity of a moment": {with(func(d *domain.Definition) {
			d.Identity = domain.Identity{Strategy: domain.IdentityHash, Window: time.Microsecond}
		}), []string{`identity.window: window must be at least 1ms, got 1µs: leave it out for 1m`}},
		"custom events": {with(func(d *domain.Definition) {
			d.CustomEvents = []domain.CustomEvent{{Name: "order shipped"}, {}, {Name: strings.Repeat("x", 129)}, {Name: "task.x"}, {Name: "a"}}
			d.Steps[0].CustomEvents = []domain.CustomEvent{{Name: "a"}, {Name: "b", Description: "\xff"}, {Name: "a"}}
		}), []string{
			`custom_events[0].name: custom event "order shipped" has the character ' ': allowed are A-Z a-z 0-9 _ - .`,
			`custom_events[1].name: custom event has no name: 1 to 128 of A-Z a-z 0-9 _ - .`,
			`custom_events[2].name: custom event has 129 bytes; at most 128 are allowed: use a shorter one`,
			`custom_events[3].name: custom event "task.x" begins like the engine's own events: "task." is reserved: leave it out, or write another word before it`,
			`steps[0].custom_events[1].description: "\xff" is not UTF-8 text: write it in UTF-8`,
			`steps[0].custom_events[2].name: duplicate custom event "a": leave one of the two out`,
		}},
		"too many custom events": {with(func(d *domain.Definition) { d.CustomEvents = make([]domain.CustomEvent, domain.MaxCustomEvents+1) }),
			[]string{`custom_events: 1001 custom events; at most 1000 are allowed in one list: use fewer, and say more in their data`}},
		"wait without sleep": {definition(domain.StepTemplate{Name: "a", Handler: "noop", Wait: 1}),
			[]string{`steps[0].handler: step "a" has a wait, but its handler is "noop": only handler "sleep" waits`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.d.Validate()
			if diff := cmp.Diff(tt.want, problemsOf(t, err)); diff != "" {
				t.Error(diff)
			}
			var wrong *domain.DefinitionError
			if errors.As(err, &wrong) {
				for _, p := range wrong.Problems {
					if p.Hint == "" && !strings.Contains(p.Message, "not valid JSON") {
						t.Errorf("%s: nobody says what to do", p)
					}
				}
			}
			if tt.d.Graph() != nil || tt.d.Body() != nil || tt.d.Hash() != "" {
				t.Error("a definition that is wrong has a graph, a body or a hash")
			}
		})
	}
}

// Engines in one process may share a definition: registering it with the second must not write to what the first reads.
func TestValidatingAgainOnlyReads(t *testing.T) {
	d := definition(step("a"), step("b", "a"))
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	hash, graph := d.Hash(), d.Graph()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			if err := d.Validate(); err != nil || d.Hash() != hash || d.Steps[1].RetryLimit != domain.DefaultRetryLimit {
				t.Errorf("validated again it is %q, %v", d.Hash(), err)
			}
		})
	}
	readers.Wait()
	if d.Graph() != graph {
		t.Error("the graph was made again")
	}
	d.Steps[1].RetryLimit = 0 // the default again: the same content, and yet it has to be filled in
	d.Steps[0].Optional = true
	if err := d.Validate(); err != nil || d.Hash() == hash || d.Steps[1].RetryLimit != domain.DefaultRetryLimit {
		t.Errorf("after a change it is %q with limit %d, %v", d.Hash(), d.Steps[1].RetryLimit, err)
	}
	d.Steps[0].DependsOn = []string{"b"}
	if err := d.Validate(); err == nil || d.Hash() != "" || d.Graph() != nil {
		t.Errorf("with a cycle it is %q, %v", d.Hash(), err)
	}
}

func TestTwoPathsToOneStepAreFine(t *testing.T) {
	if err := definition(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")).Validate(); err != nil {
		t.Error(err)
	}
}

func TestSleepStepsReadTheirDuration(t *testing.T) {
	for config, want := range map[string]time.Duration{
		`{"duration":"1h30m"}`: 90 * time.Minute,
		`{"duration":90}`:      90 * time.Second,
		`{"duration":0.25}`:    250 * time.Millisecond,
		`{"duration":1e2}`:     100 * time.Second,
	} {
		d := definition(domain.StepTemplate{Name: "nap", Handler: "sleep", HandlerConfig: json.RawMessage(config)})
		for range 2 {
			if err := d.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.Steps[0].Wait; got != want {
			t.Errorf("%s: got %s, want %s", config, got, want)
		}
	}
}

func TestSleepStepMadeInGoNeedsOnlyItsWait(t *testing.T) {
	d := definition(domain.StepTemplate{Name: "nap", Handler: "sleep", Wait: time.Hour})
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	again, err := domain.ParseDefinition(d.Body())
	if err != nil {
		t.Fatal(err)
	}
	if again.Steps[0].Wait != time.Hour || again.Hash() != d.Hash() {
		t.Errorf("came back as %+v", again.Steps[0])
	}
}

func TestLimitsAreReportedAndNothingElse(t *testing.T) {
	many := definition(make([]domain.StepTemplate, domain.MaxSteps+1)...)
	if got := problemsOf(t, many.Validate()); len(got) != 1 || got[0] != `steps: 20001 steps; at most 20000 are allowed: split it into several definitions` {
		t.Error(got)
	}
	const width = 450
	var steps []domain.StepTemplate
	var row []string
	for i := range width {
		row = append(row, fmt.Sprintf("a%d", i))
		steps = append(steps, step(row[i]))
	}
	for i := range width {
		steps = append(steps, step(fmt.Sprintf("b%d", i), row...))
	}
	if got := problemsOf(t, definition(steps...).Validate()); len(got) != 1 ||
		got[0] != `steps: 202500 dependencies; at most 200000 are allowed: split it into several definitions` {
		t.Error(got)
	}
}

func TestProblemsBeyondTheLimitAreCounted(t *testing.T) {
	d := definition()
	for i := range domain.MaxSteps {
		d.Steps = append(d.Steps, step(fmt.Sprintf("a_rather_long_name_of_a_step_%d", i), "a_rather_long_name_of_a_stop"))
	}
	got := problemsOf(t, d.Validate())
	if len(got) != domain.MaxProblems+1 || got[domain.MaxProblems] != `and 19900 more problems` {
		t.Errorf("%d problems, the last %q", len(got), got[len(got)-1])
	}
}

func TestLongCycleIsShortened(t *testing.T) {
	d := definition(step("s0", "s99"))
	for i := 1; i < 100; i++ {
		d.Steps = append(d.Steps, step(fmt.Sprintf("s%d", i), fmt.Sprintf("s%d", i-1)))
	}
	want := []string{`steps[0].depends_on[0]: cycle: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> s8 -> s9 -> ` +
		`(81 more) -> s91 -> s92 -> s93 -> s94 -> s95 -> s96 -> s97 -> s98 -> s99 -> s0: leave one of these dependencies out`}
	if diff := cmp.Diff(want, problemsOf(t, d.Validate())); diff != "" {
		t.Error(diff)
	}
}

func TestErrorOfOneProblemIsOneLine(t *testing.T) {
	err := definition(step("pay", "Pay")).Validate()
	if got, want := err.Error(), `definition "order": steps[0].depends_on[0]: step "pay" depends on an unknown step "Pay": did you mean "pay"?`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestVersionsCompareAsNumbers(t *testing.T) {
	ascending := []string{"", "1.0.0-rc1", "0.0.0", "0.1.0", "0.9.0", "0.10.0", "1.0.0", "1.0.10", "2.0.0", "10.0.0"}
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := domain.CompareVersions(a, b); got != want {
				t.Errorf("CompareVersions(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}
