package ecommerce_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/yamldef"
)

// sequence is the steps that are over, kept by hand.
type sequence []domain.StepView

func (s sequence) Steps(context.Context) ([]domain.StepView, error) { return s, nil }

func (s sequence) Find(_ context.Context, name string) (domain.StepView, error) {
	for _, step := range s {
		if step.Name == name {
			return step, nil
		}
	}
	return domain.StepView{}, fmt.Errorf("step %q: %w", name, domain.ErrUnknownStep)
}

// run runs the steps of order.yaml one after the other, retried as the handler asks, and returns the executions of each
// and the results.
func run(t *testing.T, input string) (executions map[string]int, results map[string]map[string]any) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the steps are POSIX shell")
	}
	definition, err := yamldef.LoadFile("order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	taskContext, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	id, err := domain.ParseTaskID("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	task := domain.TaskView{
		ID: id, Namespace: definition.Namespace, Name: definition.Name, Version: definition.Version, Context: taskContext,
	}
	handler := exechandler.New(exechandler.Options{})
	executions, results = map[string]int{}, map[string]map[string]any{}
	var done sequence
	for _, template := range definition.Steps {
		if err := exechandler.Validate(template.HandlerConfig); err != nil {
			t.Fatal(err)
		}
		step := domain.StepView{Name: template.Name, Config: template.HandlerConfig, State: domain.InProgress, Round: 1}
		for {
			step.Attempt++
			executions[step.Name]++
			result, err := handler.Handle(t.Context(), task, done, step)
			failure := (*domain.Failure)(nil)
			if errors.As(err, &failure) && failure.Kind != domain.KindPermanent && step.Attempt < template.RetryLimit {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", step.Name, err)
			}
			step.State, step.Result = domain.Complete, result.(json.RawMessage)
			break
		}
		var object map[string]any
		if err := json.Unmarshal(step.Result, &object); err != nil {
			t.Fatalf("%s gave %s: %v", step.Name, step.Result, err)
		}
		results[step.Name] = object
		done = append(done, step)
	}
	return executions, results
}

func TestB28ValidCartIsChargedWithTaxAndShipping(t *testing.T) {
	executions, results := run(t, "order.json")
	want := map[string]map[string]any{
		"validate_cart":    {"units": 3.0, "subtotal": 109.97, "tax": 8.80, "shipping": 5.99, "total": 124.76},
		"process_payment":  {"payment_id": "pay_b302099a8057", "amount": 124.76, "status": "charged"},
		"update_inventory": {"reservation_id": "res_b302099a8057", "units": 3.0},
		"create_order": {
			"order_id": "ord_b302099a8057", "total": 124.76, "payment_id": "pay_b302099a8057",
			"reservation_id": "res_b302099a8057",
		},
		"send_confirmation": {"order_id": "ord_b302099a8057", "total": 124.76, "confirmation": "sent"},
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	once := map[string]int{
		"validate_cart": 1, "process_payment": 1, "update_inventory": 1, "create_order": 1, "send_confirmation": 1,
	}
	if diff := cmp.Diff(once, executions); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
}

func TestB28PaymentThatFailsOnceIsExecutedTwiceAndTheRestOnce(t *testing.T) {
	executions, results := run(t, "order-payment-fails-once.json")
	want := map[string]int{
		"validate_cart": 1, "process_payment": 2, "update_inventory": 1, "create_order": 1, "send_confirmation": 1,
	}
	if diff := cmp.Diff(want, executions); diff != "" {
		t.Errorf("executions (-want +got):\n%s", diff)
	}
	if total := results["send_confirmation"]["total"]; total != 124.76 {
		t.Errorf("total = %v, want 124.76", total)
	}
}

func TestB28DefinitionIsTheChainWithItsRetryLimits(t *testing.T) {
	definition, err := yamldef.LoadFile("order.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if definition.Version != "1.0.0" || definition.Output != "send_confirmation" {
		t.Errorf("version %s, output %s", definition.Version, definition.Output)
	}
	var got []string
	for _, s := range definition.Steps {
		got = append(got, fmt.Sprintf("%v -> %s(%d)", s.DependsOn, s.Name, s.RetryLimit))
	}
	want := []string{
		"[] -> validate_cart(3)", "[validate_cart] -> process_payment(3)", "[process_payment] -> update_inventory(2)",
		"[update_inventory] -> create_order(3)", "[create_order] -> send_confirmation(5)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if base := definition.Steps[1].Backoff.Base; base > time.Second {
		t.Errorf("a failed payment is retried after %s: the example shall end within two seconds", base)
	}
}
