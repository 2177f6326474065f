package watermillnats

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

const (
	lossMessages = 60
	lossStops    = 5
	// lossAckWait is short: what a handler did not acknowledge comes again within the test, if it comes again.
	lossAckWait = 300 * time.Millisecond
)

// The same day at work for three subscribers of a durable consumer: five times a process stops while a handler is at a message that it
// has not acknowledged, by Close and by the end of a context in turn, with a backlog; one message has a header with two
// values. Then one process handles the rest. What nobody handled, and the server does not deliver any more, is lost.
func TestWhatTheStockSubscriberLosesIsNotLostHere(t *testing.T) {
	url, nc, j := serve(t)
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	days := []struct {
		name, durable string
		run           func() (handled map[string]bool, remark string)
	}{
		{"ours", "ours", func() (map[string]bool, string) {
			return ownDay(t, j, "ours", func() (message.Subscriber, error) {
				return jetstream.NewSubscriber(nc, jetstream.SubscriberConfig{Durable: "ours", AckWait: lossAckWait, CloseTimeout: 10 * time.Millisecond})
			})
		}},
		{"stock, guarded", "guarded", func() (map[string]bool, string) {
			return ownDay(t, j, jetstream.DurableName("guarded", "orders.1")+"-push", func() (message.Subscriber, error) {
				return NewSubscriber(SubscriberConfig{URL: url, Group: "guarded", AckWait: lossAckWait, CloseTimeout: 10 * time.Millisecond}, nil)
			})
		}},
		{"stock, as shipped", "stock", func() (map[string]bool, string) { return stockDay(t, url) }},
	}
	// The durable consumer is there before, as an operator makes it: the stock package deletes one that it made itself, and
	// begins at the beginning after every stop.
	_, err = stream.CreateOrUpdatePushConsumer(t.Context(), js.ConsumerConfig{
		Durable: "stock", FilterSubject: "orders.1", DeliverSubject: nats.NewInbox(), DeliverGroup: "stock",
		AckPolicy: js.AckExplicitPolicy, AckWait: lossAckWait, MaxDeliver: -1,
	})
	must(t, err)
	for i := range lossMessages {
		h := nats.Header{}
		if i == lossMessages/2 {
			h = nats.Header{"Accept": {"a", "b"}}
		}
		_, err := j.PublishMsg(t.Context(), &nats.Msg{Subject: "orders.1", Header: h, Data: fmt.Append(nil, i)})
		must(t, err)
	}
	for _, d := range days {
		handled, remark := d.run()
		lost := lossMessages - len(handled)
		t.Logf("%-18s lost %2d of %d messages %s", d.name, lost, lossMessages, remark)
		if lost != 0 && d.durable != "stock" {
			t.Errorf("%s: %d messages are lost", d.name, lost)
		}
	}
}

func ownDay(t *testing.T, j js.JetStream, durable string, open func() (message.Subscriber, error)) (map[string]bool, string) {
	t.Helper()
	handled := map[string]bool{}
	must(t, day(t.Context(), j, durable, lossStops, open, func(payload string) { handled[payload] = true }))
	return handled, ""
}

// lossURL, when set, makes the test binary a process of the stock day: its stops, unless lossRest says that only the rest is
// left. It has a process of its own because it ends it: "send on closed channel".
const (
	lossURL  = "WATERMILLNATS_TEST_LOSS_URL"
	lossRest = "WATERMILLNATS_TEST_LOSS_REST"
)

func stockDay(t *testing.T, url string) (handled map[string]bool, remark string) {
	t.Helper()
	handled = map[string]bool{}
	crashes := 0
	for rest := ""; ; rest = "yes" {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), lossURL+"="+url, lossRest+"="+rest, "GORACE=atexit_sleep_ms=0")
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		done := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if payload, ok := strings.CutPrefix(lines.Text(), "handled "); ok {
				handled[payload] = true
			}
			done = done || lines.Text() == "done"
		}
		_ = cmd.Wait() // the race detector has its say about the stock package
		if done || crashes == 10 {
			return handled, fmt.Sprintf("and ended the process %d times", crashes)
		}
		crashes++
	}
}

// runStockDay is the child.
func runStockDay(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	j, err := js.New(nc)
	if err != nil {
		return err
	}
	stops := lossStops
	if os.Getenv(lossRest) != "" {
		stops = 0
	}
	err = day(context.Background(), j, "stock", stops, func() (message.Subscriber, error) {
		return stock.NewSubscriber(stock.SubscriberConfig{
			URL: url, QueueGroupPrefix: "stock", CloseTimeout: patience,
			JetStream: stock.JetStreamConfig{DurablePrefix: "stock"},
		}, watermill.NopLogger{})
	}, func(payload string) { fmt.Println("handled", payload) })
	if err == nil {
		fmt.Println("done")
	}
	return err
}

// day is the scenario.
func day(ctx context.Context, j js.JetStream, durable string, stops int, open func() (message.Subscriber, error), handled func(payload string)) error {
	stream, err := j.Stream(ctx, "ORDERS")
	if err != nil {
		return err
	}
	// take handles n messages, fewer when the server has no more.
	take := func(ch <-chan *message.Message, n int) error {
		for range n {
			m, err := next(ctx, ch, stream, durable)
			if m == nil {
				return err
			}
			handled(string(m.Payload))
			m.Ack()
		}
		return nil
	}
	for stop := 0; stop <= stops; stop++ {
		sub, err := open()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ch, err := sub.Subscribe(ctx, "orders.1")
		if err != nil {
			return err
		}
		if stop == stops {
			return errors.Join(take(ch, math.MaxInt), sub.Close())
		}
		if err := take(ch, 3); err != nil {
			return err
		}
		// The handler of the next does not come to an end.
		if _, err := next(ctx, ch, stream, durable); err != nil {
			return err
		}
		if stop%2 == 0 {
			cancel()
			for range ch { // until it is closed: what else comes is not handled either
			}
		}
		_ = sub.Close() // with or without a complaint about the handler
	}
	return nil
}

// next is nil when the server has nothing left for the consumer.
func next(ctx context.Context, ch <-chan *message.Message, stream js.Stream, durable string) (*message.Message, error) {
	for deadline := time.After(patience); ; {
		select {
		case m := <-ch:
			return m, nil
		case <-deadline:
			return nil, fmt.Errorf("consumer %s: the server has messages that do not come", durable)
		case <-time.After(lossAckWait): // it is still: does the server think so, too?
		}
		info, err := consumerInfo(ctx, stream, durable)
		if err != nil || info.NumPending == 0 && info.NumAckPending == 0 {
			return nil, err
		}
	}
}

// consumerInfo is of a consumer of either kind.
func consumerInfo(ctx context.Context, stream js.Stream, durable string) (*js.ConsumerInfo, error) {
	push, err := stream.PushConsumer(ctx, durable)
	if err == nil {
		return push.CachedInfo(), nil
	}
	pull, err := stream.Consumer(ctx, durable)
	if err != nil {
		return nil, err
	}
	return pull.CachedInfo(), nil
}
