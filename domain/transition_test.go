package domain

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The tables of SEMANTICS 1, as they stand there.
const (
	taskTable = `
| task from \ to | pending | in_progress | complete | error | cancelled | resolved_manually |
|---|---|---|---|---|---|---|
| pending | = | yes | no* | yes | yes | no |
| in_progress | yes | = | guard | yes | yes | no |
| error | yes | no | no | = | yes* | yes |
| complete | no | no | = | no | no* | no |
| resolved_manually | no | no | no | no | no* | = |
| cancelled | no | no | no | no | = | no |`
	stepTable = `
| step from \ to | pending | in_progress | complete | error | cancelled | resolved_manually |
|---|---|---|---|---|---|---|
| pending | = | guard | skip* | no* | yes | yes |
| in_progress | no | = | yes | yes | yes | no |
| error | yes | no | no | = | yes* | yes |
| complete | no | no | = | no | no | no |
| resolved_manually | no | no | no | no | no | = |
| cancelled | no | no | no | no | = | no |`
)

// cells reads a table: by source and target state, "=", "no", "yes", "guard" or "skip".
func cells(t *testing.T, table string) map[State]map[State]string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(table), "\n")
	row := func(line string) []string {
		fields := strings.Split(strings.Trim(line, "|"), "|")
		for i := range fields {
			fields[i] = strings.TrimRight(strings.TrimSpace(fields[i]), "*")
		}
		return fields
	}
	state := func(name string) State {
		s, ok := ParseState(name)
		if !ok {
			t.Fatalf("no state %q", name)
		}
		return s
	}
	head := row(lines[0])
	got := map[State]map[State]string{}
	for _, line := range lines[2:] {
		fields := row(line)
		from := state(fields[0])
		got[from] = map[State]string{}
		for i, cell := range fields[1:] {
			got[from][state(head[i+1])] = cell
		}
	}
	if len(got) != numStates {
		t.Fatalf("%d rows", len(got))
	}
	return got
}

// How a command answers from a state from which it does not lead to the transition.
type answer int

const (
	silent  answer = iota // the engine's own command: no event, no error
	refused               // *TransitionError that names both states, except from the target state
	stale                 // ErrStale
)

// way is one way to bring a transition about.
type way struct {
	name    string
	to      State
	from    []State // where it is the way
	silence []State // where it is a no-op although it is not there already
	command Command // nil: only as an event
	event   Event   // nil: only as a command
	other   answer
}

const (
	subject  = 1 // the step of the tables
	taskTime = Instant(1_790_000_000_000_000)
)

var (
	live     = []State{Pending, InProgress}
	notWell  = []State{Pending, InProgress, Error}
	taskWays = []way{
		{"task.reenqueue_requested", Pending, []State{InProgress}, nil, WaitTask{Waiting{Reason: WaitPaused}}, TaskReenqueued{Reason: WaitPaused}, silent},
		{"task.reenqueue_delayed", Pending, []State{InProgress}, nil, WaitTask{Waiting{WaitRetryBackoff, taskTime}}, TaskDelayed{WaitRetryBackoff, taskTime}, silent},
		{"task.retry_requested", Pending, []State{Error}, []State{InProgress}, RetryTask{}, TaskRetryRequested{}, refused},
		{"task.start_requested", InProgress, []State{Pending}, nil, StartTask{}, TaskStartRequested{}, silent},
		{"task.completed", Complete, []State{InProgress}, nil, CompleteTask{}, TaskCompleted{}, silent},
		{"task.failed", Error, live, nil, FailTask{}, TaskFailed{Reason: FailStepsInError}, silent},
		{"deadline", Error, live, nil, HitDeadline{}, nil, silent},
		{"task.cancelled", Cancelled, notWell, nil, CancelTask{}, TaskCancelled{}, refused},
		{"task.resolved_manually", ResolvedManually, []State{Error}, nil, ResolveTask{}, TaskResolvedManually{}, refused},
	}
	stepWays = []way{
		{"due retry", Pending, []State{Error}, nil, ReleaseStep{subject}, StepRetryRequested{Step: "x"}, silent},
		{"retry", Pending, []State{Error}, nil, RetryStep{Step: "x"}, StepRetryRequested{Step: "x", NewRound: true}, refused},
		{"start", InProgress, []State{Pending}, nil, StartStep{subject}, StepExecutionRequested{Step: "x", Attempt: 8}, silent},
		{"result", Complete, []State{InProgress}, nil, CompleteStep{Step: subject, Attempt: 7}, StepCompleted{Step: "x", Attempt: 7}, stale},
		{"complete", Complete, []State{InProgress}, nil, FinishStep{Step: "x"}, StepCompleted{Step: "x", Attempt: 7}, refused},
		{"end of a sleep", Complete, []State{InProgress}, nil, EndSleep{subject}, nil, silent},
		{"inherit", Complete, []State{Pending}, nil, nil, StepInherited{Step: "x", Skipped: true}, silent},
		{"inherit a resolved one", ResolvedManually, []State{Pending}, nil, nil, StepInherited{Step: "x", Resolved: true}, silent},
		{"skip", Complete, []State{Pending}, nil, SkipStep{subject}, StepSkipped{Step: "x"}, silent},
		{"failure", Error, []State{InProgress}, nil, FailStep{Step: subject, Attempt: 7}, StepFailed{Step: "x", Attempt: 7}, stale},
		{"cancel", Cancelled, notWell, nil, CancelStep{Step: "x"}, StepCancelled{Step: "x"}, refused},
		{"resolve", ResolvedManually, []State{Pending, Error}, nil, ResolveStep{Step: "x"}, StepResolvedManually{Step: "x"}, refused},
	}
)

