package domain

import (
	"encoding/json"
	"strings"
)

// CustomPrefix is what the types of custom events begin with; the name that a definition declares follows.
const CustomPrefix = "custom."

// Custom is an event that a definition declares and a handler emits (SEMANTICS 9). It is stored in the commit of the
// handler's report, before it, also when the handler failed. On the wire its type is "custom." and the name.
type Custom struct {
	Name    string          `json:"-"`
	Step    string          `json:"-"`
	Attempt int             `json:"-"`
	Data    json.RawMessage `json:"data,omitempty"` // any JSON; nil = none
}

// CustomType is the type of the custom events of that name.
func CustomType(name string) EventType { return EventType(CustomPrefix + name) }

// CustomName is the name of a custom event's type; false for every other type.
func CustomName(t EventType) (string, bool) { return strings.CutPrefix(string(t), CustomPrefix) }

// Type is CustomType of the name.
func (e Custom) Type() EventType { return CustomType(e.Name) }
func (Custom) event()            {}

// StepName is the step whose handler emitted the event.
func (e Custom) StepName() string { return e.Step }

// AttemptNumber is the execution that emitted it.
func (e Custom) AttemptNumber() int { return e.Attempt }

// Limits of what a running step stores, besides its result.
const (
	MaxCursor          = 16 << 10  // bytes of a checkpoint's JSON
	MaxProgressMessage = 256       // bytes; the rest is cut
	MaxLogLine         = 1 << 10   // bytes of a line; the rest is cut
	MaxLogEvent        = 16 << 10  // bytes of the lines of one event
	MaxLogAttempt      = 64 << 10  // bytes of the lines of one attempt; later ones are dropped and counted
	MaxEmitted         = 100       // custom events of one execution
	MaxEmittedBytes    = 128 << 10 // bytes of their data together
)
