package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/examples/team-scaling/customersuccess"
	"github.com/tasker-go/tasker/examples/team-scaling/payments"
	"github.com/tasker-go/tasker/taskertest"
)

var (
	small = customersuccess.Request{TicketID: "T-1", PaymentID: "pay_1", Cents: 2476}
	large = customersuccess.Request{TicketID: "T-2", PaymentID: "pay_2", Cents: 12476}
	grace = tasker.By{Actor: "grace", Reason: "a customer for ten years"}

	success = tasker.InNamespace("customer_success")
)

// company has both teams on one engine.
type company struct {
	*taskertest.Engine
	payments *payments.Team
	success  *customersuccess.Team
}

func newCompany(t *testing.T, e *taskertest.Engine) *company {
	t.Helper()
	c := &company{e, payments.New(), &customersuccess.Team{Payments: e}}
	for _, load := range []func() (*tasker.Definition, error){payments.Definition, customersuccess.Definition} {
		definition, err := load()
		if err != nil {
			t.Fatal(err)
		}
		e.MustRegister(definition)
	}
	e.MustHandleTask("payments", "process_refund", c.payments)
	e.MustHandleTask("customer_success", "process_refund", c.success)
	return c
}

// paymentsTasks are the tasks of the payments team, newest first.
func (c *company) paymentsTasks(t *testing.T) []tasker.Task {
	t.Helper()
	tasks, err := c.Tasks(context.Background(), tasker.Filter{Namespace: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

func TestREADMEShowsWhatIsPrinted(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		c := newCompany(t, e)
		c.payments.GatewayFails = 1
		var out bytes.Buffer
		if err := story(context.Background(), &out, e.Engine); err != nil {
			t.Fatal(err)
		}
		readme.Shows(t, out.String())
	})
}

func TestEqualNamesInTwoNamespacesAreTwoWorkflows(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		c := newCompany(t, e)
		shape := func(namespace string) (lines []string) {
			d, err := e.Definition(context.Background(), namespace, "process_refund", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range d.Steps {
				lines = append(lines, strings.Join(s.DependsOn, ",")+">"+s.Name+" "+strings.Repeat("I", s.RetryLimit))
			}
			return append(lines, d.Version)
		}
		if diff := cmp.Diff([]string{
			">validate_payment_eligibility III", "validate_payment_eligibility>process_gateway_refund II",
			"process_gateway_refund>update_payment_records III", "update_payment_records>notify_customer IIIII", "2.1.0",
		}, shape("payments")); diff != "" {
			t.Errorf("payments (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			">validate_refund_request III", "validate_refund_request>check_refund_policy II",
			"check_refund_policy>get_manager_approval I", "get_manager_approval>execute_refund_workflow III",
			"execute_refund_workflow>update_ticket_status III", "1.3.0",
		}, shape("customer_success")); diff != "" {
			t.Errorf("customer success (-want +got):\n%s", diff)
		}

		id := e.When("process_refund", small, success).
			ThenComplete(customersuccess.Ticket{ID: "T-1", Status: "refunded", Refund: "re_1"}).ID()
		tasks := c.paymentsTasks(t)
		if len(tasks) != 1 || tasks[0].State != domain.Complete || c.payments.Left("pay_1") != 0 {
			t.Fatalf("payments tasks %+v, left %d", tasks, c.payments.Left("pay_1"))
		}
		if got := tasks[0]; got.Correlation != id.String() || got.SourceSystem != "helpdesk" || got.Reason != "ticket T-1" || got.Initiator != "policy" {
			t.Errorf("the payments team does not see where its task came from: %+v", got)
		}
		var missing *tasker.DefinitionNotFoundError
		if _, err := e.Submit(context.Background(), "process_refund", small); !errors.As(err, &missing) || len(missing.Known) != 2 {
			t.Errorf("without a namespace: %v", err)
		}
	})
}

func TestManagerDecidesWhatIsLarge(t *testing.T) {
	for name, decide := range map[string]func(*company, tasker.TaskID) error{
		"by resolving the step": func(c *company, id tasker.TaskID) error {
			_, err := c.ResolveStep(context.Background(), id, "get_manager_approval", customersuccess.Approval{By: "grace"}, grace)
			return err
		},
		"in the managers' system, before a retry": func(c *company, id tasker.TaskID) error {
			c.success.Approve("T-2", "grace")
			_, err := c.Retry(context.Background(), id, grace)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				c := newCompany(t, e)
				id := e.When("process_refund", large, success).ThenFail("get_manager_approval").ID()
				if n := len(c.paymentsTasks(t)); n != 0 || e.MustStep(id, "get_manager_approval").Attempt != 1 {
					t.Errorf("%d payments tasks without an approval; %+v", n, e.MustStep(id, "get_manager_approval"))
				}
				if err := decide(c, id); err != nil {
					t.Fatal(err)
				}
				e.MustWait(id)
				if got := c.paymentsTasks(t)[0].Initiator; got != "grace" {
					t.Errorf("approved by %q", got)
				}
			})
		})
	}
}

