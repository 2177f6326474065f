package acceptance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// The calls of the engine that cases make. They are the callers' side of a crash: a call that the engine did not live to
// answer is made again, to its successor, as a caller does who has to know.

// again makes a call until an engine has lived to answer it.
func again[T any](ctx context.Context, w *world, call func(context.Context, *tasker.Engine) (T, error)) (T, error) {
	w.t.Helper()
	for {
		l := w.living()
		within, cancel := l.within(ctx)
		v, err := call(within, l.engine)
		cancel()
		if err == nil || !l.dead() || ctx.Err() != nil {
			return v, err
		}
	}
}

// Submit makes the caller's own retry the same task.
func (w *world) Submit(ctx context.Context, name string, input any, options ...tasker.SubmitOption) (tasker.Receipt, error) {
	w.t.Helper()
	var s tasker.Submission
	for _, o := range options {
		o(&s)
	}
	if s.Key == "" && s.ID.IsZero() && !w.calm() {
		options = append(options, tasker.WithID(tasker.TaskID(uuid.Must(uuid.NewV7()))))
	}
	return again(ctx, w, func(ctx context.Context, e *tasker.Engine) (tasker.Receipt, error) {
		return e.Submit(ctx, name, input, options...)
	})
}

func (w *world) Wait(ctx context.Context, id tasker.TaskID) (tasker.Result, error) {
	return again(ctx, w, func(ctx context.Context, e *tasker.Engine) (tasker.Result, error) { return e.Wait(ctx, id) })
}

func (w *world) History(ctx context.Context, id tasker.TaskID) (*tasker.History, error) {
	return again(ctx, w, func(ctx context.Context, e *tasker.Engine) (*tasker.History, error) { return e.History(ctx, id) })
}

func (w *world) Definition(ctx context.Context, namespace, name, version string) (*tasker.Definition, error) {
	return again(ctx, w, func(ctx context.Context, e *tasker.Engine) (*tasker.Definition, error) {
		return e.Definition(ctx, namespace, name, version)
	})
}

func (w *world) Apply(ctx context.Context, def *tasker.Definition, replace bool) error {
	_, err := again(ctx, w, func(ctx context.Context, e *tasker.Engine) (any, error) { return nil, e.Apply(ctx, def, replace) })
	return err
}

func (w *world) Register(items ...any) error { return w.living().engine.Register(items...) }

func (w *world) Stats() tasker.Stats { return w.living().engine.Stats() }

func (w *world) Partitions() int { return w.store.Data().Partitions }

// Replay goes on behind the last event when the engine dies.
func (w *world) Replay(ctx context.Context, o tasker.ReplayOptions) iter.Seq2[tasker.Event, error] {
	return func(yield func(tasker.Event, error) bool) {
		last := map[int]tasker.Position{} // by partition
		for dead := true; dead; {
			l := w.living()
			within, cancel := l.within(ctx)
			for r, err := range l.engine.Replay(within, o) {
				if err != nil && l.dead() {
					break
				}
				if err == nil && !last[r.Position.Partition].Less(r.Position) {
					continue
				}
				if last[r.Position.Partition] = r.Position; !yield(r, err) {
					cancel()
					return
				}
			}
			cancel()
			dead = l.dead() && ctx.Err() == nil
		}
	}
}

// ann is the operator of all cases.
func ann(reason string) tasker.By { return tasker.By{Actor: "ann", Reason: reason} }

// act says an operator's verb. When the engine dies under it, the operator looks at the history before saying it again.
func (w *world) act(id tasker.TaskID, verb func(context.Context, *tasker.Engine) (tasker.VerbReceipt, error)) (tasker.VerbReceipt, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	said := 0
	if !w.calm() {
		said = w.said(id)
	}
	for {
		l := w.living()
		within, cancel := l.within(ctx)
		r, err := verb(within, l.engine)
		cancel()
		if err == nil || !l.dead() {
			return r, err
		}
		if w.said(id) > said {
			return tasker.VerbReceipt{Task: id, Changed: true}, nil
		}
	}
}

// said is how many events of a task are an operator's.
func (w *world) said(id tasker.TaskID) int {
	w.t.Helper()
	n := 0
	for _, r := range w.raw(id) {
		if strings.HasPrefix(string(r.Actor()), string(domain.ByOperator)) {
			n++
		}
	}
	return n
}

func (w *world) Cancel(id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) { return e.Cancel(ctx, id, by) })
}

func (w *world) Retry(id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) { return e.Retry(ctx, id, by) })
}

func (w *world) Resolve(id tasker.TaskID, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) { return e.Resolve(ctx, id, by) })
}

func (w *world) RetryStep(id tasker.TaskID, step string, with tasker.StepRetry, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) {
		return e.RetryStep(ctx, id, step, with, by)
	})
}

func (w *world) ResolveStep(id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) {
		return e.ResolveStep(ctx, id, step, result, by)
	})
}

func (w *world) CancelStep(id tasker.TaskID, step string, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) {
		return e.CancelStep(ctx, id, step, by)
	})
}

func (w *world) CompleteStep(id tasker.TaskID, step string, result any, by tasker.By) (tasker.VerbReceipt, error) {
	return w.act(id, func(ctx context.Context, e *tasker.Engine) (tasker.VerbReceipt, error) {
		return e.CompleteStep(ctx, id, step, result, by)
	})
}