// transitionTask is a task p -> x with y beside, in the given states. Nothing is right about it but the states: the
// tables are about them alone.
func transitionTask(t *testing.T, task, x State) *Task {
	t.Helper()
	def := &Definition{Name: "transitions", Steps: []StepTemplate{
		{Name: "p", Handler: "h"}, {Name: "x", Handler: "h", DependsOn: []string{"p"}, Skippable: true}, {Name: "y", Handler: "h", Optional: true},
	}}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	created := TaskCreated{Deadline: taskTime, BypassSteps: []string{"x"}}
	v := NewTask(Record{Event: created, At: taskTime, Task: TaskID{6: 0x50, 15: 1}}, def)
	v.State = task
	v.Steps[0].State, v.Steps[0].Attempt = Complete, 1
	v.Steps[2].State, v.Steps[2].Attempt = Complete, 1
	s := &v.Steps[subject]
	s.State, s.Attempt = x, 7
	switch x {
	case Error, InProgress: // a retry that is due; a sleep that is over
		s.WakeAt = taskTime
	case Pending, Complete, Cancelled, ResolvedManually:
	}
	v.recount()
	v.TakeOffered()
	v.offered = nil
	return v
}

func TestTableOfTheTask(t *testing.T) {
	table := cells(t, taskTable)
	covered := map[string]bool{}
	for _, w := range taskWays {
		for _, from := range States {
			t.Run(fmt.Sprintf("%s/%s", w.name, from), func(t *testing.T) {
				x := Complete // everything is complete: the guard of complete holds
				if w.to == Pending {
					x = Error // something to retry
				}
				v := transitionTask(t, from, x)
				if cmd, ok := w.command.(WaitTask); ok && from == Pending {
					v.Waiting = cmd.Waiting // it waits for that already
				}
				if from == Cancelled {
					v.Steps[subject].State, v.Steps[subject].WakeAt = Cancelled, 0 // and so are its steps
					v.recount()
				}
				checkWay(t, v, w, from, table[from][w.to], func(v *Task) State { return v.State }, "")
			})
			if slices.Contains(w.from, from) {
				covered[from.String()+w.to.String()] = true
			}
		}
	}
	checkCovered(t, table, covered)
}

func TestTableOfTheStep(t *testing.T) {
	table := cells(t, stepTable)
	covered := map[string]bool{}
	for _, w := range stepWays {
		for _, from := range States {
			t.Run(fmt.Sprintf("%s/%s", w.name, from), func(t *testing.T) {
				v := transitionTask(t, InProgress, from)
				checkWay(t, v, w, from, table[from][w.to], func(v *Task) State { return v.Steps[subject].State }, "x")
			})
			if slices.Contains(w.from, from) {
				covered[from.String()+w.to.String()] = true
			}
		}
	}
	checkCovered(t, table, covered)
}

// checkCovered: every legal cell has a way, and no way leads where the table says no.
func checkCovered(t *testing.T, table map[State]map[State]string, covered map[string]bool) {
	t.Helper()
	for from, row := range table {
		for to, cell := range row {
			legal := cell != "=" && cell != "no"
			if covered[from.String()+to.String()] != legal {
				t.Errorf("%s -> %s is %q in the table; a way leads there: %v", from, to, cell, !legal)
			}
		}
	}
}

