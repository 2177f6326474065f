package acceptance

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

type cart struct {
	Items []struct {
		Price float64 `json:"price"`
	} `json:"items"`
	PaymentFails int `json:"payment_fails"`
}

type totals struct{ Subtotal, Tax, Shipping, Total float64 }

func shop(w *world) handlers {
	cents := func(v float64) float64 { return math.Round(v*100) / 100 }
	validate := tasker.Handle(func(_ context.Context, in cart) (totals, error) {
		var t totals
		for _, item := range in.Items {
			t.Subtotal += item.Price
		}
		t.Subtotal = cents(t.Subtotal)
		t.Tax, t.Shipping = cents(t.Subtotal*0.08), 5.99
		t.Total = cents(t.Subtotal + t.Tax + t.Shipping)
		return t, nil
	})
	pay := tasker.Handle(func(ctx context.Context, in cart) (float64, error) {
		task, _ := tasker.TaskOf(ctx)
		if step, _ := tasker.StepOf(ctx); w.attempt(task, step) <= in.PaymentFails {
			return 0, errors.New("the gateway is busy")
		}
		t, err := tasker.ResultOf[totals](ctx, "validate_cart")
		return t.Total, err
	})
	return handlers{"validate_cart": validate.Handle, "process_payment": pay.Handle}
}

func TestB28EcommerceAddsUpAndPaysOnce(t *testing.T) {
	both(t, func(w *world) {
		w.add(ecommerce.workflow(w, shop(w)))
		order := func(paymentFails int) tasker.TaskID {
			id, _ := w.runs(ecommerce.name, map[string]any{
				"items": []map[string]float64{{"price": 59.98}, {"price": 49.99}}, "payment_fails": paymentFails,
			})
			return id
		}
		id := order(0)
		var got totals
		if err := (tasker.StepView{Result: w.step(id, "validate_cart").Result}).Decode(&got); err != nil {
			w.t.Fatal(err)
		}
		equal(w, "totals", got, totals{109.97, 8.80, 5.99, 124.76})
		equal(w, "paid", string(w.step(id, "process_payment").Result), "124.76")
		var done []string
		for _, r := range w.records(id) {
			if e, ok := r.Event.(domain.StepCompleted); ok {
				done = append(done, e.Step)
			}
		}
		equal(w, "order", done, []string{"validate_cart", "process_payment", "update_inventory", "create_order", "send_confirmation"})
		id = order(1)
		for _, n := range ecommerce.nodes {
			want := 1
			if n.name == "process_payment" {
				want = 2
			}
			equal(w, "executions of "+n.name, len(w.of(id, n.name)), want)
		}
	})
}

func TestB29RegistrationOverlapsAndShowsTheUser(t *testing.T) {
	both(t, func(w *world) {
		together := meet(2)
		user := func(ctx context.Context, sequence tasker.Sequence) (int, error) {
			view, err := sequence.Find(ctx, "create_user_account")
			if err != nil {
				return 0, err
			}
			var u struct{ UserID int }
			return u.UserID, errors.Join(view.Decode(&u), func() error {
				if u.UserID != 1 {
					return tasker.Permanent(errors.New("which user?"))
				}
				return nil
			}())
		}
		sees := func(ctx context.Context, _ tasker.TaskView, sequence tasker.Sequence, _ tasker.StepView) (any, error) {
			return user(ctx, sequence)
		}
		meets := func(ctx context.Context, task tasker.TaskView, sequence tasker.Sequence, step tasker.StepView) (any, error) {
			if err := together.join(ctx); err != nil {
				return nil, err
			}
			return sees(ctx, task, sequence, step)
		}
		w.add(registration.workflow(w, handlers{
			"create_user_account":   gives(map[string]int{"UserID": 1}),
			"setup_billing_profile": meets, "initialize_preferences": meets,
			"send_welcome_sequence": sees, "update_user_status": sees,
		}))
		w.runs(registration.name, nil)
	})
}

