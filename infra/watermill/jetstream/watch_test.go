package jetstream

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// current is the only subscription of a subscriber.
func current(t *testing.T, s *Subscriber) *subscription {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.open {
		return sub
	}
	t.Fatal("no subscription")
	return nil
}

// logged collects a log that goroutines write.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// The consumer stalls: the server has messages and no request for them, which is how nats.go's pull subscriptions are
// left behind when a request is lost. Every request is lost here until the subscription has asked `lost` times.
func TestAStalledConsumerIsAskedAgain(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{1, 5} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			nc, j := connect(t)
			var log logged
			sub := subscriber(t, nc, SubscriberConfig{Durable: "billing", Logger: slog.New(slog.NewTextHandler(&log, nil))})
			ch := subscribe(t, sub, "orders.*")
			asked, publish := 0, nc.PublishRequest
			p := current(t, sub).currentPuller()
			p.mu.Lock()
			p.publish = func(subject, reply string, data []byte) error {
				if asked++; asked <= lost {
					return nil
				}
				return publish(subject, reply, data)
			}
			p.mu.Unlock()
			// The request that is out there is taken by as many messages as it asked for; the next ones are lost.
			pub := publisher(t, nc, PublisherConfig{})
			n := p.batch + 10
			var ms []*message.Message
			for i := range n {
				ms = append(ms, text(fmt.Sprint(i)))
			}
			must(t, pub.Publish("orders.1", ms...))
			for i, got := range payloads(t, ch, n) {
				if got != fmt.Sprint(i) {
					t.Fatalf("message %d is %s", i, got)
				}
			}
			c, err := j.Consumer(t.Context(), "ORDERS", "billing")
			must(t, err)
			if info := c.CachedInfo(); info.NumPending != 0 {
				t.Errorf("%d messages are pending", info.NumPending)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if asked < min(lost, suspicious) { // then another puller asks
				t.Errorf("asked %d times, the stall was not met", asked)
			}
			// One that stays silent gets a new inbox.
			if strings.Contains(log.String(), "another inbox") != (lost > suspicious) {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}

func TestADeletedConsumerIsCreatedAgainWhereItWas(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]SubscriberConfig{
		"of its own": {Lanes: 2},
		"durable":    {Durable: "billing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, j := connect(t)
			store(t, nc, "orders.1", "orders.2", "orders.3")
			cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
			sub := subscriber(t, nc, cfg)
			ch := subscribe(t, sub, "orders.*")
			got := payloads(t, ch, 2)
			must(t, j.DeleteConsumer(t.Context(), "ORDERS", current(t, sub).src.consumer.CachedInfo().Name))
			store(t, nc, "orders.4")
			times := func() map[string]int {
				n := map[string]int{}
				for _, p := range got {
					n[p]++
				}
				return n
			}
			for len(times()) < 4 {
				got = append(got, payloads(t, ch, 1)...)
			}
			// Its own position is known exactly; that of a group, as of the last question.
			if cfg.Durable == "" && len(got) != 4 {
				t.Errorf("got %v, want each once", got)
			}
		})
	}
}

func TestARestartOfTheServerIsOutlived(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := natsserver.Options{Dir: dir, Durability: natsserver.Interval, MaxStore: 1 << 30, Listen: "127.0.0.1:0"}
	first, err := natsserver.Start(t.Context(), o)
	must(t, err)
	o.Listen = strings.TrimPrefix(first.URL(), "nats://")
	nc, err := nats.Connect(first.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	must(t, err)
	defer nc.Close()
	j, err := js.New(nc)
	must(t, err)
	_, err = j.CreateStream(t.Context(), js.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	must(t, err)
	store(t, nc, "orders.1", "orders.2")

	durable := subscribe(t, subscriber(t, nc, SubscriberConfig{Durable: "billing"}), "orders.*")
	own := subscribe(t, subscriber(t, nc, SubscriberConfig{}), "orders.*") // its consumer is in the server's memory
	payloads(t, durable, 2)
	payloads(t, own, 2)
	must(t, first.Shutdown(t.Context()))
	natsservertest.Single(t, func(again *natsserver.Options) { *again = o })

	pub := publisher(t, nc, PublisherConfig{})
	for pub.Publish("orders.3", text("orders.3")) != nil { //nolint:revive // until the connection is back
	}
	for name, ch := range map[string]<-chan *message.Message{"durable": durable, "own": own} {
		for { // acknowledgements that did not reach the disk bring the others again
			if got := payloads(t, ch, 1)[0]; got == "orders.3" {
				break
			} else if got != "orders.1" && got != "orders.2" {
				t.Fatalf("%s: got %s", name, got)
			}
		}
	}
}
