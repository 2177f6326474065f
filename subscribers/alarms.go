package subscribers

import (
	"container/heap"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// alarmHeap is the timers of a partition: one per task that waits for a time, and some that are out of date. An alarm
// counts only while its entry is armed for exactly that time.
type alarmHeap []alarm

// sweepFrom is the size from which on alarms that are out of date are swept out: a task with a far deadline that ends at
// once must not stay in memory until then.
const sweepFrom = 1024

type alarm struct {
	at    domain.Instant
	entry *projections.Entry
}

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarmHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop belong to container/heap.
func (h *alarmHeap) Push(x any) { *h = append(*h, x.(alarm)) }

// Pop removes the last element.
func (h *alarmHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*h = old[:len(old)-1]
	return last
}

func (h *alarmHeap) push(at domain.Instant, e *projections.Entry) {
	if at != 0 {
		heap.Push(h, alarm{at, e})
	}
}

// sweep drops what is out of date, and returns how large the heap may become before the next time.
func (h *alarmHeap) sweep(state *projections.Partition) int {
	old, kept := *h, (*h)[:0]
	for _, a := range old {
		if a.entry.Armed != a.at || state.Live(a.entry.Task.ID) != a.entry {
			continue
		}
		kept = append(kept, a)
		a.entry.Armed = -a.at // a second alarm for the same time is not needed
	}
	for _, a := range kept {
		a.entry.Armed = a.at
	}
	clear(old[len(kept):])
	*h = kept
	heap.Init(h)
	return max(sweepFrom, 2*len(kept))
}

// due takes the first entry whose time has come.
func (h *alarmHeap) due(now domain.Instant) (*projections.Entry, bool) {
	for len(*h) > 0 {
		top := (*h)[0]
		if top.entry.Armed == top.at && top.at > now {
			return nil, false
		}
		heap.Pop(h)
		if top.entry.Armed == top.at {
			return top.entry, true
		}
	}
	return nil, false
}

// next is the time of the first alarm that counts; 0 = none.
func (h *alarmHeap) next(state *projections.Partition) domain.Instant {
	for len(*h) > 0 {
		top := (*h)[0]
		if top.entry.Armed == top.at && state.Live(top.entry.Task.ID) == top.entry {
			return top.at
		}
		heap.Pop(h)
	}
	return 0
}

func (m *Machine) wakeAt(t *domain.Task) domain.Instant {
	var first domain.Instant
	for _, a := range m.alarms {
		if w := a.WakeAt(t); w != 0 && (first == 0 || w < first) {
			first = w
		}
	}
	return first
}

// arm sets the task's wake-up, if it changed and what it rests on is stored.
func (m *Machine) arm(e *projections.Entry) {
	if e.Task.Last > m.stored {
		return // the batch that holds its newest event arms it
	}
	m.state.Own(e)
	if w := m.wakeAt(e.Task); w != e.Armed {
		m.disarm(e)
		if e.Armed = w; w != 0 {
			m.armed++
		}
		m.alerts.push(w, e)
		if len(m.alerts) > m.sweepAt {
			m.sweepAt = m.alerts.sweep(m.state)
		}
	}
}

// disarm forgets the task's wake-up; the alarm that is set for it does not count any more.
func (m *Machine) disarm(e *projections.Entry) {
	if e.Armed != 0 {
		m.armed--
		e.Armed = 0
	}
}

// Timers is how many tasks wait for a time.
func (m *Machine) Timers() int { return m.armed }
