package natslog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// Settings of the intake. They bound what one engine has in hand, and how long another waits for what a dead one had.
const (
	intakeConsumer  = "intake"
	intakeInFlight  = 1024             // messages that one engine has in hand
	intakeBatch     = 512              // of one pull
	intakeRoom      = intakeBatch / 2  // a pull waits for so much room: small ones cost as much as large ones
	intakePending   = 16 << 10         // messages that all engines together have in hand, or that wait for their next try
	intakeAckWait   = 10 * time.Second // after which what a dead engine had goes to another one
	intakeHeartbeat = intakeAckWait / 4
	intakeExpiry    = 10 * time.Second // an idle pull is renewed
	intakeRequests  = 1024             // requests that one engine answers at once
)

var (
	ackAck      = []byte("+ACK")
	ackProgress = []byte("+WPI")
)

// inbox is the way from the stream to the engine: one consumer for all engines, of which each pulls what it has room for. It
// pulls by itself (see reader: nats.go's loop can stall).
type inbox struct {
	store  *Store
	nc     *nats.Conn // run's, until there is a message
	handle func(context.Context, domain.IntakeMessage) domain.IntakeVerdict

	work context.Context // of the calls
	end  context.CancelFunc
	room chan struct{} // a token per message in hand
	free chan struct{} // something was put out of the hand
	busy atomic.Int64  // until when nothing is taken, in Unix nanoseconds
	all  sync.WaitGroup
	held sync.Map // *held -> nil
}

// held is a message in hand.
type held struct {
	reply string
	since time.Time
}

// ServeIntake implements domain.Intake.
func (s *Store) ServeIntake(handle func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict) (stop func(ctx context.Context)) {
	b := &inbox{store: s, handle: handle, room: make(chan struct{}, intakeInFlight), free: make(chan struct{}, 1)}
	b.work, b.end = context.WithCancel(s.closed)
	pull, stopPulling := context.WithCancel(b.work)
	b.all.Go(func() { b.run(pull) })
	b.all.Go(func() { b.beat(pull) })
	through := make(chan struct{})
	go func() {
		<-pull.Done()
		b.all.Wait()
		if b.nc != nil {
			_ = b.nc.FlushTimeout(reconnectWait) // the last acknowledgements
			b.nc.Close()
		}
		close(through)
	}()
	return func(ctx context.Context) {
		stopPulling()
		select {
		case <-through:
		case <-ctx.Done():
		}
		b.end() // the calls end with their context
		<-through
	}
}

