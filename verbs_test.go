package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/taskertest"
)

// operator is who has the verbs: an engine, or a client in another process.
type operator interface {
	Cancel(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Retry(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Resolve(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Pause(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Resume(context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	Annotate(context.Context, tasker.TaskID, tasker.Annotation, string) (tasker.VerbReceipt, error)
	RetryStep(context.Context, tasker.TaskID, string, tasker.StepRetry, tasker.By) (tasker.VerbReceipt, error)
	ResolveStep(context.Context, tasker.TaskID, string, any, tasker.By) (tasker.VerbReceipt, error)
	CancelStep(context.Context, tasker.TaskID, string, tasker.By) (tasker.VerbReceipt, error)
	CompleteStep(context.Context, tasker.TaskID, string, any, tasker.By) (tasker.VerbReceipt, error)
}

var (
	_   operator = (*tasker.Engine)(nil)
	_   operator = (*tasker.Client)(nil)
	ann          = tasker.By{Actor: "ann", Reason: "ticket 12"}
)

// office is an engine in virtual time with three definitions, and an operator who talks to it.
type office struct {
	*taskertest.Engine
	t  *testing.T
	op operator
}

// offices runs a test with the engine itself as the operator, and with a client on a connection of its own.
func offices(t *testing.T, test func(t *testing.T, o *office)) {
	t.Helper()
	t.Run("engine", func(t *testing.T) {
		taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
			e.MustRegister(order, long, later)
			test(t, &office{e, t, e.Engine})
		})
	})
	t.Run("client", func(t *testing.T) {
		taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
			e.MustRegister(order, long, later)
			client, err := tasker.NewClient(t.Context(), tasker.Config{Store: e.Store, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			test(t, &office{e, t, client})
		})
	})
}

// order fails at its first step until somebody retries it.
var order = tasker.Define("order").
	Step("pay", tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Round == 1 {
			return nil, tasker.Permanent(errors.New("the card was declined"))
		}
		return map[string]any{"inputs": step.Inputs, "limit": step.RetryLimit}, nil
	})).
	Step("ship", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, all tasker.Sequence, _ tasker.StepView) (any, error) {
		pay, err := all.Find(ctx, "pay")
		if err != nil {
			return nil, err
		}
		return map[string]any{"after": pay.Result}, nil
	}), tasker.After("pay")).
	MustBuild()

// long runs until somebody ends it.
var long = tasker.Define("long").
	Step("run", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
		<-ctx.Done()
		return "too late", nil
	}), tasker.Timeout(0)).
	Step("behind", tasker.Handle(func(ctx context.Context, _ struct{}) (any, error) {
		ran, err := tasker.ResultOf[json.RawMessage](ctx, "run")
		if errors.Is(err, tasker.ErrNoResult) {
			return "nothing", nil
		}
		return ran, err
	}), tasker.After("run")).
	MustBuild()

// later waits an hour for its second execution, which is complete.
var later = tasker.Define("later").
	Step("ask", tasker.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		if step, _ := tasker.StepOf(ctx); step.Attempt == 1 {
			return "", tasker.RetryAfter(time.Hour, errors.New("not yet"))
		}
		return "now", nil
	})).
	MustBuild()

func (o *office) failed() tasker.TaskID {
	o.t.Helper()
	id := o.MustSubmit("order", nil)
	o.MustFail(id)
	return id
}

func (o *office) submitted(name string) tasker.TaskID {
	o.t.Helper()
	id := o.MustSubmit(name, nil)
	o.Settle()
	return id
}

// does checks what the receipt of a verb says: the states, the attempt, and the position of the task's newest commit.
func (o *office) does(id tasker.TaskID, want string) func(tasker.VerbReceipt, error) {
	return func(r tasker.VerbReceipt, err error) {
		o.t.Helper()
		if err != nil {
			o.t.Fatal(err)
		}
		got := fmt.Sprintf("%s to %s", r.From, r.To)
		if r.Step != "" {
			got = fmt.Sprintf("%s: %s, attempt %d", r.Step, got, r.Attempt)
		}
		if r.Reopened {
			got += ", reopened"
		}
		if !r.Changed {
			got += ", unchanged"
		}
		if got != want || r.Task != id {
			o.t.Errorf("the receipt says %q about %s, want %q", got, r.Task, want)
		}
		if !slices.ContainsFunc(o.Records(id), func(x tasker.Event) bool { return x.Position.Sequence == r.Position.Sequence }) {
			o.t.Errorf("no event of the task is at the position %s", r.Position)
		}
	}
}

