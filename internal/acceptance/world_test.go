package acceptance

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// world is where a case runs: engines on a log, one after the other, and their time.
type world struct {
	setup
	t       *testing.T
	virtual bool
	second  time.Duration // what a second of a handler's time takes here
	store   domain.Store
	ahead   atomic.Int64 // of the engine's clock, on the real log

	killAt  int64        // the engine is killed when it has stored so many commits; 0 = never
	commits atomic.Int64 // stored by all engines
	killed  atomic.Bool
	deaths  sync.WaitGroup

	mu       sync.Mutex
	life     *life
	register []func(*tasker.Engine) error

	excused []string         // see differs
	ignored []*regexp.Regexp // see ignores

	notes sync.Mutex
	calls []call
	tasks []tasker.TaskID
}

// setup is what a case wants of its world.
type setup struct {
	config  []func(*tasker.Config)
	sampled bool // crashes after some of its commits instead of after each
	large   bool // the same, and none of them under the race detector
}

type option func(*setup)

// configured changes the engine's Config.
func configured(f func(*tasker.Config)) option {
	return func(s *setup) { s.config = append(s.config, f) }
}

// sampled is for cases with a thousand steps or tasks.
func sampled(s *setup) { s.sampled = true }

// large is for one with ten thousand.
func large(s *setup) { s.sampled, s.large = true, true }

// call is one call of a handler.
type call struct {
	task    tasker.TaskID
	step    string
	attempt int
	round   int
	key     string
}

// calm reports that no crash was planned. In a run with one, cases look at what is left without it, see healed, and leave out
// what they say of times and commits.
func (w *world) calm() bool { return w.killAt == 0 }

// both runs the case in both worlds: as it is, and once for each of its commits with a crash right after that one was stored, or for
// some of them. The outcome has to be the same.
func both(t *testing.T, test func(w *world), options ...option) {
	t.Helper()
	t.Parallel()
	var s setup
	for _, o := range options {
		o(&s)
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		run := func(killAt int64) (*world, string) {
			w := &world{setup: s, virtual: true, second: time.Second, store: memlog.New(memlog.Options{}), killAt: killAt}
			var outcome string
			synctest.Test(t, func(t *testing.T) {
				w.t = t
				outcome = w.run(test)
			})
			return w, outcome
		}
		calm, want := run(0)
		if s.large && raced {
			return
		}
		last := calm.commits.Load()
		for k := int64(1); !t.Failed(); k++ {
			if s.sampled {
				if k = sample(k, last); k > last {
					break
				}
			}
			w, got := run(k)
			if !w.killed.Load() {
				break // the run was over before
			}
			compare(t, k, want, got)
		}
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		onNATS(t, test, s)
	})
}

// sample is the first of the chosen commits from k on: the second, the middle and the last; the middle alone under the race
// detector.
func sample(k, last int64) int64 {
	chosen := []int64{2, last / 2, last}
	if raced {
		chosen = chosen[1:2]
	}
	for _, c := range chosen {
		if k <= c {
			return c
		}
	}
	return last + 1
}

func onNATS(t *testing.T, test func(w *world), s setup, options ...natsservertest.Option) {
	server := natsservertest.Single(t, options...)
	run := func(killAt int64) (*world, string) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		store, err := natslog.Open(ctx, natslog.Options{Connect: server.Connect, Prefix: fmt.Sprintf("RUN%d", killAt)})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		w := &world{setup: s, t: t, second: 200 * time.Millisecond, killAt: killAt}
		w.store = serverTime{store, w}
		return w, w.run(test)
	}
	calm, want := run(0)
	if t.Failed() || s.sampled && raced {
		return
	}
	// One of the commits; another one in each case, and always the same.
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.Name()))
	k := 1 + int64(h.Sum32())%calm.commits.Load()
	if w, got := run(k); w.killed.Load() {
		compare(t, k, want, got)
	}
}

// serverTime is a store whose server's clock is as far ahead as the engine's.
type serverTime struct {
	*natslog.Store
	w *world
}

func (s serverTime) Clock(ctx context.Context) (time.Time, error) {
	now, err := s.Store.Clock(ctx)
	return now.Add(time.Duration(s.w.ahead.Load())), err
}

