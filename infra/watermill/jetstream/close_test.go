package jetstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

type ctxKey struct{}

// longAckWait is longer than any test waits: what comes again did not wait for it.
const longAckWait = 5 * time.Minute

func TestWhatWaitsIsGivenBackAtOnce(t *testing.T) {
	nc, _ := connect(t)
	const n = 200
	var subjects []string
	for i := range n {
		subjects = append(subjects, fmt.Sprintf("orders.%d", i))
	}
	store(t, nc, subjects...)
	group := SubscriberConfig{Group: "billing", AckWait: longAckWait, Lanes: 4}
	handled := map[string]int{}
	take := func(ch <-chan *message.Message, count int) {
		for _, p := range payloads(t, ch, count) {
			handled[p]++
		}
	}
	// By Close, by the end of the context; each with a backlog in memory.
	for range 3 {
		sub := subscriber(t, nc, group)
		take(subscribe(t, sub, "orders.*"), 10)
		must(t, sub.Close())

		ctx, cancel := context.WithCancel(t.Context())
		ch, err := subscriber(t, nc, group).Subscribe(ctx, "orders.*")
		must(t, err)
		take(ch, 10)
		cancel()
		for m := range ch { // what was handed out before the end was heard of
			handled[string(m.Payload)]++
			m.Ack()
		}
	}
	take(subscribe(t, subscriber(t, nc, group), "orders.*"), n-len(handled))
	for _, s := range subjects {
		if handled[s] != 1 {
			t.Errorf("%s was handled %d times", s, handled[s])
		}
	}
}

func TestAHandlerOutlivesTheEndOfItsSubscription(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1", "orders.2")
	group := SubscriberConfig{Group: "billing", AckWait: longAckWait}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
	sub := subscriber(t, nc, group)
	ch, err := sub.Subscribe(ctx, "orders.*")
	must(t, err)
	m := receive(t, ch)
	cancel()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	}()
	if v := m.Context().Value(ctxKey{}); v != "value" {
		t.Errorf("the context has %v, want the value of the subscription's", v)
	}
	select {
	case <-closed:
		t.Fatal("Close did not wait for the handler")
	case <-m.Context().Done():
		t.Fatal("the handler's context ended with the subscription")
	case <-time.After(20 * time.Millisecond): // long enough to see either happen
	}
	m.Ack()
	<-closed
	ended(t, ch)
	<-m.Context().Done()
	if got := receive(t, subscribe(t, subscriber(t, nc, group), "orders.*")); string(got.Payload) != "orders.2" {
		t.Errorf("the next gets %s, want orders.2: the first was acknowledged", got.Payload)
	} else {
		got.Ack()
	}
}

func TestAHandlerThatDoesNotEndIsLeftBehind(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1")
	group := SubscriberConfig{Group: "billing", AckWait: time.Second, CloseTimeout: 10 * time.Millisecond}
	sub := subscriber(t, nc, group)
	m := receive(t, subscribe(t, sub, "orders.1"))
	must(t, sub.Close())
	select {
	case <-m.Context().Done():
	default:
		t.Error("the context of a handler that is left behind goes on")
	}
	again := receive(t, subscribe(t, subscriber(t, nc, group), "orders.1"))
	if again.Metadata[MetaDelivered] != "2" {
		t.Errorf("delivered %s times, want 2", again.Metadata[MetaDelivered])
	}
	again.Ack()
}

func TestAHandlerMayAnswerWhenItsContextEnds(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1")
	sub := subscriber(t, nc, SubscriberConfig{Durable: "billing", CloseTimeout: 50 * time.Millisecond})
	m := receive(t, subscribe(t, sub, "orders.1"))
	context.AfterFunc(m.Context(), func() { m.Ack() })
	must(t, sub.Close())
	c, err := j.Consumer(t.Context(), "ORDERS", "billing")
	must(t, err)
	if n := c.CachedInfo().NumAckPending; n != 0 {
		t.Errorf("%d messages are not acknowledged", n)
	}
}

func TestClosingIsFinalAndLeavesTheConnection(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1")
	sub := subscriber(t, nc, SubscriberConfig{})
	ch := subscribe(t, sub, "orders.1")
	done := make(chan error, 4)
	for range cap(done) {
		go func() { done <- sub.Close() }()
	}
	for range cap(done) {
		must(t, <-done)
	}
	ended(t, ch)
	if _, err := sub.Subscribe(t.Context(), "orders.1"); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	if err := sub.SubscribeInitialize("orders.1"); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
	if nc.IsClosed() {
		t.Error("the connection is closed, it is the caller's")
	}
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}

func TestAClosedConnectionEndsASubscription(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{}), "orders.1")
	payloads(t, ch, 1)
	nc.Close()
	ended(t, ch)
}
