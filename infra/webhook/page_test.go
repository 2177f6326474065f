package webhook

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page for those who set webhooks up shows a file that is read, names every key, and programs that run.
func TestThePageShowsWhatWorks(t *testing.T) {
	text, err := os.ReadFile("../../docs/feed-and-webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	fence := func(info string) []string {
		var all []string
		for _, m := range regexp.MustCompile("(?s)\n```"+info+"\n(.*?)```").FindAllStringSubmatch(page, -1) {
			all = append(all, m[1])
		}
		return all
	}
	files := fence("yaml webhooks")
	if len(files) != 1 {
		t.Fatalf("%d files are shown, want 1", len(files))
	}
	list, err := parse([]byte(files[0]), func(name string) string {
		if strings.HasPrefix(name, EnvPrefix) {
			return secretA
		}
		return ""
	})
	if err != nil || len(list) != 2 {
		t.Errorf("the file of the page: %d webhooks, %v", len(list), err)
	}
	source, err := os.ReadFile("file.go")
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, m := range regexp.MustCompile("`yaml:\"([a-z_]+)\"`").FindAllStringSubmatch(string(source), -1) {
		if keys++; m[1] != "webhooks" && !strings.Contains(page, "| `"+m[1]+"` |") {
			t.Errorf("the page has no row for %s", m[1])
		}
	}
	if keys < 14 {
		t.Errorf("%d keys were found", keys)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	trimmed := func(text string) string {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return strings.Join(lines, "\n")
	}
	programs := fence("go")
	if len(programs) == 0 || slices.ContainsFunc(programs, func(p string) bool { return !strings.Contains(trimmed(string(example)), trimmed(p)) }) {
		t.Errorf("a program of the page is not in the example, or there is none: %d are shown", len(programs))
	}
}
