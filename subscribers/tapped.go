package subscribers

import (
	"container/heap"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// tell hands what the batch stored to the tap, message by message, so that it derives what a reader of the log derives.
func (m *Machine) tell(b *batch) {
	if m.tap == nil || !m.tap.Open() {
		return
	}
	records := make([]domain.Record, len(b.records))
	for i, c := range b.records {
		records[i] = c.Record
		m.watch.see(c.Record)
	}
	for from, to := 0, 1; from < len(records); to++ {
		if to == len(records) || records[to].Position.Sequence != records[from].Position.Sequence {
			m.tap.Tell(records[from:to])
			from = to
		}
	}
}

// tellOf tells of a signal about the task when everything that it rests on is stored.
func (m *Machine) tellOf(id domain.TaskID, sequence uint64, s domain.Signal, now domain.Instant) {
	r := domain.Record{Event: s, At: now, Task: id, Position: domain.Position{Partition: m.state.Number, Sequence: sequence}}
	b := m.after(sequence, func(err error) {
		if err == nil {
			m.tap.Tell([]domain.Record{r})
		}
	})
	if b != nil {
		b.rests = append(b.rests, &r.Position.Sequence)
	}
}

// reportUnclear is called for a task of which nobody knows how it goes on. It never happens.
func (m *Machine) reportUnclear(e *projections.Entry, now domain.Instant) {
	if m.unclear != nil {
		m.unclear(e.Task)
	}
	if m.tap != nil && m.tap.Wants(domain.SignalStateUnclear) {
		state := e.Task.ExecutionContext()
		m.tellOf(e.Task.ID, e.Task.Last, domain.Signal{Name: domain.SignalStateUnclear, Context: &state}, now)
	}
}

// watch remembers until when tasks said that they wait, to notice a wake-up that comes to nothing: the alarms themselves
// forget a wait as soon as it is over. It exists only while somebody taps workflow.task_reenqueue_failed.
type watch struct {
	until map[domain.TaskID]domain.Instant // the newest wait of each task
	waits waitHeap                         // those that another one replaced, too
}

type wait struct {
	until domain.Instant
	task  domain.TaskID
}

// Watch begins to look for wake-ups that come to nothing, when somebody wants to know of them. What waits already is
// found once, among all live tasks.
func (m *Machine) Watch(now domain.Instant) {
	if m.watch != nil || m.tap == nil || !m.tap.Wants(domain.SignalReenqueueFailed) {
		return
	}
	m.watch = &watch{until: map[domain.TaskID]domain.Instant{}}
	for e := range m.state.Tasks() {
		if until := e.Task.Waiting.Until; until > now {
			m.watch.add(e.Task.ID, until)
		}
	}
}

// see notes what a stored fact says of waiting.
func (w *watch) see(r domain.Record) {
	if w == nil {
		return
	}
	if e, ok := r.Event.(domain.TaskDelayed); ok {
		w.add(r.Task, e.Until)
	}
}

func (w *watch) add(id domain.TaskID, until domain.Instant) {
	if w.until[id] != until {
		w.until[id] = until
		heap.Push(&w.waits, wait{until, id})
	}
}

// first is the earlier of next (0 = never) and the end of the first wait.
func (w *watch) first(next domain.Instant) domain.Instant {
	if w == nil || len(w.waits) == 0 || next != 0 && next <= w.waits[0].until {
		return next
	}
	return w.waits[0].until
}

// missedWakes tells of the waits that end now although their tasks do not wait for it any more.
func (m *Machine) missedWakes(now domain.Instant) {
	if m.watch == nil {
		return
	}
	if !m.tap.Wants(domain.SignalReenqueueFailed) {
		m.watch = nil
		return
	}
	w := m.watch
	for len(w.waits) > 0 && w.waits[0].until <= now {
		x := heap.Pop(&w.waits).(wait)
		if w.until[x.task] != x.until {
			continue // another wait has replaced it
		}
		delete(w.until, x.task)
		if found, last := m.foundAwake(x); found != "" {
			m.tellOf(x.task, last, domain.Signal{Name: domain.SignalReenqueueFailed, Reason: found, Until: x.until}, now)
		}
	}
}

// foundAwake says what the task does instead of waiting, and where that stands in the log; "" when it waits.
func (m *Machine) foundAwake(x wait) (found string, last uint64) {
	e := m.state.Find(x.task)
	if e == nil {
		ended, _ := m.state.Ended.Get(x.task)
		return domain.WakeFoundEnded, ended.Last
	}
	switch t := e.Task; {
	case !t.State.Live():
		m.retire(e)
		return domain.WakeFoundEnded, t.Last
	case e.Frozen != nil || t.Waiting.Until != 0:
		return "", 0
	case t.Paused:
		return domain.WakeFoundPaused, t.Last
	default:
		return domain.WakeFoundRunning, t.Last
	}
}

// waitHeap is ordered by the ends of the waits.
type waitHeap []wait

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h waitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop belong to container/heap.
func (h *waitHeap) Push(x any) { *h = append(*h, x.(wait)) }

// Pop removes the last one.
func (h *waitHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
