// Package payments belongs to the payments team: its process_refund, and what the steps do.
package payments

import (
	"context"
	_ "embed" // the definition
	"errors"
	"fmt"
	"sync"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/yamldef"
)

//go:embed process_refund.yaml
var file []byte

// Definition is the team's process_refund.
func Definition() (*tasker.Definition, error) {
	return yamldef.Load("payments/process_refund.yaml", file)
}

// Request is the context of a task.
type Request struct {
	PaymentID string `json:"payment_id"`
	Cents     int    `json:"cents"`
}

// Refund is the result of process_gateway_refund, and of the task.
type Refund struct {
	ID    string `json:"refund_id"`
	Cents int    `json:"cents"`
}

// Team has the books and the gateway; it is the task handler of process_refund.
type Team struct {
	// GatewayFails is how many calls the gateway refuses before it works.
	GatewayFails int

	mu      sync.Mutex
	calls   int               // of the gateway
	left    map[string]int    // cents that were paid and not given back, by payment
	refunds map[string]Refund // of the gateway, by idempotency key
	booked  map[string]bool   // refunds that are in the books
	told    []string          // refunds that customers were told of
}

// New has two payments in its books.
func New() *Team {
	return &Team{
		left: map[string]int{"pay_1": 2476, "pay_2": 12476}, refunds: map[string]Refund{}, booked: map[string]bool{},
	}
}

// GetStepHandler gives the handler of a step.
func (t *Team) GetStepHandler(step tasker.StepView) (tasker.StepHandler, error) {
	switch step.Name {
	case "validate_payment_eligibility":
		return tasker.Handle(t.validate), nil
	case "process_gateway_refund":
		return tasker.Handle(t.refund), nil
	case "update_payment_records":
		return tasker.Handle(t.record), nil
	case "notify_customer":
		return tasker.Handle(t.notify), nil
	}
	return nil, fmt.Errorf("the payments team has no handler for %q", step.Name)
}

func (t *Team) validate(_ context.Context, in Request) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left := t.left[in.PaymentID]; in.Cents > left {
		return "", tasker.Permanent(fmt.Errorf("%d cents of %s cannot be given back: %d are left", in.Cents, in.PaymentID, left))
	}
	return "eligible", nil
}

func (t *Team) refund(ctx context.Context, in Request) (Refund, error) {
	step, _ := tasker.StepOf(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls++; t.calls <= t.GatewayFails {
		return Refund{}, errors.New("the gateway does not answer")
	}
	if _, again := t.refunds[step.IdempotencyKey]; !again {
		t.refunds[step.IdempotencyKey] = Refund{ID: fmt.Sprintf("re_%d", len(t.refunds)+1), Cents: in.Cents}
	}
	return t.refunds[step.IdempotencyKey], nil
}

func (t *Team) record(ctx context.Context, in Request) (Refund, error) {
	refund, err := tasker.ResultOf[Refund](ctx, "process_gateway_refund")
	if err != nil {
		return refund, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.booked[refund.ID] {
		t.booked[refund.ID] = true
		t.left[in.PaymentID] -= refund.Cents
	}
	return refund, nil
}

func (t *Team) notify(ctx context.Context, _ Request) (string, error) {
	refund, err := tasker.ResultOf[Refund](ctx, "update_payment_records")
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = append(t.told, refund.ID)
	return "told", nil
}

// Left is how many cents of a payment were not given back.
func (t *Team) Left(payment string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left[payment]
}
