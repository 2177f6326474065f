package domain

import (
	"encoding/json"
	"time"
)

// The canonical form. The fields stand in the order of definitionKeys, stepKeys and backoffKeys.

type bodyDefinition struct {
	Name        string          `json:"name"`
	Namespace   string          `json:"namespace,omitempty"`
	Version     string          `json:"version,omitempty"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Steps       []bodyStep      `json:"steps"`
	OnFailure   OnFailure       `json:"on_failure,omitempty"`
	Deadline    string          `json:"deadline,omitempty"`
	Output      string          `json:"output,omitempty"`
	Tags        []string        `json:"tags,omitempty"`

	Identity     any         `json:"identity,omitempty"` // text or object
	CustomEvents []bodyEvent `json:"custom_events,omitempty"`
	Index        []string    `json:"index,omitempty"`
}

type bodyStep struct {
	Name            string          `json:"name"`
	Description     string          `json:"description,omitempty"`
	Handler         string          `json:"handler"`
	HandlerConfig   json.RawMessage `json:"handler_config,omitempty"`
	DependsOn       []string        `json:"depends_on,omitempty"`
	Retryable       *bool           `json:"retryable,omitempty"` // only false is written
	RetryLimit      int             `json:"retry_limit,omitempty"`
	Backoff         *bodyBackoff    `json:"backoff,omitempty"`
	MaxRetryAfter   string          `json:"max_retry_after,omitempty"`
	Timeout         any             `json:"timeout,omitempty"` // text, or the number 0
	Heartbeat       string          `json:"heartbeat_timeout,omitempty"`
	Skippable       bool            `json:"skippable,omitempty"`
	Optional        bool            `json:"optional,omitempty"`
	FinalErrors     []ErrorKind     `json:"final_errors,omitempty"`
	DependentSystem string          `json:"dependent_system,omitempty"`
	CustomEvents    []bodyEvent     `json:"custom_events,omitempty"`
}

type bodyEvent struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

type bodyBackoff struct {
	Strategy Strategy `json:"strategy,omitempty"`
	Base     string   `json:"base,omitempty"`
	Factor   float64  `json:"factor,omitempty"`
	List     []string `json:"list,omitempty"`
	Max      string   `json:"max,omitempty"`
	Jitter   any      `json:"jitter,omitempty"` // a number, also 0
}

// encode gives the canonical form of a definition with all defaults filled in.
func (d *Definition) encode() ([]byte, error) {
	b := bodyDefinition{
		Name:        d.Name,
		Namespace:   unless(DefaultNamespace, d.Namespace),
		Version:     unless(DefaultVersion, d.Version),
		Description: d.Description,
		Schema:      d.Schema,
		Steps:       make([]bodyStep, len(d.Steps)),
		OnFailure:   unless(FinishBranches, d.OnFailure),
		Deadline:    durationText(d.Deadline, 0),
		Output:      d.Output,
		Tags:        d.Tags,

		Identity:     d.Identity.body(),
		CustomEvents: eventBodies(d.CustomEvents),
		Index:        d.Index,
	}
	for i := range d.Steps {
		b.Steps[i] = d.Steps[i].body()
	}
	return encodeJSON(b)
}

func (s *StepTemplate) body() bodyStep {
	b := bodyStep{
		Name:            s.Name,
		Description:     s.Description,
		Handler:         s.Handler,
		HandlerConfig:   s.HandlerConfig,
		DependsOn:       s.DependsOn,
		RetryLimit:      unless(DefaultRetryLimit, s.RetryLimit),
		Backoff:         s.Backoff.body(),
		MaxRetryAfter:   durationText(s.MaxRetryAfter, DefaultMaxRetryAfter),
		Skippable:       s.Skippable,
		Optional:        s.Optional,
		FinalErrors:     s.FinalErrors,
		DependentSystem: s.DependentSystem,
		CustomEvents:    eventBodies(s.CustomEvents),
		Heartbeat:       durationText(s.HeartbeatTimeout, 0),
	}
	if s.NotRetryable {
		b.Retryable = new(bool)
	}
	switch s.Timeout {
	case DefaultTimeout:
	case NoTimeout:
		b.Timeout = 0
	default:
		b.Timeout = s.Timeout.String()
	}
	return b
}

func eventBodies(events []CustomEvent) []bodyEvent {
	out := make([]bodyEvent, len(events))
	for i, e := range events {
		out[i] = bodyEvent(e)
	}
	return out
}

// body is nil when everything is default.
func (b *Backoff) body() *bodyBackoff {
	out := bodyBackoff{
		Strategy: unless(StrategyTasker, b.Strategy),
		Max:      durationText(b.Max, DefaultBackoffMax),
	}
	empty := out.Strategy == "" && out.Max == ""
	if b.Strategy.hasBase() {
		out.Base = durationText(b.Base, defaultBackoffBase)
	}
	if b.Strategy == StrategyExponential {
		out.Factor = unless(defaultBackoffFactor, b.Factor)
	}
	for _, wait := range b.List {
		out.List = append(out.List, wait.String())
	}
	switch b.Jitter {
	case defaultJitter:
	case NoJitter:
		out.Jitter, empty = 0, false
	default:
		out.Jitter, empty = b.Jitter, false
	}
	if empty {
		return nil
	}
	return &out
}

// unless is v, or the zero value when v is the one to leave out.
func unless[T comparable](out, v T) T {
	if v == out {
		var zero T
		return zero
	}
	return v
}

func durationText(d, standard time.Duration) string {
	if d == standard {
		return ""
	}
	return d.String()
}
