// Package feed publishes one NATS message per event: for those who want events, and know neither commits nor this engine.
//
// The subject is tasker.events.<namespace>.<task>.<type>; the dots of the type are tokens of their own. The headers are a
// CloudEvent's in binary mode (the NATS binding of CloudEvents 1.0), the body is the data of the event. The messages are
// kept for a while in a stream, TASKER_EVENTS, so that consumers may be durable. docs/feed-and-webhooks.md is for readers.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
)

// Defaults and limits of Options.
const (
	DefaultPrefix   = "TASKER"
	DefaultMaxAge   = 7 * 24 * time.Hour
	DefaultMaxBytes = 256 << 20
	MinMaxBytes     = 1 << 20
	MinMaxAge       = time.Minute
	// Window is how long the stream knows the ids of messages, so that what comes again after a crash is stored once. The
	// server keeps about 200 bytes per id in memory.
	Window = time.Minute
	// Lanes is how many events are on their way at once: of different tasks, because the next event of a task waits for the
	// acknowledgement of the one before. It is for the subscription that calls Handle.
	Lanes = 512

	ackTimeout   = 5 * time.Second // for one publish, then it is sent again
	setUpTimeout = 30 * time.Second
	firstPause   = 100 * time.Millisecond // between two tries while NATS does not answer
	longestPause = 5 * time.Second
)

// Options of a feed. Connect and Event are required.
type Options struct {
	// Connect opens a connection; the given options come after its own.
	Connect func(...nats.Option) (*nats.Conn, error)
	// Event describes a record. It is called on the goroutines that call Handle.
	Event func(ctx context.Context, r domain.Record) (domain.CloudEvent, error)
	// Prefix of the stream's name and, in lower case, of the subjects. Default DefaultPrefix.
	Prefix string
	// Replicas, MaxAge and MaxBytes of a stream that does not exist yet. An existing one keeps what it has: `nats stream edit`
	// changes it. The oldest messages go when it is full. Defaults 1, DefaultMaxAge, DefaultMaxBytes.
	Replicas int
	MaxAge   time.Duration
	MaxBytes int64
	// Synced says that the server syncs the disk before each acknowledgement, and that the stream has no replicas: then
	// events are stored in batches, one sync for all that wait.
	Synced bool
	// Logger; nil discards.
	Logger *slog.Logger
}

// complete fills in the defaults, and says what is wrong.
func (o *Options) complete() error {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	o.Replicas = max(o.Replicas, 1)
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Connect == nil || o.Event == nil:
		return errors.New("feed: Options.Connect and Options.Event are required")
	case o.MaxAge < MinMaxAge:
		return fmt.Errorf("feed: messages cannot be kept for %s only: the shortest is %s", o.MaxAge, MinMaxAge)
	case o.MaxBytes < MinMaxBytes:
		return fmt.Errorf("feed: %d bytes are too few for the stream of events: the least is %d", o.MaxBytes, MinMaxBytes)
	}
	return nil
}

// Feed publishes events. Its methods may be called from any goroutine.
type Feed struct {
	opts Options
	root string // of all subjects, with the dot behind
	nc   *nats.Conn
	js   jetstream.JetStream
	all  batches

	mu      sync.Mutex
	ensured time.Time // when the stream was last looked for
	warned  time.Time // when it was last said that nobody answers
}

// Open connects, and makes the stream or verifies the one that is there. Close the feed when Handle is not called any more.
// Errors: Options that contradict themselves, *SettingError, domain.ErrUnavailable, what the server says of the stream.
func Open(ctx context.Context, o Options) (*Feed, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	f := &Feed{opts: o, root: Subjects(o.Prefix)}
	nc, err := o.Connect(
		nats.Name("tasker feed"),
		nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(firstPause),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Logger.Error("NATS reports an error to the feed", "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("feed: connecting to NATS: %w: %w", domain.ErrUnavailable, err)
	}
	f.nc, f.all.feed = nc, f
	// Twice the lanes: those whose acknowledgement is late are sent again.
	f.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*Lanes), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err == nil {
		err = f.setUp(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("feed: %w", err)
	}
	return f, nil
}

// Close waits for what is on its way, a few seconds at most, and closes the connection.
func (f *Feed) Close() {
	f.all.running.Wait()
	f.nc.Close()
}

// Stream is the name of the stream below a prefix, TASKER_EVENTS.
func Stream(prefix string) string { return prefix + "_EVENTS" }

// Subjects is what all subjects of the feed begin with, "tasker.events.".
func Subjects(prefix string) string { return strings.ToLower(prefix) + ".events." }

// Handle publishes one event and returns when it is stored, at least once: what came before, within Window, is stored once.
// It waits while NATS does not answer, until ctx ends. An event that can never be published is a domain.Permanent error. It
// is to be called in order per task; events of different tasks may come at once.
func (f *Feed) Handle(ctx context.Context, r domain.Record) error {
	event, err := f.opts.Event(ctx, r)
	if err != nil {
		return err
	}
	msg := f.message(&event)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := f.publish(ctx, msg)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case impossible(err):
			return domain.Permanent(fmt.Errorf("publishing %s: %w", msg.Subject, err))
		case !passing(err):
			return fmt.Errorf("publishing %s: %w", msg.Subject, err)
		}
		f.trouble(ctx, err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (f *Feed) publish(ctx context.Context, msg *nats.Msg) error {
	if f.opts.Synced {
		return f.all.publish(ctx, msg)
	}
	future, err := f.js.PublishMsgAsync(msg)
	if err != nil {
		return err
	}
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// trouble makes the stream again if it is gone, and says once in a while that events wait.
func (f *Feed) trouble(ctx context.Context, err error) {
	f.mu.Lock()
	now := time.Now()
	say, look := now.Sub(f.warned) >= longestPause, false
	if say {
		f.warned = now
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) && now.Sub(f.ensured) >= longestPause {
		f.ensured, look = now, true
	}
	f.mu.Unlock()
	if say {
		f.opts.Logger.Warn("the feed waits: events cannot be published", "error", err)
	}
	if look {
		if err := f.setUp(ctx); err != nil && ctx.Err() == nil {
			f.opts.Logger.Warn("the stream of the feed cannot be made", "error", err)
		}
	}
}

// impossible: trying again leads to the same, whatever the state of NATS.
func impossible(err error) bool {
	const messageTooLarge, headerTooLarge = 10054, 10097
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		isCode(err, messageTooLarge) || isCode(err, headerTooLarge)
}

// passing: NATS is away, has no leader for the stream, or has no room for the moment.
func passing(err error) bool {
	for _, e := range []error{
		nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection,
		nats.ErrNoResponders, jetstream.ErrNoStreamResponse, jetstream.ErrAsyncPublishTimeout, jetstream.ErrTooManyStalledMsgs,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == 503 || api.Code == 429)
}

func isCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}
