package watermillnats

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(lossURL); url != "" {
		if err := runStockDay(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const (
	patience = 30 * time.Second
	// longAckWait is longer than any test waits: what comes again did not wait for it.
	longAckWait = 5 * time.Minute
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve starts a server with a stream ORDERS that listens on orders.>.
func serve(t testing.TB) (url string, nc *nats.Conn, j js.JetStream) {
	t.Helper()
	server := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	nc, err := server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	j, err = js.New(nc)
	must(t, err)
	_, err = j.CreateStream(t.Context(), js.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	must(t, err)
	return server.URL(), nc, j
}

func publisher(t testing.TB, cfg PublisherConfig) *Publisher {
	t.Helper()
	pub, err := NewPublisher(cfg, nil)
	must(t, err)
	t.Cleanup(func() { must(t, pub.Close()) })
	return pub
}

func subscriber(t testing.TB, cfg SubscriberConfig) *Subscriber {
	t.Helper()
	sub, err := NewSubscriber(cfg, nil)
	must(t, err)
	t.Cleanup(func() { must(t, sub.Close()) })
	return sub
}

func receive(t testing.TB, ch <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-ch:
		if !ok {
			t.Fatal("the channel is closed, a message should come")
		}
		return m
	case <-time.After(patience):
		t.Fatalf("no message within %s", patience)
	}
	return nil
}

func subscribe(t testing.TB, sub message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	ch, err := sub.Subscribe(context.Background(), topic)
	must(t, err)
	return ch
}

func numbered(n int) *message.Message {
	return message.NewMessage(watermill.NewUUID(), fmt.Append(nil, n))
}

func TestMessagesCrossFromEachPairToTheOther(t *testing.T) {
	url, nc, _ := serve(t)
	ours, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{})
	must(t, err)
	defer ours.Close()
	ourSub, err := jetstream.NewSubscriber(nc, jetstream.SubscriberConfig{Group: "billing"})
	must(t, err)
	defer ourSub.Close()
	for name, c := range map[string]struct {
		pub   message.Publisher
		sub   message.Subscriber
		topic string
	}{
		"ours to stock":  {ours, subscriber(t, SubscriberConfig{URL: url, Group: "billing"}), "orders.to.stock"},
		"stock to ours":  {publisher(t, PublisherConfig{URL: url}), ourSub, "orders.to.ours"},
		"stock to stock": {publisher(t, PublisherConfig{URL: url}), subscriber(t, SubscriberConfig{URL: url, Group: "billing"}), "orders.stock"},
	} {
		sent := message.NewMessage("id of "+name, []byte(name))
		sent.Metadata.Set("Name", "task.created")
		sent.Metadata.Set("correlation_id", "c-1")
		must(t, c.pub.Publish(c.topic, sent))
		got := receive(t, subscribe(t, c.sub, c.topic))
		if got.UUID != sent.UUID || string(got.Payload) != name || got.Metadata["Name"] != "task.created" || got.Metadata["correlation_id"] != "c-1" {
			t.Errorf("%s: got %s %v %q", name, got.UUID, got.Metadata, got.Payload)
		}
		if got.Metadata[jetstream.MetaSubject] != c.topic || jetstream.Sequence(got) == 0 || got.Metadata[jetstream.MetaStream] != "ORDERS" {
			t.Errorf("%s: it is not said where it is: %v", name, got.Metadata)
		}
		// What came in one way goes out the other, without what the server added.
		got.Ack()
		must(t, c.pub.Publish("orders.again", got))
	}
}

func TestConflictsOfTheStockPublisherAreKnown(t *testing.T) {
	url, _, _ := serve(t)
	pub := publisher(t, PublisherConfig{URL: url})
	must(t, pub.Publish("orders.1", numbered(1)))
	m := numbered(2)
	m.Metadata.Set(jetstream.MetaExpectSubjectSequence, "0")
	if c, ok := jetstream.AsConflict(pub.Publish("orders.1", m)); !ok || c.Actual != 1 {
		t.Errorf("%+v, want a conflict at 1", c)
	}
}

func TestForeignMessagesDoNotHoldUpTheStockSubscriber(t *testing.T) {
	url, _, j := serve(t)
	for _, h := range []nats.Header{nil, {"Accept": {"a", "b"}}, {"Nats-Msg-Id": {"7"}}, {"None": {}}} {
		_, err := j.PublishMsg(t.Context(), &nats.Msg{Subject: "orders.1", Header: h, Data: []byte("x")})
		must(t, err)
	}
	ch := subscribe(t, subscriber(t, SubscriberConfig{URL: url, Group: "billing", AckWait: longAckWait}), "orders.1")
	for i := range 4 {
		m := receive(t, ch)
		if got := jetstream.Sequence(m); got != uint64(i+1) || m.UUID == "" || m.Metadata["Nats-Msg-Id"] != "" {
			t.Errorf("got %d %q %v", got, m.UUID, m.Metadata)
		}
		m.Ack()
	}
}

func TestTheStockSubscriberGoesOnWhereItStopped(t *testing.T) {
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			url, _, j := serve(t)
			const total, each = 300, 20
			pub := publisher(t, PublisherConfig{URL: url})
			for i := range total {
				must(t, pub.Publish("orders.1", numbered(i)))
			}
			cfg := SubscriberConfig{URL: url, Group: "billing", Workers: workers, AckWait: longAckWait}
			var mu sync.Mutex
			handled := map[string]int{}
			for restart := 0; ; restart++ {
				router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
				must(t, err)
				sub := subscriber(t, cfg)
				ctx, cancel := context.WithCancel(t.Context())
				count, enough := 0, make(chan struct{})
				router.AddConsumerHandler("handler", "orders.1", sub, func(m *message.Message) error {
					mu.Lock()
					defer mu.Unlock()
					if err := m.Context().Err(); err != nil {
						t.Errorf("the context of a handler: %v", err)
					}
					handled[string(m.Payload)]++
					if count++; count == each || len(handled) == total {
						close(enough)
					}
					return nil
				})
				done := make(chan error, 1)
				go func() { done <- router.Run(ctx) }()
				select {
				case <-enough:
				case <-time.After(patience):
					mu.Lock()
					n := len(handled)
					mu.Unlock()
					t.Fatalf("handled %d of %d messages", n, total)
				}
				// With a backlog, by each of the ways to stop.
				switch restart % 3 {
				case 0:
					cancel()
				case 1:
					must(t, router.Close())
				case 2:
					must(t, sub.Close())
				}
				must(t, <-done)
				cancel()
				mu.Lock()
				over := len(handled) == total
				mu.Unlock()
				if over {
					break
				}
			}
			for i := range total {
				if n := handled[fmt.Sprint(i)]; n != 1 {
					t.Errorf("message %d was handled %d times", i, n)
				}
			}
			stream, err := j.Stream(t.Context(), "ORDERS")
			must(t, err)
			if n := stream.CachedInfo().State.Consumers; n != 1 {
				t.Errorf("%d consumers are left, want the durable one", n)
			}
		})
	}
}

