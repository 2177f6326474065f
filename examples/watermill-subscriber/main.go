// Command watermill-subscriber hears what engines do, in a process of its own, by Watermill. It reads where they are from
// NATS_URL.
//
//	go run ./examples/watermill-subscriber
//	go run ./examples/watermill-subscriber -replay
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/remote"
	"github.com/tasker-go/tasker/infra/watermill"
)

func main() {
	replay := flag.Bool("replay", false, "tell everything that is stored, from the beginning, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, remote.FromEnvironment(), *replay)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// Shipped is a custom event, as the definition of the order declares it. Its name is the event's type.
type Shipped struct {
	Van int `json:"van"`
}

// Name is what the subscription goes by.
func (Shipped) Name() string { return "custom.order.shipped" }

func run(ctx context.Context, out io.Writer, at remote.NATS, replay bool) error {
	client, err := tasker.NewClient(ctx, tasker.Config{Connect: at.Connect})
	if err != nil {
		return err
	}
	defer client.Close()

	// A new subscriber begins with the first event ever stored, and goes on where it stopped when it is started again.
	config := watermill.BusConfig{Events: watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}}}
	if replay {
		config.Events = watermill.EventsConfig{Replay: &domain.ReplayOptions{}}
	}
	bus, err := watermill.NewBus(client, config)
	if err != nil {
		return err
	}
	d := desk{out}
	// The handlers of a group share a cursor, named for the group, and hear of a task in order.
	if err := bus.HandleGroup("order-desk",
		cqrs.NewGroupEventHandler(d.created),
		cqrs.NewGroupEventHandler(d.failed),
		cqrs.NewGroupEventHandler(d.shipped),
		cqrs.NewGroupEventHandler(d.completed),
	); err != nil {
		return err
	}
	return bus.Run(ctx)
}

// desk writes down what it hears. An error would be a failed try: the event comes again, and after ten tries it goes to the
// dead letters.
type desk struct{ out io.Writer }

func (d desk) created(ctx context.Context, e *domain.TaskCreated) error {
	return d.say(ctx, "%s, please: %s", e.Name, e.Context.JSON)
}

func (d desk) failed(ctx context.Context, e *domain.StepFailed) error {
	return d.say(ctx, "%s failed in attempt %d: %s", e.Step, e.Attempt, e.Error.Message)
}

func (d desk) shipped(ctx context.Context, e *Shipped) error {
	return d.say(ctx, "it is on van %d", e.Van)
}

func (d desk) completed(ctx context.Context, e *domain.TaskCompleted) error {
	return d.say(ctx, "done: %s", e.Result.JSON)
}

// say puts before it which order it is about: the message around the event knows.
func (d desk) say(ctx context.Context, format string, args ...any) error {
	msg := cqrs.OriginalMessageFromCtx(ctx)
	_, err := fmt.Fprintf(d.out, "%-8s %s\n", msg.Metadata.Get(watermill.MetadataCorrelation), fmt.Sprintf(format, args...))
	return err
}
