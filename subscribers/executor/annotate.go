package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Limits of the annotation hook.
const (
	MaxAnnotators  = 16          // hooks that run at once
	MaxUnannotated = 10_000      // ended runs that wait for their hook; of more, the notes are lost, and the log says so
	AnnotateLimit  = time.Minute // how long a hook may take
)

// hook runs the annotation hooks (SEMANTICS 9). No task depends on them.
type hook struct {
	mu      sync.Mutex
	owed    map[*ended]bool // runs whose notes are not stored: they wait, run, or are being stored
	waiting []*ended
	workers int
	stopped bool
	left    map[int]uint64 // by partition: the lowest end of a run that is left to the next process
}

// ended is a run of a task that has ended.
type ended struct {
	annotator domain.Annotator
	task      domain.TaskView
	context   domain.Payload
	round     int
	def       *domain.Definition
	steps     []domain.Step
	partition int
	sequence  uint64 // of the message with its end

	// Guarded by hook.mu.
	stop context.CancelFunc // of its hook, while that runs
	void bool               // it is not this process's any more
	over chan struct{}      // closed when it is not owed any more; nil until somebody waits
}

// runEnded queues the hook of a task whose run ended, if it has one.
func (e *Executor) runEnded(c subscribers.Committed) {
	if run := e.endOf(c); run != nil {
		e.owe(run)
	}
}

// endOf is the run that the event ended; nil when its definition has no hook here, and when none ended.
func (e *Executor) endOf(c subscribers.Committed) *ended {
	t := c.Task
	if t == nil {
		return nil
	}
	a := e.registry.Load().annotator(t.Definition)
	if a == nil || e.cfg.Annotate == nil {
		return nil
	}
	if _, cancelled := c.Record.Event.(domain.TaskCancelled); cancelled && t.Failed != "" {
		return nil // this run ended when the task failed
	}
	run := &ended{
		annotator: a, task: taskView(t), context: t.Context, round: roundOf(t, c.Record), def: t.Definition, steps: slices.Clone(t.Steps),
		partition: c.Record.Position.Partition, sequence: c.Record.Position.Sequence,
	}
	for i := range run.steps {
		hideFuture(&run.steps[i], c.Record)
		if s := &run.steps[i]; s.EndedAt > c.Record.At {
			s.State = domain.Error
		}
	}
	return run
}

// owe queues the hook of a run.
func (e *Executor) owe(run *ended) {
	h := &e.hook
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		h.leave(run)
		return
	case len(h.waiting) >= MaxUnannotated:
		e.count.unannotated.Add(1)
		e.cfg.Logger.Warn("annotations lost: too many hooks wait", "task", run.task.ID.String(), "round", run.round)
		return
	}
	e.pending.Add(1)
	if h.owed == nil {
		h.owed = map[*ended]bool{}
	}
	h.owed[run] = true
	h.waiting = append(h.waiting, run)
	if h.workers < MaxAnnotators {
		h.workers++
		go e.annotateAll()
	}
}

// leave notes that the next process has to see to the run.
func (h *hook) leave(run *ended) {
	if h.left == nil {
		h.left = map[int]uint64{}
	}
	if lowest, ok := h.left[run.partition]; !ok || run.sequence < lowest {
		h.left[run.partition] = run.sequence
	}
}

// settle ends what is owed for a run, unless somebody else has done so; say is called if it does.
func (e *Executor) settle(run *ended, say func()) {
	h := &e.hook
	h.mu.Lock()
	ours := h.owed[run]
	if ours {
		delete(h.owed, run)
		run.void = true
		if run.stop != nil {
			run.stop()
		}
		if run.over != nil {
			close(run.over)
		}
	}
	h.mu.Unlock()
	if ours {
		say()
		e.done()
	}
}

// roundOf is the round that the event ended. The task is ahead of it when an operator has reopened it meanwhile.
func roundOf(t *domain.Task, r domain.Record) int {
	_, failed := r.Event.(domain.TaskFailed)
	switch {
	case !failed, t.State == domain.Error && t.EndedAt <= r.At, t.State.Ended() && t.Failed != "":
		return t.Round
	}
	return max(t.Round-1, 1)
}

// annotateAll is a worker: it ends when nothing waits.
func (e *Executor) annotateAll() {
	h := &e.hook
	for {
		h.mu.Lock()
		if len(h.waiting) == 0 {
			h.workers--
			h.waiting = nil
			h.mu.Unlock()
			return
		}
		run := h.waiting[0]
		h.waiting[0] = nil
		h.waiting = h.waiting[1:]
		if run.void {
			h.mu.Unlock()
			continue
		}
		ctx, stop := context.WithTimeout(context.Background(), AnnotateLimit)
		run.stop = stop
		h.mu.Unlock()

		done := make(chan struct{})
		go func() { // of its own, because a hook may panic or call Goexit
			defer close(done)
			e.annotate(ctx, run)
		}()
		<-done
		stop()
	}
}

