package tasker_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// A step that failed for good can be resolved by hand: the steps behind it read the result that it is given.
func ExampleEngine_ResolveStep() {
	engine, stop := start(tasker.Define("order").
		Step("charge", tasker.Handle(func(context.Context, struct{}) (string, error) {
			return "", tasker.Permanent(errors.New("the card was declined"))
		})).
		Step("ship", tasker.Handle(func(ctx context.Context, _ struct{}) (string, error) {
			paid, err := tasker.ResultOf[string](ctx, "charge")
			return "shipped, paid " + paid, err
		}), tasker.After("charge")).
		Output("ship").
		MustBuild())
	defer stop()

	ctx := context.Background()
	receipt, _ := engine.Submit(ctx, "order", struct{}{})
	_, err := engine.Wait(ctx, receipt.ID)
	fmt.Println(err != nil)

	by := tasker.By{Actor: "ann", Reason: "the customer came by"}
	done, err := engine.ResolveStep(ctx, receipt.ID, "charge", "in cash", by)
	fmt.Println(done.From, "to", done.To, done.Reopened, err)
	result, err := engine.Wait(ctx, receipt.ID)
	fmt.Println(string(result.Value), err)

	again, err := engine.ResolveStep(ctx, receipt.ID, "charge", "twice", by)
	fmt.Println(again.Changed, err)
	var refused *domain.TransitionError
	_, err = engine.Cancel(ctx, receipt.ID, by)
	fmt.Println(errors.As(err, &refused), refused.From)
	// Output:
	// true
	// error to resolved_manually true <nil>
	// "shipped, paid in cash" <nil>
	// false <nil>
	// true complete
}
