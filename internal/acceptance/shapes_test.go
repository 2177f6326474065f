package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// shape is a row of ACCEPTANCE A.
type shape struct {
	name      string
	nodes     []node
	namespace string // "" is default
	version   string // "" is 0.1.0
}

type node struct {
	name     string
	after    []string
	failures int  // executions that fail before one succeeds
	timeout  bool // ... because their time is up
	options  []tasker.StepOption
}

var errPlanned = errors.New("planned failure")

func after(names ...string) []string { return names }

const dummySchema = `{"type":"object","properties":{"dummy":{"type":"boolean"}},"required":["dummy"]}`

var (
	dummy = shape{name: "dummy_task", nodes: []node{
		{name: "step-one"}, {name: "step-two"}, {name: "step-three", after: after("step-two")}, {name: "step-four", after: after("step-three")},
	}}
	linear = shape{name: "linear", nodes: []node{
		{name: "initialize_data"}, {name: "validate_input", after: after("initialize_data")},
		{name: "process_data", after: after("validate_input"), failures: 1},
		{name: "transform_results", after: after("process_data")}, {name: "validate_output", after: after("transform_results")},
		{name: "finalize_workflow", after: after("validate_output")},
	}}
	diamond = shape{name: "diamond", nodes: []node{
		{name: "start_workflow"},
		{name: "branch_one_process", after: after("start_workflow"), failures: 1},
		{name: "branch_one_validate", after: after("branch_one_process")},
		{name: "branch_two_process", after: after("start_workflow"), failures: 1, timeout: true},
		{name: "branch_two_validate", after: after("branch_two_process")},
		{name: "merge_branches", after: after("branch_one_validate", "branch_two_validate")},
		{name: "end_workflow", after: after("merge_branches")},
	}}
	tree = shape{name: "tree", nodes: []node{
		{name: "root_initialization"},
		{name: "branch_a_setup", after: after("root_initialization")},
		{name: "branch_b_setup", after: after("root_initialization"), failures: 1},
		{name: "a_task_one", after: after("branch_a_setup")},
		{name: "a_task_two", after: after("branch_a_setup"), failures: 1, timeout: true},
		{name: "b_task_one", after: after("branch_b_setup")},
		{name: "b_task_two", after: after("branch_b_setup"), failures: 1},
		{name: "aggregate_results", after: after("a_task_one", "a_task_two", "b_task_one", "b_task_two")},
	}}
	ecommerce = shape{name: "ecommerce", version: "1.0.0", nodes: []node{
		{name: "validate_cart"},
		{name: "process_payment", after: after("validate_cart")},
		{name: "update_inventory", after: after("process_payment"), options: limit(2)},
		{name: "create_order", after: after("update_inventory")},
		{name: "send_confirmation", after: after("create_order"), options: limit(5)},
	}}
	registration = shape{name: "user_registration", nodes: []node{
		{name: "create_user_account"},
		{name: "setup_billing_profile", after: after("create_user_account")},
		{name: "initialize_preferences", after: after("create_user_account")},
		{name: "send_welcome_sequence", after: after("setup_billing_profile", "initialize_preferences"), options: limit(5)},
		{name: "update_user_status", after: after("send_welcome_sequence"), options: limit(2)},
	}}
	refund = shape{name: "process_refund", namespace: "payments", version: "2.1.0", nodes: []node{
		{name: "validate_payment_eligibility"},
		{name: "process_gateway_refund", after: after("validate_payment_eligibility"), options: limit(2)},
		{name: "update_payment_records", after: after("process_gateway_refund")},
		{name: "notify_customer", after: after("update_payment_records"), options: limit(5)},
	}}
	mathematical = shape{name: "mathematical_sequence", nodes: []node{
		{name: "s1"}, {name: "s2", after: after("s1")}, {name: "s3", after: after("s2")}, {name: "s4", after: after("s3")},
	}}
)

func limit(n int) []tasker.StepOption { return []tasker.StepOption{tasker.Retries(n)} }

func fanOut(n int) shape {
	s := shape{name: fmt.Sprintf("fan_out_%d", n), nodes: []node{{name: "prepare"}}}
	var workers []string
	for i := range n {
		workers = append(workers, fmt.Sprintf("worker-%04d", i))
		s.nodes = append(s.nodes, node{name: workers[i], after: after("prepare")})
	}
	s.nodes = append(s.nodes, node{name: "join", after: workers})
	return s
}

// handlers of single steps, by name; the others do what the row says.
type handlers map[string]tasker.StepHandlerFunc

