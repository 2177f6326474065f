package domain_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/internal/scenario"
)

// story is a scenario whose inputs make one message each, as those of an idle engine do.
type story struct {
	*scenario.Run
	t       testing.TB
	commits [][]domain.Record
}

func tell(t testing.TB, steps []domain.StepTemplate, change func(*domain.Definition)) *story {
	t.Helper()
	def := &domain.Definition{Name: "story", Steps: steps}
	for i := range def.Steps {
		s := &def.Steps[i]
		if s.Handler == "" {
			s.Handler = "work"
		}
		s.Backoff = domain.Backoff{Jitter: domain.NoJitter}
	}
	if change != nil {
		change(def)
	}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	return &story{Run: scenario.New(def, scenario.AllSlots), t: t}
}

// input is one input and the message that it led to.
func (s *story) input(do func() error) *story {
	s.t.Helper()
	from := len(s.Log)
	if err := do(); err != nil {
		s.t.Fatal(err)
	}
	var commit []domain.Record
	for i, r := range s.Log[from:] {
		r.Position = domain.Position{Sequence: uint64(len(s.commits) + 1), Index: i}
		commit = append(commit, r)
	}
	if len(commit) > 0 {
		s.commits = append(s.commits, commit)
	}
	return s
}

func (s *story) submit(bypass ...string) *story {
	s.t.Helper()
	return s.input(func() error { return s.Submit(domain.CreateTask{BypassSteps: bypass}) })
}

func (s *story) ok(step string) *story {
	s.t.Helper()
	return s.input(func() error { return s.Report(step, "1", nil, 0) })
}

// fails ends the execution of step a.
func (s *story) fails(kind domain.ErrorKind) *story {
	s.t.Helper()
	return s.input(func() error { return s.Report("a", "", &domain.StepError{Message: "no", Kind: kind}, 0) })
}

// does is an operator's verb.
func (s *story) does(cmd domain.Command) *story {
	s.t.Helper()
	s.input(func() error { _, err := s.Do(cmd); return err })
	last := s.commits[len(s.commits)-1]
	last[0].By = "operator:ann"
	return s
}

func (s *story) after(d time.Duration) *story {
	s.t.Helper()
	return s.input(func() error { s.Advance(d); return nil })
}

func (s *story) lost() *story {
	s.t.Helper()
	s.input(func() error { s.Lose(); return nil })
	last := s.commits[len(s.commits)-1]
	for i, r := range last {
		if _, ok := r.Event.(domain.StepFailed); ok {
			last[i].By = domain.ByEngine
		}
	}
	return s
}

// heard is everything that a subscriber to everything hears: facts by their type, signals behind a plus, with what they say.
// Times are those since the beginning.
func (s *story) heard() []string {
	var lines []string
	for _, commit := range s.commits {
		for _, r := range domain.WithSignals(commit) {
			line := fmt.Sprintf("%d.%d ", r.Position.Sequence, r.Position.Index)
			signal, ok := r.Event.(domain.Signal)
			if !ok {
				lines = append(lines, line+string(r.Event.Type()))
				continue
			}
			data := string(domain.EventData(signal))
			if signal.Until != 0 {
				data = strings.ReplaceAll(data, signal.Until.String(), "+"+signal.Until.Sub(scenario.Start).String())
			}
			lines = append(lines, strings.TrimRight(line+"+ "+string(signal.Name)+" "+data, " "))
		}
	}
	return lines
}

