package jetstream

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		if err := runChild(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Watermill's suite leaves the goroutines of its own multiplier behind.
	const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe."
	// And nats.go one of its own, when a publisher begins as its connection ends.
	const reset = "github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(reset), goleak.IgnoreAnyFunction(multiplier+"func2"), goleak.IgnoreAnyFunction(multiplier+"func3"))
}

// patience is for anything that has to happen, however busy the machine.
const patience = 30 * time.Second

// connect starts a server with a stream ORDERS that listens on orders.>.
func connect(t testing.TB) (*nats.Conn, js.JetStream) {
	t.Helper()
	server := natsservertest.Single(t)
	nc, err := server.Connect()
	must(t, err)
	t.Cleanup(nc.Close)
	j, err := js.New(nc)
	must(t, err)
	_, err = j.CreateStream(t.Context(), js.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	must(t, err)
	return nc, j
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func publisher(t testing.TB, nc *nats.Conn, cfg PublisherConfig) *Publisher {
	t.Helper()
	pub, err := NewPublisher(nc, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, pub.Close()) })
	return pub
}

func subscriber(t testing.TB, nc *nats.Conn, cfg SubscriberConfig) *Subscriber {
	t.Helper()
	sub, err := NewSubscriber(nc, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, sub.Close()) })
	return sub
}

func subscribe(t testing.TB, sub *Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	ch, err := sub.Subscribe(context.Background(), topic)
	must(t, err)
	return ch
}

// receive waits for a message.
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

// ended waits until the channel is closed, and fails if a message comes.
func ended(t testing.TB, ch <-chan *message.Message) {
	t.Helper()
	select {
	case m, ok := <-ch:
		if ok {
			t.Fatalf("got %s %q, the channel should be closed", m.Metadata[MetaSubject], m.Payload)
		}
	case <-time.After(patience):
		t.Fatalf("the channel is not closed within %s", patience)
	}
}

func text(payload string) *message.Message { return message.NewMessage("", []byte(payload)) }

func TestAMessageArrivesAsItWasPublished(t *testing.T) {
	nc, _ := connect(t)
	pub := publisher(t, nc, PublisherConfig{})
	m := message.NewMessage("the-id", []byte("the payload"))
	m.Metadata.Set("Some-Key", "a value")
	must(t, pub.Publish("orders.1.placed", m))
	if m.Metadata[MetaStream] != "ORDERS" || Sequence(m) != 1 {
		t.Errorf("the publisher says it is at %s/%d, want ORDERS/1", m.Metadata[MetaStream], Sequence(m))
	}

	got := receive(t, subscribe(t, subscriber(t, nc, SubscriberConfig{}), "orders.*.placed"))
	got.Ack()
	want := message.Metadata{"Some-Key": "a value", MetaStream: "ORDERS", MetaSequence: "1", MetaSubject: "orders.1.placed", MetaDelivered: "1"}
	if at, err := time.Parse(time.RFC3339Nano, got.Metadata[MetaTime]); err != nil || time.Since(at) > time.Hour {
		t.Errorf("stored at %q: %v", got.Metadata[MetaTime], err)
	}
	delete(got.Metadata, MetaTime)
	wanted := message.NewMessage("the-id", []byte("the payload"))
	wanted.Metadata = want
	if !got.Equals(wanted) {
		t.Errorf("got %v, want %v", got, wanted)
	}
}
