// Command user-registration registers a user with four systems, one of which fails at first.
//
//	go run ./examples/user-registration
//	go run ./examples/user-registration -email grace@example.com -billing-fails 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/local"
)

func main() {
	email := flag.String("email", "ada@example.com", "whom to register")
	billingFails := flag.Int("billing-fails", 1, "how many calls the billing service refuses; a round of the step has three")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *email, *billingFails)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, email string, billingFails int) error {
	register := func(engine *tasker.Engine) error { return engine.Register(newServices(billingFails).workflow()) }
	return local.Run(ctx, local.Options{Register: register}, func(ctx context.Context, engine *tasker.Engine) error {
		return story(ctx, out, engine, email)
	})
}

// story registers the user, lets an operator help when that fails, and registers the same user again.
func story(ctx context.Context, out io.Writer, engine *tasker.Engine, email string) error {
	in, key := Registration{Email: email, Newsletter: true}, tasker.Key("registration of "+email)
	receipt, err := engine.Submit(ctx, "user_registration", in, key)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "registering", email)
	result, err := engine.Wait(ctx, receipt.ID)
	for failed := (*tasker.TaskFailedError)(nil); errors.As(err, &failed); {
		_, _ = fmt.Fprintf(out, "failed because of %s: %s\nan operator asks for another round\n", failed.Steps[0], failed.Errors[failed.Steps[0]])
		if _, err := engine.Retry(ctx, receipt.ID, tasker.By{Actor: "grace", Reason: "billing works again"}); err != nil {
			return err
		}
		result, err = engine.Wait(ctx, receipt.ID)
	}
	if err != nil {
		return err
	}
	if err := local.Timeline(ctx, out, engine, receipt.ID); err != nil {
		return err
	}
	var status Status
	if err := result.Decode(&status); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "user %d is %s\n", status.UserID, status.Status)

	again, err := engine.Submit(ctx, "user_registration", in, key)
	if err != nil {
		return err
	}
	if again.ID != receipt.ID || again.Created {
		return fmt.Errorf("%s was registered twice, by the tasks %s and %s", email, receipt.ID, again.ID)
	}
	_, _ = fmt.Fprintf(out, "registering %s again: it is the same task, and nothing runs\n", email)
	return nil
}
