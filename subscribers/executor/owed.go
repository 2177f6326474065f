package executor

import (
	"context"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// A hook runs after the commit with the end of its run, so a crash may come in between. The log says which runs are still
// owed their notes: those whose end stands in it, and no note of their round behind it. So whoever opens a partition looks
// at what it reads anyhow, the log behind the newest snapshot, and no snapshot is written while notes are owed for what
// it would hide. Nothing is stored for it, and nothing is kept for tasks without a hook.

var _ subscribers.Recoverer = (*Executor)(nil)

// Notes are what an annotation hook returned.
type Notes struct {
	Partition int
	Task      domain.TaskID
	Round     int // which run of the task they are about
	Notes     []domain.Annotation
	// Void is asked just before they are stored, in the order of everything else that happens to the partition: true when
	// the run has been left to another owner meanwhile. Then they must not be stored.
	Void func() bool
	// Stored is called once, from any goroutine: with nil when all of them are stored.
	Stored func(error)
}

func (h *hook) isVoid(run *ended) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return run.void
}

// recovery finds the runs of a partition that are owed their notes, while it is loaded.
type recovery struct {
	exec  *Executor
	owed  map[roundName]*ended
	order []*ended // with those that are not owed any more
	lost  int
}

type roundName struct {
	task  domain.TaskID
	round int
}

// Recover looks for runs that ended without their notes; see subscribers.Recoverer.
func (e *Executor) Recover(int) (saw func(subscribers.Committed), opened func()) {
	if len(e.registry.Load().annotators) == 0 || e.cfg.Annotate == nil {
		return nil, nil
	}
	r := &recovery{exec: e, owed: map[roundName]*ended{}}
	return r.saw, r.opened
}

func (r *recovery) saw(c subscribers.Committed) {
	if note, ok := c.Record.Event.(domain.TaskAnnotated); ok && c.Record.Actor() == domain.ByHandler {
		delete(r.owed, roundName{c.Record.Task, note.Round})
	}
	if !endsRun(c.Record.Event) {
		return
	}
	if run := r.exec.endOf(c); run != nil {
		r.add(run)
	}
}

func endsRun(ev domain.Event) bool {
	_, completed := ev.(domain.TaskCompleted)
	_, failed := ev.(domain.TaskFailed)
	_, cancelled := ev.(domain.TaskCancelled)
	return completed || failed || cancelled
}

func (r *recovery) add(run *ended) {
	name := roundName{run.task.ID, run.round}
	r.owed[name] = run
	r.order = append(r.order, run)
	if len(r.order) > 2*MaxUnannotated {
		r.sweep()
		for ; len(r.order) > MaxUnannotated; r.order = r.order[1:] {
			oldest := r.order[0]
			delete(r.owed, roundName{oldest.task.ID, oldest.round})
			r.lost++
		}
	}
}

// sweep takes out of order what is not owed any more.
func (r *recovery) sweep() {
	kept := make([]*ended, 0, len(r.owed))
	for _, run := range r.order {
		if r.owed[roundName{run.task.ID, run.round}] == run {
			kept = append(kept, run)
		}
	}
	r.order = kept
}

// opened queues the hooks.
func (r *recovery) opened() {
	r.sweep()
	if n := max(len(r.order)-MaxUnannotated, 0); n > 0 {
		r.order, r.lost = r.order[n:], r.lost+n
	}
	if r.lost > 0 {
		r.exec.count.unannotated.Add(uint64(r.lost)) // #nosec G115 -- not negative
		r.exec.cfg.Logger.Warn("annotations lost: too many runs ended without their notes", "runs", r.lost)
	}
	if len(r.order) > 0 {
		r.exec.cfg.Logger.Info("annotation hooks are called for runs that ended without their notes", "runs", len(r.order))
	}
	for _, run := range r.order {
		r.exec.owe(run)
	}
}

// Settle waits until no run that ended in the partition up to that message is owed its notes; false when one has been
// left to the next process. It gives up after AnnotateLimit, because the partition cannot do without snapshots: then a
// crash may lose notes, and the log says so.
func (e *Executor) Settle(ctx context.Context, partition int, sequence uint64) bool {
	limit := time.NewTimer(AnnotateLimit)
	defer limit.Stop()
	for {
		over, left := e.hook.oldest(partition, sequence)
		if left || over == nil {
			return !left
		}
		select {
		case <-over:
		case <-ctx.Done():
			return false
		case <-limit.C:
			e.cfg.Logger.Warn("a snapshot is written although annotation hooks still run: a crash before they end may lose their notes",
				"partition", partition)
			return true
		}
	}
}

// oldest is the end of what is owed for some run, or nil when nothing is.
func (h *hook) oldest(partition int, sequence uint64) (over <-chan struct{}, left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lowest, ok := h.left[partition]; ok && lowest <= sequence {
		return nil, true
	}
	for run := range h.owed {
		if run.partition == partition && run.sequence <= sequence {
			if run.over == nil {
				run.over = make(chan struct{})
			}
			return run.over, false
		}
	}
	return nil, false
}

// leave gives up a run whose notes this owner cannot store any more.
func (e *Executor) leave(run *ended) {
	h := &e.hook
	h.mu.Lock()
	if h.owed[run] {
		h.leave(run)
	}
	h.mu.Unlock()
	e.settle(run, func() {})
}

// leaveTo gives up the hooks of a partition, or of all when it is negative: another owner sees to their runs, or with next
// another process, for which this one must not hide them.
func (e *Executor) leaveTo(partition int, next bool) {
	h := &e.hook
	h.mu.Lock()
	if !next {
		delete(h.left, partition) // this ownership is over, and so are its snapshots
	}
	var given []*ended
	for run := range h.owed {
		if partition < 0 || run.partition == partition {
			given = append(given, run)
			run.void = true // all of them, before the end of one lets a worker take the next
			if next {
				h.leave(run)
			}
		}
	}
	h.stopped = h.stopped || next
	h.mu.Unlock()
	for _, run := range given {
		e.settle(run, func() {})
	}
	if len(given) > 0 {
		e.cfg.Logger.Info("annotation hooks are left to the next owner", "runs", len(given))
	}
}
