package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nuid"

	js "github.com/nats-io/nats.go/jetstream"
)

// requestTimeout is for one question to the server.
const requestTimeout = 5 * time.Second

// streamOf finds the stream of a topic, and creates it where Provision says so.
func (s *Subscriber) streamOf(ctx context.Context, topic string, subjects []string) (js.Stream, error) {
	name, err := s.cfg.Stream, error(nil)
	if name == "" {
		name, err = s.js.StreamNameBySubject(ctx, subjects[0])
	}
	if err == nil {
		var stream js.Stream
		if stream, err = s.js.Stream(ctx, name); err == nil {
			return stream, nil
		}
	}
	if !errors.Is(err, js.ErrStreamNotFound) {
		return nil, err
	}
	if s.cfg.Provision == nil {
		return nil, fmt.Errorf("%w %q: create one, or set Provision (%w)", ErrNoStream, topic, err)
	}
	stream, err := s.js.CreateStream(ctx, s.cfg.Provision(topic))
	if err != nil {
		return nil, fmt.Errorf("create the stream: %w", err)
	}
	return stream, nil
}

// durableName is the name of a topic's durable consumer, "" for none.
func (s *Subscriber) durableName(topic string) string {
	if s.cfg.Group != "" {
		return DurableName(s.cfg.Group, topic)
	}
	return s.cfg.Durable
}

// consumerOf finds or creates the consumer of a subscription.
func (s *Subscriber) consumerOf(ctx context.Context, stream js.Stream, topic string, subjects []string, start Start) (js.Consumer, error) {
	durable := s.durableName(topic)
	if durable == "" {
		return s.create(ctx, stream, s.ephemeral(subjects, start), start)
	}
	for {
		consumer, err := stream.Consumer(ctx, durable)
		if err == nil {
			return s.adopt(ctx, stream, consumer, topic, subjects)
		}
		if !errors.Is(err, js.ErrConsumerNotFound) {
			return nil, fmt.Errorf("consumer %s of stream %s: %w", durable, stream.CachedInfo().Config.Name, err)
		}
		consumer, err = s.create(ctx, stream, s.durable(durable, subjects, start), start)
		if errors.Is(err, js.ErrConsumerExists) {
			continue // another member was faster
		}
		return consumer, err
	}
}

func (s *Subscriber) create(ctx context.Context, stream js.Stream, cfg js.ConsumerConfig, start Start) (js.Consumer, error) {
	if start.policy == js.DeliverByStartSequencePolicy && !start.lenient {
		info, err := stream.Info(ctx)
		if err != nil {
			return nil, err
		}
		if first := info.State.FirstSeq; first > start.sequence {
			return nil, &TrimmedError{Stream: info.Config.Name, Wanted: start.sequence, First: first}
		}
	}
	consumer, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("create consumer %s of stream %s: %w", cfg.Name, stream.CachedInfo().Config.Name, err)
	}
	return consumer, nil
}

func (s *Subscriber) consumerConfig(name string, subjects []string, start Start) js.ConsumerConfig {
	cfg := js.ConsumerConfig{
		Name:           name,
		FilterSubjects: subjects,
		AckPolicy:      js.AckExplicitPolicy,
		AckWait:        s.cfg.AckWait,
		MaxDeliver:     -1, // see MaxDeliver: the server would give up silently
		MaxAckPending:  s.cfg.MaxAckPending,
	}
	if len(subjects) == 1 {
		cfg.FilterSubject, cfg.FilterSubjects = subjects[0], nil
	}
	start.apply(&cfg)
	return cfg
}

func (s *Subscriber) durable(name string, subjects []string, start Start) js.ConsumerConfig {
	cfg := s.consumerConfig(name, subjects, start)
	cfg.Durable = name
	return cfg
}

func (s *Subscriber) ephemeral(subjects []string, start Start) js.ConsumerConfig {
	cfg := s.consumerConfig("watermill-"+nuid.Next(), subjects, start)
	cfg.InactiveThreshold = s.cfg.InactiveThreshold
	cfg.MemoryStorage = true // its cursor dies with the subscription anyway
	cfg.Replicas = 1
	return cfg
}

// adopt uses a durable consumer that is there. It must be one for this topic: another filter would mean that two users share
// a name, and each would miss what the other acknowledged.
func (s *Subscriber) adopt(ctx context.Context, stream js.Stream, consumer js.Consumer, topic string, subjects []string) (js.Consumer, error) {
	cfg := consumer.CachedInfo().Config
	has := cfg.FilterSubjects
	if cfg.FilterSubject != "" {
		has = []string{cfg.FilterSubject}
	}
	if len(has) == 0 { // it reads the whole stream
		has = stream.CachedInfo().Config.Subjects
		if sameSet(subjects, []string{">"}) {
			has = subjects
		}
	}
	name := cfg.Durable
	switch {
	case !sameSet(has, subjects):
		return nil, fmt.Errorf("the durable consumer %s of stream %s reads %q, not %q: use another name for this topic, or delete that consumer",
			name, consumer.CachedInfo().Stream, has, topic)
	case cfg.AckPolicy != js.AckExplicitPolicy:
		return nil, fmt.Errorf("the durable consumer %s of stream %s acknowledges %s: messages would be lost or acknowledged unseen, it has to be explicit", name, consumer.CachedInfo().Stream, cfg.AckPolicy)
	case cfg.AckWait == s.cfg.AckWait && cfg.MaxAckPending == s.cfg.MaxAckPending:
		return consumer, nil
	}
	if len(cfg.BackOff) == 0 { // with it the server takes the first for AckWait
		cfg.AckWait = s.cfg.AckWait
	}
	cfg.MaxAckPending = s.cfg.MaxAckPending
	updated, err := stream.UpdateConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("update consumer %s of stream %s: %w", name, consumer.CachedInfo().Stream, err)
	}
	return updated, nil
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