// builder is the shape's definition, with the handlers that the row asks for.
func (s shape) builder(w *world, own handlers) *tasker.Builder {
	b := tasker.Define(s.name)
	if s.namespace != "" {
		b.Namespace(s.namespace)
	}
	if s.version != "" {
		b.Version(s.version)
	}
	if s.name == dummy.name {
		b.Schema(dummySchema)
	}
	for _, n := range s.nodes {
		options := append([]tasker.StepOption{tasker.After(n.after...)}, n.options...)
		if n.timeout {
			options = append(options, tasker.Timeout(w.second))
		}
		h := own[n.name]
		if h == nil {
			h = w.planned(n)
		}
		b.Step(n.name, w.noting(h), options...)
	}
	return b
}

// workflow is the built shape.
func (s shape) workflow(w *world, own handlers) *tasker.Workflow {
	w.t.Helper()
	flow, err := s.builder(w, own).Build()
	if err != nil {
		w.t.Fatal(err)
	}
	return flow
}

// noting notes every call.
func (w *world) noting(h tasker.StepHandler) tasker.StepHandler {
	return tasker.StepHandlerFunc(func(ctx context.Context, task tasker.TaskView, sequence tasker.Sequence, step tasker.StepView) (any, error) {
		w.called(task, step)
		return h.Handle(ctx, task, sequence, step)
	})
}

func (w *world) planned(n node) tasker.StepHandlerFunc {
	return func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		switch {
		case n.failures == 0 || w.attempt(task, step) > n.failures:
			return map[string]bool{"dummy": true}, nil
		case n.timeout:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, errPlanned
	}
}

// fails is a handler that always fails with the error.
func fails(err error) tasker.StepHandlerFunc {
	return func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) { return nil, err }
}

// gives is a handler that returns the value.
func gives(v any) tasker.StepHandlerFunc {
	return func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) { return v, nil }
}

func TestAShapesCompleteWithTheirFailures(t *testing.T) {
	for _, s := range []shape{
		dummy, linear, diamond, tree, fanOut(1), fanOut(3), fanOut(100), fanOut(1000),
		ecommerce, registration, refund, mathematical,
	} {
		var options []option
		if len(s.nodes) > 1000 {
			options = append(options, sampled)
		}
		t.Run(s.name, func(t *testing.T) {
			both(t, func(w *world) {
				w.add(s.workflow(w, nil))
				id, _ := w.runs(s.name, map[string]bool{"dummy": true}, tasker.InNamespace(s.namespace))
				task, calls := w.task(id), map[string]int{}
				for _, c := range w.of(id, "") {
					calls[c.step]++
				}
				for i, n := range s.nodes {
					step := task.Steps[i]
					if step.Name != n.name || step.State != domain.Complete || step.Attempt != n.failures+1 || calls[n.name] != n.failures+1 {
						w.t.Errorf("%s is %s after %d attempts and %d calls, want complete after %d",
							n.name, step.State, step.Attempt, calls[n.name], n.failures+1)
					}
				}
				if task.Execution.CompletionPercentage != 100 || task.Execution.Health != domain.Healthy {
					w.t.Errorf("the execution context is %+v", task.Execution)
				}
			}, options...)
		})
	}
}

// The customer service's refund submits the payments team's task of the same name, in another namespace.
func TestATaskSubmitsATaskOfAnotherNamespace(t *testing.T) {
	both(t, func(w *world) {
		payments, err := refund.builder(w, nil).Build()
		if err != nil {
			w.t.Fatal(err)
		}
		step := func(name string, h tasker.StepHandlerFunc, options ...tasker.StepOption) func(*tasker.Builder) {
			return func(b *tasker.Builder) { b.Step(name, w.noting(h), options...) }
		}
		b := tasker.Define("process_refund").Namespace("customer_success").Version("1.3.0")
		for _, add := range []func(*tasker.Builder){
			step("validate_refund_request", gives("valid")),
			step("check_refund_policy", gives("covered"), tasker.After("validate_refund_request"), tasker.Retries(2)),
			step("get_manager_approval", gives("approved"), tasker.After("check_refund_policy"), tasker.Retries(1), tasker.Timeout(300*w.second)),
			step("execute_refund_workflow", func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				r, err := w.Submit(ctx, "process_refund", task.Context, tasker.InNamespace("payments"), tasker.Key(step.IdempotencyKey))
				return r.ID, err
			}, tasker.After("get_manager_approval")),
			step("update_ticket_status", gives("closed"), tasker.After("execute_refund_workflow")),
		} {
			add(b)
		}
		w.add(payments, b.MustBuild())
		id, result := w.runs("process_refund", map[string]int{"payment": 7}, tasker.InNamespace("customer_success"))
		equal(w, "result", string(result.Value), `{"update_ticket_status":"closed"}`)
		var child tasker.TaskID
		if err := json.Unmarshal(w.step(id, "execute_refund_workflow").Result, &child); err != nil {
			w.t.Fatal(err)
		}
		w.tasks = append(w.tasks, child)
		w.complete(child)
		equal(w, "payments steps", len(w.task(child).Steps), 4)
	})
}
