package watermillnats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	stock "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

// subscription is one stock subscriber with one topic, and what it takes to close it in the right order: no message may be on
// its way through it then, or it sends on its closed channel or forgets an acknowledgement.
type subscription struct {
	s     *Subscriber
	nc    *nats.Conn
	stock *stock.Subscriber
	gate  *gate
	out   chan *message.Message

	closeOnce sync.Once
	closing   chan struct{}
	timedOut  chan struct{} // CloseTimeout is over
	gone      chan struct{} // the connection is closed
	unwatch   func() bool
	release   context.CancelFunc // of the stock subscriber's context
	done      chan struct{}
	err       error // of closing; read after done
}

func (s *Subscriber) subscribe(ctx context.Context, nc *nats.Conn, topic string) (*subscription, error) {
	if err := s.createConsumer(ctx, nc, topic); err != nil {
		return nil, err
	}
	sub := &subscription{
		s: s, nc: nc, gate: &gate{}, out: make(chan *message.Message),
		closing: make(chan struct{}), timedOut: make(chan struct{}), gone: make(chan struct{}), done: make(chan struct{}),
	}
	users := nc.Opts.ClosedCB
	nc.SetClosedHandler(func(nc *nats.Conn) {
		close(sub.gone)
		if users != nil {
			users(nc)
		}
	})
	durable := s.durable(topic)
	var err error
	sub.stock, err = stock.NewSubscriberWithNatsConn(nc, stock.SubscriberSubscriptionConfig{
		Unmarshaler:      sub.gate,
		SubscribersCount: s.cfg.Workers,
		AckWaitTimeout:   s.cfg.AckWait,
		CloseTimeout:     s.cfg.CloseTimeout,
		NakDelay:         delay(s.cfg.NackBackoff),
		QueueGroupPrefix: durable,
		JetStream: stock.JetStreamConfig{
			DurablePrefix:    durable,
			AckAsync:         true, // a lost acknowledgement is a second delivery; a round trip for each is 4 times slower
			SubscribeOptions: []nats.SubOpt{nats.ManualAck()}[:1:1],
		},
	}, s.logger)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("watermill-nats subscriber: %w", ErrClosed)
	}
	// The stock subscriber does not hear of the end of ctx: it would drop what is being handled.
	inner, release := context.WithCancel(context.WithoutCancel(ctx))
	in, err := sub.stock.Subscribe(inner, topic)
	if err != nil {
		release() // ends the workers that did subscribe
		return nil, err
	}
	sub.release = release
	s.open[sub] = struct{}{}
	go sub.forward(in)
	sub.unwatch = context.AfterFunc(ctx, sub.close)
	return sub, nil
}

// forward hands messages out and knows which of them are on their way.
func (s *subscription) forward(in <-chan *message.Message) {
	for m := range in {
		// The stock subscriber cancels the context when it is through with the message.
		context.AfterFunc(m.Context(), s.gate.leave)
		select {
		case <-s.closing:
			m.Nack()
			continue
		default:
		}
		select {
		case s.out <- m:
		case <-s.closing:
			m.Nack()
		}
	}
}

func (s *subscription) close() {
	s.closeOnce.Do(func() {
		close(s.closing)
		go s.shutdown()
	})
}

func (s *subscription) shutdown() {
	timeout := time.NewTimer(s.s.cfg.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-s.gate.close():
	case <-timeout.C:
		s.err = errors.New("watermill-nats subscriber: handlers did not end within CloseTimeout: their messages are delivered again")
	}
	s.unwatch()
	if err := s.stock.Close(); err != nil { // drains the connection, unless it fails
		s.err = errors.Join(s.err, err)
		s.nc.Close()
	}
	<-s.gone
	s.release()
	close(s.out)
	s.s.mu.Lock()
	delete(s.s.open, s)
	s.s.mu.Unlock()
	close(s.done)
}

// gate reads messages for the stock subscriber, which begins with that: what it lets in is on its way until the stock
// subscriber is through with it.
type gate struct {
	mu     sync.Mutex
	inside int
	empty  chan struct{} // set when closed; closed when nobody is inside
}

var errClosing = errors.New("closing: the message goes back")

// Unmarshal reads whatever a consumer delivers. Once the gate is closed it gives the message back to the server.
func (g *gate) Unmarshal(raw *nats.Msg) (*message.Message, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return nil, errors.Join(errClosing, raw.Nak())
	}
	m, err := jetstream.Unmarshal(raw)
	if err == nil {
		g.inside++
	}
	return m, err
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.empty != nil && g.inside == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more; the channel is closed when all are out.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.empty = make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	return g.empty
}

// delay is a backoff in the stock package's words.
type delay func(delivered uint64) time.Duration

// WaitTime is never negative: that means termination there.
func (d delay) WaitTime(delivered uint64) time.Duration { return max(d(delivered), 0) }
