package subscribers

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

// forkOf is a fork of task 99 that takes over all steps of the chain but the last.
func forkOf(d *domain.Definition, n int) domain.CreateTask {
	cmd := domain.CreateTask{
		ID: taskID(n), Context: domain.Inline(json.RawMessage(`{}`)), By: "operator:ann",
		Forked: &domain.ForkedFrom{Task: taskID(99), Position: domain.Position{Sequence: 7}},
	}
	for i := range d.Steps[:len(d.Steps)-1] {
		cmd.Inherited = append(cmd.Inherited, domain.StepInherited{Step: d.Steps[i].Name, Result: domain.Inline(json.RawMessage(`"done"`))})
	}
	return cmd
}

func TestAForkIsNeverCut(t *testing.T) {
	d := chain(t, nil, "a", "b", "c", "d", "e", "f", "g", "h")
	for before := range 12 { // submissions that stand in the message already
		w := newWorld(t)
		w.m.limit = 2000
		w.forget()
		for n := range before {
			w.m.Submit(d, domain.CreateTask{ID: taskID(n + 1), Context: domain.Inline(json.RawMessage(`{}`))}, w.now, nil)
		}
		w.m.Submit(d, forkOf(d, 50), w.now, func(a Answer) { w.say("created=%t err=%v", a.Created, a.Err) })
		w.heardNothing()
		var facts []string
		sequences := map[uint64]bool{}
		for _, c := range w.m.open.records {
			if c.Record.Task == taskID(50) {
				facts = append(facts, string(c.Record.Event.Type()))
			}
			if _, ok := c.Record.Event.(domain.StepInherited); ok || c.Record.Event.Type() == domain.TaskCreatedType && c.Record.Task == taskID(50) {
				sequences[c.Record.Position.Sequence] = true
			}
		}
		if len(sequences) != 1 || !slices.Contains(facts, string(domain.StepExecutionRequestedType)) {
			t.Errorf("behind %d submissions the fork stands in %d messages: %v", before, len(sequences), facts)
		}
		w.store()
		w.expect("created=true err=<nil>")
		task := w.m.State().Find(taskID(50)).Task
		if s := &task.Steps[6]; s.State != domain.Complete || !s.Inherited || s.Attempt != 0 || task.Steps[7].State != domain.InProgress {
			t.Errorf("%+v", task.Steps)
		}
	}
}

func TestAForkThatDoesNotFitChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.m.limit = 1000
	w.forget()
	d := chain(t, nil, "a", "b", "c", "d", "e", "f", "g", "h")
	cmd := forkOf(d, 1)
	cmd.Inherited[3].Result = domain.Inline(json.RawMessage(fmt.Sprintf("%q", make([]byte, 200))))
	var got error
	w.m.Submit(d, cmd, w.now, func(a Answer) { got = a.Err })
	large := (*domain.ForkTooLargeError)(nil)
	if !errors.As(got, &large) || large.Steps != 7 || large.Bytes <= 1000 || large.Most != 1000 || large.Task != taskID(99) {
		t.Errorf("%v", got)
	}
	if !w.m.open.empty() {
		t.Errorf("%d records", len(w.m.open.records))
	}
}

func TestARepetitionIsAnsweredWhenTheForkIsStored(t *testing.T) {
	w := newWorld(t)
	w.forget()
	d := chain(t, nil, "a", "b")
	cmd := forkOf(d, 1)
	cmd.InputHash = 5
	known := func(input uint32) {
		w.m.Known(domain.CreateTask{ID: cmd.ID, InputHash: input}, w.now, func(a Answer) { w.say("created=%t at=%d err=%v", a.Created, a.Position.Sequence, a.Err) })
	}
	known(5)
	w.expect("created=false at=0 err=" + ErrTaskNotFound.Error())
	w.forget()
	w.m.Submit(d, cmd, w.now, nil)
	known(5)
	known(6)
	w.heardNothing()
	w.store()
	w.expect("created=false at=2 err=<nil>", "created=false at=2 err="+ErrIdempotencyMismatch.Error())
}
