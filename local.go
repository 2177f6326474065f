package tasker

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// serveLocal answers a request for a partition that this process may own; subscribers.ErrNotOwner when it does not.
func (e *Engine) serveLocal(ctx context.Context, partition int, r *request) (*response, error) {
	switch e.state.Load() {
	case engineNew, engineStopped:
		return nil, ErrNotRunning
	case engineDraining:
		if r.Op == opSubmit || r.Op == opFork || r.Op == opApply {
			return nil, ErrNotRunning
		}
	}
	c := e.parts[partition]
	switch r.Op {
	case opSubmit:
		resp, err := e.localSubmit(ctx, c, r)
		e.refusing(err)
		return resp, err
	case opFork:
		resp, err := e.localFork(ctx, c, r)
		e.refusing(err)
		return resp, err
	case opStand, opTaskAt:
		return e.localStand(ctx, c, r)
	case opWait:
		return e.localWait(ctx, c, r.Task)
	case opTask:
		t, err := e.find(ctx, c, r.Task)
		if err != nil {
			return nil, err
		}
		v, err := e.view(ctx, t)
		if err == nil {
			e.explain(t, v)
		}
		return &response{Task: v}, err
	case opExplain:
		return e.localExplain(ctx, c, r)
	case opStuck:
		return e.localStuck(ctx, c, r.Stuck)
	case opIndex:
		return e.localIndex(ctx, r.Index)
	case opTasks:
		return e.localTasks(ctx, c, r.Filter)
	case opVerb:
		resp, err := e.localVerb(ctx, c, r)
		e.refusing(err)
		return resp, err
	case opApply:
		return e.localApply(ctx, c, r)
	case opPrune:
		if phase, why := c.Phase(); phase == subscribers.Closed {
			return nil, why
		}
		pruned, first, err := c.Prune(ctx, time.Duration(r.Prune.OlderThan), r.Prune.DryRun)
		return &response{Pruned: &PruneReport{Partition: partition, Commits: pruned, First: first}}, err
	case opSkip:
		err := c.Skip(ctx, r.Skip.Sequence, r.Skip.Reason, actor(r.Skip.By))
		return &response{}, err
	case opStatus:
		if phase, _ := c.Phase(); phase != subscribers.Owning && phase != subscribers.Closed {
			return nil, subscribers.ErrNotOwner
		}
		return &response{Status: e.describe()}, nil
	}
	return nil, fmt.Errorf("unknown operation %q: the other side is a newer version of tasker", r.Op)
}

// await hands a request to the coordinator and waits for its answer. When ctx ends first, or the log is away for too
// long, nobody knows what became of it.
func await[T any](ctx context.Context, c *subscribers.Coordinator, ask func(reply func(T, error)) error) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	var none T
	if err := ask(func(v T, err error) {
		select {
		case answers <- answer{v, err}:
		default: // the first answer counts; the coordinator's goroutine must not wait here
		}
	}); err != nil {
		return none, err
	}
	timer := time.NewTimer(answerPatience)
	defer timer.Stop()
	for {
		select {
		case a := <-answers:
			return a.value, a.err
		case <-ctx.Done():
			select {
			case a := <-answers: // it came at the same moment
				return a.value, a.err
			default:
			}
			return none, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
		case <-timer.C:
			if c.Gone() {
				return none, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ErrUnavailable)
			}
			timer.Reset(answerPatience / 8)
		}
	}
}

// Submit is the router's, refused early: a process that has too much to do already must not spend its time on saying so.
func (e *Engine) Submit(ctx context.Context, name string, input any, options ...SubmitOption) (Receipt, error) {
	if err := e.overloaded(); err != nil {
		return Receipt{}, err
	}
	return e.router.Submit(ctx, name, input, options...)
}

