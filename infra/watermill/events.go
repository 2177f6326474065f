package watermill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker/domain"
)

// DefaultCloseTimeout is how long the end of a subscription waits for handlers that are at work.
const DefaultCloseTimeout = 30 * time.Second

// EventsConfig says how an Events subscribes. The zero value is a subscriber that is not durable, from now on.
type EventsConfig struct {
	// Subscription is durable when it has a Name: it goes on where it stopped, in whatever process, and one process at a
	// time is told; others with that name wait, and take over. From, Lanes, Tries, Backoff, OnPoison and the rest are as
	// everywhere. Types must be empty: they are the topic's.
	Subscription domain.Subscription
	// Replay makes the subscription finite: it ends with what is stored when it begins, also when that is nothing, so that
	// Router.Run returns. Of the Subscription, Lanes, Tries, Backoff and OnPoison count, and it must have no Name. There is no
	// cursor, and nothing is put into the dead letters: an event whose last try fails is passed over, and the subscription
	// ends with a *ReplayFailedError (Err); with domain.StopSubscriber it ends there. Types must be empty, Follow false.
	Replay *domain.ReplayOptions
	// CloseTimeout is how long Close, and the end of the context of Subscribe, wait for handlers that are at work. Their
	// messages' contexts end only then. What is not acked by then comes again. Default 30 s.
	CloseTimeout time.Duration
	// Causes fills MetadataCausation in where the log leaves it to its rules. It costs one read of the log per commit of the
	// task so far, for every event.
	Causes bool
	// OnError is told, once, why a subscription has ended by itself: what it was to read has been trimmed, its cursor is of
	// another log, an event failed its last try under StopSubscriber. Err gives the same afterwards. Default: it is logged.
	OnError func(topic string, err error)
	// Logger takes what operators need to know. Default slog.Default().
	Logger *slog.Logger
}

// Errors of Events, to compare with errors.Is.
var (
	// ErrClosed: Subscribe after Close.
	ErrClosed = errors.New("the subscriber is closed")
	// ErrNacked is the failed try of a message that was nacked. The Router does not say why; PassErrors makes it.
	ErrNacked = errors.New("the message was nacked (the middleware PassErrors would say why)")
	// ErrUnanswered: a handler neither acked nor nacked before CloseTimeout. Its event comes again.
	ErrUnanswered = errors.New("the message was neither acked nor nacked in time")

	errStopping = errors.New("the subscription is ending")
)

// NameTakenError: an Events subscribes twice at once under one durable name. The second would wait for the first, and
// their topics would fight over one cursor.
type NameTakenError struct{ Name, Topic, Other string }

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("topic %q: the durable subscriber %q has topic %q here already: give each its own Events with a name of its own, "+
		"or subscribe once to several topics, comma separated", e.Topic, e.Name, e.Other)
}

// Events is a message.Subscriber over the log of Tasker. The methods may be called from any goroutine.
//
// A topic is a type of event ("task.completed", "custom.order.shipped"), a family of them ("step.*"), several, comma
// separated, or EveryFact. Each event is one message; see the Metadata constants for what it carries. Its payload is the JSON
// data of the event, {} when it has none; a payload over 128 KiB is a reference in it (docs/events.md).
//
// The messages of a task come one after the other: the next when the one before is acked. Messages of different tasks come at
// once, Lanes at most. Ack finishes the event. Nack is a failed try: the event comes again after the Subscription's Backoff,
// and after its last try it goes to the dead letters (or ends the subscription: OnPoison), while other tasks go on. With
// PassErrors a handler says that an event is lost at once (domain.Permanent), or when to try again (domain.RetryAfter).
//
// A crash brings back what is behind the last written cursor: be idempotent by the message's UUID.
type Events struct {
	from    domain.Subscriptions
	config  EventsConfig
	logger  *slog.Logger
	origins *origins
	as      string // see Marshaler

	mu      sync.Mutex
	closed  bool
	open    map[*subscription]struct{}
	names   map[string]string // durable name to topic, of the open ones
	errs    []error
	running sync.WaitGroup
}

// NewEvents makes a subscriber on an engine, a client, or whatever else hands on stored events. Nothing is read before
// Subscribe. The error says what contradicts itself in the EventsConfig.
func NewEvents(from domain.Subscriptions, c EventsConfig) (*Events, error) {
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("watermill: %w", err)
	}
	return &Events{
		from: from, config: c, logger: c.Logger, origins: newOrigins(from, c.Causes, c.Logger),
		open: map[*subscription]struct{}{}, names: map[string]string{},
	}, nil
}

