package jetstream

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

func expecting(key, sequence string) *message.Message {
	m := text("x")
	m.Metadata.Set(key, sequence)
	return m
}

func TestAnUnexpectedSequenceIsAConflict(t *testing.T) {
	nc, _ := connect(t)
	pub := publisher(t, nc, PublisherConfig{})
	must(t, pub.Publish("orders.1", expecting(MetaExpectSubjectSequence, "0")))
	must(t, pub.Publish("orders.2", text("y")))
	for key, m := range map[string]*message.Message{
		"subject": expecting(MetaExpectSubjectSequence, "0"),
		"stream":  expecting(MetaExpectSequence, "0"),
	} {
		err := pub.Publish("orders.1", m)
		var conflict *ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("%s: %v, want a conflict", key, err)
		}
		want := map[string]uint64{"subject": 1, "stream": 2}[key]
		if conflict.Subject != "orders.1" || conflict.Expected != 0 || conflict.Actual != want {
			t.Errorf("%s: %+v, want it at %d", key, conflict, want)
		}
		if Sequence(m) != 0 {
			t.Errorf("%s: a refused message says it is at %d", key, Sequence(m))
		}
	}
	next := expecting(MetaExpectSequence, "2")
	must(t, pub.Publish("orders.1", next))
	if Sequence(next) != 3 {
		t.Errorf("stored at %d, want 3", Sequence(next))
	}
}

func TestConflictsOfEveryClientAreKnown(t *testing.T) {
	const description = "wrong last sequence: 17"
	for name, err := range map[string]error{
		"nats.go's newer client":  fmt.Errorf("nats: %w", &js.APIError{ErrorCode: codeWrongLastSequence, Description: description}),
		"nats.go's legacy client": fmt.Errorf("nats: %w", &nats.APIError{ErrorCode: codeWrongLastSequence, Description: description}),
	} {
		if c, ok := AsConflict(err); !ok || c.Actual != 17 {
			t.Errorf("%s: %+v, want a conflict with 17", name, c)
		}
	}
	// While a message is on its way into a replicated stream, the server does not name the sequence.
	if c, ok := AsConflict(&js.APIError{ErrorCode: codeWrongLastSequenceConstant, Description: "wrong last sequence"}); !ok || c.Actual != 0 {
		t.Errorf("%+v, want a conflict with an unknown sequence", c)
	}
	if c, ok := AsConflict(&js.APIError{ErrorCode: js.JSErrCodeStreamNotFound}); ok {
		t.Errorf("a missing stream is taken for %+v", c)
	}
}

func TestPublishSaysWhichMessagesFailed(t *testing.T) {
	nc, j := connect(t)
	pub := publisher(t, nc, PublisherConfig{})
	first, second, third := text("1"), expecting(MetaExpectSequence, "99"), text("3")
	second.UUID = "the second"
	err := pub.Publish("orders.1", first, second, third)
	var failed *PublishError
	if !errors.As(err, &failed) || len(failed.Failures) != 1 || failed.Failures[0].Index != 1 || failed.Count != 3 {
		t.Fatalf("%v, want the second of three to fail", err)
	}
	if !strings.Contains(err.Error(), "the second") {
		t.Errorf("the error does not name the message: %s", err)
	}
	if Sequence(first) != 1 || Sequence(second) != 0 || Sequence(third) != 2 {
		t.Errorf("stored at %d, %d, %d; want 1, 0, 2", Sequence(first), Sequence(second), Sequence(third))
	}
	if n := stored(t, j); n != 2 {
		t.Errorf("%d messages are stored, want 2", n)
	}
}

// stored is the number of messages in ORDERS.
func stored(t *testing.T, j js.JetStream) uint64 {
	t.Helper()
	s, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	return s.CachedInfo().State.Msgs
}

func TestWhatCannotBeSentIsRefusedBeforeAnythingIs(t *testing.T) {
	nc, j := connect(t)
	pub := publisher(t, nc, PublisherConfig{})
	bad := text("x")
	bad.Metadata.Set("a key", "v")
	colon := text("x")
	colon.Metadata.Set("a:key", "v")
	for name, publish := range map[string]func() error{
		"a metadata key with a space": func() error { return pub.Publish("orders.1", text("good"), bad) },
		"a metadata key with a colon": func() error { return pub.Publish("orders.1", text("good"), colon) },
		"no message":                  func() error { return pub.Publish("orders.1", text("good"), nil) },
		"a wildcard":                  func() error { return pub.Publish("orders.*", text("good")) },
		"no topic":                    func() error { return pub.Publish("", text("good")) },
		"a space in the topic":        func() error { return pub.Publish("orders.a b", text("good")) },
		"a line break in the topic":   func() error { return pub.Publish("orders.a\r\nPUB evil 0", text("good")) },
		"an empty part of the topic":  func() error { return pub.Publish("orders..a", text("good")) },
	} {
		if err := publish(); err == nil {
			t.Errorf("%s is published", name)
		}
	}
	if n := stored(t, j); n != 0 {
		t.Errorf("%d messages are stored, want none", n)
	}
}

func TestATopicWithoutAStreamIsAnError(t *testing.T) {
	nc, _ := connect(t)
	if err := publisher(t, nc, PublisherConfig{}).Publish("nobody.listens", text("x")); !errors.Is(err, ErrNoStream) {
		t.Errorf("%v, want ErrNoStream", err)
	}
}

