package natslog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
)

func TestIntakeOnOneServer(t *testing.T) {
	srv := natsservertest.Single(t)
	storetest.RunIntake(t, fresh(srv.Connect, natslog.Options{Partitions: 1}))
	t.Run("full", func(t *testing.T) {
		storetest.RunIntakeFull(t, fresh(srv.Connect, natslog.Options{Partitions: 1, StoreLimit: 1, Prefix: "FULL"}), 1000)
	})
}

func TestIntakeOnAClusterOfThree(t *testing.T) {
	if !*long {
		t.Skip("many seconds: make conformance")
	}
	servers := natsservertest.Cluster(t, 3)
	keepAccount(t, servers[0].Connect)
	storetest.RunIntake(t, fresh(servers[0].Connect, natslog.Options{Replicas: 3, Partitions: 1}))
}

func jetStream(t *testing.T, c connect) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := c()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestDataOfAnOlderVersionGetsAnIntake(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	s, err := natslog.Open(ctx, natslog.Options{Connect: srv.Connect})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, js := jetStream(t, srv.Connect)
	if err := js.DeleteStream(ctx, "TASKER_INBOX"); err != nil {
		t.Fatal(err)
	}
	s = open(t, natslog.Options{Connect: srv.Connect})
	if err := s.PublishIntake(ctx, []string{"a", "b"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	info, err := js.Stream(ctx, "TASKER_INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if c := info.CachedInfo().Config; c.Retention != jetstream.WorkQueuePolicy || c.Discard != jetstream.DiscardNew || c.MaxBytes != 64<<20 || c.MaxAge != 0 {
		t.Errorf("it is %+v", c)
	}
}

func TestAnIntakeThatWasEditedIsRefused(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	_, js := jetStream(t, srv.Connect)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "TASKER_INBOX", Subjects: []string{"tasker.submit.task.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := natslog.Open(ctx, natslog.Options{Connect: srv.Connect})
	var setting *natslog.SettingError
	if !errors.As(err, &setting) || setting.Stream != "TASKER_INBOX" || setting.Field != "retention" {
		t.Fatalf("it is opened with %v", err)
	}
}

func TestTheIntakeTakesLessRoomWhereThereIsLess(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	_, js := jetStream(t, srv.Connect)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}, MaxBytes: 1<<30 - 50<<20}); err != nil {
		t.Fatal(err)
	}
	open(t, natslog.Options{Connect: srv.Connect})
	s, err := js.Stream(ctx, "TASKER_INBOX")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().Config.MaxBytes; got != 16<<20 {
		t.Errorf("it may have %d bytes", got)
	}
}

func TestTheIntakeIsMadeAgainWhileItIsServed(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	s := open(t, natslog.Options{Connect: srv.Connect})
	came := make(chan string, 10)
	stop := s.ServeIntake(func(_ context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		came <- string(m.Data)
		return domain.IntakeVerdict{}
	})
	defer stop(ctx)
	_, js := jetStream(t, srv.Connect)
	for i := range 3 {
		body := fmt.Sprint(i)
		publishUntilItIsKept(ctx, t, s, body)
		if got := <-came; got != body {
			t.Fatalf("%q came, want %q", got, body)
		}
		if err := js.DeleteStream(ctx, "TASKER_INBOX"); err != nil {
			t.Fatal(err)
		}
	}
}

