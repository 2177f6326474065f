package taskertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/taskertest"
)

type Order struct{ Total float64 }

var errCardReaderBusy = errors.New("the card reader is busy")

var charge = tasker.Handle(func(ctx context.Context, in Order) (string, error) {
	step, _ := tasker.StepOf(ctx)
	switch {
	case in.Total <= 0:
		return "", tasker.Permanent(errors.New("nothing to pay"))
	case step.Attempt == 1:
		return "", tasker.RetryAfter(3*time.Hour, errCardReaderBusy)
	}
	return fmt.Sprintf("paid %.2f", in.Total), nil
})

// A handler is called without an engine.
func ExampleGiven() {
	first := taskertest.Given(charge).Context(Order{124.76}).Call(context.Background())
	fmt.Println(first.Err, "- again after", first.RetryAfter())

	second := taskertest.Given(charge).Context(Order{124.76}).Attempt(2, first.Err).Call(context.Background())
	fmt.Println(string(second.Result))

	free := taskertest.Given(charge).Context(Order{0}).Call(context.Background())
	fmt.Println(free.Err, "- permanent:", free.Permanent())
	// Output:
	// the card reader is busy - again after 3h0m0s
	// "paid 124.76"
	// nothing to pay - permanent: true
}

// A test of a whole workflow: three hours of waiting in milliseconds.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestCheckout(t *testing.T)
		taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
			e.MustRegister(tasker.Define("checkout").Step("charge", charge).MustBuild())
			e.When("checkout", Order{124.76}).
				ThenComplete(map[string]string{"charge": "paid 124.76"}).
				ThenTrace(
					"task.created", "task.start_requested",
					"step.execution_requested charge 1", "step.failed charge 1", "workflow.task_reenqueue_delayed",
					"step.retry_requested charge", "task.start_requested",
					"step.execution_requested charge 2", "step.completed charge 2", "task.completed",
				)
		})
	}
}
