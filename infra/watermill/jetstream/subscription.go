package jetstream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

const (
	// maxGrace is what handlers have, once their contexts were cancelled, to say how it ended, if CloseTimeout is longer.
	maxGrace = 500 * time.Millisecond
	// flushTimeout is for the last acknowledgements to reach the server.
	flushTimeout = time.Second
)

// subscription is one call of Subscribe. Its goroutines: the puller's calls receive, one for each lane, and keep; at its
// end shutdown.
type subscription struct {
	*Subscriber
	src *source
	out chan *message.Message
	log *slog.Logger

	base       context.Context // the values of Subscribe's context, without its end
	cancelBase context.CancelFunc
	unwatch    func() bool // stops waiting for the end of Subscribe's context

	closeOnce sync.Once
	closing   chan struct{} // nothing is handed out any more
	abandoned chan struct{} // nobody waits for handlers any more
	kept      chan struct{} // tells keep to end
	done      chan struct{}

	lanes   []*lane
	working sync.WaitGroup // lanes
	keeping sync.WaitGroup
	poke    chan struct{} // holds one token: see whether everything was read

	mu      sync.Mutex
	puller  *puller
	under   map[uint64]*delivery // what is under way, by sequence: waiting or handed out
	held    map[uint64]string    // reply subjects of what lies behind the end of a finite subscription
	next    uint64               // after the highest sequence that came
	floor   uint64               // all before and with it was acknowledged when the server was last asked
	reached bool                 // a finite subscription got the last message that it waits for
}

func newSubscription(ctx context.Context, s *Subscriber, src *source) *subscription {
	sub := &subscription{
		Subscriber: s,
		src:        src,
		out:        make(chan *message.Message),
		log:        s.cfg.Logger.With("stream", src.name, "consumer", src.consumer.CachedInfo().Name, "topic", src.topic),
		closing:    make(chan struct{}),
		abandoned:  make(chan struct{}),
		kept:       make(chan struct{}),
		done:       make(chan struct{}),
		poke:       make(chan struct{}, 1),
		under:      map[uint64]*delivery{},
		held:       map[uint64]string{},
		floor:      src.consumer.CachedInfo().AckFloor.Stream,
	}
	sub.base, sub.cancelBase = context.WithCancel(context.WithoutCancel(ctx))
	for range s.cfg.Lanes {
		sub.lanes = append(sub.lanes, newLane())
	}
	return sub
}

// start sets everything going; on an error nothing is left.
func (s *subscription) start(ctx context.Context) error {
	p := s.newPuller()
	if err := p.start(); err != nil {
		s.forget()
		return err
	}
	s.mu.Lock()
	s.puller = p
	s.mu.Unlock()
	for _, l := range s.lanes {
		s.working.Go(func() { s.work(l) })
	}
	s.keeping.Go(s.keep)
	s.unwatch = context.AfterFunc(ctx, s.close)
	if s.cfg.UntilCaughtUp {
		s.look()
	}
	return nil
}

func (s *subscription) newPuller() *puller {
	return newPuller(s.nc, s.src.name, s.src.consumer.CachedInfo().Name, 2*s.cfg.MaxAckPending, s.receive)
}

// receive takes what the server sends: into its lane, or back.
func (s *subscription) receive(raw *nats.Msg, meta *nats.MsgMetadata) {
	sequence := meta.Sequence.Stream
	d := &delivery{reply: raw.Reply, meta: meta, msg: unmarshal(raw, meta), arrived: time.Now()}
	ctx, cancel := context.WithCancel(s.base)
	d.cancel = cancel
	d.msg.SetContext(deliveryContext{ctx, d})
	lane := s.lanes[laneOf(s.key(d.msg), len(s.lanes))]

	s.mu.Lock()
	s.next = max(s.next, sequence+1)
	if s.cfg.UntilCaughtUp && (meta.NumPending == 0 || sequence >= s.src.end) {
		s.reached = true
		s.look()
	}
	if s.cfg.UntilCaughtUp && sequence > s.src.end {
		s.held[sequence] = raw.Reply
		s.mu.Unlock()
		cancel()
		return
	}
	if there := s.under[sequence]; there != nil {
		// It is waiting or worked on here. It will be acknowledged by what came last: the consumer may be another one now.
		there.reply = raw.Reply
		s.mu.Unlock()
		cancel()
		return
	}
	s.under[sequence] = d
	s.mu.Unlock()

	switch n := meta.NumDelivered; {
	case s.cfg.MaxDeliver > 0 && n > uint64(s.cfg.MaxDeliver):
		s.terminate(d, fmt.Sprintf("delivered %d times, at most %d are allowed", n, s.cfg.MaxDeliver))
	case !lane.push(d):
		s.settle(d, nackWord)
	}
}

