package jetstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// childURL, when set, makes the test binary a subscriber in a process of its own, for the test to kill.
const childURL = "JETSTREAM_TEST_CHILD_URL"

// A child handles orders with a Router and says so: it stores the message's payload in HANDLED before it acknowledges. How it
// ends is up to the parent: SIGKILL, SIGTERM for Close, SIGINT for the end of Run's context.
func runChild(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	pub, err := NewPublisher(nc, PublisherConfig{})
	if err != nil {
		return err
	}
	sub, err := NewSubscriber(nc, handoverGroup())
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	router.AddConsumerHandler("handler", "orders.*", sub, func(m *message.Message) error {
		if err := pub.Publish("handled", message.NewMessage("", m.Payload)); err != nil {
			return err
		}
		fmt.Println("handled") // the parent counts the lines
		return nil
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		if <-signals == syscall.SIGINT {
			cancel()
			return
		}
		_ = sub.Close() // the Router ends when its handler's channel is closed
	}()
	return router.Run(ctx)
}

func handoverGroup() SubscriberConfig {
	return SubscriberConfig{Group: "billing", Lanes: 4, AckWait: 500 * time.Millisecond, MaxAckPending: 100}
}

func TestNothingIsLostFromProcessToProcess(t *testing.T) {
	t.Parallel()
	server := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	nc, err := server.Connect()
	must(t, err)
	defer nc.Close()
	j, err := js.New(nc)
	must(t, err)
	for _, cfg := range []js.StreamConfig{{Name: "ORDERS", Subjects: []string{"orders.>"}}, {Name: "HANDLED", Subjects: []string{"handled"}}} {
		_, err := j.CreateStream(t.Context(), cfg)
		must(t, err)
	}
	const total, each = 800, 100
	pub := publisher(t, nc, PublisherConfig{})
	for i := range total {
		must(t, pub.Publish(fmt.Sprintf("orders.%d", i%20), text(fmt.Sprint(i))))
	}
	for _, end := range []os.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT} {
		child(t, server.URL(), each, end)
	}
	// The last one takes what is left, acknowledgements that the killed ones took with them included.
	last := handoverGroup()
	last.UntilCaughtUp = true
	for m := range subscribe(t, subscriber(t, nc, last), "orders.*") {
		must(t, pub.Publish("handled", text(string(m.Payload))))
		m.Ack()
	}
	handled := map[string]int{}
	for _, p := range rest(t, subscribe(t, subscriber(t, nc, SubscriberConfig{UntilCaughtUp: true}), "handled")) {
		handled[p]++
	}
	again := 0
	for i := range total {
		n := handled[fmt.Sprint(i)]
		if n == 0 {
			t.Errorf("message %d is lost", i)
		}
		again += max(n-1, 0)
	}
	// What may come twice is what was under way when a process was killed: handled and not yet acknowledged.
	if limit := 2 * last.MaxAckPending; again > limit {
		t.Errorf("%d messages were handled again, at most %d were under way", again, limit)
	}
	t.Logf("%d messages, four processes, two of them killed: none lost, %d handled twice", total, again)
}

// child runs until it handled n messages, then ends it. Those that are asked to end do so in good order.
func child(t *testing.T, url string, n int, end os.Signal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+url, "GORACE=atexit_sleep_ms=0")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for i := range n {
		if !lines.Scan() {
			t.Errorf("the child ended after %d messages", i)
			break
		}
	}
	must(t, cmd.Process.Signal(end))
	_, _ = io.Copy(io.Discard, out) // ends with the process
	err = cmd.Wait()
	if end == syscall.SIGKILL {
		if err == nil {
			t.Error("the child ended before it was killed")
		}
		return
	}
	if err != nil {
		t.Errorf("the child did not end in good order after %s: %v: %s", end, err, complaints.String())
	}
}