func TestAnAcknowledgementThatDoesNotComeLeavesTheOutcomeUnknown(t *testing.T) {
	nc, _ := connect(t)
	// A listener that is not a stream: the message is delivered, and nobody answers.
	_, err := nc.SubscribeSync("silence")
	must(t, err)
	pub := publisher(t, nc, PublisherConfig{Timeout: 20 * time.Millisecond})
	if err := pub.Publish("silence", text("x"), text("y")); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("%v, want ErrOutcomeUnknown", err)
	}
}

func TestConcurrentPublishersEachLearnTheirOwnSequence(t *testing.T) {
	nc, j := connect(t)
	pub := publisher(t, nc, PublisherConfig{MaxPending: 8})
	const calls, each = 16, 25
	var wg sync.WaitGroup
	sequences := make([][]uint64, calls)
	for i := range calls {
		wg.Go(func() {
			var ms []*message.Message
			for n := range each {
				ms = append(ms, text(fmt.Sprintf("%d/%d", i, n)))
			}
			if err := pub.Publish("orders.1", ms...); err != nil {
				t.Error(err)
			}
			for _, m := range ms {
				sequences[i] = append(sequences[i], Sequence(m))
			}
		})
	}
	wg.Wait()
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	for i, own := range sequences {
		for n, sequence := range own {
			if n > 0 && sequence <= own[n-1] {
				t.Fatalf("call %d: message %d is stored at %d, the one before at %d", i, n, sequence, own[n-1])
			}
			raw, err := stream.GetMsg(t.Context(), sequence)
			must(t, err)
			if want := fmt.Sprintf("%d/%d", i, n); string(raw.Data) != want {
				t.Fatalf("at %d there is %q, want %q", sequence, raw.Data, want)
			}
		}
	}
}

func TestDeduplicationIsBySubjectAndUUID(t *testing.T) {
	nc, j := connect(t)
	pub := publisher(t, nc, PublisherConfig{Deduplicate: true})
	m := message.NewMessage("the-id", []byte("x"))
	must(t, pub.Publish("orders.1", m))
	again := message.NewMessage("the-id", []byte("x"))
	must(t, pub.Publish("orders.1", again))
	if again.Metadata[MetaDuplicate] != "true" || Sequence(again) != 1 {
		t.Errorf("published again: duplicate %q, at %d; want it at 1", again.Metadata[MetaDuplicate], Sequence(again))
	}
	// A poison queue in the same stream gets the very message that failed.
	must(t, pub.Publish("orders.poison", again))
	if again.Metadata[MetaDuplicate] != "" || Sequence(again) != 2 {
		t.Errorf("to the poison queue: duplicate %q, at %d; want it at 2", again.Metadata[MetaDuplicate], Sequence(again))
	}
	if n := stored(t, j); n != 2 {
		t.Errorf("%d messages are stored, want 2", n)
	}
}

func TestAClosedPublisherRefusesAndLeavesTheConnection(t *testing.T) {
	nc, _ := connect(t)
	pub := publisher(t, nc, PublisherConfig{})
	view := pub.WithoutClose()
	must(t, view.Publish("orders.1", text("x")))
	must(t, view.Close())
	must(t, pub.Publish("orders.1", text("still open")))
	must(t, pub.Close())
	must(t, pub.Close())
	for _, p := range []message.Publisher{pub, view} {
		if err := p.Publish("orders.1", text("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}
	if nc.IsClosed() {
		t.Error("the connection is closed, it is the caller's")
	}
	must(t, publisher(t, nc, PublisherConfig{}).Publish("orders.1", text("by another")))
}

func TestAMessageThatWasConsumedCanBePublishedAgain(t *testing.T) {
	nc, _ := connect(t)
	pub := publisher(t, nc, PublisherConfig{})
	// With the server's headers on it the second publication would be refused: it expects an empty stream.
	must(t, pub.Publish("orders.1", expecting(MetaExpectSequence, "0")))
	got := receive(t, subscribe(t, subscriber(t, nc, SubscriberConfig{}), "orders.1"))
	got.Ack()
	must(t, pub.Publish("orders.2", got))
	again := receive(t, subscribe(t, subscriber(t, nc, SubscriberConfig{}), "orders.2"))
	again.Ack()
	if again.Metadata[MetaSubject] != "orders.2" || again.Metadata[MetaSequence] != "2" || again.UUID != got.UUID {
		t.Errorf("got %v %v, want %s at orders.2, 2", again.UUID, again.Metadata, got.UUID)
	}
}

func TestAMessageWithoutMetadataIsPublished(t *testing.T) {
	nc, _ := connect(t)
	m := &message.Message{Payload: []byte("x")}
	must(t, publisher(t, nc, PublisherConfig{}).Publish("orders.1", m))
	if Sequence(m) != 1 {
		t.Errorf("stored at %d, want 1", Sequence(m))
	}
}

func TestAPublishersConfigurationIsChecked(t *testing.T) {
	nc, _ := connect(t)
	for name, cfg := range map[string]PublisherConfig{
		"a negative timeout": {Timeout: -1},
		"too much pending":   {MaxPending: MaxMaxPending + 1},
		"negative pending":   {MaxPending: -1},
	} {
		if _, err := NewPublisher(nc, cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := NewPublisher(nil, PublisherConfig{}); err == nil {
		t.Error("no connection is accepted")
	}
}
