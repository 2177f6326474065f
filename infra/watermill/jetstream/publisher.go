package jetstream

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

const (
	// DefaultPublishTimeout is how long a Publisher waits for the acknowledgement of a message.
	DefaultPublishTimeout = 5 * time.Second
	// DefaultMaxPending is how many messages of a Publisher may wait for their acknowledgement.
	DefaultMaxPending = 4096
	// MaxMaxPending bounds MaxPending.
	MaxMaxPending = 1 << 16
)

// PublisherConfig says how a Publisher publishes. The zero value is a good one.
type PublisherConfig struct {
	// Timeout is how long the acknowledgement of a message may take; default DefaultPublishTimeout. After it the outcome is
	// unknown.
	Timeout time.Duration
	// MaxPending is how many messages of all concurrent calls may wait for their acknowledgement: default
	// DefaultMaxPending, at most MaxMaxPending. Above it Publish waits.
	MaxPending int
	// Deduplicate gives every message that has a UUID and no MetaMessageID the id SUBJECT/UUID, so that the server stores
	// it once within the stream's duplicate window, however often it is published. It costs about a third of the
	// throughput. The subject is part of the id, so that the copy in a poison queue is not taken for the original.
	Deduplicate bool
}

func (c PublisherConfig) complete() (PublisherConfig, error) {
	if c.Timeout < 0 {
		return c, fmt.Errorf("publisher: the timeout is %s: use 0 for %s, or a positive one", c.Timeout, DefaultPublishTimeout)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultPublishTimeout
	}
	if c.MaxPending < 0 || c.MaxPending > MaxMaxPending {
		return c, fmt.Errorf("publisher: %d pending messages are out of range: use 1 to %d, or 0 for %d", c.MaxPending, MaxMaxPending, DefaultMaxPending)
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	return c, nil
}

// Publisher publishes to JetStream. Its methods may be called from any goroutine.
type Publisher struct {
	cfg PublisherConfig
	js  js.JetStream

	closing sync.RWMutex // held for reading by every Publish
	closed  bool
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher publishes over nc, which stays the caller's.
func NewPublisher(nc *nats.Conn, cfg PublisherConfig) (*Publisher, error) {
	if nc == nil {
		return nil, errors.New("publisher: the connection is nil")
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	// A context of its own: the limit of pending messages is shared by all who use one, and without a timeout a lost
	// acknowledgement is waited for until the connection breaks.
	j, err := js.New(nc, js.WithPublishAsyncMaxPending(cfg.MaxPending), js.WithPublishAsyncTimeout(cfg.Timeout))
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return &Publisher{cfg: cfg, js: j}, nil
}

// Publish sends all messages to the subject topic, in their order, then waits until the server has stored each: one round
// trip, however many they are. It returns nil when all are stored; then, and for each that is, MetaStream and MetaSequence
// say where (MetaDuplicate: it had been there before). Otherwise the error is a *PublishError with what became of the
// others. The call is not atomic: that one message is refused does not keep back those after it.
//
// Sent are payload, UUID and metadata. The contexts of the messages are not looked at: a message that a handler returned, or
// that goes to a poison queue, is stored even if its handler ran out of time.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.closing.RLock()
	defer p.closing.RUnlock()
	if p.closed {
		return fmt.Errorf("publish to %s: publisher: %w", topic, ErrClosed)
	}
	if err := checkSubject(topic); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	// All or none is made ready: a message that cannot be sent is found before the others are stored.
	raws := make([]*nats.Msg, len(messages))
	for i, m := range messages {
		raw, err := p.marshal(topic, m)
		if err != nil {
			return fmt.Errorf("publish to %s: nothing was sent: message %d of %d: %w", topic, i+1, len(messages), err)
		}
		raws[i] = raw
	}
	futures := make([]js.PubAckFuture, len(messages))
	var failures []Failure
	fail := func(i int, err error) {
		failures = append(failures, Failure{Index: i, UUID: messages[i].UUID, Err: refusal(raws[i], err)})
	}
	for i, raw := range raws {
		future, err := p.js.PublishMsgAsync(raw, js.WithStallWait(p.cfg.Timeout))
		if err != nil {
			fail(i, err)
			continue
		}
		futures[i] = future
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		select {
		case ack := <-future.Ok():
			note(messages[i], ack)
		case err := <-future.Err():
			fail(i, err)
		}
	}
	if failures == nil {
		return nil
	}
	slices.SortFunc(failures, func(a, b Failure) int { return a.Index - b.Index })
	return &PublishError{Topic: topic, Count: len(messages), Failures: failures}
}

func (p *Publisher) marshal(topic string, m *message.Message) (*nats.Msg, error) {
	if m == nil {
		return nil, errors.New("it is nil")
	}
	raw, err := Marshal(topic, m)
	if err != nil {
		return nil, err
	}
	if p.cfg.Deduplicate && m.UUID != "" && raw.Header.Get(MetaMessageID) == "" {
		raw.Header.Set(MetaMessageID, topic+"/"+m.UUID)
	}
	return raw, nil
}

// note tells the message where it is.
func note(m *message.Message, ack *js.PubAck) {
	if m.Metadata == nil {
		m.Metadata = message.Metadata{}
	}
	m.Metadata[MetaStream] = ack.Stream
	m.Metadata[MetaSequence] = strconv.FormatUint(ack.Sequence, 10)
	if ack.Duplicate {
		m.Metadata[MetaDuplicate] = "true"
	} else {
		delete(m.Metadata, MetaDuplicate)
	}
}

// refusal is the error of one message in this package's words.
func refusal(raw *nats.Msg, err error) error {
	if c, ok := AsConflict(err); ok {
		c.Subject, c.Expected = raw.Subject, expected(raw.Header)
		return c
	}
	switch {
	case errors.Is(err, js.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: %w", ErrNoStream, err)
	case errors.Is(err, js.ErrAsyncPublishTimeout), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return err
}

func expected(h nats.Header) uint64 {
	for _, key := range []string{MetaExpectSubjectSequence, MetaExpectSequence} {
		if n, err := strconv.ParseUint(h.Get(key), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// Close waits for the calls of Publish that are under way, at most the timeout, and ends the publisher. The connection stays open. A second
// call does nothing.
func (p *Publisher) Close() error {
	p.closing.Lock()
	defer p.closing.Unlock()
	if !p.closed {
		p.closed = true
		p.js.CleanupPublisher()
	}
	return nil
}

// WithoutClose is the same publisher with a Close that does nothing: for message.Router.AddHandler, which closes a handler's
// publisher when that handler ends, even if others use it.
func (p *Publisher) WithoutClose() message.Publisher { return unclosable{p} }

type unclosable struct{ *Publisher }

func (unclosable) Close() error { return nil }
