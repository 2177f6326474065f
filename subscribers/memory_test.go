package subscribers

import (
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func TestTasksWithFarDeadlinesLeaveMemoryWhenTheyEnd(t *testing.T) {
	w := newWorld(t)
	d := chain(t, func(d *domain.Definition) { d.Deadline = 30 * 24 * time.Hour }, "a")
	const tasks = 5 * sweepFrom
	for n := range tasks {
		id := w.submit(d, n)
		w.store()
		w.complete(id, 0, 1)
		w.store()
	}
	if n := len(w.m.alerts); n > 2*sweepFrom {
		t.Fatalf("%d alarms are kept for %d tasks that have ended", n, tasks)
	}
	live := w.submit(d, tasks+1)
	w.store()
	if at := w.m.NextWake(); at != w.now.Add(30*24*time.Hour) {
		t.Fatalf("the next alarm is at %s", at)
	}
	if w.m.State().Live(live).Armed == 0 {
		t.Fatal("it is not armed")
	}
}

func TestATaskHasOneAlarmForEachTime(t *testing.T) {
	w := newWorld(t)
	d := chain(t, func(d *domain.Definition) {
		d.Deadline = 30 * 24 * time.Hour
		d.Steps[0].RetryLimit = 10 * sweepFrom
		d.Steps[0].Backoff = domain.Backoff{Strategy: domain.StrategyFixed, Base: time.Millisecond, Jitter: domain.NoJitter}
	}, "a")
	id := w.submit(d, 1)
	w.store()
	for attempt := 1; attempt <= 4*sweepFrom; attempt++ {
		w.fail(id, 0, attempt, domain.KindError)
		w.store()
		w.advance(time.Millisecond)
		w.store()
	}
	if n := len(w.m.alerts); n > sweepFrom+1 {
		t.Fatalf("%d alarms for one task", n)
	}
	if w.m.NextWake() == 0 || w.m.State().Live(id).Armed != w.m.NextWake() {
		t.Fatal("its alarm was swept away")
	}
}

func TestCallersWhoHaveGivenUpAreForgotten(t *testing.T) {
	w := newWorld(t)
	id := w.submit(chain(t, nil, "a"), 1)
	w.store()
	gone := make(chan struct{})
	close(gone)
	ends := 0
	stays := make(chan struct{})
	w.m.AwaitUntil(stays, id, func(Outcome, error) { ends++ })
	w.m.Await(id, func(Outcome, error) { ends++ })
	for range 10_000 {
		w.m.AwaitUntil(gone, id, func(Outcome, error) {})
	}
	if n := len(w.m.waiting[id].list); n > 8 {
		t.Fatalf("%d callers are remembered", n)
	}
	w.complete(id, 0, 1)
	w.store()
	if ends != 2 || len(w.m.waiting) != 0 {
		t.Fatalf("%d of 2 callers heard of the end; %d tasks are waited for", ends, len(w.m.waiting))
	}
}

func TestManyTimersAreDueInMessagesOfTheUsualSize(t *testing.T) {
	w := newWorld(t)
	w.bytes = 2 << 10
	w.takeOver()
	w.store()
	d := chain(t, func(d *domain.Definition) {
		d.Steps[0].Handler = domain.SleepHandler
		d.Steps[0].HandlerConfig = []byte(`{"duration":"1h"}`)
	}, "a")
	for n := range 500 {
		w.submit(d, n)
		w.store()
	}
	w.forget()
	w.advance(time.Hour)
	if n := len(w.m.open.parts); n > 2 { // the last task may begin a second one
		t.Fatalf("the timers made a batch of %d messages, and nobody is answered before the last", n)
	}
	for w.m.NextWake() != 0 {
		w.store()
		w.advance(0)
	}
	w.store()
	if n := count(w.told, domain.TaskCompletedType); n != 500 {
		t.Fatalf("%d of 500 tasks are complete", n)
	}
}
