// Package customersuccess belongs to the customer success team: its process_refund, and what the steps do. Of the payments
// team it knows the name of a task and the form of its context and result.
package customersuccess

import (
	"cmp"
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
	return yamldef.Load("customersuccess/process_refund.yaml", file)
}

// managersLimit is the amount in cents from which on a manager decides.
const managersLimit = 10_000

// Request is the context of a task.
type Request struct {
	TicketID  string `json:"ticket_id"`
	PaymentID string `json:"payment_id"`
	Cents     int    `json:"cents"`
}

// Approval is the result of get_manager_approval. A manager may also give it with the verb that resolves a step.
type Approval struct {
	By string `json:"by"`
}

// Ticket is the result of update_ticket_status, and of the task.
type Ticket struct {
	ID     string `json:"ticket_id"`
	Status string `json:"status"`
	Refund string `json:"refund_id"`
}

// Payments is where tasks of the payments team are submitted: an engine, or a tasker.Client of another process.
type Payments interface {
	Submit(ctx context.Context, name string, input any, options ...tasker.SubmitOption) (tasker.Receipt, error)
	Wait(ctx context.Context, id tasker.TaskID) (tasker.Result, error)
}

// Team is the task handler of process_refund.
type Team struct {
	Payments Payments

	mu        sync.Mutex
	approvals map[string]string // who approved, by ticket
}

// Approve is what a manager does.
func (t *Team) Approve(ticket, manager string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.approvals == nil {
		t.approvals = map[string]string{}
	}
	t.approvals[ticket] = manager
}

// GetStepHandler gives the handler of a step.
func (t *Team) GetStepHandler(step tasker.StepView) (tasker.StepHandler, error) {
	switch step.Name {
	case "validate_refund_request":
		return tasker.Handle(t.validate), nil
	case "check_refund_policy":
		return tasker.Handle(t.policy), nil
	case "get_manager_approval":
		return tasker.Handle(t.approval), nil
	case "execute_refund_workflow":
		return tasker.Handle(t.execute), nil
	case "update_ticket_status":
		return tasker.Handle(t.update), nil
	}
	return nil, fmt.Errorf("the customer success team has no handler for %q", step.Name)
}

func (t *Team) validate(_ context.Context, in Request) (string, error) {
	if in.Cents <= 0 {
		return "", tasker.Permanent(fmt.Errorf("ticket %s wants %d cents", in.TicketID, in.Cents))
	}
	return "valid", nil
}

// policy says who decides.
func (t *Team) policy(_ context.Context, in Request) (string, error) {
	if in.Cents >= managersLimit {
		return "manager", nil
	}
	return "policy", nil
}

func (t *Team) approval(ctx context.Context, in Request) (Approval, error) {
	who, err := tasker.ResultOf[string](ctx, "check_refund_policy")
	if err != nil || who == "policy" {
		return Approval{By: who}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if by := t.approvals[in.TicketID]; by != "" {
		return Approval{By: by}, nil
	}
	return Approval{}, fmt.Errorf("no manager has decided about ticket %s", in.TicketID)
}

// execute submits the task of the other team. The key is made of this task's id: another attempt, also one of another
// process, finds the same task.
func (t *Team) execute(ctx context.Context, in Request) (tasker.TaskID, error) {
	approval, err := tasker.ResultOf[Approval](ctx, "get_manager_approval")
	if err != nil {
		return tasker.TaskID{}, err
	}
	task, _ := tasker.TaskOf(ctx)
	receipt, err := t.Payments.Submit(ctx, "process_refund", map[string]any{"payment_id": in.PaymentID, "cents": in.Cents},
		tasker.InNamespace("payments"), tasker.Key(task.Namespace+"/"+task.ID.String()),
		tasker.From(approval.By, "helpdesk", "ticket "+in.TicketID),
		tasker.Correlated(cmp.Or(task.CorrelationID, task.ID.String())))
	return receipt.ID, err
}

// update waits for the task of the other team, until its step's timeout; the next attempt goes on waiting.
func (t *Team) update(ctx context.Context, in Request) (Ticket, error) {
	id, err := tasker.ResultOf[tasker.TaskID](ctx, "execute_refund_workflow")
	if err != nil {
		return Ticket{}, err
	}
	result, err := t.Payments.Wait(ctx, id)
	if failed := (*tasker.TaskFailedError)(nil); errors.As(err, &failed) { // for its team to look at; then for ours
		return Ticket{}, tasker.Permanent(fmt.Errorf("the payments team could not refund: %w", err))
	}
	if err != nil {
		return Ticket{}, err
	}
	var refund struct {
		ID string `json:"refund_id"`
	}
	return Ticket{ID: in.TicketID, Status: "refunded", Refund: refund.ID}, result.Decode(&refund)
}
