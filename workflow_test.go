package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/taskertest"
)

// payments is a task handler with every hook.
type payments struct{ charge tasker.StepHandler }

func (payments) Schema() json.RawMessage {
	return json.RawMessage(`{"required":["amount"],"properties":{"currency":{"default":"EUR"}}}`)
}

func (payments) EstablishStepDependenciesAndDefaults(steps []domain.StepTemplate) error {
	for i := range steps {
		if steps[i].Name == "receipt" {
			steps[i].DependsOn = append(steps[i].DependsOn, "charge")
		}
		steps[i].RetryLimit += 2
	}
	return nil
}

func (p payments) GetStepHandler(step tasker.StepView) (tasker.StepHandler, error) {
	if step.Name == "charge" {
		return p.charge, nil
	}
	return nil, tasker.ErrUseRegistered
}

func (payments) UpdateAnnotations(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, completed []tasker.StepView) ([]tasker.Annotation, error) {
	return []tasker.Annotation{{Kind: "completed", Value: json.RawMessage(fmt.Sprint(len(completed)))}}, nil
}

func (payments) GenerateIdentityHash(s tasker.Submission) (string, error) {
	var in struct{ Amount int }
	if err := json.Unmarshal(s.Context, &in); err != nil || in.Amount < 0 {
		return "", errors.Join(err, errors.New("no amount"))
	}
	if in.Amount == 0 {
		return "", nil
	}
	return fmt.Sprint(s.Namespace, s.Name, in.Amount), nil
}

