// Command dummy runs Tasker's four-step dummy task once and prints every event of it: step-one alone; step-two, then
// step-three, then step-four.
//
//	go run ./examples/dummy
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// Input is the context of the task; the schema below says the same to everybody who submits one.
type Input struct {
	Dummy bool `json:"dummy"`
}

const schema = `{"type": "object", "required": ["dummy"], "properties": {"dummy": {"type": "boolean"}}}`

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "dummy")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	// The log: an embedded NATS server, which no other process can reach.
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = server.Shutdown(context.WithoutCancel(ctx)) }()

	// The workflow: a DAG of steps, each with its handler.
	dummy := tasker.Handle(func(_ context.Context, in Input) (Input, error) { return in, nil })
	workflow, err := tasker.Define("dummy_task").
		Schema(schema).
		Step("step-one", dummy).
		Step("step-two", dummy).
		Step("step-three", dummy, tasker.After("step-two")).
		Step("step-four", dummy, tasker.After("step-three")).
		Build()
	if err != nil {
		return err
	}

	// The engine: register, run, submit, wait.
	engine, err := tasker.New(ctx, tasker.Config{Connect: server.Connect, StoreLimit: server.MaxStore()})
	if err != nil {
		return err
	}
	if err := engine.Register(workflow); err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- engine.Run(running) }()
	<-engine.Ready()

	receipt, err := engine.Submit(ctx, "dummy_task", Input{Dummy: true})
	if err != nil {
		return err
	}
	result, err := engine.Wait(ctx, receipt.ID)
	if err != nil {
		return err
	}
	history, err := engine.History(ctx, receipt.ID)
	if err != nil {
		return err
	}
	for _, e := range history.Events {
		_, _ = fmt.Fprintf(out, "%-8s %-26s %s\n", e.ID, e.Type, e.Step)
	}
	_, _ = fmt.Fprintf(out, "task is %s: %s\n", result.State, result.Value)

	stop()
	return <-stopped
}
