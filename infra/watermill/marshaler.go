package watermill

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker/domain"
)

// Marshaler is the cqrs.CommandEventMarshaler between messages and Go types. Handlers take pointers to
//
//   - the structs of package domain: *domain.TaskCompleted is told of task.completed, and so on
//   - *domain.Record: every fact, with task, time and position around it
//   - *domain.Custom: the custom events of every name; *domain.Signal: every signal that is not live only
//   - a struct of yours with a method Name() string that gives the type of an event, such as "custom.order.shipped": the
//     payload is decoded into it, and of a custom event what the handler emitted
//
// Because a handler of many types must be asked for by one name, the three in the middle work with subscribers that a Bus
// has made, and not in groups; so does nothing else depend on the Bus.
//
// To the other side, for an event bus on an Intake, it marshals domain.IntakeRequest and domain.OperatorRequest, whose names
// are the topics.
type Marshaler struct{}

// Names of handlers that are told of many types.
const (
	nameOfRecords = EveryFact
	nameOfCustom  = domain.CustomPrefix + "*"
	nameOfSignals = "signals"
)

// Name gives the type of event that a pointer to it stands for; "" for what is none.
func (Marshaler) Name(v any) string {
	switch v := v.(type) {
	case *domain.Record, domain.Record:
		return nameOfRecords
	case *domain.Custom:
		if v.Name == "" {
			return nameOfCustom
		}
	case *domain.Signal:
		if v.Name == "" {
			return nameOfSignals
		}
	case domain.IntakeRequest, *domain.IntakeRequest:
		return string(domain.TaskCreatedType)
	case domain.OperatorRequest:
		return string(v.Verb)
	case *domain.OperatorRequest:
		return string(v.Verb)
	}
	switch v := v.(type) {
	case domain.Event:
		return string(v.Type())
	case interface{ Name() string }:
		return v.Name()
	}
	return ""
}

// NameFromMessage is the type of the event, or the name that the handler of many types has which the subscriber is for.
func (Marshaler) NameFromMessage(msg *message.Message) string {
	if d := deliveryOf(msg.Context()); d != nil && d.as != "" {
		return d.as
	}
	return msg.Metadata.Get(MetadataType)
}

// topicOf is what to subscribe to for a name.
func topicOf(name string) string {
	if name != nameOfSignals {
		return name
	}
	var types []domain.EventType
	for _, entry := range domain.SignalCatalogue() {
		if !entry.Live {
			types = append(types, entry.Type)
		}
	}
	return Topic(types...)
}

// Marshal makes the message of a request. An event is refused: see ErrFactsAreNotPublished.
func (m Marshaler) Marshal(v any) (*message.Message, error) {
	switch v.(type) {
	case domain.IntakeRequest, *domain.IntakeRequest, domain.OperatorRequest, *domain.OperatorRequest:
	default:
		return nil, fmt.Errorf("%T: %w (domain.IntakeRequest, domain.OperatorRequest)", v, ErrFactsAreNotPublished)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	msg := message.NewMessage(wm.NewUUID(), text)
	msg.Metadata.Set(MetadataName, m.Name(v))
	return msg, nil
}

// Unmarshal fills the event in; see the type for what v may point to.
func (Marshaler) Unmarshal(msg *message.Message, v any) error {
	r, err := RecordOf(msg)
	if err != nil {
		return err
	}
	if record, ok := v.(*domain.Record); ok {
		*record = r
		return nil
	}
	if _, ours := v.(domain.Event); ours {
		to := reflect.ValueOf(v).Elem()
		if have := reflect.ValueOf(r.Event); have.Type() == to.Type() {
			to.Set(have)
			return nil
		}
		if err := r.Unreadable(); err != nil {
			return domain.Permanent(err)
		}
		return domain.Permanent(fmt.Errorf("event %s is a %T, not a %s", r.ID(), r.Event, strings.TrimPrefix(fmt.Sprintf("%T", v), "*")))
	}
	payload := json.RawMessage(msg.Payload)
	if custom, ok := r.Event.(domain.Custom); ok {
		if payload = custom.Data; payload == nil {
			return nil
		}
	}
	if err := json.Unmarshal(payload, v); err != nil {
		return domain.Permanent(fmt.Errorf("the payload of event %s (%s): %w", r.ID(), r.Event.Type(), err))
	}
	return nil
}

// RecordOf gives the event of a message with what surrounds it, in a typed handler
// RecordOf(cqrs.OriginalMessageFromCtx(ctx)). A message that Events has delivered carries it; one that has travelled on through
// another Pub/Sub, with payload and Metadata as they were, is read again, and Prev is 0 then. A signal cannot be.
func RecordOf(msg *message.Message) (domain.Record, error) {
	if msg == nil {
		return domain.Record{}, errors.New("there is no message")
	}
	if d := deliveryOf(msg.Context()); d != nil {
		return d.record, nil
	}
	r, err := decode(msg)
	if err != nil {
		return domain.Record{}, domain.Permanent(fmt.Errorf("message %q is no event of Tasker: %w", msg.UUID, err))
	}
	return r, nil
}

// decode goes through the format of the log, which has the only decoder of events.
func decode(msg *message.Message) (domain.Record, error) {
	type event struct {
		Type    string          `json:"type"`
		Version int             `json:"v,omitempty"`
		Step    string          `json:"step,omitempty"`
		Attempt int             `json:"attempt,omitempty"`
		By      string          `json:"by,omitempty"`
		Cause   string          `json:"cause,omitempty"`
		Data    json.RawMessage `json:"data,omitempty"`
	}
	type group struct {
		Task   string  `json:"task,omitempty"`
		Events []event `json:"events"`
	}
	get := msg.Metadata.Get
	at, err := domain.ParsePosition(get(MetadataPosition))
	if err != nil {
		return domain.Record{}, err
	}
	if t := domain.EventType(get(MetadataType)); domain.RankOf(domain.Signal{Name: t}) != 0 {
		return domain.Record{}, fmt.Errorf("%s is a signal, which cannot be read back", t)
	}
	number := func(key string) int {
		n, _ := strconv.Atoi(get(key)) // what is no number is none
		return n
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err = enc.Encode(struct {
		V     int     `json:"v"`
		ID    string  `json:"id"`
		At    string  `json:"at"`
		Tasks []group `json:"tasks"`
	}{domain.CommitVersion, msg.UUID, get(MetadataTime), []group{{get(MetadataTask), []event{{
		get(MetadataType), number(MetadataVersion), get(MetadataStep), number(MetadataAttempt), get(MetadataActor),
		get(MetadataCausation), json.RawMessage(msg.Payload),
	}}}}})
	if err != nil {
		return domain.Record{}, err
	}
	c, err := domain.DecodeCommit(text.Bytes(), at.Partition, at.Sequence)
	if err != nil {
		return domain.Record{}, err
	}
	c.Records[0].Position = at
	return c.Records[0], nil
}