// acts lists what operators did to the task: event, step, who, why.
func (o *office) acts(id tasker.TaskID, want ...string) {
	o.t.Helper()
	got := []string{}
	for _, r := range o.Records(id) {
		if !strings.HasPrefix(string(r.Actor()), "operator") {
			continue
		}
		line := string(r.Event.Type())
		if s, ok := r.Event.(domain.StepEvent); ok {
			line += " " + s.StepName()
		}
		var data struct{ Reason string }
		if text := domain.EventData(r.Event); text != nil {
			if err := json.Unmarshal(text, &data); err != nil {
				o.t.Fatal(err)
			}
		}
		got = append(got, strings.TrimSuffix(line+" by "+string(r.Actor())+", "+data.Reason, ", "))
	}
	if !slices.Equal(got, want) {
		o.t.Errorf("operators did\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (o *office) result(id tasker.TaskID, want string) {
	o.t.Helper()
	if got := string(o.MustWait(id).Value); got != want {
		o.t.Errorf("the result is %s, want %s", got, want)
	}
}

func TestCancelEndsTheTaskOnceAndSaysWho(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.submitted("long")
		o.does(id, "in_progress to cancelled")(o.op.Cancel(t.Context(), id, ann))
		o.does(id, "cancelled to cancelled, unchanged")(o.op.Cancel(t.Context(), id, tasker.By{}))
		o.acts(id, "task.cancelled by operator:ann, ticket 12", "step.cancelled run by operator:ann", "step.cancelled behind by operator:ann")
	})
}

func TestRetryBeginsANewRoundAndIsANoOpWhileTheTaskLives(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.failed()
		o.does(id, "error to pending")(o.op.Retry(t.Context(), id, ann))
		o.result(id, `{"ship":{"after":{"inputs":null,"limit":3}}}`)
		o.acts(id, "step.retry_requested pay by operator:ann", "task.retry_requested by operator:ann, ticket 12")
		live := o.submitted("long")
		o.does(live, "in_progress to in_progress, unchanged")(o.op.Retry(t.Context(), live, ann))
		o.acts(live)
	})
}

func TestResolveEndsAFailedTask(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.failed()
		o.does(id, "error to resolved_manually")(o.op.Resolve(t.Context(), id, tasker.By{Reason: "paid in cash"}))
		o.does(id, "resolved_manually to resolved_manually, unchanged")(o.op.Resolve(t.Context(), id, ann))
		o.acts(id, "task.resolved_manually by operator, paid in cash")
	})
}

func TestAPausedTaskStartsNothingAndARetryThatCameDueIsDueWithTheResume(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.submitted("later")
		o.does(id, "pending to pending")(o.op.Pause(t.Context(), id, ann))
		o.does(id, "pending to pending, unchanged")(o.op.Pause(t.Context(), id, ann))
		o.Advance(2 * time.Hour)
		if task := o.MustTask(id); !task.Paused || task.Steps[0].Attempt != 1 {
			t.Errorf("paused %v, attempt %d", task.Paused, task.Steps[0].Attempt)
		}
		o.does(id, "pending to pending")(o.op.Resume(t.Context(), id, ann))
		o.result(id, `{"ask":"now"}`)
		o.does(id, "complete to complete, unchanged")(o.op.Resume(t.Context(), id, ann))
		o.acts(id, "task.paused by operator:ann, ticket 12", "task.resumed by operator:ann, ticket 12")
	})
}

func TestANoteIsStoredInEveryStateAndTwice(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		note := tasker.Annotation{Kind: "note", Step: "pay", Value: json.RawMessage(`{"asked": "the bank"}`)}
		id := o.failed()
		o.does(id, "pay: error to error, attempt 0")(o.op.Annotate(t.Context(), id, note, "ann"))
		if _, err := o.op.Cancel(t.Context(), id, tasker.By{}); err != nil {
			t.Fatal(err)
		}
		o.does(id, "pay: cancelled to cancelled, attempt 0")(o.op.Annotate(t.Context(), id, note, ""))
		o.acts(id, "task.annotated by operator:ann", "task.cancelled by operator", "step.cancelled pay by operator",
			"step.cancelled ship by operator", "task.annotated by operator")
		for _, r := range o.Records(id) {
			if x, ok := r.Event.(domain.TaskAnnotated); ok && string(x.Annotation) != `{"asked":"the bank"}` {
				t.Errorf("the note is %s", x.Annotation)
			}
		}
		note.Step = "send"
		if _, err := o.op.Annotate(t.Context(), id, note, "ann"); !errors.Is(err, tasker.ErrUnknownStep) {
			t.Errorf("a note about a step that does not exist gave %v", err)
		}
	})
}

