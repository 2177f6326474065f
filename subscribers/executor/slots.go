package executor

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// MaxLeaked is how many executions of a handler may go on after their end was reported, because the handler ignores its
// context. With that many, no new step of the handler is started (SEMANTICS 3).
const MaxLeaked = 100

// slots counts executions. A slot is taken before step.execution_requested is appended and comes free when the handler
// returns, at the step's timeout, or when a cancelled handler has not returned after CancelGrace.
type slots struct {
	mu       sync.Mutex
	total    int
	free     int
	dry      bool // somebody found no free slot
	closed   bool // draining
	limits   map[string]int
	handlers map[string]*handlerSlots
}

// handlerSlots is what slots knows of a handler name. There are as many as definitions name.
type handlerSlots struct {
	name   string
	limit  int // 0 = none
	used   int
	leaked int
	dry    bool // somebody was refused because of this handler
}

// slot is what an execution holds.
type slot uint8

const (
	slotHeld   slot = iota
	slotLeaked      // came free, but the handler has not returned
	slotGone
)

func (s *slots) init(total int, limits map[string]int) {
	s.total, s.free, s.limits, s.handlers = total, total, limits, map[string]*handlerSlots{}
}

func (s *slots) handler(name string) *handlerSlots {
	h := s.handlers[name]
	if h == nil {
		h = &handlerSlots{name: name, limit: s.limits[name]}
		s.handlers[name] = h
	}
	return h
}

func (s *slots) take(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch h := s.handler(name); {
	case s.closed:
		return false
	case s.free <= 0:
		s.dry = true
		return false
	case h.limit > 0 && h.used >= h.limit, h.leaked >= MaxLeaked:
		h.dry = true
		return false
	default:
		s.free--
		h.used++
		return true
	}
}

// give takes a slot of the handler back. wake says that somebody waits for it.
func (s *slots) give(name string) (wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back(s.handler(name))
}

func (s *slots) back(h *handlerSlots) (wake bool) {
	s.free++
	h.used--
	return s.wake(h)
}

func (s *slots) wake(h *handlerSlots) bool {
	wake := s.dry || h.dry
	s.dry, h.dry = false, false
	return wake
}

// release notes that the handler has returned. freed says that its slot came free only now.
func (s *slots) release(x *execution) (freed, wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handler(x.call.Step.Handler)
	was := x.slot
	x.slot = slotGone
	switch was {
	case slotHeld:
		return true, s.back(h)
	case slotLeaked:
		h.leaked--
		return false, s.wake(h)
	case slotGone:
	}
	return false, false
}

// leak takes the slot from an execution whose handler has not returned.
func (s *slots) leak(x *execution) (freed, wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.slot != slotHeld {
		return false, false
	}
	x.slot = slotLeaked
	h := s.handler(x.call.Step.Handler)
	h.leaked++
	return true, s.back(h)
}

// Take takes a slot for a step of the definition, see discoverer.Slots. Whoever took one starts the step, and the slot
// comes free with Notify or Withdraw of its event; or gives it back with Release.
func (e *Executor) Take(d *domain.Definition, step int) bool {
	if !e.registry.Load().has(d, step) {
		return false // Register wakes everybody up
	}
	e.pending.Add(1)
	if e.slots.take(d.Steps[step].Handler) {
		return true
	}
	e.done()
	return false
}

// Exhausted reports that no slot is free, for whatever handler.
func (e *Executor) Exhausted() bool {
	e.slots.mu.Lock()
	defer e.slots.mu.Unlock()
	return e.slots.free <= 0 || e.slots.closed
}

// Release gives a slot back that was taken for a step which will not be started.
func (e *Executor) Release(d *domain.Definition, step int) {
	if e.slots.give(d.Steps[step].Handler) {
		e.listeners.call()
	}
	e.done()
}

// Explain says why Take refuses the step now; "" when it would not.
func (e *Executor) Explain(d *domain.Definition, step int) string {
	name := d.Steps[step].Handler
	if !e.Registered(d, step) {
		return fmt.Sprintf("no handler %q is registered in this process", name)
	}
	s := &e.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "the engine is stopping"
	}
	if h := s.handlers[name]; h != nil {
		if text := h.refusal(); text != "" {
			return text
		}
	}
	if s.free <= 0 {
		return fmt.Sprintf("all %d slots of this process are in use", s.total)
	}
	return ""
}

func (h *handlerSlots) refusal() string {
	switch {
	case h.leaked >= MaxLeaked:
		return fmt.Sprintf("%d executions of handler %q ignore that their context has ended and are still running: "+
			"no new one is started until some return; make the handler watch its context", h.leaked, h.name)
	case h.limit > 0 && h.used >= h.limit:
		return fmt.Sprintf("all %d slots of handler %q are in use", h.limit, h.name)
	}
	return ""
}

// listeners are told when a Take that was refused may succeed.
type listeners struct {
	mu   sync.Mutex
	list []*func()
}

// OnFree calls f, from any goroutine, when slots were exhausted and one has come free, when a handler was registered,
// and when draining begins. f must not block; calls may coalesce. The function returned takes it out again.
func (e *Executor) OnFree(f func()) (remove func()) {
	l := &e.listeners
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(slices.Clip(l.list), &f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.list = slices.DeleteFunc(slices.Clone(l.list), func(g *func()) bool { return g == &f })
	}
}

func (l *listeners) call() {
	l.mu.Lock()
	list := l.list
	l.mu.Unlock()
	for _, f := range list {
		(*f)()
	}
}

// Stats is a picture of the executor. The counters count from the start of the process.
type Stats struct {
	Slots, Free int
	Running     int // slots in use: steps requested but not yet started included
	Leaked      int // executions that go on after their end was reported
	Draining    bool
	Handlers    []HandlerStats // by name

	Executions  uint64 // started
	Completed   uint64 // reported with a result
	Failed      uint64 // reported with an error, in all
	Panics      uint64 // of those
	Timeouts    uint64 // of those
	Interrupted uint64 // of those
	Cancelled   uint64 // ended from outside: by an operator, a deadline, or the loss of the partition
	Late        uint64 // outcomes that came after the end and were dropped
	Annotated   uint64 // calls of the annotation hook that went well
	Unannotated uint64 // calls that failed, notes that were not stored, and runs for which too many waited
}

// HandlerStats is the slots of one handler name.
type HandlerStats struct {
	Name    string
	Limit   int // 0 = none of its own
	Running int
	Leaked  int
	Refused string // why no step of it is started, if that is so because of the handler
}

// Stats may be called at any time.
func (e *Executor) Stats() Stats {
	st := e.count.stats()
	s := &e.slots
	s.mu.Lock()
	st.Slots, st.Free, st.Running, st.Draining = s.total, s.free, s.total-s.free, s.closed
	for _, h := range s.handlers {
		st.Leaked += h.leaked
		st.Handlers = append(st.Handlers, HandlerStats{h.name, h.limit, h.used, h.leaked, h.refusal()})
	}
	s.mu.Unlock()
	slices.SortFunc(st.Handlers, func(a, b HandlerStats) int { return strings.Compare(a.Name, b.Name) })
	return st
}