// fromFile is a definition as a file has it.
func fromFile(t *testing.T) *tasker.Definition {
	t.Helper()
	def, err := domain.ParseDefinition([]byte(`{"name":"payment","steps":[{"name":"charge","handler":"charge","retry_limit":1},{"name":"receipt","handler":"print"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return def
}

func TestATaskHandlerAndADefinitionFromAFileBecomeAWorkflow(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		def := fromFile(t)
		before := string(def.Body())
		flow, err := tasker.Bind(def, payments{taskertest.Returns("charged")})
		if err != nil {
			t.Fatal(err)
		}
		if string(def.Body()) != before || def.Steps[1].DependsOn != nil || def.Steps[0].RetryLimit != 1 {
			t.Errorf("the definition that was bound has changed: %+v", def.Steps)
		}
		e.MustHandle("print", taskertest.Returns("printed"))
		e.MustRegister(flow)

		s := e.When("payment", map[string]int{"amount": 7}).ThenComplete(map[string]string{"receipt": "printed"})
		e.Settle()
		s.ThenAnnotated("completed")
		task := e.MustTask(s.ID())
		if got := string(task.Context); got != `{"amount":7,"currency":"EUR"}` {
			t.Errorf("the context is %s", got)
		}
		if task.Steps[0].RetryLimit != 3 || task.Steps[1].RetryLimit != 5 || !slices.Equal(task.Steps[1].DependsOn, []string{"charge"}) {
			t.Errorf("the steps are %+v", task.Steps)
		}
		_, err = e.Submit(t.Context(), "payment", map[string]int{"amoun": 7})
		var violations *jsonschema.ViolationsError
		if !errors.As(err, &violations) {
			t.Errorf("the schema is not enforced: %v", err)
		}
	})
}

func TestAFunctionSaysWhatTheSameTaskIs(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustHandle("print", taskertest.Returns("printed"))
		flow, err := tasker.Bind(fromFile(t), payments{taskertest.Returns("charged")})
		if err != nil {
			t.Fatal(err)
		}
		e.MustRegister(flow)
		ask := func(amount int, o ...tasker.SubmitOption) (tasker.Receipt, error) {
			return e.Submit(t.Context(), "payment", map[string]int{"amount": amount}, o...)
		}
		first, err := ask(7)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ask(7); err != nil || again.Created || again.ID != first.ID {
			t.Errorf("the same amount: %+v, %v", again, err)
		}
		if other, err := e.Submit(t.Context(), "payment", map[string]int{"amount": 7, "extra": 1}); !errors.Is(err, tasker.ErrIdempotencyMismatch) || other.ID != first.ID {
			t.Errorf("the same key with another input: %+v, %v", other, err)
		}
		if free, err := ask(0); err != nil || !free.Created {
			t.Errorf("no key: %+v, %v", free, err)
		}
		if free, err := ask(0); err != nil || !free.Created {
			t.Errorf("no key again: %+v, %v", free, err)
		}
		if own, err := ask(7, tasker.Key("mine")); err != nil || !own.Created {
			t.Errorf("a key comes first: %+v, %v", own, err)
		}
		if _, err := ask(-1); err == nil || !strings.Contains(err.Error(), "the identity of a submission of default.payment@0.1.0: no amount") {
			t.Errorf("an error of the function: %v", err)
		}
		e.Restart()
		if again, err := ask(7); err != nil || again.Created || again.ID != first.ID {
			t.Errorf("after a restart: %+v, %v", again, err)
		}
	})
}

func TestTheBuilderTakesTheSameHooks(t *testing.T) {
	h := payments{taskertest.Returns("charged")}
	built, err := tasker.Define("payment").Step("charge", taskertest.Returns("inline"), tasker.Retries(1)).
		Step("receipt", taskertest.Returns("printed")).TaskHandler(h).Build()
	if err != nil {
		t.Fatal(err)
	}
	if built.Identity.Strategy != domain.IdentityCustom || built.Steps[0].RetryLimit != 3 || built.Definition.Schema == nil || !built.HasTaskHandler() {
		t.Errorf("%s", built.Body())
	}
	taskertest.Run(t, func(_ *testing.T, e *taskertest.Engine) {
		e.MustRegister(built, built) // the same one twice is fine
		e.When("payment", map[string]int{"amount": 7}).ThenComplete(map[string]string{"receipt": "printed"})
	})

	byFunction := tasker.Define("payment").Step("charge", taskertest.Returns("charged")).
		IdentityFunc(func(s tasker.Submission) (string, error) { return s.Reason, nil }).MustBuild()
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(byFunction)
		id := e.MustSubmit("payment", nil, tasker.From("", "", "order 7"))
		r, err := e.Submit(t.Context(), "payment", nil, tasker.From("ann", "", "order 7"))
		if err != nil || r.Created || r.ID != id {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// The hooks alone.
type (
	wrongSteps  struct{}
	wrongSchema struct{}
	nothing     struct{ Schema json.RawMessage }
	watching    struct{}
)

func (wrongSteps) EstablishStepDependenciesAndDefaults(steps []domain.StepTemplate) error {
	if len(steps) > 1 {
		return errors.New("one is enough")
	}
	steps[0].DependsOn = []string{"b"}
	return nil
}

func (wrongSchema) Schema() json.RawMessage { return json.RawMessage(`{"type":"strin"}`) }

func (watching) UpdateAnnotations(context.Context, tasker.TaskView, tasker.Sequence, []tasker.StepView) ([]tasker.Annotation, error) {
	return nil, nil
}

func TestWhatHooksMakeOfADefinitionIsChecked(t *testing.T) {
	h := taskertest.Returns(nil)
	one := func() *tasker.Builder { return tasker.Define("x").Step("a", h) }
	for want, b := range map[string]*tasker.Builder{
		`depends on an unknown step "b"`:                                one().TaskHandler(wrongSteps{}),
		`the task handler of "x": one is enough`:                        one().Step("b", h).TaskHandler(wrongSteps{}),
		`the task handler of "x": the definition has a schema already`:  one().Schema(`{}`).TaskHandler(wrongSchema{}),
		`tasker_test.nothing has none of a task handler's methods: Get`: one().TaskHandler(nothing{}),
		`IdentityFunc needs a function`:                                 one().IdentityFunc(nil),
	} {
		if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		flow := one().TaskHandler(wrongSchema{}).MustBuild()
		if err := e.Register(flow); err == nil || !strings.Contains(err.Error(), "not a valid JSON Schema") {
			t.Errorf("got %v", err)
		}
		if got := e.Handlers(); len(got) != 0 {
			t.Errorf("the handlers of a refused workflow stay: %q", got)
		}
	})
	if _, err := one().Schema(`{"type": "strin"}`).TaskHandler(wrongSchema{}).Build(); err != nil {
		t.Errorf("the same schema twice: %v", err)
	}
}

func TestARefusedWorkflowLeavesNothingBehind(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		first := tasker.Define("x").Step("a", taskertest.Returns(1)).MustBuild()
		e.MustRegister(first)
		before := e.Handlers()
		if err := e.Register(tasker.Define("x").Step("a", taskertest.Returns(2)).Step("b", taskertest.Returns(3)).MustBuild()); !errors.Is(err, tasker.ErrDefinitionExists) {
			t.Errorf("got %v", err)
		}
		var dup *tasker.DuplicateHandlerError
		if err := e.Register(tasker.Define("x").Step("a", taskertest.Returns(2)).MustBuild()); !errors.As(err, &dup) || !strings.Contains(err.Error(), "default.x@0.1.0") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff(before, e.Handlers()); diff != "" {
			t.Error(diff)
		}
		e.When("x", nil).ThenComplete(map[string]int{"a": 1})
	})
}

