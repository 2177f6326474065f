package acceptance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func TestB11PermanentFailureLetsTheOtherBranchEnd(t *testing.T) {
	both(t, func(w *world) {
		w.add(diamond.workflow(w, handlers{
			"branch_one_process": fails(tasker.Permanent(errors.New("no such account"))),
			"branch_two_process": gives(nil),
		}))
		id := w.submit(diamond.name, nil)
		failed := w.fail(id)
		equal(w, "to blame", failed.Errors, map[string]string{"branch_one_process": "no such account"})
		equal(w, "executions", len(w.of(id, "branch_one_process")), 1)
		equal(w, "the other branch", w.step(id, "branch_two_validate").State, domain.Complete)
		equal(w, "merge", w.step(id, "merge_branches").State, domain.Pending)
		if text := failed.Error(); !strings.Contains(text, "branch_one_process: no such account") {
			w.t.Errorf("the error says %q", text)
		}
	})
}

func TestB12RetryAfterIsKeptToTheSecond(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("later").Step("ask", w.noting(tasker.StepHandlerFunc(
			func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				if w.attempt(task, step) == 1 {
					return nil, tasker.RetryAfter(120*time.Second, errPlanned)
				}
				return nil, nil
			}))).MustBuild())
		id := w.submit("later", nil)
		failed := w.until(id, "the failure", func(all []tasker.Event) bool { return count(lines(all), "step.failed ask 1") == 1 })
		at := failed[len(failed)-1]
		due := at.Event.(domain.StepFailed).RetryAt
		equal(w, "wait", due.Sub(at.At), 120*time.Second)
		w.untilType(id, domain.TaskDelayedType)
		early := time.Millisecond
		if !w.virtual {
			early = 30 * time.Second // time passes here by itself, too
		}
		w.advance(due.Time().Sub(w.now()) - early)
		equal(w, "executions before", len(w.of(id, "ask")), 1)
		equal(w, "state before", w.step(id, "ask").State, domain.Error)
		w.advance(early)
		w.complete(id)
		for _, r := range w.records(id) {
			e, ok := r.Event.(domain.StepExecutionRequested)
			if !ok || e.Attempt != 2 {
				continue
			}
			if late := r.At.Sub(due); late < 0 || w.virtual && late != 0 {
				w.t.Errorf("the next execution began %s after it was due", late)
			}
		}
	})
}

func TestB13TaskWakesForTheEarliestRetry(t *testing.T) {
	both(t, func(w *world) {
		later := func(d time.Duration) tasker.StepHandler {
			return w.noting(tasker.StepHandlerFunc(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				if w.attempt(task, step) == 1 {
					return nil, tasker.RetryAfter(d, errPlanned)
				}
				return nil, nil
			}))
		}
		w.add(tasker.Define("two").Step("minute", later(60*time.Second)).Step("three", later(180*time.Second)).MustBuild())
		id := w.submit("two", nil)
		w.untilType(id, domain.TaskDelayedType)
		task := w.task(id)
		equal(w, "the task wakes", task.WaitingUntil, task.Steps[0].RetryAt)
		w.advance(time.Until(task.WaitingUntil) - time.Duration(w.ahead.Load()))
		w.until(id, "the first retry", func(all []tasker.Event) bool { return count(lines(all), "step.completed minute 2") == 1 })
		equal(w, "the other one", w.step(id, "three").State, domain.Error)
		equal(w, "then it wakes", w.task(id).WaitingUntil, task.Steps[1].RetryAt)
		w.complete(id)
		equal(w, "executions", []int{len(w.of(id, "minute")), len(w.of(id, "three"))}, []int{2, 2})
	})
}

func TestB14StepsThatAreNotRetried(t *testing.T) {
	both(t, func(w *world) {
		// What is not retried is over when its worker is lost, too: it has run once, or not at all.
		w.differs("0 executions, 0 completions, result , inputs , error worker_lost: the process that ran it is gone",
			"1 executions, 0 completions, result , inputs , error error: planned failure")
		w.add(
			tasker.Define("once").Step("only", w.noting(fails(errPlanned)), tasker.NoRetry()).MustBuild(),
			tasker.Define("limit").Step("only", w.noting(fails(errPlanned)), tasker.Retries(1)).MustBuild(),
		)
		for _, name := range []string{"once", "limit"} {
			id := w.submit(name, nil)
			w.fail(id)
			gone := w.step(id, "only").Error.Kind == domain.KindWorkerLost
			if n := len(w.of(id, "only")); n > 1 || n == 0 && !gone || gone && (w.calm() || name == "limit") {
				w.t.Errorf("%s was executed %d times, its worker is lost: %v", name, n, gone)
			}
		}
		if _, err := tasker.Define("never").Step("only", gives(nil), tasker.Retries(0)).Build(); err == nil {
			w.t.Error("a retry limit of 0 was taken")
		}
		if _, err := domain.ParseDefinition([]byte(`{"name":"never","steps":[{"name":"only","handler":"x","retry_limit":0}]}`)); err == nil {
			w.t.Error("a retry limit of 0 was taken from JSON")
		}
	})
}

