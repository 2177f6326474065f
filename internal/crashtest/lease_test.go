package crashtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// lamedStore is a store whose leases cannot be renewed while lame is set; everything else works, so that nothing but the
// rule about leases keeps the owner from acting.
type lamedStore struct {
	*natslog.Store
	lame atomic.Bool
}

type lamedLeases struct {
	domain.Leases
	store *lamedStore
}

type lamedLease struct {
	domain.Lease
	store *lamedStore
}

func (s *lamedStore) Leases() domain.Leases { return lamedLeases{s.Store.Leases(), s} }

func (l lamedLeases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	a, err := l.Leases.Acquire(ctx, name, holder, ttl)
	return lamedLease{a, l.store}, err
}

func (l lamedLease) Renew(ctx context.Context) error {
	if l.store.lame.Load() {
		return fmt.Errorf("lame: %w", domain.ErrUnavailable)
	}
	return l.Lease.Renew(ctx)
}

// DESIGN 5, leases: at two thirds of the ttl without renewal nothing is answered and no handler starts; at the ttl the
// contexts of running handlers end. When it is renewed after all, everything goes on.
func TestOwnerWithoutLeaseDoesNothing(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	srv := single(t)
	store := &lamedStore{Store: openStore(t, srv.Connect)}
	var starts atomic.Int64
	ended := make(chan time.Time, 10)
	h := step(func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
		starts.Add(1)
		if strings.Contains(string(task.Context), "wait") && s.Attempt == 1 {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), executor.ErrPartitionLost) {
				t.Errorf("the context ended with %v", context.Cause(ctx))
			}
			ended <- time.Now()
			return nil, context.Cause(ctx)
		}
		return 1, nil
	})
	e := run(t, tasker.Config{Store: store, LeaseTTL: ttl}, one("single", h))
	eventually(t, "both partitions", func() bool { return owns(e) == 2 })
	var ids [2]tasker.TaskID
	for p := range ids { // one in each partition
		ids[p] = idIn(p)
		if _, err := e.Submit(t.Context(), "single", map[string]bool{"wait": true}, tasker.WithID(ids[p])); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "them to run", func() bool { return starts.Load() == 2 })
	store.lame.Store(true)
	lame := time.Now() // the last renewal was at most ttl/3 earlier
	began := starts.Load()
	time.Sleep(ttl*2/3 + 50*time.Millisecond) // the lease ages

	// Whatever an answer rests on: a new task, a duplicate, a query.
	answers := make(chan string, 10)
	ask := func(what string, f func(context.Context) error) {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
			defer cancel()
			if err := f(ctx); err == nil {
				answers <- what
			} else {
				answers <- ""
			}
		}()
	}
	for range 4 {
		ask("a submission", func(ctx context.Context) error { _, err := e.Submit(ctx, "single", nil); return err })
	}
	ask("a duplicate", func(ctx context.Context) error {
		_, err := e.Submit(ctx, "single", nil, tasker.WithID(ids[0]))
		return err
	})
	ask("a query", func(ctx context.Context) error { _, err := e.Task(ctx, ids[0]); return err })
	for range 6 {
		if what := <-answers; what != "" {
			t.Errorf("%s was answered without a lease", what)
		}
	}
	for range 2 {
		select {
		case at := <-ended:
			if age := at.Sub(lame); age < ttl*2/3-100*time.Millisecond || age > 2*ttl {
				t.Errorf("a context ended %s after the lease could not be renewed any more, its ttl is %s", age, ttl)
			}
		case <-time.After(patience):
			t.Fatal("the contexts of running handlers do not end")
		}
	}
	if n := starts.Load(); n != began {
		t.Errorf("%d handlers started without a lease", n-began)
	}
	store.lame.Store(false)
	waitAll(t, e.Engine, ids[:])
	e.end(t)
	l := read(t, store)
	l.ended()
	l.report(t)
}
