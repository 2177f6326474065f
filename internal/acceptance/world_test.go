package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/internal/cut"
)

// world is where a case runs: an engine on a log, and its time.
type world struct {
	*tasker.Engine
	t       *testing.T
	virtual bool
	second  time.Duration // what a second of a handler's time takes here
	store   domain.Store
	line    *cut.Store
	ahead   atomic.Int64 // of the engine's clock, on the real log

	change   []func(*tasker.Config)
	register []func(*tasker.Engine) error
	stop     context.CancelFunc
	ended    chan error

	mu    sync.Mutex
	calls []call
	tasks []tasker.TaskID
}

// call is one call of a handler.
type call struct {
	task    tasker.TaskID
	step    string
	attempt int
	at      time.Time
}

// both runs the case in both worlds.
func both(t *testing.T, test func(w *world), change ...func(*tasker.Config)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, virtual: true, second: time.Second, store: memlog.New(memlog.Options{}), change: change}
			w.run(test)
		})
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		onNATS(t, test, change)
	})
}

func onNATS(t *testing.T, test func(w *world), change []func(*tasker.Config), options ...natsservertest.Option) {
	server := natsservertest.Single(t, options...)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	store, err := natslog.Open(ctx, natslog.Options{Connect: server.Connect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	w := &world{t: t, second: 50 * time.Millisecond, store: store, change: change}
	w.run(test)
}

func (w *world) run(test func(*world)) {
	w.start()
	defer w.end()
	test(w)
}

func (w *world) start() {
	w.t.Helper()
	w.line = cut.New(w.store)
	config := tasker.Config{
		Store: w.line, Name: "acceptance", Drain: 3 * time.Second, Clock: w.now,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range w.change {
		f(&config)
	}
	ctx, stop := context.WithCancel(context.Background())
	engine, err := tasker.New(ctx, config)
	if err != nil {
		stop()
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	w.Engine, w.stop, w.ended = engine, stop, ended
	for _, f := range w.register {
		if err := f(engine); err != nil {
			w.t.Fatal(err)
		}
	}
	go func() { ended <- engine.Run(ctx) }()
	w.owning()
}

// owning waits until the engine owns every partition.
func (w *world) owning() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	for {
		_, err := w.Tasks(ctx, tasker.Filter{Limit: 1})
		if err == nil {
			return
		}
		// ErrUnavailable: the question went to the engine that was killed.
		again := errors.Is(err, tasker.ErrNoOwner) || errors.Is(err, tasker.ErrNotRunning) || errors.Is(err, tasker.ErrUnavailable)
		if ctx.Err() != nil || !again {
			w.t.Fatalf("the engine does not start: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
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

// reach advances to a time, if it is ahead.
func (w *world) reach(at domain.Instant) {
	if d := at.Time().Sub(w.now()); d > 0 {
		w.advance(d)
	}
}

// settle waits until everything that is due has happened and is stored. Handlers may be running.
func (w *world) settle() {
	w.t.Helper()
	if w.virtual {
		synctest.Wait()
		return
	}
	// The question wakes every coordinator up and is answered behind all that it knows.
	if _, err := w.Tasks(context.Background(), tasker.Filter{Limit: 1}); err != nil {
		w.t.Error(err)
	}
}

func (w *world) halt() {
	w.t.Helper()
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	if err := <-w.ended; err != nil {
		w.t.Errorf("the engine ended with an error: %v", err)
	}
}

// restart stops the engine and starts another on the same log.
func (w *world) restart() {
	w.t.Helper()
	w.halt()
	w.quiet(w.Engine)
	w.ahead.Store(0)
	w.start()
}

// crash kills the engine and starts another on the same log.
func (w *world) crash() {
	w.t.Helper()
	dead, ended := w.Engine, w.ended
	w.line.Cut()
	w.stop()
	w.stop = nil
	w.ahead.Store(0)
	w.start()
	if err := <-ended; err != nil {
		w.t.Errorf("the dead engine ended with an error: %v", err)
	}
	w.quiet(dead)
}

// quiet waits for handlers that ignore their context.
func (w *world) quiet(e *tasker.Engine) {
	for e.Stats().Executor.Leaked > 0 {
		time.Sleep(w.second / 10)
	}
}

func (w *world) remember(f func(*tasker.Engine) error) {
	w.t.Helper()
	if err := f(w.Engine); err != nil {
		w.t.Fatal(err)
	}
	w.register = append(w.register, f)
}

func (w *world) add(items ...any) {
	w.t.Helper()
	w.remember(func(e *tasker.Engine) error { return e.Register(items...) })
}

func (w *world) handle(name string, h tasker.StepHandler) {
	w.t.Helper()
	w.remember(func(e *tasker.Engine) error { return e.Handler(name, h) })
}

func (w *world) submit(name string, input any, options ...tasker.SubmitOption) tasker.TaskID {
	w.t.Helper()
	r, err := w.Submit(context.Background(), name, input, options...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.tasks = append(w.tasks, r.ID)
	w.mu.Unlock()
	return r.ID
}

// wait waits for the end of a task's run. On the real log it lets time pass whenever the task waits for it.
func (w *world) wait(id tasker.TaskID) (tasker.Result, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	if !w.virtual {
		var driver sync.WaitGroup
		defer driver.Wait()
		follow, stop := context.WithCancel(ctx)
		defer stop()
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
	}
	r, err := w.Wait(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		w.t.Fatalf("task %s does not end: %v", id, w.trace(id))
	}
	return r, err
}

// complete waits until the task is complete.
func (w *world) complete(id tasker.TaskID) tasker.Result {
	w.t.Helper()
	r, err := w.wait(id)
	if err != nil {
		w.t.Fatalf("%v; %v", err, w.trace(id))
	}
	return r
}

// fail waits until the task has ended otherwise.
func (w *world) fail(id tasker.TaskID) tasker.TaskFailedError {
	w.t.Helper()
	_, err := w.wait(id)
	var failed *tasker.TaskFailedError
	if !errors.As(err, &failed) {
		w.t.Fatalf("the task ended with %v; %v", err, w.trace(id))
	}
	return *failed
}

// runs submits a task and waits until it is complete.
func (w *world) runs(name string, input any, options ...tasker.SubmitOption) (tasker.TaskID, tasker.Result) {
	w.t.Helper()
	id := w.submit(name, input, options...)
	return id, w.complete(id)
}

// until follows the task's events until done says so.
func (w *world) until(id tasker.TaskID, what string, done func(all []tasker.Event) bool) []tasker.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	var all []tasker.Event
	for r, err := range w.Replay(ctx, tasker.ReplayOptions{Task: id, Follow: true}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if all = append(all, r); done(all) {
			w.settle()
			return all
		}
	}
	w.t.Fatalf("waited in vain for %s: %v", what, lines(all))
	return nil
}

// untilType follows the task's events until one of that type.
func (w *world) untilType(id tasker.TaskID, want tasker.EventType) tasker.Event {
	w.t.Helper()
	all := w.until(id, string(want), func(all []tasker.Event) bool { return all[len(all)-1].Event.Type() == want })
	return all[len(all)-1]
}

func (w *world) records(id tasker.TaskID) []tasker.Event {
	w.t.Helper()
	w.settle()
	var all []tasker.Event
	for r, err := range w.Replay(context.Background(), tasker.ReplayOptions{Task: id}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func (w *world) trace(id tasker.TaskID) []string { w.t.Helper(); return lines(w.records(id)) }

// lines says "type step attempt" of each event.
func lines(records []tasker.Event) []string {
	out := []string{}
	for _, r := range records {
		line := string(r.Event.Type())
		if s, ok := r.Event.(domain.StepEvent); ok {
			line += " " + s.StepName()
			if s.AttemptNumber() > 0 {
				line += fmt.Sprintf(" %d", s.AttemptNumber())
			}
		}
		out = append(out, line)
	}
	return out
}

func (w *world) task(id tasker.TaskID) *tasker.Task {
	w.t.Helper()
	task, err := w.Task(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return task
}

func (w *world) step(id tasker.TaskID, name string) tasker.Step {
	w.t.Helper()
	for _, s := range w.task(id).Steps {
		if s.Name == name {
			return s
		}
	}
	w.t.Fatalf("no step %q", name)
	return tasker.Step{}
}

// verb sends an operator's verb, as another process does.
func (w *world) verb(id tasker.TaskID, name string, fields map[string]any) error {
	w.t.Helper()
	verb := map[string]any{"name": name, "by": "ann"}
	for k, v := range fields {
		verb[k] = v
	}
	request, err := json.Marshal(map[string]any{"op": "verb", "task": id, "verb": verb})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.patience())
	defer cancel()
	answer, err := w.line.Request(ctx, id.Partition(w.Info().Partitions), request)
	if err != nil {
		w.t.Fatal(err)
	}
	var response struct{ Error *struct{ Message string } }
	if err := json.Unmarshal(answer, &response); err != nil {
		w.t.Fatal(err)
	}
	if response.Error != nil {
		return errors.New(response.Error.Message)
	}
	return nil
}

// called notes a call of a handler, and returns how many there were of the step.
func (w *world) called(task tasker.TaskView, step tasker.StepView) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call{task.ID, step.Name, step.Attempt, w.now()})
	n := 0
	for _, c := range w.calls {
		if c.task == task.ID && c.step == step.Name {
			n++
		}
	}
	return n
}

// of lists the calls of a step of a task.
func (w *world) of(id tasker.TaskID, step string) []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []call
	for _, c := range w.calls {
		if c.task == id && (c.step == step || step == "") {
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