func (w *world) submit(name string, input any, options ...tasker.SubmitOption) tasker.TaskID {
	w.t.Helper()
	r, err := w.Submit(context.Background(), name, input, options...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.notes.Lock()
	w.tasks = append(w.tasks, r.ID)
	w.notes.Unlock()
	return r.ID
}

// wait waits for the end of a task's run. On the real log it lets time pass whenever the task waits for it.
func (w *world) wait(id tasker.TaskID) (tasker.Result, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	stop := w.drive(ctx, id)
	defer stop()
	r, err := w.Wait(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		w.t.Fatalf("task %s does not end: %v", id, w.trace(id))
	}
	return r, err
}

// complete waits until the task is complete.
func (w *world) complete(id tasker.TaskID) tasker.Result {
	w.t.Helper()
	r, err := w.wait(id)
	if err != nil {
		w.t.Fatalf("%v; %v", err, w.trace(id))
	}
	return r
}

// helped is complete for tasks with steps that are not retried: for those a crash is final, and an operator retries the task.
func (w *world) helped(id tasker.TaskID) {
	w.t.Helper()
	_, err := w.wait(id)
	if err == nil {
		return
	}
	task := w.stands(id)
	gone := slices.ContainsFunc(task.Steps, func(s tasker.Step) bool {
		return s.State == domain.Error && s.Error.Kind == domain.KindWorkerLost
	})
	if w.calm() || !gone {
		w.t.Fatalf("%v; %v", err, w.trace(id))
	}
	if _, err := w.Retry(id, ann("its worker was lost")); err != nil {
		w.t.Fatal(err)
	}
	w.differs(fmt.Sprintf("round %d", task.Round+1), fmt.Sprintf("round %d", task.Round))
	w.complete(id)
}

// fail waits until the task has ended otherwise.
func (w *world) fail(id tasker.TaskID) tasker.TaskFailedError {
	w.t.Helper()
	_, err := w.wait(id)
	var failed *tasker.TaskFailedError
	if !errors.As(err, &failed) {
		w.t.Fatalf("the task ended with %v; %v", err, w.trace(id))
	}
	return *failed
}

// runs submits a task and waits until it is complete.
func (w *world) runs(name string, input any, options ...tasker.SubmitOption) (tasker.TaskID, tasker.Result) {
	w.t.Helper()
	id := w.submit(name, input, options...)
	return id, w.complete(id)
}

// until follows the task's events until done says so.
func (w *world) until(id tasker.TaskID, what string, done func(all []tasker.Event) bool) []tasker.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	var all []tasker.Event
	for r, err := range w.Replay(ctx, tasker.ReplayOptions{Task: id, Follow: true}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, r)
		if seen := w.healed(all); done(seen) {
			w.settle()
			return seen
		}
	}
	w.t.Fatalf("waited in vain for %s: %v", what, lines(all))
	return nil
}

// untilType follows the task's events until one of that type.
func (w *world) untilType(id tasker.TaskID, want tasker.EventType) tasker.Event {
	w.t.Helper()
	all := w.until(id, string(want), func(all []tasker.Event) bool { return all[len(all)-1].Event.Type() == want })
	return all[len(all)-1]
}

// raw are the task's events.
func (w *world) raw(id tasker.TaskID) []tasker.Event {
	w.t.Helper()
	w.settle()
	var all []tasker.Event
	for r, err := range w.Replay(context.Background(), tasker.ReplayOptions{Task: id}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// records are the task's events without what the crash cost.
func (w *world) records(id tasker.TaskID) []tasker.Event { w.t.Helper(); return w.healed(w.raw(id)) }

func (w *world) trace(id tasker.TaskID) []string { w.t.Helper(); return lines(w.records(id)) }

// lines says "type step attempt" of each event.
func lines(records []tasker.Event) []string {
	out := []string{}
	for _, r := range records {
		line := string(r.Event.Type())
		if s, ok := r.Event.(domain.StepEvent); ok {
			line += " " + s.StepName()
			if s.AttemptNumber() > 0 {
				line += fmt.Sprintf(" %d", s.AttemptNumber())
			}
		}
		out = append(out, line)
	}
	return out
}

// stands is the state of a task.
func (w *world) stands(id tasker.TaskID) *tasker.Task {
	w.t.Helper()
	task, err := again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) (*tasker.Task, error) { return e.Task(ctx, id) })
	if err != nil {
		w.t.Fatal(err)
	}
	return task
}

// task is the state of a task, with its attempts numbered without those that the crash cost.
func (w *world) task(id tasker.TaskID) *tasker.Task {
	w.t.Helper()
	task := w.stands(id)
	if w.calm() {
		return task
	}
	gone := lost(w.raw(id))
	for i := range task.Steps {
		s := &task.Steps[i]
		s.Attempt -= gone.before(s.Name, s.Attempt+1)
	}
	return task
}

func (w *world) step(id tasker.TaskID, name string) tasker.Step {
	w.t.Helper()
	for _, s := range w.task(id).Steps {
		if s.Name == name {
			return s
		}
	}
	w.t.Fatalf("no step %q", name)
	return tasker.Step{}
}
