package attached

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Taps tell functions in this process what it does, as it happens: what its partitions store, the signals that follow from
// it, and the ones that are only told live. A tap has no cursor and hears nothing again, and what another process does it
// does not hear at all. The engine never waits for a tap: one that falls behind loses events, which is counted and
// logged. Every method may be called from any goroutine.
type Taps struct {
	clock    func() time.Time
	logger   *slog.Logger
	contexts *contexts

	mu     sync.Mutex // of changes
	closed bool
	list   atomic.Pointer[[]*Tap]
}

var _ subscribers.Tap = (*Taps)(nil)

// TapOptions of one tap. The zero value is fine.
type TapOptions struct {
	// Buffer is how many events may wait for the function, default 10,000, at most 1,000,000; of more, the newest are
	// dropped.
	Buffer int
}

// Defaults and limits of a tap.
const (
	DefaultTapBuffer = 10_000
	MaxTapBuffer     = 1_000_000

	contextTimeout = 10 * time.Second // for the history behind one execution context
)

// NewTaps makes the taps of one process. Signals that have no time of their own get the clock's. definition finds what
// the process knows; see Options.Definition.
func NewTaps(store domain.Store, clock func() time.Time, definition func(hash string) (*domain.Definition, bool), logger *slog.Logger) *Taps {
	t := &Taps{clock: clock, logger: logger, contexts: newContexts(store, definition, logger)}
	t.list.Store(&[]*Tap{})
	return t
}

// Open reports whether anybody listens.
func (ts *Taps) Open() bool { return len(*ts.list.Load()) > 0 }

// Wants reports whether anybody listens for events of that type.
func (ts *Taps) Wants(t domain.EventType) bool {
	for _, tap := range *ts.list.Load() {
		if tap.types.HasType(t) {
			return true
		}
	}
	return false
}

// Tell hands the records of one message, or a signal that no message implies, to those who want them.
func (ts *Taps) Tell(records []domain.Record) {
	for _, tap := range *ts.list.Load() {
		if tap.derives {
			tap.put(tap.types.Select(records), ts.clock)
		} else {
			tap.put(records, ts.clock)
		}
	}
}

// Add begins to tell handle of the types (see Options.Types; live signals included), with what is stored from now on, one
// event after the other.
func (ts *Taps) Add(types []domain.EventType, handle func(domain.Record), o TapOptions) (*Tap, error) {
	set, err := domain.NewEventSet(types)
	switch {
	case err != nil:
		return nil, fmt.Errorf("tap: %w", err)
	case handle == nil:
		return nil, fmt.Errorf("tap: it has no function")
	case o.Buffer < 0 || o.Buffer > MaxTapBuffer:
		return nil, fmt.Errorf("tap: Buffer is %d: want 1 to %d, or 0 for %d", o.Buffer, MaxTapBuffer, DefaultTapBuffer)
	case o.Buffer == 0:
		o.Buffer = DefaultTapBuffer
	}
	t := &Tap{
		taps: ts, types: set, derives: set.Derives(), handle: handle, buffer: o.Buffer,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return nil, fmt.Errorf("tap: %w", subscribers.ErrNotRunning)
	}
	list := append(slices.Clone(*ts.list.Load()), t)
	ts.list.Store(&list)
	go t.run()
	return t, nil
}

// Close ends all taps, each after what it has to tell still. It waits for them until ctx ends.
func (ts *Taps) Close(ctx context.Context) {
	ts.mu.Lock()
	list := *ts.list.Swap(&[]*Tap{})
	ts.closed = true
	ts.mu.Unlock()
	for _, t := range list {
		t.end(false)
	}
	for _, t := range list {
		select {
		case <-t.done:
		case <-ctx.Done():
			return
		}
	}
}

func (ts *Taps) remove(t *Tap) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(*ts.list.Load()), func(x *Tap) bool { return x == t })
	ts.list.Store(&list)
}

// Tap is one function that listens.
type Tap struct {
	taps    *Taps
	types   domain.EventSet
	derives bool
	handle  func(domain.Record)
	buffer  int
	wake    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	queue   []domain.Record
	head    int
	ended   bool
	dropped uint64
	behind  uint64 // dropped since it last kept up
}

// Stop ends the tap: what waits is forgotten, and the function is not called again. Done says when a call that is under
// way has returned. A second call does nothing.
func (t *Tap) Stop() {
	t.taps.remove(t)
	t.end(true)
}

// Done is closed when the tap has ended, by Stop or with the engine, and its function has returned.
func (t *Tap) Done() <-chan struct{} { return t.done }

// Dropped counts the events that were lost because the function was too slow.
func (t *Tap) Dropped() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

func (t *Tap) end(forget bool) {
	t.mu.Lock()
	t.ended = true
	if forget {
		t.queue, t.head = nil, 0
	}
	t.mu.Unlock()
	t.poke()
}

func (t *Tap) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// put queues what is wanted of the records, as far as there is room.
func (t *Tap) put(records []domain.Record, clock func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	was := t.dropped
	for _, r := range records {
		if !t.types.Has(r.Event) {
			continue
		}
		if len(t.queue)-t.head >= t.buffer {
			t.dropped++
			t.behind++
			continue
		}
		if r.At == 0 {
			r.At = domain.InstantOf(clock())
		}
		t.queue = append(t.queue, r)
	}
	if t.dropped > was && t.behind == t.dropped-was {
		t.taps.logger.Warn("a tap is too slow: events are dropped until it has caught up", "waiting", t.buffer)
	}
	t.poke()
}

// take removes the first of the queue; false when there is none.
func (t *Tap) take() (r domain.Record, ok, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head == len(t.queue) {
		t.queue, t.head = t.queue[:0], 0
		if t.behind > 0 {
			t.taps.logger.Warn("a tap has caught up", "dropped", t.behind)
			t.behind = 0
		}
		return r, false, t.ended
	}
	r = t.queue[t.head]
	t.queue[t.head] = domain.Record{}
	if t.head++; t.head >= 1024 && 2*t.head > len(t.queue) {
		n := copy(t.queue, t.queue[t.head:])
		clear(t.queue[n:])
		t.queue, t.head = t.queue[:n], 0
	}
	return r, true, false
}

func (t *Tap) run() {
	defer close(t.done)
	for {
		r, ok, ended := t.take()
		switch {
		case ok:
			t.tell(r)
		case ended:
			return
		default:
			<-t.wake
		}
	}
}

// tell calls the function. A panic ends that call only.
func (t *Tap) tell(r domain.Record) {
	defer func() {
		if p := recover(); p != nil {
			t.taps.logger.Error("a tap panicked", "event", r.ID(), "type", r.Event.Type(), "task", r.Task, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	ctx, stop := context.WithTimeout(context.Background(), contextTimeout)
	defer stop()
	if err := t.taps.contexts.fill(ctx, &r); err != nil {
		t.taps.logger.Warn("a signal comes without its execution context", "event", r.ID(), "type", r.Event.Type(), "task", r.Task, "reason", err)
	}
	t.handle(r)
}
