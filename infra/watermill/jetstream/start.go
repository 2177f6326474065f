package jetstream

import (
	"fmt"
	"time"

	js "github.com/nats-io/nats.go/jetstream"
)

// Start says where in the stream a subscription begins. The zero value is FromFirst.
type Start struct {
	policy   js.DeliverPolicy
	sequence uint64
	at       time.Time
	lenient  bool // what was removed meanwhile is not missed
}

// FromFirst begins at the first message that the stream holds.
func FromFirst() Start { return Start{policy: js.DeliverAllPolicy} }

// FromNew begins after the last message that is stored when the subscription, or SubscribeInitialize, is called.
func FromNew() Start { return Start{policy: js.DeliverNewPolicy} }

// FromSequence begins at a sequence of the stream, from 1. If the stream begins later, Subscribe fails with a *TrimmedError.
func FromSequence(sequence uint64) Start {
	return Start{policy: js.DeliverByStartSequencePolicy, sequence: sequence}
}

// FromTime begins at the first message that was stored at this time or later.
func FromTime(at time.Time) Start { return Start{policy: js.DeliverByStartTimePolicy, at: at} }

func (s Start) check() error {
	switch {
	case s.policy == js.DeliverByStartSequencePolicy && s.sequence == 0:
		return fmt.Errorf("subscriber: sequences begin at 1, not at 0: use FromFirst for whatever the stream begins with")
	case s.policy == js.DeliverByStartTimePolicy && s.at.IsZero():
		return fmt.Errorf("subscriber: the start time is not set: use FromFirst for whatever the stream begins with")
	}
	return nil
}

func (s Start) apply(c *js.ConsumerConfig) {
	c.DeliverPolicy = s.policy
	if s.policy == js.DeliverByStartSequencePolicy {
		c.OptStartSeq = s.sequence
	}
	if s.policy == js.DeliverByStartTimePolicy {
		c.OptStartTime = &s.at
	}
}
