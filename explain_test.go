package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/taskertest"
)

// explainer is an engine or a client.
type explainer interface {
	Explain(ctx context.Context, id tasker.TaskID, step string) (*tasker.Explanation, error)
}

// explained compares the reason, looks for parts of the text, and asks a client in another process for the same.
func explained(t *testing.T, x explainer, id tasker.TaskID, step string, reason domain.Reason, parts ...string) *tasker.Explanation {
	t.Helper()
	e, err := x.Explain(t.Context(), id, step)
	if err != nil {
		t.Fatal(err)
	}
	if e.Reason != reason || e.Task != id {
		t.Errorf("the reason is %s, want %s: %+v", e.Reason, reason, e)
	}
	for _, part := range parts {
		if !strings.Contains(e.Text+" -> "+e.Fix, part) {
			t.Errorf("%q, fix %q: it does not say %q", e.Text, e.Fix, part)
		}
	}
	return e
}

// showsEvent: the evidence is an event of that type in the log.
func showsEvent(t *testing.T, e *taskertest.Engine, x *tasker.Explanation, want tasker.EventType) {
	t.Helper()
	at, err := domain.ParsePosition(x.Evidence)
	if err != nil {
		t.Fatalf("%s: the evidence %q is no event: %v", x.Reason, x.Evidence, err)
	}
	r, err := e.Event(t.Context(), at)
	if err != nil || r.Event.Type() != want || r.Task != x.Task {
		t.Errorf("%s: the evidence is %v of task %s, %v; want %s", x.Reason, r.Event, r.Task, err, want)
	}
}

func TestEveryReasonOfATaskIsFoundWhenItIsCaused(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		ctx, ann := t.Context(), tasker.By{Actor: "ann", Reason: "audit"}
		fails := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
			return nil, errors.New("printer on fire")
		})
		waits := tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		e.MustRegister(
			tasker.Define("failing").Step("one", fails, tasker.Retries(2)).Step("two", fails, tasker.After("one")).MustBuild(),
			tasker.Define("waiting").Step("one", waits, tasker.Timeout(24*time.Hour), tasker.HeartbeatTimeout(time.Hour)).Step("two", waits, tasker.After("one")).MustBuild(),
			tasker.Define("someday").StepNamed("one", "someday").MustBuild(),
		)

		failing := e.MustSubmit("failing", nil)
		e.Settle()
		x := explained(t, e, failing, "", domain.ReasonBackoff, `step "one" failed and is tried again at`, "execution 2 of 2: printer on fire",
			"tasker step retry "+failing.String()+" one")
		showsEvent(t, e, x, domain.StepFailedType)
		explained(t, e, failing, "two", domain.ReasonParents, `step "two" waits for "one"`)
		e.Advance(time.Minute)
		x = explained(t, client(t, e), failing, "", domain.ReasonTaskFailed, `the task failed: step "one" failed for good after 2 of 2 executions: printer on fire`)
		showsEvent(t, e, x, domain.TaskFailedType)
		explained(t, e, failing, "one", domain.ReasonStepFailed, "tasker step retry")
		e.Advance(2 * time.Hour)
		explained(t, e, failing, "", domain.ReasonTaskExpired)

		waiting := e.MustSubmit("waiting", nil)
		e.Advance(10 * time.Minute)
		x = explained(t, client(t, e), waiting, "", domain.ReasonStepRunning, `step "one" has been running for 10m`)
		showsEvent(t, e, x, domain.StepExecutionRequestedType)
		e.Advance(25 * time.Minute)
		explained(t, client(t, e), waiting, "one", domain.ReasonWorkerSilent, "no sign of life for 35m, and may be silent for 1h0m")
		if _, err := e.Pause(ctx, waiting, ann); err != nil {
			t.Fatal(err)
		}
		x = explained(t, e, waiting, "", domain.ReasonTaskPaused, "paused by operator:ann: audit; 1 step is still running", "tasker task resume")
		showsEvent(t, e, x, domain.TaskPausedType)
		if _, err := e.Cancel(ctx, waiting, ann); err != nil {
			t.Fatal(err)
		}
		x = explained(t, e, waiting, "", domain.ReasonTaskEnded, "the task was cancelled by operator:ann: audit")
		showsEvent(t, e, x, domain.TaskCancelledType)
		explained(t, e, waiting, "one", domain.ReasonStepCancelled)

		someday := e.MustSubmit("someday", nil)
		e.Settle()
		explained(t, e, someday, "", domain.ReasonNoHandler, `no handler "someday" is registered`)

		if _, err := e.Explain(ctx, tasker.TaskID{6: 0x70, 15: 1}, ""); !errors.Is(err, tasker.ErrTaskNotFound) {
			t.Errorf("of no task: %v", err)
		}
		if _, err := client(t, e).Explain(ctx, someday, "three"); !errors.Is(err, tasker.ErrUnknownStep) {
			t.Errorf("of no step: %v", err)
		}
	}, func(c *tasker.Config) { c.ErrorRetention = time.Hour })
}

func TestWhoHoldsTheSlotsIsSaid(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		release := make(chan struct{})
		defer close(release)
		holds := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
			<-release
			return 1, nil
		})
		e.MustRegister(tasker.Define("few").StepNamed("one", "few").MustBuild(), tasker.Define("many").Step("one", holds).MustBuild())
		e.MustHandle("few", holds)
		first := e.MustSubmit("few", nil)
		e.Advance(90 * time.Second)
		second := e.MustSubmit("few", nil)
		e.Settle()
		explained(t, e, second, "", domain.ReasonNoHandlerSlot, `all 1 slots of handler "few" are taken`, first.String()+" has had one for longest, 1m30s")
		e.MustSubmit("many", nil)
		e.Settle()
		last := e.MustSubmit("many", nil)
		e.Settle()
		explained(t, e, last, "one", domain.ReasonNoSlot, "all 2 slots of the process are taken", first.String())
	}, func(c *tasker.Config) { c.Slots, c.SlotsPerHandler = 2, map[string]int{"few": 1} })
}

func TestATaskWhosePartitionNobodyServesIsExplainedFromTheLog(t *testing.T) {
	var two twoPartitions
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(long)
		for e.Stats().Partitions[0].Phase != subscribers.Owning || e.Stats().Partitions[1].Phase != subscribers.Owning {
			e.Advance(time.Second)
		}
		// Of a keyed id no time is expected to be in it: the clock of an earlier test may have been ahead of this one.
		var id tasker.TaskID
		for key := 0; key == 0 || id.Partition(2) != 0; key++ {
			id = e.MustSubmit("long", nil, tasker.Key(fmt.Sprint(key)))
		}
		c, err := tasker.NewClient(t.Context(), tasker.Config{Store: two.log})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		e.Stop()
		explained(t, c, id, "", domain.ReasonNoOwner, "no engine has partition 00")
		two.log.Foreign(0, "torn", []byte(`{"v":1,"id":"torn","at":`))
		e.Restart()
		e.Settle()
		x := explained(t, c, id, "", domain.ReasonClosed, "partition 00 is closed: message ")
		if x.Hint == "" {
			t.Error("it does not say what to do")
		}
	}, two.change)
}