// SubmitRequest is Submit with everything in one value.
func (e *Engine) SubmitRequest(ctx context.Context, s Submission) (Receipt, error) {
	if err := e.overloaded(); err != nil {
		return Receipt{ID: s.ID}, err
	}
	return e.router.SubmitRequest(ctx, s)
}

// overloaded is the refusal that every partition would give.
func (e *Engine) overloaded() error {
	var err error
	for _, c := range e.parts {
		if err = c.Admits(); err == nil {
			return nil
		}
	}
	e.refusing(err)
	return err
}

func (e *Engine) localSubmit(ctx context.Context, c *subscribers.Coordinator, r *request) (*response, error) {
	if err := c.Admits(); err != nil {
		return nil, err // before the work of checking it
	}
	def, cmd, err := e.create(ctx, r.Submission, r.Identity)
	if err != nil {
		return nil, err
	}
	a, err := await(ctx, c, func(reply func(subscribers.Answer, error)) error {
		return c.Submit(def, cmd, func(a subscribers.Answer) { reply(a, a.Err) })
	})
	return &response{Receipt: &Receipt{ID: cmd.ID, Created: a.Created, Position: a.Position}}, err
}

// explain says of ready steps what holds them back.
func (e *Engine) explain(t *domain.Task, v *Task) {
	for i := range v.Steps {
		if v.Steps[i].Ready {
			v.Steps[i].Held = e.executor.Explain(t.Definition, i)
		}
	}
}

// find returns a task from the owner's memory, or from the log.
func (e *Engine) find(ctx context.Context, c *subscribers.Coordinator, id TaskID) (*domain.Task, error) {
	var last uint64
	t, err := await(ctx, c, func(reply func(*domain.Task, error)) error {
		return c.Inspect(func(m *subscribers.Machine) {
			if ended, ok := m.State().Ended.Get(id); ok {
				last = ended.Last
			}
			m.Look(id, reply)
		}, func(err error) { reply(nil, err) })
	})
	if err != nil || t != nil {
		return t, err
	}
	t, _, err = c.Ended(ctx, id, last)
	return t, err
}

