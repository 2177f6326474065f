package watermillnats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

// subscription is one stock subscriber with one topic, and what it takes to close it in the right order: no message may be on
// its way through it then, or it sends on its closed channel or forgets an acknowledgement.
type subscription struct {
	s     *Subscriber
	nc    *nats.Conn // the stock subscriber's
	stock *stock.Subscriber
	// control is for what is done beside it.
	control  *nats.Conn
	consumer js.PushConsumer
	gate     *gate
	out      chan *message.Message

	closeOnce sync.Once
	closing   chan struct{}
	timedOut  chan struct{} // CloseTimeout is over
	gone      chan struct{} // the connection is closed
	unwatch   func() bool
	release   context.CancelFunc // of the stock subscriber's context
	done      chan struct{}
	err       error // of closing; read after done
}

func (s *Subscriber) subscribe(ctx context.Context, nc, control *nats.Conn, topic string) (*subscription, error) {
	consumer, err := s.createConsumer(ctx, control, topic)
	if err != nil {
		return nil, err
	}
	sub := &subscription{
		s: s, nc: nc, control: control, consumer: consumer, gate: &gate{}, out: make(chan *message.Message),
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
	sub.stock, err = stock.NewSubscriberWithNatsConn(nc, stock.SubscriberSubscriptionConfig{
		Unmarshaler:      sub.gate,
		SubscribersCount: s.cfg.Workers,
		AckWaitTimeout:   s.cfg.AckWait,
		CloseTimeout:     s.cfg.CloseTimeout,
		NakDelay:         sub,
		QueueGroupPrefix: durable,
		JetStream: stock.JetStreamConfig{
			DurablePrefix:    durable,
			AckAsync:         true, // a lost acknowledgement is a second delivery; a round trip for each is 4 times slower
			SubscribeOptions: []nats.SubOpt{nats.ManualAck()}[:1:1],
		},
	}, quiet{s.logger})
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
		s.drain()
	case <-timeout.C:
		s.err = errors.New("watermill-nats subscriber: handlers did not end within CloseTimeout: their messages are delivered again")
		_ = s.stock.Close() // cuts them off; whether it could drain the connection does not matter now
	}
	s.unwatch()
	s.nc.Close()
	<-s.gone
	s.release()
	if err := s.control.FlushTimeout(flushTimeout); err != nil {
		s.s.logger.Error("messages may not have been given back: they are delivered again after AckWait", err, nil)
	}
	s.control.Close()
	close(s.out)
	s.s.mu.Lock()
	delete(s.s.open, s)
	s.s.mu.Unlock()
	close(s.done)
}

// drain closes the connection first: what the server sent meanwhile comes to the gate, and goes back over the other connection
// once nothing can come any more. Closed in its own order, the stock subscriber throws that away, and the server waits until
// AckWait is over; given back earlier, it would come again at once.
func (s *subscription) drain() {
	s.settle()
	if err := s.nc.Drain(); err != nil {
		s.nc.Close()
	}
	<-s.gone
	if err := s.stock.Close(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.err = err
	}
	for _, reply := range s.gate.heldBack() {
		if err := s.control.Publish(reply, []byte("-NAK")); err != nil {
			s.s.logger.Error("a message is not given back: it is delivered again after AckWait", err, nil)
		}
	}
}

const (
	settleTries = 20
	settleEvery = 5 * time.Millisecond
)

// settle waits, not for long, until the server has heard of the last acknowledgements and sent what they made room for: a
// message that it sends while it hears that nobody listens any more comes again only after AckWait. Other members of the group keep it from
// ever being still.
func (s *subscription) settle() {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for range settleTries {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		info, err := s.consumer.Info(ctx)
		cancel()
		if err != nil {
			return
		}
		held := len(s.gate.heldBack())
		if info.NumAckPending <= held && (held >= s.s.cfg.Workers || info.NumPending == 0) {
			return
		}
		<-tick.C
	}
}

// quiet leaves out what the stock subscriber says about a connection that was closed before it, and about the gate.
type quiet struct{ watermill.LoggerAdapter }

func (q quiet) Error(msg string, err error, fields watermill.LogFields) {
	if !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, errClosing) {
		q.LoggerAdapter.Error(msg, err, fields)
	}
}

// gate reads messages for the stock subscriber, which begins with that: what it lets in is on its way until the stock
// subscriber is through with it.
type gate struct {
	mu     sync.Mutex
	inside int
	empty  chan struct{} // set when closed; closed when nobody is inside
	held   []string      // reply subjects of what came after that
}

var errClosing = errors.New("closing: the message goes back")

// Unmarshal reads whatever a consumer delivers. Once the gate is closed it keeps the message for those who give it back.
func (g *gate) Unmarshal(raw *nats.Msg) (*message.Message, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		g.held = append(g.held, raw.Reply)
		return nil, errClosing
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

func (g *gate) heldBack() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.held)
}

// WaitTime is the stock package's word for a backoff. It is never negative: that means termination there. At the end nothing
// is delayed: it would come when nobody listens any more.
func (s *subscription) WaitTime(delivered uint64) time.Duration {
	select {
	case <-s.closing:
		return 0
	default:
		return max(s.s.cfg.NackBackoff(delivered), 0)
	}
}