func TestRetryOfAStepReopensItsTaskAndChangesWhatItIsTold(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.failed()
		with := tasker.StepRetry{RetryLimit: 7, Inputs: map[string]string{"card": "other"}}
		o.does(id, "pay: error to pending, attempt 1, reopened")(o.op.RetryStep(t.Context(), id, "pay", with, ann))
		o.result(id, `{"ship":{"after":{"inputs":{"card":"other"},"limit":7}}}`)
		o.acts(id, "step.retry_requested pay by operator:ann, ticket 12", "task.retry_requested by operator:ann")
		if step := o.MustStep(id, "pay"); string(step.Inputs) != `{"card":"other"}` || step.RetryLimit != 7 {
			t.Errorf("the step shows inputs %s and limit %d", step.Inputs, step.RetryLimit)
		}

		waits := o.submitted("later")
		if _, err := o.op.Pause(t.Context(), waits, ann); err != nil {
			t.Fatal(err)
		}
		o.does(waits, "ask: error to pending, attempt 1")(o.op.RetryStep(t.Context(), waits, "ask", tasker.StepRetry{}, ann))
		o.does(waits, "ask: pending to pending, attempt 1, unchanged")(o.op.RetryStep(t.Context(), waits, "ask", with, ann))
		if step := o.MustStep(waits, "ask"); step.RetryLimit != 3 {
			t.Errorf("a no-op changed the limit to %d", step.RetryLimit)
		}
	})
}

func TestChildrenReadTheResultOfAStepThatWasResolved(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.failed()
		o.does(id, "pay: error to resolved_manually, attempt 1, reopened")(o.op.ResolveStep(t.Context(), id, "pay", map[string]int{"paid": 12}, ann))
		o.result(id, `{"ship":{"after":{"paid":12}}}`)
		o.does(id, "pay: resolved_manually to resolved_manually, attempt 1, unchanged")(o.op.ResolveStep(t.Context(), id, "pay", 13, ann))
		o.acts(id, "step.resolved_manually pay by operator:ann, ticket 12", "task.retry_requested by operator:ann")
	})
}

func TestATaskWithACancelledStepFails(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.submitted("long")
		o.does(id, "run: in_progress to cancelled, attempt 1")(o.op.CancelStep(t.Context(), id, "run", ann))
		o.does(id, "run: cancelled to cancelled, attempt 1, unchanged")(o.op.CancelStep(t.Context(), id, "run", ann))
		if failed := o.MustFail(id); !slices.Equal(failed.Steps, []string{"run"}) {
			t.Errorf("to blame are %v", failed.Steps)
		}
		o.acts(id, "step.cancelled run by operator:ann, ticket 12")
		var refused *domain.RefusedError
		if _, err := o.op.Retry(t.Context(), id, ann); !errors.As(err, &refused) || refused.Task != id {
			t.Errorf("a retry gave %v", err)
		}
	})
}

func TestAStepIsCompletedInPlaceOfItsHandler(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		for result, want := range map[any]string{
			"by hand": `{"behind":"by hand"}`, nil: `{"behind":"nothing"}`, 7: `{"behind":7}`,
		} {
			id := o.submitted("long")
			o.does(id, "run: in_progress to complete, attempt 1")(o.op.CompleteStep(t.Context(), id, "run", result, ann))
			o.result(id, want)
			o.does(id, "run: complete to complete, attempt 1, unchanged")(o.op.CompleteStep(t.Context(), id, "run", "again", ann))
			o.acts(id, "step.completed run by operator:ann, ticket 12")
		}
	})
}

func TestARefusalKeepsItsTypeOnTheWayToAnotherProcess(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.submitted("long")
		_, err := o.op.RetryStep(t.Context(), id, "run", tasker.StepRetry{}, ann)
		var transition *domain.TransitionError
		if !errors.As(err, &transition) {
			t.Fatalf("it gave %v", err)
		}
		want := domain.TransitionError{Task: id, Step: "run", From: domain.InProgress, To: domain.Pending, Hint: transition.Hint}
		if *transition != want || want.Hint == "" || err.Error() != want.Error() {
			t.Errorf("it gave %+v: %v", *transition, err)
		}
		_, err = o.op.CancelStep(t.Context(), id, "walk", ann)
		var unknown *domain.UnknownStepError
		if !errors.As(err, &unknown) || *unknown != (domain.UnknownStepError{Task: id, Step: "walk"}) || !errors.Is(err, tasker.ErrUnknownStep) {
			t.Errorf("an unknown step gave %v", err)
		}
		if _, err = o.op.Cancel(t.Context(), tasker.TaskID{6: 0x70, 8: 0x80}, ann); !errors.Is(err, tasker.ErrTaskNotFound) {
			t.Errorf("an unknown task gave %v", err)
		}
		if _, err = o.op.CompleteStep(t.Context(), id, "run", make(chan int), ann); err == nil || !strings.Contains(err.Error(), `the result of step "run"`) {
			t.Errorf("a result that is no JSON gave %v", err)
		}
		o.acts(id)
	})
}

