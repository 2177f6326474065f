package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// store puts one message on each subject, with the subject for its payload.
func store(t testing.TB, nc *nats.Conn, subjects ...string) {
	t.Helper()
	pub := publisher(t, nc, PublisherConfig{})
	for _, s := range subjects {
		must(t, pub.Publish(s, text(s)))
	}
}

// payloads takes n messages, acknowledges each, and tells what is in them.
func payloads(t testing.TB, ch <-chan *message.Message, n int) []string {
	t.Helper()
	var got []string
	for range n {
		m := receive(t, ch)
		got = append(got, string(m.Payload))
		m.Ack()
	}
	return got
}

// rest reads a finite subscription to its end.
func rest(t testing.TB, ch <-chan *message.Message) []string {
	t.Helper()
	var got []string
	timeout := time.After(patience)
	for {
		select {
		case m, ok := <-ch:
			if !ok {
				return got
			}
			got = append(got, string(m.Payload))
			m.Ack()
		case <-timeout:
			t.Fatalf("not at its end within %s, after %v", patience, got)
		}
	}
}

func TestATopicMayHaveWildcardsAndBeSeveral(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1.placed", "orders.1.paid", "orders.2.placed", "orders.2.shipped")
	for topic, want := range map[string][]string{
		"orders.*.placed":                 {"orders.1.placed", "orders.2.placed"},
		"orders.2.>":                      {"orders.2.placed", "orders.2.shipped"},
		"orders.1.paid, orders.*.shipped": {"orders.1.paid", "orders.2.shipped"},
		"orders.1.paid,orders.1.paid":     {"orders.1.paid"},
		"orders.>":                        {"orders.1.placed", "orders.1.paid", "orders.2.placed", "orders.2.shipped"},
		"orders.3.placed":                 nil,
	} {
		got := rest(t, subscribe(t, subscriber(t, nc, SubscriberConfig{UntilCaughtUp: true}), topic))
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", topic, got, want)
		}
	}
}

func TestATopicThatIsNoneIsRefused(t *testing.T) {
	nc, _ := connect(t)
	sub := subscriber(t, nc, SubscriberConfig{})
	for _, topic := range []string{"", "orders..1", ".orders", "orders.>.1", "orders. 1", "orders.1,", "orders.1,,orders.2"} {
		if _, err := sub.Subscribe(t.Context(), topic); err == nil {
			t.Errorf("%q is subscribed to", topic)
		}
	}
	if _, err := sub.Subscribe(t.Context(), "nobody.listens"); !errors.Is(err, ErrNoStream) {
		t.Errorf("%v, want ErrNoStream", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sub.Subscribe(over, "orders.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestASlowKeyDoesNotHoldUpOthers(t *testing.T) {
	nc, _ := connect(t)
	const lanes = 8
	slow, fast := "orders.slow", "orders.fast"
	for i := 0; laneOf(slow, lanes) == laneOf(fast, lanes); i++ {
		fast = fmt.Sprintf("orders.fast%d", i)
	}
	store(t, nc, slow, slow, fast, fast)
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{Lanes: lanes}), "orders.>")
	var held *message.Message
	var got []string
	for range 3 {
		m := receive(t, ch)
		if string(m.Payload) == slow {
			if held != nil {
				t.Fatal("two messages of a key are under way")
			}
			held = m
			continue
		}
		got = append(got, string(m.Payload))
		m.Ack()
	}
	if len(got) != 2 || held == nil {
		t.Fatalf("got %v while the slow one was held, want both fast ones", got)
	}
	held.Ack()
	payloads(t, ch, 1)
}

func TestManyLanesKeepTheOrderOfEachKey(t *testing.T) {
	nc, _ := connect(t)
	const keys, each = 20, 20
	pub := publisher(t, nc, PublisherConfig{})
	var ms []*message.Message
	for n := range each {
		for k := range keys {
			m := text(fmt.Sprint(n))
			m.Metadata.Set("key", fmt.Sprint(k))
			ms = append(ms, m)
		}
	}
	must(t, pub.Publish("orders.1", ms...))
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{
		Lanes: 16, UntilCaughtUp: true,
		Key: func(m *message.Message) string { return m.Metadata["key"] },
	}), "orders.1")
	var mu sync.Mutex
	next := map[string]int{}
	var handlers sync.WaitGroup
	for m := range ch {
		handlers.Go(func() { // as the Router does
			mu.Lock()
			key := m.Metadata["key"]
			if string(m.Payload) != fmt.Sprint(next[key]) {
				t.Errorf("key %s: got number %s, want %d", key, m.Payload, next[key])
			}
			next[key]++
			mu.Unlock()
			m.Ack()
		})
	}
	handlers.Wait()
	for k := range keys {
		if n := next[fmt.Sprint(k)]; n != each {
			t.Errorf("key %d: got %d messages, want %d", k, n, each)
		}
	}
}

