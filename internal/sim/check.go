package sim

import (
	"bytes"
	"fmt"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// checkLedger compares the fold of the log with what the ledger says, for the tasks of one commit.
func (w *world) checkLedger(c domain.Commit) {
	var last domain.TaskID
	for _, r := range c.Records {
		if r.Task.IsZero() || r.Task == last {
			continue
		}
		last = r.Task
		h := w.ledger.tasks[r.Task]
		e := w.replica.Live(r.Task)
		if e == nil {
			if h.state.Live() {
				failf("task %s is %s and the fold of the log does not have it", h.id, h.state)
			}
			continue
		}
		t := e.Task
		if t.State != h.state || t.Paused != h.paused && h.state.Live() {
			failf("task %s is %s in the fold of the log, and should be %s", h.id, t.State, h.state)
		}
		for i := range t.Steps {
			s, told := &t.Steps[i], &h.steps[i]
			if string(s.Cursor()) != told.cursor || s.State == domain.InProgress && doneOf(s) != told.done {
				failf("step %s of task %s has the checkpoint %q and progress %d in the fold of the log, and should have %q and %d",
					t.Template(i).Name, h.id, s.Cursor(), doneOf(s), told.cursor, told.done)
			}
			if s.State != told.state || int(s.Attempt) != told.attempt || s.WakeAt != told.wake {
				failf("step %s of task %s is %s/%d in the fold of the log, and should be %s/%d",
					t.Template(i).Name, h.id, s.State, s.Attempt, told.state, told.attempt)
			}
		}
	}
}

func doneOf(s *domain.Step) int {
	if p := s.Progress(); p != nil {
		return p.Done
	}
	return 0
}

// checkChanged compares the memory of an owner that has nothing under way with the fold of the log, for the tasks that
// changed since the last time.
func (p *process) checkChanged() {
	w, state := p.w, p.m.State()
	if state.CommitID != w.replica.CommitID || state.At != w.replica.At {
		failf("owner p%d is at %d, %q, %s; the log is at %d, %q, %s", p.n,
			state.Sequence, state.CommitID, state.At, w.replica.Sequence, w.replica.CommitID, w.replica.At)
	}
	for _, h := range w.changed {
		h.unchecked = false
		p.checkTask(h)
	}
	w.changed = w.changed[:0]
	if w.compared++; w.compared%1000 == 0 {
		p.checkAll(false)
	}
}

// checkAll compares everything; of the failed tasks, which are packed, a few when not deep.
func (p *process) checkAll(deep bool) {
	w := p.w
	w.checkSame(p.m.State(), deep)
	for _, h := range w.ledger.order {
		if h.state.Live() {
			p.checkTask(h)
		}
	}
	p.checkSlots()
}

func (p *process) checkTask(h *history) {
	state := p.m.State()
	e := state.Live(h.id)
	if e != nil && !h.state.Live() {
		failf("task %s is %s and stays in memory", h.id, h.state)
	}
	if h.state.Ended() && h.unfinished() {
		failf("task %s is %s and its owner leaves it with steps that are not over: %s", h.id, h.state, h.states())
	}
	if what := p.w.differs(state, h); what != "" {
		failf("task %s: %s", h.id, what)
	}
	if failed := state.Find(h.id); failed != nil && h.state == domain.Error {
		what := p.unexplainedFailure(failed.Task)
		if state.Retire(failed); what != "" {
			failf("failed task %s (%s): %s", h.id, h.states(), what)
		}
	}
	if e != nil {
		if what := p.goesOn(e); what != "" {
			failf("task %s (%s, paused %v, %s): %s", h.id, e.Task.State, e.Task.Paused, h.states(), what)
		}
	}
}

// differs compares a task in memory with the same one in the fold of the log.
func (w *world) differs(state *projections.Partition, h *history) string {
	a, b := state.Find(h.id), w.replica.Find(h.id)
	if a == nil || b == nil {
		x, had := state.Ended.Get(h.id)
		y, has := w.replica.Ended.Get(h.id)
		if (a == nil) != (b == nil) || had != has || x != y {
			return fmt.Sprintf("in memory %v, ended %v %+v; in the fold of the log %v, ended %v %+v", a != nil, had, x, b != nil, has, y)
		}
		return ""
	}
	w.packed[0] = a.Task.AppendPacked(w.packed[0][:0])
	w.packed[1] = b.Task.AppendPacked(w.packed[1][:0])
	state.Retire(a)
	w.replica.Retire(b)
	if !bytes.Equal(w.packed[0], w.packed[1]) {
		return fmt.Sprintf("memory and the fold of the log differ:\n%+v\n%+v", a.Task, b.Task)
	}
	return ""
}

// goesOn says what is wrong with a live task of an owner that has nothing to do: something has to be pending for it.
func (p *process) goesOn(e *projections.Entry) string {
	t := e.Task
	wake := t.NextWake()
	if e.Armed != wake {
		return fmt.Sprintf("its timer is set for %q, and should be for %q", e.Armed, wake)
	}
	for i := range t.Steps {
		if s := &t.Steps[i]; s.State == domain.InProgress && s.WakeAt == 0 {
			if x := p.exec.active[place{t.ID, i}]; x == nil || x.attempt != int(s.Attempt) {
				return fmt.Sprintf("no handler has step %s in hand", t.Template(i).Name)
			}
		}
	}
	want := domain.InProgress
	switch t.Status() {
	case domain.StatusProcessing:
	case domain.StatusHasReadySteps:
		if p.m.Held() == 0 && t.ExecutionContext().InProgress == 0 {
			return "a step is ready and nobody holds it"
		}
	case domain.StatusPaused:
		want = domain.Pending
	case domain.StatusWaitingForRetry:
		want = domain.Pending
		if at, _ := t.NextRetry(); t.Waiting.Until != at || wake == 0 || wake > at {
			return fmt.Sprintf("it waits until %s, its retry is due at %s", t.Waiting.Until, at)
		}
	case domain.StatusFinished, domain.StatusBlockedByFailures, domain.StatusAllComplete,
		domain.StatusWaitingForDependencies, domain.StatusUnclear:
		return "it is " + string(t.Status()) + " and its owner leaves it so"
	}
	if t.State != want {
		return fmt.Sprintf("it is %s with status %s", t.State, t.Status())
	}
	return p.unexplained(t)
}

// checkSlots: every slot in use belongs to a running handler, and no ready step waits for one that is free.
func (p *process) checkSlots() {
	x := p.exec
	if x.free+len(x.running) != p.w.odds.slots {
		failf("p%d: %s", p.n, x)
	}
	if p.holds {
		return // it will look
	}
	for _, h := range p.w.ledger.order {
		if !h.state.Live() {
			continue
		}
		t := p.m.State().Live(h.id).Task
		for i := range t.Steps {
			if !t.Ready(i) {
				continue
			}
			if n := handlerOf(t.Definition, i); x.free > 0 && x.used[n] < x.limit[n] {
				failf("step %s of task %s is ready, a slot of h%d is free, and nothing happens: %s", t.Template(i).Name, h.id, n, x)
			}
		}
	}
}

// checkSame compares a whole partition with the fold of the log.
func (w *world) checkSame(state *projections.Partition, deep bool) {
	r := w.replica
	if state.Sequence != r.Sequence || state.CommitID != r.CommitID || state.At != r.At {
		failf("loaded up to %d, %q, %s; the log is at %d, %q, %s", state.Sequence, state.CommitID, state.At, r.Sequence, r.CommitID, r.At)
	}
	if state.LiveCount() != r.LiveCount() || state.FailedCount() != r.FailedCount() || state.Ended.Len() != r.Ended.Len() {
		failf("%d live, %d failed, %d ended; the fold of the log has %d, %d, %d", state.LiveCount(), state.FailedCount(),
			state.Ended.Len(), r.LiveCount(), r.FailedCount(), r.Ended.Len())
	}
	failed := 0
	for _, h := range w.ledger.order {
		if h.state == domain.Error && !deep {
			if failed++; failed > 2 {
				continue
			}
		}
		if what := w.differs(state, h); what != "" {
			failf("task %s: %s", h.id, what)
		}
	}
	for hash := range w.ledger.adopted {
		if _, ok := state.Definition(hash); !ok {
			failf("definition %s is gone", hash)
		}
	}
}
