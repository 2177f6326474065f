package jetstream

import (
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	idleHeartbeat = 500 * time.Millisecond // the server says that often that a request for messages is alive
	silence       = 2 * idleHeartbeat      // after it the request is taken for lost
	pullExpiry    = 30 * time.Second       // of one request
	drainTimeout  = 2 * time.Second        // for the server to hear that nobody listens any more

	minBatch = 512 // messages of one request; more than one round trip's worth, or the consumer runs dry in between
	maxBatch = 8192
)

// puller asks the server for a consumer's messages and hands each to receive, in the order of their arrival, from one goroutine.
//
// It does not use the pull subscriptions of nats.go, for two reasons. Those can stop asking when a whole batch is taken at a bad moment, and
// take a stored message that is empty and has a header "Status" for the server's own words: with "Status: 409" and
// "Description: Consumer Deleted" anyone who may publish to the stream can end them. Here what has an acknowledgement
// subject is a message, whatever its headers say, and silence is always followed by another request.
type puller struct {
	nc      *nats.Conn
	subject string // where requests go
	inbox   string
	sub     *nats.Subscription
	batch   int
	receive func(*nats.Msg, *nats.MsgMetadata)
	publish func(subject, reply string, data []byte) error
	closed  chan struct{} // closed when receive is not called any more

	mu     sync.Mutex
	credit int       // messages that were asked for and have not come
	heard  time.Time // when the server last said anything
	anew   time.Time // when again was last called
	gone   bool      // the server said that there is no such consumer, or nobody answered
}

func newPuller(nc *nats.Conn, stream, consumer string, batch int, receive func(*nats.Msg, *nats.MsgMetadata)) *puller {
	return &puller{
		nc:      nc,
		subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer),
		inbox:   nc.NewInbox(),
		batch:   min(max(batch, minBatch), maxBatch),
		receive: receive,
		publish: nc.PublishRequest,
		closed:  make(chan struct{}),
	}
}

func (p *puller) start() error {
	sub, err := p.nc.Subscribe(p.inbox, p.on)
	if err != nil {
		return err
	}
	// What may be under way is bounded by MaxAckPending; a second limit here would drop messages.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	sub.SetClosedHandler(func(string) { close(p.closed) })
	p.sub, p.heard = sub, time.Now()
	p.again()
	return nil
}

// on is called by the connection for everything that comes to the inbox.
func (p *puller) on(m *nats.Msg) {
	if meta, err := m.Metadata(); err == nil {
		p.mu.Lock()
		p.heard = time.Now()
		p.credit--
		p.ask()
		p.mu.Unlock()
		p.receive(m, meta)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Header.Get("Status") {
	case "100": // a heartbeat
		p.heard = time.Now()
	case "408": // a request expired
		p.heard = time.Now()
		p.spend(m)
		p.ask()
	case "503": // nobody has this consumer now: it is gone, or its leader is
		p.credit, p.gone = 0, true
	case "404", "409": // a request was ended: leader change, shutdown, too many waiting, consumer deleted, ...
		p.heard = time.Now()
		p.spend(m)
		p.gone = true // have a look; the next tick asks again
	}
}

// spend takes what a request that ended did not bring off the credit.
func (p *puller) spend(m *nats.Msg) {
	n, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
	if err != nil {
		n = p.credit
	}
	p.credit = max(p.credit-n, 0)
}

// ask keeps at least half a batch asked for.
func (p *puller) ask() {
	if p.credit >= p.batch/2 {
		return
	}
	n := p.batch - p.credit
	request, _ := json.Marshal(struct { // numbers cannot fail
		Batch     int           `json:"batch"`
		Expires   time.Duration `json:"expires"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{n, pullExpiry, idleHeartbeat})
	if p.publish(p.subject, p.inbox, request) == nil {
		p.credit += n
	}
}

// again asks anew, whatever was asked for before.
func (p *puller) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.anew, p.credit = time.Now(), 0
	p.ask()
}

// health is how the puller is doing. silent: nothing was heard for too long; due: and it was not asked again since; look: the
// server said something that calls for a look at the consumer, which is forgotten now.
func (p *puller) health() (silent, due, look bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	look, p.gone = p.gone, false
	silent = time.Since(p.heard) >= silence
	if !silent {
		p.ask()
	}
	return silent, silent && time.Since(p.anew) >= silence, look
}

// stop ends the flow: what the server sent before it heard of it is still received. It returns when receive is not called
// any more, or the server does not answer.
func (p *puller) stop() {
	p.mu.Lock()
	p.publish = func(string, string, []byte) error { return nats.ErrBadSubscription } // no requests after the last
	p.mu.Unlock()
	if err := p.sub.Drain(); err != nil {
		_ = p.sub.Unsubscribe() // fails when the connection is closed, as Drain did
		return
	}
	timeout := time.NewTimer(drainTimeout)
	defer timeout.Stop()
	select {
	case <-p.closed:
	case <-timeout.C:
		_ = p.sub.Unsubscribe()
	}
}
