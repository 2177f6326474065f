// Command team-scaling runs the workflows of two teams, both named process_refund. One submits a task of the other.
//
//	go run ./examples/team-scaling
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
	"github.com/tasker-go/tasker/examples/team-scaling/customersuccess"
	"github.com/tasker-go/tasker/examples/team-scaling/payments"
)

func main() {
	gatewayFails := flag.Int("gateway-fails", 1, "how many calls the gateway refuses; its step has two executions")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	pay, success := payments.New(), &customersuccess.Team{}
	pay.GatewayFails = *gatewayFails
	err := local.Run(ctx, local.Options{Register: func(engine *tasker.Engine) error {
		success.Payments = engine // the teams could as well run in two processes, with a tasker.Client here
		return register(engine, pay, success)
	}}, func(ctx context.Context, engine *tasker.Engine) error { return story(ctx, os.Stdout, engine) })
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// register adds what the teams bring: each a definition, and the task handler that gives the handlers of its steps.
func register(engine *tasker.Engine, pay *payments.Team, success *customersuccess.Team) error {
	paymentsRefund, err := payments.Definition()
	if err != nil {
		return err
	}
	successRefund, err := customersuccess.Definition()
	if err != nil {
		return err
	}
	return errors.Join(
		engine.Register(paymentsRefund, successRefund),
		engine.TaskHandler("payments", "process_refund", "", pay),
		engine.TaskHandler("customer_success", "process_refund", "", success),
	)
}

// story is about two customers: one gets little, the other more than the team may give on its own.
func story(ctx context.Context, out io.Writer, engine *tasker.Engine) error {
	for _, ticket := range []customersuccess.Request{
		{TicketID: "T-1", PaymentID: "pay_1", Cents: 2476},
		{TicketID: "T-2", PaymentID: "pay_2", Cents: 12476},
	} {
		receipt, err := engine.Submit(ctx, "process_refund", ticket, tasker.InNamespace("customer_success"))
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "ticket %s: %d cents of %s\n", ticket.TicketID, ticket.Cents, ticket.PaymentID)
		result, err := engine.Wait(ctx, receipt.ID)
		if failed := (*tasker.TaskFailedError)(nil); errors.As(err, &failed) && failed.Steps[0] == "get_manager_approval" {
			_, _ = fmt.Fprintf(out, "%s\nthe manager Grace decides\n", failed.Errors["get_manager_approval"])
			_, err = engine.ResolveStep(ctx, receipt.ID, "get_manager_approval", customersuccess.Approval{By: "grace"},
				tasker.By{Actor: "grace", Reason: "a customer for ten years"})
			if err == nil {
				result, err = engine.Wait(ctx, receipt.ID)
			}
		}
		if err != nil {
			return err
		}
		if err := show(ctx, out, engine, receipt.ID); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "result: %s\n", result.Value)
	}
	return nil
}

// show prints the executions of the task, and of the one that it submitted.
func show(ctx context.Context, out io.Writer, engine *tasker.Engine, id tasker.TaskID) error {
	task, err := engine.Task(ctx, id)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, " %s/%s %s\n", task.Namespace, task.Name, task.Version)
	if err := local.Timeline(ctx, out, engine, id); err != nil {
		return err
	}
	for _, step := range task.Steps {
		var other tasker.TaskID
		if step.Name == "execute_refund_workflow" && (tasker.StepView{Result: step.Result}).Decode(&other) == nil {
			return show(ctx, out, engine, other)
		}
	}
	return nil
}
