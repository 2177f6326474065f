package tasker

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// Event is a fact of the log with what surrounds it: task, time, actor, position. Event.Event is one of the structs of
// package domain; switch over its type.
type Event = domain.Record

// EventType is the name of an event; the constants are in package domain (domain.TaskCompletedType ...).
type EventType = domain.EventType

// AttachOptions say how a custom subscriber is attached; every field has a default.
type AttachOptions = attached.Options

// Where a new subscriber starts.
var (
	FromNew       = attached.FromNew
	FromBeginning = attached.FromBeginning
)

// FromTime starts at the first event at or after t.
func FromTime(t time.Time) attached.Start { return attached.FromTime(t) }

// Attach runs a custom subscriber until ctx ends: handle is called for every event of the given types, after it has been
// stored, in order per task, at least once. A subscriber with a name is durable: it goes on where it stopped, also in
// another process, and one process at a time runs it. Be idempotent by Event.Position. An error is retried; after the
// last try the event is parked in the dead letters and the subscriber goes on. It never slows the engine down.
func (r *router) Attach(ctx context.Context, name string, types []EventType, handle func(ctx context.Context, e Event) error, options ...AttachOptions) error {
	var o AttachOptions
	switch len(options) {
	case 0:
	case 1:
		o = options[0]
	default:
		return errors.New("tasker: Attach takes at most one AttachOptions")
	}
	o.Name, o.Types = name, types
	if o.Logger == nil {
		o.Logger = r.logger
	}
	return attached.Run(ctx, r.store, o, handle)
}

// ReplayOptions choose the events of a Replay.
type ReplayOptions = attached.ReplayOptions

// Replay reads stored events: ordered per task, and by time across partitions. It ends at what was stored when it
// began, unless Follow is set.
func (r *router) Replay(ctx context.Context, o ReplayOptions) iter.Seq2[Event, error] {
	return attached.Replay(ctx, r.store, o)
}

// slowestCursor is what retention must not pass.
func (e *Engine) slowestCursor(partition int) func() (uint64, bool) {
	return func() (uint64, bool) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		sequence, found, err := attached.MinCursor(ctx, e.store, partition)
		if err != nil {
			return 0, true // unknown: nothing may go
		}
		return sequence, found
	}
}
