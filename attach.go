package tasker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// Event is a fact of the log, or a signal that follows from one, with what surrounds it: task, time, actor, position.
// Event.Event is one of the structs of package domain; switch over its type.
type Event = domain.Record

// EventType is the name of an event: of a fact (domain.TaskCompletedType ...), of a signal (domain.SignalTaskStarted ...), or
// custom.<name> of an event that a definition declares (domain.CustomType). Where types are asked for, task.*, step.*,
// workflow.*, observability.* and custom.* stand for all of a kind. docs/events.md lists them and says when each happens.
type EventType = domain.EventType

// AttachOptions say how a custom subscriber is attached; every field has a default.
type AttachOptions = domain.Subscription

// Where a new subscriber starts.
var (
	FromNew       = domain.FromNew
	FromBeginning = domain.FromBeginning
	FromOldest    = domain.FromOldest
)

// FromTime starts at the first event at or after t.
func FromTime(t time.Time) domain.Start { return domain.FromTime(t) }

// Attach runs a custom subscriber until ctx ends: handle is called for every event of the given types, after it has been
// stored, in order per task, at least once; without types for every fact. A subscriber with a name is durable: it goes on
// where it stopped, also in another process, and one process at a time runs it. Be idempotent by Event.Position and type,
// because a fact and the signals that follow from it share a position. An error is retried; after the last try the event is
// parked in the dead letters and the subscriber goes on. It never slows the engine down. An unknown type is refused
// (*domain.EventTypeError), and so is a signal that only Engine.Tap can tell of (*attached.LiveOnlyError).
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
	return r.Subscribe(ctx, o, handle)
}

// Subscribe is Attach for those who have everything in one domain.Subscription: it makes the router a
// domain.Subscriptions.
func (r *router) Subscribe(ctx context.Context, s domain.Subscription, handle func(ctx context.Context, e Event) error) error {
	return attached.Run(ctx, r.store, s, handle, attached.WithLogger(r.logger), attached.WithDefinitions(r.definitionOf))
}

var (
	_ domain.Subscriptions = (*Engine)(nil)
	_ domain.Subscriptions = (*Client)(nil)
)

// definitionOf finds a definition that this process knows, or that others have published. What was replaced meanwhile, only
// the log has.
func (r *router) definitionOf(hash string) (*Definition, bool) {
	find := func() *Definition {
		for _, def := range r.definitions.list() {
			if def.Hash() == hash {
				return def
			}
		}
		return nil
	}
	def := find()
	if def == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.definitions.refresh(ctx); err != nil {
			r.logger.Debug("definitions were not refreshed", "error", err)
		}
		def = find()
	}
	return def, def != nil
}

// Tap is a function that listens to what this process does; see Engine.Tap. Stop ends it.
type Tap = attached.Tap

// TapOptions of a tap; every field has a default.
type TapOptions = attached.TapOptions

// Tap calls handle for the events of the given types from now on, as this process stores them, one after the other; without
// types for every fact. It is for what has to be seen at once and may be missed: a tap has no cursor, does not hear what
// other processes do, and when handle is too slow for what happens, events are dropped, which is counted and logged. The
// engine never waits for it. Only a tap is told of step.before_handle, step.handle, workflow.task_reenqueue_failed and
// workflow.task_state_unclear, which no log holds. It ends with Stop, or after the engine has. Errors: an unknown type
// (*domain.EventTypeError), ErrNotRunning after the end of the engine.
func (e *Engine) Tap(types []EventType, handle func(Event), options ...TapOptions) (*Tap, error) {
	var o TapOptions
	switch len(options) {
	case 0:
	case 1:
		o = options[0]
	default:
		return nil, errors.New("tasker: Tap takes at most one TapOptions")
	}
	t, err := e.taps.Add(types, handle, o)
	if err != nil {
		return nil, fmt.Errorf("tasker: %w", err)
	}
	for _, c := range e.parts {
		c.Watch()
	}
	return t, nil
}

// tapPatience is how long the end of an engine waits for taps that have something to tell still.
const tapPatience = time.Second

func (e *Engine) closeTaps() {
	ctx, cancel := context.WithTimeout(context.Background(), tapPatience)
	defer cancel()
	e.taps.Close(ctx)
}

// ReplayOptions choose the events of a Replay.
type ReplayOptions = domain.ReplayOptions

// Replay reads stored events, and the signals that follow from them: ordered per task, and by time across partitions. It
// ends at what was stored when it began, unless Follow is set.
func (r *router) Replay(ctx context.Context, o ReplayOptions) iter.Seq2[Event, error] {
	return attached.Replay(ctx, r.store, o, attached.WithLogger(r.logger), attached.WithDefinitions(r.definitionOf))
}

// slowestCursor is what retention must not pass: what a durable subscriber has yet to read, or the index of this process.
func (e *Engine) slowestCursor(partition int) func() (uint64, bool) {
	return func() (uint64, bool) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		sequence, found, err := attached.MinCursor(ctx, e.store, partition)
		if err != nil {
			return 0, true // unknown: nothing may go
		}
		if e.index == nil {
			return sequence, found
		}
		if read, holds := e.index.holds(partition); holds && (!found || read < sequence) {
			return read, true
		}
		return sequence, found
	}
}