func (c *EventsConfig) check() error {
	switch {
	case c.CloseTimeout < 0:
		return fmt.Errorf("EventsConfig.CloseTimeout is %s: want more than 0", c.CloseTimeout)
	case len(c.Subscription.Types) > 0:
		return errors.New("EventsConfig.Subscription.Types is set: the topic says which types are wanted")
	case c.Replay == nil:
		return nil
	case c.Subscription.Name != "":
		return fmt.Errorf("EventsConfig has the durable name %q and a Replay: a replay keeps no cursor", c.Subscription.Name)
	case c.Subscription.From != domain.Start{}:
		return errors.New("EventsConfig.Subscription.From is set together with Replay: use Replay.From")
	case len(c.Replay.Types) > 0:
		return errors.New("EventsConfig.Replay.Types is set: the topic says which types are wanted")
	case c.Replay.Follow:
		return errors.New("EventsConfig.Replay.Follow is set: a replay is finite; without Replay the subscription goes on for ever")
	}
	return c.checkTries()
}

// checkTries is for replays; of all others the Subscriptions themselves know what is right.
func (c *EventsConfig) checkTries() error {
	s := &c.Subscription
	for _, n := range []struct {
		name            string
		value           *int
		byDefault, most int
	}{{"Lanes", &s.Lanes, 16, 4096}, {"Tries", &s.Tries, 10, 1 << 30}} {
		if *n.value == 0 {
			*n.value = n.byDefault
		}
		if *n.value < 1 || *n.value > n.most {
			return fmt.Errorf("EventsConfig.Subscription.%s is %d: want 1 to %d", n.name, *n.value, n.most)
		}
	}
	if s.Backoff == nil {
		s.Backoff = func(try int) time.Duration {
			const longest = 5 * time.Minute
			return min(time.Second<<min(max(try-1, 0), 9), longest)
		}
	}
	return nil
}

// Subscribe implements message.Subscriber. What is wrong from the start is its error: a *TopicError, a bad name, a cursor of
// another log, an engine that has ended, a beginning that has been trimmed away. What goes wrong later closes the
// channel, and is told to OnError and by Err. The subscription ends when ctx does, or with Close: handlers that are at
// work have CloseTimeout to end, the cursors are written, and then the channel is closed. Values of ctx reach the
// messages' contexts.
func (e *Events) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	types, wanted, err := typesOf(topic)
	if err != nil {
		return nil, err
	}
	s := &subscription{events: e, topic: topic, wanted: wanted, out: make(chan *message.Message)}
	if types != nil && !wanted.HasType(domain.TaskCreatedType) {
		types = append(types, domain.TaskCreatedType) // tells the correlation; deliver keeps it back
	}
	s.types = types
	s.ctx, s.cancel = context.WithCancel(ctx)
	if err := e.enter(s); err != nil {
		s.cancel()
		return nil, err
	}
	run, err := s.begin()
	if err != nil {
		e.leave(s)
		return nil, fmt.Errorf("topic %q: %w", topic, err)
	}
	go func() {
		err := run()
		if err != nil && s.ctx.Err() == nil {
			e.failed(s, err)
		}
		close(s.out) // nobody sends any more
		e.leave(s)
	}()
	return s.out, nil
}

func (e *Events) enter(s *subscription) error {
	name := e.config.Subscription.Name
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("topic %q: %w", s.topic, ErrClosed)
	}
	if other, taken := e.names[name]; taken && name != "" {
		return &NameTakenError{Name: name, Topic: s.topic, Other: other}
	}
	e.names[name] = s.topic
	e.open[s] = struct{}{}
	e.running.Add(1)
	return nil
}

func (e *Events) leave(s *subscription) {
	s.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.names, e.config.Subscription.Name)
	delete(e.open, s)
	e.running.Done()
}

// failed is called before the channel is closed, so that whoever sees that knows why.
func (e *Events) failed(s *subscription, err error) {
	e.mu.Lock()
	e.errs = append(e.errs, fmt.Errorf("topic %q: %w", s.topic, err))
	e.mu.Unlock()
	if e.config.OnError != nil {
		e.config.OnError(s.topic, err)
		return
	}
	e.logger.Error("a subscription has ended", "topic", s.topic, "subscriber", e.config.Subscription.Name, "error", err)
}

// Err is why subscriptions have ended by themselves, nil when none has. The Router does not know: ask when Router.Run has
// returned.
func (e *Events) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.errs...)
}

// Close ends every subscription, as the end of its context would, and waits for them. A second call waits, too, and does
// nothing else. The error, ErrUnanswered, says that messages were still unanswered after CloseTimeout.
func (e *Events) Close() error {
	e.mu.Lock()
	e.closed = true
	ending := make([]*subscription, 0, len(e.open))
	for s := range e.open {
		ending = append(ending, s)
		s.cancel()
	}
	e.mu.Unlock()
	e.running.Wait()
	var n int64
	for _, s := range ending {
		n += s.unanswered.Load()
	}
	if n > 0 {
		return fmt.Errorf("%d messages, after %s: %w", n, e.config.CloseTimeout, ErrUnanswered)
	}
	return nil
}