func TestAStockHandlerThatDoesNotEndIsLeftBehind(t *testing.T) {
	url, _, _ := serve(t)
	must(t, publisher(t, PublisherConfig{URL: url}).Publish("orders.1", numbered(1)))
	cfg := SubscriberConfig{URL: url, Group: "billing", AckWait: time.Second, CloseTimeout: 20 * time.Millisecond}
	sub, err := NewSubscriber(cfg, nil)
	must(t, err)
	m := receive(t, subscribe(t, sub, "orders.1"))
	if err := sub.Close(); err == nil {
		t.Error("Close does not say that a handler was left behind")
	}
	<-m.Context().Done()
	again := receive(t, subscribe(t, subscriber(t, cfg), "orders.1"))
	if again.Metadata[jetstream.MetaDelivered] != "2" {
		t.Errorf("delivered %s times, want 2", again.Metadata[jetstream.MetaDelivered])
	}
	again.Ack()
}

func TestANackedMessageWaits(t *testing.T) {
	url, nc, _ := serve(t)
	words, err := nc.SubscribeSync("$JS.ACK.>")
	must(t, err)
	must(t, publisher(t, PublisherConfig{URL: url}).Publish("orders.1", numbered(1)))
	ch := subscribe(t, subscriber(t, SubscriberConfig{URL: url, Group: "billing", NackBackoff: func(uint64) time.Duration { return 3 * time.Millisecond }}), "orders.1")
	receive(t, ch).Nack()
	word, err := words.NextMsg(patience)
	must(t, err)
	if !strings.Contains(string(word.Data), "3000000") {
		t.Errorf("the server is told %s, want 3 ms", word.Data)
	}
	receive(t, ch).Ack()
	negative := &subscription{s: &Subscriber{cfg: SubscriberConfig{NackBackoff: func(uint64) time.Duration { return -1 }}}}
	if d := negative.WaitTime(1); d != 0 {
		t.Errorf("a negative backoff is %s: that terminates the message", d)
	}
}

func TestConcurrentStockPublishersLoseNothing(t *testing.T) {
	url, _, j := serve(t)
	pub := publisher(t, PublisherConfig{URL: url, Deduplicate: true})
	const goroutines, each = 8, 50
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := range each {
				if err := pub.Publish("orders.1", numbered(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	m := numbered(0)
	must(t, pub.Publish("orders.1", m))
	must(t, pub.Publish("orders.1", m))
	must(t, pub.Publish("orders.poison", m))
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	if n := stream.CachedInfo().State.Msgs; n != goroutines*each+2 {
		t.Errorf("%d messages are stored, want %d", n, goroutines*each+2)
	}
}

func TestWhatIsClosedRefuses(t *testing.T) {
	url, _, _ := serve(t)
	pub := publisher(t, PublisherConfig{URL: url})
	must(t, pub.Close())
	must(t, pub.Close())
	if err := pub.Publish("orders.1", numbered(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	sub := subscriber(t, SubscriberConfig{URL: url, Group: "billing"})
	ch := subscribe(t, sub, "orders.1")
	must(t, sub.Close())
	must(t, sub.Close())
	if _, ok := <-ch; ok {
		t.Error("a message comes out of nothing")
	}
	if _, err := sub.Subscribe(t.Context(), "orders.1"); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	for name, cfg := range map[string]SubscriberConfig{
		"no group":         {},
		"too many workers": {Group: "a", Workers: MaxWorkers + 1},
		"negative workers": {Group: "a", Workers: -1},
		"negative AckWait": {Group: "a", AckWait: -1},
	} {
		if _, err := NewSubscriber(cfg, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewPublisher(PublisherConfig{Timeout: -1}, nil); err == nil {
		t.Error("a negative timeout is accepted")
	}
	const nobody = "nats://127.0.0.1:1"
	if _, err := NewPublisher(PublisherConfig{URL: nobody}, nil); err == nil || !strings.Contains(err.Error(), nobody) {
		t.Errorf("%v, want an error that names %s", err, nobody)
	}
	url, _, _ := serve(t)
	sub := subscriber(t, SubscriberConfig{URL: url, Group: "billing"})
	if _, err := sub.Subscribe(t.Context(), "nobody.listens"); err == nil {
		t.Error("a topic without a stream is subscribed to")
	}
}
