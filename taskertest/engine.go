package taskertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/internal/cut"
)

// Patience is how much virtual time MustWait gives a task, and the end of a test gives handlers that ignore their
// context.
const Patience = 31 * 24 * time.Hour

// leaseTTL is longer than the engine's default, because every renewal is work for a test in which months pass.
const leaseTTL = time.Minute

// Engine is a tasker.Engine that runs on a log in memory. The methods that begin with Must fail the test instead of
// returning an error; use them from the test's own goroutine.
type Engine struct {
	*tasker.Engine
	// Store is the log, with its faults; see package memlog.
	Store *memlog.Store

	t        *testing.T
	change   []func(*tasker.Config)
	register []func(*tasker.Engine) error
	line     *cut.Store
	stop     context.CancelFunc
	ended    chan error

	wrapped map[*tasker.Workflow]*tasker.Workflow
	mu      sync.Mutex // guards what follows
	stubs   map[*tasker.Workflow]map[string]tasker.StepHandler
}

// Run runs a test in a synctest bubble, with an engine that is running and owns the whole log. Time in the bubble is
// virtual: it stands still while anything runs, and jumps to the next timer when everything waits. change changes the
// engine's Config before it starts. The engine is stopped at the end; a handler that is still running then holds the
// test up until it returns, at most for Patience.
func Run(t *testing.T, test func(t *testing.T, e *Engine), change ...func(*tasker.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{
			Store: memlog.New(memlog.Options{}), t: t, change: change,
			wrapped: map[*tasker.Workflow]*tasker.Workflow{}, stubs: map[*tasker.Workflow]map[string]tasker.StepHandler{},
		}
		e.start()
		defer e.end()
		test(t, e)
	})
}

