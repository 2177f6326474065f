package reenqueuer

import (
	"fmt"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

const now domain.Instant = 1_767_225_600_000_000

func task(t *testing.T, events ...domain.Event) *domain.Task {
	t.Helper()
	def := &domain.Definition{Name: "x", Deadline: time.Hour, Steps: []domain.StepTemplate{
		{Name: "a", Handler: "work"},
		{Name: "s", Handler: domain.SleepHandler, HandlerConfig: []byte(`{"duration":"1m"}`)},
	}}
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

func TestWhatIsDueIsReleasedOneThingAtATime(t *testing.T) {
	failed := []domain.Event{
		domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "a", Attempt: 1},
		domain.StepFailed{Step: "a", Attempt: 1, Error: domain.StepError{Kind: domain.KindError}, RetryAt: now.Add(time.Second)},
	}
	asleep := []domain.Event{domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "s", Attempt: 1, Until: now.Add(time.Minute)}}
	for name, c := range map[string]struct {
		events []domain.Event
		after  time.Duration
		want   []domain.Command
		wake   time.Duration // 0: never
	}{
		"nothing is due":          {nil, time.Minute, nil, time.Hour},
		"the deadline":            {nil, time.Hour, []domain.Command{domain.HitDeadline{}}, time.Hour},
		"a retry too early":       {failed, time.Second - time.Microsecond, nil, time.Second},
		"a retry":                 {failed, time.Second, []domain.Command{domain.ReleaseStep{Step: 0}}, time.Second},
		"a sleep":                 {asleep, time.Minute, []domain.Command{domain.EndSleep{Step: 1}}, time.Minute},
		"a sleep before a retry":  {append(failed[:3:3], asleep[1:]...), time.Minute, []domain.Command{domain.EndSleep{Step: 1}}, time.Second},
		"a paused retry":          {append(failed[:3:3], domain.TaskPaused{}), time.Minute, nil, time.Hour},
		"a paused sleep":          {append(asleep[:2:2], domain.TaskPaused{}), time.Minute, []domain.Command{domain.EndSleep{Step: 1}}, time.Minute},
		"the deadline of a pause": {[]domain.Event{domain.TaskPaused{}}, time.Hour, []domain.Command{domain.HitDeadline{}}, time.Hour},
		"an ended task":           {append(failed[:3:3], domain.TaskCancelled{}), 2 * time.Hour, nil, 0},
		"a failed task":           {append(failed[:3:3], domain.TaskFailed{}), 2 * time.Hour, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := task(t, c.events...)
			var want domain.Instant
			if c.wake != 0 {
				want = now.Add(c.wake)
			}
			if got := (Reenqueuer{}).WakeAt(x); got != want {
				t.Errorf("it wakes at %s, want %s", got, want)
			}
			if got := (Reenqueuer{}).React(x, now.Add(c.after), nil); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
		})
	}
}
