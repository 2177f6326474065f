package tasker

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/feed"
)

// FeedSubscriber is the durable name under which one of the engines publishes the feed.
const FeedSubscriber = "feed"

// Feed says which events an engine publishes, one NATS message each, for readers that know nothing of commits: on
// tasker.events.<namespace>.<task>.<type>, kept in the stream TASKER_EVENTS (docs/feed-and-webhooks.md). Every field has a
// default. All engines on a log should have the same Feed: one of them publishes at a time.
type Feed struct {
	// Types of events; none means every fact. Signals are published when they are asked for.
	Types []EventType
	// From is where the feed begins when it is switched on for the first time. Default FromNew.
	From domain.Start
	// MaxAge and MaxBytes of the stream, if it does not exist yet; what is older, or more, goes. Defaults 7 days and 256 MiB.
	MaxAge   time.Duration
	MaxBytes int64
}

// errNoNATS: messages and their stream need NATS.
var errNoNATS = errors.New("tasker: Config.Feed needs NATS, and this engine's log is Config.Store")

// openFeed makes the stream.
func (e *Engine) openFeed(ctx context.Context) (*feed.Feed, domain.EventSet, error) {
	types, err := domain.NewEventSet(e.config.Feed.Types)
	if err != nil {
		return nil, types, err
	}
	connect := e.config.connector()
	if connect == nil {
		return nil, types, errNoNATS
	}
	f, err := feed.Open(ctx, feed.Options{
		Connect: connect, Event: e.origins.event, Prefix: e.config.Prefix, Replicas: e.config.Replicas,
		MaxAge: e.config.Feed.MaxAge, MaxBytes: e.config.Feed.MaxBytes, Logger: e.config.Logger,
		Synced: e.store.Data().Durability == durabilityStrict,
	})
	return f, types, err
}

// durabilityStrict is what an embedded server says that syncs the disk before each acknowledgement.
const durabilityStrict = "strict"

// publishFeed runs until the engine ends.
func (e *Engine) publishFeed(ctx context.Context, f *feed.Feed, types domain.EventSet) error {
	o := domain.Subscription{
		Name: FeedSubscriber, Types: withCreated(e.config.Feed.Types, types), From: e.config.Feed.From, Lanes: feed.Lanes,
	}
	return e.Subscribe(ctx, o, func(ctx context.Context, r Event) error {
		if !types.Has(r.Event) {
			_, err := e.origins.event(ctx, r) // remembers it
			return err
		}
		return f.Handle(ctx, r)
	})
}

// withCreated adds the event that says what a task is made of: hearing of it costs less than looking it up.
func withCreated(names []EventType, types domain.EventSet) []EventType {
	if len(names) == 0 || types.HasType(domain.TaskCreatedType) {
		return names
	}
	return append(names[:len(names):len(names)], domain.TaskCreatedType)
}
