package domain

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// truthTable is where the table stands, for people to read.
const truthTable = "testdata/status_and_health.txt"

var rewriteTruth = flag.Bool("rewrite-truth", false, "rewrite the table of status and health")

// truthSteps are the kinds of steps that status and health depend on.
var truthSteps = []struct {
	name string
	step Step
}{
	{"ready", Step{State: Pending, Round: 1}},
	{"running", Step{State: InProgress, Round: 1, Attempt: 1}},
	{"retrying", Step{State: Error, Round: 1, Attempt: 1, Executions: 1, WakeAt: taskTime}},
	{"failed", Step{State: Error, Round: 1, Attempt: 1, Executions: 1}},
	{"cancelled", Step{State: Cancelled, Round: 1}},
	{"tolerated", Step{State: Cancelled, Round: 1}}, // of an optional step
	{"complete", Step{State: Complete, Round: 1, Attempt: 1, Executions: 1}},
}

// truthTasks are the kinds of tasks.
var truthTasks = []struct {
	name      string
	state     State
	paused    bool
	onFailure OnFailure
}{
	{"live", InProgress, false, FinishBranches},
	{"paused", InProgress, true, FinishBranches},
	{"live, stop", InProgress, false, Stop},
	{"paused, stop", InProgress, true, Stop},
	{"in error", Error, false, FinishBranches},
	{"in error, stop", Error, false, Stop},
}

// TestTruthTableOfStatusAndHealth is SEMANTICS 4 written out: every combination of kinds of steps in every kind of task.
// context_test.go compares the same function with the text, on tasks with edges.
func TestTruthTableOfStatusAndHealth(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Status and health by what a task has: r ready, u running, w waiting for a retry, f failed for good, c cancelled,\n")
	b.WriteString("# o optional and over without success, d done. A task that has ended is always finished.\n")
	fmt.Fprintf(&b, "%-8s", "#")
	for _, task := range truthTasks {
		fmt.Fprintf(&b, "%-33s", task.name)
	}
	b.WriteString("\n")
	for which := 1; which < 1<<len(truthSteps); which++ {
		row := ""
		for i, letter := range "ruwfcod" {
			if which&(1<<i) != 0 {
				row += string(letter)
			}
		}
		fmt.Fprintf(&b, "%-8s", row)
		for _, task := range truthTasks {
			v := truthTask(t, which, task.onFailure)
			v.State, v.Paused = task.state, task.paused
			c := v.ExecutionContext()
			cell := fmt.Sprintf("%s %s", c.Status, c.Health)
			goesOn := c.InProgress > 0 || v.counts.retrying > 0 && !v.Stopped()
			if task.state == Error && (goesOn || v.allComplete()) {
				cell = "never" // a task fails only when it neither goes on by itself nor is complete
			}
			fmt.Fprintf(&b, "%-33s", cell)
			for _, state := range []State{Complete, Cancelled, ResolvedManually} {
				if v.State = state; v.Status() != StatusFinished {
					t.Errorf("%s in a task that is %s: %s", row, state, v.Status())
				}
			}
		}
		b.WriteString("\n")
	}
	got := regexp.MustCompile(` +\n`).ReplaceAllString(b.String(), "\n")
	if *rewriteTruth {
		if err := os.WriteFile(truthTable, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(truthTable)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s says something else; -rewrite-truth accepts it:\n%s", truthTable, got)
	}
}

// truthTask has one step of each of the kinds.
func truthTask(t *testing.T, which int, onFailure OnFailure) *Task {
	t.Helper()
	def := &Definition{Name: "truth", OnFailure: onFailure}
	var steps []Step
	for i, s := range truthSteps {
		if which&(1<<i) != 0 {
			def.Steps = append(def.Steps, StepTemplate{Name: s.name, Handler: "h", Optional: s.name == "tolerated"})
			steps = append(steps, s.step)
		}
	}
	if err := def.Validate(); err != nil {
		t.Fatal(err)
	}
	v := NewTask(Record{Event: TaskCreated{}, At: taskTime}, def)
	copy(v.Steps, steps)
	v.recount()
	return v
}
