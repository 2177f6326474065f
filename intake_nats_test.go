package tasker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/internal/faultnet"
)

type connector = func(...nats.Option) (*nats.Conn, error)

// adder starts an engine that can add.
func adder(t *testing.T, connect connector) (*tasker.Engine, func()) {
	t.Helper()
	engine, err := tasker.New(t.Context(), tasker.Config{Connect: connect, Logger: slog.New(slog.DiscardHandler), Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	add := tasker.Handle(func(_ context.Context, in struct{ N int }) (int, error) { return in.N + 1, nil })
	if err := engine.Register(tasker.Define("add").Schema(`{"required":["n"]}`).Step("one", add).MustBuild()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := engine.Run(ctx); err != nil {
			t.Errorf("the engine ended with %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	return engine, stop
}

// makeStreams is what an engine does first.
func makeStreams(t *testing.T, connect connector) {
	t.Helper()
	engine, err := tasker.New(t.Context(), tasker.Config{Connect: connect, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	engine.Close()
}

// plain is a NATS client that knows nothing of tasker.
func plain(t *testing.T, connect connector) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(256))
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func publishAdds(ctx context.Context, t *testing.T, js jetstream.JetStream, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		m := &nats.Msg{Subject: "tasker.submit.task.default.add", Header: nats.Header{}, Data: fmt.Appendf(nil, `{"context":{"n":%d}}`, i)}
		m.Header.Set("Tasker-Reply-To", "shop.answers")
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		t.Fatal("the requests were not stored")
	}
}

// collector hears answers. One may come twice, when the acknowledgement behind it got lost: then it says so.
type collector struct {
	sub   *nats.Subscription
	tasks map[domain.TaskID]bool
}

func collect(t *testing.T, nc *nats.Conn) *collector {
	t.Helper()
	sub, err := nc.SubscribeSync("shop.answers")
	if err != nil {
		t.Fatal(err)
	}
	return &collector{sub, map[domain.TaskID]bool{}}
}

// await waits until n tasks are answered, and fails when it is told of others twice as if they were new.
func (c *collector) await(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for len(c.tasks) < n {
		m, err := c.sub.NextMsgWithContext(ctx)
		if err != nil {
			t.Fatalf("%d of %d answers came: %v", len(c.tasks), n, err)
		}
		var a domain.IntakeAnswer
		if err := json.Unmarshal(m.Data, &a); err != nil || a.Error != nil || a.Position == nil || a.Created && c.tasks[a.Task] {
			t.Fatalf("an answer is %s", m.Data)
		}
		c.tasks[a.Task] = true
	}
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestC5: a thousand requests of a client without our SDK, published before any engine runs, with garbage between them.
func TestC5(t *testing.T) {
	t.Parallel()
	srv := natsservertest.Single(t)
	ctx := within(t)
	makeStreams(t, srv.Connect)
	nc, js := plain(t, srv.Connect)
	heard := collect(t, nc)
	const n = 1000
	publishAdds(ctx, t, js, 0, n/2)
	if _, err := js.Publish(ctx, "tasker.submit.task.default.add", []byte("garbage\x00")); err != nil {
		t.Fatal(err)
	}
	publishAdds(ctx, t, js, n/2, n/2)

	engine, _ := adder(t, srv.Connect)
	heard.await(ctx, t, n)
	sum := 0
	for id := range heard.tasks {
		r, err := engine.Wait(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		var result struct{ One int }
		if err := json.Unmarshal(r.Value, &result); err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		sum += result.One
	}
	if want := n * (n + 1) / 2; sum != want {
		t.Errorf("the results sum up to %d, want %d", sum, want)
	}
	letters, err := engine.DeadLetters(ctx, tasker.DeadLetterFilter{})
	if err != nil || len(letters) != 1 {
		t.Fatalf("the letters are %+v (%v)", letters, err)
	}
	l, err := engine.DeadLetter(ctx, letters[0].Sequence)
	if err != nil || l.Kind != tasker.LetterSubmission || l.Name != "default.add" || l.Subject != "tasker.submit.task.default.add" ||
		string(l.Data) != "garbage\x00" || !strings.Contains(l.Reason, "not valid JSON") {
		t.Errorf("the letter is %+v (%v)", l, err)
	}
	// The engine goes on, for those who wait for their answer, too.
	m, err := nc.RequestWithContext(ctx, "tasker.submit.request.default.add", []byte(`{"context":{"n":41},"idempotency_key":"k"}`))
	if err != nil {
		t.Fatal(err)
	}
	var a domain.IntakeAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil || a.Error != nil || a.Task != domain.KeyedTaskID("default", "add", "k") {
		t.Fatalf("the answer is %s", m.Data)
	}
	if r, err := engine.Wait(ctx, a.Task); err != nil || string(r.Value) != `{"one":42}` {
		t.Errorf("the result is %s (%v)", r.Value, err)
	}
	// The server hears of what was answered after the answer, and takes its time to remove it.
	until(t, func() error {
		s, err := js.Stream(ctx, "TASKER_INBOX")
		if err == nil && s.CachedInfo().State.Msgs != 0 {
			err = fmt.Errorf("the stream has %+v", s.CachedInfo().State)
		}
		return err
	})
}

func TestTwoEnginesShareTheIntake(t *testing.T) {
	t.Parallel()
	srv := natsservertest.Single(t)
	ctx := within(t)
	one, stop := adder(t, srv.Connect)
	<-one.Ready()
	two, _ := adder(t, srv.Connect) // it owns nothing, and hands on what it takes
	nc, js := plain(t, srv.Connect)
	heard := collect(t, nc)
	total := 0
	for one.Stats().Intake.Accepted == 0 || two.Stats().Intake.Accepted == 0 {
		publishAdds(ctx, t, js, total, 50)
		total += 50
		heard.await(ctx, t, total)
	}
	if a, b := one.Stats().Intake, two.Stats().Intake; a.Accepted+b.Accepted != uint64(total) || a.Repeated+b.Repeated != 0 { // #nosec G115
		t.Errorf("%d requests were counted as %+v and %+v", total, a, b)
	}
	// One stops in the middle; the other one takes over its partitions and what it had in hand.
	publishAdds(ctx, t, js, total, 500)
	stop()
	heard.await(ctx, t, total+500)
}

func TestRequestsWaitWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	srv := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	ctx := within(t)
	proxy := faultnet.Start(t, strings.TrimPrefix(srv.URL(), "nats://"))
	engine, _ := adder(t, func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(proxy.URL(), o...) })
	<-engine.Ready()
	nc, js := plain(t, srv.Connect)
	heard := collect(t, nc)
	publishAdds(ctx, t, js, 0, 10)
	heard.await(ctx, t, 10)
	proxy.Refuse(true)
	proxy.Cut()
	awaitNoPull(ctx, t, js) // what is on its way to a dead connection comes again, but only after ten seconds
	publishAdds(ctx, t, js, 10, 100)
	if waiting, _, err := heard.sub.Pending(); err != nil || waiting != 0 {
		t.Errorf("%d answers came (%v)", waiting, err)
	}
	proxy.Refuse(false)
	heard.await(ctx, t, 110)
}

func awaitNoPull(ctx context.Context, t *testing.T, js jetstream.JetStream) {
	t.Helper()
	for {
		c, err := js.Consumer(ctx, "TASKER_INBOX", "intake")
		if err != nil {
			t.Fatal(err)
		}
		if c.CachedInfo().NumWaiting == 0 {
			return
		}
	}
}

func TestAFullIntakeTellsThePublisher(t *testing.T) {
	t.Parallel()
	srv := natsservertest.Single(t)
	ctx := within(t)
	makeStreams(t, srv.Connect)
	_, js := plain(t, srv.Connect)
	s, err := js.Stream(ctx, "TASKER_INBOX")
	if err != nil {
		t.Fatal(err)
	}
	limited := s.CachedInfo().Config
	limited.MaxBytes = 64 << 10 // as an operator may
	if _, err := js.UpdateStream(ctx, limited); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for err == nil {
		if _, err = js.Publish(ctx, "tasker.submit.task.default.add", fmt.Appendf(nil, `{"context":{"n":%d},"reason":"%s"}`, stored, strings.Repeat("x", 4<<10))); err == nil {
			stored++
		}
	}
	if !strings.Contains(err.Error(), "maximum bytes exceeded") {
		t.Errorf("it is refused with %v", err)
	}
	engine, _ := adder(t, srv.Connect)                    // which takes the limit as it is
	for engine.Stats().Intake.Accepted < uint64(stored) { // #nosec G115
		if ctx.Err() != nil {
			t.Fatalf("of %d it counts %+v", stored, engine.Stats().Intake)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// BenchmarkIntake is how many requests per second become tasks that are stored, from the stream to the acknowledgement.
func BenchmarkIntake(b *testing.B) {
	srv := natsservertest.Single(b)
	nc, err := srv.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	engine, err := tasker.New(b.Context(), tasker.Config{Connect: srv.Connect, Logger: slog.New(slog.DiscardHandler), Drain: -1})
	if err != nil {
		b.Fatal(err)
	}
	add := tasker.Handle(func(_ context.Context, in struct{ N int }) (int, error) { return in.N + 1, nil })
	if err := engine.Register(tasker.Define("add").Step("one", add).MustBuild()); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Run(ctx) })
	<-engine.Ready()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1024))
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		if _, err := js.PublishAsync("tasker.submit.task.default.add", fmt.Appendf(nil, `{"context":{"n":%d}}`, i), jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	for engine.Stats().Intake.Accepted < uint64(b.N) { // #nosec G115
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	cancel()
	running.Wait()
}