func checkWay(t *testing.T, v *Task, w way, from State, cell string, state func(*Task) State, step string) {
	t.Helper()
	legal := slices.Contains(w.from, from)
	if legal && (cell == "no" || cell == "=") {
		t.Fatalf("the table says %q", cell)
	}
	if w.command != nil {
		before := v.Clone()
		events, err := Decide(v, w.command, taskTime, nil)
		if !reflect.DeepEqual(v, before) {
			t.Error("Decide changed the task")
		}
		var transition *TransitionError
		switch {
		case legal:
			if err != nil || len(events) == 0 {
				t.Fatalf("events %v, error %v", events, err)
			}
			after := v.Clone()
			for _, e := range events {
				Evolve(after, Record{Event: e, At: taskTime, Task: v.ID})
			}
			if state(after) != w.to {
				t.Errorf("its events %+v lead to %s", events, state(after))
			}
			again, err := Decide(after, w.command, taskTime, nil)
			if len(again) > 0 || err != nil && !errors.Is(err, ErrStale) {
				t.Errorf("a second time: events %v, error %v", again, err)
			}
		case len(events) > 0:
			t.Errorf("events %+v", events)
		case w.other == stale:
			if !errors.Is(err, ErrStale) {
				t.Errorf("error %v", err)
			}
		case w.other == refused && cell != "=" && !slices.Contains(w.silence, from):
			if !errors.As(err, &transition) {
				t.Fatalf("error %v", err)
			}
			if transition.From != from || transition.To != w.to || transition.Step != step || transition.Task != v.ID {
				t.Errorf("%+v", transition)
			}
			for _, name := range []string{from.String(), w.to.String(), transition.Hint} {
				if name == "" || !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not say %q", err, name)
				}
			}
		case err != nil:
			t.Errorf("error %v", err)
		}
	}
	if w.event == nil {
		return
	}
	after := v.Clone()
	Evolve(after, Record{Event: w.event, At: taskTime.Add(1000), Task: v.ID})
	switch {
	case legal:
		if state(after) != w.to {
			t.Errorf("the event leads to %s", state(after))
		}
	case !reflect.DeepEqual(after, v):
		t.Errorf("the event does not apply and changed\n%+v to\n%+v", v, after)
	}
}

func TestGuardOfComplete(t *testing.T) {
	for _, x := range States {
		v := transitionTask(t, InProgress, x)
		events, err := Decide(v, CompleteTask{}, taskTime, nil)
		if want := x == Complete || x == ResolvedManually; err != nil || len(events) > 0 != want {
			t.Errorf("x is %s: events %v, error %v", x, events, err)
		}
		v.Steps[subject].WakeAt = 0
		v.Definition.Steps[subject].Optional = true
		v.recount()
		events, err = Decide(v, CompleteTask{}, taskTime, nil)
		if want := x != Pending && x != InProgress; err != nil || len(events) > 0 != want {
			t.Errorf("x is optional and %s: events %v, error %v", x, events, err)
		}
	}
	v := transitionTask(t, InProgress, Error)
	v.Definition.Steps[subject].Optional = true
	v.recount()
	if events, _ := Decide(v, CompleteTask{}, taskTime, nil); len(events) > 0 {
		t.Error("an optional step that waits for a retry is not over")
	}
}

func TestGuardOfInProgress(t *testing.T) {
	for _, parent := range States {
		for _, optional := range []bool{false, true} {
			for _, retrying := range []bool{false, true} {
				v := transitionTask(t, InProgress, Pending)
				v.Definition.Steps[0].Optional = optional
				v.Steps[0].State, v.Steps[0].WakeAt = parent, 0
				if retrying {
					v.Steps[0].WakeAt = taskTime
				}
				v.recount()
				over := parent.Ended() || parent == Error && !retrying
				satisfied := parent == Complete || parent == ResolvedManually || optional && over
				for _, cmd := range []Command{StartStep{subject}, SkipStep{subject}} {
					events, err := Decide(v, cmd, taskTime, nil)
					if err != nil || len(events) > 0 != satisfied {
						t.Errorf("%T with parent %s (optional %v, retrying %v): events %v, error %v", cmd, parent, optional, retrying, events, err)
					}
				}
			}
		}
	}
}

