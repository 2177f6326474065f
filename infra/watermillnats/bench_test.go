package watermillnats

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/watermill/jetstream"
)

// benchRounds of ours and stock take turns; the medians are compared, so that a busy moment of the machine hits neither alone.
const benchRounds = 5

var benchPayload = make([]byte, 250)

// BenchmarkPublish and BenchmarkConsume compare the pair of infra/watermill/jetstream with the stock package on the same
// embedded server, in process: messages per second of either, and their ratio. b.N is the messages of a round:
//
//	go test -run '^$' -bench . -benchtime 20000x ./infra/watermillnats
func BenchmarkPublish(b *testing.B) {
	for _, perCall := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d per call", perCall), func(b *testing.B) {
			in, nc, stream := benchServer(b)
			ours, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{})
			must(b, err)
			defer ours.Close()
			theirs, err := stock.NewPublisher(stock.PublisherConfig{NatsOptions: in}, watermill.NopLogger{})
			must(b, err)
			defer theirs.Close()
			publish := func(pub message.Publisher) time.Duration {
				must(b, stream.Purge(b.Context()))
				started := time.Now()
				for left := b.N; left > 0; left -= perCall {
					ms := make([]*message.Message, min(perCall, left))
					for i := range ms {
						ms[i] = message.NewMessage(watermill.NewUUID(), benchPayload)
					}
					must(b, pub.Publish("orders.1", ms...))
				}
				return time.Since(started)
			}
			compare(b, func() time.Duration { return publish(ours) }, func() time.Duration { return publish(theirs) })
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	for name, c := range map[string]struct {
		ours     jetstream.SubscriberConfig
		ackAsync bool // what the stock subscriber does
	}{
		"1 lane against AckSync":   {jetstream.SubscriberConfig{}, false},
		"1 lane against AckAsync":  {jetstream.SubscriberConfig{}, true},
		"64 lanes against AckSync": {jetstream.SubscriberConfig{Lanes: 64}, false},
	} {
		b.Run(name, func(b *testing.B) {
			in, nc, _ := benchServer(b)
			fill(b, nc)
			compare(b, func() time.Duration {
				sub, err := jetstream.NewSubscriber(nc, c.ours)
				must(b, err)
				return consume(b, sub)
			}, func() time.Duration {
				sub, err := stock.NewSubscriber(stock.SubscriberConfig{
					NatsOptions: in,
					JetStream:   stock.JetStreamConfig{AckAsync: c.ackAsync, SubscribeOptions: []nats.SubOpt{nats.ManualAck()}},
				}, watermill.NopLogger{})
				must(b, err)
				return consume(b, sub)
			})
		})
	}
}

// fill stores at least b.N messages on 256 subjects.
func fill(b *testing.B, nc *nats.Conn) {
	b.Helper()
	pub, err := jetstream.NewPublisher(nc, jetstream.PublisherConfig{})
	must(b, err)
	defer pub.Close()
	const subjects = 256
	for s := range min(subjects, b.N) {
		ms := make([]*message.Message, b.N/subjects+1)
		for i := range ms {
			ms[i] = message.NewMessage(watermill.NewUUID(), benchPayload)
		}
		must(b, pub.Publish(fmt.Sprintf("orders.%d", s), ms...))
	}
}

// consume takes b.N messages and acknowledges each.
func consume(b *testing.B, sub message.Subscriber) time.Duration {
	b.Helper()
	started := time.Now()
	ch, err := sub.Subscribe(context.Background(), "orders.>") // all of the stream: the server's filter is not what is measured
	must(b, err)
	for range b.N {
		(<-ch).Ack()
	}
	took := time.Since(started)
	must(b, sub.Close())
	return took
}

func compare(b *testing.B, ours, theirs func() time.Duration) {
	b.Helper()
	var a, z []time.Duration
	for range benchRounds {
		a = append(a, ours())
		z = append(z, theirs())
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(b.N) / d[len(d)/2].Seconds()
	}
	b.ReportMetric(0, "ns/op") // of all rounds of both: says nothing
	b.ReportMetric(median(a), "ours-msgs/s")
	b.ReportMetric(median(z), "stock-msgs/s")
	b.ReportMetric(median(a)/median(z), "ratio")
}

// benchServer connects both in process.
func benchServer(b *testing.B) (in []nats.Option, nc *nats.Conn, stream js.Stream) {
	b.Helper()
	server := natsservertest.Single(b)
	nc, err := server.Connect()
	must(b, err)
	b.Cleanup(nc.Close)
	j, err := js.New(nc)
	must(b, err)
	stream, err = j.CreateStream(b.Context(), js.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	must(b, err)
	return []nats.Option{nats.InProcessServer(nc.Opts.InProcessServer)}, nc, stream
}