// run pulls until ctx ends; whatever happens, it begins again.
func (b *inbox) run(ctx context.Context) {
	var err error
	for ctx.Err() == nil {
		if b.nc == nil {
			b.nc, err = b.store.connect("intake")
		}
		if err == nil {
			err = b.session(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		level := b.store.opts.Logger.Debug
		if !errors.Is(err, domain.ErrUnavailable) {
			level = b.store.opts.Logger.Warn
		}
		level("the intake begins again", "because", err)
		err = nil
		select {
		case <-ctx.Done():
		case <-time.After(reconnectWait):
		}
	}
}

type intakeConsumerConfig struct {
	Durable       string        `json:"durable_name"`
	Description   string        `json:"description"`
	DeliverPolicy string        `json:"deliver_policy"`
	AckPolicy     string        `json:"ack_policy"`
	AckWait       time.Duration `json:"ack_wait"`
	MaxDeliver    int           `json:"max_deliver"`
	MaxAckPending int           `json:"max_ack_pending"`
	ReplayPolicy  string        `json:"replay_policy"`
	FilterSubject string        `json:"filter_subject"`
}

// join creates the consumer, or updates it, and is the same for all engines.
func (b *inbox) join(ctx context.Context) error {
	n := b.store.names
	q := struct {
		Stream string               `json:"stream_name"`
		Config intakeConsumerConfig `json:"config"`
	}{n.inbox(), intakeConsumerConfig{
		Durable: intakeConsumer, Description: "Tasker: all engines together", DeliverPolicy: "all", AckPolicy: "explicit",
		AckWait: intakeAckWait, MaxDeliver: -1, MaxAckPending: intakePending, ReplayPolicy: "instant", FilterSubject: n.submit() + ".>",
	}}
	var a struct{}
	err := b.store.ask(ctx, "CONSUMER.CREATE."+n.inbox()+"."+intakeConsumer+"."+q.Config.FilterSubject, q, &a)
	if isCode(err, codeStreamNotFound) {
		// Somebody removed it while engines run. What was in it is lost, what comes need not be.
		b.store.opts.Logger.Warn("the stream of the intake is missing, creating it", "stream", n.inbox())
		c := b.store.inboxConfig()
		c.Replicas = b.store.replicas
		if err := b.store.createStream(ctx, part{c, false}); err != nil {
			return err
		}
		return fmt.Errorf("%w: the stream of the intake is new", domain.ErrUnavailable)
	}
	if err != nil {
		return fmt.Errorf("creating the consumer of stream %s: %w", n.inbox(), err)
	}
	return nil
}

// session pulls over one subscription. An error means: begin again.
func (b *inbox) session(ctx context.Context) error {
	if err := b.join(ctx); err != nil {
		return err
	}
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return unavailable(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return unavailable(err)
	}
	defer b.giveBack(sub)
	for {
		n, err := b.await(ctx)
		if err != nil {
			return err
		}
		body := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`,
			n, max(pullBytes, 2*b.nc.MaxPayload()), intakeExpiry, pullHeartbeat)
		if err := b.nc.PublishRequest(apiPrefix+"CONSUMER.MSG.NEXT."+b.store.names.inbox()+"."+intakeConsumer, inbox, body); err != nil {
			return unavailable(err)
		}
		if err := b.take(ctx, sub, n); err != nil {
			return err
		}
	}
}

// await waits until a pull is worth its while, and returns for how many messages there is room.
func (b *inbox) await(ctx context.Context) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if wait := time.Until(time.Unix(0, b.busy.Load())); wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			continue
		}
		if n := intakeInFlight - len(b.room); n >= intakeRoom {
			return min(n, intakeBatch), nil
		}
		select {
		case <-ctx.Done():
		case <-b.free:
		}
	}
}

// take hands on what one pull brings, and returns when it has ended.
func (b *inbox) take(ctx context.Context, sub *nats.Subscription, n int) error {
	for n > 0 {
		wait, cancel := context.WithTimeout(ctx, silence)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: the consumer is silent: %w", domain.ErrUnavailable, err)
		case strings.HasPrefix(m.Reply, "$JS.ACK."):
			b.start(m)
			n--
			continue
		}
		switch status, description := m.Header.Get(headerStatus), m.Header.Get("Description"); status {
		case "100", "":
		case "404", "408":
			return nil
		case "409":
			if strings.Contains(description, "Batch Completed") || strings.Contains(description, "MaxBytes") {
				return nil
			}
			return fmt.Errorf("%w: the pull ended: %s", domain.ErrUnavailable, description)
		default:
			return fmt.Errorf("%w: the pull ended: %s %s", domain.ErrUnavailable, status, description)
		}
	}
	return nil
}

// giveBack ends the subscription, and lets others have at once what was on its way and is not begun.
func (b *inbox) giveBack(sub *nats.Subscription) {
	if err := sub.Drain(); err != nil {
		return
	}
	_ = b.nc.FlushTimeout(reconnectWait) // then the server sends no more
	for {
		m, err := sub.NextMsg(time.Millisecond)
		if err != nil {
			return
		}
		if strings.HasPrefix(m.Reply, "$JS.ACK.") {
			b.answer(m.Reply, nak(time.Millisecond))
		}
	}
}

// start has a message handled on a goroutine of its own.
func (b *inbox) start(m *nats.Msg) {
	h := &held{reply: m.Reply, since: time.Now()}
	b.room <- struct{}{} // there is room: whoever pulled has looked
	b.held.Store(h, nil)
	b.all.Go(func() {
		defer func() {
			b.held.Delete(h)
			<-b.room
			select {
			case b.free <- struct{}{}:
			default:
			}
		}()
		in, err := b.message(m)
		if err != nil {
			b.store.opts.Logger.Error("a message of the intake cannot be told from others", "error", err)
			b.answer(m.Reply, nak(intakeAckWait))
			return
		}
		v := b.handle(b.work, in)
		if v.Again <= 0 {
			b.answer(m.Reply, ackAck)
			return
		}
		if v.Busy {
			b.busy.Store(time.Now().Add(v.Again).UnixNano())
		}
		b.answer(m.Reply, nak(v.Again))
	})
}

func nak(delay time.Duration) []byte { return fmt.Appendf(nil, `-NAK {"delay":%d}`, delay) }

// answer is not confirmed: when it gets lost, the message comes again, and is the same task.
func (b *inbox) answer(reply string, text []byte) {
	if err := b.nc.Publish(reply, text); err != nil {
		b.store.opts.Logger.Debug("an acknowledgement of the intake was not sent", "error", err)
	}
}

func (b *inbox) message(m *nats.Msg) (domain.IntakeMessage, error) {
	a, err := parseAckReply(m.Reply)
	if err != nil {
		return domain.IntakeMessage{}, err
	}
	return domain.IntakeMessage{
		Subject: m.Subject, Target: tokensBehind(m.Subject, b.store.names.submit()), Header: m.Header, Data: m.Data,
		Sequence: a.stream, Stored: time.Unix(0, a.time), Deliveries: a.deliveries,
	}, nil
}

func tokensBehind(subject, prefix string) []string {
	rest, ok := strings.CutPrefix(subject, prefix+".")
	if !ok {
		return nil
	}
	return strings.Split(rest, ".")
}

// beat tells the server of what takes its time that it is still in hand, until the last one is not.
func (b *inbox) beat(ctx context.Context) {
	tick := time.NewTicker(intakeHeartbeat)
	defer tick.Stop()
	for {
		select {
		case <-b.work.Done():
			return
		case <-ctx.Done():
			// Who stops has less patience than the server.
			return
		case <-tick.C:
		}
		old := time.Now().Add(-intakeHeartbeat)
		b.held.Range(func(key, _ any) bool {
			if h, ok := key.(*held); ok && h.since.Before(old) {
				b.answer(h.reply, ackProgress)
			}
			return true
		})
	}
}
