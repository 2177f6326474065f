package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	js "github.com/nats-io/nats.go/jetstream"
)

// What a SubscriberConfig has when it says nothing, and its limits.
const (
	DefaultAckWait           = 30 * time.Second
	DefaultCloseTimeout      = 30 * time.Second
	DefaultInactiveThreshold = 5 * time.Minute
	DefaultMaxAckPending     = 1000

	MinAckWait       = 100 * time.Millisecond
	MaxLanes         = 1024
	MaxMaxAckPending = 1 << 16
)

// NoHeartbeat as the Heartbeat lets AckWait bound how long a message may wait and be worked on.
const NoHeartbeat time.Duration = -1

// SubscriberConfig says how a Subscriber subscribes. The zero value reads all of a topic with a consumer of its own, one
// message at a time.
type SubscriberConfig struct {
	// Stream is the stream to read; "" finds the one that listens on the topic.
	Stream string

	// Group makes the cursor durable: all subscriptions of a group to a topic, in whatever process, share its messages, and
	// go on where they stopped. The consumer on the server is called DurableName(Group, topic). Without Group and Durable
	// every subscription has a consumer of its own, which ends with it, and hears everything.
	Group string
	// Durable is Group with the exact name of the consumer, which then serves one topic. It excludes Group.
	Durable string

	// Provision, when set, says which stream to create when none listens on a topic.
	Provision func(topic string) js.StreamConfig

	// Start says where to begin; default FromFirst. A durable consumer that exists goes on where it stopped, whatever this
	// says.
	Start Start
	// UntilCaughtUp ends a subscription, and closes its channel, once everything that was stored when it began has been
	// acknowledged, at once if that is nothing. What comes later is left alone.
	UntilCaughtUp bool

	// Lanes is how many messages are handed out at a time, each of another key: default 1, at most MaxLanes. All of a key
	// are in the same lane.
	Lanes int
	// Key is what a message's order depends on; default its subject. It is called from one goroutine and must not keep the
	// message or acknowledge it.
	Key func(*message.Message) string

	// AckWait is how long the server waits for a process that is gone, before it delivers its messages again: default
	// DefaultAckWait, at least MinAckWait.
	AckWait time.Duration
	// Heartbeat is how often the server is told that messages are waited for or worked on in this process: default a third
	// of AckWait, at most half of it, or NoHeartbeat. With it a handler may take as long as it likes, one that hangs keeps
	// its lane: use Watermill's Timeout middleware. Each costs a small message for every message under way: a short one wants a
	// small MaxAckPending.
	Heartbeat time.Duration
	// NackBackoff is how long the server waits before it delivers a nacked message again, given how often it was delivered,
	// from 1. Zero or less is at once. Default DefaultNackBackoff. RetryAfter says it for one failure.
	NackBackoff func(delivered uint64) time.Duration
	// MaxDeliver is how often a message is delivered before it is terminated: it is not delivered to this consumer again, and
	// is removed if the stream is a work queue. 0 is without end. Deliveries are counted by the server: also those to a
	// process that died, or that shut down while the message waited.
	MaxDeliver int
	// MaxAckPending is how many messages may be under way to all subscriptions of a group, waiting ones included; it bounds the
	// memory of a subscriber. Default DefaultMaxAckPending, at most MaxMaxAckPending, at least Lanes. A durable consumer takes
	// it from the last who subscribed.
	MaxAckPending int

	// CloseTimeout is how long handlers may go on when the subscription ends. After it their contexts are cancelled; what is
	// not acknowledged soon after that is delivered again after AckWait. Default DefaultCloseTimeout.
	CloseTimeout time.Duration
	// InactiveThreshold is after how long the server forgets a consumer without a durable name of a process that died.
	// Default DefaultInactiveThreshold.
	InactiveThreshold time.Duration

	// Logger gets what nobody else is told: failed acknowledgements, terminated messages, consumers that had to be created
	// again. nil discards it.
	Logger *slog.Logger
}

// DefaultNackBackoff is 100 ms, doubled with each delivery, at most 30 s.
func DefaultNackBackoff(delivered uint64) time.Duration {
	const first, most = 100 * time.Millisecond, 30 * time.Second
	if delivered > 9 {
		return most
	}
	return min(first<<(max(delivered, 1)-1), most)
}

func (c SubscriberConfig) complete() (SubscriberConfig, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	orDefault(&c.AckWait, DefaultAckWait)
	orDefault(&c.Heartbeat, c.AckWait/3)
	orDefault(&c.CloseTimeout, DefaultCloseTimeout)
	orDefault(&c.InactiveThreshold, DefaultInactiveThreshold)
	orDefault(&c.Lanes, 1)
	orDefault(&c.MaxAckPending, max(DefaultMaxAckPending, c.Lanes))
	if c.NackBackoff == nil {
		c.NackBackoff = DefaultNackBackoff
	}
	if c.Key == nil {
		c.Key = func(m *message.Message) string { return m.Metadata[MetaSubject] }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c SubscriberConfig) check() error {
	switch {
	case c.Group != "" && c.Durable != "":
		return errors.New("subscriber: Group and Durable are both set: Group derives the consumer's name from each topic, Durable is the name for one topic")
	case strings.ContainsAny(c.Durable, " .*>/\\\t\r\n"):
		return fmt.Errorf("subscriber: the durable name %q has characters that a consumer's name must not have: use letters, digits, - and _", c.Durable)
	case c.Lanes < 0 || c.Lanes > MaxLanes:
		return fmt.Errorf("subscriber: %d lanes are out of range: use 1 to %d", c.Lanes, MaxLanes)
	case c.MaxAckPending < 0 || c.MaxAckPending > MaxMaxAckPending:
		return fmt.Errorf("subscriber: MaxAckPending %d is out of range: use 1 to %d", c.MaxAckPending, MaxMaxAckPending)
	case c.MaxAckPending > 0 && c.MaxAckPending < c.Lanes:
		return fmt.Errorf("subscriber: MaxAckPending %d keeps %d lanes from ever being full: raise it or use fewer lanes", c.MaxAckPending, c.Lanes)
	case c.AckWait != 0 && c.AckWait < MinAckWait:
		return fmt.Errorf("subscriber: AckWait is %s: use at least %s", c.AckWait, MinAckWait)
	case c.Heartbeat < 0 && c.Heartbeat != NoHeartbeat:
		return fmt.Errorf("subscriber: the heartbeat is %s: use a positive one or NoHeartbeat", c.Heartbeat)
	case c.Heartbeat > max(c.AckWait, 0)/2 && c.AckWait != 0, c.Heartbeat > DefaultAckWait/2 && c.AckWait == 0:
		return fmt.Errorf("subscriber: a heartbeat every %s comes too late for AckWait: use at most half of it", c.Heartbeat)
	case c.MaxDeliver < 0:
		return fmt.Errorf("subscriber: MaxDeliver is %d: use 0 for no limit", c.MaxDeliver)
	case c.CloseTimeout < 0 || c.InactiveThreshold < 0:
		return fmt.Errorf("subscriber: CloseTimeout %s and InactiveThreshold %s must not be negative", c.CloseTimeout, c.InactiveThreshold)
	}
	return c.Start.check()
}