func TestB14LostWorkerIsFinalOnlyWithoutRetries(t *testing.T) {
	both(t, func(w *world) {
		began := make(chan string, 10)
		lost := w.noting(tasker.StepHandlerFunc(func(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			began <- task.Name
			if step.Attempt == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return "again", nil
		}))
		w.add(
			tasker.Define("once").Step("only", lost, tasker.NoRetry()).MustBuild(),
			tasker.Define("limit").Step("only", lost, tasker.Retries(1)).MustBuild(),
		)
		once, limited := w.submit("once", nil), w.submit("limit", nil)
		if w.calm() { // else the crash may have come before a handler was called
			receive(w, began, "the first handler")
			receive(w, began, "the second handler")
		}
		w.crash()
		failed := w.fail(once)
		equal(w, "the error", failed.Errors, map[string]string{"only": "the process that ran it is gone"})
		w.complete(limited)
		s := w.stands(limited).Steps[0]
		if s.Executions != 1 || s.Attempt < 2 || w.calm() && s.Attempt > 2 {
			w.t.Errorf("%d attempts, %d executions", s.Attempt, s.Executions)
		}
	})
}

func TestB15TimeoutEndsTheExecutionAndTheLateResultIsStale(t *testing.T) {
	both(t, func(w *world) {
		returned := newFlag()
		w.add(tasker.Define("slow").Step("sleepy", w.noting(tasker.StepHandlerFunc(
			func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				if w.attempt(task, step) == 1 {
					defer returned.raise()
					time.Sleep(3 * w.second)
					return "late", nil
				}
				return "in time", nil
			})), tasker.Timeout(w.second)).MustBuild())
		id, result := w.runs("slow", nil)
		equal(w, "result", string(result.Value), `{"sleepy":"in time"}`)
		var began domain.Instant
		for _, r := range w.records(id) {
			if e, ok := r.Event.(domain.StepExecutionRequested); ok && e.Attempt == 1 {
				began = r.At
			}
			e, ok := r.Event.(domain.StepFailed)
			if !ok {
				continue
			}
			equal(w, "kind", e.Error.Kind, domain.KindTimeout)
			if took := r.At.Sub(began); took < w.second || w.virtual && took != time.Second {
				w.t.Errorf("it timed out after %s", took)
			}
			if e.RetryAt == 0 {
				w.t.Error("a timeout was final")
			}
		}
		before := w.trace(id)
		receive(w, returned.up, "the late handler")
		for w.Stats().Executor.Leaked > 0 {
			time.Sleep(time.Millisecond)
		}
		equal(w, "events", w.trace(id), before)
		if w.calm() {
			equal(w, "late results", w.Stats().Executor.Late, 1)
		}
	})
}

func TestB16CancelEndsEverythingInOneCommit(t *testing.T) {
	both(t, func(w *world) {
		began, cancelled := newFlag(), make(chan error, 10)
		w.add(tasker.Define("long").
			Step("done", gives("done")).
			Step("running", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
				began.raise()
				<-ctx.Done()
				cancelled <- context.Cause(ctx)
				return "too late", nil
			})).
			Step("waiting", fails(tasker.RetryAfter(time.Hour, errPlanned))).
			Step("behind", gives(nil), tasker.After("running")).
			MustBuild())
		id := w.submit("long", nil)
		receive(w, began.up, "the handler")
		w.until(id, "the other two", func(all []tasker.Event) bool {
			return count(lines(all), "step.completed done 1") == 1 && count(lines(all), "step.failed waiting 1") == 1
		})
		if _, err := w.Cancel(id, ann("wrong order")); err != nil {
			w.t.Fatal(err)
		}
		if err := receive(w, cancelled, "the end of the context"); w.calm() && (err == nil || !strings.Contains(err.Error(), "cancelled")) {
			w.t.Errorf("the cause of the end is %v", err)
		}
		w.fail(id)
		records := w.records(id)
		at := slices.IndexFunc(records, func(r tasker.Event) bool { return r.Event.Type() == domain.TaskCancelledType })
		equal(w, "the commit", lines(records[at:]), []string{
			"task.cancelled", "step.cancelled running", "step.cancelled waiting", "step.cancelled behind",
		})
		equal(w, "commits", commits(records[at:]), 1)
		equal(w, "who and why", []any{records[at].Actor(), records[at].Event.(domain.TaskCancelled).Reason}, []any{"operator:ann", "wrong order"})
		task := w.task(id)
		equal(w, "in progress", task.Execution.InProgress, 0)
		equal(w, "done", task.Steps[0].State, domain.Complete)
		if _, err := w.Cancel(id, ann("again")); err != nil {
			w.t.Errorf("a second cancel gave %v", err)
		}
		equal(w, "events after all", lines(w.records(id)), lines(records))
	})
}

func TestB16CancelOfACompleteTaskIsRefused(t *testing.T) {
	both(t, func(w *world) {
		w.add(dummy.workflow(w, nil))
		id, _ := w.runs(dummy.name, map[string]bool{"dummy": true})
		before := w.trace(id)
		_, err := w.Cancel(id, ann("too late"))
		var refused *domain.TransitionError
		if !errors.As(err, &refused) {
			w.t.Fatalf("it gave %v", err)
		}
		equal(w, "from and to", []domain.State{refused.From, refused.To}, []domain.State{domain.Complete, domain.Cancelled})
		equal(w, "events", w.trace(id), before)
	})
}
