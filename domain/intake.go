package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// The intake is the way in for those who have nothing of this package: a request for a task, as JSON, published on NATS by
// any client. IntakeRequest is the body, IntakeAnswer the answer. The whole contract stands at the top of intake.go in the
// root package; it only grows.

// Headers of a message to the intake. All of them are optional, and others are allowed and ignored.
const (
	// HeaderReplyTo names a subject that gets the answer, as a plain message, when the request has been decided.
	HeaderReplyTo = "Tasker-Reply-To"
	// HeaderMessageID makes every delivery and every repetition of a message the same task (MessageTaskID).
	HeaderMessageID = "Nats-Msg-Id"
	// HeaderRequeued is set on what comes from the dead letters again. It is HeaderMessageID to the engine, which NATS does
	// not see: NATS would drop the message as one that it has had already.
	HeaderRequeued = "Tasker-Message-Id"
	// HeaderCorrelation and HeaderTraceparent count when the body has no such field.
	HeaderCorrelation = "correlation_id"
	HeaderTraceparent = "traceparent"
)

// IntakeSubject is where a request for a task is published: into the stream <PREFIX>_INBOX. prefix is that of the
// engine; "" is the default, tasker.
func IntakeSubject(prefix, namespace, name string) string {
	return subjectPrefix(prefix) + ".submit.task." + namespaceOr(namespace) + "." + name
}

// IntakeRequestSubject is where a request is sent that waits for its answer (request/reply of NATS). No stream holds it.
func IntakeRequestSubject(prefix, namespace, name string) string {
	return subjectPrefix(prefix) + ".submit.request." + namespaceOr(namespace) + "." + name
}

func subjectPrefix(prefix string) string {
	if prefix == "" {
		return "tasker"
	}
	return strings.ToLower(prefix)
}

func namespaceOr(namespace string) string {
	if namespace == "" {
		return DefaultNamespace
	}
	return namespace
}

// IntakeRequest is the body of a message to the intake.
type IntakeRequest struct {
	// Namespace and Name are those of the definition. They stand in the subject and need not be repeated; what contradicts
	// the subject is refused.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Version   string `json:"version,omitempty"` // default: the highest release
	// Context is the task's input, a JSON object. Default {}.
	Context json.RawMessage `json:"context,omitempty"`
	// IdempotencyKey: the same key, of a namespace and name, is the same task (KeyedTaskID).
	IdempotencyKey string   `json:"idempotency_key,omitempty"`
	Initiator      string   `json:"initiator,omitempty"`
	SourceSystem   string   `json:"source_system,omitempty"`
	Reason         string   `json:"reason,omitempty"`
	Tags           []string `json:"tags,omitempty"`
	BypassSteps    []string `json:"bypass_steps,omitempty"`
	Correlation    string   `json:"correlation,omitempty"`
	Traceparent    string   `json:"traceparent,omitempty"` // W3C Trace Context: the trace that the task belongs to
}

// IntakeAnswer answers a request: either Task, Position and Created are set, or Error is; beside an Error of code
// idempotency_mismatch the task that has the key is.
type IntakeAnswer struct {
	Task     TaskID       `json:"task,omitzero"`
	Position *Position    `json:"position,omitempty"` // of the commit that has what was answered
	Created  bool         `json:"created"`            // false: the request, or one with its key, was carried out before
	Error    *IntakeError `json:"error,omitempty"`
}

// IntakeError says why there is no task.
type IntakeError struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail,omitempty"` // by code, such as the violations of the schema
	// Retryable: nothing is wrong with the request. What was published is tried again by itself; what was sent with
	// request/reply may be sent again, with an idempotency key without a doubt.
	Retryable bool `json:"retryable,omitempty"`
}

func (e *IntakeError) Error() string { return e.Message }

// ErrIntake is what a request is refused with that is none; the error that wraps it says why.
var ErrIntake = errors.New("not a request for a task")

