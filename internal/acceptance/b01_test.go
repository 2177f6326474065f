package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/projections"
)

// named is dummy_task with handlers by name.
func (w *world) named() *tasker.Workflow {
	w.t.Helper()
	w.handle("dummy", w.noting(gives(map[string]bool{"dummy": true})))
	b := tasker.Define(dummy.name).Schema(dummySchema)
	for _, n := range dummy.nodes {
		b.StepNamed(n.name, "dummy", tasker.After(n.after...))
	}
	flow, err := b.Build()
	if err != nil {
		w.t.Fatal(err)
	}
	w.add(flow)
	return flow
}

func TestB01DefinitionIsFoundByNamespaceNameAndVersion(t *testing.T) {
	both(t, func(w *world) {
		w.named()
		ctx := context.Background()
		def, err := w.Definition(ctx, "default", "dummy_task", "0.1.0")
		if err != nil {
			w.t.Fatal(err)
		}
		equal(w, "handler of the first step", def.Steps[0].Handler, "dummy")
		_, err = w.Submit(ctx, "dumy_task", nil, tasker.InNamespace("payments"), tasker.AtVersion("2.0.0"))
		var unknown *tasker.DefinitionNotFoundError
		if !errors.As(err, &unknown) {
			w.t.Fatalf("an unknown name gave %v", err)
		}
		equal(w, "the error", *unknown, tasker.DefinitionNotFoundError{
			Namespace: "payments", Name: "dumy_task", Version: "2.0.0", Known: []string{"default.dummy_task@0.1.0"},
		})
	})
}

func TestB02ContextAfterCreationAlone(t *testing.T) {
	both(t, func(w *world) {
		flow := w.named()
		id, _ := w.runs(dummy.name, map[string]bool{"dummy": true})
		task, err := projections.LoadTask(w.records(id)[:1], func(string) (*domain.Definition, bool) { return flow.Definition, true })
		if err != nil {
			w.t.Fatal(err)
		}
		equal(w, "context", task.ExecutionContext(), domain.ExecutionContext{
			Total: 4, Pending: 4, Ready: 2, Status: domain.StatusHasReadySteps, Action: domain.ActionExecuteReadySteps, Health: domain.Healthy,
		})
		equal(w, "task", task.State, domain.Pending)
		for i := range task.Steps {
			if s := task.Steps[i]; s.State != domain.Pending || s.Attempt != 0 {
				w.t.Errorf("step %d is %s, attempt %d", i, s.State, s.Attempt)
			}
		}
	})
}

func TestB03ContextAgainstTheSchemaIsRefused(t *testing.T) {
	both(t, func(w *world) {
		w.named()
		before := w.bounds()
		_, err := w.Submit(context.Background(), dummy.name, map[string]any{"bad_param": true, "dummy": 12})
		var violations *jsonschema.ViolationsError
		if !errors.As(err, &violations) {
			w.t.Fatalf("it gave %v", err)
		}
		if !slices.ContainsFunc(violations.Violations, func(v jsonschema.Violation) bool { return v.Path == "/dummy" }) {
			w.t.Errorf("no violation names dummy: %v", err)
		}
		equal(w, "the log", w.bounds(), before)
	})
}

// annotating is a task handler with the hook.
type annotating struct{ tasker.TaskHandler }

func (annotating) UpdateAnnotations(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, completed []tasker.StepView) ([]tasker.Annotation, error) {
	var notes []tasker.Annotation
	for _, s := range completed {
		notes = append(notes, tasker.Annotation{Kind: "dummy", Step: s.Name, Value: json.RawMessage(`{"dummy_annotation":"something"}`)})
	}
	return notes, nil
}

func b04(w *world) {
	flow := dummy.workflow(w, nil)
	w.add(flow)
	w.remember(func(e *tasker.Engine) error { return e.TaskHandler("default", dummy.name, "", annotating{flow}) })
	id, _ := w.runs(dummy.name, map[string]bool{"dummy": true})
	records := w.until(id, "four annotations", func(all []tasker.Event) bool { return count(lines(all), "task.annotated") == 4 })
	begins := []string{"task.created", "task.start_requested", "step.execution_requested step-one 1"}
	if !w.calm() { // after a crash either of the two that are ready may be the first
		begins = begins[:2]
	}
	equal(w, "lifecycle", lines(records)[:len(begins)], begins)
	steps := map[string][]string{}
	notes := map[string]int{}
	for i, r := range records {
		if s, ok := r.Event.(domain.StepEvent); ok {
			steps[s.StepName()] = append(steps[s.StepName()], string(r.Event.Type()))
		}
		if n, ok := r.Event.(domain.TaskAnnotated); ok {
			notes[n.Step]++
			if i < 11 {
				w.t.Errorf("annotated before the end: %v", lines(records))
			}
		}
	}
	equal(w, "all events", len(records), 15)
	equal(w, "the end", records[10].Event.Type(), domain.TaskCompletedType)
	for _, n := range dummy.nodes {
		equal(w, "events of "+n.name, steps[n.name], []string{"step.execution_requested", "step.completed"})
		equal(w, "calls of "+n.name, len(w.of(id, n.name)), 1)
		equal(w, "notes of "+n.name, notes[n.name], 1)
		equal(w, "state of "+n.name, w.step(id, n.name).State, domain.Complete)
	}
	equal(w, "task", w.task(id).State, domain.Complete)
}

func TestB04DummyTaskCompletesWithFourAnnotations(t *testing.T) {
	both(t, b04)
	t.Run("strict", func(t *testing.T) {
		t.Parallel()
		onNATS(t, b04, setup{}, natsservertest.Strict())
	})
}

