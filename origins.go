package tasker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// knownOrigins is how many tasks are remembered at least, for the feed and all webhooks together; twice as many at most. One
// takes about 60 bytes, and as much as its correlation id.
const knownOrigins = 1 << 16

// origin is what the first event of a task says of all others.
type origin struct{ namespace, name, version, correlation string }

// origins know of which definition a task is, which only task.created says. It is remembered from there; for a task that
// began before the subscriber was started the log is read, back along prev. Where the log has been trimmed meanwhile, the
// task's owner is asked, who knows as long as the task is live. The methods may be called from any goroutine.
type origins struct {
	store  domain.Store
	source string
	ask    func(ctx context.Context, id TaskID) (*Task, error)

	walk       chan struct{} // holds a value while nobody reads the log
	decoder    domain.Decoder
	mu         sync.Mutex
	known, old map[TaskID]*origin // nil: nobody knows. old is given up when known is full
	shared     map[origin]*origin // those without correlation, which many tasks have in common
}

func newOrigins(store domain.Store, ask func(context.Context, TaskID) (*Task, error)) *origins {
	o := &origins{
		store: store, source: domain.CloudEventSource(store.Data().ID), ask: ask, walk: make(chan struct{}, 1),
		known: map[TaskID]*origin{}, shared: map[origin]*origin{},
	}
	o.walk <- struct{}{}
	return o
}

// event is the record with what is known of its task.
func (o *origins) event(ctx context.Context, r Event) (domain.CloudEvent, error) {
	e := domain.CloudEventOf(r, o.source)
	if created, ok := r.Event.(domain.TaskCreated); ok {
		o.note(r.Task, originOf(created))
		return e, nil
	}
	if r.Task.IsZero() {
		return e, nil
	}
	from, err := o.of(ctx, r)
	if err != nil {
		return e, fmt.Errorf("of which definition task %s is: %w", r.Task, err)
	}
	if from != nil {
		e.Namespace, e.Definition, e.DefinitionVersion, e.Correlation = from.namespace, from.name, from.version, from.correlation
	}
	return e, nil
}

func originOf(e domain.TaskCreated) origin {
	return origin{cmp.Or(e.Namespace, domain.DefaultNamespace), e.Name, e.Version, e.Correlation}
}

func (o *origins) note(id TaskID, from origin) *origin {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := &from
	if from.correlation == "" {
		if same := o.shared[from]; same != nil {
			kept = same
		} else if len(o.shared) < knownOrigins {
			o.shared[from] = kept
		}
	}
	o.keep(id, kept)
	return kept
}

// keep must be called with the lock held.
func (o *origins) keep(id TaskID, from *origin) {
	if len(o.known) >= knownOrigins {
		o.known, o.old = make(map[TaskID]*origin, knownOrigins), o.known
	}
	o.known[id] = from
}

func (o *origins) look(id TaskID) (*origin, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if from, ok := o.known[id]; ok {
		return from, true
	}
	from, ok := o.old[id]
	if ok {
		o.keep(id, from)
	}
	return from, ok
}

// of finds the origin of the record's task; nil when nobody knows it any more.
func (o *origins) of(ctx context.Context, r Event) (*origin, error) {
	if from, ok := o.look(r.Task); ok {
		return from, nil
	}
	select { // one at a time: what it reads tells of many tasks
	case <-o.walk:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	from, ok, err := o.find(ctx, r)
	o.walk <- struct{}{}
	if ok || err != nil {
		return from, err
	}
	task, err := o.ask(ctx, r.Task)
	switch {
	case err == nil:
		return o.note(r.Task, origin{task.Namespace, task.Name, task.Version, task.Correlation}), nil
	case ctx.Err() != nil || errors.Is(err, ErrNoOwner) || errors.Is(err, domain.ErrUnavailable):
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep(r.Task, nil)
	return nil, nil
}

// find reads the log back to the beginning of the task, and notes all tasks that begin in what it reads. False when the
// beginning is not there.
func (o *origins) find(ctx context.Context, r Event) (*origin, bool, error) {
	log := o.store.Log(r.Position.Partition)
	for at := r.Position.Sequence; at > 0; {
		if from, ok := o.look(r.Task); ok {
			return from, true, nil
		}
		m, err := log.Read(ctx, at)
		if errors.Is(err, domain.ErrNoMessage) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		c, err := o.decoder.Decode(m.Data, r.Position.Partition, at)
		if err != nil {
			return nil, false, nil //nolint:nilerr // whoever reads this message says so
		}
		before := uint64(0)
		for _, other := range c.Records {
			if created, ok := other.Event.(domain.TaskCreated); ok {
				o.note(other.Task, originOf(created))
			} else if other.Task == r.Task {
				before = other.Prev
			}
		}
		if before >= at {
			break
		}
		at = before
	}
	from, ok := o.look(r.Task)
	return from, ok, nil
}
