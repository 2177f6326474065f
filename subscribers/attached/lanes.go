package attached

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// event is one that was read and is not finished. It stands in two lists: of its partition in the order of the log,
// whose first is the cursor, and of its lane.
type event struct {
	record       domain.Record
	at           spot
	partition    *partition
	ordinal      uint64 // of the events wanted in the partition
	size         int
	tries        int
	err          error     // of the last try
	lost         bool      // no more tries: to be parked
	park         time.Time // when it may be; zero = it has not asked
	before, next *event
	behind       *event // in the lane
}

// partition is how far one partition has been read. All but number and kept is guarded by the session's lock.
type partition struct {
	number int
	kept   *keptCursor // nil when nothing is durable; the flusher's

	next        spot   // to be read
	first, last *event // unfinished
	unfinished  int
	held        int        // bytes of the log that the unfinished ones took
	ordinal     uint64     // of the next event wanted
	room        *sync.Cond // there may be room for more

	until spot          // behind the last event that is finished
	open  map[spot]bool // not finished by an earlier session, and not read yet by this one
	past  spot          // what is before it, and not open, was finished by an earlier session
}

func newPartition(e *session, number int, from progress, kept *keptCursor) *partition {
	p := &partition{
		number: number, next: from.next, kept: kept, room: sync.NewCond(&e.mu),
		until: from.until, past: from.until, open: map[spot]bool{},
	}
	for _, at := range from.open {
		p.open[at] = true
	}
	return p
}

// progress is what a cursor has to say.
func (p *partition) progress() progress {
	g := progress{next: p.cursor()}
	if !g.next.less(p.until) {
		return g
	}
	for ev := p.first; ev != nil && ev.at.less(p.until) && len(g.open) <= maxOpen; ev = ev.next {
		g.open = append(g.open, ev.at)
	}
	for at := range p.open {
		g.open = append(g.open, at)
	}
	if len(g.open) > maxOpen {
		return progress{next: g.next}
	}
	slices.SortFunc(g.open, spot.compare)
	g.until = p.until
	return g
}

// done reports whether an earlier session has finished the event, and forgets that it has not.
func (p *partition) done(at spot) bool {
	if !at.less(p.past) {
		return false
	}
	open := p.open[at]
	delete(p.open, at)
	return !open
}

// cursor is the oldest event that is not finished.
func (p *partition) cursor() spot {
	if p.first != nil {
		return p.first.at
	}
	return p.next
}

func (p *partition) full() bool {
	return p.first != nil &&
		(p.unfinished >= maxUnfinished || p.held >= maxHeld || p.ordinal-p.first.ordinal >= maxAhead)
}

func (p *partition) add(ev *event) {
	ev.ordinal = p.ordinal
	p.ordinal++
	ev.before = p.last
	if p.last != nil {
		p.last.next = ev
	} else {
		p.first = ev
	}
	p.last = ev
	p.unfinished++
	p.held += ev.size
}

func (p *partition) remove(ev *event) {
	if ev.before != nil {
		ev.before.next = ev.next
	} else {
		p.first = ev.next
	}
	if ev.next != nil {
		ev.next.before = ev.before
	} else {
		p.last = ev.before
	}
	ev.before, ev.next = nil, nil
	p.unfinished--
	p.held -= ev.size
}

// laneKey is a task; facts without one share a lane per partition.
type laneKey struct {
	task      domain.TaskID
	partition int
}

// lane is a task that has unfinished events. Its first event is being handled, or waits for a worker or for its next
// try; the others wait behind it.
type lane struct {
	key         laneKey
	first, last *event
	timer       *time.Timer // until the next try
	queued      *lane       // behind it in the queue of ready ones
}

// laneQueue is first in, first out; so a task with many events holds up no other.
type laneQueue struct{ first, last *lane }

func (q *laneQueue) push(l *lane) {
	if q.last != nil {
		q.last.queued = l
	} else {
		q.first = l
	}
	q.last = l
}

func (q *laneQueue) pop() *lane {
	l := q.first
	q.first, l.queued = l.queued, nil
	if q.first == nil {
		q.last = nil
	}
	return l
}