func compare(t *testing.T, k int64, want, got string) {
	t.Helper()
	switch {
	case t.Failed():
		t.Errorf("that was with a crash after commit %d", k)
	case got != want:
		t.Errorf("with a crash after commit %d the outcome is another (-without +with):\n%s", k,
			cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
	}
}

func (w *world) run(test func(*world)) (outcome string) {
	w.mu.Lock()
	w.begin()
	w.mu.Unlock()
	defer w.deaths.Wait()
	defer func() { outcome = w.end() }()
	test(w)
	return
}

// patience is how long anything may take before the case has failed.
func (w *world) patience() time.Duration {
	if w.virtual {
		return 31 * 24 * time.Hour
	}
	return 60 * time.Second
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// advance lets the engine's time pass, and everything happen that it brings.
func (w *world) advance(d time.Duration) {
	w.t.Helper()
	if w.virtual {
		time.Sleep(d)
	} else {
		w.ahead.Add(int64(d))
	}
	w.settle()
}

// drive lets time pass on the real log whenever the task waits for it, until stop is called.
func (w *world) drive(ctx context.Context, id tasker.TaskID) (stop func()) {
	if w.virtual {
		return func() {}
	}
	follow, cancel := context.WithCancel(ctx)
	var driver sync.WaitGroup
	driver.Go(func() {
		for r, err := range w.Replay(follow, tasker.ReplayOptions{Task: id, Follow: true}) {
			if err != nil {
				return
			}
			if d, ok := r.Event.(domain.TaskDelayed); ok {
				w.reach(d.Until)
			}
		}
	})
	return func() {
		cancel()
		driver.Wait()
	}
}

// reach advances to a time, if it is ahead.
func (w *world) reach(at domain.Instant) {
	if d := at.Time().Sub(w.now()); d > 0 {
		w.advance(d)
	}
}

// anyLive asks the owners for something that they have at hand.
var anyLive = tasker.Filter{States: []domain.State{domain.Pending}, Limit: 1}

// settle waits until everything that is due has happened and is stored. Handlers may be running.
func (w *world) settle() {
	w.t.Helper()
	if w.virtual {
		synctest.Wait()
		return
	}
	// The question wakes every coordinator up and is answered behind all that it knows.
	if _, err := again(context.Background(), w, func(ctx context.Context, e *tasker.Engine) ([]tasker.Task, error) {
		return e.Tasks(ctx, anyLive)
	}); err != nil {
		w.t.Error(err)
	}
}

// called notes a call of a handler.
func (w *world) called(task tasker.TaskView, step tasker.StepView) {
	w.notes.Lock()
	defer w.notes.Unlock()
	w.calls = append(w.calls, call{task.ID, step.Name, step.Attempt, step.Round, step.IdempotencyKey})
}

// of lists the calls of a step of a task, of all its steps when step is "", without those that the crash cost.
func (w *world) of(id tasker.TaskID, step string) []call {
	w.t.Helper()
	var gone losses
	if !w.calm() {
		gone = lost(w.raw(id))
	}
	w.notes.Lock()
	defer w.notes.Unlock()
	var list []call
	for _, c := range w.calls {
		if c.task == id && (c.step == step || step == "") && !gone.has(c.step, c.attempt) {
			list = append(list, c)
		}
	}
	return list
}

// receive takes a value from a channel, in time.
func receive[T any](w *world, ch <-chan T, what string) T {
	w.t.Helper()
	timer := time.NewTimer(w.patience())
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		w.t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// meeting is where handlers wait for each other: it ends only when n of them run at the same time.
type meeting struct {
	n    int
	mu   sync.Mutex
	all  chan struct{}
	here int
}

func meet(n int) *meeting { return &meeting{n: n, all: make(chan struct{})} }

func (m *meeting) join(ctx context.Context) error {
	m.mu.Lock()
	if m.here++; m.here == m.n {
		close(m.all)
	}
	m.mu.Unlock()
	select {
	case <-m.all:
		return nil
	case <-ctx.Done():
		return tasker.Permanent(errors.New("the other one never ran at the same time"))
	}
}

// flag is raised once, however often a handler runs.
type flag struct {
	once sync.Once
	up   chan struct{}
}

func newFlag() *flag { return &flag{up: make(chan struct{})} }

func (f *flag) raise() { f.once.Do(func() { close(f.up) }) }