func TestOneUnderWayIsStrictOrderEvenWithFailures(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{MaxAckPending: 1, NackBackoff: func(uint64) time.Duration { return time.Millisecond }}), "orders.>")
	for try := range 3 {
		m := receive(t, ch)
		if string(m.Payload) != "orders.1" || m.Metadata[MetaDelivered] != fmt.Sprint(try+1) {
			t.Fatalf("try %d: got %s, delivered %s times", try+1, m.Payload, m.Metadata[MetaDelivered])
		}
		m.Nack()
	}
	if got := payloads(t, ch, 3); !slices.Equal(got, []string{"orders.1", "orders.2", "orders.3"}) {
		t.Errorf("got %v", got)
	}
}

func TestASlowHandlerKeepsItsMessage(t *testing.T) {
	nc, _ := connect(t)
	words, err := nc.SubscribeSync("$JS.ACK.>")
	must(t, err)
	store(t, nc, "orders.1", "orders.2")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{AckWait: 300 * time.Millisecond, Heartbeat: 50 * time.Millisecond}), "orders.>")
	slow := receive(t, ch)
	for n := 0; n < 20; { // more than three times AckWait; both messages wait here
		word, err := words.NextMsg(patience)
		must(t, err)
		if string(word.Data) == "+WPI" {
			n++
		}
	}
	slow.Ack()
	next := receive(t, ch)
	if string(next.Payload) != "orders.2" {
		t.Errorf("got %s again", next.Payload)
	}
	next.Ack()
}

func TestANackedMessageComesAgainAfterItsBackoff(t *testing.T) {
	nc, _ := connect(t)
	words, err := nc.SubscribeSync("$JS.ACK.>")
	must(t, err)
	store(t, nc, "orders.1")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{NackBackoff: func(delivered uint64) time.Duration {
		return time.Duration(delivered) * time.Millisecond
	}}), "orders.>")
	for n := 1; n <= 3; n++ {
		m := receive(t, ch)
		if m.Metadata[MetaDelivered] != fmt.Sprint(n) {
			t.Fatalf("delivered %s times, want %d", m.Metadata[MetaDelivered], n)
		}
		m.Nack()
		word, err := words.NextMsg(patience)
		must(t, err)
		if want := fmt.Sprintf(`-NAK {"delay":%d}`, n*int(time.Millisecond)); string(word.Data) != want {
			t.Errorf("the server is told %s, want %s", word.Data, want)
		}
	}
	payloads(t, ch, 1)
}

func TestTheDefaultBackoffDoublesAndEnds(t *testing.T) {
	for delivered, want := range map[uint64]time.Duration{0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond,
		9: 25600 * time.Millisecond, 10: 30 * time.Second, 1 << 63: 30 * time.Second} {
		if got := DefaultNackBackoff(delivered); got != want {
			t.Errorf("%d: %s, want %s", delivered, got, want)
		}
	}
}

func TestAGroupSharesAndGoesOnWhereItStopped(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3", "orders.4")
	group := SubscriberConfig{Group: "billing"}
	first := subscriber(t, nc, group)
	if got := payloads(t, subscribe(t, first, "orders.>"), 2); !slices.Equal(got, []string{"orders.1", "orders.2"}) {
		t.Fatalf("got %v", got)
	}
	must(t, first.Close())
	// Two at once: each gets what the other has not.
	a, b := subscribe(t, subscriber(t, nc, group), "orders.>"), subscribe(t, subscriber(t, nc, group), "orders.>")
	got := map[string]int{}
	for range 2 {
		select {
		case m := <-a:
			got[string(m.Payload)]++
			m.Ack()
		case m := <-b:
			got[string(m.Payload)]++
			m.Ack()
		case <-time.After(patience):
			t.Fatalf("only %v came", got)
		}
	}
	if got["orders.3"] != 1 || got["orders.4"] != 1 {
		t.Errorf("got %v, want 3 and 4 once", got)
	}
	// Another group, and another topic of the same one, have cursors of their own.
	payloads(t, subscribe(t, subscriber(t, nc, SubscriberConfig{Group: "shipping"}), "orders.>"), 4)
	payloads(t, subscribe(t, subscriber(t, nc, group), "orders.1"), 1)
}

