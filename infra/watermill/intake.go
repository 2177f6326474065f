package watermill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

const (
	// DefaultIntakeTimeout is how long Publish waits for an acknowledgement, or for an operator's answer.
	DefaultIntakeTimeout = 5 * time.Second
	// maxPending is how many requests may be on their way at once.
	maxPending = 1024
	// headerUUID is where Watermill's adapters for NATS keep the UUID.
	headerUUID = "_watermill_message_uuid"
)

// ErrFactsAreNotPublished: a topic of an Intake that asks for nothing. What has happened is decided by engines, and stands
// in the log; nobody else can say it.
var ErrFactsAreNotPublished = errors.New("facts are not published, they are decided by engines: " +
	"publish a request (a task to be created, or an operator's verb)")

// Operator carries out the verbs of operators: tasker.Engine and tasker.Client do.
type Operator interface {
	// Operate returns when what the verb leads to is stored, or refused.
	Operate(ctx context.Context, r domain.OperatorRequest) error
}

// IntakeConfig says where an Intake publishes to.
type IntakeConfig struct {
	// NATS is where engines run. It stays yours: nothing here closes it. Required for requests for tasks.
	NATS *nats.Conn
	// Prefix is that of the engines. Default "TASKER".
	Prefix string
	// Operator carries out verbs. Without one their topics are refused.
	Operator Operator
	// Timeout of a Publish whose message's context gives no earlier end. Default 5 s.
	Timeout time.Duration
}

// Intake is a message.Publisher whose topics ask for something. Its methods may be called from any goroutine.
//
// The topic task.created asks for a task: the payload is a domain.IntakeRequest as JSON, with the name of the definition in
// it, such as {"name": "order", "context": {"id": 7}}. Publish returns when the request is stored in the inbox of the engines;
// the task is created as soon as one of them takes it, and what an engine refuses is in the dead letters then. A payload that
// is no request is refused here. The message's UUID goes along, so that published again the message is the same task
// (domain.MessageTaskID, unless the definition has an identity of its own). With an idempotency_key in the payload, that decides,
// and Publish sets MetadataTask to the id that the task has, or will have. Metadata travel as headers (correlation_id becomes
// the task's correlation id), but what NATS itself would obey.
//
// The topics of domain.Verb (task.cancel, step.retry, ...) are an operator's: the payload is a domain.OperatorRequest as
// JSON, and Publish returns when the verb is carried out, or refused with the error of the face. A verb has to be answered,
// so it is no message in a stream but a request to the owner of the task.
//
// Every other topic is refused with ErrFactsAreNotPublished.
type Intake struct {
	config IntakeConfig
	js     jetstream.JetStream
}

// NewIntake makes an Intake. Nothing is sent before Publish.
func NewIntake(c IntakeConfig) (*Intake, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultIntakeTimeout
	}
	switch {
	case c.Timeout < 0:
		return nil, fmt.Errorf("watermill: IntakeConfig.Timeout is %s: want more than 0", c.Timeout)
	case c.NATS == nil && c.Operator == nil:
		return nil, errors.New("watermill: IntakeConfig needs NATS, for requests for tasks, or an Operator, for verbs, or both")
	case c.NATS == nil:
		return &Intake{config: c}, nil
	}
	js, err := jetstream.New(c.NATS, jetstream.WithPublishAsyncMaxPending(maxPending), jetstream.WithPublishAsyncTimeout(c.Timeout))
	if err != nil {
		return nil, fmt.Errorf("watermill: %w", err)
	}
	return &Intake{config: c, js: js}, nil
}

// Publish implements message.Publisher. Messages are stored in their order; they are not one transaction: the error is a
// *PublishError that says how many were, and all of them may be published again. It waits no longer than the messages' contexts.
func (i *Intake) Publish(topic string, messages ...*message.Message) error {
	if domain.EventType(topic) == domain.TaskCreatedType {
		return i.submit(messages)
	}
	for n, msg := range messages {
		if err := i.operate(topic, msg); err != nil {
			return &PublishError{Topic: topic, UUID: msg.UUID, Done: n, Of: len(messages), Err: err}
		}
	}
	if len(messages) == 0 {
		return topicProblem(topic)
	}
	return nil
}

