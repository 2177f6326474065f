package memlog

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// leases implements domain.Leases.
type leases struct{ store *Store }

// lease implements domain.Lease. Its fields are guarded by the store's lock.
type lease struct {
	store        *Store
	name, holder string
	ttl          time.Duration
	until        time.Time
}

// held returns the lease that is held under a name now. It must be called with the lock held.
func (s *Store) held(name string) *lease {
	l := s.leases[name]
	if l == nil || !s.opts.Clock().Before(l.until) {
		return nil
	}
	return l
}

// Acquire implements domain.Leases.
func (l leases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("acquiring lease %s: %w", name, err)
	}
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.held(name); other != nil {
		return nil, fmt.Errorf("acquiring lease %s: %w: %s", name, domain.ErrLeaseTaken, other.holder)
	}
	a := &lease{store: s, name: name, holder: holder, ttl: ttl, until: s.opts.Clock().Add(ttl)}
	s.leases[name] = a
	return a, nil
}

// Renew implements domain.Lease. A lease that ran out and that nobody has is taken again.
func (l *lease) Renew(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("renewing lease %s: %w", l.name, err)
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if other := l.store.held(l.name); other != nil && other != l {
		return fmt.Errorf("renewing lease %s: %w: %s", l.name, domain.ErrLeaseTaken, other.holder)
	}
	l.until = l.store.opts.Clock().Add(l.ttl)
	l.store.leases[l.name] = l
	return nil
}

// Release implements domain.Lease.
func (l *lease) Release(context.Context) error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.store.leases[l.name] == l {
		delete(l.store.leases, l.name)
	}
	return nil
}

// Expire ends a lease at once, whoever holds it, as if its holder had been silent for its ttl.
func (s *Store) Expire(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, name)
}
