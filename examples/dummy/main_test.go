package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The program runs on a real log. Which steps share a commit is a matter of microseconds; what happens is not.
func TestItPrintsEveryEventOfTheTask(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if want := `task is complete: {"step-one":{"dummy":true},"step-four":{"dummy":true}}`; lines[len(lines)-1] != want {
		t.Errorf("it ends with %s, want %s", lines[len(lines)-1], want)
	}
	var events []string
	for _, line := range lines[:len(lines)-1] {
		events = append(events, strings.Join(strings.Fields(line)[1:], " ")) // without the position
	}
	chain := slices.DeleteFunc(slices.Clone(events), func(e string) bool { return strings.HasSuffix(e, " step-one") })
	if diff := cmp.Diff([]string{
		"task.created", "task.start_requested",
		"step.execution_requested step-two", "step.completed step-two",
		"step.execution_requested step-three", "step.completed step-three",
		"step.execution_requested step-four", "step.completed step-four",
		"task.completed",
	}, chain); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for _, event := range []string{"step.execution_requested step-one", "step.completed step-one"} {
		if n := len(events) - len(chain); n != 2 || !slices.Contains(events, event) {
			t.Errorf("%q is not there once: %q", event, events)
		}
	}
}
