package finalizer

import (
	"fmt"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

const now domain.Instant = 1_767_225_600_000_000

func task(t *testing.T, change func(*domain.Definition), events ...domain.Event) *domain.Task {
	t.Helper()
	def := &domain.Definition{Name: "x", Steps: []domain.StepTemplate{
		{Name: "a", Handler: "work"}, {Name: "b", Handler: "work", DependsOn: []string{"a"}},
	}}
	if change != nil {
		change(def)
	}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	created, err := domain.DecideCreate(def, domain.CreateTask{ID: domain.TaskID{1}}, now)
	if err != nil {
		t.Fatal(err)
	}
	x := domain.NewTask(domain.Record{Event: created, At: now, Task: domain.TaskID{1}}, def)
	for _, e := range events {
		domain.Evolve(x, domain.Record{Event: e, At: now, Task: x.ID})
	}
	return x
}

func TestTheFinalizerDoesWhatTheTableSays(t *testing.T) {
	start, run := domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "a", Attempt: 1}
	failed := domain.StepFailed{Step: "a", Attempt: 1, Error: domain.StepError{Kind: domain.KindError}}
	retried := failed
	retried.RetryAt = now.Add(time.Second)
	done := domain.StepCompleted{Step: "a", Attempt: 1}
	optional := func(d *domain.Definition) { d.Steps[0].Optional = true }
	wait := func(reason domain.WaitReason, until domain.Instant) domain.Command {
		return domain.WaitTask{Waiting: domain.Waiting{Reason: reason, Until: until}}
	}
	for name, c := range map[string]struct {
		change func(*domain.Definition)
		events []domain.Event
		status domain.ExecutionStatus
		want   []domain.Command
	}{
		"a new task starts":                 {nil, nil, domain.StatusHasReadySteps, []domain.Command{domain.StartTask{}}},
		"a started task goes on":            {nil, []domain.Event{start}, domain.StatusHasReadySteps, nil},
		"a running step is waited for":      {nil, []domain.Event{start, run}, domain.StatusProcessing, nil},
		"a pause":                           {nil, []domain.Event{domain.TaskPaused{}}, domain.StatusPaused, []domain.Command{wait(domain.WaitPaused, 0)}},
		"a paused task with a running step": {nil, []domain.Event{start, run, domain.TaskPaused{}}, domain.StatusProcessing, nil},
		"a retry":                           {nil, []domain.Event{start, run, retried}, domain.StatusWaitingForRetry, []domain.Command{wait(domain.WaitRetryBackoff, retried.RetryAt)}},
		"a failure for good":                {nil, []domain.Event{start, run, failed}, domain.StatusBlockedByFailures, []domain.Command{domain.FailTask{}}},
		"a tolerated failure":               {optional, []domain.Event{start, run, failed}, domain.StatusHasReadySteps, nil},
		"a cancelled step":                  {nil, []domain.Event{start, domain.StepCancelled{Step: "a"}}, domain.StatusBlockedByFailures, []domain.Command{domain.FailTask{}}},
		"everything complete":               {nil, []domain.Event{start, run, done, domain.StepResolvedManually{Step: "b"}}, domain.StatusAllComplete, []domain.Command{domain.CompleteTask{}}},
		"complete while it waits":           {nil, []domain.Event{domain.StepResolvedManually{Step: "a"}, domain.StepResolvedManually{Step: "b"}}, domain.StatusAllComplete, []domain.Command{domain.StartTask{}, domain.CompleteTask{}}},
		"a failed task stays":               {nil, []domain.Event{start, run, failed, domain.TaskFailed{}}, domain.StatusBlockedByFailures, nil},
		"an ended task":                     {nil, []domain.Event{domain.StepCancelled{Step: "a"}, domain.StepCancelled{Step: "b"}, domain.TaskCancelled{}}, domain.StatusFinished, nil},
		"a cancel that was cut short":       {nil, []domain.Event{domain.TaskCancelled{}}, domain.StatusFinished, []domain.Command{domain.CancelTask{}}},
	} {
		t.Run(name, func(t *testing.T) {
			x := task(t, c.change, c.events...)
			if x.Status() != c.status {
				t.Errorf("the task is %s, want %s", x.Status(), c.status)
			}
			got := Finalizer{}.React(x, now, nil)
			if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
		})
	}
}