// annotate calls the hook and hands its notes over. Whatever goes wrong is logged and changes nothing.
func (e *Executor) annotate(ctx context.Context, run *ended) {
	var notes []domain.Annotation
	err := fmt.Errorf("it called runtime.Goexit")
	defer func() {
		var attrs []any
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %s", textOf(p))
			attrs = append(attrs, "stack", string(debug.Stack()))
		}
		switch {
		case err != nil:
			e.unannotated(run, "the annotation hook failed; the task stays without its notes", err, attrs...)
		case len(notes) == 0:
			e.annotated(run)
		default:
			e.cfg.Annotate(Notes{
				Partition: run.partition, Task: run.task.ID, Round: run.round, Notes: notes,
				Void:   func() bool { return e.hook.isVoid(run) },
				Stored: func(err error) { e.stored(run, err) },
			})
		}
	}()
	notes, err = e.callHook(ctx, run)
}

// stored is told what became of the notes.
func (e *Executor) stored(run *ended, err error) {
	for _, lost := range []error{subscribers.ErrNotOwner, subscribers.ErrNotRunning, subscribers.ErrOutcomeUnknown} {
		if errors.Is(err, lost) {
			e.leave(run) // the log knows, and tells the next owner
			return
		}
	}
	if err != nil {
		e.unannotated(run, "the notes of the annotation hook were not stored", err)
		return
	}
	e.annotated(run)
}

func (e *Executor) annotated(run *ended) {
	e.settle(run, func() { e.count.annotated.Add(1) })
}

// unannotated says what went wrong, unless the run is another owner's by now.
func (e *Executor) unannotated(run *ended, what string, err error, attrs ...any) {
	e.settle(run, func() {
		e.count.unannotated.Add(1)
		e.cfg.Logger.Error(what, append(attrs, "task", run.task.ID.String(), "round", run.round, "error", err)...)
	})
}

func (e *Executor) callHook(ctx context.Context, run *ended) ([]domain.Annotation, error) {
	text, err := e.load(ctx, run.context)
	if err != nil {
		return nil, fmt.Errorf("reading the task's context: %w", err)
	}
	run.task.Context = text
	seq := &endedSequence{exec: e, run: run}
	var completed []domain.StepView
	for i := range run.steps {
		if s := run.steps[i].State; s != domain.Complete && s != domain.ResolvedManually {
			continue
		}
		v, err := seq.step(ctx, i)
		if err != nil {
			return nil, err
		}
		completed = append(completed, v)
	}
	call := &Call{Task: run.task, Sequence: seq, exec: e}
	notes, err := run.annotator.UpdateAnnotations(NewContext(ctx, call), run.task, seq, completed)
	if err != nil {
		return nil, err
	}
	notes = slices.Clone(notes) // the hook may return the same slice every time
	for i := range notes {
		if notes[i].Value, err = encode(notes[i].Value); err != nil {
			return nil, fmt.Errorf("annotation %q is not JSON: %w", notes[i].Kind, err)
		}
	}
	return notes, nil
}

// endedSequence is the steps of a task as they were when its run ended.
type endedSequence struct {
	exec *Executor
	run  *ended
}

func (q *endedSequence) step(ctx context.Context, i int) (domain.StepView, error) {
	v, result := viewOf(q.run.task.ID, q.run.def, i, &q.run.steps[i])
	text, err := q.exec.load(ctx, result)
	if err != nil {
		return v, fmt.Errorf("reading the result of step %q: %w", v.Name, err)
	}
	v.Result = text
	return v, nil
}

// Find returns a step by its name.
func (q *endedSequence) Find(ctx context.Context, name string) (domain.StepView, error) {
	i := q.run.def.Graph().Index(name)
	if i < 0 {
		return domain.StepView{}, fmt.Errorf("step %q of %s: %w", name, q.run.def.FullName(), domain.ErrUnknownStep)
	}
	return q.step(ctx, i)
}

// Steps returns all steps.
func (q *endedSequence) Steps(ctx context.Context) ([]domain.StepView, error) {
	views := make([]domain.StepView, len(q.run.steps))
	for i := range views {
		v, err := q.step(ctx, i)
		if err != nil {
			return nil, err
		}
		views[i] = v
	}
	return views, nil
}
