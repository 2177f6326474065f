package watermill_test

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
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

// exampleContext ends with SIGINT, as that of a program would.
func exampleContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT)
}

// exampleEngine runs an engine with a task, until ctx ends.
func exampleEngine(ctx context.Context) *tasker.Engine {
	engine, err := tasker.New(ctx, tasker.Config{Store: memlog.New(memlog.Options{}), Logger: quiet})
	if err == nil {
		err = engine.Register(tasker.Define("greet").
			Step("hello", tasker.Handle(func(context.Context, struct{}) (string, error) { return "hello", nil })).MustBuild())
	}
	if err != nil {
		panic(err)
	}
	go func() { _ = engine.Run(ctx) }()
	<-engine.Ready()
	if _, err := engine.Submit(ctx, "greet", struct{}{}); err != nil {
		panic(err)
	}
	return engine
}