// offer puts the events of one commit into their lanes, and waits while there is no room.
func (e *session) offer(p *partition, sequence uint64, records []domain.Record, size int) error {
	size /= max(len(records), 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range records {
		at := spotOf(r)
		if at.less(p.next) {
			continue
		}
		for p.next = at; p.full() && !e.over; {
			p.room.Wait()
		}
		if e.over {
			return context.Canceled
		}
		if p.done(at) || !e.types.Has(r.Event) {
			continue
		}
		ev := e.spare.newEvent()
		ev.record, ev.at, ev.partition, ev.size = r, at, p, size
		p.add(ev)
		e.enqueue(ev)
	}
	p.next = spot{domain.Position{Partition: p.number, Sequence: sequence + 1}, 0}
	if len(p.open) > 0 { // an event that nobody wants any more, of a name that was run with other types before
		maps.DeleteFunc(p.open, func(at spot, _ bool) bool { return at.less(p.next) })
	}
	return nil
}

func (e *session) enqueue(ev *event) {
	key := laneKey{task: ev.record.Task, partition: ev.partition.number}
	l := e.lanes[key]
	if l != nil {
		l.last.behind = ev
		l.last = ev
		return
	}
	l = e.spare.newLane()
	l.key, l.first, l.last = key, ev, ev
	e.lanes[key] = l
	e.ready.push(l)
	e.wake()
}

// wake brings one more worker to work, if one waits and none is on its way: that one wakes the next when there is more.
// So a handler that is quick is left to few workers. It must be called with the lock held.
func (e *session) wake() {
	if e.idle > 0 && !e.waking {
		e.waking = true
		e.work.Signal()
	}
}

// worker handles the first event of one ready lane after the other.
func (e *session) worker(ctx context.Context) {
	e.mu.Lock() // not deferred: a handler may end the goroutine
	for {
		for e.ready.first == nil && !e.over {
			e.idle++
			e.work.Wait()
			e.idle--
			e.waking = false
		}
		if e.over {
			e.mu.Unlock()
			return
		}
		l := e.ready.pop()
		if e.ready.first != nil {
			e.wake()
		}
		ev := l.first
		e.mu.Unlock()
		done, again := e.try(ctx, ev)
		e.mu.Lock()
		switch {
		case done:
			e.finish(l, ev)
		case !e.over:
			e.wait(l, again)
		}
	}
}

// finish must be called with the lock held.
func (e *session) finish(l *lane, ev *event) {
	p := ev.partition
	was := p.full()
	p.remove(ev)
	if !ev.at.less(p.until) {
		p.until = ev.at.behind(e.derives)
	}
	if was && !p.full() {
		p.room.Signal()
	}
	if l.first = ev.behind; l.first != nil {
		e.ready.push(l)
		e.wake()
	} else {
		delete(e.lanes, l.key)
		e.spare.lane(l)
	}
	e.spare.event(ev)
	if e.finished++; e.finished >= e.opts.FlushEvents {
		select {
		case e.flush <- struct{}{}:
		default:
		}
	}
}

// wait puts the lane aside; it holds no worker. It must be called with the lock held.
func (e *session) wait(l *lane, d time.Duration) {
	e.waiting++
	l.timer = time.AfterFunc(d, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		l.timer = nil
		e.waiting--
		if !e.over {
			e.ready.push(l)
			e.wake()
		}
	})
}

// try hands the event to the handler, or to the dead letters when its tries are used up. When it is not done, it is to
// be tried again after a while.
func (e *session) try(ctx context.Context, ev *event) (done bool, again time.Duration) {
	if err := e.contexts.fill(ctx, &ev.record); err != nil {
		e.fail(err)
		return false, 0
	}
	if ev.lost {
		return e.giveUp(ctx, ev)
	}
	err := e.call(ctx, ev.record)
	if err == nil {
		e.handled.Add(1)
		return true, 0
	}
	if ctx.Err() != nil {
		return false, 0
	}
	ev.tries++
	ev.err = err
	e.failed.Add(1)
	wish := &domain.Failure{}
	_ = errors.As(err, &wish)
	if ev.lost = ev.tries >= e.opts.Tries || wish.Kind == domain.KindPermanent; ev.lost {
		return e.giveUp(ctx, ev)
	}
	if again = min(wish.RetryAfter, MaxRetryAfter); again <= 0 {
		again = e.opts.Backoff(ev.tries)
	}
	level := slog.LevelDebug
	if e.loud() {
		level = slog.LevelWarn
	}
	if e.logger.Enabled(ctx, level) {
		e.about(ev.record).Log(ctx, level, "the subscriber's handler failed", "try", ev.tries, "again", again, "error", err)
	}
	return false, again
}

// giveUp parks the event, or ends the subscriber.
func (e *session) giveUp(ctx context.Context, ev *event) (done bool, again time.Duration) {
	r := ev.record
	if e.opts.OnPoison == StopSubscriber {
		e.fail(&PoisonError{
			Subscriber: e.opts.Name, Position: r.Position, Type: r.Event.Type(), Task: r.Task, Tries: ev.tries, Err: ev.err,
		})
		return false, 0
	}
	if wait := e.parkingTurn(ev); wait > 0 {
		return false, wait
	}
	if err := e.store.DeadLetters().Put(ctx, letterOf(e.opts.Name, ev)); err != nil {
		if ctx.Err() == nil {
			e.about(r).Error("the event could not be parked: its task waits", "again", parkRetry, "error", err)
		}
		return false, parkRetry
	}
	e.parked.Add(1)
	e.about(r).Error("the event was parked in the dead letters", "tries", ev.tries, "error", ev.err)
	return true, 0
}

func (s *Subscriber) about(r domain.Record) *slog.Logger {
	return s.logger.With("event", r.ID(), "type", r.Event.Type(), "task", r.Task)
}

// call is the handler; a panic is an error.
func (e *session) call(ctx context.Context, r domain.Record) (err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := string(debug.Stack())
			err = &PanicError{Value: p, Stack: stack}
			e.about(r).Error("the subscriber's handler panicked", "panic", p, "stack", stack)
		}
	}()
	return e.handle(ctx, r)
}
