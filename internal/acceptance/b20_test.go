package acceptance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// verbRow is what an operator's verb does in each state: the state that it leads to, "=" where it changes nothing, "no" where it
// is refused.
type verbRow struct {
	name  string
	to    domain.State
	cells map[domain.State]string
	say   func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error)
}

func cellsOf(cells ...string) map[domain.State]string {
	row := map[domain.State]string{}
	for i, c := range cells {
		row[domain.States[i]] = c
	}
	return row
}

// In the order of domain.States: pending, in_progress, complete, error, cancelled, resolved_manually.
var (
	taskVerbs = []verbRow{
		{
			"cancel", domain.Cancelled, cellsOf("cancelled", "cancelled", "no", "cancelled", "=", "no"),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) { return w.Cancel(id, ann("table")) },
		},
		{
			"retry", domain.Pending, cellsOf("=", "=", "no", "pending", "no", "no"),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) { return w.Retry(id, ann("table")) },
		},
		{
			"resolve", domain.ResolvedManually, cellsOf("no", "no", "no", "resolved_manually", "no", "="),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) { return w.Resolve(id, ann("table")) },
		},
	}
	stepVerbs = []verbRow{
		{
			"retry", domain.Pending, cellsOf("=", "no", "no", "pending", "no", "no"),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return w.RetryStep(id, "x", tasker.StepRetry{}, ann("table"))
			},
		},
		{
			"resolve", domain.ResolvedManually, cellsOf("resolved_manually", "no", "no", "resolved_manually", "no", "="),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return w.ResolveStep(id, "x", 1, ann("table"))
			},
		},
		{
			"cancel", domain.Cancelled, cellsOf("cancelled", "cancelled", "no", "cancelled", "=", "no"),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return w.CancelStep(id, "x", ann("table"))
			},
		},
		{
			"complete", domain.Complete, cellsOf("no", "complete", "=", "no", "no", "no"),
			func(w *world, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return w.CompleteStep(id, "x", 2, ann("table"))
			},
		},
	}
)

// does is a handler that does what the task's context says, and hangs in later rounds.
func does(ctx context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
	switch what := string(task.Context); {
	case step.Round == 1 && strings.Contains(what, "succeed"):
		return "done", nil
	case step.Round == 1 && strings.Contains(what, "later"):
		return nil, tasker.RetryAfter(time.Hour, errPlanned)
	case step.Round == 1 && strings.Contains(what, "fail"):
		return nil, tasker.Permanent(errPlanned)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func hangs(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, _ tasker.StepView) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestB20EveryVerbOnATaskInEveryState(t *testing.T) {
	both(t, func(w *world) {
		w.add(tasker.Define("alone").Step("x", tasker.StepHandlerFunc(does)).MustBuild())
		for _, v := range taskVerbs {
			for _, from := range domain.States {
				var id tasker.TaskID
				begin := func(what string, seen domain.EventType) {
					id = w.submit("alone", map[string]string{"x": what})
					w.untilType(id, seen)
				}
				switch from {
				case domain.Pending:
					begin("later", domain.TaskDelayedType)
				case domain.InProgress:
					begin("hang", domain.StepExecutionRequestedType)
				case domain.Complete:
					begin("succeed", domain.TaskCompletedType)
				case domain.Error:
					begin("fail", domain.TaskFailedType)
				case domain.Cancelled:
					begin("hang", domain.StepExecutionRequestedType)
					w.must(w.Cancel(id, ann("to begin with")))
				case domain.ResolvedManually:
					begin("fail", domain.TaskFailedType)
					w.must(w.Resolve(id, ann("to begin with")))
				}
				w.try(v, id, from, "", func() domain.State { return w.task(id).State })
			}
		}
	}, sampled)
}

func TestB20EveryVerbOnAStepInEveryState(t *testing.T) {
	both(t, func(w *world) {
		w.add(
			tasker.Define("beside").Step("x", tasker.StepHandlerFunc(does)).Step("y", tasker.StepHandlerFunc(hangs)).MustBuild(),
			tasker.Define("behind").Step("p", tasker.StepHandlerFunc(hangs)).Step("x", gives(nil), tasker.After("p")).MustBuild(),
		)
		for _, v := range stepVerbs {
			for _, from := range domain.States {
				var id tasker.TaskID
				begin := func(name, what, seen string) {
					id = w.submit(name, map[string]string{"x": what})
					w.until(id, seen, func(all []tasker.Event) bool { return count(lines(all), seen) == 1 })
				}
				switch from {
				case domain.Pending:
					begin("behind", "", "step.execution_requested p 1")
				case domain.InProgress:
					begin("beside", "hang", "step.execution_requested x 1")
				case domain.Complete:
					begin("beside", "succeed", "step.completed x 1")
				case domain.Error:
					begin("beside", "later", "step.failed x 1")
				case domain.Cancelled:
					begin("behind", "", "step.execution_requested p 1")
					w.must(w.CancelStep(id, "x", ann("to begin with")))
				case domain.ResolvedManually:
					begin("behind", "", "step.execution_requested p 1")
					w.must(w.ResolveStep(id, "x", 0, ann("to begin with")))
				}
				w.try(v, id, from, "x", func() domain.State { return w.step(id, "x").State })
				w.must(w.Cancel(id, ann("it was only a try")))
			}
		}
	}, sampled)
}

func (w *world) must(_ tasker.VerbReceipt, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// try says a verb and compares what came of it with its row.
func (w *world) try(v verbRow, id tasker.TaskID, from domain.State, step string, state func() domain.State) {
	w.t.Helper()
	what := v.name + " in " + from.String()
	before := w.trace(id)
	r, err := v.say(w, id)
	switch cell := v.cells[from]; cell {
	case "=":
		if err != nil || r.Changed || r.From != from || r.To != from {
			w.t.Errorf("%s: %+v, %v; it is a no-op", what, r, err)
		}
		equal(w, what+" appends", w.trace(id), before)
	case "no":
		var refused *domain.TransitionError
		if !errors.As(err, &refused) || refused.From != from || refused.To != v.to || refused.Step != step {
			w.t.Errorf("%s: %+v, %v; it is refused", what, r, err)
			return
		}
		for _, name := range []string{from.String(), v.to.String()} {
			if !strings.Contains(err.Error(), name) {
				w.t.Errorf("%s: %q does not say %q", what, err, name)
			}
		}
		equal(w, what+" appends", w.trace(id), before)
	default:
		if err != nil || !r.Changed || w.calm() && (r.From != from || r.To != v.to) {
			w.t.Errorf("%s: %+v, %v; it leads to %s", what, r, err, cell)
		}
		want := v.to
		if want == domain.Pending {
			want = domain.InProgress // and on from there, in the same commit
		}
		if is := state(); is != want {
			w.t.Errorf("%s: it is %s, want %s", what, is, want)
		}
	}
}
