package projections

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

func TestASurveyPassesNothingOverThatIsThereAllTheTime(t *testing.T) {
	def := testDefinition(t, "w")
	rapid.Check(t, func(t *rapid.T) {
		p := NewPartition(0)
		n := 0
		there := map[domain.TaskID]bool{} // since the survey began
		enter := func() domain.TaskID {
			n++
			id := domain.TaskID{14: byte(n >> 8), 15: byte(n)}
			p.enter(&domain.Task{ID: id, Definition: def})
			return id
		}
		for range rapid.IntRange(0, 20).Draw(t, "tasks") {
			there[enter()] = true
		}
		seen := map[domain.TaskID]bool{}
		for next := SurveyAll; next > 0; {
			some := rapid.IntRange(1, 4).Draw(t, "some")
			next = p.Survey(next, func(e *Entry) bool {
				seen[e.Task.ID] = true
				some--
				return some > 0
			})
			for range rapid.IntRange(0, 3).Draw(t, "leave") {
				if len(p.entries) == 0 {
					break
				}
				e := p.entries[rapid.IntRange(0, len(p.entries)-1).Draw(t, "which")]
				delete(there, e.Task.ID)
				p.entries.remove(e)
			}
			for range rapid.IntRange(0, 3).Draw(t, "come") {
				enter()
			}
			if len(seen) > 500 {
				t.Fatal("it does not come to an end")
			}
		}
		for id := range there {
			if !seen[id] {
				t.Fatalf("task %s was there all the time and has not been looked at", id)
			}
		}
	})
}

func TestFailedTasksAreSurveyedAsTheyArePacked(t *testing.T) {
	w := newWorld(t)
	want := map[domain.TaskID]string{}
	for n := range 7 {
		e := w.p.enter(&domain.Task{ID: unkeyedID(n), Definition: w.def, State: domain.Error, Initiator: fmt.Sprint("i", n), Steps: make([]domain.Step, 4)})
		want[e.Task.ID] = e.Task.Initiator
		w.p.Retire(e)
	}
	calls := 0
	for next := SurveyAll; next > 0; calls++ {
		some := 3
		next = w.p.SurveyFailed(next, func(packed PackedTask) bool {
			task, err := packed.Unpack(w.p.Definition)
			if err != nil || task.ID != packed.ID || want[task.ID] != task.Initiator {
				t.Fatalf("%+v, %v", task, err)
			}
			delete(want, task.ID)
			some--
			return some > 0
		})
	}
	if len(want) > 0 || calls != 3 {
		t.Errorf("%d are missing after %d calls", len(want), calls)
	}
}
