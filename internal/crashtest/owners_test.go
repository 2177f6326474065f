package crashtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/internal/faultnet"
	"github.com/tasker-go/tasker/subscribers"
)

// load submits dummy tasks until it is stopped, and remembers what was acknowledged.
type load struct {
	mu   sync.Mutex
	ids  []tasker.TaskID
	errs map[string]int
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

type submitter interface {
	Submit(ctx context.Context, name string, input any, options ...tasker.SubmitOption) (tasker.Receipt, error)
}

func startLoad(t testing.TB, width int, to ...submitter) *load {
	l := &load{stop: make(chan struct{}), errs: map[string]int{}}
	t.Cleanup(func() { l.end(t) })
	for i := range width {
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
				r, err := to[i%len(to)].Submit(ctx, "dummy", nil)
				cancel()
				l.mu.Lock()
				if err == nil {
					l.ids = append(l.ids, r.ID)
				} else {
					l.errs[err.Error()]++
				}
				l.mu.Unlock()
				pause := 2 * time.Millisecond
				if err != nil {
					pause = 50 * time.Millisecond
				}
				time.Sleep(pause) // a rate
			}
		})
	}
	return l
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// end returns what was acknowledged.
func (l *load) end(t testing.TB) []tasker.TaskID {
	t.Helper()
	l.once.Do(func() {
		close(l.stop)
		l.wg.Wait()
		t.Logf("%d submissions acknowledged", len(l.ids))
		for text, n := range l.errs {
			t.Logf("%d x %s", n, text)
		}
	})
	return l.ids
}

func owns(e *engine) int {
	n := 0
	for _, p := range e.Stats().Partitions {
		if p.Phase == subscribers.Owning {
			n++
		}
	}
	return n
}

// brief is a step that takes a moment, so that some always run.
var brief = step(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(10 * time.Millisecond):
		return 1, nil
	}
})

// C3. The first engine's network stops: nothing comes through, in either direction, and later all of it does.
func TestC03SecondEngineTakesOverWhenTheFirstLostItsLease(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	srv := single(t, natsservertest.Strict(), listen)
	proxy := faultnet.Start(t, strings.TrimPrefix(srv.URL(), "nats://"))
	config := func(name, url string) tasker.Config { return tasker.Config{Name: name, URL: url, LeaseTTL: ttl} }
	e1 := run(t, config("first", proxy.URL()), dummy(brief))
	eventually(t, "the first engine to own everything", func() bool { return owns(e1) == 2 })
	e2 := begin(t, config("second", srv.URL()), dummy(brief))
	client, err := tasker.NewClient(t.Context(), tasker.Config{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	l := startLoad(t, 16, e1, client)
	eventually(t, "500 tasks", func() bool { return l.count() > 500 })
	if owns(e2) != 0 {
		t.Fatal("the second engine owns partitions of the first")
	}

	proxy.Freeze(faultnet.ToServer, true)
	proxy.Freeze(faultnet.ToClient, true)
	frozen := time.Now()
	eventually(t, "the second engine to take over", func() bool { return owns(e2) == 2 })
	took := time.Since(frozen)
	if took < ttl*2/3-100*time.Millisecond {
		t.Errorf("it took over %s after the first was cut off, whose lease ran %s", took, ttl)
	}
	t.Logf("taken over after %.1f s", took.Seconds())
	before := l.count()
	eventually(t, "tasks to go on", func() bool { return l.count() > before+200 })

	proxy.Freeze(faultnet.ToServer, false)
	proxy.Freeze(faultnet.ToClient, false)
	eventually(t, "the first engine to step down", func() bool { return owns(e1) == 0 })
	before = l.count()
	eventually(t, "tasks to go on", func() bool { return l.count() > before+200 })
	ids := l.end(t)
	waitAll(t, e1.Engine, ids) // through the one that does not own them any more
	waitAll(t, e2.Engine, ids)
	e1.end(t)
	e2.end(t)
	checkLog(t, openStore(t, srv.Connect), ids)
}

// checkLog holds the whole log against what was acknowledged. Tasks that nobody knows of may be live still.
func checkLog(t testing.TB, store domain.Store, acked []tasker.TaskID) {
	t.Helper()
	l := read(t, store)
	l.has(acked)
	for _, id := range acked {
		if a := l.tasks[id]; a != nil && a.state != domain.Complete {
			l.errs = append(l.errs, errors.New("task "+id.String()+" is "+a.state.String()))
		}
	}
	l.report(t)
	t.Logf("%d tasks, %d acknowledged", len(l.tasks), len(acked))
}

// C3. A process that is stopped regularly gives its partitions back at once.
func TestC03StoppedEngineGivesItsPartitionsBack(t *testing.T) {
	t.Parallel()
	srv := single(t)
	config := func(name string) tasker.Config {
		return tasker.Config{Name: name, Connect: srv.Connect, LeaseTTL: 20 * time.Second}
	}
	e1 := run(t, config("first"), dummy(brief))
	e2 := begin(t, config("second"), dummy(brief))
	ids := submitAll(t, e1.Engine, "dummy", 50, 50, nil)
	e1.end(t)
	began := time.Now()
	eventually(t, "the second engine", func() bool { return owns(e2) == 2 })
	t.Logf("taken over %.2f s after the first had stopped", time.Since(began).Seconds())
	waitAll(t, e2.Engine, ids)
}

// C3 on three servers: one that leads is stopped under load.
func TestC03LeaderOfThreeServersGoes(t *testing.T) {
	t.Parallel()
	servers := natsservertest.Cluster(t, 3, listen)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL())
	}
	connect := func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(strings.Join(urls, ","), o...) }
	e := run(t, tasker.Config{Connect: connect, Replicas: 3, LeaseTTL: 4 * time.Second}, dummy(brief))
	l := startLoad(t, 8, e)
	eventually(t, "200 tasks", func() bool { return l.count() > 200 })
	stopped := streamLeader(t, servers, connect, "TASKER_LOG_1_00")
	began := time.Now()
	shutdown(t, stopped)
	before := l.count()
	eventually(t, "tasks to go on", func() bool { return l.count() > before+200 })
	t.Logf("200 more tasks %.1f s after the leader was stopped", time.Since(began).Seconds())
	ids := l.end(t)
	waitAll(t, e.Engine, ids)
	e.end(t)
	checkLog(t, openStore(t, connect), ids)
}

// streamLeader is the server that leads the stream.
func streamLeader(t testing.TB, servers []*natsserver.Server, connect func(...nats.Option) (*nats.Conn, error), stream string) *natsserver.Server {
	t.Helper()
	nc, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(stream)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		if info.Cluster.Leader == []string{"s1", "s2", "s3"}[i] {
			return s
		}
	}
	t.Fatalf("stream %s is led by %q", stream, info.Cluster.Leader)
	return nil
}
