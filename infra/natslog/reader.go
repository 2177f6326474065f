package natslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/tasker-go/tasker/domain"
)

// Settings of the reader.
const (
	pullBytes     = 4 << 20          // of one pull; two are outstanding, so that the server never waits for the next
	pullMessages  = 16 << 10         // of one pull; two fit into a subscription's channel
	pullExpiry    = 30 * time.Second // an idle pull is renewed
	pullHeartbeat = 500 * time.Millisecond
	silence       = 3 * pullHeartbeat // without heartbeats the consumer is gone
	abandoned     = 10 * time.Second  // after which the server removes a consumer whose reader died
)

// delivery is one message that a reader has read.
type delivery struct {
	sequence uint64
	time     time.Time
	msg      *nats.Msg
}

// errEnough ends a reader that has read what it was asked for.
var errEnough = errors.New("read enough")

// reader reads one stream in order, through a consumer that lives only as long as it delivers: when anything is odd (a
// lost message, silence, a new connection), it is given up for a new one that starts after the last message seen.
// (nats.go's ordered consumer does the same, but can stall, and does not end with a context.)
type reader struct {
	store  *Store
	stream string
	filter string // subject; "" = all

	headersOnly bool

	next     uint64                                  // the first sequence wanted
	each     func(delivery) error                    // gets every message once, in order
	idle     func(ctx context.Context) (bool, error) // nothing more to deliver now: true ends the reader
	patience time.Duration                           // without progress; 0 = for ever
}

// run ends with ctx, when each or idle fails or says that it is enough, or when patience is over.
func (r *reader) run(ctx context.Context) error {
	progress := time.Now()
	for {
		before := r.next
		err := r.session(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil && r.patience > 0:
			return unavailable(ctx.Err())
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, domain.ErrUnavailable):
			return err
		}
		if r.next != before {
			progress = time.Now()
		}
		if r.patience > 0 && time.Since(progress) >= r.patience {
			return fmt.Errorf("no message for %s: %w", r.patience, err)
		}
		r.store.opts.Logger.Debug("reading goes on with a new consumer", "stream", r.stream, "from", r.next, "because", err)
		select {
		case <-ctx.Done():
		case <-r.store.closed.Done():
			return fmt.Errorf("%w: the store is closed", domain.ErrUnavailable)
		case <-time.After(reconnectWait):
		}
	}
}

type consumerRequest struct {
	Stream string         `json:"stream_name"`
	Config consumerConfig `json:"config"`
}

type consumerConfig struct {
	Name          string        `json:"name"`
	DeliverPolicy string        `json:"deliver_policy"`
	StartSequence uint64        `json:"opt_start_seq"`
	AckPolicy     string        `json:"ack_policy"`
	ReplayPolicy  string        `json:"replay_policy"`
	FilterSubject string        `json:"filter_subject,omitempty"`
	Inactive      time.Duration `json:"inactive_threshold"`
	Replicas      int           `json:"num_replicas"`
	Memory        bool          `json:"mem_storage"`
	MaxDeliver    int           `json:"max_deliver"`
	HeadersOnly   bool          `json:"headers_only,omitempty"`
}

// session reads through one consumer. An error that wraps domain.ErrUnavailable means: go on with another one.
func (r *reader) session(ctx context.Context) error {
	inbox := r.store.nc.NewInbox()
	sub, err := r.store.nc.SubscribeSync(inbox + ".*")
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return unavailable(err)
	}
	c := consumerConfig{
		Name: "tasker-" + nuid.Next(), DeliverPolicy: "by_start_sequence", StartSequence: max(1, r.next),
		AckPolicy: "none", ReplayPolicy: "instant", FilterSubject: r.filter,
		Inactive: abandoned, Replicas: 1, Memory: true, MaxDeliver: 1, HeadersOnly: r.headersOnly,
	}
	var created struct {
		Pending uint64 `json:"num_pending"`
	}
	err = r.store.ask(ctx, "CONSUMER.CREATE."+r.stream+"."+c.Name+r.filterToken(), consumerRequest{r.stream, c}, &created)
	if err != nil {
		return fmt.Errorf("creating a consumer of stream %s: %w", r.stream, err)
	}
	p := &pulls{reader: r, sub: sub, inbox: inbox, subject: apiPrefix + "CONSUMER.MSG.NEXT." + r.stream + "." + c.Name}
	defer r.remove(c.Name)
	return p.read(ctx, created.Pending)
}

