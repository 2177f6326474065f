package tasker_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// A step was fed a wrong address. The fork takes over what was done before, and goes on with the right one; the failed task
// stays as it is.
func ExampleEngine_Fork() {
	type order struct {
		Address string `json:"address"`
	}
	paid := 0
	engine, stop := start(tasker.Define("order").
		Step("pay", tasker.Handle(func(context.Context, order) (string, error) {
			paid++
			return "receipt 7", nil
		})).
		Step("ship", tasker.Handle(func(ctx context.Context, in order) (string, error) {
			if in.Address == "nowhere" {
				return "", tasker.Permanent(errors.New("there is no such street"))
			}
			receipt, err := tasker.ResultOf[string](ctx, "pay")
			return "shipped to " + in.Address + " with " + receipt, err
		}), tasker.After("pay")).
		Output("ship").
		MustBuild())
	defer stop()

	ctx := context.Background()
	first, _ := engine.Submit(ctx, "order", order{"nowhere"})
	_, err := engine.Wait(ctx, first.ID)
	fmt.Println(err != nil)

	fork, err := engine.Fork(ctx, first.ID, tasker.ForkOptions{
		Context: order{"Main Street 1"},
		By:      tasker.By{Actor: "ann", Reason: "the customer called"},
	})
	fmt.Println(fork.Created, fork.ID != first.ID, err)
	result, err := engine.Wait(ctx, fork.ID)
	fmt.Println(string(result.Value), err)
	fmt.Println("paid", paid, "time")

	task, _ := engine.Task(ctx, fork.ID)
	fmt.Println(task.ForkedFrom.Task == first.ID, task.Steps[0].Inherited, task.Steps[1].Inherited)
	was, err := engine.TaskAt(ctx, first.ID, task.ForkedFrom.Position)
	fmt.Println(was.State, err)

	var refused *domain.RefusedError
	_, err = engine.Fork(ctx, fork.ID, tasker.ForkOptions{})
	fmt.Println(errors.As(err, &refused))
	// Output:
	// true
	// true true <nil>
	// "shipped to Main Street 1 with receipt 7" <nil>
	// paid 1 time
	// true true false
	// error <nil>
	// true
}
