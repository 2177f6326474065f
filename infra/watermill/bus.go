package watermill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/tasker-go/tasker/domain"
)

// routerSlack is what the Router waits longer than the subscriptions under it.
const routerSlack = 5 * time.Second

// BusConfig says how the handlers of a Bus subscribe. The zero value makes every handler durable, under its own name, from
// now on.
type BusConfig struct {
	// Events is how each handler subscribes. Subscription.Name must be empty: it is the handler's. With Replay every
	// handler is finite, and Run returns when the last is through.
	Events EventsConfig
	// Ephemeral handlers keep no cursors: a restart begins at Events.Subscription.From.
	Ephemeral bool
}

// Bus is a Watermill Router with typed handlers on it: define handlers with cqrs.NewEventHandler, add them, run it.
//
// A handler's name is its durable name (1 to 128 of A-Z a-z 0-9 _ -): never change it, or the handler begins anew. Each has a
// subscription of its own; those of a group share one, which keeps their events in order.
//
// Behind the Router stand PassErrors, so that what a handler returns is what the log and the dead letters say;
// middleware.CorrelationID and middleware.Recoverer. Add others to Router; a middleware.Retry only holds up what the
// subscription does anyway, and a middleware.PoisonQueue would hide failures from the dead letters.
type Bus struct {
	from   domain.Subscriptions
	config BusConfig
	router *message.Router
	single *cqrs.EventProcessor
	group  *cqrs.EventGroupProcessor

	mu     sync.Mutex
	names  map[string]bool
	events []*Events
	broken []error // subscriptions that could not begin
	abort  context.CancelFunc
}

// NewBus makes a Bus on an engine, a client, or whatever else hands on stored events.
func NewBus(from domain.Subscriptions, c BusConfig) (*Bus, error) {
	if c.Events.Subscription.Name != "" {
		return nil, fmt.Errorf("watermill: BusConfig.Events.Subscription.Name is %q: the names of the handlers are the durable names", c.Events.Subscription.Name)
	}
	if _, err := NewEvents(from, c.Events); err != nil { // what is wrong shows here
		return nil, err
	}
	if c.Events.Logger == nil {
		c.Events.Logger = slog.Default()
	}
	if c.Events.CloseTimeout == 0 {
		c.Events.CloseTimeout = DefaultCloseTimeout
	}
	logger := routerLog{wm.NewSlogLoggerWithLevelMapping(c.Events.Logger, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug, slog.LevelDebug: wm.LevelTrace,
	})}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: c.Events.CloseTimeout + routerSlack}, logger)
	if err != nil {
		return nil, fmt.Errorf("watermill: %w", err)
	}
	router.AddMiddleware(PassErrors, middleware.CorrelationID, middleware.Recoverer)
	b := &Bus{from: from, config: c, router: router, names: map[string]bool{}}
	return b, errors.Join(b.processSingle(logger), b.processGroups(logger))
}

func (b *Bus) processSingle(logger wm.LoggerAdapter) (err error) {
	b.single, err = cqrs.NewEventProcessorWithConfig(b.router, cqrs.EventProcessorConfig{
		GenerateSubscribeTopic: func(p cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) {
			return b.topic(p.EventName, p.EventHandler.NewEvent())
		},
		SubscriberConstructor: func(p cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			as := ""
			if many(p.EventName) {
				as = p.EventName
			}
			return b.subscriber(p.HandlerName, as)
		},
		AckOnUnknownEvent: true, Marshaler: Marshaler{}, Logger: logger,
	})
	return err
}

func (b *Bus) processGroups(logger wm.LoggerAdapter) (err error) {
	b.group, err = cqrs.NewEventGroupProcessorWithConfig(b.router, cqrs.EventGroupProcessorConfig{
		GenerateSubscribeTopic: func(p cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) {
			var topics []domain.EventType
			for _, h := range p.EventGroupHandlers {
				name := Marshaler{}.Name(h.NewEvent())
				if many(name) {
					return "", fmt.Errorf("a handler of group %q takes %T, which is of many types: in a group each handler takes one", p.EventGroupName, h.NewEvent())
				}
				topic, err := b.topic(name, h.NewEvent())
				if err != nil {
					return "", err
				}
				topics = append(topics, domain.EventType(topic))
			}
			return Topic(topics...), nil
		},
		SubscriberConstructor: func(p cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return b.subscriber(p.EventGroupName, "")
		},
		AckOnUnknownEvent: true, Marshaler: Marshaler{}, Logger: logger,
	})
	return err
}

