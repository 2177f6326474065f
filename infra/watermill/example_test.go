package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/watermill"
)

// A custom subscriber: a typed handler, durable under its name.
func ExampleBus() {
	ctx, stop := exampleContext()
	engine := exampleEngine(ctx)
	config := watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}}
	bus, err := watermill.NewBus(engine, watermill.BusConfig{Events: config})
	if err != nil {
		panic(err)
	}
	err = bus.Handle(cqrs.NewEventHandler("billing", func(_ context.Context, e *domain.TaskCompleted) error {
		defer stop()
		fmt.Println("completed with", string(e.Result.JSON))
		return nil
	}))
	fmt.Println(err, bus.Run(ctx))
	// Output:
	// completed with {"hello":"hello"}
	// <nil> <nil>
}

// Without a Bus: a Router of one's own, and messages as they are.
func ExampleEvents() {
	ctx, stop := exampleContext()
	engine := exampleEngine(ctx)
	events, err := watermill.NewEvents(engine, watermill.EventsConfig{
		Subscription: domain.Subscription{Name: "audit", From: domain.FromBeginning, Lanes: 4},
	})
	if err != nil {
		panic(err)
	}
	router := message.NewDefaultRouter(wm.NopLogger{})
	router.AddMiddleware(watermill.PassErrors, middleware.CorrelationID, middleware.Recoverer)
	router.AddConsumerHandler("audit", "step.completed,task.*", events, func(msg *message.Message) error {
		fmt.Println(msg.Metadata.Get(watermill.MetadataType), "in partition", msg.Metadata.Get(watermill.MetadataPartition))
		if msg.Metadata.Get(watermill.MetadataType) == string(domain.TaskCompletedType) {
			stop()
		}
		return nil
	})
	fmt.Println(router.Run(ctx), events.Err())
	// Output:
	// task.created in partition 0
	// task.start_requested in partition 0
	// step.completed in partition 0
	// task.completed in partition 0
	// <nil> <nil>
}

// A finite subscription: Run returns when what is stored has been handled.
func ExampleBus_replay() {
	ctx, stop := exampleContext()
	defer stop()
	engine := exampleEngine(ctx)
	bus, err := watermill.NewBus(engine, watermill.BusConfig{Events: watermill.EventsConfig{
		Replay: &domain.ReplayOptions{From: domain.FromTime(time.Now().Add(-time.Hour))},
	}})
	if err != nil {
		panic(err)
	}
	if err := bus.HandleGroup("report",
		cqrs.NewGroupEventHandler(func(ctx context.Context, e *domain.TaskCreated) error {
			record, err := watermill.RecordOf(cqrs.OriginalMessageFromCtx(ctx))
			fmt.Println(e.Name, record.Actor())
			return err
		}),
		cqrs.NewGroupEventHandler(func(_ context.Context, e *domain.TaskStartRequested) error {
			fmt.Println("started again:", e.Again)
			return nil
		}),
	); err != nil {
		panic(err)
	}
	fmt.Println(bus.Run(ctx))
	// Output:
	// greet submitter
	// started again: false
	// <nil>
}

// Anybody may ask for a task, and an operator for more; facts are decided by engines.
func ExampleIntake() {
	ctx, stop := exampleContext()
	engine, nc, end := exampleServer(ctx)
	defer end()
	defer stop()

	intake, err := watermill.NewIntake(watermill.IntakeConfig{NATS: nc, Operator: engine})
	if err != nil {
		panic(err)
	}
	order := message.NewMessage("order-7", []byte(`{"name": "greet", "context": {"id": 7}, "idempotency_key": "7"}`))
	fmt.Println(intake.Publish("task.created", order))

	task, _ := tasker.ParseTaskID(order.Metadata.Get(watermill.MetadataTask))
	fmt.Println(ends(ctx, engine, task))

	cancel := message.NewMessage("cancel-7", []byte(`{"task": "`+task.String()+`", "actor": "ann", "reason": "too late"}`))
	var refused *domain.TransitionError
	fmt.Println(errors.As(intake.Publish("task.cancel", cancel), &refused))

	fact := message.NewMessage("fact-7", []byte(`{}`))
	fmt.Println(errors.Is(intake.Publish("task.completed", fact), watermill.ErrFactsAreNotPublished))
	// Output:
	// <nil>
	// complete
	// true
	// true
}

// ends waits for a task that perhaps no engine has taken yet.
func ends(ctx context.Context, engine *tasker.Engine, id tasker.TaskID) (state string) {
	topic := string(domain.TaskCompletedType)
	events, err := watermill.NewEvents(engine, watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}})
	if err != nil {
		return err.Error()
	}
	defer func() { _ = events.Close() }()
	messages, err := events.Subscribe(ctx, topic)
	if err != nil {
		return err.Error()
	}
	msg := <-messages
	msg.Ack()
	task, err := engine.Task(ctx, id)
	if err != nil || task.ID.String() != msg.Metadata.Get(watermill.MetadataTask) {
		return fmt.Sprint(msg.Metadata, err)
	}
	return task.State.String()
}

// exampleContext ends with SIGINT, as that of a program would.
func exampleContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT)
}

// exampleEngine runs an engine with a task, until ctx ends.
func exampleEngine(ctx context.Context) *tasker.Engine {
	engine, err := tasker.New(ctx, tasker.Config{Store: memlog.New(memlog.Options{}), Logger: quiet})
	if err != nil {
		panic(err)
	}
	runGreet(ctx, engine)
	if _, err := engine.Submit(ctx, "greet", struct{}{}); err != nil {
		panic(err)
	}
	return engine
}

// exampleServer runs an engine on a NATS server, until ctx ends.
func exampleServer(ctx context.Context) (engine *tasker.Engine, nc *nats.Conn, end func()) {
	dir, err := os.MkdirTemp("", "watermill")
	if err != nil {
		panic(err)
	}
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: dir, Durability: natsserver.Interval})
	if err != nil {
		panic(err)
	}
	engine, err = tasker.New(ctx, tasker.Config{Connect: server.Connect, Logger: quiet})
	if err != nil {
		panic(err)
	}
	ended := runGreet(ctx, engine)
	if nc, err = server.Connect(); err != nil {
		panic(err)
	}
	return engine, nc, func() {
		if err := <-ended; err != nil {
			panic(err)
		}
		nc.Close()
		_ = server.Shutdown(context.Background())
		_ = os.RemoveAll(dir)
	}
}

// runGreet runs an engine that knows how to greet.
func runGreet(ctx context.Context, engine *tasker.Engine) (ended chan error) {
	hello := tasker.Handle(func(context.Context, struct{}) (string, error) { return "hello", nil })
	if err := engine.Register(tasker.Define("greet").Step("hello", hello).MustBuild()); err != nil {
		panic(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	<-engine.Ready()
	return ended
}
