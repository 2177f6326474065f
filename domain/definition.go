package domain

import (
	"encoding/json"
	"time"
)

// Defaults and limits of definitions (SEMANTICS 3 and 7).
const (
	DefaultNamespace     = "default"
	DefaultVersion       = "0.1.0"
	DefaultRetryLimit    = 3
	DefaultTimeout       = 15 * time.Minute
	DefaultMaxRetryAfter = 24 * time.Hour
	DefaultBackoffMax    = 300 * time.Second
	MaxSteps             = 20_000
	MaxEdges             = 200_000
	MaxNameLength        = 128
	MaxNames             = 384 << 10 // bytes of all step names together: one event may have to list them
	MaxListed            = 1_000     // waits of a backoff list
	MaxCustomEvents      = 1_000     // custom events that one list declares
)

// SleepHandler is the handler name whose steps the engine itself completes when their time has come.
const SleepHandler = "sleep"

// Definition is a named, versioned DAG of step templates. Make one with the Go builder, from YAML or from JSON, and
// pass it through Validate, which fills in every default; after that it is immutable.
type Definition struct {
	Namespace   string          // default "default"
	Name        string          // required
	Version     string          // semver, default "0.1.0"
	Description string          //
	Schema      json.RawMessage // JSON Schema 2020-12 of the context; nil accepts any object
	Steps       []StepTemplate  // 1 to MaxSteps
	OnFailure   OnFailure       // default FinishBranches
	Deadline    time.Duration   // from creation or the last retry of the task; 0 = none
	Output      string          // the step whose result is the task's; "" = the results of the leaves by name
	Tags        []string        // added to those of every task

	Identity     Identity      // what makes two submissions without a key the same task; default none
	CustomEvents []CustomEvent // that the handler of every step may emit; see DeclaresEvent
	Index        []string      // dotted paths of context fields that the index of tasks can be searched by; at most MaxIndexed

	graph *Graph
	hash  string
	body  json.RawMessage
}

// StepTemplate describes one step of a definition.
type StepTemplate struct {
	Name            string          // required; 1 to 128 of A-Z a-z 0-9 _ -
	Description     string          //
	Handler         string          // name of the step handler; required
	HandlerConfig   json.RawMessage // handed to the handler as it stands
	DependsOn       []string        // names of the parents; at most MaxEdges in a definition
	NotRetryable    bool            // the wire says retryable: false; runs once per round, its failure is final
	RetryLimit      int             // executions per round, default 3, at least 1; 0 is "left out" in Go only
	Backoff         Backoff         //
	MaxRetryAfter   time.Duration   // cap of a wait that the handler asks for; default 24 h
	Timeout         time.Duration   // of one execution, from the call of the handler; default 15 min; NoTimeout = none
	Skippable       bool            // may be named in bypass_steps
	Optional        bool            // its failure does not fail the task
	FinalErrors     []ErrorKind     // kinds that are not retried, besides permanent
	DependentSystem string          // the outside system that the step talks to
	Wait            time.Duration   // of a sleep step: how long; from handler_config.duration
	CustomEvents    []CustomEvent   // that the handler may emit, besides those of the definition
	// HeartbeatTimeout ends an execution whose handler gave no sign of life for that long, with kind timeout. 0 = none.
	// Less than Timeout, and not of a sleep.
	HeartbeatTimeout time.Duration
}

// NoTimeout is the Timeout of a step that may run for ever (timeout: 0 on the wire).
const NoTimeout time.Duration = -1

// OnFailure says what happens to the rest of the task when a step has failed for good.
type OnFailure string

// The two ways (SEMANTICS 5).
const (
	FinishBranches OnFailure = "finish_branches" // everything that can run, runs; then the task fails
	Stop           OnFailure = "stop"            // nothing starts any more; what runs may end; then the task fails
)

// Strategy names a way to compute the wait before a retry.
type Strategy string

// The strategies (SEMANTICS 3).
const (
	StrategyTasker      Strategy = "tasker"      // 1, 2, 4, 8, 16, 32 s, then n*n s
	StrategyExponential Strategy = "exponential" // base * factor^(n-1)
	StrategyLinear      Strategy = "linear"      // base * n
	StrategyFixed       Strategy = "fixed"       // base
	StrategyList        Strategy = "list"        // as listed, the last one repeats
)

// Backoff configures the wait before a retry. Validate fills in the defaults.
type Backoff struct {
	Strategy Strategy        // default "tasker"
	Base     time.Duration   // default 1 s; of exponential, linear, fixed
	Factor   float64         // default 2; of exponential
	List     []time.Duration // of list
	Max      time.Duration   // cap; default 300 s
	Jitter   float64         // share of the wait, 0 to 1; default 0.1; NoJitter = 0
}

// NoJitter is the Jitter of a backoff without any (jitter: 0 on the wire).
const NoJitter = -1.0

// FullName is "namespace.name@version".
func (d *Definition) FullName() string { return d.Namespace + "." + d.Name + "@" + d.Version }

// Graph is the compiled DAG; nil before Validate.
func (d *Definition) Graph() *Graph { return d.graph }

// Hash identifies the content: the SHA-256 of Body, 32 hexadecimal digits. "" before Validate.
func (d *Definition) Hash() string { return d.hash }

// Body is the canonical JSON form, which ParseDefinition reads. nil before Validate.
func (d *Definition) Body() json.RawMessage { return d.body }
