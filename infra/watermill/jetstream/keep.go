package jetstream

import (
	"context"
	"errors"
	"time"

	js "github.com/nats-io/nats.go/jetstream"
)

const (
	watchEvery = idleHeartbeat
	// floorEvery is how many watches pass between two questions for a durable consumer's acknowledgement floor: from there it
	// is created again if somebody deletes it.
	floorEvery = 10
	// suspicious is how many requests in a row that nobody answers are worth a look at the consumer, and then, if there is one, a
	// new inbox.
	suspicious = 3
	// lookAgain is after how long a finite subscription asks again whether its last acknowledgements were counted; doubled up to
	// watchEvery.
	lookAgain = 5 * time.Millisecond
)

// keep looks after what nobody else does: messages that take long, a consumer that is silent or gone, the end of a finite
// subscription.
func (s *subscription) keep() {
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	beat := make(<-chan time.Time)
	if s.cfg.Heartbeat > 0 {
		t := time.NewTicker(s.cfg.Heartbeat)
		defer t.Stop()
		beat = t.C
	}
	var w watcher
	for {
		select {
		case <-s.kept:
			return
		case now := <-beat:
			s.progress(now)
		case <-watch.C:
			s.watch(&w)
		case <-s.poke:
			s.finish(&w)
		}
	}
}

// watcher is what keep remembers from one look to the next.
type watcher struct {
	count   int
	silent  int
	lookIn  time.Duration
	problem string
}

// progress keeps the server from delivering again what waits here or is worked on.
func (s *subscription) progress(now time.Time) {
	s.mu.Lock()
	var replies []string
	for _, d := range s.under {
		if now.Sub(d.arrived) >= s.cfg.Heartbeat/2 {
			replies = append(replies, d.reply)
		}
	}
	s.mu.Unlock()
	for _, reply := range replies {
		s.tell(reply, progressWord)
	}
}

// watch asks again when the server is silent, and begins anew where its consumer is gone.
func (s *subscription) watch(w *watcher) {
	w.count++
	if s.nc.IsClosed() {
		s.log.Error("the connection is closed: the subscription ends")
		s.close()
		return
	}
	if s.ending() {
		return
	}
	if s.cfg.UntilCaughtUp {
		s.finish(w)
	}
	p := s.currentPuller()
	silent, due, look := p.health()
	if !silent {
		w.silent = 0
	}
	if due {
		w.silent++
		p.again()
	}
	durable := s.durableName(s.src.topic) != ""
	if look || due && w.silent%suspicious == 0 || durable && w.count%floorEvery == 0 {
		s.inspect(w)
	}
}

func (s *subscription) ending() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func (s *subscription) inspect(w *watcher) {
	ctx, cancel := context.WithTimeout(s.base, requestTimeout)
	defer cancel()
	info, err := s.src.consumer.Info(ctx)
	switch {
	case err == nil:
		s.mu.Lock()
		s.floor = max(s.floor, info.AckFloor.Stream)
		s.mu.Unlock()
		w.problem = ""
		if w.silent >= suspicious {
			s.log.Warn("the consumer is there and silent: asking from another inbox", "waiting", info.NumWaiting, "pending", info.NumPending)
			s.repull(w)
		}
	case errors.Is(err, js.ErrConsumerNotFound), errors.Is(err, js.ErrStreamNotFound):
		s.recreate(ctx, w)
	default:
		s.report(w, "the consumer does not answer", err) // no leader, no connection: it comes back
	}
}

// recreate makes a consumer that goes on where the lost one was, or before: then messages come twice, none is left out.
func (s *subscription) recreate(ctx context.Context, w *watcher) {
	stream, err := s.js.Stream(ctx, s.src.name)
	if err != nil {
		s.report(w, "the consumer is gone and its stream does not answer", err)
		return
	}
	start := s.position(stream.CachedInfo().Config.Retention)
	consumer, err := s.consumerOf(ctx, stream, s.src.topic, s.src.subjects, start)
	if err != nil {
		s.report(w, "the consumer is gone and could not be created again", err)
		return
	}
	s.log.Warn("the consumer was gone and was created again: messages may come twice", "begin", start.sequence, "name", consumer.CachedInfo().Name)
	s.src.stream, s.src.consumer = stream, consumer
	s.repull(w)
}

// position is where a consumer has to begin that takes the place of a lost one.
func (s *subscription) position(retention js.RetentionPolicy) Start {
	if retention == js.WorkQueuePolicy {
		return FromFirst() // what was acknowledged is not there any more, and the server allows nothing else
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	begin := s.floor + 1
	if s.durableName(s.src.topic) == "" && s.next > 0 { // nobody else: it is known exactly
		begin = s.next
		for sequence := range s.under {
			begin = min(begin, sequence)
		}
	}
	return Start{policy: js.DeliverByStartSequencePolicy, sequence: begin, lenient: true}
}

// repull asks from a new inbox.
func (s *subscription) repull(w *watcher) {
	s.currentPuller().stop()
	p := s.newPuller()
	if err := p.start(); err != nil {
		s.report(w, "no new inbox", err)
		return
	}
	w.silent, w.problem = 0, ""
	s.mu.Lock()
	s.puller = p
	s.mu.Unlock()
}

// report logs a problem when it is a new one.
func (s *subscription) report(w *watcher, what string, err error) {
	if text := what + err.Error(); text != w.problem {
		w.problem = text
		s.log.Error(what+": trying on", "error", err)
	}
}

// look has keep see whether everything was read.
func (s *subscription) look() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// finish ends a finite subscription when everything up to its end is acknowledged, by whomever.
func (s *subscription) finish(w *watcher) {
	if s.ending() || s.busy() {
		return
	}
	ctx, cancel := context.WithTimeout(s.base, requestTimeout)
	defer cancel()
	info, err := s.src.consumer.Info(ctx)
	if err != nil {
		return // the next watch asks again
	}
	if s.caughtUp(info) {
		s.close()
		return
	}
	// Acknowledgements are counted a moment after they are sent.
	w.lookIn = min(max(2*w.lookIn, lookAgain), watchEvery)
	time.AfterFunc(w.lookIn, s.look)
}

func (s *subscription) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.under) > 0
}

func (s *subscription) caughtUp(info *js.ConsumerInfo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delivered := info.NumPending == 0 || info.Delivered.Stream >= s.src.end
	settled := info.NumAckPending <= len(s.held) || info.AckFloor.Stream >= s.src.end
	return delivered && settled && len(s.under) == 0
}
