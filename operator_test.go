package tasker_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// held is an engine with a task of two steps: one fails for good, the other runs until its context ends.
func held(t *testing.T) (*tasker.Engine, tasker.TaskID) {
	t.Helper()
	e, err := tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{}), Logger: slog.New(slog.DiscardHandler), Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(tasker.Define("two").
		Step("fails", tasker.Handle(func(context.Context, struct{}) (int, error) { return 0, tasker.Permanent(errors.New("no")) })).
		Step("runs", tasker.Handle(func(ctx context.Context, _ struct{}) (int, error) { <-ctx.Done(); return 0, ctx.Err() })).
		MustBuild()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	through := make(chan error, 1)
	go func() { through <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-through; err != nil {
			t.Error(err)
		}
	})
	<-e.Ready()
	r, err := e.Submit(t.Context(), "two", struct{}{}, tasker.Correlated("req-42"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	return e, r.ID
}

func TestOperateIsEveryVerbInOneValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pause := func(e *tasker.Engine, id tasker.TaskID) error {
			_, err := e.Pause(t.Context(), id, tasker.By{})
			return err
		}
		cancel := func(e *tasker.Engine, id tasker.TaskID) error {
			_, err := e.CancelStep(t.Context(), id, "runs", tasker.By{})
			time.Sleep(time.Second)
			return err
		}
		cases := map[domain.Verb]struct {
			o      domain.OperatorRequest
			before func(*tasker.Engine, tasker.TaskID) error
			left   string // the state of the task, and of its steps
		}{
			domain.VerbPause:        {left: "in_progress: error in_progress"},
			domain.VerbResume:       {before: pause, left: "in_progress: error in_progress"},
			domain.VerbCancel:       {left: "cancelled: cancelled cancelled"},
			domain.VerbRetry:        {left: "in_progress: error in_progress"},
			domain.VerbResolve:      {before: cancel, left: "resolved_manually: error cancelled"},
			domain.VerbRetryStep:    {o: domain.OperatorRequest{Step: "fails", RetryLimit: 7, Inputs: []byte(`{"a":1}`)}, left: "in_progress: error in_progress"},
			domain.VerbResolveStep:  {o: domain.OperatorRequest{Step: "fails", Result: []byte(`1`)}, left: "in_progress: resolved_manually in_progress"},
			domain.VerbCancelStep:   {o: domain.OperatorRequest{Step: "runs"}, left: "error: error cancelled"},
			domain.VerbCompleteStep: {o: domain.OperatorRequest{Step: "runs", Result: []byte(`1`)}, left: "error: error complete"},
		}
		for _, v := range domain.Verbs() {
			c, ok := cases[v]
			if !ok {
				t.Errorf("%s is not tried", v)
				continue
			}
			e, id := held(t)
			if c.before != nil {
				if err := c.before(e, id); err != nil {
					t.Fatal(err)
				}
			}
			c.o.Verb, c.o.Task, c.o.Actor, c.o.Reason = v, id, "ann", "because"
			if err := e.Operate(t.Context(), c.o); err != nil {
				t.Errorf("%s: %v", v, err)
			}
			time.Sleep(time.Second)
			task, err := e.Task(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if got := task.State.String() + ": " + task.Steps[0].State.String() + " " + task.Steps[1].State.String(); got != c.left {
				t.Errorf("%s leaves %s, want %s", v, got, c.left)
			}
			if v == domain.VerbRetryStep && (task.Steps[0].RetryLimit != 7 || string(task.Steps[0].Inputs) != `{"a":1}`) {
				t.Errorf("%s: limit %d, inputs %s", v, task.Steps[0].RetryLimit, task.Steps[0].Inputs)
			}
		}
	})
}

func TestOperateRefusesWhatIsNoVerb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, id := held(t)
		for want, o := range map[string]domain.OperatorRequest{
			`"" is no verb`:             {Task: id},
			`"task.explode" is no verb`: {Task: id, Verb: "task.explode"},
			"needs the name of a step":  {Task: id, Verb: domain.VerbRetryStep},
		} {
			var invalid *tasker.InvalidVerbError
			if err := e.Operate(t.Context(), o); !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if err := e.Operate(t.Context(), domain.OperatorRequest{Verb: domain.VerbCancel}); !errors.Is(err, tasker.ErrTaskNotFound) {
			t.Errorf("without a task: %v", err)
		}
	})
}

func TestTrailIsWhatLedToAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, id := held(t)
		var all []tasker.Event
		for r, err := range e.Replay(t.Context(), tasker.ReplayOptions{Task: id}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		for i, r := range all {
			trail, err := e.Trail(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[:i+1], trail); diff != "" {
				t.Errorf("trail of %s (-want +got):\n%s", r.ID(), diff)
			}
		}
		last := all[len(all)-1]
		for name, r := range map[string]tasker.Event{
			"no task":             {Position: last.Position},
			"a partition of none": {Task: id, Position: domain.Position{Partition: 9, Sequence: 1}},
			"no commit":           {Task: id},
		} {
			if trail, err := e.Trail(t.Context(), r); !errors.Is(err, tasker.ErrTaskNotFound) {
				t.Errorf("%s: %v, %v", name, trail, err)
			}
		}
	})
}