// key is the user's Key; where that panics, the default one.
func (s *subscription) key(m *message.Message) (key string) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("Key panicked: the message's subject is its key", "panic", p, "sequence", m.Metadata[MetaSequence])
			key = m.Metadata[MetaSubject]
		}
	}()
	return s.cfg.Key(m)
}

// work hands out a lane's messages, one at a time.
func (s *subscription) work(l *lane) {
	var batch []*delivery
	for {
		if batch = l.take(batch); batch == nil {
			return
		}
		for _, d := range batch {
			s.handOut(d)
		}
	}
}

func (s *subscription) handOut(d *delivery) {
	select {
	case <-s.closing:
		s.settle(d, nackWord) // nobody has seen it: it goes to the next at once
		return
	default:
	}
	select {
	case s.out <- d.msg:
	case <-s.closing:
		s.settle(d, nackWord)
		return
	}
	select {
	case <-d.msg.Acked():
		s.settle(d, ackWord)
	case <-d.msg.Nacked():
		s.nack(d)
	case <-s.abandoned:
		// Its handler may still be at it: no word, so that nobody else begins before AckWait is over.
		s.log.Error("a handler did not end within CloseTimeout: its message is delivered again after AckWait", "sequence", d.sequence())
		s.settle(d, nil)
	}
}

func (s *subscription) nack(d *delivery) {
	v := d.verdict.Load()
	n := d.meta.NumDelivered
	switch {
	case v != nil && v.terminate:
		s.terminate(d, v.reason)
	case s.cfg.MaxDeliver > 0 && n >= uint64(s.cfg.MaxDeliver):
		s.terminate(d, fmt.Sprintf("failed %d times, at most %d are allowed", n, s.cfg.MaxDeliver))
	case v != nil && v.waits:
		s.settle(d, nackAfter(v.wait))
	default:
		s.settle(d, nackAfter(s.cfg.NackBackoff(n)))
	}
}

func (s *subscription) terminate(d *delivery, reason string) {
	s.log.Warn("a message is terminated: it is not delivered again", "sequence", d.sequence(), "subject", d.msg.Metadata[MetaSubject],
		"uuid", d.msg.UUID, "reason", reason)
	s.settle(d, terminate(reason))
}

// settle ends a delivery with a word to the server; nil for none.
func (s *subscription) settle(d *delivery, word []byte) {
	if word != nil {
		s.mu.Lock()
		reply := d.reply
		s.mu.Unlock()
		s.tell(reply, word)
	}
	s.mu.Lock()
	delete(s.under, d.sequence())
	last := s.reached && len(s.under) == 0
	s.mu.Unlock()
	d.cancel()
	if last {
		s.look()
	}
}

func (s *subscription) tell(reply string, word []byte) {
	if err := s.nc.Publish(reply, word); err != nil {
		s.log.Error("a message could not be acknowledged: it is delivered again", "error", err)
	}
}

// close begins the end, once.
func (s *subscription) close() {
	s.closeOnce.Do(func() {
		close(s.closing)
		go s.shutdown()
	})
}

func (s *subscription) shutdown() {
	cancelling := time.AfterFunc(s.cfg.CloseTimeout, s.cancelBase)
	abandoning := time.AfterFunc(s.cfg.CloseTimeout+min(s.cfg.CloseTimeout, maxGrace), func() { close(s.abandoned) })
	s.currentPuller().stop()
	for _, l := range s.lanes {
		l.close()
	}
	s.working.Wait()
	cancelling.Stop()
	abandoning.Stop()
	close(s.kept)
	s.keeping.Wait()
	s.currentPuller().stop() // keep may have begun another one
	s.mu.Lock()
	for _, reply := range s.held {
		s.tell(reply, nackWord)
	}
	s.mu.Unlock()
	if s.nc.IsConnected() {
		if err := s.nc.FlushTimeout(flushTimeout); err != nil {
			s.log.Error("the last acknowledgements may not have reached the server: their messages are delivered again", "error", err)
		}
	}
	s.forget()
	close(s.out)
	close(s.done)
}

func (s *subscription) currentPuller() *puller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puller
}

// forget removes what the subscription left elsewhere.
func (s *subscription) forget() {
	if s.unwatch != nil {
		s.unwatch()
	}
	s.cancelBase()
	s.ended(s)
	if s.durableName(s.src.topic) != "" || !s.nc.IsConnected() {
		return // the server forgets one that is not durable after InactiveThreshold
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := s.src.stream.DeleteConsumer(ctx, s.src.consumer.CachedInfo().Name); err != nil {
		s.log.Debug("the consumer was not deleted: the server forgets it after InactiveThreshold", "error", err)
	}
}
