package watermill_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/watermill"
)

func TestABusEndsWithItsEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		engine, err := tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{}), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := runGreet(ctx, engine)
		b := newBus(t, engine, watermill.BusConfig{Events: watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}}})
		asked := make(chan error, 1)
		if err := b.Handle(cqrs.NewEventHandler("slow", func(ctx context.Context, _ *domain.PartitionOpened) error {
			<-ctx.Done() // nobody could write down what comes of it
			asked <- ctx.Err()
			return ctx.Err()
		})); err != nil {
			t.Fatal(err)
		}
		through := make(chan error, 1)
		go func() { through <- b.Run(t.Context()) }()
		settle(time.Second)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := <-asked; !errors.Is(err, context.Canceled) {
			t.Errorf("the context of the handler: %v", err)
		}
		if err := <-through; err != nil {
			t.Errorf("Run: %v", err)
		}
		e, err := watermill.NewEvents(engine, watermill.EventsConfig{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Subscribe(t.Context(), watermill.EveryFact); !errors.Is(err, tasker.ErrNotRunning) {
			t.Errorf("Subscribe to an engine that has ended: %v", err)
		}
	})
}

// What a Router publishes with an Intake is a task, once, however often the message comes.
func TestARequestOfARouterBecomesATask(t *testing.T) {
	srv := natsservertest.Single(t)
	engine, err := tasker.New(t.Context(), tasker.Config{Connect: srv.Connect, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := runGreet(ctx, engine)
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	intake := newIntake(t, watermill.IntakeConfig{NATS: nc, Operator: engine})

	// orders are messages of somebody else's; each comes twice.
	orders := make(chan *message.Message, 4)
	for _, id := range []string{"m-1", "m-2", "m-1", "m-2"} {
		orders <- message.NewMessage(id, nil)
	}
	close(orders)
	router := message.NewDefaultRouter(wm.NopLogger{})
	router.AddHandler("bridge", "orders", channel(orders), string(domain.TaskCreatedType), intake, func(msg *message.Message) ([]*message.Message, error) {
		request := message.NewMessage(msg.UUID, []byte(`{"name":"greet"}`))
		request.Metadata.Set(watermill.MetadataCorrelation, "order "+msg.UUID)
		return []*message.Message{request}, nil
	})
	if err := router.Run(t.Context()); err != nil {
		t.Fatal(err)
	}

	e, err := watermill.NewEvents(engine, watermill.EventsConfig{Logger: quiet, Subscription: domain.Subscription{From: domain.FromBeginning}})
	if err != nil {
		t.Fatal(err)
	}
	out := subscribe(t, e, string(domain.TaskCompletedType))
	got := map[string]string{}
	for len(got) < 2 {
		select {
		case msg := <-out:
			got[msg.Metadata.Get(watermill.MetadataTask)] = msg.Metadata.Get(watermill.MetadataCorrelation)
			msg.Ack()
		case <-time.After(patience):
			t.Fatalf("completed: %v", got)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"m-1", "m-2"} {
		if task := domain.MessageTaskID(domain.DefaultNamespace, "greet", id).String(); got[task] != "order "+id {
			t.Errorf("task %s of message %s has the correlation %q", task, id, got[task])
		}
	}
	created := 0
	for _, err := range engine.Replay(t.Context(), tasker.ReplayOptions{Types: []tasker.EventType{domain.TaskCreatedType}}) {
		if err != nil {
			t.Fatal(err)
		}
		created++
	}
	if created != 2 {
		t.Errorf("%d tasks were created", created)
	}
}

// channel is a subscriber that has what it has.
type channel chan *message.Message

func (c channel) Subscribe(context.Context, string) (<-chan *message.Message, error) { return c, nil }
func (channel) Close() error                                                         { return nil }

// One iteration hands 60,000 events to a Router whose handler does nothing.
func BenchmarkEvents(b *testing.B) {
	const tasks, commits, perCommit = 64, 200, 300
	s := memlog.New(memlog.Options{Partitions: 2})
	var ids []domain.TaskID
	for i := range tasks {
		ids = append(ids, taskOf(i, i%2, 2))
	}
	for n := range commits {
		records := make([]domain.Record, perCommit)
		for i := range records {
			records[i] = note(ids[(2*i+n%2)%tasks], i)
		}
		store(b, s, n%2, records...)
	}
	for _, c := range []struct {
		name   string
		config watermill.EventsConfig
	}{
		{"live, 1 lane", watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning, Lanes: 1}}},
		{"live, 16 lanes", watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}}},
		{"replay, 16 lanes", watermill.EventsConfig{Replay: &domain.ReplayOptions{}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, stop := context.WithCancel(b.Context())
				e := newEvents(b, s, c.config)
				router := message.NewDefaultRouter(wm.NopLogger{})
				var n atomic.Int64
				router.AddConsumerHandler("nothing", annotations, e, func(*message.Message) error {
					if n.Add(1) == commits*perCommit {
						stop()
					}
					return nil
				})
				if err := router.Run(ctx); err != nil || n.Load() != commits*perCommit {
					b.Fatalf("%d events: %v", n.Load(), err)
				}
				stop()
			}
			b.ReportMetric(float64(b.N*commits*perCommit)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*commits*perCommit), "ns/event")
		})
	}
}
