package domain

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Defaults of a backoff (SEMANTICS 3).
const (
	defaultBackoffBase   = time.Second
	defaultBackoffFactor = 2.0
	defaultJitter        = 0.1
)

// Hints that several problems share.
const (
	leaveOut    = "leave it out"
	shorterHint = "use a shorter one"
	splitHint   = "split it into several definitions"
)

// maxHandlerName bounds the name of a handler. It may be a class name such as Payments::ChargeHandler, or hold the names of
// namespace, definition and step.
const maxHandlerName = 512

// Validate is the one validator of definitions, whether they come from Go, YAML or JSON (SEMANTICS 7). It fills in
// every default in place, compiles the graph, and computes the canonical body and its hash. What is wrong it reports
// all at once, as a *DefinitionError; the definition then has no graph, body and hash.
//
// Validate writes to the definition, so it must have returned before another goroutine sees the definition. Validating
// again, one that was not changed since, only reads it: several engines may register it while others use it.
func (d *Definition) Validate() error {
	p := &problems{}
	if d.hash == "" {
		d.validate(p)
		return p.err(d.Name)
	}
	again := *d
	again.Steps = slices.Clone(d.Steps)
	if again.validate(p); !reflect.DeepEqual(&again, d) {
		*d = again
	}
	return p.err(d.Name)
}

func (d *Definition) namesLength() int {
	n := 0
	for i := range d.Steps {
		n += len(d.Steps[i].Name) + len(`"",`)
	}
	return n
}

func (d *Definition) validate(p *problems) {
	d.graph, d.body, d.hash = nil, nil, ""
	d.setDefaults()
	d.checkHead(p)
	switch {
	case len(d.Steps) == 0:
		p.add("steps", "a definition needs at least one step", "write steps, each with a name and a handler")
	case len(d.Steps) > MaxSteps:
		p.addf("steps", splitHint, "%d steps; at most %d are allowed", len(d.Steps), MaxSteps)
	default:
		for i := range d.Steps {
			d.Steps[i].check(IndexPath("steps", i), p)
		}
		d.graph = d.checkGraph(p)
		if n := d.namesLength(); n > MaxNames && len(p.list) == 0 {
			p.addf("steps", "use shorter ones", "the names of the steps have %d bytes together; at most %d are allowed", n, MaxNames)
		}
	}
	if d.Output != "" && len(d.Steps) <= MaxSteps {
		d.checkOutput(p)
	}
	if len(p.list) == 0 {
		d.seal(p)
	}
	if len(p.list) > 0 {
		d.graph = nil
	}
}

// setDefaults fills in what was left out.
func (d *Definition) setDefaults() {
	orDefault(&d.Namespace, DefaultNamespace)
	orDefault(&d.Version, DefaultVersion)
	orDefault(&d.OnFailure, FinishBranches)
	d.Identity.setDefaults()
	for i := range d.Steps {
		s := &d.Steps[i]
		orDefault(&s.RetryLimit, DefaultRetryLimit)
		orDefault(&s.MaxRetryAfter, DefaultMaxRetryAfter)
		orDefault(&s.Timeout, DefaultTimeout)
		s.Backoff.setDefaults()
	}
}