// many reports whether a handler of that name is told of events of different types.
func many(name string) bool {
	return name == nameOfRecords || name == nameOfCustom || name == nameOfSignals
}

func (*Bus) topic(name string, event any) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%T stands for no type of event: take a struct of package domain, or give it a method Name() string", event)
	}
	topic := topicOf(name)
	_, _, err := typesOf(topic)
	return topic, err
}

func (b *Bus) subscriber(name, as string) (message.Subscriber, error) {
	c := b.config.Events
	if !b.config.Ephemeral && c.Replay == nil {
		c.Subscription.Name = name
	}
	e, err := NewEvents(b.from, c)
	if err != nil {
		return nil, err
	}
	e.as = as
	b.mu.Lock()
	b.events = append(b.events, e)
	b.mu.Unlock()
	return busSubscriber{e, b}, nil
}

// busSubscriber ends the whole Run when a subscription cannot begin. The Router would, too, but leaves goroutines behind.
type busSubscriber struct {
	*Events
	bus *Bus
}

func (s busSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, err := s.Events.Subscribe(ctx, topic)
	if err == nil {
		return out, nil
	}
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	s.bus.broken = append(s.bus.broken, fmt.Errorf("subscriber %q: %w", s.config.Subscription.Name, err))
	s.bus.abort()
	none := make(chan *message.Message)
	close(none)
	return none, nil
}

// Handle adds handlers, each with a subscription of its own. Call it before Run.
func (b *Bus) Handle(handlers ...cqrs.EventHandler) error {
	for _, h := range handlers {
		if err := b.claim(h.HandlerName()); err != nil {
			return err
		}
		if err := b.single.AddHandlers(h); err != nil {
			return fmt.Errorf("handler %q: %w", h.HandlerName(), err)
		}
	}
	return nil
}

// HandleGroup adds handlers of different types that share one subscription under that name: so the events of a task come to
// them in order. Call it before Run.
func (b *Bus) HandleGroup(name string, handlers ...cqrs.GroupEventHandler) error {
	if err := b.claim(name); err != nil {
		return err
	}
	if err := b.group.AddHandlersGroup(name, handlers...); err != nil {
		return fmt.Errorf("group %q: %w", name, err)
	}
	return nil
}

// claim: the Router panics when a name comes twice.
func (b *Bus) claim(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.names[name] {
		return fmt.Errorf("handler %q: there is one of that name, and both would share a cursor: names are unique", name)
	}
	b.names[name] = true
	return nil
}

// Router is where middleware and other handlers go, before Run.
func (b *Bus) Router() *message.Router { return b.router }

// Run runs the handlers until ctx ends, or a Replay is over, or every subscription has ended by itself, or one cannot
// begin. Then it waits for handlers that are at work, as EventsConfig.CloseTimeout says. The error is why a subscription could
// not begin, or why one has ended, which OnError is told at once while the others go on; nil after a regular stop. It can be
// called once.
func (b *Bus) Run(ctx context.Context) error {
	if len(b.router.Handlers()) == 0 {
		return errors.New("watermill: the Bus has no handlers: add them before Run")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.mu.Lock()
	b.abort = cancel
	b.mu.Unlock()
	err := b.router.Run(ctx)
	b.mu.Lock()
	events := b.events
	err = errors.Join(append([]error{err}, b.broken...)...)
	b.mu.Unlock()
	for _, e := range events {
		if closed := e.Close(); closed != nil {
			b.config.Events.Logger.Warn("handlers were still at work", "error", closed)
		}
		err = errors.Join(err, e.Err())
	}
	return err
}

// routerLog keeps the Router from calling it an error that every subscription has ended: Run says why.
type routerLog struct{ wm.LoggerAdapter }

func (l routerLog) Error(msg string, err error, fields wm.LogFields) {
	if err != nil && err.Error() == "all router handlers stopped" {
		l.Debug(msg, fields)
		return
	}
	l.LoggerAdapter.Error(msg, err, fields)
}

func (l routerLog) With(fields wm.LogFields) wm.LoggerAdapter {
	return routerLog{l.LoggerAdapter.With(fields)}
}
