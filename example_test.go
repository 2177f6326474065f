package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/taskertest"
)

// start runs an engine on a log in memory, and returns how to stop it. On NATS only the Config differs: see the
// package's documentation.
func start(items ...any) (*tasker.Engine, func()) {
	ctx, stop := context.WithCancel(context.Background())
	engine, err := tasker.New(ctx, tasker.Config{
		Store: memlog.New(memlog.Options{}), Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		err = engine.Register(items...)
	}
	if err != nil {
		panic(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Run(ctx) })
	<-engine.Ready()
	return engine, func() { stop(); running.Wait() }
}

type Greeting struct{ Name string }

// Define a workflow, register it, submit a task, wait for its result.
func Example() {
	hello := tasker.Handle(func(_ context.Context, in Greeting) (string, error) { return "hello " + in.Name, nil })
	shout := tasker.Handle(func(ctx context.Context, _ Greeting) (string, error) {
		said, err := tasker.ResultOf[string](ctx, "hello")
		return strings.ToUpper(said), err
	})
	engine, stop := start(tasker.Define("greet").
		Step("hello", hello).
		Step("shout", shout, tasker.After("hello")).
		MustBuild())
	defer stop()

	ctx := context.Background()
	receipt, err := engine.Submit(ctx, "greet", Greeting{"world"})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := engine.Wait(ctx, receipt.ID)
	fmt.Println(string(result.Value), err)
	// Output: {"shout":"HELLO WORLD"} <nil>
}

// Run submits, waits and decodes in one call.
func ExampleRun() {
	type numbers struct{ A, B int }
	engine, stop := start(tasker.Define("add").
		Step("sum", tasker.Handle(func(_ context.Context, in numbers) (int, error) { return in.A + in.B, nil })).
		Output("sum").
		MustBuild())
	defer stop()

	sum, err := tasker.Run[int](context.Background(), engine, "add", numbers{40, 2})
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

// An error that is useless to retry fails the step at once.
func ExamplePermanent() {
	engine, stop := start(tasker.Define("pay").
		Step("charge", tasker.Handle(func(context.Context, struct{}) (string, error) {
			return "", tasker.Permanent(errors.New("the card has expired"))
		}), tasker.Retries(5)).
		MustBuild())
	defer stop()

	ctx := context.Background()
	receipt, _ := engine.Submit(ctx, "pay", struct{}{})
	_, err := engine.Wait(ctx, receipt.ID)
	var failed *tasker.TaskFailedError
	if errors.As(err, &failed) {
		fmt.Println(failed.Reason, failed.Steps, failed.Errors["charge"])
	}
	task, _ := engine.Task(ctx, receipt.ID)
	fmt.Println(task.Steps[0].Executions, "execution of", task.Steps[0].RetryLimit)
	// Output:
	// steps_in_error_state [charge] the card has expired
	// 1 execution of 5
}

// A handler that knows when it is worth trying again says so; otherwise the step's backoff decides.
func ExampleRetryAfter() {
	engine, stop := start(tasker.Define("poll").
		Step("ask", tasker.Handle(func(ctx context.Context, _ struct{}) (string, error) {
			if step, _ := tasker.StepOf(ctx); step.Attempt == 1 {
				return "", tasker.RetryAfter(10*time.Millisecond, errors.New("not ready yet"))
			}
			return "ready", nil
		})).
		MustBuild())
	defer stop()

	ctx := context.Background()
	receipt, _ := engine.Submit(ctx, "poll", struct{}{})
	result, err := engine.Wait(ctx, receipt.ID)
	task, _ := engine.Task(ctx, receipt.ID)
	fmt.Println(string(result.Value), err, "in attempt", task.Steps[0].Attempt)
	// Output: {"ask":"ready"} <nil> in attempt 2
}

// Handlers are typed functions; In is the task's context. ResultOf reads the results of earlier steps.
func ExampleHandle() {
	type order struct{ Prices []int }
	total := tasker.Handle(func(_ context.Context, in order) (int, error) {
		sum := 0
		for _, p := range in.Prices {
			sum += p
		}
		return sum, nil
	})
	tax := tasker.Handle(func(ctx context.Context, _ order) (int, error) {
		sum, err := tasker.ResultOf[int](ctx, "total")
		return sum * 8 / 100, err
	})
	engine, stop := start(tasker.Define("order").
		Step("total", total).
		Step("tax", tax, tasker.After("total")).
		Output("tax").
		MustBuild())
	defer stop()

	fmt.Println(tasker.Run[int](context.Background(), engine, "order", order{[]int{100, 150}}))
	// Output: 20 <nil>
}

// Charge is a step handler in full: it is given the task, its steps with their results, and the step.
type Charge struct{}

// Handle uses the step's idempotency key, which is the same for every attempt, so that nobody pays twice.
func (Charge) Handle(ctx context.Context, task tasker.TaskView, sequence tasker.Sequence, step tasker.StepView) (any, error) {
	cart, err := sequence.Find(ctx, "cart")
	if err != nil {
		return nil, err
	}
	var total int
	if err := cart.Decode(&total); err != nil {
		return nil, tasker.Permanent(err)
	}
	key := strings.TrimPrefix(step.IdempotencyKey, task.ID.String())
	return fmt.Sprintf("%d paid for %s, key <task>%s", total, task.Name, key), nil
}

// The contract of a step handler is an interface of one method.
func ExampleStepHandler() {
	engine, stop := start(tasker.Define("checkout").
		Step("cart", tasker.Handle(func(context.Context, struct{}) (int, error) { return 42, nil })).
		Step("charge", Charge{}, tasker.After("cart")).
		Output("charge").
		MustBuild())
	defer stop()

	fmt.Println(tasker.Run[string](context.Background(), engine, "checkout", struct{}{}))
	// Output: 42 paid for checkout, key <task>/charge/1 <nil>
}

// Greeter is a task handler: it gives the handler of every step of its definition.
type Greeter struct{ words map[string]string }

// GetStepHandler is asked before every execution.
func (g Greeter) GetStepHandler(step tasker.StepView) (tasker.StepHandler, error) {
	word, ok := g.words[step.Name]
	if !ok {
		return nil, fmt.Errorf("no word for %q", step.Name)
	}
	return tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		return word, nil
	}), nil
}

