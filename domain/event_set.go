package domain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// EventSet says of which events somebody wants to be told. The zero set is every fact, those that this version cannot
// read included, and no signal.
type EventSet struct {
	types  map[EventType]bool // nil: every fact
	custom bool               // custom events of every name
	named  []EventType        // live signals that are named one by one
}

// anyOf ends the names that stand for a family of types.
const anyOf = ".*"

// NewEventSet makes a set of types: facts, signals, custom.<name>; and of families: task.*, step.*, workflow.*,
// observability.*, partition.*, definition.*, which hold facts and signals, and custom.*. None is every fact. The error,
// an *EventTypeError, is about the first name that stands for nothing: it would be waited for in vain.
func NewEventSet(names []EventType) (EventSet, error) {
	var s EventSet
	if len(names) == 0 {
		return s, nil
	}
	s.types = map[EventType]bool{}
	for _, name := range names {
		if !s.add(name) {
			return EventSet{}, &EventTypeError{Type: name, Hint: meant(name)}
		}
	}
	return s, nil
}

func (s *EventSet) add(name EventType) bool {
	if name == CustomPrefix+"*" {
		s.custom = true
		return true
	}
	if family, ok := strings.CutSuffix(string(name), anyOf); ok {
		found := false
		for _, t := range allTypes() {
			if strings.HasPrefix(string(t), family+".") {
				s.types[t], found = true, true
			}
		}
		return found
	}
	if custom, ok := CustomName(name); ok {
		if customNameProblem(custom) != "" {
			return false
		}
		s.types[name] = true
		return true
	}
	if !slices.Contains(allTypes(), name) {
		return false
	}
	if LiveSignal(name) {
		s.named = append(s.named, name)
	}
	s.types[name] = true
	return true
}

// Has reports whether the event is in the set.
func (s EventSet) Has(e Event) bool {
	if s.types == nil {
		_, signal := e.(Signal)
		return !signal
	}
	switch e := e.(type) {
	case Unknown:
		return false // of a later version of a type that is asked for, perhaps: nobody here can read it
	case Custom:
		return s.custom || len(s.types) > 0 && s.types[e.Type()]
	case Signal, PartitionOpened, PartitionSkipped, DefinitionAdopted, TaskCreated, TaskStartRequested, TaskReenqueued,
		TaskDelayed, TaskCompleted, TaskFailed, TaskRetryRequested, TaskCancelled, TaskResolvedManually, TaskPaused,
		TaskResumed, TaskAnnotated, TaskExpired, StepInherited, StepExecutionRequested, StepCompleted, StepFailed, StepRetryRequested,
		StepCancelled, StepResolvedManually, StepSkipped, StepCheckpointed, StepProgressed, StepLogAppended:
	}
	return s.types[e.Type()]
}

// HasType reports whether events of that type are in the set; every fact's is in the zero set.
func (s EventSet) HasType(t EventType) bool {
	if _, custom := CustomName(t); custom {
		return s.types == nil || s.custom || s.types[t]
	}
	if s.types == nil {
		return KnownType(t)
	}
	return s.types[t]
}

// Derives reports whether a signal that follows from commits is in the set, so that they have to be derived.
func (s EventSet) Derives() bool {
	return slices.ContainsFunc(signals, func(entry SignalEntry) bool { return !entry.Live && s.types[entry.Type] })
}

// NamedLive lists the live signals that are in the set by their own names, not by that of their family: whoever reads
// the log waits for them in vain.
func (s EventSet) NamedLive() []EventType { return slices.Clone(s.named) }

// LiveSignal reports whether the type is that of a signal which follows from no commit; see SignalEntry.Live.
func LiveSignal(t EventType) bool {
	return slices.ContainsFunc(signals, func(entry SignalEntry) bool { return entry.Live && entry.Type == t })
}

func allTypes() []EventType {
	types := Types()
	for _, entry := range signals {
		types = append(types, entry.Type)
	}
	return types
}

// EventTypeError: a name that is no type of an event, nor a family of types.
type EventTypeError struct {
	Type EventType
	Hint string // what was probably meant; may be ""
}

func (e *EventTypeError) Error() string {
	text := strconv.Quote(string(e.Type)) + " is no type of an event"
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text + " (docs/events.md lists them all)"
}

// meant says what a name that stands for nothing should have been.
func meant(name EventType) string {
	if custom, ok := CustomName(name); ok {
		return customNameProblem(custom)
	}
	candidates := []string{CustomPrefix + "*"}
	for _, t := range allTypes() {
		candidates = append(candidates, string(t))
		if family, _, _ := strings.Cut(string(t), "."); !slices.Contains(candidates, family+anyOf) {
			candidates = append(candidates, family+anyOf)
		}
	}
	if near := Nearest(string(name), candidates); near != "" {
		return didYouMean(near)
	}
	if customNameProblem(string(name)) == "" {
		return fmt.Sprintf("if a definition declares it, it is %q", CustomType(string(name)))
	}
	return ""
}

// customNameProblem is what is wrong with the name of a custom event; "" when nothing is.
func customNameProblem(name string) string {
	var p problems
	checkEventName(name, "", &p)
	if len(p.list) == 0 {
		return ""
	}
	return p.list[0].String()
}
