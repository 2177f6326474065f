package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// Subscriber subscribes to JetStream. Its methods may be called from any goroutine.
type Subscriber struct {
	cfg SubscriberConfig
	nc  *nats.Conn
	js  js.JetStream

	mu     sync.Mutex
	closed bool
	open   map[*subscription]struct{}
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber subscribes over nc, which stays the caller's.
func NewSubscriber(nc *nats.Conn, cfg SubscriberConfig) (*Subscriber, error) {
	if nc == nil {
		return nil, errors.New("subscriber: the connection is nil")
	}
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	j, err := js.New(nc)
	if err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	return &Subscriber{cfg: cfg, nc: nc, js: j, open: map[*subscription]struct{}{}}, nil
}

// SubscribeInitialize makes sure that the topic's stream exists (see Provision) and, with Group or Durable, its consumer: what is
// stored from now on waits for it. It may be called any number of times, and need not be called.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	_, err := s.prepare(context.Background(), topic)
	if err != nil {
		return fmt.Errorf("initialize the subscription to %s: %w", topic, err)
	}
	return nil
}

// prepare makes sure of the stream and the durable consumer.
func (s *Subscriber) prepare(ctx context.Context, topic string) (*source, error) {
	if s.isClosed() {
		return nil, fmt.Errorf("subscriber: %w", ErrClosed)
	}
	subjects, err := filters(topic)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	stream, err := s.streamOf(ctx, topic, subjects)
	if err != nil {
		return nil, err
	}
	src := &source{stream: stream, name: stream.CachedInfo().Config.Name, topic: topic, subjects: subjects}
	if s.durableName(topic) != "" {
		src.consumer, err = s.consumerOf(ctx, stream, topic, subjects, s.cfg.Start)
	}
	return src, err
}

// source is where a subscription reads.
type source struct {
	stream   js.Stream
	name     string // of the stream
	topic    string
	subjects []string
	consumer js.Consumer
	end      uint64 // the stream's last sequence when the subscription began
}

// Subscribe hands out the messages of a topic: a subject, with wildcards or without, or several with commas between them,
// all of one stream. The next message of a lane comes after Ack or Nack of the one before. The channel is closed when ctx
// ends, Close is called, everything was read (UntilCaughtUp), or the connection is closed for good.
//
// It fails with ErrNoStream, ErrClosed, a *TrimmedError, or when the durable consumer is one for another topic.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	src, err := s.prepare(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	if err := s.complete(ctx, src); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	sub := newSubscription(ctx, s, src)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.open[sub] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		sub.forget()
		return nil, fmt.Errorf("subscribe to %s: subscriber: %w", topic, ErrClosed)
	}
	if err := sub.start(ctx); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return sub.out, nil
}

// complete finds the end of a finite subscription, before its consumer is created, and creates one that is not durable.
func (s *Subscriber) complete(ctx context.Context, src *source) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	if s.cfg.UntilCaughtUp {
		info, err := src.stream.Info(ctx)
		if err != nil {
			return err
		}
		src.end = info.State.LastSeq
	}
	if src.consumer != nil {
		return nil
	}
	var err error
	src.consumer, err = s.consumerOf(ctx, src.stream, src.topic, src.subjects, s.cfg.Start)
	return err
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Subscriber) ended(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sub)
}

// Close ends all subscriptions: waiting messages are given back to the server, handlers may finish within CloseTimeout, then the
// channels are closed. It returns when they are. The connection stays open. A second call waits like the first.
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
	for _, sub := range subs {
		<-sub.done
	}
	return nil
}