func TestADurableNameOfAnotherTopicIsRefused(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1")
	sub := subscriber(t, nc, SubscriberConfig{Durable: "billing"})
	payloads(t, subscribe(t, sub, "orders.1"), 1)
	_, err := sub.Subscribe(t.Context(), "orders.2")
	if err == nil || !strings.Contains(err.Error(), "billing") || !strings.Contains(err.Error(), "orders.1") {
		t.Errorf("%v, want an error that names the consumer and what it reads", err)
	}
	_, err = j.CreateConsumer(t.Context(), "ORDERS", js.ConsumerConfig{Durable: "careless", AckPolicy: js.AckNonePolicy, FilterSubject: "orders.1"})
	must(t, err)
	if _, err := subscriber(t, nc, SubscriberConfig{Durable: "careless"}).Subscribe(t.Context(), "orders.1"); err == nil {
		t.Error("a consumer that acknowledges by itself is used")
	}
	// What may change is changed.
	other := subscriber(t, nc, SubscriberConfig{Durable: "billing", AckWait: time.Minute, MaxAckPending: 7})
	must(t, other.SubscribeInitialize("orders.1"))
	c, err := j.Consumer(t.Context(), "ORDERS", "billing")
	must(t, err)
	if cfg := c.CachedInfo().Config; cfg.AckWait != time.Minute || cfg.MaxAckPending != 7 {
		t.Errorf("AckWait %s, MaxAckPending %d; want what the last subscriber said", cfg.AckWait, cfg.MaxAckPending)
	}
}

func TestInitializedIsAsGoodAsSubscribed(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.before")
	sub := subscriber(t, nc, SubscriberConfig{Group: "billing", Start: FromNew()})
	must(t, sub.SubscribeInitialize("orders.>"))
	store(t, nc, "orders.after")
	must(t, sub.SubscribeInitialize("orders.>"))
	if got := payloads(t, subscribe(t, sub, "orders.>"), 1); got[0] != "orders.after" {
		t.Errorf("got %v", got)
	}
}

func TestDurableNamesAreValidAndDiffer(t *testing.T) {
	names := map[string]string{}
	for _, pair := range [][2]string{{"a", "b"}, {"a-b", "c"}, {"a", "b-c"}, {"a", "x.y"}, {"a", "x_y"}, {"a", "x.*"}, {"a", "x.>"}, {"ü/ \\", ">,*"},
		{"", ""}, {strings.Repeat("g", 300), strings.Repeat("t.", 300)}} {
		name := DurableName(pair[0], pair[1])
		if len(name) > 200 || strings.ContainsAny(name, " .*>/\\,ü") {
			t.Errorf("%q: %q is no name for a consumer", pair, name)
		}
		if other, there := names[name]; there {
			t.Errorf("%q and %q are both %q", pair, other, name)
		}
		names[name] = pair[0] + " " + pair[1]
	}
}

func TestASubscribersConfigurationIsChecked(t *testing.T) {
	nc, _ := connect(t)
	for name, cfg := range map[string]SubscriberConfig{
		"group and durable":         {Group: "a", Durable: "b"},
		"a durable with a dot":      {Durable: "a.b"},
		"negative lanes":            {Lanes: -1},
		"too many lanes":            {Lanes: MaxLanes + 1},
		"too much under way":        {MaxAckPending: MaxMaxAckPending + 1},
		"less under way than lanes": {Lanes: 10, MaxAckPending: 9},
		"a short AckWait":           {AckWait: time.Millisecond},
		"a late heartbeat":          {AckWait: time.Second, Heartbeat: time.Second},
		"a late default heartbeat":  {Heartbeat: time.Minute},
		"a negative heartbeat":      {Heartbeat: -2},
		"a negative MaxDeliver":     {MaxDeliver: -1},
		"a negative CloseTimeout":   {CloseTimeout: -1},
		"sequence 0":                {Start: FromSequence(0)},
		"no time":                   {Start: FromTime(time.Time{})},
	} {
		if _, err := NewSubscriber(nc, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewSubscriber(nil, SubscriberConfig{}); err == nil {
		t.Error("no connection is accepted")
	}
}
