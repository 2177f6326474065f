package subscribers

import (
	"slices"

	"github.com/tasker-go/tasker/domain"
)

// Look hands the task's state to reply, once everything that it shows is stored; nil when it is not in memory and
// was not until a moment ago.
func (m *Machine) Look(id domain.TaskID, reply func(*domain.Task, error)) {
	e := m.state.Find(id)
	if e == nil {
		t := m.recent.get(id)
		newest := m.newest(t)
		if ended, ok := m.state.Ended.Get(id); ok {
			newest = max(newest, ended.Last) // a note may have come after the end
		}
		if newest > m.stored && t != nil {
			t = t.Clone() // its positions may have to move
		}
		if b := m.after(newest, func(err error) { reply(t, err) }); b != nil && t != nil {
			b.shown = append(b.shown, t)
		}
		return
	}
	t := e.Task.Clone()
	m.retire(e)
	if b := m.after(t.Last, func(err error) { reply(t, err) }); b != nil {
		b.shown = append(b.shown, t)
	}
}

// AfterNewest calls f when everything that the machine knows is stored.
func (m *Machine) AfterNewest(f func(error)) {
	newest := m.stored
	if b := m.open; !b.empty() {
		newest = b.parts[len(b.parts)-1].base
	} else if b := m.inflight; b != nil {
		newest = b.parts[len(b.parts)-1].base
	}
	m.after(newest, f)
}

// StoredUpTo is the sequence of the last message that is known to be stored; a task whose newest commit is behind it is
// ahead of the log.
func (m *Machine) StoredUpTo() uint64 { return m.stored }

func (m *Machine) newest(t *domain.Task) uint64 {
	if t == nil {
		return 0
	}
	return t.Last
}

// Await calls reply when the task's run has ended or failed; at once when it has already. A task that is not in memory
// any more gives a zero Outcome with the position of its last commit, and has to be read from the log; an unknown
// one ErrTaskNotFound.
func (m *Machine) Await(id domain.TaskID, reply func(Outcome, error)) { m.AwaitUntil(nil, id, reply) }

// AwaitUntil is Await for a caller who may give up: when gone is closed, reply is called late or never.
func (m *Machine) AwaitUntil(gone <-chan struct{}, id domain.TaskID, reply func(Outcome, error)) {
	if e := m.state.Find(id); e != nil {
		if e.Task.State.Live() {
			w := m.waiting[id]
			w.add(waiter{e.Task.Round, gone, reply})
			m.waiting[id] = w
			return
		}
		o := outcomeOf(e.Task, m.state.Number)
		m.retire(e)
		if b := m.after(o.Position.Sequence, func(err error) { reply(o, err) }); b != nil {
			b.rests = append(b.rests, &o.Position.Sequence, &o.Result.Pos.Sequence)
		}
		return
	}
	if t := m.recent.get(id); t != nil {
		o := outcomeOf(t, m.state.Number)
		if b := m.after(o.Position.Sequence, func(err error) { reply(o, err) }); b != nil {
			b.rests = append(b.rests, &o.Position.Sequence, &o.Result.Pos.Sequence)
		}
		return
	}
	if ended, ok := m.state.Ended.Get(id); ok {
		o := Outcome{Task: id, Position: domain.Position{Partition: m.state.Number, Sequence: ended.Last}}
		if b := m.after(ended.Last, func(err error) { reply(o, err) }); b != nil {
			b.rests = append(b.rests, &o.Position.Sequence, &o.Result.Pos.Sequence)
		}
		return
	}
	reply(Outcome{Task: id}, ErrTaskNotFound)
}

// waiter is somebody who wants to know how a run of a task ends. The machine knows of the next run already while the end of
// the one before is being stored.
type waiter struct {
	round int
	gone  <-chan struct{} // closed: the caller has given up; nil = never
	tell  func(Outcome, error)
}

// waiters are those of one task. A task may wait for weeks, and callers ask for its end again and again: those who have
// given up are dropped whenever the list has doubled.
type waiters struct {
	list []waiter
	drop int // from this length on
}

func (w *waiters) add(x waiter) {
	if len(w.list) >= max(w.drop, 4) {
		w.list = slices.DeleteFunc(w.list, func(x waiter) bool {
			select {
			case <-x.gone:
				return true
			default:
				return false
			}
		})
		w.drop = 2 * len(w.list)
	}
	w.list = append(w.list, x)
}

// tellEnd answers those who wait for the end of this run of the task, or of one before.
func (m *Machine) tellEnd(x ending) {
	waiting, ok := m.waiting[x.outcome.Task]
	if !ok {
		return
	}
	later := waiting.list[:0]
	for _, w := range waiting.list {
		if w.round > x.round {
			later = append(later, w)
			continue
		}
		w.tell(x.outcome, nil)
	}
	if clear(waiting.list[len(later):]); len(later) > 0 {
		m.waiting[x.outcome.Task] = waiters{list: later}
		return
	}
	delete(m.waiting, x.outcome.Task)
}
