package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Loading a payload is tried for so long; then the execution fails.
const loadPatience = time.Minute

// taskView is what a handler sees of the task; the context is still missing when it is not inline.
func taskView(t *domain.Task) domain.TaskView {
	return domain.TaskView{
		ID: t.ID, Namespace: t.Definition.Namespace, Name: t.Definition.Name, Version: t.Definition.Version,
		Context: t.Context.JSON, Tags: t.Tags, Initiator: t.Initiator, SourceSystem: t.SourceSystem, Reason: t.Reason,
		CorrelationID: t.Correlation, Traceparent: t.Traceparent, CreatedAt: t.CreatedAt.Time(),
	}
}

// View is what handlers see of step i, and its result, which the view holds only when it is inline. The view shares
// nothing with the task that changes.
func View(t *domain.Task, i int) (domain.StepView, domain.Payload) {
	return viewOf(t.ID, t.Definition, i, &t.Steps[i])
}

func viewOf(task domain.TaskID, d *domain.Definition, i int, s *domain.Step) (domain.StepView, domain.Payload) {
	tpl := &d.Steps[i]
	v := domain.StepView{
		Name: tpl.Name, Handler: tpl.Handler, Config: tpl.HandlerConfig, DependentSystem: tpl.DependentSystem,
		State: s.State, Skipped: s.Skipped, Attempt: int(s.Attempt), Round: int(s.Round), RetryLimit: tpl.RetryLimit,
		Result: s.Result.JSON, IdempotencyKey: idempotencyKey(task, tpl.Name, int(s.Round)),
	}
	if m := s.More; m != nil {
		v.Inputs, v.LastError, v.Cursor = m.Inputs, m.Error, m.Cursor
		if m.RetryLimit > 0 {
			v.RetryLimit = m.RetryLimit
		}
	}
	return v, s.Result
}

// idempotencyKey is the same for every attempt of a round (SEMANTICS 9).
func idempotencyKey(task domain.TaskID, step string, round int) string {
	var room [36 + 2 + domain.MaxNameLength + 20]byte
	b := append(task.Append(room[:0]), '/')
	b = append(append(b, step...), '/')
	return string(strconv.AppendInt(b, int64(round), 10))
}

// sequence serves a handler: its parents from copies made when the execution was requested, everything else from the
// owner's state.
type sequence struct {
	x       *execution
	def     *domain.Definition
	context domain.Payload
	mu      sync.Mutex
	parents []parent
	all     []domain.StepView // nil until the handler asked for another step
}

type parent struct {
	index int32
	step  domain.Step
	view  *domain.StepView // when the handler has asked
}

// begin copies what is only valid during the notification: O(parents), and of payloads only the references.
func (q *sequence) begin(x *execution, c subscribers.Committed) {
	t := c.Task
	q.x, q.def, q.context = x, t.Definition, t.Context
	indexes := t.Definition.Graph().Parents(int(x.key.step))
	if len(indexes) == 0 {
		return
	}
	q.parents = make([]parent, len(indexes))
	for k, i := range indexes {
		p := &q.parents[k]
		p.index, p.step = i, t.Steps[i]
		hideFuture(&p.step, c.Record)
	}
}

// hideFuture takes out what is not stored yet: the task may be ahead of the event. Of parents, this can only happen to
// optional ones that an operator retried or resolved in the meantime.
func hideFuture(s *domain.Step, r domain.Record) {
	if s.EndedAt > r.At || s.Result.Pos.Sequence > r.Position.Sequence {
		s.Result = domain.Payload{}
	}
}

// Find returns a step by its name, with its result.
func (q *sequence) Find(ctx context.Context, name string) (domain.StepView, error) {
	i := q.def.Graph().Index(name)
	if i < 0 {
		return domain.StepView{}, fmt.Errorf("step %q of %s: %w", name, q.def.FullName(), domain.ErrUnknownStep)
	}
	if i == int(q.x.key.step) {
		return q.x.call.Step, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for k := range q.parents {
		if p := &q.parents[k]; int(p.index) == i {
			return q.parent(ctx, p)
		}
	}
	all, err := q.fetch(ctx)
	if err != nil {
		return domain.StepView{}, err
	}
	return all[i], nil
}

func (q *sequence) parent(ctx context.Context, p *parent) (domain.StepView, error) {
	if p.view != nil {
		return *p.view, nil
	}
	v, result := viewOf(q.x.key.task, q.def, int(p.index), &p.step)
	if v.Result == nil && !result.IsZero() {
		text, err := q.x.exec.load(ctx, result)
		if err != nil {
			return domain.StepView{}, fmt.Errorf("reading the result of step %q: %w", v.Name, err)
		}
		v.Result = text
	}
	p.view = &v
	return v, nil
}

// Steps returns all steps in definition order, with their results.
func (q *sequence) Steps(ctx context.Context) ([]domain.StepView, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, err := q.fetch(ctx)
	return slices.Clone(all), err
}

func (q *sequence) fetch(ctx context.Context) ([]domain.StepView, error) {
	if q.all != nil {
		return q.all, nil
	}
	ask := q.x.exec.cfg.Sequence
	if ask == nil {
		return nil, errors.New("this executor serves the results of parents only: name the step in depends_on")
	}
	ctx, stop := context.WithCancelCause(ctx) // with the execution, whatever context the handler gave
	defer stop(nil)
	defer context.AfterFunc(q.x, func() { stop(context.Cause(q.x)) })()
	all, err := ask(ctx, q.x.partition, q.x.key.task)
	if err != nil {
		return nil, fmt.Errorf("reading the steps of task %s: %w", q.x.key.task, err)
	}
	if len(all) != len(q.def.Steps) {
		return nil, fmt.Errorf("reading the steps of task %s: got %d of %d", q.x.key.task, len(all), len(q.def.Steps))
	}
	q.all = all
	return all, nil
}

// load reads a payload that is not inline.
func (e *Executor) load(ctx context.Context, p domain.Payload) (json.RawMessage, error) {
	if p.JSON != nil || p.IsZero() {
		return p.JSON, nil
	}
	if e.cfg.Load == nil {
		return nil, errors.New("this executor cannot read payloads by reference")
	}
	return e.cfg.Load(ctx, p)
}

// loadContext completes the input. What NATS does not give now it may give in a moment.
func (x *execution) loadContext() error {
	p := x.sequence.context
	if p.JSON != nil || p.IsZero() {
		return nil
	}
	ctx, stop := context.WithTimeout(x, loadPatience)
	defer stop()
	return again(ctx, func() (err error) {
		x.call.Task.Context, err = x.exec.load(ctx, p)
		return err
	})
}

// again calls f until it succeeds, the context ends, or trying again is useless.
func again(ctx context.Context, f func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := f()
		if err == nil || errors.Is(err, domain.ErrNoKey) || errors.Is(err, domain.ErrNoMessage) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