func (b *Backoff) setDefaults() {
	orDefault(&b.Strategy, StrategyTasker)
	orDefault(&b.Max, DefaultBackoffMax)
	orDefault(&b.Jitter, defaultJitter)
	if b.Strategy.hasBase() {
		orDefault(&b.Base, defaultBackoffBase)
	}
	if b.Strategy == StrategyExponential {
		orDefault(&b.Factor, defaultBackoffFactor)
	}
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// hasBase reports whether the strategy computes with a base.
func (s Strategy) hasBase() bool {
	return s == StrategyExponential || s == StrategyLinear || s == StrategyFixed
}

// checkHead checks everything but the steps.
func (d *Definition) checkHead(p *problems) {
	checkName(d.Name, "name", "name", p)
	checkName(d.Namespace, "namespace", "namespace", p)
	if _, ok := parseVersion(d.Version); !ok {
		p.add("version", fmt.Sprintf("version %q is not three numbers", clip(d.Version)), versionHint)
	}
	checkText(d.Description, "description", p)
	for i, tag := range d.Tags {
		at := IndexPath("tags", i)
		if tag == "" {
			p.add(at, "an empty tag", leaveOut)
		}
		checkText(tag, at, p)
	}
	switch d.OnFailure {
	case FinishBranches, Stop:
	default:
		known := []string{string(FinishBranches), string(Stop)}
		p.add("on_failure", fmt.Sprintf("unknown on_failure %q", clip(string(d.OnFailure))),
			oneOf(string(d.OnFailure), known, p))
	}
	if d.Deadline < 0 {
		p.addf("deadline", "0 is none", "deadline must not be negative, got %s", d.Deadline)
	}
	d.Identity.check(p)
	checkCustomEvents(d.CustomEvents, "custom_events", p)
	checkIndex(d.Index, p)
	schema, n := canonicalJSON(d.Schema, "schema", p)
	if d.Schema = schema; schema != nil && n.kind != jsonObject {
		p.add("schema", "schema must be a JSON Schema object, not "+n.kind.String(), "write it like schema: {type: object}")
	}
}

func (d *Definition) checkOutput(p *problems) {
	names := make([]string, len(d.Steps))
	for i := range d.Steps {
		if names[i] = d.Steps[i].Name; names[i] == d.Output {
			return
		}
	}
	p.add("output", fmt.Sprintf("output names an unknown step %q", clip(d.Output)), cmp.Or(didYouMean(p.suggest(d.Output, names)), "write the name of a step"))
}

// check checks what concerns one step alone.
func (s *StepTemplate) check(at string, p *problems) {
	checkName(s.Name, "step name", at+".name", p)
	checkText(s.Description, at+".description", p)
	checkText(s.DependentSystem, at+".dependent_system", p)
	s.checkHandler(at, p)
	if s.RetryLimit < 1 {
		p.add(at+".retry_limit", fmt.Sprintf("retry_limit must be at least 1, got %d", s.RetryLimit),
			"it counts executions; 1 runs once")
	}
	if s.MaxRetryAfter < 0 {
		p.addf(at+".max_retry_after", "leave it out for 24h", "max_retry_after must not be negative, got %s", s.MaxRetryAfter)
	}
	if s.Timeout < 0 && s.Timeout != NoTimeout {
		p.addf(at+".timeout", "0 is none", "timeout must not be negative, got %s", s.Timeout)
	}
	s.checkHeartbeat(at+".heartbeat_timeout", p)
	checkCustomEvents(s.CustomEvents, at+".custom_events", p)
	for i, kind := range s.FinalErrors {
		if kind == "" {
			p.add(IndexPath(at+".final_errors", i), "an empty error kind", leaveOut)
		}
		checkText(string(kind), IndexPath(at+".final_errors", i), p)
	}
	s.Backoff.check(at+".backoff", p)
}

func (s *StepTemplate) checkHeartbeat(at string, p *problems) {
	switch {
	case s.HeartbeatTimeout < 0:
		p.addf(at, "0 is none", "heartbeat_timeout must not be negative, got %s", s.HeartbeatTimeout)
	case s.HeartbeatTimeout > 0 && s.Handler == SleepHandler:
		p.add(at, "a sleep has no heartbeat_timeout", "leave it out: a sleep is a timer of the engine")
	case s.Timeout > 0 && s.HeartbeatTimeout >= s.Timeout:
		p.add(at, fmt.Sprintf("heartbeat_timeout must be less than timeout: it is %s, and timeout is %s", short(s.HeartbeatTimeout), short(s.Timeout)),
			"the timeout would always come first")
	}
}

func (s *StepTemplate) checkHandler(at string, p *problems) {
	if s.Handler == "" {
		p.add(at+".handler", s.who()+" has no handler", "write handler: and the name of what runs it, or command:")
	} else if len(s.Handler) > maxHandlerName {
		p.addf(at+".handler", shorterHint, "handler name has %d bytes; at most %d are allowed", len(s.Handler), maxHandlerName)
	}
	checkText(s.Handler, at+".handler", p)
	config, n := canonicalJSON(s.HandlerConfig, at+".handler_config", p)
	s.HandlerConfig = config
	if s.Handler == SleepHandler {
		s.checkSleep(&n, at, p)
	} else if s.Wait != 0 {
		p.add(at+".handler", fmt.Sprintf("%s has a wait, but its handler is %q", s.who(), clip(s.Handler)),
			`only handler "sleep" waits`)
	}
}

// checkSleep reads handler_config.duration of a sleep step into Wait. A step made in Go may have a Wait and no config.
func (s *StepTemplate) checkSleep(config *jsonNode, at string, p *problems) {
	const example = `write it like handler_config: {duration: 10m}`
	at += ".handler_config"
	if s.HandlerConfig == nil && s.Wait > 0 {
		s.HandlerConfig = json.RawMessage(`{"duration":"` + s.Wait.String() + `"}`)
		return
	}
	duration := config.find("duration")
	if duration == nil {
		p.add(at, s.who()+" needs a duration", example)
	}
	for _, key := range config.keys {
		if key != "duration" {
			p.add(JoinPath(at, key), fmt.Sprintf("unknown key %q in the handler_config of sleep %s", clip(key), s.who()),
				"duration is the only one")
		}
	}
	if duration == nil {
		return
	}
	wait, message, hint := duration.duration()
	switch {
	case message != "":
		p.add(at+".duration", "duration "+message, hint)
	case wait <= 0:
		p.addf(at+".duration", example, "duration must be more than 0, got %s", wait)
	case s.Wait != 0 && s.Wait != wait:
		p.addf(at+".duration", "give one of the two", "duration is %s, but the step was made to wait %s", wait, s.Wait)
	default:
		s.Wait = wait
	}
}

func (s *StepTemplate) who() string {
	if s.Name == "" {
		return "step"
	}
	return fmt.Sprintf("step %q", clip(s.Name))
}

func (b *Backoff) check(at string, p *problems) {
	switch b.Strategy {
	case StrategyTasker, StrategyExponential, StrategyLinear, StrategyFixed, StrategyList:
		b.checkFields(at, p)
	default:
		known := []string{string(StrategyTasker), string(StrategyExponential), string(StrategyLinear),
			string(StrategyFixed), string(StrategyList)}
		p.add(at+".strategy", fmt.Sprintf("unknown backoff strategy %q", clip(string(b.Strategy))),
			oneOf(string(b.Strategy), known, p))
	}
	if b.Max < 0 {
		p.addf(at+".max", "leave it out for 5m", "max must not be negative, got %s", b.Max)
	}
	if b.Jitter != NoJitter && !(b.Jitter >= 0 && b.Jitter <= 1) {
		p.add(at+".jitter", fmt.Sprintf("jitter must be between 0 and 1, got %v", b.Jitter), "it is a share of the wait")
	}
}

// checkFields checks that the fields fit the strategy: one that it does not read would be a lie.
func (b *Backoff) checkFields(at string, p *problems) {
	switch {
	case b.Base != 0 && !b.Strategy.hasBase():
		p.add(at+".base", fmt.Sprintf("backoff strategy %q has no base", b.Strategy),
			"exponential, linear and fixed have one")
	case b.Base < 0:
		p.addf(at+".base", "leave it out for 1s", "base must not be negative, got %s", b.Base)
	}
	switch {
	case b.Factor != 0 && b.Strategy != StrategyExponential:
		p.add(at+".factor", fmt.Sprintf("backoff strategy %q has no factor", b.Strategy), "only exponential has one")
	case b.Factor < 0 || math.IsNaN(b.Factor) || math.IsInf(b.Factor, 0):
		p.addf(at+".factor", "leave it out for 2", "factor must be a number above 0, got %v", b.Factor)
	}
	switch {
	case len(b.List) > 0 && b.Strategy != StrategyList:
		p.add(at+".list", fmt.Sprintf("backoff strategy %q has no list", b.Strategy), `write strategy: list`)
	case len(b.List) == 0 && b.Strategy == StrategyList:
		p.add(at+".list", `backoff strategy "list" needs at least one value`, "write it like list: [1s, 5s, 30s]")
	}
	if len(b.List) > MaxListed {
		p.addf(at+".list", "the last one repeats: use fewer", "list has %d values; at most %d are allowed", len(b.List), MaxListed)
		return
	}
	for i, wait := range b.List {
		if wait < 0 {
			p.addf(IndexPath(at+".list", i), "0 is no wait", "a wait must not be negative, got %s", wait)
		}
	}
}

// seal computes body and hash of a definition that is right.
func (d *Definition) seal(p *problems) {
	body, err := d.encode()
	if err != nil {
		p.add("", "cannot be encoded: "+err.Error(), "give it values that JSON has")
		return
	}
	sum := sha256.Sum256(body)
	d.body, d.hash = body, hex.EncodeToString(sum[:])[:32]
}

// oneOf is the hint for a word that must be one of a few.
func oneOf(word string, known []string, p *problems) string {
	if near := p.suggest(word, known); near != "" {
		return didYouMean(near)
	}
	return "it is one of " + strings.Join(known, ", ")
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func checkName(name, what, at string, p *problems) {
	switch {
	case name == "":
		p.add(at, what+" is missing", "1 to 128 of A-Z a-z 0-9 _ -")
		return
	case len(name) > MaxNameLength:
		p.addf(at, shorterHint, "%s has %d bytes; at most %d are allowed", what, len(name), MaxNameLength)
		return
	}
	for _, r := range name {
		if r > 0x7f || !isNameByte(byte(r)) {
			p.add(at, fmt.Sprintf("%s %q has the character %q", what, name, r), "allowed are A-Z a-z 0-9 _ -")
			return
		}
	}
}

func checkText(text, at string, p *problems) {
	if !utf8.ValidString(text) {
		p.addf(at, "write it in UTF-8", "%q is not UTF-8 text", clip(text))
	}
}

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) <= MaxNameLength {
		return s
	}
	return strings.ToValidUTF8(s[:MaxNameLength], "") + "..."
}
