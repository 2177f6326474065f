package main

import (
	"context"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// office is a durable subscriber: the log keeps its place under that name while it is closed.
type office struct {
	engine *tasker.Engine
	heard  chan tasker.Event
	ended  chan error
	stop   context.CancelFunc
}

// open attaches it. From matters the first time only.
func (o *office) open(ctx context.Context) {
	ctx, o.stop = context.WithCancel(ctx)
	go func() {
		o.ended <- o.engine.Attach(ctx, "office", []tasker.EventType{domain.CustomPrefix + "*"}, func(ctx context.Context, e tasker.Event) error {
			select {
			case o.heard <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err() // it comes again
			}
		}, tasker.AttachOptions{From: tasker.FromBeginning})
	}()
}

// shut returns when what was heard has been noted in the log.
func (o *office) shut() error {
	o.stop()
	return <-o.ended
}

// tell prints the next n events.
func (o *office) tell(ctx context.Context, out io.Writer, n int) error {
	for range n {
		select {
		case e := <-o.heard:
			custom := e.Event.(domain.Custom)
			_, _ = fmt.Fprintf(out, "  %s %s, attempt %d: %s\n", custom.Type(), custom.Step, custom.Attempt, custom.Data)
		case err := <-o.ended:
			o.ended <- err
			return fmt.Errorf("the office stopped listening: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// foreigner is a program of somebody else, which knows NATS and a page of documentation (docs/wire.md), and none of our
// packages: a consumer on the feed.
type foreigner struct {
	nc       *nats.Conn
	consumer jetstream.Consumer
}

func newForeigner(ctx context.Context, url string) (*foreigner, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, "TASKER_EVENTS", jetstream.ConsumerConfig{
		Durable: "foreigner", FilterSubject: "tasker.events.default.*.custom.>", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &foreigner{nc, consumer}, nil
}

// tell prints the next n messages.
func (f *foreigner) tell(ctx context.Context, out io.Writer, n int) error {
	for range n {
		m, err := f.consumer.Next(jetstream.FetchContext(ctx))
		if err != nil {
			return fmt.Errorf("the feed says nothing: %w", err)
		}
		h := m.Headers()
		_, _ = fmt.Fprintf(out, "  %s %s, attempt %s: %s\n", h.Get("ce-type"), h.Get("ce-step"), h.Get("ce-attempt"), m.Data())
		if err := m.DoubleAck(ctx); err != nil {
			return err
		}
	}
	return nil
}
