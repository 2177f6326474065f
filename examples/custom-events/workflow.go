package main

import (
	"context"
	_ "embed"
	"errors"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/yamldef"
)

//go:embed order.yaml
var definition []byte

// Order is the context of a task, and the data of what it emits.
type Order struct {
	Order  int    `json:"order"`
	Van    string `json:"van,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// register hands the definition and the handlers that it names to the engine.
func register(engine *tasker.Engine) error {
	order, err := yamldef.Load("order.yaml", definition)
	if err != nil {
		return err
	}
	return errors.Join(
		engine.Handler("pack", tasker.Handle(pack)),
		engine.Handler("ship", tasker.Handle(ship)),
		engine.Register(order),
	)
}

func pack(_ context.Context, in Order) (Order, error) { return in, nil }

// ship finds no van at first. What an execution emits is stored together with its outcome, also when it fails: that there
// was a delay stays true.
func ship(ctx context.Context, in Order) (string, error) {
	step, _ := tasker.StepOf(ctx)
	if step.Attempt == 1 {
		if err := tasker.Emit(ctx, "order.delayed", Order{Order: in.Order, Reason: "no van"}); err != nil {
			return "", err
		}
		return "", tasker.RetryAfter(50*time.Millisecond, errors.New("no van"))
	}
	return "on its way", tasker.Emit(ctx, "order.shipped", Order{Order: in.Order, Van: "7"})
}
