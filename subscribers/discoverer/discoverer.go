// Package discoverer finds the steps that can be started and starts them while there are slots (SEMANTICS 2).
package discoverer

import (
	"container/heap"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Slots is where free slots are taken from: the executor's.
type Slots interface {
	// Take takes a slot for a step of the definition; false when its handler is not registered here, or no slot is
	// free. Whoever took one must start the step or see to it that the slot is given back.
	Take(d *domain.Definition, step int) bool
}

// Exhausted is what Slots may be, too: it tells a discoverer whose Take has failed that it need not try other handlers.
type Exhausted interface {
	// Exhausted reports that no slot is free, for whatever handler.
	Exhausted() bool
}

// Waits is what Slots may be, too: it is told how long each step was ready before it was started.
type Waits interface {
	// Waited must not block. 0: there was a slot at once.
	Waited(d time.Duration)
}

// Discoverer is the ViableStepDiscovery of one partition. It remembers which ready steps wait for a slot, in the order
// in which they became ready; what it remembers can be built again from the tasks.
type Discoverer struct {
	slots  Slots
	waits  Waits // nil = nobody
	queues map[string]*queue
	held   int
	next   uint64
}

// queue is the ready steps of one handler that found no slot.
type queue struct {
	handler string
	steps   []waiting
	head    int
	swept   int // length from which on it is swept
}

type waiting struct {
	order uint64
	since domain.Instant
	task  domain.TaskID
	step  int32
}

// New makes the discoverer of one partition.
func New(slots Slots) *Discoverer {
	waits, _ := slots.(Waits)
	return &Discoverer{slots: slots, waits: waits, queues: map[string]*queue{}}
}

// Name is Tasker's: ViableStepDiscovery.
func (*Discoverer) Name() string { return "discoverer" }

// ReactsTo lists whatever can make a step ready.
func (*Discoverer) ReactsTo() []domain.EventType {
	return []domain.EventType{
		domain.TaskCreatedType, domain.TaskStartRequestedType, domain.TaskRetryRequestedType, domain.TaskResumedType,
		domain.StepCompletedType, domain.StepFailedType, domain.StepRetryRequestedType, domain.StepCancelledType,
		domain.StepResolvedManuallyType, domain.StepSkippedType, domain.StepInheritedType,
	}
}

// React starts the steps that have become ready, or queues them behind those that wait already.
func (d *Discoverer) React(t *domain.Task, now domain.Instant, out []domain.Command) []domain.Command {
	for _, i := range t.TakeOffered() {
		step := int(i)
		if !t.Ready(step) {
			continue
		}
		tpl := t.Template(step)
		switch {
		case t.Bypassed(step):
			out = append(out, domain.SkipStep{Step: step})
		case tpl.Handler == domain.SleepHandler:
			out = append(out, domain.StartStep{Step: step})
		case d.first(tpl.Handler) && d.slots.Take(t.Definition, step):
			out = append(out, domain.StartStep{Step: step})
			d.waited(0)
		default:
			d.hold(tpl.Handler, waiting{since: now, task: t.ID, step: i})
		}
	}
	return out
}

// first reports whether nothing waits for the handler's slots already.
func (d *Discoverer) first(handler string) bool {
	q := d.queues[handler]
	return q == nil || q.head == len(q.steps)
}

func (d *Discoverer) waited(t time.Duration) {
	if d.waits != nil {
		d.waits.Waited(t)
	}
}

func (d *Discoverer) hold(handler string, w waiting) {
	q := d.queues[handler]
	if q == nil {
		q = &queue{handler: handler}
		d.queues[handler] = q
	}
	d.next++
	w.order = d.next
	q.steps = append(q.steps, w)
	d.held++
}

// Held is how many ready steps wait for a slot, those included that are not ready any more.
func (d *Discoverer) Held() int { return d.held }

// Resume starts steps that wait, the one that has waited longest first, while there are slots.
func (d *Discoverer) Resume(now domain.Instant, find func(domain.TaskID) *domain.Task, do func(*domain.Task, domain.Command)) {
	d.sweep(find)
	open := make(byAge, 0, len(d.queues)) // those that may still find a slot
	for _, q := range d.queues {
		if q.head < len(q.steps) {
			open = append(open, q)
		}
	}
	for heap.Init(&open); len(open) > 0; {
		q := open[0]
		w := q.steps[q.head]
		t := find(w.task)
		switch {
		case t == nil || !t.Ready(int(w.step)):
			d.drop(q) // cancelled, paused, or started by another entry meanwhile
		case d.slots.Take(t.Definition, int(w.step)):
			d.drop(q)
			d.waited(now.Sub(w.since))
			do(t, domain.StartStep{Step: int(w.step)})
		default:
			if s, ok := d.slots.(Exhausted); ok && s.Exhausted() {
				open = nil // or every free slot would cost a look at every handler
				continue
			}
			heap.Pop(&open)
			continue
		}
		if q.head == len(q.steps) {
			heap.Pop(&open)
		} else {
			heap.Fix(&open, 0)
		}
	}
	for name, q := range d.queues {
		if q.head == len(q.steps) {
			delete(d.queues, name)
		}
	}
}

// sweep drops what is not ready any more from queues that have doubled since the last time: a queue that finds no slot, or
// no handler, would keep it for ever.
func (d *Discoverer) sweep(find func(domain.TaskID) *domain.Task) {
	for _, q := range d.queues {
		if len(q.steps)-q.head <= max(q.swept, 64) {
			continue
		}
		seen := make(map[place]bool, len(q.steps)-q.head)
		kept := q.steps[:0]
		for _, w := range q.steps[q.head:] {
			t := find(w.task)
			if t == nil || !t.Ready(int(w.step)) || seen[place{w.task, w.step}] {
				d.held--
				continue
			}
			seen[place{w.task, w.step}] = true
			kept = append(kept, w)
		}
		q.steps, q.head, q.swept = kept, 0, 2*len(kept)
	}
}

type place struct {
	task domain.TaskID
	step int32
}

// byAge is a heap of queues by the age of their heads.
type byAge []*queue

func (b byAge) Len() int           { return len(b) }
func (b byAge) Less(i, j int) bool { return b[i].age() < b[j].age() }
func (b byAge) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }

// Push and Pop belong to container/heap.
func (b *byAge) Push(x any) { *b = append(*b, x.(*queue)) }

// Pop removes the last one.
func (b *byAge) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

func (q *queue) age() uint64 { return q.steps[q.head].order }

func (d *Discoverer) drop(q *queue) {
	q.head++
	d.held--
	if q.head == len(q.steps) {
		q.steps, q.head = q.steps[:0], 0
	} else if q.head > 1024 && q.head*2 > len(q.steps) {
		q.steps = q.steps[:copy(q.steps, q.steps[q.head:])]
		q.head = 0
	}
}
