package taskertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/executor"
)

// A Case is one call of a handler. Given makes it.
type Case struct {
	handler tasker.StepHandler
	task    tasker.TaskView
	step    tasker.StepView
	others  steps
	err     error
}

// Given begins a case: the first attempt of a step named "step" of a task without context.
func Given(h tasker.StepHandler) *Case {
	return &Case{
		handler: h,
		task: tasker.TaskView{
			ID: domain.KeyedTaskID(domain.DefaultNamespace, "taskertest", "case"), Namespace: domain.DefaultNamespace,
			Name: "taskertest", Version: domain.DefaultVersion, Context: json.RawMessage("{}"),
		},
		step: tasker.StepView{
			Name: "step", State: domain.InProgress, Attempt: 1, Round: 1, RetryLimit: domain.DefaultRetryLimit,
			IdempotencyKey: "taskertest/step/1",
		},
	}
}

// Context sets the task's context: anything that encodes to a JSON object.
func (c *Case) Context(v any) *Case { c.task.Context = c.encode("the context", v); return c }

// Config sets the handler_config of the step.
func (c *Case) Config(v any) *Case { c.step.Config = c.encode("the config", v); return c }

// Inputs sets the inputs that an operator gave with a retry.
func (c *Case) Inputs(v any) *Case { c.step.Inputs = c.encode("the inputs", v); return c }

// Result gives an earlier step with its result.
func (c *Case) Result(step string, v any) *Case {
	c.others = append(c.others, tasker.StepView{
		Name: step, State: domain.Complete, Attempt: 1, Round: 1, Result: c.encode("the result of "+step, v),
	})
	return c
}

// NoResult gives an earlier step that was skipped.
func (c *Case) NoResult(step string) *Case {
	c.others = append(c.others, tasker.StepView{Name: step, State: domain.Complete, Skipped: true})
	return c
}

// Attempt sets the number of the attempt; last is the error of the one before it, nil for none.
func (c *Case) Attempt(n int, last error) *Case {
	c.step.Attempt = n
	if last != nil {
		c.step.LastError = &domain.StepError{Message: last.Error(), Kind: kindOf(last)}
	}
	return c
}

// Checkpoint gives the step a checkpoint that an earlier attempt stored: what Resume finds.
func (c *Case) Checkpoint(cursor any) *Case {
	c.step.Cursor = c.encode("the checkpoint", cursor)
	return c
}

// Task changes what the handler sees of the task.
func (c *Case) Task(change func(*tasker.TaskView)) *Case { change(&c.task); return c }

// Step changes what the handler sees of its step.
func (c *Case) Step(change func(*tasker.StepView)) *Case { change(&c.step); return c }

func (c *Case) encode(what string, v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("taskertest: %s: %w", what, err)
	}
	return text
}

// Call calls the handler, and its ProcessResults if it has one, in the calling goroutine.
func (c *Case) Call(ctx context.Context) Got {
	if c.err != nil {
		return Got{Err: c.err}
	}
	said := &said{step: c.step.Name, attempt: c.step.Attempt}
	step := c.step.WithRun(said)
	call := &executor.Call{Task: c.task, Sequence: append(c.others, step), Step: step}
	ctx = domain.WithRun(executor.NewContext(ctx, call), said)
	value, err := c.handler.Handle(ctx, c.task, call.Sequence, step)
	if p, ok := c.handler.(tasker.ResultsProcessor); ok && err == nil {
		value, err = p.ProcessResults(ctx, step, value)
	}
	if err != nil {
		return said.got(nil, err)
	}
	return said.got(json.Marshal(value))
}

// Got is what a handler returned, and what it said before.
type Got struct {
	Result json.RawMessage // of a call that went well
	Err    error

	Checkpoints []json.RawMessage       // every one
	Progress    []domain.StepProgressed // every one; an engine stores at most one a second
	Emitted     []domain.Custom         // whether declared or not
	Lines       []string                // of Log
	Heartbeats  int                     // calls of Heartbeat
}

// Decode unmarshals the result; it returns the error of a call that failed.
func (g Got) Decode(out any) error {
	if g.Err != nil {
		return g.Err
	}
	return json.Unmarshal(g.Result, out)
}

// Permanent reports whether the call failed for good.
func (g Got) Permanent() bool { return g.Err != nil && kindOf(g.Err) == domain.KindPermanent }

// RetryAfter is the wait that the handler asked for; 0 when it asked for none.
func (g Got) RetryAfter() time.Duration {
	var f *domain.Failure
	if errors.As(g.Err, &f) {
		return f.RetryAfter
	}
	return 0
}

func kindOf(err error) domain.ErrorKind {
	var f *domain.Failure
	if errors.As(err, &f) && f.Kind != "" {
		return f.Kind
	}
	return domain.KindError
}

// steps is a tasker.Sequence.
type steps []tasker.StepView

// Find returns the step of that name.
func (s steps) Find(_ context.Context, name string) (tasker.StepView, error) {
	for _, v := range s {
		if v.Name == name {
			return v, nil
		}
	}
	return tasker.StepView{}, fmt.Errorf("step %q: %w (give it with Result)", name, domain.ErrUnknownStep)
}

// Steps returns all steps that the case was given, the one under test last.
func (s steps) Steps(context.Context) ([]tasker.StepView, error) { return s, nil }