// A task handler serves all steps of a definition, here of one without handlers of its own.
func ExampleTaskHandler() {
	engine, stop := start(tasker.Define("words").
		StepNamed("first", "word").
		StepNamed("second", "word", tasker.After("first")).
		MustBuild())
	defer stop()
	if err := engine.TaskHandler("default", "words", "", Greeter{map[string]string{"first": "good", "second": "morning"}}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(tasker.Run[map[string]string](context.Background(), engine, "words", struct{}{}))
	// Output: map[second:morning] <nil>
}

// The same key is the same task, however often it is submitted.
func ExampleKey() {
	engine, stop := start(tasker.Define("order").
		Step("place", tasker.Handle(func(context.Context, Greeting) (string, error) { return "placed", nil })).
		MustBuild())
	defer stop()

	ctx := context.Background()
	first, _ := engine.Submit(ctx, "order", Greeting{"ann"}, tasker.Key("order-7"))
	again, _ := engine.Submit(ctx, "order", Greeting{"ann"}, tasker.Key("order-7"))
	_, err := engine.Submit(ctx, "order", Greeting{"bob"}, tasker.Key("order-7"))
	fmt.Println(first.Created, again.Created, again.ID == first.ID, errors.Is(err, tasker.ErrIdempotencyMismatch))
	// Output: true false true true
}

// The definition says what makes two submissions the same task: the same content within the same day.
func ExampleBuilder_IdentityHash() {
	engine, stop := start(tasker.Define("report").
		Step("write", tasker.Handle(func(context.Context, Greeting) (string, error) { return "written", nil })).
		IdentityHash(24 * time.Hour).
		MustBuild())
	defer stop()

	ctx := context.Background()
	first, _ := engine.Submit(ctx, "report", Greeting{"ann"})
	again, _ := engine.Submit(ctx, "report", Greeting{"ann"})
	other, _ := engine.Submit(ctx, "report", Greeting{"bob"})
	fmt.Println(first.Created, again.Created, again.ID == first.ID, other.Created)
	// Output: true false true true
}

// Refunds is a task handler with hooks: it says what its context has to look like, changes the steps before they are
// checked, and leaves the handler of every step to the builder.
type Refunds struct{}

// Schema is that of the task's context.
func (Refunds) Schema() json.RawMessage { return json.RawMessage(`{"required": ["amount"]}`) }

// EstablishStepDependenciesAndDefaults puts every step behind the one before it.
func (Refunds) EstablishStepDependenciesAndDefaults(steps []domain.StepTemplate) error {
	for i := 1; i < len(steps); i++ {
		steps[i].DependsOn = []string{steps[i-1].Name}
	}
	return nil
}

// Hooks of a task handler are methods that it may have or not.
func ExampleBuilder_TaskHandler() {
	says := func(text string) tasker.StepHandler {
		return tasker.Handle(func(context.Context, map[string]any) (string, error) { return text, nil })
	}
	engine, stop := start(tasker.Define("refund").
		Step("check", says("checked")).Step("pay", says("paid")).Step("tell", says("told")).
		TaskHandler(Refunds{}).
		MustBuild())
	defer stop()

	ctx := context.Background()
	_, err := engine.Submit(ctx, "refund", map[string]int{})
	fmt.Println(err)
	fmt.Println(tasker.Run[map[string]string](ctx, engine, "refund", map[string]int{"amount": 7}))
	// Output:
	// the context of default.refund@0.1.0 is refused: context is not valid: /amount: is missing
	// map[tell:told] <nil>
}

// A long step stores how far it has come; the next attempt goes on there.
func ExampleCheckpoint() {
	rows := []string{"ann", "bob", "cid", "dan", "eve"}
	broken := true
	copyAll := tasker.Handle(func(ctx context.Context, _ struct{}) (int, error) {
		next := 0
		if _, err := tasker.Resume(ctx, &next); err != nil {
			return 0, err
		}
		for ; next < len(rows); next++ {
			if broken && rows[next] == "dan" {
				return 0, errors.New("the disk is full")
			}
			fmt.Println("copied", rows[next])
			tasker.Progress(ctx, next+1, len(rows), "")
			if err := tasker.Checkpoint(ctx, next+1); err != nil {
				return 0, err // somebody cancelled the step, or another process runs it now
			}
		}
		return next, tasker.Emit(ctx, "table.copied", map[string]int{"rows": next})
	})

	// In a test the handler is called by itself; an engine does the same between two attempts.
	first := taskertest.Given(copyAll).Call(context.Background())
	fmt.Println("attempt 1:", first.Err)
	broken = false
	cursor := first.Checkpoints[len(first.Checkpoints)-1]
	second := taskertest.Given(copyAll).Attempt(2, first.Err).Checkpoint(cursor).Call(context.Background())
	fmt.Println("attempt 2:", string(second.Result), "rows,", second.Emitted[0].Name, string(second.Emitted[0].Data))
	// Output:
	// copied ann
	// copied bob
	// copied cid
	// attempt 1: the disk is full
	// copied dan
	// copied eve
	// attempt 2: 5 rows, table.copied {"rows":5}
}

// A subscriber is told of events of the types that it names, after they have been stored.
func ExampleEngine_Attach() {
	engine, stop := start(tasker.Define("greet").
		Step("hello", tasker.Handle(func(context.Context, struct{}) (string, error) { return "hello", nil })).
		MustBuild())
	defer stop()

	ctx, detach := context.WithCancel(context.Background())
	var attached sync.WaitGroup
	attached.Go(func() {
		types := []tasker.EventType{domain.StepCompletedType, domain.TaskCompletedType}
		err := engine.Attach(ctx, "printer", types, func(_ context.Context, e tasker.Event) error {
			fmt.Println(e.Event.Type())
			if step, ok := e.Event.(domain.StepCompleted); ok {
				fmt.Println("that was", step.Step, "in attempt", step.Attempt)
			}
			if e.Event.Type() == domain.TaskCompletedType {
				detach()
			}
			return nil
		}, tasker.AttachOptions{From: tasker.FromBeginning})
		if err != nil && ctx.Err() == nil {
			fmt.Println(err)
		}
	})
	if _, err := engine.Submit(ctx, "greet", struct{}{}); err != nil {
		fmt.Println(err)
	}
	attached.Wait()
	// Output:
	// step.completed
	// that was hello in attempt 1
	// task.completed
}

// Signals follow from what was stored, and handlers emit events of the definition's own: both are subscribed to by their
// types, or by a whole family of them.
func ExampleEngine_Attach_signals() {
	ship := tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Attempt == 1 {
			return nil, tasker.RetryAfter(time.Millisecond, errors.New("no van"))
		}
		return "on its way", step.Emit("order.shipped", map[string]string{"van": "7"})
	})
	engine, stop := start(tasker.Define("order").Step("ship", ship, tasker.Emits("order.shipped")).MustBuild())
	defer stop()

	ctx, detach := context.WithCancel(context.Background())
	var attached sync.WaitGroup
	attached.Go(func() {
		types := []tasker.EventType{"observability.*", "custom.order.shipped", domain.SignalFinalizationCompleted}
		err := engine.Attach(ctx, "office", types, func(_ context.Context, e tasker.Event) error {
			if shipped, ok := e.Event.(domain.Custom); ok {
				fmt.Println(shipped.Type(), string(shipped.Data))
				return nil
			}
			signal := e.Event.(domain.Signal)
			if signal.Context == nil {
				fmt.Println(signal.Name, signal.Steps, "in attempt", signal.Attempt)
				return nil
			}
			fmt.Println(signal.Name, signal.Decision, signal.Context.Status)
			if signal.Decision == domain.TaskCompletedType {
				detach()
			}
			return nil
		}, tasker.AttachOptions{From: tasker.FromBeginning})
		if err != nil && ctx.Err() == nil {
			fmt.Println(err)
		}
	})
	if _, err := engine.Submit(ctx, "order", struct{}{}); err != nil {
		fmt.Println(err)
	}
	attached.Wait()
	// Output:
	// workflow.task_finalization_completed task.start_requested has_ready_steps
	// observability.step.backoff [ship] in attempt 1
	// workflow.task_finalization_completed workflow.task_reenqueue_delayed waiting_for_retry
	// workflow.task_finalization_completed task.start_requested has_ready_steps
	// custom.order.shipped {"van":"7"}
	// workflow.task_finalization_completed task.completed finished
}

