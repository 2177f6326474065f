package attached

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// leaseTTL is how long a durable name stays with a process that is silent.
const leaseTTL = 10 * time.Second

func leaseName(subscriber string) string { return "subscriber-" + subscriber }

// acquire waits for the lease of the name; only the end of ctx ends it without one.
func (s *Subscriber) acquire(ctx context.Context) (domain.Lease, error) {
	for first := true; ; first = false {
		try, cancel := context.WithTimeout(ctx, leaseTTL/2)
		lease, err := s.store.Leases().Acquire(try, leaseName(s.opts.Name), s.holder, leaseTTL)
		cancel()
		if err == nil {
			return lease, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if first {
			s.logger.Info("waiting for the subscriber's lease", "reason", err)
		}
		pause(ctx, leaseTTL/10)
	}
}

// renew keeps the lease until ctx ends. It returns why the lease is not held any more.
func renew(ctx context.Context, lease domain.Lease) error {
	every := time.NewTicker(leaseTTL / 3)
	defer every.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
		began := time.Now()
		try, cancel := context.WithTimeout(ctx, leaseTTL/3)
		err := lease.Renew(try)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			renewed = began
		case errors.Is(err, domain.ErrLeaseTaken):
			return errLeaseLost
		case time.Since(renewed) >= leaseTTL:
			return errLeaseStale
		}
	}
}

func (s *Subscriber) release(ctx context.Context, lease domain.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := lease.Release(ctx); err != nil && !errors.Is(err, domain.ErrLeaseTaken) {
		s.logger.Debug("the lease was not given back and runs out by itself", "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
