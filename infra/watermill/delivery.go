package watermill

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker/domain"
)

// subscription is one call of Subscribe.
type subscription struct {
	events     *Events
	topic      string
	types      []domain.EventType // to ask for
	wanted     domain.EventSet    // to hand on
	out        chan *message.Message
	ctx        context.Context //nolint:containedctx // the subscription's life
	cancel     context.CancelFunc
	unanswered atomic.Int64
}

// begin finds out what is wrong from the start, and returns the rest.
func (s *subscription) begin() (run func() error, err error) {
	if s.events.config.Replay != nil {
		return s.beginReplay()
	}
	o := s.events.config.Subscription
	o.Types = s.types
	over, cancel := context.WithCancel(s.ctx)
	cancel()
	// With a context that has ended, nothing is done but to look at the subscription.
	if err := s.events.from.Subscribe(over, o, s.deliver); err != nil {
		return nil, err
	}
	if o.Name == "" && o.From != (domain.Start{}) && o.From != domain.FromNew {
		// One that has no cursor begins there, or nowhere.
		for _, err := range s.events.from.Replay(s.ctx, domain.ReplayOptions{From: o.From}) {
			if err != nil {
				return nil, err
			}
			break
		}
	}
	return func() error { return s.events.from.Subscribe(s.ctx, o, s.deliver) }, nil
}

// deliver hands one event to whoever reads the channel, and waits for the verdict: nil is acked. It is called for
// different tasks at once.
func (s *subscription) deliver(ctx context.Context, r domain.Record) error {
	if ctx.Err() != nil {
		return errStopping
	}
	if !s.wanted.Has(r.Event) {
		if created, ok := r.Event.(domain.TaskCreated); ok {
			s.events.origins.remember(r.Task, created)
		}
		return nil
	}
	o, err := s.events.origins.of(ctx, r)
	if err != nil {
		return err
	}
	msg := newMessage(r, o)
	d := &delivery{record: r, as: s.events.as}
	// Those who handle it are not cut off when the subscription ends: they have CloseTimeout.
	inner, end := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), deliveryKey{}, d))
	defer end()
	msg.SetContext(inner)
	select {
	case s.out <- msg:
	case <-ctx.Done():
		return errStopping
	}
	return s.verdict(ctx, msg, d, end)
}

func (s *subscription) verdict(ctx context.Context, msg *message.Message, d *delivery, end context.CancelFunc) error {
	stop := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-msg.Acked():
			return nil
		case <-msg.Nacked():
			if err := d.failed.Load(); err != nil {
				return *err
			}
			return ErrNacked
		case <-stop:
			stop = nil
			if s.ctx.Err() == nil {
				end() // the subscription goes on, but its name is somebody else's now: so is this event
			}
			timer := time.NewTimer(s.events.config.CloseTimeout)
			defer timer.Stop()
			late = timer.C
		case <-late:
			s.unanswered.Add(1)
			s.events.logger.Warn("a handler did not end in time: its event comes again",
				"topic", s.topic, "event", msg.UUID, "waited", s.events.config.CloseTimeout)
			return ErrUnanswered
		}
	}
}

// PassErrors is a middleware that hands the error of a handler on to the Events that the message came from, where a bare
// Nack would hide it: it is what the log and the dead letter say; domain.Permanent makes it the last try, and
// domain.RetryAfter says when the next one is. Add it first: what the middleware behind it makes of the error counts.
func PassErrors(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		d := deliveryOf(msg.Context())
		produced, err := h(msg)
		if err != nil && d != nil {
			d.failed.Store(&err)
		}
		return produced, err
	}
}
