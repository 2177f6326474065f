package subscribers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/finalizer"
	"github.com/tasker-go/tasker/subscribers/reenqueuer"
)

// owner is a process: a coordinator, slots, and handlers that end as the test says.
type owner struct {
	t     *testing.T
	c     *Coordinator
	stop  context.CancelFunc
	ended chan struct{}

	mu        sync.Mutex
	slots     int
	free      int
	auto      bool // handlers complete at once
	running   map[running]bool
	starts    []string
	abandoned int
	withdrawn int
}

type running struct {
	task    domain.TaskID
	step    int
	attempt int
}

// startOwner starts a coordinator of partition 0. It is stopped at the end of the test.
func startOwner(t *testing.T, store domain.Store, name string, change func(*Config, *owner)) *owner {
	t.Helper()
	w := &owner{t: t, slots: 1 << 30, auto: true, running: map[running]bool{}, ended: make(chan struct{})}
	config := Config{
		Store: store, Holder: name, Engine: "test",
		NewReactors: func() []Reactor {
			return []Reactor{reenqueuer.Reenqueuer{}, finalizer.Finalizer{}, discoverer.New(w)}
		},
		Subscribers: []Subscriber{w},
		Abandoned: func(int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.abandoned++
			w.free += len(w.running)
			clear(w.running)
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&config, w)
	}
	w.free = w.slots
	w.c = NewCoordinator(config)
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		defer close(w.ended)
		if err := w.c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-w.ended
	})
	return w
}

func (w *owner) Take(*domain.Definition, int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free == 0 {
		return false
	}
	w.free--
	return true
}

func (*owner) Name() string { return "handlers" }

func (*owner) SubscribesTo() []domain.EventType {
	return []domain.EventType{domain.StepExecutionRequestedType}
}

func (w *owner) Notify(c Committed) {
	e := c.Record.Event.(domain.StepExecutionRequested)
	if e.Until != 0 {
		return
	}
	x := running{c.Record.Task, c.Task.Definition.Graph().Index(e.Step), e.Attempt}
	w.mu.Lock()
	w.running[x] = true
	w.starts = append(w.starts, e.Step)
	auto := w.auto
	w.mu.Unlock()
	if auto {
		go w.end(x)
	}
}

func (w *owner) Withdraw(Committed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.withdrawn++
	w.free++
}

// end ends an execution well, if it is still running.
func (w *owner) end(x running) {
	w.mu.Lock()
	is := w.running[x]
	if is {
		delete(w.running, x)
		w.free++
	}
	w.mu.Unlock()
	if !is {
		return
	}
	w.c.Report(x.task, domain.CompleteStep{Step: x.step, Attempt: x.attempt, Result: domain.Inline(json.RawMessage("1"))})
	w.c.Resume()
}

// endAll ends what runs.
func (w *owner) endAll() {
	w.mu.Lock()
	var all []running
	for x := range w.running {
		all = append(all, x)
	}
	w.mu.Unlock()
	for _, x := range all {
		w.end(x)
	}
}

func (w *owner) own() {
	w.t.Helper()
	for range 10_000 {
		if p, _ := w.c.Phase(); p == Owning {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p, err := w.c.Phase()
	w.t.Fatalf("the partition is not owned: %s %v", p, err)
}

// answer is what came of a request.
type answer struct {
	Answer
	refused bool // by the call itself
}

// submit hands in a task; the channel gets every answer.
func (w *owner) submit(d *domain.Definition, n int) <-chan answer { return w.submitID(d, taskID(n)) }

func (w *owner) submitID(d *domain.Definition, id domain.TaskID) <-chan answer {
	answers := make(chan answer, 4)
	err := w.c.Submit(d, domain.CreateTask{ID: id, Context: domain.Inline(json.RawMessage("{}"))}, func(a Answer) { answers <- answer{Answer: a} })
	if err != nil {
		answers <- answer{Answer{Task: id, Err: err}, true}
	}
	return answers
}

func (w *owner) must(answers <-chan answer) Answer {
	w.t.Helper()
	a := <-answers
	if a.Err != nil {
		w.t.Fatal(a.Err)
	}
	return a.Answer
}

// look returns the task's state, nil when it is not in memory.
func (w *owner) look(id domain.TaskID) (*domain.Task, error) {
	type seen struct {
		t   *domain.Task
		err error
	}
	answers := make(chan seen, 2)
	if err := w.c.Look(id, func(t *domain.Task, err error) { answers <- seen{t, err} }); err != nil {
		return nil, err
	}
	s := <-answers
	return s.t, s.err
}

func (w *owner) await(id domain.TaskID) <-chan Outcome {
	ends := make(chan Outcome, 4)
	if err := w.c.Await(nil, id, func(o Outcome, err error) {
		if err != nil {
			w.t.Errorf("await: %v", err)
		}
		ends <- o
	}); err != nil {
		w.t.Errorf("await: %v", err)
	}
	return ends
}

// bubble runs a test on virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func only(t *testing.T, answers <-chan answer) answer {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-answers:
		select {
		case b := <-answers:
			t.Fatalf("two answers: %+v and %+v", a, b)
		default:
		}
		return a
	default:
		t.Fatal("no answer")
		return answer{}
	}
}

var errTest = errors.New("test")

func newStore() *memlog.Store { return memlog.New(memlog.Options{Delay: time.Millisecond}) }

// awayLeases counts who asks, and cannot be reached when told so.
type awayLeases struct {
	domain.Leases
	mu   sync.Mutex
	away bool
	n    int
}

func (l *awayLeases) set(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

func (l *awayLeases) asks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

func (l *awayLeases) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return l.away
}

func (l *awayLeases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	if l.gone() {
		return nil, errTest
	}
	lease, err := l.Leases.Acquire(ctx, name, holder, ttl)
	return &awayLease{lease, l}, err
}

type awayLease struct {
	domain.Lease
	leases *awayLeases
}

func (l *awayLease) Renew(ctx context.Context) error {
	if l.leases.gone() {
		return errTest
	}
	return l.Lease.Renew(ctx)
}

// leaseStore is a store with leases of its own kind.
type leaseStore struct {
	*memlog.Store
	leases domain.Leases
}

func (s *leaseStore) Leases() domain.Leases { return s.leases }