func TestEverySignalIsEmittedOnceAtItsMoment(t *testing.T) {
	one := []domain.StepTemplate{{Name: "a"}}
	pair := []domain.StepTemplate{{Name: "a"}, {Name: "b"}, {Name: "c", DependsOn: []string{"a", "b"}}}
	const failed = `"error":{"message":"no","kind":"error"}`
	for name, c := range map[string]struct {
		story *story
		from  int // the first message that is compared; 0 = all
		want  string
	}{
		"a task that goes well": {story: tell(t, one, nil).submit().ok("a"), want: `
1.0 task.created
1.1 + workflow.task_finalization_started {"decision":"task.start_requested"}
1.1 + workflow.task_started
1.1 task.start_requested
1.1 + workflow.task_finalization_completed {"decision":"task.start_requested"}
1.2 + workflow.viable_steps_discovered {"steps":["a"]}
1.2 + workflow.steps_execution_started {"steps":["a"]}
1.2 step.execution_requested
2.0 step.completed
2.0 + workflow.steps_execution_completed {"steps":["a"],"outcomes":["complete"]}
2.1 + workflow.task_finalization_started {"decision":"task.completed"}
2.1 task.completed
2.1 + workflow.task_finalization_completed {"decision":"task.completed"}`},

		"steps that start together are told together": {story: tell(t, pair, nil).submit().ok("a").ok("b"), from: 1, want: `
1.2 + workflow.viable_steps_discovered {"steps":["a","b"]}
1.2 + workflow.steps_execution_started {"steps":["a","b"]}
1.2 step.execution_requested
1.3 step.execution_requested
2.0 step.completed
2.0 + workflow.steps_execution_completed {"steps":["a"],"outcomes":["complete"]}
3.0 step.completed
3.0 + workflow.steps_execution_completed {"steps":["b"],"outcomes":["complete"]}
3.1 + workflow.viable_steps_discovered {"steps":["c"]}
3.1 + workflow.steps_execution_started {"steps":["c"]}
3.1 step.execution_requested`},

		"a failure with another try": {story: tell(t, one, nil).submit().fails("").after(time.Second), from: 2, want: `
2.0 step.failed
2.0 + observability.step.backoff {"steps":["a"],"attempt":1,"until":"+1s",` + failed + `}
2.0 + workflow.steps_execution_completed {"steps":["a"],"outcomes":["error"]}
2.1 + workflow.task_finalization_started {"reason":"retry_backoff","until":"+1s","decision":"workflow.task_reenqueue_delayed"}
2.1 + workflow.task_reenqueue_started {"reason":"retry_backoff","until":"+1s"}
2.1 workflow.task_reenqueue_delayed
2.1 + workflow.no_viable_steps {"reason":"retry_backoff","until":"+1s"}
2.1 + workflow.task_finalization_completed {"reason":"retry_backoff","until":"+1s","decision":"workflow.task_reenqueue_delayed"}
3.0 step.retry_requested
3.1 + workflow.task_finalization_started {"decision":"task.start_requested"}
3.1 task.start_requested
3.1 + workflow.task_finalization_completed {"decision":"task.start_requested"}
3.2 + workflow.viable_steps_discovered {"steps":["a"]}
3.2 + workflow.steps_execution_started {"steps":["a"]}
3.2 step.execution_requested`},

		"a final failure": {story: tell(t, one, nil).submit().fails(domain.KindPermanent), from: 2, want: `
2.0 step.failed
2.0 + observability.step.max_retries_reached {"steps":["a"],"attempt":1,"error":{"message":"no","kind":"permanent"}}
2.0 + workflow.steps_execution_completed {"steps":["a"],"outcomes":["error"]}
2.1 + workflow.task_finalization_started {"steps":["a"],"reason":"steps_in_error_state","decision":"task.failed"}
2.1 task.failed
2.1 + workflow.task_finalization_completed {"steps":["a"],"reason":"steps_in_error_state","decision":"task.failed"}`},

		"the last try": {story: tell(t, []domain.StepTemplate{{Name: "a", RetryLimit: 2}}, nil).
			submit().fails("").after(time.Second).fails(""), from: 4, want: `
4.0 step.failed
4.0 + observability.step.max_retries_reached {"steps":["a"],"attempt":2,` + failed + `}
4.0 + workflow.steps_execution_completed {"steps":["a"],"outcomes":["error"]}
4.1 + workflow.task_finalization_started {"steps":["a"],"reason":"steps_in_error_state","decision":"task.failed"}
4.1 task.failed
4.1 + workflow.task_finalization_completed {"steps":["a"],"reason":"steps_in_error_state","decision":"task.failed"}`},

		"a bypassed step": {story: tell(t, []domain.StepTemplate{{Name: "a", Skippable: true}, {Name: "b", DependsOn: []string{"a"}}}, nil).
			submit("a"), want: `
1.0 task.created
1.1 + workflow.task_finalization_started {"decision":"task.start_requested"}
1.1 + workflow.task_started
1.1 task.start_requested
1.1 + workflow.task_finalization_completed {"decision":"task.start_requested"}
1.2 step.skipped
1.2 + observability.step.skip {"steps":["a"],"reason":"bypass_steps"}
1.3 + workflow.viable_steps_discovered {"steps":["b"]}
1.3 + workflow.steps_execution_started {"steps":["b"]}
1.3 step.execution_requested`},

		"a pause with nothing running": {story: tell(t, one, nil).submit().fails("").does(domain.PauseTask{}), from: 3, want: `
3.0 task.paused
3.1 + workflow.task_finalization_started {"reason":"workflow_paused","decision":"workflow.task_reenqueue_requested"}
3.1 + workflow.task_reenqueue_started {"reason":"workflow_paused"}
3.1 workflow.task_reenqueue_requested
3.1 + workflow.no_viable_steps {"reason":"workflow_paused"}
3.1 + workflow.task_finalization_completed {"reason":"workflow_paused","decision":"workflow.task_reenqueue_requested"}`},

		"a pause beside a running step": {story: tell(t, one, nil).submit().does(domain.PauseTask{}), from: 2, want: `
2.0 task.paused`},

		"a sleep starts and ends like a step": {
			story: tell(t, []domain.StepTemplate{{Name: "a", Handler: domain.SleepHandler, Wait: time.Second}}, nil).submit().after(time.Second),
			from:  1, want: `
1.2 + workflow.viable_steps_discovered {"steps":["a"]}
1.2 + workflow.steps_execution_started {"steps":["a"]}
1.2 step.execution_requested
2.0 step.completed
2.0 + workflow.steps_execution_completed {"steps":["a"],"outcomes":["complete"]}
2.1 + workflow.task_finalization_started {"decision":"task.completed"}
2.1 task.completed
2.1 + workflow.task_finalization_completed {"decision":"task.completed"}`},

		"lost workers are reported together": {story: tell(t, pair, nil).submit().lost(), from: 2, want: `
2.0 step.failed
2.0 + observability.step.backoff {"steps":["a"],"attempt":1,"until":"+0s","error":{"message":"the process that ran it is gone","kind":"worker_lost"}}
2.1 step.failed
2.1 + observability.step.backoff {"steps":["b"],"attempt":1,"until":"+0s","error":{"message":"the process that ran it is gone","kind":"worker_lost"}}
2.1 + workflow.steps_execution_completed {"steps":["a","b"],"outcomes":["error","error"]}
2.2 step.retry_requested
2.3 step.retry_requested
2.4 + workflow.viable_steps_discovered {"steps":["a","b"]}
2.4 + workflow.steps_execution_started {"steps":["a","b"]}
2.4 step.execution_requested
2.5 step.execution_requested`},

		"an operator's word is no report and no decision of the engine's": {story: tell(t, pair, nil).submit().
			does(domain.FinishStep{Step: "a"}).does(domain.CancelTask{}), from: 2, want: `
2.0 step.completed
3.0 task.cancelled
3.1 step.cancelled
3.2 step.cancelled`},

		"the deadline reports nothing, and decides": {
			story: tell(t, one, func(d *domain.Definition) { d.Deadline = time.Minute }).submit().after(time.Minute),
			from:  2, want: `
2.0 step.failed
2.0 + observability.step.max_retries_reached {"steps":["a"],"attempt":1,"error":{"message":"the task's deadline 2026-01-01T00:01:00.000000Z passed","kind":"deadline"}}
2.1 + workflow.task_finalization_started {"steps":["a"],"reason":"deadline_exceeded","decision":"task.failed"}
2.1 task.failed
2.1 + workflow.task_finalization_completed {"steps":["a"],"reason":"deadline_exceeded","decision":"task.failed"}`},

		"a retry of the task is no first start": {story: tell(t, one, nil).submit().fails(domain.KindPermanent).
			does(domain.RetryTask{}), from: 3, want: `
3.0 step.retry_requested
3.1 task.retry_requested
3.2 + workflow.task_finalization_started {"decision":"task.start_requested"}
3.2 task.start_requested
3.2 + workflow.task_finalization_completed {"decision":"task.start_requested"}
3.3 + workflow.viable_steps_discovered {"steps":["a"]}
3.3 + workflow.steps_execution_started {"steps":["a"]}
3.3 step.execution_requested`},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.story.heard()
			want := strings.Split(strings.TrimSpace(c.want), "\n")
			if c.from == 1 { // behind the start of the task, which the first story tells
				got = got[slices.IndexFunc(got, func(line string) bool { return strings.HasPrefix(line, "1.2 ") }):]
			} else if c.from > 1 {
				got = got[slices.IndexFunc(got, func(line string) bool { return strings.HasPrefix(line, fmt.Sprint(c.from, ".0 ")) }):]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSignalsOfOneMessageAreToldTaskByTask(t *testing.T) {
	a, b := domain.TaskID{1}, domain.TaskID{2}
	var records []domain.Record
	for i, r := range []domain.Record{
		{Task: a, Event: domain.StepCompleted{Step: "a1", Attempt: 1}},
		{Task: b, Event: domain.StepExecutionRequested{Step: "b1", Attempt: 1}},
		{Task: a, Event: domain.StepExecutionRequested{Step: "a2", Attempt: 1}},
		{Task: a, Event: domain.StepFailed{Step: "a3", Attempt: 1}},
		{Task: b, Event: domain.StepExecutionRequested{Step: "b2", Attempt: 1}},
	} {
		r.Position.Index = i
		records = append(records, r)
	}
	got := map[string]int{}
	for _, r := range domain.WithSignals(records) {
		if s, ok := r.Event.(domain.Signal); ok {
			got[fmt.Sprintf("%d %d %s %v %v", r.Task[0], r.Position.Index, s.Name, s.Steps, s.Outcomes)]++
		}
	}
	want := map[string]int{
		"1 2 workflow.viable_steps_discovered [a2] []":                    1,
		"1 2 workflow.steps_execution_started [a2] []":                    1,
		"1 3 observability.step.max_retries_reached [a3] []":              1,
		"1 3 workflow.steps_execution_completed [a1 a3] [complete error]": 1,
		"2 1 workflow.viable_steps_discovered [b1 b2] []":                 1,
		"2 1 workflow.steps_execution_started [b1 b2] []":                 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The cursors of durable subscribers hold these numbers.
func TestRanksNeverChange(t *testing.T) {
	want := map[domain.EventType]int{
		"workflow.task_finalization_started": 1, "workflow.task_reenqueue_started": 2, "workflow.task_started": 3,
		"workflow.viable_steps_discovered": 4, "workflow.steps_execution_started": 5,
		"observability.step.backoff": 17, "observability.step.max_retries_reached": 18, "observability.step.skip": 19,
		"workflow.steps_execution_completed": 20, "workflow.no_viable_steps": 21, "workflow.task_finalization_completed": 22,
		"workflow.task_reenqueue_failed": 0, "workflow.task_state_unclear": 0, "step.before_handle": 0, "step.handle": 0,
	}
	got := map[domain.EventType]int{}
	for _, entry := range domain.SignalCatalogue() {
		got[entry.Type] = domain.RankOf(domain.Signal{Name: entry.Type})
		if entry.When == "" || entry.Live != domain.LiveSignal(entry.Type) || entry.Live && entry.Before {
			t.Errorf("%s: %+v", entry.Type, entry)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, entry := range domain.Catalogue() {
		if n := domain.RankOf(entry.Sample); n != 16 {
			t.Errorf("%s has rank %d", entry.Type, n)
		}
	}
}

func TestASignalSaysWhatItsEntryNames(t *testing.T) {
	for _, entry := range domain.SignalCatalogue() {
		s := domain.Signal{
			Name: entry.Type, Steps: []string{"a"}, Outcomes: []domain.State{domain.Error}, Attempt: 2, Reason: "r", Until: 1,
			Decision: domain.TaskFailedType, Error: &domain.StepError{Message: "m", Kind: "k", Code: "c"}, Took: time.Second,
			Context: &domain.ExecutionContext{Total: 1},
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(domain.EventData(s), &all); err != nil {
			t.Fatal(err)
		}
		for _, field := range entry.Has {
			if all[field] == nil {
				t.Errorf("%s has %q, which no signal has", entry.Type, field)
			}
		}
	}
}