func TestB05GraphHasParentsAndChildren(t *testing.T) {
	both(t, func(w *world) {
		g := dummy.workflow(w, nil).Graph()
		degrees := map[string][2]int{}
		for i, n := range dummy.nodes {
			degrees[n.name] = [2]int{len(g.Parents(i)), len(g.Children(i))}
		}
		equal(w, "degrees", degrees, map[string][2]int{"step-one": {0, 0}, "step-two": {0, 1}, "step-three": {1, 1}, "step-four": {1, 0}})
		equal(w, "parents", [][]int32{g.Parents(2), g.Parents(3)}, [][]int32{{1}, {2}})
	})
}

func TestB06StepsStartInOrderAndOverlap(t *testing.T) {
	both(t, func(w *world) {
		together := meet(2)
		slow := func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
			time.Sleep(w.second / 5)
			return nil, together.join(ctx)
		}
		w.add(dummy.workflow(w, handlers{"step-one": slow, "step-two": slow}))
		began := w.now()
		id, _ := w.runs(dummy.name, map[string]bool{"dummy": true})
		if took := w.now().Sub(began); w.virtual && w.calm() && took != w.second/5 {
			w.t.Errorf("it took %s, want 200ms", took)
		}
		var starts []string
		for _, r := range w.records(id) {
			if e, ok := r.Event.(domain.StepExecutionRequested); ok {
				starts = append(starts, e.Step)
			}
		}
		if w.calm() {
			equal(w, "starts", starts, []string{"step-one", "step-two", "step-three", "step-four"})
		}
		starts = slices.DeleteFunc(starts, func(s string) bool { return s == "step-one" }) // beside the others, when it was lost
		equal(w, "one after the other", starts, []string{"step-two", "step-three", "step-four"})
	})
}

func TestB07LinearFailsOnceAndCompletes(t *testing.T) {
	both(t, func(w *world) {
		w.add(linear.workflow(w, nil))
		id := w.submit(linear.name, nil)
		w.untilType(id, domain.TaskDelayedType)
		task := w.task(id)
		equal(w, "task", task.State, domain.Pending)
		equal(w, "status", task.Execution.Status, domain.StatusWaitingForRetry)
		states := []domain.State{}
		attempts := []int{}
		for _, s := range task.Steps {
			states, attempts = append(states, s.State), append(attempts, s.Attempt)
		}
		equal(w, "states", states, []domain.State{domain.Complete, domain.Complete, domain.Error, domain.Pending, domain.Pending, domain.Pending})
		equal(w, "attempts", attempts, []int{1, 1, 1, 0, 0, 0})
		w.complete(id)
		equal(w, "completed", w.task(id).Execution.Completed, 6)
		equal(w, "attempts of process_data", w.step(id, "process_data").Attempt, 2)
	})
}

func TestB08LinearFailsForGoodAfterThreeExecutions(t *testing.T) {
	both(t, func(w *world) {
		w.add(linear.workflow(w, handlers{"process_data": fails(errPlanned)}))
		id := w.submit(linear.name, nil)
		failed := w.fail(id)
		equal(w, "to blame", failed.Steps, []string{"process_data"})
		equal(w, "reason", failed.Reason, domain.FailStepsInError)
		equal(w, "executions", len(w.of(id, "process_data")), 3)
		task := w.task(id)
		equal(w, "task", task.State, domain.Error)
		equal(w, "step", task.Steps[2].State, domain.Error)
		for _, s := range task.Steps[3:] {
			equal(w, s.Name, []any{s.State, s.Attempt, len(w.of(id, s.Name))}, []any{domain.Pending, 0, 0})
		}
	})
}

func TestB09DiamondBranchesOverlapAndMergeOnce(t *testing.T) {
	both(t, func(w *world) {
		together := meet(2)
		process := func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			if w.attempt(task, step) > 1 {
				return step.Name, nil
			}
			if err := together.join(ctx); err != nil || step.Name == "branch_one_process" {
				return nil, errors.Join(err, errPlanned)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		w.add(diamond.workflow(w, handlers{"branch_one_process": process, "branch_two_process": process}))
		id, _ := w.runs(diamond.name, nil)
		equal(w, "completed", w.task(id).Execution.Completed, 7)
		equal(w, "attempts of one", w.step(id, "branch_one_process").Attempt, 2)
		equal(w, "attempts of two", w.step(id, "branch_two_process").Attempt, 2)
		all := w.trace(id)
		merge := slices.Index(all, "step.execution_requested merge_branches 1")
		for _, branch := range []string{"branch_one_validate", "branch_two_validate"} {
			if done := slices.Index(all, "step.completed "+branch+" 1"); done < 0 || merge < done {
				w.t.Errorf("merge_branches did not wait for %s: %v", branch, all)
			}
		}
		timeouts := 0
		for _, r := range w.records(id) {
			if e, ok := r.Event.(domain.StepFailed); ok && e.Error.Kind == domain.KindTimeout {
				timeouts++
				equal(w, "timed out", e.Step, "branch_two_process")
			}
		}
		equal(w, "timeouts", timeouts, 1)
	})
}

func TestB10TreeAggregatesLastAndOnce(t *testing.T) {
	both(t, func(w *world) {
		w.add(tree.workflow(w, nil))
		id, _ := w.runs(tree.name, nil)
		equal(w, "completed", w.task(id).Execution.Completed, 8)
		equal(w, "aggregations", len(w.of(id, "aggregate_results")), 1)
		all := w.trace(id)
		equal(w, "the end", all[len(all)-3:], []string{
			"step.execution_requested aggregate_results 1", "step.completed aggregate_results 1", "task.completed",
		})
	})
}