func (e *Engine) start() {
	e.t.Helper()
	e.line = cut.New(e.Store)
	config := tasker.Config{
		Store: e.line, Name: "taskertest", Drain: time.Minute, LeaseTTL: leaseTTL,
		Logger: slog.New(slog.NewTextHandler(e.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range e.change {
		f(&config)
	}
	ctx, stop := context.WithCancel(context.Background())
	engine, err := tasker.New(ctx, config)
	if err != nil {
		stop()
		e.t.Fatal(err)
	}
	ended := make(chan error, 1)
	e.Engine, e.stop, e.ended = engine, stop, ended
	for _, f := range e.register {
		if err := f(engine); err != nil {
			e.t.Fatal(err)
		}
	}
	go func() { ended <- engine.Run(ctx) }()
	select {
	case <-engine.Ready():
	case err := <-ended:
		e.stop = nil
		e.t.Fatalf("the engine did not start: %v", err)
	}
}

// Stop stops the engine as a regular end of its process does: running handlers may end.
func (e *Engine) Stop() {
	e.t.Helper()
	if e.stop == nil {
		return
	}
	e.stop()
	e.stop = nil
	if err := <-e.ended; err != nil {
		e.t.Errorf("the engine ended with an error: %v", err)
	}
}

// Restart stops the engine and starts another one on the same log, with the same definitions and handlers.
func (e *Engine) Restart() {
	e.t.Helper()
	e.Stop()
	e.quiet(e.Engine)
	e.start()
}

// Crash kills the engine and starts another one on the same log, with the same definitions and handlers: what was not
// stored is lost, nobody hears of it, and the new engine has to wait until the lease of the dead one has run out (a minute).
// In the dead engine, the contexts of running handlers end in that time; what they return goes nowhere.
func (e *Engine) Crash() {
	e.t.Helper()
	dead, ended := e.Engine, e.ended
	e.line.Cut()
	e.stop()
	e.stop = nil
	e.start()
	if err := <-ended; err != nil {
		e.t.Errorf("the dead engine ended with an error: %v", err)
	}
	e.quiet(dead)
}

// end stops the engine and waits for handlers that ignore their context: a bubble must not end before its goroutines.
func (e *Engine) end() {
	e.t.Helper()
	e.Stop()
	e.quiet(e.Engine)
}

func (e *Engine) quiet(engine *tasker.Engine) {
	e.t.Helper()
	for waited := time.Duration(0); engine.Stats().Executor.Leaked > 0; {
		if waited > Patience {
			e.t.Errorf("handlers are still running: they ignore their context")
			return
		}
		time.Sleep(time.Second)
		waited += time.Second
	}
}

func (e *Engine) remember(f func(*tasker.Engine) error) {
	e.t.Helper()
	if err := f(e.Engine); err != nil {
		e.t.Fatal(err)
	}
	e.register = append(e.register, f)
}

// MustRegister registers workflows and definitions, also with the engines that Restart and Crash start.
func (e *Engine) MustRegister(items ...any) {
	e.t.Helper()
	items = e.stubbable(items)
	e.remember(func(to *tasker.Engine) error { return to.Register(items...) })
}

// MustHandle registers a step handler by name, also with the engines that Restart and Crash start.
func (e *Engine) MustHandle(name string, h tasker.StepHandler) {
	e.t.Helper()
	e.remember(func(to *tasker.Engine) error { return to.Handler(name, h) })
}

// MustHandleTask registers the task handler of every version of a definition, also with the engines that Restart and
// Crash start.
func (e *Engine) MustHandleTask(namespace, name string, h tasker.TaskHandler) {
	e.t.Helper()
	e.remember(func(to *tasker.Engine) error { return to.TaskHandler(namespace, name, "", h) })
}

// MustSubmit submits a task.
func (e *Engine) MustSubmit(name string, input any, options ...tasker.SubmitOption) tasker.TaskID {
	e.t.Helper()
	r, err := e.Submit(context.Background(), name, input, options...)
	if err != nil {
		e.t.Fatal(err)
	}
	return r.ID
}

// MustWait waits until the task is complete. The test fails when it ends otherwise, or not within Patience.
func (e *Engine) MustWait(id tasker.TaskID) tasker.Result {
	e.t.Helper()
	r, err := e.wait(id)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// MustFail waits until the task has failed, or has ended without being complete.
func (e *Engine) MustFail(id tasker.TaskID) tasker.TaskFailedError {
	e.t.Helper()
	_, err := e.wait(id)
	var failed *tasker.TaskFailedError
	switch {
	case err == nil:
		e.t.Fatalf("task %s is complete", id)
	case !errors.As(err, &failed):
		e.t.Fatal(err)
	}
	return *failed
}

func (e *Engine) wait(id tasker.TaskID) (tasker.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	r, err := e.Wait(ctx, id)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("task %s has not ended within %s: %s", id, Patience, e.describe(id))
	}
	return r, err
}

func (e *Engine) describe(id tasker.TaskID) string {
	task, err := e.Task(context.Background(), id)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "it is %s (%s)", task.State, task.Execution.Status)
	for _, s := range task.Steps {
		fmt.Fprintf(&b, "; %s %s", s.Name, s.State)
	}
	return b.String()
}

// MustTask returns the state of the task.
func (e *Engine) MustTask(id tasker.TaskID) *tasker.Task {
	e.t.Helper()
	task, err := e.Task(context.Background(), id)
	if err != nil {
		e.t.Fatal(err)
	}
	return task
}

// MustStep returns the state of one step.
func (e *Engine) MustStep(id tasker.TaskID, step string) tasker.Step {
	e.t.Helper()
	for _, s := range e.MustTask(id).Steps {
		if s.Name == step {
			return s
		}
	}
	e.t.Fatalf("task %s has no step %q", id, step)
	return tasker.Step{}
}

// Records returns the task's stored events, the oldest first.
func (e *Engine) Records(id tasker.TaskID) []tasker.Event {
	e.t.Helper()
	e.Settle()
	var all []tasker.Event
	for r, err := range e.Replay(context.Background(), tasker.ReplayOptions{Task: id}) {
		if err != nil {
			e.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// Events returns the types of the task's stored events, the oldest first.
func (e *Engine) Events(id tasker.TaskID) []tasker.EventType {
	e.t.Helper()
	var types []tasker.EventType
	for _, r := range e.Records(id) {
		types = append(types, r.Event.Type())
	}
	return types
}

// Trace returns the task's stored events as lines such as "step.failed charge 1", with step and attempt where the event
// has them.
func (e *Engine) Trace(id tasker.TaskID) []string {
	e.t.Helper()
	var lines []string
	for _, r := range e.Records(id) {
		line := string(r.Event.Type())
		if s, ok := r.Event.(domain.StepEvent); ok {
			line += " " + s.StepName()
			if s.AttemptNumber() > 0 {
				line += fmt.Sprintf(" %d", s.AttemptNumber())
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// Settle waits, without letting time pass, until everything in the bubble waits: whatever can happen now has happened.
func (e *Engine) Settle() { synctest.Wait() }

// Advance lets time pass, and everything happen that it brings.
func (e *Engine) Advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
