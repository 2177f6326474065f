package doctest

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tasker-go/tasker/internal/taskerbin"
)

// tasker builds the command, once.
func tasker(t *testing.T) string {
	t.Helper()
	path, err := buildTasker()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var binary struct {
	dir string // made by TestMain
}

var buildTasker = sync.OnceValues(func() (string, error) { return taskerbin.Build(binary.dir) })

// help is what --help prints about a verb, "" when there is no such verb.
type help struct {
	t    *testing.T
	text map[string]string
}

func (h *help) of(verb string) string {
	if text, ok := h.text[verb]; ok {
		return text
	}
	var out bytes.Buffer
	cmd := exec.Command(tasker(h.t), append(strings.Fields(verb), "--help")...)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		h.t.Fatalf("tasker %s --help: %v", verb, err)
	}
	h.text[verb] = out.String()
	return h.text[verb]
}

// has reports whether the verb has the one below it.
func (h *help) has(verb, below string) bool {
	_, list, found := strings.Cut(h.of(verb), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	return found && regexp.MustCompile(`(?m)^  `+regexp.QuoteMeta(below)+` `).MatchString(list)
}

var (
	word       = regexp.MustCompile(`^[a-z]+$`)
	flagName   = regexp.MustCompile(`^--?[a-z][a-z-]*`)
	quoted     = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	invocation = regexp.MustCompile(`(?:^|[\s(])(?:go run \./cmd/)?tasker((?: [^\n|;&#]*)?)`)
)

func TestCommandsInThePagesExist(t *testing.T) {
	h := &help{t: t, text: map[string]string{}}
	found := 0
	for _, p := range users(t) {
		p.inline(func(at, text string) {
			if text == "tasker" || strings.HasPrefix(text, "tasker ") || strings.HasPrefix(text, "go run ./cmd/tasker ") {
				found++
				h.check(at, strings.TrimPrefix(strings.TrimPrefix(text, "go run ./cmd/"), "tasker"))
			}
		})
		for _, f := range p.fences {
			if f.info != "" {
				continue // not for a terminal
			}
			for _, text := range strings.Split(f.text, "\n") {
				for _, m := range invocation.FindAllStringSubmatch(text, -1) {
					if h.begins(m[1]) {
						found++
						h.check(f.at(), m[1])
					}
				}
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d commands were found", found)
	}
}

// begins tells a command from prose about tasker.
func (h *help) begins(rest string) bool {
	words := strings.Fields(rest)
	return len(words) > 0 && h.has("", words[0])
}

// check looks up the verbs and the flags of a command line.
func (h *help) check(at, rest string) {
	h.t.Helper()
	verb := ""
	group := true
	for _, w := range strings.Fields(quoted.ReplaceAllString(rest, "X")) {
		switch name := flagName.FindString(w); {
		case name != "":
			if !regexp.MustCompile(`(?m)(^|[ ,])` + regexp.QuoteMeta(name) + `[ ,]`).MatchString(h.of(verb)) {
				h.t.Errorf("%s: tasker%s: %q has no flag %s", at, rest, strings.TrimSpace("tasker "+verb), name)
			}
		case group && word.MatchString(w):
			if !h.has(verb, w) {
				h.t.Errorf("%s: tasker%s: %q has no command %s", at, rest, strings.TrimSpace("tasker "+verb), w)
				return
			}
			verb = strings.TrimSpace(verb + " " + w)
			group = strings.Contains(h.of(verb), "Available Commands:")
		}
	}
}

// A flag that stands alone belongs to some command.
func TestFlagsInThePagesExist(t *testing.T) {
	h := &help{t: t, text: map[string]string{}}
	var all strings.Builder
	for _, verb := range []string{
		"run", "serve", "submit", "task list", "task show", "task cancel", "task annotate", "task fork", "step retry", "step complete", "events", "prune",
		"log skip", "status", "stuck", "doctor", "bench", "top", "token create", "context add", "top", "stats", "index rebuild", "token create", "context add",
		"definition apply", "definition graph", "definition show", "definition validate",
	} {
		all.WriteString(h.of(verb))
	}
	for _, p := range users(t) {
		if p.path == "CONTRIBUTING.md" || strings.HasSuffix(p.path, "docs/cli.md") { // which is made of the flags
			continue // those of go test
		}
		p.inline(func(at, text string) {
			if name := flagName.FindString(text); strings.HasPrefix(name, "--") &&
				!regexp.MustCompile(`(?m)(^|[ ,])`+regexp.QuoteMeta(name)+`[ ,]`).MatchString(all.String()) {
				t.Errorf("%s: no command has the flag %s", at, name)
			}
		})
	}
}
