// Command custom-events declares events of its own, emits them from a step, and hears of them in two ways: by a durable
// subscriber, and by a NATS client that knows nothing of Tasker.
//
//	go run ./examples/custom-events
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts a server that others can reach, and an engine that publishes the feed.
func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "custom-events")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Shutdown(context.WithoutCancel(ctx))) }()
	engine, err := tasker.New(ctx, tasker.Config{
		Connect: server.Connect, StoreLimit: server.MaxStore(),
		Feed:   &tasker.Feed{Types: []tasker.EventType{domain.CustomPrefix + "*"}, From: tasker.FromBeginning},
		Logger: slog.New(slog.DiscardHandler), // that a step had to be tried again is part of the story
	})
	if err != nil {
		return err
	}
	if err := register(engine); err != nil {
		engine.Close()
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	<-engine.Ready()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return story(ctx, out, engine, server.URL())
}

// story ships two orders. The office is closed during the second one.
func story(ctx context.Context, out io.Writer, engine *tasker.Engine, url string) error {
	desk := &office{engine: engine, heard: make(chan tasker.Event), ended: make(chan error, 1)}
	desk.open(ctx)
	nats, err := newForeigner(ctx, url)
	if err != nil {
		return errors.Join(err, desk.shut())
	}
	defer nats.nc.Close()

	first, err := deliver(ctx, engine, 7)
	if err == nil {
		err = history(ctx, out, engine, first)
	}
	if err == nil {
		_, _ = fmt.Fprintln(out, "the office hears:")
		err = desk.tell(ctx, out, 2)
	}
	if err = errors.Join(err, desk.shut()); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "a program that knows only NATS hears:")
	if err := nats.tell(ctx, out, 2); err != nil {
		return err
	}

	if _, err := deliver(ctx, engine, 8); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "the office was closed while order 8 was shipped, and hears when it opens:")
	desk.open(ctx)
	err = desk.tell(ctx, out, 2)
	if err = errors.Join(err, desk.shut()); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "the other program hears:")
	return nats.tell(ctx, out, 2)
}

func deliver(ctx context.Context, engine *tasker.Engine, order int) (tasker.TaskID, error) {
	receipt, err := engine.Submit(ctx, "order", Order{Order: order})
	if err != nil {
		return receipt.ID, err
	}
	_, err = engine.Wait(ctx, receipt.ID)
	return receipt.ID, err
}

// history prints what the log has of the step that emits.
func history(ctx context.Context, out io.Writer, engine *tasker.Engine, id tasker.TaskID) error {
	h, err := engine.History(ctx, id)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "the log has of order 7, step ship:")
	for _, e := range h.Events {
		if e.Step == "ship" {
			_, _ = fmt.Fprintf(out, "  %s\n", e.Type)
		}
	}
	return nil
}
