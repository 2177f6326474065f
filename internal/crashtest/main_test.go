// Package crashtest holds the engine, on real NATS servers, to what it says about crashes: processes killed with
// SIGKILL, acknowledgements lost, two owners, full stores, torn snapshots. The cases have the numbers of ACCEPTANCE C.
// `make crash` runs the long mode.
package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

var (
	long = flag.Bool("crash.long", false, "run every case at full length: 20 kills, 60 s without NATS, 30 s of overload")
	seed = flag.Int64("crash.seed", 0, "seed of random choices; 0 = a new one, which is printed")
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(longStepDir) != "":
		os.Exit(longStepChild())
	case os.Getenv(indexDir) != "":
		os.Exit(indexChild())
	case os.Getenv(childDir) != "":
		os.Exit(child())
	}
	flag.Parse()
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	// Most tests wait for time to pass: more of them than processors run at once.
	if f := flag.Lookup("test.parallel"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set("6")
	}
	os.Exit(m.Run())
}

// tail keeps the end of a log and shows it when the test has failed.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailBytes = 64 << 10

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 2*tailBytes {
		l.buf.Next(l.buf.Len() - tailBytes)
	}
	return l.buf.Write(p)
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// logger gathers what an engine logs, because failing steps and lost connections are many lines at level error.
func logger(t testing.TB) (*slog.Logger, *tail) {
	l := &tail{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log:\n%s", l)
		}
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn})), l
}

// engine is one that runs.
type engine struct {
	*tasker.Engine
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run, after done
	log  *tail
}

// run starts an engine and waits until it owns a partition.
func run(t testing.TB, config tasker.Config, items ...any) *engine {
	t.Helper()
	e := begin(t, config, items...)
	select {
	case <-e.Ready():
	case <-e.done:
		t.Fatalf("the engine ended: %v", e.err)
	case <-time.After(30 * time.Second):
		t.Fatal("the engine is not ready after 30 s")
	}
	return e
}

// begin starts an engine. It is stopped with the test.
func begin(t testing.TB, config tasker.Config, items ...any) *engine {
	t.Helper()
	e := &engine{done: make(chan struct{})}
	if config.Logger == nil {
		config.Logger, e.log = logger(t)
	}
	ctx, stop := context.WithCancel(context.Background())
	var err error
	if e.Engine, err = tasker.New(ctx, config); err != nil {
		stop()
		t.Fatal(err)
	}
	if err := e.Register(items...); err != nil {
		t.Fatal(err)
	}
	e.stop = stop
	go func() {
		defer close(e.done)
		e.err = e.Run(ctx)
	}()
	t.Cleanup(func() { e.end(t) })
	return e
}

// end stops the engine regularly. It may be called twice.
func (e *engine) end(t testing.TB) {
	t.Helper()
	e.stop()
	select {
	case <-e.done:
	case <-time.After(60 * time.Second):
		t.Fatal("the engine does not stop")
	}
	if e.err != nil {
		t.Errorf("the engine ended with %v", e.err)
	}
}

func testContext(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// openStore opens the log beside whoever else has it open.
func openStore(t testing.TB, connect func(...nats.Option) (*nats.Conn, error)) *natslog.Store {
	t.Helper()
	s, err := natslog.Open(testContext(t, 30*time.Second), natslog.Options{Connect: connect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func listen(o *natsserver.Options) { o.Listen = "127.0.0.1:0" }

func shutdown(t testing.TB, s *natsserver.Server) {
	t.Helper()
	if err := s.Shutdown(testContext(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func single(t testing.TB, opts ...natsservertest.Option) *natsserver.Server {
	t.Helper()
	return natsservertest.Single(t, opts...)
}

// patience is how long a test waits for what must come at last. It says nothing about how fast that is: a machine
// that does other things is no failure.
const patience = 90 * time.Second

// eventually waits for what announces itself to nobody.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond) // polling
	}
}

// submitAll submits n tasks at once, at most width at a time, and returns their ids.
func submitAll(t testing.TB, e *tasker.Engine, name string, n, width int, input any) []tasker.TaskID {
	t.Helper()
	ids := make([]tasker.TaskID, n)
	errs := make([]error, n)
	parallel(n, width, func(i int) {
		var r tasker.Receipt
		r, errs[i] = e.Submit(context.Background(), name, input)
		ids[i] = r.ID
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return ids
}

func parallel(n, width int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(width, n) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// waitAll waits until all tasks have completed.
func waitAll(t testing.TB, e *tasker.Engine, ids []tasker.TaskID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	errs := make([]error, len(ids))
	parallel(len(ids), 200, func(i int) {
		if _, err := e.Wait(ctx, ids[i]); err != nil {
			errs[i] = fmt.Errorf("task %s: %w", ids[i], err)
		}
	})
	n := 0
	for _, err := range errs {
		if err != nil {
			if n++; n <= 5 {
				t.Error(err)
			}
		}
	}
	if n > 0 {
		for _, p := range e.Stats().Partitions {
			t.Logf("partition %d: %+v", p.Partition, p)
		}
		t.Fatalf("%d of %d tasks did not complete", n, len(ids))
	}
}

// step is a handler without typed input.
type step = tasker.StepHandlerFunc

func done(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
	return map[string]bool{"dummy": true}, nil
}

// dummy is the four-step task of ACCEPTANCE A.
func dummy(h tasker.StepHandler, options ...tasker.StepOption) *tasker.Workflow {
	with := func(more ...tasker.StepOption) []tasker.StepOption { return append(more, options...) }
	return tasker.Define("dummy").
		Step("step-one", h, with()...).
		Step("step-two", h, with()...).
		Step("step-three", h, with(tasker.After("step-two"))...).
		Step("step-four", h, with(tasker.After("step-three"))...).
		MustBuild()
}

// one is a task of a single step.
func one(name string, h tasker.StepHandler, options ...tasker.StepOption) *tasker.Workflow {
	return tasker.Define(name).Step("only", h, options...).MustBuild()
}

var quickRetry = tasker.WithBackoff(tasker.Backoff{Strategy: domain.StrategyFixed, Base: 20 * time.Millisecond, Max: time.Second})

func natsURL(address string) func(...nats.Option) (*nats.Conn, error) {
	return func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect("nats://"+address, o...) }
}

func newID() tasker.TaskID {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err)
	}
	return tasker.TaskID(id)
}

func viewText(v *tasker.Task) string {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(err)
	}
	return string(text)
}

func purgeSubject(subject string) jetstream.StreamPurgeOpt {
	return jetstream.WithPurgeSubject(subject)
}