func TestB31DummyTaskIsElevenEventsInFewCommits(t *testing.T) {
	both(t, func(w *world) {
		w.add(dummy.workflow(w, nil))
		id, _ := w.runs(dummy.name, map[string]bool{"dummy": true})
		records := w.records(id)
		all := lines(records)
		equal(w, "events", len(all), 11)
		if n := commits(records); n > 5 && w.calm() {
			w.t.Errorf("%d commits: %v", n, all)
		}
		slices.Sort(all)
		want := []string{"task.created", "task.start_requested", "task.completed"}
		for _, n := range dummy.nodes {
			want = append(want, "step.execution_requested "+n.name+" 1", "step.completed "+n.name+" 1")
		}
		slices.Sort(want)
		equal(w, "events", all, want)
	})
}

func TestB31WaitingTasksAppendNothing(t *testing.T) {
	both(t, func(w *world) {
		const n = 1000
		w.add(tasker.Define("wait").Step("only", fails(tasker.RetryAfter(2*time.Hour, errPlanned))).MustBuild())
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range n / 20 {
					w.submit("wait", nil)
				}
			})
		}
		all.Wait()
		last := w.tasks[n-1]
		waiting := map[tasker.TaskID]bool{}
		for r, err := range w.Replay(context.Background(), tasker.ReplayOptions{Types: []tasker.EventType{domain.TaskDelayedType}, Follow: true}) {
			if err != nil {
				w.t.Fatal(err)
			}
			if waiting[r.Task] = true; len(waiting) == n {
				break
			}
		}
		before := w.bounds()
		for range 60 {
			w.advance(time.Minute)
		}
		equal(w, "the log", w.bounds(), before)
		if status := w.stands(last).Execution.Status; status != domain.StatusWaitingForRetry {
			w.t.Errorf("after an hour it is %s", status)
		}
		w.advance(time.Hour)
		w.until(last, "the second attempt", func(all []tasker.Event) bool { return count(lines(all), "step.failed only 2") == 1 })
	}, sampled)
}

func TestB31SubmitNeedsAnEngineThatRuns(t *testing.T) {
	e, err := tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err = e.Submit(t.Context(), "any", nil); !errors.Is(err, tasker.ErrNotRunning) {
		t.Errorf("before Run: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err = e.Submit(t.Context(), "any", nil); !errors.Is(err, tasker.ErrNotRunning) {
		t.Errorf("after Run: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestB32OperatorsRetryRunsWhatIsNotRetryable(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("once").Step("only", w.noting(firstRounds(1)), tasker.NoRetry()).MustBuild())
		id := w.submit("once", nil)
		w.fail(id)
		if _, err := w.Retry(id, ann("again")); err != nil {
			w.t.Fatal(err)
		}
		w.helped(id)
		if n := len(w.of(id, "only")); w.calm() && n != 2 {
			w.t.Errorf("%d executions", n)
		}
	})
}

func TestB32RetryOfAnExhaustedStepReopensTheTask(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("tired").
			Step("only", w.noting(tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				if step.Round == 1 {
					return nil, errPlanned
				}
				return string(step.Inputs), nil
			})), tasker.Retries(2)).
			Step("other", fails(tasker.Permanent(errPlanned))).MustBuild())
		id := w.submit("tired", nil)
		w.fail(id)
		n := len(w.records(id))
		began := w.now()
		if _, err := w.RetryStep(id, "only", tasker.StepRetry{Inputs: map[string]int{"n": 2}}, ann("fixed")); err != nil {
			w.t.Fatal(err)
		}
		records := w.until(id, "the third attempt", func(all []tasker.Event) bool { return count(lines(all), "step.completed only 3") == 1 })
		equal(w, "the commit", lines(records[n:n+4]), []string{
			"step.retry_requested only", "task.retry_requested", "task.start_requested", "step.execution_requested only 3",
		})
		if w.calm() {
			equal(w, "commits", commits(records[n:n+4]), 1)
		}
		if waited := w.now().Sub(began); w.virtual && w.calm() && waited != 0 {
			w.t.Errorf("it waited %s", waited)
		}
		equal(w, "inputs", string(w.step(id, "only").Result), `"{\"n\":2}"`)
		w.until(id, "the failure again", func(all []tasker.Event) bool { return count(lines(all), "task.failed") == 2 })
	})
}

