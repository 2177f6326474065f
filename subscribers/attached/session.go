package attached

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// idleFlush is how often a cursor is written that has passed over events which nobody wanted: losing it costs reading
// only.
const idleFlush = 5 * time.Second

// errEnded: the log's reader ended by itself.
var errEnded = errors.New("reading the log ended")

// session is the subscriber at work, from taking the name until it is given up. Its goroutines: a reader per
// partition, Lanes workers, one that writes the cursors, one that renews the lease.
type session struct {
	*Subscriber
	cancel context.CancelCauseFunc
	flush  chan struct{} // FlushEvents are finished

	mu         sync.Mutex
	work       *sync.Cond // a lane became ready, or the session is over
	partitions []*partition
	lanes      map[laneKey]*lane // that have events
	ready      laneQueue
	waiting    int  // lanes whose first event waits for its next try
	idle       int  // workers that wait
	waking     bool // one of them is on its way
	spare      spares
	finished   int // events since the cursors were written
	over       bool
	nextPark   time.Time // when the last event that asked may be parked
	quietUntil time.Time // failed tries are logged at debug
}

func newSession(s *Subscriber) *session {
	e := &session{Subscriber: s, flush: make(chan struct{}, 1), lanes: map[laneKey]*lane{}}
	e.work = sync.NewCond(&e.mu)
	return e
}

// run works until ctx ends, or something fails: then it returns why. lease is nil when nothing is durable.
func (e *session) run(outer context.Context, lease domain.Lease) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	e.cancel = cancel
	var all sync.WaitGroup
	for _, p := range e.partitions {
		all.Go(func() { e.read(ctx, p) })
	}
	for range e.opts.Lanes {
		all.Go(func() { e.worker(ctx) })
	}
	if lease != nil {
		all.Go(func() { e.flusher(ctx) })
		all.Go(func() {
			if err := renew(ctx, lease); err != nil {
				e.fail(err)
			}
		})
	}
	<-ctx.Done()
	e.end()
	all.Wait()
	reason := context.Cause(ctx)
	if lease != nil && !errors.Is(reason, errLeaseLost) && !errors.Is(reason, errMoved) {
		last, stop := context.WithTimeout(context.WithoutCancel(outer), stopTimeout)
		defer stop()
		if err := e.writeCursors(last, true); err != nil {
			e.logger.Warn("the last cursors could not be written: what is behind the ones before comes again", "error", err)
		}
	}
	return reason
}

// fail ends the session; the first reason counts.
func (e *session) fail(err error) { e.cancel(err) }

// end wakes everybody who waits, so that they see that it is over.
func (e *session) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	for _, l := range e.lanes {
		if l.timer != nil && l.timer.Stop() {
			e.waiting--
		}
	}
	e.work.Broadcast()
	for _, p := range e.partitions {
		p.room.Broadcast()
	}
}

// read hands what is in one partition to the lanes.
func (e *session) read(ctx context.Context, p *partition) {
	src := newSource(e.store, p.number, p.next.Sequence, e.logger)
	err := src.log.Follow(ctx, p.next.Sequence, func(m domain.Message) error {
		c, ok, err := src.commit(ctx, m)
		if err != nil {
			return err
		}
		switch {
		case !ok:
			c.Records = nil
		case e.derives:
			c.Records = e.types.Select(c.Records)
		}
		return e.offer(p, m.Sequence, c.Records, len(m.Data))
	})
	if err == nil {
		err = errEnded
	}
	if ctx.Err() == nil {
		e.fail(fmt.Errorf("partition %02d: %w", p.number, err))
	}
}

// flusher writes the cursors.
func (e *session) flusher(ctx context.Context) {
	every := time.NewTicker(e.opts.Flush)
	defer every.Stop()
	idle := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-e.flush:
		}
		e.mu.Lock()
		due := e.finished > 0
		e.mu.Unlock()
		if !due && time.Since(idle) < idleFlush {
			continue
		}
		idle = time.Now()
		err := e.writeCursors(ctx, false)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, errMoved):
			e.fail(err)
			return
		default:
			e.logger.Warn("the cursors could not be written, and will be later", "error", err)
		}
	}
}

// writeCursors writes the ones that have moved. At stop it tries all of them, whatever happens to the first.
func (e *session) writeCursors(ctx context.Context, stop bool) error {
	e.mu.Lock()
	at := make([]progress, len(e.partitions))
	for i, p := range e.partitions {
		at[i] = p.progress()
	}
	done := e.finished
	e.finished = 0
	e.mu.Unlock()
	var errs []error
	for i, p := range e.partitions {
		if at[i].equal(p.kept.written) {
			continue
		}
		if err := p.kept.put(ctx, at[i]); err != nil {
			errs = append(errs, fmt.Errorf("partition %02d: %w", p.number, err))
			if !stop {
				break
			}
		}
	}
	if len(errs) > 0 {
		e.mu.Lock()
		e.finished += done
		e.mu.Unlock()
	}
	return errors.Join(errs...)
}
