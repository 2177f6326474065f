package watermillnats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

// What a SubscriberConfig has when it says nothing, and its limits.
const (
	DefaultAckWait      = 30 * time.Second
	DefaultCloseTimeout = 30 * time.Second
	MaxWorkers          = 256
)

// SubscriberConfig says how a Subscriber connects and subscribes.
type SubscriberConfig struct {
	// URL is the server's address, as for nats.Connect; "" is nats://127.0.0.1:4222.
	URL string
	// NatsOptions are for the connections: each subscription has two of its own.
	NatsOptions []nats.Option

	// Group is required: all subscriptions of a group to a topic share its messages and go on where they stopped.
	Group string
	// Stream is the stream to read; "" finds the one that listens on the topic.
	Stream string
	// Workers is how many messages are handed out at a time, in no particular order if more than one: default 1, at most
	// MaxWorkers. All members of a group have the same number; it is the group's number of messages under way.
	Workers int

	// AckWait is how long a handler may take; after it the message is delivered again, and its acknowledgement not heard.
	// Default DefaultAckWait.
	AckWait time.Duration
	// NackBackoff is how long the server waits before it delivers a nacked message again, given how often it was delivered.
	// Default jetstream.DefaultNackBackoff.
	NackBackoff func(delivered uint64) time.Duration
	// CloseTimeout is how long handlers may go on when a subscription ends. Default DefaultCloseTimeout.
	CloseTimeout time.Duration
}

func (c SubscriberConfig) complete() (SubscriberConfig, error) {
	switch {
	case c.Group == "":
		return c, errors.New("watermill-nats subscriber: Group is required: without a durable name nothing survives a restart")
	case c.Workers < 0 || c.Workers > MaxWorkers:
		return c, fmt.Errorf("watermill-nats subscriber: %d workers are out of range: use 1 to %d", c.Workers, MaxWorkers)
	case c.AckWait < 0 || c.CloseTimeout < 0:
		return c, fmt.Errorf("watermill-nats subscriber: AckWait %s and CloseTimeout %s must not be negative", c.AckWait, c.CloseTimeout)
	}
	if c.Workers == 0 {
		c.Workers = 1
	}
	if c.AckWait == 0 {
		c.AckWait = DefaultAckWait
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.NackBackoff == nil {
		c.NackBackoff = jetstream.DefaultNackBackoff
	}
	return c, nil
}

// Subscriber is the stock subscriber behind a guard. Its methods may be called from any goroutine.
type Subscriber struct {
	cfg    SubscriberConfig
	logger watermill.LoggerAdapter

	mu     sync.Mutex
	closed bool
	open   map[*subscription]struct{}
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber checks the configuration; Subscribe connects. A nil logger discards.
func NewSubscriber(cfg SubscriberConfig, logger watermill.LoggerAdapter) (*Subscriber, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	return &Subscriber{cfg: cfg, logger: logger, open: map[*subscription]struct{}{}}, nil
}

// SubscribeInitialize creates the topic's durable consumer: what is stored from now on waits for it.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	nc, err := connect(s.cfg.URL, s.cfg.NatsOptions)
	if err != nil {
		return fmt.Errorf("initialize the subscription to %s: %w", topic, err)
	}
	defer nc.Close()
	if _, err := s.createConsumer(context.Background(), nc, topic); err != nil {
		return fmt.Errorf("initialize the subscription to %s: %w", topic, err)
	}
	return nil
}

// Subscribe hands out the messages of a topic, a subject that may have wildcards, from the beginning of the stream or from
// where the group stopped. The channel is closed when ctx ends or Close is called and running handlers are done. The
// context of a message outlives ctx until then.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	nc, err := connect(s.cfg.URL, s.cfg.NatsOptions)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	control, err := connect(s.cfg.URL, s.cfg.NatsOptions)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	sub, err := s.subscribe(ctx, nc, control, topic)
	if err != nil {
		nc.Close()
		control.Close()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return sub.out, nil
}

const (
	requestTimeout = 10 * time.Second
	flushTimeout   = time.Second // for what is given back at the end
)

// createConsumer makes the durable push consumer before the stock package can: that one would delete what it created.
func (s *Subscriber) createConsumer(ctx context.Context, nc *nats.Conn, topic string) (js.PushConsumer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	j, err := js.New(nc)
	if err != nil {
		return nil, err
	}
	name := s.cfg.Stream
	if name == "" {
		if name, err = j.StreamNameBySubject(ctx, topic); err != nil {
			return nil, fmt.Errorf("no stream listens on %q: create one first: %w", topic, err)
		}
	}
	stream, err := j.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, err)
	}
	durable := s.durable(topic)
	want := js.ConsumerConfig{
		Name: durable, Durable: durable, FilterSubject: topic,
		DeliverSubject: nc.NewInbox(), DeliverGroup: durable,
		AckPolicy: js.AckExplicitPolicy, AckWait: s.cfg.AckWait, MaxDeliver: -1, MaxAckPending: s.cfg.Workers,
	}
	there, err := stream.PushConsumer(ctx, durable)
	if err == nil {
		has := there.CachedInfo().Config
		if has.AckWait == want.AckWait && has.MaxAckPending == want.MaxAckPending {
			return there, nil
		}
		has.AckWait, has.MaxAckPending = want.AckWait, want.MaxAckPending
		want = has
	} else if !errors.Is(err, js.ErrConsumerNotFound) {
		return nil, fmt.Errorf("consumer %s of stream %s: %w", durable, name, err)
	}
	made, err := stream.CreateOrUpdatePushConsumer(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("create consumer %s of stream %s: %w", durable, name, err)
	}
	return made, nil
}

// durable is another name than that of a jetstream.Subscriber of the same group, which needs another kind of consumer.
func (s *Subscriber) durable(topic string) string {
	return jetstream.DurableName(s.cfg.Group, topic) + "-push"
}

// Close ends all subscriptions as the end of their contexts does, and returns when their channels are closed. A second call
// waits like the first.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	subs := make([]*subscription, 0, len(s.open))
	for sub := range s.open {
		subs = append(subs, sub)
	}
	s.mu.Unlock()
	for _, sub := range subs {
		sub.close()
	}
	var errs []error
	for _, sub := range subs {
		<-sub.done
		errs = append(errs, sub.err)
	}
	return errors.Join(errs...)
}