// An operator may let the approval ask three times: five minutes lie between the executions.
func TestApprovalWaits300SecondsBetweenExecutions(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		c := newCompany(t, e)
		id := e.When("process_refund", large, success).ThenFail("get_manager_approval").ID()
		if _, err := e.RetryStep(context.Background(), id, "get_manager_approval", tasker.StepRetry{RetryLimit: 3}, grace); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		e.Advance(299 * time.Second)
		if step := e.MustStep(id, "get_manager_approval"); step.Attempt != 2 || step.State != domain.Error {
			t.Errorf("after 299 s: attempt %d, %s", step.Attempt, step.State)
		}
		c.success.Approve("T-2", "grace")
		e.MustWait(id)
		if took := time.Since(began); took != 300*time.Second || e.MustStep(id, "get_manager_approval").Attempt != 3 {
			t.Errorf("it took %s and %d attempts, want 300 s and 3", took, e.MustStep(id, "get_manager_approval").Attempt)
		}
	})
}

// dies submits, and then never returns, like a process that dies between the two.
type dies struct {
	customersuccess.Payments
	submitted chan struct{}
}

func (d *dies) Submit(ctx context.Context, name string, input any, options ...tasker.SubmitOption) (tasker.Receipt, error) {
	receipt, err := d.Payments.Submit(ctx, name, input, options...)
	select {
	case <-d.submitted: // it did so before
		return receipt, err
	default:
		close(d.submitted)
		<-ctx.Done()
		return receipt, context.Cause(ctx)
	}
}

func TestTaskOfTheOtherTeamIsSubmittedOnceAlthoughTheProcessDies(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		c := newCompany(t, e)
		submitted := make(chan struct{})
		c.success.Payments = &dies{e, submitted}
		id := e.MustSubmit("process_refund", small, success)
		<-submitted
		e.Crash()
		e.MustWait(id)
		if step := e.MustStep(id, "execute_refund_workflow"); step.Attempt != 2 {
			t.Errorf("it was submitted in attempt %d, want 2", step.Attempt)
		}
		if n := len(c.paymentsTasks(t)); n != 1 || c.payments.Left("pay_1") != 0 {
			t.Errorf("%d payments tasks, %d cents left", n, c.payments.Left("pay_1"))
		}
	})
}

// When the other team's task fails, its operator retries it first; then the ticket finds the same task.
func TestFailureOfTheOtherTeamIsNamedAndMended(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		c := newCompany(t, e)
		c.payments.GatewayFails = 2
		id := e.MustSubmit("process_refund", small, success)
		failed := e.MustFail(id)
		other := c.paymentsTasks(t)[0].ID
		if text := failed.Errors["update_ticket_status"]; !strings.Contains(text, other.String()) || !strings.Contains(text, "the gateway does not answer") {
			t.Errorf("the ticket says %q", text)
		}
		for _, task := range []tasker.TaskID{other, id} {
			if _, err := e.Retry(context.Background(), task, tasker.By{Actor: "operator"}); err != nil {
				t.Fatal(err)
			}
			e.MustWait(task)
		}
		if n := len(c.paymentsTasks(t)); n != 1 || e.MustStep(id, "execute_refund_workflow").Attempt != 1 {
			t.Errorf("%d payments tasks", n)
		}
	})
}

func TestNobodyGetsMoreThanWasPaid(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		c := newCompany(t, e)
		tooMuch := small
		tooMuch.Cents++
		e.When("process_refund", tooMuch, success).ThenFail("update_ticket_status")
		other := e.MustTask(c.paymentsTasks(t)[0].ID)
		if first := other.Steps[0]; first.Attempt != 1 || first.Error == nil || first.Error.Kind != domain.KindPermanent {
			t.Errorf("validate_payment_eligibility: %+v, want one attempt that failed for good", first)
		}
		if left := c.payments.Left("pay_1"); left != 2476 {
			t.Errorf("%d cents are left, want 2476", left)
		}
	})
}
