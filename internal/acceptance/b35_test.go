package acceptance

import (
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/finalizer"
	"github.com/tasker-go/tasker/subscribers/reenqueuer"
)

// always has a slot.
type always struct{}

func (always) Take(*domain.Definition, int) bool { return true }

// The executor reports once, so this part of the case is the machine's own.
func TestB35SameReportTwiceIsStale(t *testing.T) {
	flow := tasker.Define("one").Step("only", gives(nil)).Step("next", gives(nil), tasker.After("only")).MustBuild()
	now := domain.InstantOf(time.Unix(1_800_000_000, 0))
	m := subscribers.NewMachine(subscribers.MachineConfig{
		State: projections.NewPartition(0), Writer: "test",
		Reactors: []subscribers.Reactor{reenqueuer.Reenqueuer{}, finalizer.Finalizer{}, discoverer.New(always{})},
	})
	store := func() {
		for {
			if _, ok := m.Next(); !ok {
				return
			}
			m.Stored()
		}
	}
	id := domain.KeyedTaskID("default", "one", "k")
	m.Open("test", 1, now)
	m.Submit(flow.Definition, domain.CreateTask{ID: id, Context: domain.Inline([]byte("{}"))}, now, func(subscribers.Answer) {})
	store()
	report := domain.CompleteStep{Step: 0, Attempt: 1, Result: domain.Inline([]byte("1"))}
	m.Report(id, report, now)
	m.Report(id, report, now) // in the same commit
	store()
	m.Report(id, report, now)
	m.Report(id, domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindError}}, now)
	if m.Stale() != 3 {
		t.Errorf("%d stale reports, want 3", m.Stale())
	}
	if _, ok := m.Next(); ok {
		t.Error("a stale report led to an event")
	}
	if s := m.State().Live(id).Task.Steps[0]; s.State != domain.Complete || s.Attempt != 1 {
		t.Errorf("the step is %s, attempt %d", s.State, s.Attempt)
	}
}