// Close does nothing: everything was sent when Publish returned, and the connection is not the Intake's. So one Intake
// may serve several handlers of a Router, which closes the publisher of each.
func (*Intake) Close() error { return nil }

// PublishError says which message of a Publish failed.
type PublishError struct {
	Topic, UUID string
	Done, Of    int // messages before it, which were taken, and all
	Err         error
}

func (e *PublishError) Error() string {
	which := ""
	if e.Of > 1 {
		which = fmt.Sprintf(" (%d of %d were published)", e.Done, e.Of)
	}
	return fmt.Sprintf("publishing %q to %q%s: %v", e.UUID, e.Topic, which, e.Err)
}

func (e *PublishError) Unwrap() error { return e.Err }

// submit sends all and then waits for all: one round trip, not one each.
func (i *Intake) submit(messages []*message.Message) error {
	topic := string(domain.TaskCreatedType)
	var acks []jetstream.PubAckFuture
	var failed error
	for _, msg := range messages {
		ack, err := i.send(msg)
		if err != nil {
			failed = err
			break
		}
		acks = append(acks, ack)
	}
	for n, ack := range acks {
		if err := i.acknowledged(messages[n].Context(), ack); err != nil {
			return &PublishError{Topic: topic, UUID: messages[n].UUID, Done: n, Of: len(messages), Err: err}
		}
	}
	if failed != nil {
		n := len(acks)
		return &PublishError{Topic: topic, UUID: messages[n].UUID, Done: n, Of: len(messages), Err: failed}
	}
	return nil
}

func (i *Intake) send(msg *message.Message) (jetstream.PubAckFuture, error) {
	if i.js == nil {
		return nil, errors.New("the Intake has no connection to NATS (IntakeConfig.NATS)")
	}
	if err := msg.Context().Err(); err != nil {
		return nil, err
	}
	r, err := domain.ParseIntakeRequest(nil, msg.Payload)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{
		Subject: domain.IntakeSubject(i.config.Prefix, r.Namespace, r.Name),
		Header:  headersOf(msg), Data: msg.Payload,
	}
	switch {
	case r.IdempotencyKey != "":
		msg.Metadata.Set(MetadataTask, domain.KeyedTaskID(r.Namespace, r.Name, r.IdempotencyKey).String())
	case msg.UUID != "":
		// NATS drops what has an id that it knows, whatever the subject: one message for two definitions would be one task.
		m.Header.Set(domain.HeaderMessageID, r.Namespace+"."+r.Name+"/"+msg.UUID)
		m.Header.Set(domain.HeaderRequeued, msg.UUID)
	}
	return i.js.PublishMsgAsync(m, jetstream.WithStallWait(i.config.Timeout))
}

func (i *Intake) acknowledged(ctx context.Context, ack jetstream.PubAckFuture) error {
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("nothing takes requests on %s: has an engine run on this NATS, with the same prefix? %w", ack.Msg().Subject, err)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("it may be stored nevertheless; publish it again: %w", ctx.Err())
	}
}

// headersOf leaves out what NATS would obey, such as an expected sequence of another stream that the message has come
// from, and what engines set themselves.
func headersOf(msg *message.Message) nats.Header {
	h := nats.Header{}
	for key, value := range msg.Metadata {
		lower := strings.ToLower(key)
		ours := strings.HasPrefix(lower, "tasker-") && key != domain.HeaderReplyTo
		if key == "" || ours || strings.HasPrefix(lower, "nats-") || strings.ContainsAny(key, ": \t\r\n") {
			continue
		}
		h[key] = []string{strings.NewReplacer("\r", " ", "\n", " ").Replace(value)}
	}
	if msg.UUID != "" {
		h[headerUUID] = []string{msg.UUID}
	}
	return h
}