func (r *reader) filterToken() string {
	if r.filter == "" {
		return ""
	}
	return "." + r.filter
}

// remove does not wait: the server removes the consumer by itself, a little later.
func (r *reader) remove(consumer string) {
	_ = r.store.nc.Publish(apiPrefix+"CONSUMER.DELETE."+r.stream+"."+consumer, nil)
}

// pulls keeps two pull requests open on one consumer and reads what comes.
type pulls struct {
	reader  *reader
	sub     *nats.Subscription
	inbox   string
	subject string

	sent      int
	delivered uint64 // the consumer's own count: a hole in it is a lost message
}

func (p *pulls) pull() error {
	p.sent++
	limit := max(pullBytes, 2*p.reader.store.nc.MaxPayload()) // else a large message would never fit
	body := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`, pullMessages, limit, pullExpiry, pullHeartbeat)
	return unavailable(p.reader.store.nc.PublishRequest(p.subject, p.inbox+"."+strconv.Itoa(p.sent), body))
}

func (p *pulls) read(ctx context.Context, pending uint64) error {
	if pending == 0 {
		if err := p.whenIdle(ctx); err != nil {
			return err
		}
	}
	for range 2 {
		if err := p.pull(); err != nil {
			return err
		}
	}
	for {
		m, err := p.nextMsg(ctx)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(m.Reply, "$JS.ACK.") {
			if err := p.status(ctx, m); err != nil {
				return err
			}
			continue
		}
		left, err := p.deliver(ctx, m)
		if err != nil {
			return err
		}
		if left == 0 {
			if err := p.whenIdle(ctx); err != nil {
				return err
			}
		}
	}
}

func (p *pulls) nextMsg(ctx context.Context) (*nats.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	m, err := p.sub.NextMsgWithContext(wait)
	if err == nil {
		return m, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w: the consumer is silent: %w", domain.ErrUnavailable, err)
}

// whenIdle asks the reader whether it has enough, when all there was is delivered.
func (p *pulls) whenIdle(ctx context.Context) error {
	if p.reader.idle == nil {
		return nil
	}
	enough, err := p.reader.idle(ctx)
	if err == nil && enough {
		err = errEnough
	}
	return err
}

// status handles what the server says about a pull. Every end of a pull is followed by another.
func (p *pulls) status(ctx context.Context, m *nats.Msg) error {
	switch status, description := m.Header.Get(headerStatus), m.Header.Get("Description"); status {
	case "100":
		if len(m.Data) == 0 && m.Header.Get("Nats-Last-Consumer") != "" {
			if last, err := strconv.ParseUint(m.Header.Get("Nats-Last-Consumer"), 10, 64); err == nil && last != p.delivered {
				return fmt.Errorf("%w: the consumer delivered %d messages, %d arrived", domain.ErrUnavailable, last, p.delivered)
			}
		}
		return p.whenIdle(ctx)
	case "404", "408":
		return p.pull()
	case "409":
		if strings.Contains(description, "Batch Completed") || strings.Contains(description, "MaxBytes") {
			return p.pull()
		}
		return fmt.Errorf("%w: the consumer ended: %s", domain.ErrUnavailable, description)
	case "":
		return nil
	default:
		return fmt.Errorf("%w: the consumer ended: %s %s", domain.ErrUnavailable, status, description)
	}
}

// deliver hands over one message, unless it is not the one that follows, and returns how many more there are now.
func (p *pulls) deliver(ctx context.Context, m *nats.Msg) (left uint64, err error) {
	a, err := parseAckReply(m.Reply)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", domain.ErrUnavailable, err)
	}
	if a.consumer != p.delivered+1 {
		return 0, fmt.Errorf("%w: message %d of the consumer came after %d", domain.ErrUnavailable, a.consumer, p.delivered)
	}
	p.delivered = a.consumer
	r := p.reader
	if a.stream < r.next {
		return 0, fmt.Errorf("%w: message %d came again", domain.ErrUnavailable, a.stream)
	}
	if a.stream > r.next && r.next > 0 && r.filter == "" {
		if err := r.confirmHole(ctx); err != nil {
			return 0, err
		}
	}
	if err := r.each(delivery{sequence: a.stream, time: time.Unix(0, a.time), msg: m}); err != nil {
		if errors.Is(err, domain.ErrUnavailable) {
			return 0, &callerError{err} // the caller's own, which must not restart the reader
		}
		return 0, err
	}
	r.next = a.stream + 1
	return a.pending, nil
}

// confirmHole asks the leader whether the next message is really not there, before it is passed over.
func (r *reader) confirmHole(ctx context.Context) error {
	_, err := r.store.getMessage(ctx, r.stream, getRequest{Sequence: r.next, OmitHeaders: true})
	switch {
	case errors.Is(err, domain.ErrNoMessage):
		return nil
	case err == nil:
		return fmt.Errorf("%w: message %d was passed over", domain.ErrUnavailable, r.next)
	}
	return err
}

// callerError keeps errors.Is(err, domain.ErrUnavailable) from being true inside the reader.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }

// ackReply is what the reply subject of a delivered message says:
// $JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<time>.<pending>, or with
// <domain>.<account hash> before the stream and a token after.
type ackReply struct {
	deliveries                int
	stream, consumer, pending uint64
	time                      int64
}

func parseAckReply(reply string) (ackReply, error) {
	var a ackReply
	tokens := strings.Split(reply, ".")
	switch {
	case len(tokens) == 9:
		tokens = tokens[4:]
	case len(tokens) >= 11:
		tokens = tokens[6:]
	default:
		return a, fmt.Errorf("a delivery with the reply subject %q", reply)
	}
	var errs [5]error
	a.deliveries, errs[0] = strconv.Atoi(tokens[0])
	a.stream, errs[1] = strconv.ParseUint(tokens[1], 10, 64)
	a.consumer, errs[2] = strconv.ParseUint(tokens[2], 10, 64)
	a.time, errs[3] = strconv.ParseInt(tokens[3], 10, 64)
	a.pending, errs[4] = strconv.ParseUint(tokens[4], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return a, fmt.Errorf("a delivery with the reply subject %q: %w", reply, err)
	}
	return a, nil
}

// Scan implements domain.Log.
func (l *partitionLog) Scan(ctx context.Context, from uint64, each func(domain.Message) error) error {
	b, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	from = max(from, b.First)
	if from > b.Last {
		return nil
	}
	r := l.reader(from, each)
	r.patience = answerTimeout
	deliver := r.each
	r.each = func(d delivery) error {
		if d.sequence > b.Last {
			return errEnough
		}
		if err := deliver(d); err != nil {
			return err
		}
		if d.sequence == b.Last {
			return errEnough
		}
		return nil
	}
	// All that was delivered may end below b.Last only when the rest was trimmed meanwhile.
	r.idle = func(ctx context.Context) (bool, error) {
		now, err := l.Bounds(ctx)
		return err == nil && (r.next > b.Last || now.First > b.Last), err
	}
	return l.readErr(r.run(ctx))
}

// Follow implements domain.Log.
func (l *partitionLog) Follow(ctx context.Context, from uint64, each func(domain.Message) error) error {
	return l.readErr(l.reader(max(1, from), each).run(ctx))
}

func (l *partitionLog) reader(from uint64, each func(domain.Message) error) *reader {
	return &reader{store: l.store, stream: l.stream, next: from, each: func(d delivery) error {
		return each(domain.Message{Sequence: d.sequence, CommitID: l.commitID(d.msg.Subject, d.msg.Header), Data: d.msg.Data, Time: d.time})
	}}
}

func (l *partitionLog) readErr(err error) error {
	var own *callerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own.err
	case isCode(err, codeStreamNotFound):
		return l.missing(err)
	case errors.Is(err, domain.ErrUnavailable):
		return fmt.Errorf("reading stream %s: %w", l.stream, err)
	}
	return err
}
