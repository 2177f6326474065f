package tasker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

// Explanation says why a task or a step does not move: a reason, the event that shows it, and the command that moves it.
type Explanation = domain.Explanation

// Explain says why a task does not move, or a step of it; step "" is the task as a whole. The owner of its partition
// answers; where there is none, or it cannot, the log does, and the explanation says so. Errors: ErrTaskNotFound,
// *domain.UnknownStepError, ErrUnavailable.
func (r *router) Explain(ctx context.Context, id TaskID, step string) (*Explanation, error) {
	partition := r.partition(id)
	// Not call, which waits for an owner: that there is none is an explanation.
	resp, err := r.once(ctx, partition, &request{Op: opExplain, Task: id, Step: step})
	switch {
	case err == nil:
		return resp.Explanation, nil
	case errors.Is(err, ErrTaskNotFound), errors.Is(err, ErrUnknownStep), ctx.Err() != nil:
		return nil, err
	}
	return r.explainFromLog(ctx, partition, id, step, r.heldFor(ctx, partition, err), err)
}

// explainFromLog is for a task whose owner is away, or answers nobody: h says how that is. why is the owner's error, or nil.
func (r *router) explainFromLog(ctx context.Context, partition int, id TaskID, step string, h domain.Hold, why error) (*Explanation, error) {
	c := domain.Circumstances{Now: domain.InstantOf(r.clock()), Partition: partition, Held: h}
	held := func() (*Explanation, error) { e := domain.ExplainHeld(id, c); return &e, nil }
	log := r.store.Log(partition)
	last, found, err := projections.FindTaskNear(ctx, log, partition, id, r.nearest(ctx, id))
	switch {
	case errors.Is(err, ErrUnavailable) && ctx.Err() == nil:
		return held() // whether there is such a task nobody can say; if there is, it does not move
	case err != nil:
		return nil, errors.Join(why, err)
	case !found:
		return nil, fmt.Errorf("task %s: %w", id, ErrTaskNotFound)
	}
	records, _, err := projections.Walk(ctx, log, partition, id, last)
	if errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		return held()
	}
	if err != nil {
		return nil, errors.Join(why, err)
	}
	c.History = records
	t, err := projections.LoadTask(records, r.definitionOf)
	if err != nil { // its beginning, or its definition, is not to be had: what holds the partition holds the task
		return held()
	}
	return explain(t, step, c)
}

// heldPatience is how long others are asked what they know of a partition whose owner does not answer.
const heldPatience = 2 * time.Second

// heldFor says what holds a partition whose owner did not answer.
func (r *router) heldFor(ctx context.Context, partition int, why error) domain.Hold {
	ctx, cancel := context.WithTimeout(ctx, heldPatience)
	defer cancel()
	for other := range r.store.Data().Partitions {
		resp, err := r.once(ctx, other, &request{Op: opStatus}) // an engine that has another one may be loading this one
		if err != nil || resp.Status == nil || partition >= len(resp.Status.Partitions) {
			continue
		}
		switch p := resp.Status.Partitions[partition]; p.Phase {
		case subscribers.Loading:
			return domain.Hold{Reason: domain.ReasonLoading}
		case subscribers.Closed:
			return domain.Hold{Reason: domain.ReasonClosed, Why: p.Why}
		case subscribers.Away, subscribers.Owning, subscribers.Stopped:
		}
	}
	switch {
	case errors.Is(why, ErrNoOwner), errors.Is(why, ErrNotRunning), errors.Is(why, subscribers.ErrNotOwner):
		return domain.Hold{Reason: domain.ReasonNoOwner}
	case errors.Is(why, ErrUnavailable):
		return domain.Hold{Reason: domain.ReasonLogAway}
	}
	return domain.Hold{Reason: domain.ReasonClosed, Why: why.Error()}
}

// explain explains the task, or the step of that name.
func explain(t *domain.Task, step string, c domain.Circumstances) (*Explanation, error) {
	if step == "" {
		e := domain.Explain(t, c)
		return &e, nil
	}
	i := t.Definition.Graph().Index(step)
	if i < 0 {
		return nil, &domain.UnknownStepError{Task: t.ID, Step: step}
	}
	e := domain.ExplainStep(t, i, c)
	return &e, nil
}

// localExplain explains a task of this process's partition.
func (e *Engine) localExplain(ctx context.Context, c *subscribers.Coordinator, r *request) (*response, error) {
	switch h := c.Held(); h.Reason { //nolint:exhaustive // otherwise it answers, or is not the owner
	case domain.ReasonLoading, domain.ReasonLogAway, domain.ReasonLeaseStale, domain.ReasonStoreFull: // an answer may never come
		x, err := e.explainFromLog(ctx, c.Partition, r.Task, r.Step, h, nil)
		return &response{Explanation: x}, err
	}
	_, x, err := e.explainNow(ctx, c, r.Task, r.Step, true)
	return &response{Explanation: x}, err
}

// explainNow explains a task as it is now; without its history the explanation is right, and has no evidence.
func (e *Engine) explainNow(ctx context.Context, c *subscribers.Coordinator, id TaskID, step string, history bool) (*domain.Task, *Explanation, error) {
	t, err := e.find(ctx, c, id)
	if err != nil {
		return nil, nil, err
	}
	around := domain.Circumstances{
		Now: domain.InstantOf(e.config.Clock()), Partition: c.Partition, Held: c.Held(),
		Slot: func(step int) domain.Hold { return e.executor.Hold(t.Definition, step) },
		Heard: func(step int) (domain.Instant, time.Duration) {
			at, limit := e.executor.Heard(c.Partition, t.ID, step)
			return domain.InstantOf(at), limit
		},
	}
	around.Frozen, err = await(ctx, c, func(reply func(*domain.Unknown, error)) error {
		return c.Inspect(func(m *subscribers.Machine) {
			var frozen *domain.Unknown
			if entry := m.State().Live(id); entry != nil {
				frozen = entry.Frozen
			}
			reply(frozen, nil)
		}, func(err error) { reply(nil, err) })
	})
	if err != nil {
		return nil, nil, err
	}
	if history {
		if around.History, _, err = projections.Walk(ctx, e.store.Log(c.Partition), c.Partition, t.ID, t.Last); err != nil {
			e.config.Logger.Debug("an explanation without evidence", "task", t.ID, "error", err)
		}
	}
	x, err := explain(t, step, around)
	return t, x, err
}
