package domain

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// forkable is a task a -> b -> c with d beside; a is complete, b resolved, c failed for good, d skipped.
func forkable(t *testing.T) *Task {
	t.Helper()
	def := &Definition{Name: "forks", Tags: []string{"house"}, Steps: []StepTemplate{
		{Name: "a", Handler: "h"}, {Name: "b", Handler: "h", DependsOn: []string{"a"}, Skippable: true},
		{Name: "c", Handler: "h", DependsOn: []string{"b"}, Skippable: true}, {Name: "d", Handler: "h", Skippable: true},
	}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	created := TaskCreated{
		Context: Inline(json.RawMessage(`{"n":1}`)), Tags: []string{"house", "eu"}, BypassSteps: []string{"c", "d"}, Initiator: "ann", Correlation: "c-1",
	}
	task := NewTask(Record{Event: created, At: taskTime, Task: TaskID{6: 0x70, 15: 1}}, def)
	for _, e := range []Event{
		TaskStartRequested{}, StepExecutionRequested{Step: "a", Attempt: 1}, StepCompleted{Step: "a", Attempt: 1, Result: Inline(json.RawMessage(`7`))},
		StepSkipped{Step: "d"}, StepResolvedManually{Step: "b", Result: Inline(json.RawMessage(`"by hand"`))},
		StepExecutionRequested{Step: "c", Attempt: 1}, StepFailed{Step: "c", Attempt: 1, Error: StepError{Kind: KindPermanent}}, TaskFailed{Reason: FailStepsInError},
	} {
		Evolve(task, Record{Event: e, At: taskTime, Task: task.ID})
	}
	return task
}

func TestAForkTakesOverWhatIsOverWell(t *testing.T) {
	for _, x := range []struct {
		rerun         []string
		taken, bypass string
	}{
		{nil, "a b d", "c d"},
		{[]string{"d"}, "a b", "c"},
		{[]string{"b"}, "a d", "c d"},
		{[]string{"a", "c"}, "d", "d"},
		{[]string{"c", "c"}, "a b d", "d"},
	} {
		task := forkable(t)
		before := task.Clone()
		cmd, err := task.Fork(x.rerun)
		if err != nil {
			t.Fatal(err)
		}
		var taken []string
		for _, s := range cmd.Inherited {
			taken = append(taken, s.Step)
		}
		if got := strings.Join(taken, " "); got != x.taken {
			t.Errorf("%v: takes over %s, want %s", x.rerun, got, x.taken)
		}
		if got := strings.Join(cmd.BypassSteps, " "); got != x.bypass {
			t.Errorf("%v: bypasses %s, want %s", x.rerun, got, x.bypass)
		}
		if !task.Equal(before) {
			t.Error("Fork changed the task")
		}
		cmd.ID, cmd.Forked = TaskID{6: 0x70, 15: 2}, &ForkedFrom{Task: task.ID}
		created, err := DecideCreate(task.Definition, cmd, taskTime)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(created.Tags, []string{"house", "eu"}) || created.Initiator != "ann" || created.Correlation != "c-1" || string(created.Context.JSON) != `{"n":1}` {
			t.Errorf("%+v", created)
		}
	}
}

func TestAForkBeginsLikeANewTaskBehindWhatItTakesOver(t *testing.T) {
	task := forkable(t)
	cmd, err := task.Fork(nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd.ID, cmd.Forked = TaskID{6: 0x70, 15: 2}, &ForkedFrom{Task: task.ID, Position: Position{Sequence: 9}}
	created, err := DecideCreate(task.Definition, cmd, taskTime)
	if err != nil {
		t.Fatal(err)
	}
	facts := cmd.Facts(created)
	fork := NewTask(Record{Event: facts[0], At: taskTime, Task: cmd.ID}, task.Definition)
	for _, e := range facts[1:] {
		Evolve(fork, Record{Event: e, At: taskTime, Task: cmd.ID})
	}
	if fork.State != Pending || !fork.Ready(2) || fork.StartedAt != 0 || *fork.Forked != *cmd.Forked {
		t.Errorf("%+v", fork)
	}
	for i, want := range []Step{
		{State: Complete, Inherited: true, Round: 1, EndedAt: taskTime}, {State: ResolvedManually, Inherited: true, Round: 1, EndedAt: taskTime},
		{State: Pending, Round: 1, open: 0}, {State: Complete, Skipped: true, Inherited: true, Round: 1, EndedAt: taskTime},
	} {
		got := fork.Steps[i]
		if want.Result = task.Steps[i].Result; i == 2 {
			want.Result = Payload{}
		}
		got.offered = false
		if string(got.Result.JSON) != string(want.Result.JSON) {
			t.Errorf("step %d has the result %s, want %s", i, got.Result.JSON, want.Result.JSON)
		}
		if got.Result, want.Result = (Payload{}), (Payload{}); got.State != want.State || got.Skipped != want.Skipped || got.Inherited != want.Inherited ||
			got.Attempt != 0 || got.Executions != 0 || got.Round != 1 || got.EndedAt != want.EndedAt || got.open != 0 {
			t.Errorf("step %d: %+v, want %+v", i, got, want)
		}
	}
	Evolve(fork, Record{Event: StepExecutionRequested{Step: "c", Attempt: 1}, At: taskTime, Task: cmd.ID})
	was := fork.Clone()
	Evolve(fork, Record{Event: StepInherited{Step: "c"}, At: taskTime, Task: cmd.ID})
	Evolve(fork, Record{Event: StepInherited{Step: "nothing"}, At: taskTime, Task: cmd.ID})
	if !fork.Equal(was) {
		t.Error("a running step was taken over")
	}
}

func TestWhatCannotBeForkedIsRefused(t *testing.T) {
	task := forkable(t)
	var unknown *UnknownStepError
	if _, err := task.Fork([]string{"a", "x"}); !errors.As(err, &unknown) || unknown.Step != "x" {
		t.Errorf("an unknown step: %v", err)
	}
	for i := range task.Steps {
		task.Steps[i].State = Complete
	}
	var refused *RefusedError
	if _, err := task.Fork(nil); !errors.As(err, &refused) || refused.Task != task.ID {
		t.Errorf("nothing to run: %v", err)
	}
	if cmd, err := task.Fork([]string{"d"}); err != nil || len(cmd.Inherited) != 3 {
		t.Errorf("%+v, %v", cmd, err)
	}
	if a, b := ForkTaskID(task.ID, "k"), KeyedTaskID("default", task.ID.String(), "k"); a == b || !a.Keyed() {
		t.Error("a fork's key is a submission's")
	}
}