func TestB33CancelledStepFailsTheTaskAndRetryIsRefused(t *testing.T) {
	both(t, func(w *world) {
		began, release := newFlag(), newFlag()
		w.add(tasker.Define("cut").
			Step("first", tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
				began.raise()
				<-release.up
				return nil, nil
			})).
			Step("second", gives(nil), tasker.After("first")).
			Step("third", gives(nil), tasker.After("second")).MustBuild())
		id := w.submit("cut", nil)
		receive(w, began.up, "the first step")
		if _, err := w.CancelStep(id, "second", ann("not needed")); err != nil {
			w.t.Fatal(err)
		}
		release.raise()
		failed := w.fail(id)
		equal(w, "to blame", failed.Steps, []string{"second"})
		equal(w, "states", []domain.State{w.step(id, "second").State, w.step(id, "third").State}, []domain.State{domain.Cancelled, domain.Pending})
		_, err := w.Retry(id, ann("again"))
		if err == nil || !strings.Contains(err.Error(), `step "second" was cancelled: resolve the task or fork it`) {
			w.t.Errorf("retry gave %v", err)
		}
		equal(w, "task", w.task(id).State, domain.Error)
	})
}

func TestB34OptionalFailureIsTolerated(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("party").
			Step("music", fails(tasker.Permanent(errors.New("no band"))), tasker.Optional()).
			Step("dance", tasker.Handle(func(ctx context.Context, _ struct{}) (bool, error) {
				_, err := tasker.ResultOf[string](ctx, "music")
				return errors.Is(err, tasker.ErrNoResult), nil
			}), tasker.After("music")).MustBuild())
		id, result := w.runs("party", map[string]any{})
		equal(w, "result", string(result.Value), `{"dance":true}`)
		music := w.step(id, "music")
		if music.State != domain.Error || music.Error == nil || music.Error.Message != "no band" {
			w.t.Errorf("the failure is not shown: %+v", music)
		}
		equal(w, "tolerated", w.task(id).Execution.Tolerated, 1)
	})
}

func TestB35ReportAfterAnOperatorsResultIsStale(t *testing.T) {
	both(t, func(w *world) {
		began, cause := newFlag(), make(chan error, 10)
		w.add(tasker.Define("slow").
			Step("ask", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
				began.raise()
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return "the handler's", nil
			})).
			Step("use", tasker.Handle(func(ctx context.Context, _ struct{}) (string, error) {
				return tasker.ResultOf[string](ctx, "ask")
			}), tasker.After("ask")).MustBuild())
		id := w.submit("slow", map[string]any{})
		receive(w, began.up, "the handler")
		if _, err := w.CompleteStep(id, "ask", "the operator's", ann("by hand")); err != nil {
			w.t.Fatal(err)
		}
		if err := receive(w, cause, "the end of the context"); err == nil {
			w.t.Error("the context ended without a cause")
		}
		equal(w, "result", string(w.complete(id).Value), `{"use":"the operator's"}`)
		equal(w, "completions", count(w.trace(id), "step.completed ask 1"), 1)
		if _, err := w.CompleteStep(id, "ask", 2, ann("by hand")); err == nil {
			equal(w, "result", string(w.step(id, "ask").Result), `"the operator's"`)
		}
	})
}