func (e *Engine) localWait(ctx context.Context, c *subscribers.Coordinator, id TaskID) (*response, error) {
	type answer struct {
		o   subscribers.Outcome
		err error
	}
	answers := make(chan answer, 1)
	if err := c.Await(ctx.Done(), id, func(o subscribers.Outcome, err error) {
		select {
		case answers <- answer{o, err}:
		default:
		}
	}); err != nil {
		return nil, err
	}
	select {
	case a := <-answers:
		switch {
		case errors.Is(a.err, ErrTaskNotFound):
			return e.endedResult(ctx, c, id)
		case a.err != nil:
			return nil, a.err
		case a.o.State == domain.Complete && a.o.From == nil && !a.o.Result.IsZero():
			value, err := e.payloads.load(ctx, a.o.Result)
			return &response{Result: &Result{ID: id, State: a.o.State, Value: value}}, err
		}
		return e.endedResult(ctx, c, id)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// endedResult is the result of a task that has ended or failed, put together from its state.
func (e *Engine) endedResult(ctx context.Context, c *subscribers.Coordinator, id TaskID) (*response, error) {
	t, err := e.find(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if t.State.Live() {
		return &response{Result: &Result{ID: id, State: t.State, Pending: true}}, nil
	}
	r := &Result{ID: id, State: t.State, Failed: t.Failed}
	if t.State == domain.Complete {
		r.Value, err = e.result(ctx, t.Result, t.ResultFrom, t)
		return &response{Result: r}, err
	}
	r.Steps = t.Culprits()
	r.Errors = map[string]string{}
	for _, name := range r.Steps {
		if err := t.Steps[t.Definition.Graph().Index(name)].LastError(); err != nil {
			r.Errors[name] = err.Message
		}
	}
	return &response{Result: r}, nil
}

// localTasks lists the tasks of a partition: those in memory, and the ended ones that it remembers, newest first.
func (e *Engine) localTasks(ctx context.Context, c *subscribers.Coordinator, f *Filter) (*response, error) {
	type found struct {
		tasks []Task
		ended []endedRef
	}
	all, err := await(ctx, c, func(reply func(found, error)) error {
		return c.Inspect(func(m *subscribers.Machine) {
			var r found
			for entry := range m.State().Tasks() {
				if f.takes(entry.Task) {
					r.tasks = append(r.tasks, summary(entry.Task, c.Partition))
				}
			}
			if f.wants(domain.Error) {
				for id, last := range m.State().FailedTasks() {
					r.ended = append(r.ended, endedRef{id, last})
				}
			}
			if f.wants(domain.Complete, domain.Cancelled, domain.ResolvedManually) { // each is read from the log
				for id, x := range m.State().Ended.All() {
					r.ended = append(r.ended, endedRef{id, x.Last})
				}
			}
			m.AfterNewest(func(err error) { reply(r, err) })
		}, func(err error) { reply(found{}, err) })
	})
	if err != nil {
		return nil, err
	}
	tasks := all.tasks
	sort.Slice(all.ended, func(i, j int) bool { return all.ended[i].last > all.ended[j].last })
	read := 0
	for i, x := range all.ended {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if read >= f.limit() || i >= endedLookups*f.limit() {
			break
		}
		if t := x.read(ctx, c); t != nil && f.takes(t) {
			tasks = append(tasks, summary(t, c.Partition))
			read++
		}
	}
	return &response{Tasks: tasks}, nil
}

// endedLookups bounds how many ended tasks are read for one that a filter takes.
const endedLookups = 20

type endedRef struct {
	id   TaskID
	last uint64
}

// read returns nil for a task whose history has been trimmed, or cannot be read now.
func (x endedRef) read(ctx context.Context, c *subscribers.Coordinator) *domain.Task {
	t, _, err := c.Ended(ctx, x.id, x.last)
	if err != nil {
		return nil
	}
	return t
}

// sequence is the whole sequence of a task, for a handler that asks for more than its parents.
func (e *Engine) sequence(ctx context.Context, partition int, id domain.TaskID) ([]domain.StepView, error) {
	t, err := e.lookAgain(ctx, e.parts[partition], id)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, ErrTaskNotFound
	}
	views := make([]domain.StepView, len(t.Steps))
	for i := range t.Steps {
		view, result := executor.View(t, i)
		if view.Result, err = e.payloads.load(ctx, result); err != nil {
			return nil, err
		}
		views[i] = view
	}
	return views, nil
}

// lookAgain asks for a task until there is an answer or ctx ends. That the owner does not answer now is no failure of the step:
// the commit that starts a step after a crash is also the one with which this process becomes the owner, a moment later.
func (e *Engine) lookAgain(ctx context.Context, c *subscribers.Coordinator, id domain.TaskID) (*domain.Task, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		t, err := await(ctx, c, func(reply func(*domain.Task, error)) error { return c.Look(id, reply) })
		again := errors.Is(err, subscribers.ErrNotOwner) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrUnavailable)
		if !again {
			return t, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// annotate stores what the annotation hook of a task handler returned.
func (e *Engine) annotate(n executor.Notes) {
	var notes []domain.AnnotateTask
	for _, x := range n.Notes {
		if len(x.Value) > domain.InlineLog || len(x.Kind) > maxText || len(x.Step) > maxText {
			e.config.Logger.Warn("an annotation was not stored: it is too large", "task", n.Task, "bytes", len(x.Value), "most", domain.InlineLog)
			continue
		}
		notes = append(notes, domain.AnnotateTask{Kind: x.Kind, Step: x.Step, Round: n.Round, Value: x.Value})
	}
	if len(notes) == 0 {
		n.Stored(nil)
		return
	}
	e.parts[n.Partition].Annotate(n.Task, notes, n.Void, n.Stored)
}