// A tap hears what this process does while it does it, also what no log holds.
func ExampleEngine_Tap() {
	engine, stop := start(tasker.Define("greet").
		Step("hello", tasker.Handle(func(context.Context, struct{}) (string, error) { return "hello", nil })).
		MustBuild())
	defer stop()

	done := make(chan struct{})
	tap, err := engine.Tap([]tasker.EventType{domain.SignalBeforeHandle, domain.SignalHandle, domain.TaskCompletedType}, func(e tasker.Event) {
		fmt.Println(e.Event.Type())
		if e.Event.Type() == domain.TaskCompletedType {
			close(done)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tap.Stop()
	if _, err := engine.Submit(context.Background(), "greet", struct{}{}); err != nil {
		fmt.Println(err)
	}
	<-done
	// Output:
	// step.before_handle
	// step.handle
	// task.completed
}

// Everything that happened to a task stands in the log, and can be read again.
func ExampleEngine_Replay() {
	engine, stop := start(tasker.Define("greet").
		Step("hello", tasker.Handle(func(context.Context, struct{}) (string, error) { return "hello", nil })).
		MustBuild())
	defer stop()

	ctx := context.Background()
	receipt, _ := engine.Submit(ctx, "greet", struct{}{})
	if _, err := engine.Wait(ctx, receipt.ID); err != nil {
		fmt.Println(err)
	}
	for event, err := range engine.Replay(ctx, tasker.ReplayOptions{Task: receipt.ID}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.Event.Type(), "by", event.Actor())
	}
	// Output:
	// task.created by submitter
	// task.start_requested by engine
	// step.execution_requested by engine
	// step.completed by handler
	// task.completed by engine
}