func notARequest(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrIntake, fmt.Errorf(format, args...))
}

// intakeFields are what a body may have.
var intakeFields = []string{
	"namespace", "name", "version", "context", "idempotency_key", "initiator", "source_system", "reason", "tags",
	"bypass_steps", "correlation", "traceparent",
}

// intakeIgnored are what the engine decides itself. A request may have them, because an event that somebody stored once has
// them, too, but they say nothing.
var intakeIgnored = []string{
	"id", "task", "task_id", "event_id", "type", "at", "time", "position", "actor", "by", "attempt", "attempts", "step", "prev",
	"causation", "cause", "definition", "deadline", "input", "created_at", "state",
}

// ParseIntakeRequest reads a body. subject are the tokens behind tasker.submit.task or tasker.submit.request: namespace and
// name, or none at all when the body has to name them. An empty body is one without fields. A field that is not one of a
// request, or stands there twice, is refused: a misspelled one would be lost in silence, and so would the input of a body
// that is the context itself. Errors wrap ErrIntake.
func ParseIntakeRequest(subject []string, body []byte) (IntakeRequest, error) {
	r, err := parseIntakeBody(body)
	if err != nil {
		return IntakeRequest{}, err
	}
	switch len(subject) {
	case 0:
		r.Namespace = namespaceOr(r.Namespace)
	case 2:
		if r.Namespace != "" && r.Namespace != subject[0] {
			return IntakeRequest{}, notARequest("the subject says namespace %q, the body %q", clip(subject[0]), clip(r.Namespace))
		}
		if r.Name != "" && r.Name != subject[1] {
			return IntakeRequest{}, notARequest("the subject says name %q, the body %q", clip(subject[1]), clip(r.Name))
		}
		r.Namespace, r.Name = subject[0], subject[1]
	default:
		return IntakeRequest{}, notARequest("its subject must end with the namespace and the name of a definition: "+
			"two parts, and %q has %d", clip(strings.Join(subject, ".")), len(subject))
	}
	var p problems
	checkName(r.Namespace, "the namespace", "", &p)
	checkName(r.Name, "the name of the definition", "", &p)
	if len(p.list) > 0 {
		return IntakeRequest{}, notARequest("%s: %s", p.list[0].Message, p.list[0].Hint)
	}
	return r, nil
}

func parseIntakeBody(body []byte) (IntakeRequest, error) {
	var r IntakeRequest
	text := bytes.TrimSpace(body)
	if len(text) == 0 {
		return r, nil
	}
	if !utf8.Valid(text) {
		return r, notARequest("the body is not UTF-8 text")
	}
	if err := json.Unmarshal(text, &json.RawMessage{}); err != nil {
		return r, notARequest("%w", syntaxError(text, err))
	}
	if text[0] != '{' {
		return r, notARequest(`the body is no JSON object: want {"context": {...}}`)
	}
	fields, err := intakeObject(text)
	if err != nil {
		return r, err
	}
	if err := onlyIgnored(fields); err != nil {
		return r, err
	}
	return r, r.fill(fields)
}

// intakeObject splits an object into its fields. (encoding/json would take the last of two equal ones, and any case.)
func intakeObject(text []byte) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, notARequest("%w", err)
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, notARequest("%w", err)
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, notARequest("%w", err)
		}
		if _, twice := fields[name]; twice {
			return nil, notARequest("the body has the field %q twice", clip(name))
		}
		switch {
		case slices.Contains(intakeFields, name):
		case slices.Contains(intakeIgnored, name):
		case name == "key":
			return nil, notARequest(`the body has the field "key": the idempotency key is called "idempotency_key"`)
		default:
			hint := `the task's input goes into "context": {"context": {...}}`
			if near := Nearest(name, intakeFields); near != "" {
				hint = fmt.Sprintf("was %q meant? ", near) + hint
			}
			return nil, notARequest("the body has the field %q, which a request has not; %s", clip(name), hint)
		}
		fields[name] = value
	}
	return fields, nil
}