func TestAVerbThatWasAnsweredIsThereAfterACrash(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(order, long, later)
		o := &office{e, t, nil}
		failed, running := o.failed(), o.submitted("long")
		if _, err := e.ResolveStep(t.Context(), failed, "pay", "cash", ann); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Pause(t.Context(), running, ann); err != nil {
			t.Fatal(err)
		}
		e.Crash()
		o.result(failed, `{"ship":{"after":"cash"}}`)
		o.op = e.Engine
		o.does(running, "pending to pending, unchanged")(o.op.Pause(t.Context(), running, ann))
		o.does(running, "pending to cancelled")(o.op.Cancel(t.Context(), running, ann))
	})
}

func TestAVerbOfWhichNobodyKnowsWhatBecameMayBeRepeated(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		id := o.submitted("long")
		o.Store.Faults(0).Next(memlog.AckLost) // it is stored, and the answer gets lost
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := o.op.Cancel(ctx, id, ann); !errors.Is(err, tasker.ErrOutcomeUnknown) {
			t.Errorf("it gave %v", err)
		}
		o.does(id, "cancelled to cancelled, unchanged")(o.op.Cancel(t.Context(), id, ann))
		o.acts(id, "task.cancelled by operator:ann, ticket 12", "step.cancelled run by operator:ann", "step.cancelled behind by operator:ann")
	})
}

// On NATS a client has a connection of its own, and what is large travels beside the request.
func TestAClientOnNATSActsOnTasksOfAnEngine(t *testing.T) {
	server := natsservertest.Single(t)
	quiet := slog.New(slog.DiscardHandler)
	engine, err := tasker.New(t.Context(), tasker.Config{Connect: server.Connect, Logger: quiet, Drain: -1, Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	measured := tasker.Define("measured").
		Step("pay", tasker.Handle(func(context.Context, struct{}) (string, error) { return "", tasker.Permanent(errors.New("no")) })).
		Step("measure", tasker.Handle(func(ctx context.Context, _ struct{}) (int, error) {
			paid, err := tasker.ResultOf[string](ctx, "pay")
			return len(paid), err
		}), tasker.After("pay")).
		MustBuild()
	if err := engine.Register(measured); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	ended := make(chan error)
	go func() { ended <- engine.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-engine.Ready()
	client, err := tasker.NewClient(ctx, tasker.Config{Connect: server.Connect, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	receipt, err := client.Submit(ctx, "measured", nil)
	if err != nil {
		t.Fatal(err)
	}
	var failed *tasker.TaskFailedError
	if _, err := client.Wait(ctx, receipt.ID); !errors.As(err, &failed) {
		t.Fatal(err)
	}
	var refused *domain.TransitionError
	if _, err := client.CompleteStep(ctx, receipt.ID, "pay", nil, ann); !errors.As(err, &refused) || refused.From != domain.Error {
		t.Errorf("complete gave %v", err)
	}
	large := strings.Repeat("0123456789abcdef", 128<<10) // 2 MiB, more than a message may have
	done, err := client.ResolveStep(ctx, receipt.ID, "pay", large, ann)
	if err != nil || !done.Changed || !done.Reopened || done.From != domain.Error || done.To != domain.ResolvedManually {
		t.Fatalf("%+v, %v", done, err)
	}
	result, err := client.Wait(ctx, receipt.ID)
	if want := fmt.Sprintf(`{"measure":%d}`, len(large)); err != nil || string(result.Value) != want {
		t.Errorf("the child read %s, want %s, %v", result.Value, want, err)
	}
	task, err := client.Task(ctx, receipt.ID) // an answer that is larger than a message, too
	if err != nil || string(task.Steps[0].Result) != `"`+large+`"` {
		t.Errorf("the result is not there: %v", err)
	}

	status, err := client.Status(ctx)
	if err != nil || len(status.Engines) != 1 || status.Engines[0].Name != "one" {
		t.Fatalf("%+v, %v", status, err)
	}
	for i, p := range status.Partitions {
		if p.Partition != i || p.Owner != "one" || p.Phase != "owning" || p.Why != "" {
			t.Errorf("%+v", p)
		}
	}
}