func TestB36KilledEngineRunsOnlyWhatHeldASlotAgain(t *testing.T) {
	const steps, slots = 10_000, 100
	both(t, func(w *world) {
		var killed atomic.Bool
		var calls atomic.Int64
		full := make(chan struct{})
		w.handle("hold", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			if killed.Load() {
				return step.Attempt, nil
			}
			if calls.Add(1) == slots {
				close(full)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		b := tasker.Define("wide")
		for i := range steps {
			b.StepNamed(name(i), "hold", tasker.Retries(1))
		}
		b.StepNamed("join", "hold", tasker.After(name(0)))
		w.add(b.MustBuild())
		id := w.submit("wide", nil)
		w.tasks = nil // ten thousand steps are compared below
		receive(w, full, "full slots")
		killed.Store(true)
		w.crash()
		w.complete(id)
		equal(w, "handlers called before", calls.Load(), slots)
		attempts := map[int]int{}
		for _, s := range w.task(id).Steps {
			attempts[s.Attempt]++
			if s.State != domain.Complete || s.Executions != 1 {
				w.t.Errorf("%s is %s after %d executions", s.Name, s.State, s.Executions)
			}
		}
		want := map[int]int{1: steps + 1 - slots, 2: slots}
		if !w.calm() {
			want = map[int]int{1: steps + 1} // what crashes cost is left out
		}
		equal(w, "steps by attempts", attempts, want)
	}, large, configured(func(c *tasker.Config) { c.Slots = slots }))
}

func name(i int) string {
	return "s" + string(rune('a'+i/1000)) + string(rune('0'+i/100%10)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
}

func TestB37DeadlineEndsEverythingInOneCommit(t *testing.T) {
	both(t, func(w *world) {
		began := make(chan int, 10)
		w.add(tasker.Define("due").Deadline(time.Hour).
			Step("running", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				began <- step.Attempt
				if step.Round == 1 {
					<-ctx.Done()
				}
				return nil, nil
			}), tasker.Timeout(0)).
			Step("waiting", tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				if step.Round == 1 {
					return nil, tasker.RetryAfter(2*time.Hour, errPlanned)
				}
				return nil, nil
			})).MustBuild())
		id := w.submit("due", nil)
		receive(w, began, "the handler")
		w.until(id, "the failure", func(all []tasker.Event) bool { return count(lines(all), "step.failed waiting 1") == 1 })
		deadline := w.task(id).Deadline
		w.advance(deadline.Sub(w.now()))
		failed := w.fail(id)
		equal(w, "reason", failed.Reason, domain.FailDeadline)
		records := w.records(id)
		end := records[len(records)-3:]
		equal(w, "commits", commits(end), 1)
		equal(w, "the end", lines(end), []string{"step.failed running 1", "step.failed waiting 1", "task.failed"})
		for _, r := range end[:2] {
			e := r.Event.(domain.StepFailed)
			equal(w, e.Step, []any{e.Error.Kind, e.RetryAt}, []any{domain.KindDeadline, domain.Instant(0)})
		}
		if w.virtual {
			equal(w, "the time", end[2].At.Time(), deadline)
		}
		equal(w, "in progress", w.task(id).Execution.InProgress, 0)
		if _, err := w.Retry(id, ann("again")); err != nil {
			w.t.Fatal(err)
		}
		retried := w.untilType(id, domain.TaskRetryRequestedType)
		equal(w, "a new deadline", retried.Event.(domain.TaskRetryRequested).Deadline, retried.At.Add(time.Hour))
		w.complete(id)
	})
}

func TestB38TaskHandlerChoosesTheHandlers(t *testing.T) {
	both(t, func(w *world) {
		flow := dummy.workflow(w, nil)
		w.add(flow)
		w.remember(func(e *tasker.Engine) error {
			return e.TaskHandler("default", dummy.name, "", tasker.TaskHandlerFunc(func(step tasker.StepView) (tasker.StepHandler, error) {
				if step.Name == "step-three" {
					return gives("another"), nil
				}
				return flow.GetStepHandler(step)
			}))
		})
		id, _ := w.runs(dummy.name, map[string]bool{"dummy": true})
		equal(w, "step-three", string(w.step(id, "step-three").Result), `"another"`)
		equal(w, "calls", []int{len(w.of(id, "step-three")), len(w.of(id, "step-four"))}, []int{0, 1})
	})
}
