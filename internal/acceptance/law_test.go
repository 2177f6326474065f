package acceptance

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// checked is how many tasks of a case are looked at when it is over.
const checked = 20

// end is the end of every case: its tasks are looked at, and the engine is started again.
func (w *world) end() string {
	w.t.Helper()
	if w.t.Failed() {
		w.halt()
		return ""
	}
	w.settle()
	var outcome strings.Builder
	before := map[tasker.TaskID]string{}
	tasks := w.tasks[:min(len(w.tasks), checked)]
	histories := w.histories(tasks)
	for _, id := range tasks {
		task, records := w.stands(id), histories[id]
		w.lawful(task, records)
		w.legal(task, records)
		w.contract(id, records)
		outcome.WriteString(outcomeOf(task, records))
		if task.Execution.InProgress == 0 && task.Execution.Ready == 0 {
			before[id] = text(w.t, task)
		}
	}
	if len(tasks) > 0 {
		w.restart()
	}
	for _, id := range tasks {
		if got, want := text(w.t, w.stands(id)), before[id]; want != "" && got != want {
			w.t.Errorf("from the log, task %s differs (-was +is):\n%s", id, cmp.Diff(want, got))
		}
	}
	w.halt()
	return w.excuse(outcome.String())
}

// histories reads the log once.
func (w *world) histories(tasks []tasker.TaskID) map[tasker.TaskID][]tasker.Event {
	w.t.Helper()
	all := map[tasker.TaskID][]tasker.Event{}
	for r, err := range w.Replay(context.Background(), tasker.ReplayOptions{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if slices.Contains(tasks, r.Task) {
			all[r.Task] = append(all[r.Task], r)
		}
	}
	return all
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// lawful checks what holds for every task: no step starts before its parents are over, attempts are numbered one after
// the other, every execution ends at most once, nothing happens after the end, and the events lead to the state.
func (w *world) lawful(task *tasker.Task, records []tasker.Event) {
	w.t.Helper()
	parents := map[string][]string{}
	for _, s := range task.Steps {
		parents[s.Name] = s.DependsOn
	}
	over, attempts, running := map[string]bool{}, map[string]int{}, map[string]int{}
	ended := false
	for i, r := range records {
		if r.Event.Type() == domain.TaskAnnotatedType {
			continue
		}
		_, cancelled := r.Event.(domain.StepCancelled)
		if ended && !cancelled {
			w.t.Errorf("%s happened after the end: %v", r.Event.Type(), lines(records))
		}
		if i > 0 && r.At < records[i-1].At {
			w.t.Errorf("%s happened before the event before it", r.Event.Type())
		}
		switch e := r.Event.(type) {
		case domain.StepExecutionRequested:
			if e.Attempt != attempts[e.Step]+1 || running[e.Step] != 0 {
				w.t.Errorf("attempt %d of %s follows attempt %d: %v", e.Attempt, e.Step, attempts[e.Step], lines(records))
			}
			attempts[e.Step], running[e.Step] = e.Attempt, e.Attempt
			for _, p := range parents[e.Step] {
				if !over[p] {
					w.t.Errorf("%s began before %s was over: %v", e.Step, p, lines(records))
				}
			}
		case domain.StepCompleted:
			if running[e.Step] != e.Attempt {
				w.t.Errorf("attempt %d of %s completed while attempt %d was running: %v", e.Attempt, e.Step, running[e.Step], lines(records))
			}
			running[e.Step], over[e.Step] = 0, true
		case domain.StepFailed:
			running[e.Step], over[e.Step] = 0, e.RetryAt == 0
		case domain.StepRetryRequested:
			over[e.Step] = false
		case domain.StepCancelled:
			running[e.Step], over[e.Step] = 0, true
		case domain.StepSkipped, domain.StepResolvedManually, domain.StepInherited:
			over[e.(domain.StepEvent).StepName()] = true
		case domain.TaskCompleted, domain.TaskCancelled, domain.TaskResolvedManually:
			ended = true
		case domain.Unknown:
			w.t.Errorf("%s cannot be read", r.Event.Type())
		case domain.TaskCreated, domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskFailed,
			domain.TaskRetryRequested, domain.TaskPaused, domain.TaskResumed, domain.TaskAnnotated,
			domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskExpired, domain.Signal: // no step's
		case domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
			if s := e.(domain.StepEvent); running[s.StepName()] != s.AttemptNumber() {
				w.t.Errorf("attempt %d of %s says %s while attempt %d runs: %v", s.AttemptNumber(), s.StepName(), r.Event.Type(), running[s.StepName()], lines(records))
			}
		}
	}
	for step, attempt := range running {
		if attempt != 0 && (ended || task.State == domain.Error) {
			w.t.Errorf("step %s was left in progress: %v", step, lines(records))
		}
	}
}

// commits is how many commits hold the records.
func commits(records []tasker.Event) int {
	var sequences []uint64
	for _, r := range records {
		sequences = append(sequences, r.Position.Sequence)
	}
	return len(slices.Compact(sequences))
}

// count is how many lines are equal to line.
func count(all []string, line string) int {
	n := 0
	for _, l := range all {
		if l == line {
			n++
		}
	}
	return n
}

// bounds is the last sequence of every partition.
func (w *world) bounds() []uint64 {
	w.t.Helper()
	w.settle()
	var last []uint64
	for p := range w.Partitions() {
		b, err := w.store.Log(p).Bounds(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		last = append(last, b.Last)
	}
	return last
}

func equal[T any](w *world, what string, got, want T) {
	w.t.Helper()
	if a, b := text(w.t, got), text(w.t, want); a != b {
		w.t.Errorf("%s: got %s, want %s", what, a, b)
	}
}
