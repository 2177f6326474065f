package watermill

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

const (
	// rememberedTasks are at least kept, and at most twice as many: what a task's beginning said of correlation.
	rememberedTasks = 50_000
	// originPause is between two tries to read a task's beginning while the log is away.
	originPause = time.Second
)

// Trails reads back what led to an event: tasker.Engine and tasker.Client do. Where a Subscriptions is none, correlation
// is known only of tasks whose beginning passed by.
type Trails interface {
	// Trail gives the events of the event's task up to its position, the oldest first.
	Trail(ctx context.Context, r domain.Record) ([]domain.Record, error)
}

// origin is what an event does not say itself.
type origin struct{ correlation, cause string }

// origins finds it. It remembers the correlation of tasks whose beginning has passed by, in two generations.
type origins struct {
	trails Trails // nil: nothing can be looked up
	causes bool
	logger *slog.Logger

	mu         sync.Mutex
	young, old map[domain.TaskID]string // to its correlation id; lost where nobody knows
}

// lost is the correlation of a task whose beginning is not in the log any more.
const lost = ""

func newOrigins(from domain.Subscriptions, causes bool, logger *slog.Logger) *origins {
	trails, _ := from.(Trails)
	return &origins{trails: trails, causes: causes, logger: logger, young: map[domain.TaskID]string{}}
}

// of waits while the log is away; its error is that of ctx.
func (o *origins) of(ctx context.Context, r domain.Record) (origin, error) {
	if r.Task.IsZero() {
		return origin{cause: r.Cause}, nil
	}
	known := origin{cause: r.Cause}
	var found bool
	if created, ok := r.Event.(domain.TaskCreated); ok {
		known.correlation, found = o.remember(r.Task, created), true
	} else {
		known.correlation, found = o.recall(r.Task)
	}
	if o.trails == nil || found && (!o.causes || known.cause != "") {
		return known, nil
	}
	for {
		trail, err := o.trails.Trail(ctx, r)
		switch {
		case err == nil:
			return o.learn(r, known, trail), nil
		case ctx.Err() != nil:
			return known, ctx.Err()
		case !errors.Is(err, domain.ErrUnavailable):
			o.logger.Warn("an event comes without its correlation", "event", r.ID(), "task", r.Task, "reason", err)
			return known, nil
		}
		timer := time.NewTimer(originPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return known, ctx.Err()
		}
	}
}

// learn reads the trail of r.
func (o *origins) learn(r domain.Record, known origin, trail []domain.Record) origin {
	if len(trail) == 0 {
		return known
	}
	if created, ok := trail[0].Event.(domain.TaskCreated); ok {
		known.correlation = o.remember(r.Task, created)
	} else {
		o.keep(r.Task, lost) // to look for it again would be in vain
	}
	if !o.causes || known.cause != "" {
		return known
	}
	if _, signal := r.Event.(domain.Signal); signal {
		known.cause = r.ID() // the fact at its position
	} else {
		causes := projections.Causes(trail)
		known.cause = causes[len(causes)-1]
	}
	return known
}

// remember takes the correlation of a task from its beginning: what the submission said, or else the id of the task.
func (o *origins) remember(id domain.TaskID, created domain.TaskCreated) string {
	correlation := created.Correlation
	if correlation == "" {
		correlation = id.String()
	}
	o.keep(id, correlation)
	return correlation
}

func (o *origins) keep(id domain.TaskID, correlation string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.young) >= rememberedTasks {
		o.old, o.young = o.young, map[domain.TaskID]string{}
	}
	o.young[id] = correlation
}

func (o *origins) recall(id domain.TaskID) (correlation string, found bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if correlation, found = o.young[id]; !found {
		correlation, found = o.old[id]
	}
	return correlation, found
}
