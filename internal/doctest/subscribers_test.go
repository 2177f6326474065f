package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the page shows of programs is a part of one that runs.
func TestProgramsOfTheSubscribersPageAreExamples(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	runs := trimmed(string(text))
	shown := 0
	for _, f := range readPage(t, "docs/subscribers.md").fences {
		if f.info != "go" {
			continue
		}
		shown++
		if !strings.Contains(runs, trimmed(f.text)) {
			t.Errorf("%s: this is in no example", f.at())
		}
	}
	if shown < 3 {
		t.Errorf("only %d programs were found", shown)
	}
}

// trimmed is the text without indents.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
