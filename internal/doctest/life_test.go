package doctest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The life of a task in the concepts is what a server really prints, but for times, ids and the partition.
func TestTheLifeOfATaskIsThatOfARealRun(t *testing.T) {
	fences := readPage(t, conceptsPage).fences
	var definition, history string
	for i, f := range fences {
		if f.info == "yaml" {
			definition, history = f.text, fences[i+1].text
			break
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "workflows"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "workflows", "greeting.yaml"), []byte(definition), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := serve(t, dir)
	run := func(args ...string) string {
		t.Helper()
		var out, problems bytes.Buffer
		cmd := exec.Command(tasker(t), args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &problems
		if err := cmd.Run(); err != nil {
			t.Fatalf("tasker %s: %v: %s", strings.Join(args, " "), err, problems.String())
		}
		return out.String()
	}
	id := strings.TrimSpace(run("submit", "greeting"))
	run("submit", "greeting", "--wait") // takes as long
	var have []string
	for deadline := time.Now().Add(30 * time.Second); ; {
		if have = shape(t, run("task", "history", id)); strings.HasPrefix(have[len(have)-1], "task.completed") || time.Now().After(deadline) {
			break
		}
	}
	stop()
	if diff := cmp.Diff(shape(t, history), have); diff != "" {
		t.Errorf("%s: page and run differ (-page +run):\n%s", conceptsPage, diff)
	}
}

// serve starts a server on the folder, and returns how to stop it.
func serve(t *testing.T, dir string) (stop func()) {
	t.Helper()
	cmd := exec.Command(tasker(t), "serve", "--definitions", "workflows", "--allow-exec", "--durability", "interval")
	cmd.Dir, cmd.Stderr = dir, t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			return stop
		}
	}
	t.Fatal("the server did not get ready")
	return nil
}

// shape is what does not change from run to run: event, step, attempt and actor; which event of which commit of the task
// it is, and which one caused it.
func shape(t *testing.T, history string) []string {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(history), "\n")
	column := func(row, name string) string {
		at := strings.Index(rows[0], name)
		if at < 0 {
			t.Fatalf("no column %s in %q", name, rows[0])
		}
		cells := []rune(row)
		if at >= len(cells) {
			return ""
		}
		text := string(cells[at:])
		text, _, _ = strings.Cut(text, "  ")
		return strings.TrimSpace(text)
	}
	commits := map[string]int{}
	relative := func(id string) string {
		parts := strings.Split(id, "-")
		if len(parts) != 3 {
			return ""
		}
		if commits[parts[1]] == 0 {
			commits[parts[1]] = len(commits) + 1
		}
		return strings.Repeat("+", commits[parts[1]]) + parts[2]
	}
	var list []string
	for _, row := range rows[1:] {
		var words []string
		for _, name := range []string{"EVENT", "STEP", "ATTEMPT", "ACTOR"} {
			words = append(words, column(row, name))
		}
		words = append(words, relative(column(row, "ID")), relative(column(row, "CAUSE")))
		list = append(list, strings.Join(words, " "))
	}
	return list
}
