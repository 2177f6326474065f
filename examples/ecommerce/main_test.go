package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/yamldef"
	"github.com/tasker-go/tasker/taskertest"
)

var names = []string{"validate_cart", "process_payment", "update_inventory", "create_order", "send_confirmation"}

// shop runs the test with the definition and real shells, while which virtual time stands still.
func shop(t *testing.T, test func(t *testing.T, e *taskertest.Engine)) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the steps are POSIX shell")
	}
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		d, err := yamldef.Load("order.yaml", definition)
		if err != nil {
			t.Fatal(err)
		}
		e.MustRegister(d)
		e.MustHandle("exec", exechandler.New(exechandler.Options{}))
		test(t, e)
	})
}

// trace is what a task of the five steps leaves behind when payment fails that often.
func trace(paymentFails int) []string {
	lines := []string{"task.created", "task.start_requested"}
	for _, step := range names {
		attempt := 1
		for ; step == "process_payment" && attempt <= paymentFails; attempt++ {
			lines = append(lines, fmt.Sprintf("step.execution_requested %s %d", step, attempt),
				fmt.Sprintf("step.log_appended %s %d", step, attempt), // what the script wrote to stderr
				fmt.Sprintf("step.failed %s %d", step, attempt),
				"workflow.task_reenqueue_delayed", "step.retry_requested "+step, "task.start_requested")
		}
		lines = append(lines, fmt.Sprintf("step.execution_requested %s %d", step, attempt))
		if step == "send_confirmation" {
			lines = append(lines, "step.log_appended send_confirmation 1")
		}
		lines = append(lines, fmt.Sprintf("step.completed %s %d", step, attempt))
	}
	return append(lines, "task.completed")
}

func TestREADMEShowsWhatIsPrinted(t *testing.T) {
	shop(t, func(t *testing.T, e *taskertest.Engine) {
		var out bytes.Buffer
		if err := story(context.Background(), &out, e.Engine, orderPaymentFailsOnce); err != nil {
			t.Fatal(err)
		}
		readme.Shows(t, out.String())
	})
}

func TestB28ValidCartIsChargedWithTaxAndShipping(t *testing.T) {
	shop(t, func(t *testing.T, e *taskertest.Engine) {
		id := e.MustSubmit("ecommerce_order", json.RawMessage(order))
		e.MustWait(id)
		if diff := cmp.Diff(trace(0), e.Trace(id)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		results := map[string]map[string]any{}
		for _, step := range e.MustTask(id).Steps {
			var object map[string]any
			if err := json.Unmarshal(step.Result, &object); err != nil {
				t.Fatalf("%s gave %s: %v", step.Name, step.Result, err)
			}
			results[step.Name] = object
		}
		tail := id.String()[24:]
		if diff := cmp.Diff(map[string]map[string]any{
			"validate_cart":     {"units": 3.0, "subtotal": 109.97, "tax": 8.80, "shipping": 5.99, "total": 124.76},
			"process_payment":   {"payment_id": "pay_" + tail, "amount": 124.76, "status": "charged"},
			"update_inventory":  {"reservation_id": "res_" + tail, "units": 3.0},
			"create_order":      {"order_id": "ord_" + tail, "total": 124.76, "payment_id": "pay_" + tail, "reservation_id": "res_" + tail},
			"send_confirmation": {"order_id": "ord_" + tail, "total": 124.76, "confirmation": "sent"},
		}, results); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	})
}

func TestB28PaymentThatFailsOnceIsExecutedTwiceAndTheRestOnce(t *testing.T) {
	shop(t, func(t *testing.T, e *taskertest.Engine) {
		began := time.Now()
		id := e.MustSubmit("ecommerce_order", json.RawMessage(orderPaymentFailsOnce))
		var result struct{ Total float64 }
		if err := e.MustWait(id).Decode(&result); err != nil || result.Total != 124.76 {
			t.Errorf("total %v, %v; want 124.76", result.Total, err)
		}
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("it took %s, want the 300ms of the backoff", took)
		}
		if diff := cmp.Diff(trace(1), e.Trace(id)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for _, r := range e.Records(id) {
			if f, ok := r.Event.(domain.StepFailed); ok && (f.Error.Code != "EX_TEMPFAIL" || !strings.Contains(f.Error.Message, "the payment gateway does not answer")) {
				t.Errorf("payment failed with %+v", f.Error)
			}
		}
	})
}

func TestB28CartWithoutItemsIsRefused(t *testing.T) {
	shop(t, func(t *testing.T, e *taskertest.Engine) {
		_, err := e.Submit(context.Background(), "ecommerce_order", json.RawMessage(`{"cart":{"items":[]}}`))
		if err == nil || !strings.Contains(err.Error(), "/cart/items") {
			t.Errorf("an empty cart gave %v", err)
		}
	})
}

func TestB28DefinitionIsTheChainWithItsRetryLimits(t *testing.T) {
	d, err := yamldef.Load("order.yaml", definition)
	if err != nil {
		t.Fatal(err)
	}
	if d.Version != "1.0.0" || d.Output != "send_confirmation" {
		t.Errorf("version %s, output %s", d.Version, d.Output)
	}
	var got []string
	for _, s := range d.Steps {
		got = append(got, fmt.Sprintf("%v -> %s(%d)", s.DependsOn, s.Name, s.RetryLimit))
	}
	want := []string{
		"[] -> validate_cart(3)", "[validate_cart] -> process_payment(3)", "[process_payment] -> update_inventory(2)",
		"[update_inventory] -> create_order(3)", "[create_order] -> send_confirmation(5)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestItRunsOnARealLog(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the steps are POSIX shell")
	}
	var out bytes.Buffer
	if err := run(t.Context(), &out, false); err != nil {
		t.Fatal(err)
	}
	for _, step := range names {
		if !slices.ContainsFunc(strings.Split(out.String(), "\n"), func(line string) bool { return strings.HasPrefix(line, step) }) {
			t.Errorf("%s has no result:\n%s", step, out.String())
		}
	}
}