func publishUntilItIsKept(ctx context.Context, t *testing.T, s *natslog.Store, body string) {
	t.Helper()
	for {
		err := s.PublishIntake(ctx, []string{"a", "b"}, nil, []byte(body))
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatADeadEngineHadGoesToAnother: the dead one is a plain client, that takes a message and is not heard of again.
func TestWhatADeadEngineHadGoesToAnother(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	s := open(t, natslog.Options{Connect: srv.Connect})
	took := make(chan domain.IntakeMessage, 10)
	serve := func() func(context.Context) {
		return s.ServeIntake(func(_ context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
			took <- m
			return domain.IntakeVerdict{}
		})
	}
	stop := serve()
	publishUntilItIsKept(ctx, t, s, "x")
	<-took
	stop(ctx)
	_, js := jetStream(t, srv.Connect)
	consumer, err := js.Consumer(ctx, "TASKER_INBOX", "intake")
	if err != nil {
		t.Fatal(err)
	}
	c := consumer.CachedInfo().Config
	if c.AckPolicy != jetstream.AckExplicitPolicy || c.AckWait != 10*time.Second || c.MaxDeliver != -1 || c.MaxAckPending != 16<<10 {
		t.Errorf("the consumer is %+v", c)
	}
	c.AckWait = 200 * time.Millisecond // the test's, not the engine's
	if consumer, err = js.UpdateConsumer(ctx, "TASKER_INBOX", c); err != nil {
		t.Fatal(err)
	}
	publishUntilItIsKept(ctx, t, s, "y")
	first, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	again, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Nak(); err != nil { // so that the engine need not wait for it
		t.Fatal(err)
	}
	meta, err := first.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	stop = serve()
	defer stop(ctx)
	select {
	case m := <-took:
		if m.Sequence != meta.Sequence.Stream || !m.Stored.Equal(meta.Timestamp) || m.Deliveries < 3 || string(m.Data) != "y" {
			t.Errorf("%+v came, and was %+v", m, meta)
		}
	case <-ctx.Done():
		t.Fatal("it did not come again")
	}
}

func TestRequestsAreAnsweredByOneEngineAndOnlyToInboxes(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	nc, js := jetStream(t, srv.Connect)
	var stores []*natslog.Store
	for i := range 2 {
		s := open(t, natslog.Options{Connect: srv.Connect})
		stop, err := s.ServeIntakeRequests(func(_ context.Context, m domain.IntakeMessage) []byte {
			return fmt.Appendf(nil, "%d %s %s %v %s", i, m.Subject, strings.Join(m.Target, "/"), m.Header["A"], m.Data)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		stores = append(stores, s)
	}
	for subject, want := range map[string]string{
		"tasker.submit.request":            "tasker.submit.request  [b] x",
		"tasker.submit.request.shop.order": "tasker.submit.request.shop.order shop/order [b] x",
	} {
		m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: nats.Header{"A": {"b"}}, Data: []byte("x")})
		if err != nil || string(m.Data)[2:] != want {
			t.Errorf("%s is answered with %q (%v), want %q", subject, m.Data, err, want)
		}
	}
	// One answer to each request: the second subscription of the group hears nothing.
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := nc.PublishRequest("tasker.submit.request", inbox, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if _, err := sub.NextMsgWithContext(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// An answer does not become a message of a stream: not by the reply subject of a request, nor of a command.
	stop, err := stores[0].ServeCommands(0, func(_ context.Context, _ []byte, reply func([]byte)) { reply([]byte("forged")) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, reply := range []string{"tasker.log.1.00", "tasker.dead.a.b", "$KV.TASKER_META.data", "tasker.submit.task.shop.order"} {
		for _, subject := range []string{"tasker.submit.request", "tasker.cmd.00"} {
			if err := nc.PublishRequest(subject, reply, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := nc.RequestWithContext(ctx, "tasker.cmd.00", nil); err != nil { // all before it have been answered
		t.Fatal(err)
	}
	for range 4 { // by either engine
		if _, err := nc.RequestWithContext(ctx, "tasker.submit.request", nil); err != nil {
			t.Fatal(err)
		}
	}
	for stream, want := range map[string]uint64{"TASKER_LOG_1_00": 0, "TASKER_DEAD": 0, "TASKER_INBOX": 0, "KV_TASKER_META": 2} {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().State.LastSeq; got != want {
			t.Errorf("stream %s is at %d, want %d", stream, got, want)
		}
	}
	if waiting, _, err := sub.Pending(); err != nil || waiting != 0 {
		t.Errorf("%d more answers came (%v)", waiting, err)
	}
}

func TestALetterThatIsTooLargeIsCut(t *testing.T) {
	srv := natsservertest.Single(t)
	ctx := within(t)
	letters := open(t, natslog.Options{Connect: srv.Connect}).DeadLetters()
	for _, l := range []domain.DeadLetter{
		{Kind: "a", Name: "n", Data: make([]byte, 2<<20)},
		{Kind: "b", Name: "n", Original: map[string][]string{"A": {strings.Repeat("x", 60<<10)}}},
		{Kind: "c", Name: strings.Repeat("n", 100<<10), Reason: strings.Repeat("é", 100<<10)},
	} {
		if err := letters.Put(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	got, err := letters.List(ctx, domain.LetterFilter{})
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	if got[0].Truncated != "2097152" || got[1].Truncated != "headers" || got[2].Truncated != "headers" {
		t.Errorf("cut are %q, %q, %q", got[0].Truncated, got[1].Truncated, got[2].Truncated)
	}
}
