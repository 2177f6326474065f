package subscribers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// renewAgain is when a renewal that failed is tried again, at most.
const renewAgain = 200 * time.Millisecond

// errLeaseLost: another process holds the lease now.
var errLeaseLost = errors.New("the lease was lost to another process")

// held is a lease that is being renewed in the background. A lease saves work and fences nothing; but what is not an
// append needs one: an owner that has not renewed for two thirds of the ttl starts no handler and answers nothing, and
// at the ttl the contexts of running ones are cancelled (DESIGN 5). Its age is measured on the monotonic clock, not on
// Config.Clock: a wall clock that is set ahead makes no lease older.
type held struct {
	lease   domain.Lease
	ttl     time.Duration
	renewed chan time.Time
	lost    chan error
	stop    context.CancelFunc
	done    chan struct{}
}

func leaseName(partition int) string { return fmt.Sprintf("partition-%02d", partition) }

// acquire waits for the lease; only the end of ctx ends it without one.
func (c *Coordinator) acquire(ctx context.Context) (*held, error) {
	for first := true; ; first = false {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		began := time.Now()
		lease, err := c.Store.Leases().Acquire(try, leaseName(c.Partition), c.Holder, c.LeaseTTL)
		cancel()
		if err == nil {
			return c.keep(ctx, lease, began), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if p, _ := c.Phase(); p != Closed || errors.Is(err, domain.ErrLeaseTaken) {
			c.setPhase(Away, err)
		}
		if first {
			c.Logger.Info("waiting for the partition's lease", "partition", c.Partition, "reason", err)
		}
		c.pause(ctx, c.LeaseTTL/10)
	}
}

func (c *Coordinator) keep(ctx context.Context, lease domain.Lease, began time.Time) *held {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &held{
		lease: lease, ttl: c.LeaseTTL, stop: stop,
		renewed: make(chan time.Time, 1), lost: make(chan error, 1), done: make(chan struct{}),
	}
	h.renewed <- began
	go func() {
		defer close(h.done)
		next := time.NewTimer(c.LeaseTTL / 3)
		defer next.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			began := time.Now()
			try, cancel := context.WithTimeout(ctx, min(c.LeaseTTL/3, ackTimeout))
			err := lease.Renew(try)
			cancel()
			next.Reset(c.LeaseTTL / 3)
			switch {
			case err == nil:
				select {
				case <-h.renewed:
				default:
				}
				h.renewed <- began
				c.poke()
			case errors.Is(err, domain.ErrLeaseTaken):
				h.lost <- errLeaseLost
				c.poke()
				return
			default:
				next.Reset(min(c.LeaseTTL/10, renewAgain)) // nothing is answered without a fresh lease
			}
		}
	}()
	return h
}

func (c *Coordinator) release(h *held) {
	h.stop()
	<-h.done
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.lease.Release(ctx); err != nil && !errors.Is(err, domain.ErrLeaseTaken) {
		c.Logger.Debug("the lease was not given back and runs out by itself", "partition", c.Partition, "error", err)
	}
}