// onlyIgnored refuses a body such as {"id": 7}: it has nothing of a request, so it is probably the task's input itself.
func onlyIgnored(fields map[string]json.RawMessage) error {
	if _, ok := fields["context"]; ok {
		return nil
	}
	for _, name := range intakeIgnored {
		if _, ok := fields[name]; ok {
			return notARequest(`the body has the field %q, which is ignored, and no "context"; the task's input goes into "context": {"context": {...}}`, name)
		}
	}
	return nil
}

func (r *IntakeRequest) fill(fields map[string]json.RawMessage) error {
	for name, to := range map[string]any{
		"namespace": &r.Namespace, "name": &r.Name, "version": &r.Version, "idempotency_key": &r.IdempotencyKey, "initiator": &r.Initiator,
		"source_system": &r.SourceSystem, "reason": &r.Reason, "tags": &r.Tags, "bypass_steps": &r.BypassSteps, "correlation": &r.Correlation,
		"traceparent": &r.Traceparent,
	} {
		value, given := fields[name]
		if !given {
			continue
		}
		if err := json.Unmarshal(value, to); err != nil {
			want := "a string"
			if name == "tags" || name == "bypass_steps" {
				want = "a list of strings"
			}
			return notARequest("%s must be %s", name, want)
		}
	}
	value := fields["context"]
	switch {
	case len(value) == 0 || string(value) == "null":
		r.Context = nil
	case value[0] != '{':
		return notARequest("context must be a JSON object")
	default:
		r.Context = value
	}
	return nil
}

// CheckReplySubject says why answers cannot be sent to a subject that a foreign client has named, or nil. An engine may write
// where its clients may not: into its own streams, and to the subjects of the system, which begin with $.
func CheckReplySubject(prefix, subject string) error {
	own := subjectPrefix(prefix)
	first, _, _ := strings.Cut(subject, ".")
	var why string
	switch {
	case len(subject) > maxReplySubject:
		why = fmt.Sprintf("it has more than %d bytes", maxReplySubject)
	case subject == "" || strings.HasPrefix(subject, ".") || strings.HasSuffix(subject, ".") || strings.Contains(subject, ".."):
		why = "a part of it is empty"
	case strings.ContainsAny(subject, "*>") || strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		why = "it has wildcards, white space or characters that are not ASCII"
	case first == own:
		why = "what is below " + own + " is the engine's"
	case strings.HasPrefix(first, "$"):
		why = "what begins with $ is the system's"
	default:
		return nil
	}
	return notARequest("the answer cannot be sent to %q: %s", clip(subject), why)
}

// maxReplySubject is far above what clients make for inboxes.
const maxReplySubject = 255

// messageSpace is the UUIDv5 name space of ids derived from message ids. It must never change.
var messageSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/tasker-go/tasker/message"))

// MessageTaskID derives the id of the task that a message with an id (HeaderMessageID) asks for. Like an idempotency key
// the message id is remembered until the idempotency window after the task's end has passed.
func MessageTaskID(namespace, name, messageID string) TaskID {
	return TaskID(uuid.NewSHA1(messageSpace, []byte(namespace+"\x00"+name+"\x00"+messageID)))
}

// SequencedTaskID derives the id of the task that a message without any id asks for: of version 7, with the time at which
// it was stored, so that every delivery of the message is the same task. dataID is the log's.
func SequencedTaskID(dataID string, sequence uint64, stored time.Time) TaskID {
	nanos := uint64(max(stored.UnixNano(), 0)) // #nosec G115 -- not negative
	text := binary.BigEndian.AppendUint64([]byte(dataID+"\x00"), sequence)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(text, nanos))
	var id TaskID
	copy(id[:], sum[:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], nanos/uint64(time.Millisecond))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
