package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// handle runs a Router with one handler until the test ends.
func handle(t *testing.T, sub message.Subscriber, topic string, h message.NoPublishHandlerFunc) {
	t.Helper()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	must(t, err)
	router.AddMiddleware(ClassifyErrors)
	router.AddConsumerHandler("handler", topic, sub, h)
	done := make(chan error, 1)
	go func() { done <- router.Run(context.Background()) }()
	<-router.Running()
	t.Cleanup(func() {
		must(t, router.Close())
		must(t, <-done)
	})
}

// terminations are the server's advisories about terminated messages.
func terminations(t *testing.T, nc *nats.Conn) func() (sequence uint64, reason string) {
	t.Helper()
	s, err := nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
	must(t, err)
	return func() (uint64, string) {
		t.Helper()
		m, err := s.NextMsg(patience)
		must(t, err)
		var advisory struct {
			Sequence uint64 `json:"stream_seq"`
			Reason   string `json:"reason"`
		}
		must(t, json.Unmarshal(m.Data, &advisory))
		return advisory.Sequence, advisory.Reason
	}
}

func TestAPermanentFailureTerminatesTheMessage(t *testing.T) {
	nc, _ := connect(t)
	terminated := terminations(t, nc)
	store(t, nc, "orders.bad", "orders.good")
	handled := make(chan string, 10)
	handle(t, subscriber(t, nc, SubscriberConfig{}), "orders.*", func(m *message.Message) error {
		handled <- string(m.Payload)
		if string(m.Payload) == "orders.bad" {
			return fmt.Errorf("cannot read it: %w", Permanent(errors.New("no such\nversion")))
		}
		return nil
	})
	if sequence, reason := terminated(); sequence != 1 || reason != "cannot read it: no such version" {
		t.Errorf("terminated %d for %q", sequence, reason)
	}
	for _, want := range []string{"orders.bad", "orders.good"} {
		if got := <-handled; got != want {
			t.Errorf("handled %s, want %s", got, want)
		}
	}
}

func TestAHandlerSaysWhenToTryAgain(t *testing.T) {
	nc, _ := connect(t)
	words, err := nc.SubscribeSync("$JS.ACK.>")
	must(t, err)
	store(t, nc, "orders.1")
	var tries int
	done := make(chan struct{})
	handle(t, subscriber(t, nc, SubscriberConfig{}), "orders.*", func(*message.Message) error {
		if tries++; tries == 1 {
			return RetryAfter(7*time.Millisecond, errors.New("no van"))
		}
		close(done)
		return nil
	})
	word, err := words.NextMsg(patience)
	must(t, err)
	if string(word.Data) != `-NAK {"delay":7000000}` {
		t.Errorf("the server is told %s", word.Data)
	}
	<-done
}

func TestAMessageThatAlwaysFailsIsTerminatedAfterMaxDeliver(t *testing.T) {
	nc, _ := connect(t)
	terminated := terminations(t, nc)
	store(t, nc, "orders.1")
	tries := make(chan string, 10)
	handle(t, subscriber(t, nc, SubscriberConfig{MaxDeliver: 3, NackBackoff: func(uint64) time.Duration { return 0 }}), "orders.*", func(m *message.Message) error {
		tries <- m.Metadata[MetaDelivered]
		return errors.New("no")
	})
	if sequence, reason := terminated(); sequence != 1 || !strings.Contains(reason, "3 times") {
		t.Errorf("terminated %d for %q", sequence, reason)
	}
	if len(tries) != 3 {
		t.Errorf("tried %d times, want 3", len(tries))
	}
}

func TestAMessageThatKillsItsProcessIsTerminatedUnseen(t *testing.T) {
	nc, _ := connect(t)
	terminated := terminations(t, nc)
	store(t, nc, "orders.1", "orders.2")
	group := SubscriberConfig{Group: "billing", AckWait: 200 * time.Millisecond, MaxDeliver: 1, CloseTimeout: time.Millisecond}
	died := subscriber(t, nc, group)
	receive(t, subscribe(t, died, "orders.1")) // and never answers
	must(t, died.Close())
	ch := subscribe(t, subscriber(t, nc, group), "orders.1")
	if sequence, _ := terminated(); sequence != 1 {
		t.Errorf("terminated %d, want 1", sequence)
	}
	select {
	case m := <-ch:
		t.Errorf("handed out %s", m.Payload)
	default:
	}
}

func TestErrorsAreClassifiedForOurMessagesOnly(t *testing.T) {
	failure := Permanent(errors.New("no"))
	_, err := ClassifyErrors(func(*message.Message) ([]*message.Message, error) { return nil, failure })(text("of another subscriber"))
	if !errors.Is(err, failure) {
		t.Errorf("%v, want the handler's error", err)
	}
	if Permanent(nil) != nil || RetryAfter(time.Second, nil) != nil {
		t.Error("no error became one")
	}
	if IsPermanent(errors.New("x")) || !IsPermanent(fmt.Errorf("x: %w", failure)) {
		t.Error("IsPermanent does not see what Permanent marked")
	}
}

func TestAReasonIsOneShortLineOfText(t *testing.T) {
	for _, s := range []string{"a\r\nb", strings.Repeat("ü", maxReason), "\xff\xfe", strings.Repeat("x", 3*maxReason), ""} {
		got := oneLine(s)
		if len(got) > maxReason || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q", got)
		}
	}
}
