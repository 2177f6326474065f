package crashtest

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func listenOn(address string) natsservertest.Option {
	return func(o *natsserver.Options) { o.Listen = address }
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// NATS goes away while tasks run, for less than a lease and for more, and comes back on the same directory and port.
func TestNATSGoneAndBackAgain(t *testing.T) {
	t.Parallel()
	away := map[string]time.Duration{"shorter than the lease": 3 * time.Second, "longer than the lease": 8 * time.Second}
	if *long {
		away["a minute"] = 60 * time.Second
	}
	for name, d := range away {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ttl := 5 * time.Second
			if d == 60*time.Second {
				ttl = 0
			}
			goneAndBack(t, d, ttl)
		})
	}
}

func goneAndBack(t *testing.T, away, ttl time.Duration) {
	dir, address := t.TempDir(), freeAddress(t)
	srv := single(t, natsservertest.Dir(dir), natsservertest.Strict(), listenOn(address))
	release := make(chan struct{})
	var runs atomic.Int64
	slow := step(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		runs.Add(1)
		select {
		case <-release:
			return "released", nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})
	e := run(t, tasker.Config{URL: "nats://" + address, LeaseTTL: ttl}, dummy(step(done)), one("slow", slow))
	waitAll(t, e.Engine, submitAll(t, e.Engine, "dummy", 20, 20, nil))
	running := submitAll(t, e.Engine, "slow", 10, 10, nil)
	eventually(t, "the slow steps to run", func() bool { return runs.Load() == 10 })

	shutdown(t, srv)
	gone := time.Now()
	var ids []tasker.TaskID
	for time.Since(gone) < away {
		began := time.Now()
		r, err := e.Submit(context.Background(), "dummy", nil)
		took := time.Since(began)
		if !errors.Is(err, tasker.ErrUnavailable) || took > 5500*time.Millisecond {
			t.Fatalf("%.1f s after NATS went away, Submit returned %v after %.1f s", began.Sub(gone).Seconds(), err, took.Seconds())
		}
		t.Logf("at %.1f s: %v after %.2f s", began.Sub(gone).Seconds(), err, took.Seconds())
		if errors.Is(err, tasker.ErrOutcomeUnknown) {
			ids = append(ids, r.ID)
		}
		time.Sleep(500 * time.Millisecond) // time passes without NATS
	}

	single(t, natsservertest.Dir(dir), natsservertest.Strict(), listenOn(address))
	back := time.Now()
	var id tasker.TaskID
	for {
		r, err := e.Submit(context.Background(), "dummy", nil)
		if err == nil {
			id = r.ID
			break
		}
		if time.Since(back) > patience {
			t.Fatalf("Submit still fails %.1f s after NATS came back: %v", time.Since(back).Seconds(), err)
		}
		if errors.Is(err, tasker.ErrOutcomeUnknown) {
			ids = append(ids, r.ID)
		}
		time.Sleep(20 * time.Millisecond) // tried again
	}
	waitAll(t, e.Engine, []tasker.TaskID{id})
	t.Logf("the first new task completed %.2f s after NATS came back", time.Since(back).Seconds())
	if took := time.Since(back); took > patience/3 {
		t.Errorf("that is too late")
	}

	// Nothing is stuck: neither what ran, nor what nobody knew of.
	close(release)
	waitAll(t, e.Engine, running)
	for _, id := range ids {
		_, err := e.Wait(testContext(t, 20*time.Second), id)
		if err != nil && !errors.Is(err, tasker.ErrTaskNotFound) {
			t.Errorf("task %s of unknown outcome: %v", id, err)
		}
	}
	e.end(t)
	store := openStore(t, natsURL(address))
	l := read(t, store)
	l.has(append(running, id))
	l.ended()
	l.report(t)
	lost := count(t, store, func(r domain.Record) bool {
		f, ok := r.Event.(domain.StepFailed)
		return ok && f.Error.Kind == domain.KindWorkerLost
	})
	t.Logf("%d executions were lost with the lease", lost)
}

// An engine that is told to stop while NATS is away stops.
func TestStopWithoutNATS(t *testing.T) {
	t.Parallel()
	dir, address := t.TempDir(), freeAddress(t)
	srv := single(t, natsservertest.Dir(dir), listenOn(address))
	e := run(t, tasker.Config{URL: "nats://" + address, Drain: time.Second}, dummy(step(done)))
	waitAll(t, e.Engine, submitAll(t, e.Engine, "dummy", 20, 20, nil))
	shutdown(t, srv)
	answers := make(chan error, 1)
	go func() {
		_, err := e.Submit(context.Background(), "dummy", nil)
		answers <- err
	}()
	time.Sleep(100 * time.Millisecond) // the submission is under way
	began := time.Now()
	e.stop()
	select {
	case <-e.done:
		t.Logf("stopped after %.1f s", time.Since(began).Seconds())
	case <-time.After(20 * time.Second):
		t.Fatal("the engine does not stop")
	}
	select {
	case err := <-answers:
		if !errors.Is(err, tasker.ErrOutcomeUnknown) && !errors.Is(err, tasker.ErrUnavailable) {
			t.Errorf("the submission under way got %v", err)
		}
	case <-time.After(time.Second):
		t.Error("the submission under way got no answer")
	}
}