func TestPendingBecomesCompleteBySkipOnly(t *testing.T) {
	v := transitionTask(t, InProgress, Pending)
	events, err := Decide(v, SkipStep{subject}, taskTime, nil)
	if err != nil || len(events) != 1 || events[0] != (StepSkipped{Step: "x", Reason: "bypass_steps"}) {
		t.Fatalf("events %v, error %v", events, err)
	}
	Evolve(v, Record{Event: events[0], At: taskTime})
	if s := v.Steps[subject]; s.State != Complete || !s.Skipped || !s.Result.IsZero() || s.Attempt != 7 {
		t.Errorf("%+v", s)
	}
	v = transitionTask(t, InProgress, Pending)
	v.bypass = nil
	if events, _ := Decide(v, SkipStep{subject}, taskTime, nil); len(events) > 0 {
		t.Error("skipped although nobody asked for it")
	}
	var transition *TransitionError
	if _, err := Decide(v, FinishStep{Step: "x"}, taskTime, nil); !errors.As(err, &transition) ||
		transition.From != Pending || transition.To != Complete {
		t.Errorf("error %v", err)
	}
}

func TestStepsOfAnEndedTaskStay(t *testing.T) {
	for _, task := range []State{Complete, Cancelled, ResolvedManually} {
		for _, x := range States {
			v := transitionTask(t, task, x)
			for _, w := range stepWays {
				events, err := Decide(v, w.command, taskTime, nil)
				var transition *TransitionError
				switch {
				case len(events) > 0 && w.name != "end of a sleep":
					t.Errorf("%s of a %s step of a %s task: %v", w.name, x, task, events)
				case w.other == refused && x != w.to && (!errors.As(err, &transition) || transition.From != x || transition.To != w.to):
					t.Errorf("%s of a %s step of a %s task: error %v", w.name, x, task, err)
				case w.other == refused && x == w.to && err != nil:
					t.Errorf("%s of a %s step of a %s task: error %v", w.name, x, task, err)
				}
			}
		}
	}
}

// What an execution says before its end is taken while the step is in progress in a live task, and never else.
func TestOnlyARunningStepOfALiveTaskSaysAnything(t *testing.T) {
	for _, task := range States {
		for _, x := range States {
			v := transitionTask(t, task, x)
			runs := task.Live() && x == InProgress
			for _, cmd := range []Command{
				CheckpointStep{Step: subject, Attempt: 7, Cursor: []byte(`1`)}, ProgressStep{Step: subject, Attempt: 7, Done: 1},
				LogStep{Step: subject, Attempt: 7, Lines: []string{"x"}},
			} {
				events, err := Decide(v, cmd, taskTime, nil)
				if len(events) > 0 != runs || !runs && !errors.Is(err, ErrStale) || runs && err != nil {
					t.Errorf("%T of a %s step of a %s task: %v, error %v", cmd, x, task, events, err)
				}
			}
			for _, e := range []Event{StepCheckpointed{Step: "x", Attempt: 7, Cursor: []byte(`1`)}, StepProgressed{Step: "x", Attempt: 7, Done: 1}} {
				after := v.Clone()
				Evolve(after, Record{Event: e, At: taskTime})
				if changed := !reflect.DeepEqual(after, v); changed != runs || after.State != task || after.Steps[subject].State != x {
					t.Errorf("%T of a %s step of a %s task changed it: %v", e, x, task, changed)
				}
			}
		}
	}
}

func TestReportOfAnotherAttemptIsStale(t *testing.T) {
	v := transitionTask(t, InProgress, InProgress)
	for _, attempt := range []int{-1, 0, 1, 6, 8, 1 << 40} {
		for _, cmd := range []Command{
			CompleteStep{Step: subject, Attempt: attempt}, FailStep{Step: subject, Attempt: attempt},
			CheckpointStep{Step: subject, Attempt: attempt, Cursor: []byte(`1`)}, ProgressStep{Step: subject, Attempt: attempt},
			LogStep{Step: subject, Attempt: attempt},
		} {
			if events, err := Decide(v, cmd, taskTime, nil); !errors.Is(err, ErrStale) || len(events) > 0 {
				t.Errorf("%+v: events %v, error %v", cmd, events, err)
			}
		}
		for _, e := range []Event{
			StepCompleted{Step: "x", Attempt: attempt}, StepFailed{Step: "x", Attempt: attempt},
			StepCheckpointed{Step: "x", Attempt: attempt, Cursor: []byte(`1`)}, StepProgressed{Step: "x", Attempt: attempt},
		} {
			after := v.Clone()
			if Evolve(after, Record{Event: e, At: taskTime}); !reflect.DeepEqual(after, v) {
				t.Errorf("%+v applied", e)
			}
		}
	}
}
