// Command ecommerce runs the checkout of a shop, the steps of which are shell scripts in order.yaml. The command line does
// the same without any Go:
//
//	go run ./examples/ecommerce
//	go run ./cmd/tasker run examples/ecommerce/order.yaml --input @examples/ecommerce/order.json
package main

import (
	"context"
	_ "embed" // the definition and the inputs
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/local"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/yamldef"
)

//go:embed order.yaml
var definition []byte

// The inputs, by what the payment gateway does.
var (
	//go:embed order.json
	order []byte
	//go:embed order-payment-fails-once.json
	orderPaymentFailsOnce []byte
)

func main() {
	failsOnce := flag.Bool("payment-fails-once", true, "let the payment gateway be away for the first attempt")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *failsOnce)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, failsOnce bool) error {
	programs := exechandler.New(exechandler.Options{Logger: tasker.Logger})
	defer func() { _ = programs.Close() }() // whatever still runs would outlive this process
	register := func(engine *tasker.Engine) error {
		d, err := yamldef.Load("order.yaml", definition)
		if err != nil {
			return err
		}
		if err := engine.Register(d); err != nil {
			return err
		}
		return engine.Handler("exec", programs)
	}
	return local.Run(ctx, local.Options{Register: register}, func(ctx context.Context, engine *tasker.Engine) error {
		if failsOnce {
			return story(ctx, out, engine, orderPaymentFailsOnce)
		}
		return story(ctx, out, engine, order)
	})
}

// story submits the order and shows what every step made of it.
func story(ctx context.Context, out io.Writer, engine *tasker.Engine, input json.RawMessage) error {
	receipt, err := engine.Submit(ctx, "ecommerce_order", input, tasker.Key("order 1"))
	if err != nil {
		return err
	}
	if _, err := engine.Wait(ctx, receipt.ID); err != nil {
		return err
	}
	if err := local.Timeline(ctx, out, engine, receipt.ID); err != nil {
		return err
	}
	task, err := engine.Task(ctx, receipt.ID)
	if err != nil {
		return err
	}
	for _, step := range task.Steps {
		_, _ = fmt.Fprintf(out, "%-17s %s\n", step.Name, step.Result)
	}
	return nil
}