// Returns is a handler that returns the result.
func Returns(result any) tasker.StepHandler { return FailTimes(0, nil, result) }

// Fails is a handler that always fails.
func Fails(err error) tasker.StepHandler { return FailTimes(-1, err, nil) }

// FailTimes is a handler that fails n times and then returns the result; n < 0: it always fails. It counts calls, of
// whatever task.
func FailTimes(n int64, err error, result any) tasker.StepHandler {
	var calls atomic.Int64
	return tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		if call := calls.Add(1); n < 0 || call <= n {
			return nil, err
		}
		return result, nil
	})
}

// Takes is a handler that takes d, or until its context ends, and then returns the result.
func Takes(d time.Duration, result any) tasker.StepHandler {
	return tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		select {
		case <-time.After(d):
			return result, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})
}

// Stub registers other handlers for single steps of a workflow; the other steps keep theirs, and so do its hooks. Pairs of
// step name and tasker.StepHandler. It can be called once per workflow, before or after MustRegister.
func (e *Engine) Stub(w *tasker.Workflow, pairs ...any) {
	e.t.Helper()
	stubs := pairsOf(e.t, w, pairs)
	e.mu.Lock()
	if e.stubs[w] != nil {
		e.t.Fatalf("%s has stubs already: give them all in one call", w.FullName())
	}
	e.stubs[w] = stubs
	e.mu.Unlock()
	if !w.HasTaskHandler() { // else MustRegister has seen to it
		e.MustHandleTask(w.Namespace, w.Name, stubbed{e, w})
	}
}

// stubbed is the task handler of a workflow with stubs.
type stubbed struct {
	e *Engine
	w *tasker.Workflow
}

// GetStepHandler gives the stub, or the workflow's own handler.
func (s stubbed) GetStepHandler(step tasker.StepView) (tasker.StepHandler, error) {
	s.e.mu.Lock()
	h := s.e.stubs[s.w][step.Name]
	s.e.mu.Unlock()
	if h != nil {
		return h, nil
	}
	return s.w.GetStepHandler(step)
}

// stubbable are the items, with workflows whose own task handler can be overruled by stubs.
func (e *Engine) stubbable(items []any) []any {
	out := slices.Clone(items)
	for i, item := range items {
		w, ok := item.(*tasker.Workflow)
		if !ok || !w.HasTaskHandler() {
			continue
		}
		if e.wrapped[w] == nil { // the same one for the same one, so that it may be registered twice
			e.wrapped[w] = w.WithTaskHandler(stubbed{e, w})
		}
		out[i] = e.wrapped[w]
	}
	return out
}

func pairsOf(t *testing.T, w *tasker.Workflow, pairs []any) map[string]tasker.StepHandler {
	t.Helper()
	stubs := map[string]tasker.StepHandler{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, isName := pairs[i].(string)
		h, isHandler := pairs[i+1].(tasker.StepHandler)
		if !isName || !isHandler {
			t.Fatalf("Stub takes pairs of step name and tasker.StepHandler, not %T and %T", pairs[i], pairs[i+1])
		}
		if w.Graph().Index(name) < 0 {
			t.Fatalf("%s has no step %q", w.FullName(), name)
		}
		stubs[name] = h
	}
	if len(pairs)%2 != 0 {
		t.Fatal("Stub takes pairs of step name and tasker.StepHandler; one is left over")
	}
	return stubs
}

// A Scenario is a workflow with its input, and what is expected of it.
type Scenario struct {
	e  *Engine
	id tasker.TaskID
}

// When submits a task.
func (e *Engine) When(name string, input any, options ...tasker.SubmitOption) Scenario {
	e.t.Helper()
	return Scenario{e, e.MustSubmit(name, input, options...)}
}

// ID is the task's.
func (s Scenario) ID() tasker.TaskID { return s.id }

// ThenComplete waits until the task is complete, with a result that encodes to the same JSON as want.
func (s Scenario) ThenComplete(want any) Scenario {
	s.e.t.Helper()
	got := s.e.MustWait(s.id).Value
	text, err := json.Marshal(want)
	if err != nil {
		s.e.t.Fatal(err)
	}
	if a, b := compact(got), compact(text); a != b {
		s.e.t.Errorf("the task's result is %s, want %s", a, b)
	}
	return s
}

// ThenFail waits until the task has failed, because of these steps.
func (s Scenario) ThenFail(steps ...string) Scenario {
	s.e.t.Helper()
	if got := s.e.MustFail(s.id); fmt.Sprint(got.Steps) != fmt.Sprint(steps) {
		s.e.t.Errorf("the task failed because of %q, want %q", got.Steps, steps)
	}
	return s
}

// ThenTrace compares the task's events with these lines; see Engine.Trace.
func (s Scenario) ThenTrace(want ...string) Scenario {
	s.e.t.Helper()
	got := s.e.Trace(s.id)
	for i := range max(len(got), len(want)) {
		var a, b string
		if i < len(got) {
			a = got[i]
		}
		if i < len(want) {
			b = want[i]
		}
		if a != b {
			s.e.t.Errorf("event %d is %q, want %q; all: %q", i, a, b, got)
			break
		}
	}
	return s
}

// compact orders keys, so that structs and maps can be compared.
func compact(text json.RawMessage) string {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return string(text)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(text)
	}
	return string(out)
}