func TestHandlersAreFoundByTheNameOfTheirDefinition(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		ctx := t.Context()
		dummy := taskertest.Returns("dummy")
		e.MustHandle("dummy", dummy)
		def := tasker.Define("dummy_task").StepNamed("one", "dummy").StepNamed("two", "other").MustBuild()
		e.MustRegister(def, tasker.Define("dummy_task").Version("2.0.0").Step("one", taskertest.Returns("own")).TaskHandler(watching{}).MustBuild())
		for version, name := range map[string]string{"0.1.0": "dummy", "": "default.dummy_task@2.0.0.one"} {
			h, err := e.FindTaskHandler(ctx, "", "dummy_task", version)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.GetStepHandler(tasker.StepView{Name: "one", Handler: name}); err != nil {
				t.Errorf("version %q: %v", version, err)
			}
		}
		h, err := e.FindTaskHandler(ctx, "", "dummy_task", "0.1.0")
		if err != nil {
			t.Fatal(err)
		}
		var missing *tasker.HandlerNotFoundError
		if _, err := h.GetStepHandler(tasker.StepView{Name: "two", Handler: "other"}); !errors.As(err, &missing) || !slices.Contains(missing.Known, "dummy") {
			t.Errorf("got %v", err)
		}
		if _, err := e.FindHandler("other"); !errors.As(err, &missing) || missing.Name != "other" {
			t.Errorf("got %v", err)
		}
		var unknown *tasker.DefinitionNotFoundError
		if _, err := e.FindTaskHandler(ctx, "payments", "dumy_task", "3.0.0"); !errors.As(err, &unknown) || len(unknown.Known) != 2 {
			t.Errorf("got %v", err)
		}
		e.MustHandleTask("", "dummy_task", tasker.TaskHandlerFunc(func(tasker.StepView) (tasker.StepHandler, error) { return dummy, nil }))
		if got := fmt.Sprint(e.TaskHandlers()); got != "[default.dummy_task]" {
			t.Errorf("task handlers %s", got)
		}
		e.When("dummy_task", nil, tasker.AtVersion("0.1.0")).ThenComplete(map[string]string{"one": "dummy", "two": "dummy"})
		if err := e.TaskHandler("", "dummy_task", "1.0.0", payments{}); err == nil || !strings.Contains(err.Error(), "give it to Bind") {
			t.Errorf("hooks that nobody would call are taken: %v", err)
		}
	})
}

func TestAStepWithoutAHandlerWaitsUntilItIsRegistered(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("later").StepNamed("one", "someday").MustBuild())
		id := e.MustSubmit("later", nil)
		e.Advance(48 * time.Hour)
		step := e.MustStep(id, "one")
		if step.State != domain.Pending || !step.Ready || step.Attempt != 0 || step.Held != `no handler "someday" is registered in this process` {
			t.Errorf("the step is %+v", step)
		}
		if task, err := client(t, e).Task(t.Context(), id); err != nil || task.Steps[0].Held != step.Held {
			t.Errorf("another process is told %+v, %v", task, err)
		}
		e.MustHandle("someday", taskertest.Returns("today"))
		e.MustWait(id)
		if step := e.MustStep(id, "one"); step.Held != "" {
			t.Errorf("it has run, and is held: %s", step.Held)
		}
	})
}

func TestTasksAreFoundByTheSystemThatTheyTalkTo(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		sees := tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			return step.DependentSystem, nil
		})
		e.MustRegister(
			tasker.Define("pays").Step("look", sees).Step("pay", sees, tasker.DependentSystem("bank"), tasker.After("look")).MustBuild(),
			tasker.Define("ships").Step("ship", sees, tasker.DependentSystem("post")).MustBuild())
		pays := e.When("pays", nil).ThenComplete(map[string]string{"pay": "bank"}).ID()
		ships := e.When("ships", nil).ThenComplete(map[string]string{"ship": "post"}).ID()
		for system, want := range map[string][]tasker.TaskID{"bank": {pays}, "post": {ships}, "moon": nil} {
			found, err := e.Tasks(t.Context(), tasker.Filter{DependentSystem: system})
			var ids []tasker.TaskID
			for _, task := range found {
				ids = append(ids, task.ID)
			}
			if err != nil || !slices.Equal(ids, want) {
				t.Errorf("%s: %v, %v, want %v", system, ids, err, want)
			}
		}
		if step := e.MustStep(pays, "pay"); step.DependentSystem != "bank" {
			t.Errorf("%+v", step)
		}
	})
}
