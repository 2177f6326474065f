package watermill

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// maxRetryAfter is the longest wait that the error of a handler can ask for.
const maxRetryAfter = time.Hour

// ReplayFailedError: a replay is over, and events of it failed their last try.
type ReplayFailedError struct {
	Failed int           // how many
	First  domain.Record // one of the first of them
	Err    error         // of its last try
}

func (e *ReplayFailedError) Error() string {
	return fmt.Sprintf("%d events of the replay could not be handled; the first, %s (%s): %v",
		e.Failed, e.First.ID(), e.First.Event.Type(), e.Err)
}

func (e *ReplayFailedError) Unwrap() error { return e.Err }

// replay is one finite subscription. Its lanes are goroutines; all events of a task go through the same one.
type replay struct {
	*subscription
	stop context.CancelFunc

	mu     sync.Mutex
	failed *ReplayFailedError
}

// beginReplay reads the first event, so that a range that cannot be read is an error of Subscribe.
func (s *subscription) beginReplay() (run func() error, err error) {
	o := *s.events.config.Replay
	o.Types = s.types
	next, stop := iter.Pull2(s.events.from.Replay(s.ctx, o))
	first, err, ok := next()
	if err != nil {
		stop()
		return nil, err
	}
	return func() error {
		defer stop()
		if !ok {
			return nil
		}
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		return (&replay{subscription: s, stop: cancel}).run(ctx, first, next)
	}, nil
}

// run returns when everything has been handled, or ctx has ended and nobody is at work any more.
func (p *replay) run(ctx context.Context, r domain.Record, next func() (domain.Record, error, bool)) error {
	lanes := make([]chan domain.Record, p.events.config.Subscription.Lanes)
	var all sync.WaitGroup
	for i := range lanes {
		lane := make(chan domain.Record)
		lanes[i] = lane
		all.Go(func() {
			for r := range lane {
				p.handle(ctx, r)
			}
		})
	}
	seed := maphash.MakeSeed()
	var err error
	for more := true; more && err == nil && ctx.Err() == nil; r, err, more = next() {
		select {
		case lanes[maphash.Comparable(seed, r.Task)%uint64(len(lanes))] <- r:
		case <-ctx.Done():
		}
	}
	for _, lane := range lanes {
		close(lane)
	}
	all.Wait()
	if p.failed != nil {
		return errors.Join(p.failed, err)
	}
	return err
}

// handle tries an event until it is done, or lost.
func (p *replay) handle(ctx context.Context, r domain.Record) {
	o := p.events.config.Subscription
	for try := 1; ; try++ {
		err := p.deliver(ctx, r)
		if err == nil || ctx.Err() != nil {
			return
		}
		wish := &domain.Failure{}
		_ = errors.As(err, &wish)
		if try >= o.Tries || wish.Kind == domain.KindPermanent {
			p.lost(r, err)
			return
		}
		again := min(wish.RetryAfter, maxRetryAfter)
		if again <= 0 {
			again = o.Backoff(try)
		}
		p.events.logger.Warn("the handler of a replay failed", "topic", p.topic, "event", r.ID(), "type", r.Event.Type(),
			"task", r.Task, "try", try, "again", again, "error", err)
		timer := time.NewTimer(again)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (p *replay) lost(r domain.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = &ReplayFailedError{First: r, Err: err}
	}
	p.failed.Failed++
	if p.events.config.Subscription.OnPoison == domain.StopSubscriber {
		p.stop()
		return
	}
	p.events.logger.Error("an event of a replay could not be handled and is passed over", "topic", p.topic, "event", r.ID(),
		"type", r.Event.Type(), "task", r.Task, "error", err)
}
