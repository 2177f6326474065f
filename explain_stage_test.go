package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/taskertest"
)

// faulty is a store in memory whose leases are not renewed, or whose log is slow to read, when a test says so.
type faulty struct {
	*memlog.Store
	keepsNot atomic.Bool                   // leases are not renewed
	scan     atomic.Pointer[chan struct{}] // the next Scan waits for it
	read     atomic.Pointer[func()]        // is called by the next Read
	follow   atomic.Pointer[chan struct{}] // whoever follows the log waits for it
}

func (f *faulty) Leases() domain.Leases { return faultyLeases{f.Store.Leases(), f} }

func (f *faulty) Log(partition int) domain.Log { return faultyLog{f.Store.Log(partition), f} }

type faultyLeases struct {
	domain.Leases
	f *faulty
}

func (l faultyLeases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	held, err := l.Leases.Acquire(ctx, name, holder, ttl)
	return faultyLease{held, l.f}, err
}

type faultyLease struct {
	domain.Lease
	f *faulty
}

func (l faultyLease) Renew(ctx context.Context) error {
	if l.f.keepsNot.Load() {
		return domain.ErrUnavailable
	}
	return l.Lease.Renew(ctx)
}

type faultyLog struct {
	domain.Log
	f *faulty
}

func (l faultyLog) Scan(ctx context.Context, from uint64, each func(domain.Message) error) error {
	if wait := l.f.scan.Swap(nil); wait != nil {
		<-*wait
	}
	return l.Log.Scan(ctx, from, each)
}

func (l faultyLog) Follow(ctx context.Context, from uint64, each func(domain.Message) error) error {
	return l.Log.Follow(ctx, from, func(m domain.Message) error {
		if wait := l.f.follow.Load(); wait != nil {
			select {
			case <-*wait:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return each(m)
	})
}

func (l faultyLog) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	if before := l.f.read.Swap(nil); before != nil {
		(*before)()
	}
	return l.Log.Read(ctx, sequence)
}

// stage is where a reason is caused.
type stage struct {
	*taskertest.Engine
	t     *testing.T
	store *faulty
	ask   explainer     // who is asked; default the engine
	hold  chan struct{} // the handlers "holds" wait for it
	undo  []func()      // before the engine is stopped

	submitted int
}

func (s *stage) submit(name string) tasker.TaskID {
	s.t.Helper()
	// A key: where the log is asked, an id that another test's virtual time has sent ahead would not be found.
	s.submitted++
	id := s.MustSubmit(name, nil, tasker.Key(fmt.Sprint(name, s.submitted)))
	s.Settle()
	return id
}

func (s *stage) must(_ tasker.VerbReceipt, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// plays are the workflows of the stage.
func (s *stage) plays() {
	handler := func(f func(ctx context.Context) (any, error)) tasker.StepHandler {
		return tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
			return f(ctx)
		})
	}
	fails := handler(func(context.Context) (any, error) { return nil, tasker.Permanent(errors.New("printer on fire")) })
	later := handler(func(context.Context) (any, error) { return nil, tasker.RetryAfter(time.Hour, errors.New("closed")) })
	waits := handler(func(ctx context.Context) (any, error) { <-ctx.Done(); return nil, context.Cause(ctx) })
	holds := handler(func(context.Context) (any, error) { <-s.hold; return 1, nil })
	well := handler(func(context.Context) (any, error) { return 1, nil })
	day := tasker.Timeout(24 * time.Hour)
	s.MustHandle("few", holds)
	s.MustRegister(
		tasker.Define("fails").Step("one", fails).Step("two", well, tasker.After("one")).MustBuild(),
		tasker.Define("retries").Step("one", later).Step("two", well, tasker.After("one")).MustBuild(),
		tasker.Define("waits").Step("one", waits, day).Step("two", well, tasker.After("one")).Step("aside", waits, day).MustBuild(),
		tasker.Define("holds").Step("one", holds, day).MustBuild(),
		tasker.Define("well").Step("one", well).MustBuild(),
		tasker.Define("silent").Step("one", waits, day, tasker.HeartbeatTimeout(time.Hour)).MustBuild(),
		tasker.Define("late").Deadline(time.Minute).Step("one", waits, day).MustBuild(),
		tasker.Define("sleeps").StepNamed("nap", domain.SleepHandler, tasker.HandlerConfig(map[string]string{"duration": "1h"})).MustBuild(),
		tasker.Define("stops").StopOnFailure().Step("a", holds, day).Step("b", fails).Step("c", well, tasker.After("a")).Step("d", waits, day).MustBuild(),
		tasker.Define("someday").StepNamed("one", "someday").MustBuild(),
		tasker.Define("few").StepNamed("one", "few").MustBuild(),
		tasker.Define("deaf").Step("one", holds, tasker.Timeout(time.Second), tasker.Retries(1)).MustBuild(),
	)
}

// lastOf is the newest commit of a task, also of what its engine did when it stopped.
func (s *stage) lastOf(task *tasker.Task) uint64 {
	s.t.Helper()
	h, err := s.client().History(s.t.Context(), task.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return h.Events[len(h.Events)-1].Position.Sequence
}

// client is another process that asks.
func (s *stage) client() *tasker.Client {
	s.t.Helper()
	c, err := tasker.NewClient(s.t.Context(), tasker.Config{Store: s.store})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// another engine on the store.
func (s *stage) another(store domain.Store) *tasker.Engine {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	e, err := tasker.New(ctx, tasker.Config{Store: store, Name: "another", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	s.undo = append(s.undo, func() {
		stop()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	return e
}
