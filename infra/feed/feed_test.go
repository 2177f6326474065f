package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type connect = func(...nats.Option) (*nats.Conn, error)

// described is what the face does, of tasks of one namespace.
func described(_ context.Context, r domain.Record) (domain.CloudEvent, error) {
	e := domain.CloudEventOf(r, "/tasker/data-1")
	if !r.Task.IsZero() {
		e.Namespace = "shop"
	}
	return e, nil
}

func open(t testing.TB, c connect, change ...func(*Options)) *Feed {
	t.Helper()
	o := Options{Connect: c, Event: described}
	for _, f := range change {
		f(&o)
	}
	f, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// record is the n-th event of a task.
func record(task, n int, e domain.Event) domain.Record {
	return domain.Record{
		Task: domain.KeyedTaskID("shop", "order", fmt.Sprint(task)), Event: e, At: 1_700_000_000_000_000,
		Position: domain.Position{Partition: 1, Sequence: uint64(n), Index: task},
	}
}

// stored reads the whole stream.
func stored(t testing.TB, c connect) []*nats.Msg {
	t.Helper()
	nc, err := c()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "TASKER_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	var all []*nats.Msg
	state := s.CachedInfo().State
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	}
	return all
}

func TestAnEventIsOneMessageWithTheHeadersOfACloudEvent(t *testing.T) {
	srv := natsservertest.Single(t)
	f := open(t, srv.Connect)
	done := record(7, 12, domain.StepCompleted{Step: "pay", Attempt: 2, Result: domain.Payload{JSON: json.RawMessage(`{"sum":17}`)}})
	done.Cause = "naïve cause"
	signal := done
	signal.Event = domain.Signal{Name: domain.SignalStepsExecutionCompleted, Steps: []string{"pay"}, Outcomes: []domain.State{domain.Complete}}
	alone := record(0, 13, domain.PartitionOpened{Writer: "w", Engine: "1"})
	alone.Task = domain.TaskID{}
	for _, r := range []domain.Record{done, signal, alone} {
		if err := f.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	all := stored(t, srv.Connect)
	if len(all) != 3 {
		t.Fatalf("%d messages, want 3", len(all))
	}
	task := done.Task.String()
	for i, want := range []struct{ subject, id, data string }{
		{"tasker.events.shop." + task + ".step.completed", "01-12-7", `{"result":{"sum":17}}`},
		{"tasker.events.shop." + task + ".workflow.steps_execution_completed", "01-12-7:workflow.steps_execution_completed", `{"steps":["pay"],"outcomes":["complete"]}`},
		{"tasker.events._._.partition.opened", "01-13-0", `{"writer":"w","engine":"1"}`},
	} {
		m := all[i]
		if m.Subject != want.subject || m.Header.Get("ce-id") != want.id || m.Header.Get("Nats-Msg-Id") != want.id || string(m.Data) != want.data {
			t.Errorf("message %d: subject %s, headers %v, data %s; want %+v", i, m.Subject, m.Header, m.Data, want)
		}
	}
	for name, value := range map[string]string{
		"ce-specversion": "1.0", "ce-source": "/tasker/data-1", "ce-type": "step.completed", "ce-subject": task, "ce-time": "2023-11-14T22:13:20.000000Z",
		"ce-datacontenttype": "application/json", "ce-step": "pay", "ce-attempt": "2", "ce-actor": "handler", "ce-namespace": "shop",
		"ce-causationid": "na%C3%AFve%20cause",
	} {
		if got := all[0].Header.Get(name); got != value {
			t.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
}

func TestWhatComesAgainIsStoredOnceAndTasksStayInOrder(t *testing.T) {
	for name, synced := range map[string]bool{"one by one": false, "in batches": true} {
		t.Run(name, func(t *testing.T) {
			srv := natsservertest.Single(t)
			const tasks, each = 40, 25
			for half := 1; half <= 2; half++ { // the second feed is that of a process which took over from a crash
				f := open(t, srv.Connect, func(o *Options) { o.Synced = synced })
				var all sync.WaitGroup
				for task := range tasks {
					all.Go(func() {
						for n := range half * each / 2 {
							if err := f.Handle(t.Context(), record(task, n+1, domain.TaskAnnotated{Kind: fmt.Sprint(n)})); err != nil {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
			}
			next, batched := map[string]int{}, 0
			for _, m := range stored(t, srv.Connect) {
				id, want := m.Header.Get("ce-id"), next[m.Subject]+1
				if at, err := domain.ParsePosition(id); err != nil || at.Sequence != uint64(want) {
					t.Errorf("%s: event %s came, want the one at %d", m.Subject, id, want)
				}
				next[m.Subject]++
				if m.Header.Get("Nats-Batch-Id") != "" {
					batched++
				}
			}
			for subject, n := range next {
				if n != each {
					t.Errorf("%s has %d messages, want %d", subject, n, each)
				}
			}
			if len(next) != tasks {
				t.Errorf("%d tasks, want %d", len(next), tasks)
			}
			if synced != (batched > 0) {
				t.Errorf("%d messages came in batches", batched)
			}
		})
	}
}

func TestABatchThatIsRefusedIsPublishedOneByOne(t *testing.T) {
	srv := natsservertest.Single(t)
	f := open(t, srv.Connect, func(o *Options) { o.Synced = true })
	batch := func(from, to int) []*wanted {
		var all []*wanted
		for n := from; n < to; n++ {
			e, err := described(t.Context(), record(n, 1, domain.TaskCompleted{}))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &wanted{f.message(&e), make(chan error, 1)})
		}
		return all
	}
	store := func(all []*wanted) {
		t.Helper()
		f.all.store(all)
		for i, w := range all {
			if err := <-w.done; err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
	}
	store(batch(0, 20))
	store(batch(10, 40)) // ten of them are there
	if n := len(stored(t, srv.Connect)); n != 40 {
		t.Errorf("%d messages, want 40", n)
	}
	if err := f.all.storeBatch(t.Context(), batch(35, 60)); err == nil {
		t.Error("a batch with a duplicate was taken")
	}
	large := batch(60, 80)
	large[7].msg.Data = make([]byte, 2<<20)
	f.all.store(large)
	for i, w := range large {
		if err := <-w.done; (err != nil) != (i == 7) {
			t.Errorf("message %d, next to one that is too large: %v", i, err)
		}
	}
	if n := len(stored(t, srv.Connect)); n != 59 {
		t.Errorf("%d messages, want 59", n)
	}
	for answer, ok := range map[string]bool{
		`{"stream":"S","seq":9,"batch":"x","count":3}`: true, `{"stream":"S","seq":9,"batch":"x","count":2}`: false,
		`{"error":{"code":400,"err_code":10201}}`: false, `no json`: false, ``: false, `{}`: false,
	} {
		if err := committed([]byte(answer), 3); (err == nil) != ok {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestAnEventThatFitsIntoNoMessageIsLostAtOnce(t *testing.T) {
	srv := natsservertest.Single(t)
	f := open(t, srv.Connect)
	big := domain.TaskAnnotated{Kind: "k", Annotation: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}
	err := f.Handle(t.Context(), record(1, 1, big))
	var failure *domain.Failure
	if !errors.As(err, &failure) || failure.Kind != domain.KindPermanent {
		t.Errorf("Handle: %v, want a permanent failure", err)
	}
	long := record(1, 2, domain.TaskCreated{Name: "order", Version: "1", Correlation: strings.Repeat("ü", 30_000)})
	if err := f.Handle(t.Context(), long); err != nil {
		t.Errorf("a correlation of 60,000 bytes: %v", err)
	}
	if v := stored(t, srv.Connect)[0].Header.Get("ce-correlationid"); v != strings.Repeat("%C3%BC", maxAttribute/2) {
		t.Errorf("the correlation is cut to %d bytes and ends with %q", len(v), v[len(v)-6:])
	}
}

func TestAStreamThatWasDeletedIsMadeAgain(t *testing.T) {
	srv := natsservertest.Single(t)
	f := open(t, srv.Connect)
	if err := f.js.DeleteStream(t.Context(), "TASKER_EVENTS"); err != nil {
		t.Fatal(err)
	}
	if err := f.Handle(t.Context(), record(1, 1, domain.TaskCompleted{})); err != nil {
		t.Fatal(err)
	}
	if n := len(stored(t, srv.Connect)); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestTheFeedWaitsWhileNATSIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := natsserver.Options{Dir: t.TempDir(), Durability: natsserver.Interval, MaxStore: 512 << 20, Listen: l.Addr().String(), Token: "secret-of-the-test"}
	_ = l.Close()
	srv, err := natsserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	over := func(options ...nats.Option) (*nats.Conn, error) {
		return nats.Connect("nats://"+o.Listen, append(options, nats.Token(o.Token))...)
	}
	f := open(t, over)
	if err := f.Handle(t.Context(), record(1, 1, domain.TaskCreated{Name: "order"})); err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- f.Handle(t.Context(), record(1, 2, domain.TaskCompleted{})) }()
	given, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Handle(given, record(2, 2, domain.TaskCompleted{})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without NATS, when the context ends: %v", err)
	}
	select {
	case err := <-result:
		t.Fatalf("without NATS: %v", err)
	default:
	}
	if srv, err = natsserver.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	if err := <-result; err != nil {
		t.Errorf("with NATS again: %v", err)
	}
	if all := stored(t, over); len(all) != 2 || all[1].Header.Get("ce-id") != "01-2-1" {
		t.Errorf("%d messages, want the two", len(all))
	}
}

func TestTheLimitsOfAStreamThatIsThereAreTheOperators(t *testing.T) {
	srv := natsservertest.Single(t)
	f := open(t, srv.Connect, func(o *Options) { o.MaxAge, o.MaxBytes = time.Hour, 8<<20 })
	config := f.config()
	config.MaxAge, config.MaxBytes = 2*time.Hour, 9<<20
	if _, err := f.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	open(t, srv.Connect)
	s, err := f.js.Stream(t.Context(), "TASKER_EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.MaxAge != 2*time.Hour || c.MaxBytes != 9<<20 {
		t.Errorf("the limits became %s and %d bytes", c.MaxAge, c.MaxBytes)
	}
	config.Subjects = []string{"tasker.events.other.>"}
	if _, err := f.js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	var setting *SettingError
	if f, err := Open(t.Context(), Options{Connect: srv.Connect, Event: described}); !errors.As(err, &setting) || setting.Field != "subjects" {
		t.Errorf("with other subjects: %v, %v", f, err)
	}
}

func TestManyEnginesMayOpenTheFeedAtOnce(t *testing.T) {
	srv := natsservertest.Single(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			f, err := Open(t.Context(), Options{Connect: srv.Connect, Event: described, MaxAge: time.Duration(i+1) * time.Hour})
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	all.Wait()
}

func TestWrongOptionsAreRefused(t *testing.T) {
	never := func(...nats.Option) (*nats.Conn, error) { return nil, errors.New("must not be called") }
	for want, o := range map[string]Options{
		"are required":             {Event: described},
		"kept for 1s only":         {Connect: never, Event: described, MaxAge: time.Second},
		"5 bytes are too few":      {Connect: never, Event: described, MaxBytes: 5},
		"-1 bytes are too few":     {Connect: never, Event: described, MaxBytes: -1},
		"connecting to NATS: the ": {Connect: never, Event: described},
	} {
		if f, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want an error with %q", f, err, want)
		}
	}
}

func TestNoEventLeadsOutOfTheFeed(t *testing.T) {
	f := &Feed{root: Subjects("TASKER")}
	for _, c := range []struct{ namespace, task, kind, want string }{
		{"", "", "partition.opened", "tasker.events._._.partition.opened"},
		{"shop", "t", "custom.order.paid", "tasker.events.shop.t.custom.order.paid"},
		{"a.b", "*", ">", "tasker.events.a_b._._"},
		{"$JS", " ", "step..completed", "tasker.events._JS._.step._.completed"},
		{"ü", "x\r\nPUB", ".", "tasker.events._.x__PUB._._"},
		{"n", "t", "", "tasker.events.n.t._"},
		{"n", "t", strings.Repeat("ü", 5000), "tasker.events.n.t." + strings.Repeat("_", 256)},
	} {
		if got := f.subject(&domain.CloudEvent{Namespace: c.namespace, Subject: c.task, Type: domain.EventType(c.kind)}); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// BenchmarkHandle publishes as the subscription does: Lanes at once.
func BenchmarkHandle(b *testing.B) {
	for _, durability := range []natsserver.Durability{natsserver.Interval, natsserver.Strict} {
		b.Run(string(durability), func(b *testing.B) {
			srv := natsservertest.Single(b, func(o *natsserver.Options) { o.Durability = durability })
			f := open(b, srv.Connect, func(o *Options) { o.Synced = durability == natsserver.Strict })
			next := make(chan int, Lanes)
			var all sync.WaitGroup
			for lane := range Lanes {
				all.Go(func() {
					for n := range next {
						r := record(lane, n, domain.StepCompleted{Step: "one", Attempt: 1, Result: domain.Payload{JSON: json.RawMessage(`{"dummy":true}`)}})
						if err := f.Handle(b.Context(), r); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for n := range b.N {
				next <- n + 1
			}
			close(next)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
