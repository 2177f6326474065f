package domain

import (
	"encoding/json"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CloudEventsVersion is the version of the CloudEvents specification that CloudEvent follows.
const CloudEventsVersion = "1.0"

// CloudEvent is an event as CloudEvents 1.0 sees it, for those who know nothing of Tasker. A string attribute that is ""
// and a number that is 0 is left out. The mapping is part of the contract: attributes may be added, none changes its meaning.
type CloudEvent struct {
	// ID names the event within its source: the event id, "00-123-4", of a fact. A signal shares its position with the fact
	// that it follows from, so its type is appended: "00-123-4:workflow.task_started". Source and ID are what a receiver is
	// idempotent by.
	ID string
	// Source is the log: CloudEventSource of its data id.
	Source string
	// Type is the event type as it is everywhere else, without a prefix: "task.completed".
	Type EventType
	// Subject is the id of the task; "" for the facts without a task.
	Subject string
	Time    Instant
	// Data is a JSON object, what the event says beyond its attributes; {} when that is nothing. datacontenttype is
	// application/json. There is no dataschema: docs/wire.md describes the data of each type.
	Data json.RawMessage

	// Extension attributes. CloudEvents allows a-z and 0-9 in their names.

	Position     string // position: the event id, also of a signal; it orders the events of a task
	Version      int    // eventversion: of the type, from 1
	Step         string // step
	Attempt      int    // attempt: the execution of the step, from 1
	Actor        string // actor: engine, handler, submitter, operator, operator:<name>
	Causation    string // causationid: of the event or command that brought it about, where the log says so itself
	PartitionKey string // partitionkey: the id of the task; what has the same key is to be handled in order

	// What only the beginning of a task says: CloudEventOf sets it for task.created, and whoever knows more of a task sets
	// it for the other events.

	Correlation       string // correlationid
	Namespace         string // namespace of the task's definition
	Definition        string // definition: its name
	DefinitionVersion string // definitionversion
}

// CloudEventSource is the source of the events of the log with that data id.
func CloudEventSource(dataID string) string { return "/tasker/" + dataID }

// CloudEventOf maps a stored event, or a signal that follows from one. source is CloudEventSource of the log's data id.
func CloudEventOf(r Record, source string) CloudEvent {
	e := CloudEvent{
		ID: r.ID(), Source: source, Type: r.Event.Type(), Time: r.At, Data: EventData(r.Event),
		Version: 1, Actor: string(r.Actor()), Causation: r.Cause,
	}
	e.Position = e.ID
	if !r.Task.IsZero() {
		e.Subject = r.Task.String()
		e.PartitionKey = e.Subject
	}
	if e.Data == nil {
		e.Data = json.RawMessage("{}")
	}
	if about, ok := r.Event.(StepEvent); ok {
		e.Step, e.Attempt = about.StepName(), about.AttemptNumber()
	}
	switch event := r.Event.(type) {
	case TaskCreated:
		e.Correlation, e.Definition, e.DefinitionVersion = event.Correlation, event.Name, event.Version
		if e.Namespace = event.Namespace; e.Namespace == "" {
			e.Namespace = DefaultNamespace
		}
	case Signal:
		e.ID += ":" + string(e.Type)
		e.Attempt = event.Attempt
		if len(event.Steps) == 1 {
			e.Step = event.Steps[0]
		}
	case Unknown:
		e.Version, e.Step, e.Attempt = event.Version, event.Step, event.Attempt
	case PartitionOpened, PartitionSkipped, DefinitionAdopted, TaskStartRequested, TaskReenqueued, TaskDelayed, TaskCompleted,
		TaskFailed, TaskRetryRequested, TaskCancelled, TaskResolvedManually, TaskPaused, TaskResumed, TaskAnnotated, TaskExpired,
		StepInherited, StepExecutionRequested, StepCompleted, StepFailed, StepRetryRequested, StepCancelled, StepResolvedManually, StepSkipped,
		StepCheckpointed, StepProgressed, StepLogAppended, Custom:
	}
	return e
}

// Attributes gives name and value of every attribute that is there, in a fixed order, specversion first. In a header the
// name gets the prefix of the protocol (ce- over NATS and HTTP; datacontenttype is Content-Type over HTTP) and the value
// goes through CloudEventHeader.
func (e *CloudEvent) Attributes() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		e.each(func(name, value string, _ bool) bool { return yield(name, value) })
	}
}

// each tells of numbers which they are.
func (e *CloudEvent) each(yield func(name, value string, number bool) bool) {
	text := func(name, value string) bool { return value == "" || yield(name, allowed(value), false) }
	number := func(name string, n int) bool { return n == 0 || yield(name, strconv.Itoa(n), true) }
	_ = text("specversion", CloudEventsVersion) &&
		text("id", e.ID) &&
		text("source", e.Source) &&
		text("type", string(e.Type)) &&
		text("subject", e.Subject) &&
		text("time", e.Time.String()) &&
		text("datacontenttype", "application/json") &&
		text("position", e.Position) &&
		number("eventversion", e.Version) &&
		text("step", e.Step) &&
		number("attempt", e.Attempt) &&
		text("actor", e.Actor) &&
		text("causationid", e.Causation) &&
		text("correlationid", e.Correlation) &&
		text("partitionkey", e.PartitionKey) &&
		text("namespace", e.Namespace) &&
		text("definition", e.Definition) &&
		text("definitionversion", e.DefinitionVersion)
}

// AppendJSON appends the event in the JSON format of CloudEvents, as one line without a newline (structured content mode,
// application/cloudevents+json).
func (e *CloudEvent) AppendJSON(b []byte) []byte {
	o := object(append(b, '{'))
	e.each(func(name, value string, number bool) bool {
		if number {
			o = append(o.key(name), value...)
		} else {
			o = o.text(name, value)
		}
		return true
	})
	return append(o.raw("data", e.Data), '}')
}

// MarshalJSON is AppendJSON.
func (e CloudEvent) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil), nil }

// allowed replaces what the value of an attribute must not hold: control characters, and what is not UTF-8.
func allowed(value string) string {
	bad := func(r rune) bool {
		return r < ' ' || 0x7f <= r && r <= 0x9f || r == utf8.RuneError || r&0xfffe == 0xfffe
	}
	if strings.IndexFunc(value, bad) < 0 {
		return value
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return utf8.RuneError
		}
		return r
	}, value)
}

// CloudEventHeader writes the value of an attribute as the HTTP and NATS bindings want it in a header: what is not
// printable ASCII, the space, the double quote and the percent sign become %XX of their UTF-8 bytes.
func CloudEventHeader(value string) string {
	const hex = "0123456789ABCDEF"
	bare := func(c byte) bool { return '!' <= c && c <= '~' && c != '"' && c != '%' }
	var b []byte
	for i := range len(value) {
		c := value[i]
		switch {
		case b == nil && bare(c):
			continue
		case b == nil:
			b = append(make([]byte, 0, 3*len(value)), value[:i]...)
		}
		if bare(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	if b == nil {
		return value
	}
	return string(b)
}
