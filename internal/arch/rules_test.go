package arch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goMod replaces what the module below imports by empty packages, so that the go command needs no network.
const goMod = `module github.com/tasker-go/tasker

go 1.26

require (
	github.com/google/uuid v1.0.0
	github.com/nats-io/nats-server/v2 v2.0.0
	github.com/nats-io/nats.go v1.0.0
)

replace (
	github.com/google/uuid => ./_uuid
	github.com/nats-io/nats-server/v2 => ./_server
	github.com/nats-io/nats.go => ./_nats
)
`

// good is a small module in which every rule holds; each case of the test below changes it.
var good = map[string]string{
	"go.mod":            goMod,
	"_uuid/go.mod":      "module github.com/google/uuid\n",
	"_uuid/uuid.go":     "package uuid\n\nfunc New() int { return 0 }\nfunc NewSHA1() int { return 0 }\n",
	"_server/go.mod":    "module github.com/nats-io/nats-server/v2\n",
	"_server/server.go": "package server\n",
	"_nats/go.mod":      "module github.com/nats-io/nats.go\n",
	"_nats/nats.go":     "package nats\n",
	"domain/domain.go": `package domain

import (
	"time"

	"github.com/google/uuid"
)

type EventType string

const StepCompletedType EventType = "step.completed"
const TaskFailedType = EventType("task.failed")

type State uint8

const (
	Pending State = iota
	InProgress
)

const Other = 1

var Epoch, ID = time.Unix(0, 0), uuid.NewSHA1()
`,
	"domain/domain_test.go":                 "package domain\n\nimport (\n\t\"os\"\n\t\"time\"\n)\n\nvar now, args = time.Now(), os.Args\n",
	"projections/p.go":                      "package projections\n\nimport _ \"github.com/tasker-go/tasker/domain\"\n",
	"subscribers/machine.go":                "package subscribers\n\nimport \"github.com/tasker-go/tasker/domain\"\n\nvar x domain.State = domain.Other\n",
	"subscribers/machine_test.go":           "package subscribers\n\nimport \"github.com/tasker-go/tasker/domain\"\n\nvar y, s = domain.Pending, \"step.completed\"\n",
	"subscribers/executor/e.go":             "package executor\n\nimport \"time\"\n\nvar Now = time.Now\n",
	"subscribers/finalizer/f.go":            "package finalizer\n\nimport (\n\t\"github.com/tasker-go/tasker/domain\"\n\t_ \"github.com/tasker-go/tasker/subscribers\"\n)\n\nvar x = domain.Pending\n",
	"subscribers/finalizer/testdata/bad.go": "package types\n\nvar s = \"step.completed\"\n",
	"infra/natslog/n.go":                    "package natslog\n\nimport (\n\t_ \"github.com/nats-io/nats.go\"\n\t_ \"github.com/tasker-go/tasker/domain\"\n)\n",
	"infra/natsserver/n.go":                 "package natsserver\n\nimport _ \"github.com/nats-io/nats-server/v2\"\n",
	"engine.go":                             "package tasker\n\nimport (\n\t_ \"github.com/tasker-go/tasker/infra/natslog\"\n\t_ \"github.com/tasker-go/tasker/subscribers/executor\"\n)\n",
	"web/w.go":                              "package web\n",
	"cmd/tasker/main.go":                    "package main\n\nimport (\n\t_ \"github.com/tasker-go/tasker\"\n\t_ \"github.com/tasker-go/tasker/infra/natsserver\"\n\t_ \"github.com/tasker-go/tasker/web\"\n)\n\nfunc main() {}\n",
}

func TestEveryRuleFindsWhatBreaksIt(t *testing.T) {
	imports := func(name, path string) string { return "package " + name + "\n\nimport _ \"" + path + "\"\n" }
	const own = "github.com/tasker-go/tasker/"
	for name, c := range map[string]struct {
		file, content string
		rule          string // "" when nothing is broken
		says          string
	}{
		"nothing is wrong":                {"domain/more.go", "package domain\n", "", ""},
		"domain imports what is above":    {"domain/x.go", imports("domain", own+"internal/x"), "imports follow the arrows", "domain -> internal/x"},
		"domain imports a module":         {"domain/x.go", imports("domain", "github.com/nats-io/nats.go"), "imports follow the arrows", "domain -> github.com/nats-io/nats.go"},
		"domain does I/O":                 {"domain/x.go", imports("domain", "os"), "the domain imports what is pure", `domain/x.go:3: the domain imports "os"`},
		"domain below does I/O":           {"domain/graph/x.go", imports("graph", "net/http"), "the domain imports what is pure", `domain/graph/x.go:3`},
		"projections import infra":        {"projections/x.go", imports("projections", own+"infra/natslog"), "imports follow the arrows", "projections -> infra/natslog"},
		"projections import a module":     {"projections/x.go", imports("projections", "github.com/nats-io/nats.go"), "imports follow the arrows", "projections -> github.com"},
		"subscribers import infra":        {"subscribers/x.go", imports("subscribers", own+"infra/natslog"), "imports follow the arrows", "subscribers -> infra/natslog"},
		"subscribers import infra by way": {"subscribers/x.go", imports("subscribers", own+"internal/x"), "imports follow the arrows", "subscribers -> internal/x -> infra/natslog"},
		"subscribers import nats":         {"subscribers/executor/x.go", imports("executor", "github.com/nats-io/nats.go"), "imports follow the arrows", "subscribers/executor -> github.com/nats-io/nats.go"},
		"a sibling imports another":       {"subscribers/finalizer/x.go", imports("finalizer", own+"subscribers/executor"), "imports follow the arrows", "siblings react"},
		"infra imports subscribers":       {"infra/natslog/x.go", imports("natslog", own+"subscribers"), "imports follow the arrows", "infra/natslog -> subscribers"},
		"infra imports the face":          {"infra/x/x.go", imports("x", own[:len(own)-1]), "imports follow the arrows", "infra/x -> github.com/tasker-go/tasker"},
		"infra starts a server":           {"infra/x/x.go", imports("x", own+"infra/natsserver"), "imports follow the arrows", "only programs and tests"},
		"the face imports cmd":            {"x.go", imports("tasker", own+"taskertest"), "imports follow the arrows", "taskertest"},
		"the face links the UI":           {"x.go", imports("tasker", own+"web"), "imports follow the arrows", "only a program carries the UI"},
		"the UI imports the engine":       {"web/x.go", imports("web", own+"domain"), "imports follow the arrows", "the UI is files"},
		"the face links the server":       {"x.go", imports("tasker", own+"infra/natsserver"), "the face does not link the NATS server", "infra/natsserver -> github.com/nats-io/nats-server"},
		"the face imports the HTTP API":   {"x.go", imports("tasker", own+"httpapi"), "imports follow the arrows", "github.com/tasker-go/tasker -> httpapi"},
		"internals import the HTTP API":   {"internal/y/y.go", imports("y", own+"httpapi"), "imports follow the arrows", "above everything but programs"},
		"the HTTP API imports infra":      {"httpapi/x.go", imports("httpapi", own+"infra/natslog"), "imports follow the arrows", "serves what the face has"},
		"a program imports the HTTP API":  {"cmd/tasker/x.go", imports("main", own+"httpapi"), "", ""},
		"domain reads the clock":          {"domain/x.go", "package domain\n\nimport t \"time\"\n\nvar x = t.Now()\n", "pure packages have no clock and no randomness", "domain/x.go:5: time.Now"},
		"projections make ids":            {"projections/x.go", "package projections\n\nimport \"github.com/google/uuid\"\n\nvar x = uuid.New()\n", "pure packages have no clock and no randomness", "uuid.New"},
		"a reactor throws dice":           {"subscribers/finalizer/x.go", "package finalizer\n\nimport \"math/rand/v2\"\n\nvar x = rand.Int()\n", "pure packages have no clock and no randomness", "math/rand/v2.Int"},
		"a package named types":           {"infra/types/x.go", "package types\n", "packages are named for what they do", "named types"},
		"a folder named util":             {"internal/util/x.go", "package strange\n", "packages are named for what they do", "named util"},
		"a long file":                     {"infra/natslog/x.go", "package natslog\n" + strings.Repeat("\n", maxLines), "files are short", "infra/natslog/x.go has 451 lines"},
		"a long generated file":           {"infra/natslog/x.go", "// Code generated by a test. DO NOT EDIT.\n\npackage natslog\n" + strings.Repeat("\n", maxLines), "", ""},
		"an event's name":                 {"infra/natslog/x.go", "package natslog\n\nvar x = \"step.completed\"\n", "event names are written in the domain only", `infra/natslog/x.go:3: "step.completed" is domain.StepCompletedType`},
		"an event's name in backquotes":   {"x.go", "package tasker\n\nvar x = `task.failed`\n", "event names are written in the domain only", "domain.TaskFailedType"},
		"the coordinator names a state":   {"subscribers/x.go", "package subscribers\n\nimport law \"github.com/tasker-go/tasker/domain\"\n\nvar z = law.InProgress\n", "the coordinator names no state of task or step", "subscribers/x.go:5: domain.InProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, good)
			write(t, root, map[string]string{
				"internal/x/x.go":   imports("x", own+"infra/natslog"),
				"taskertest/t.go":   "package taskertest\n",
				"httpapi/auth/a.go": "package auth\n\nimport _ \"github.com/tasker-go/tasker\"\n",
				"httpapi/h.go":      "package httpapi\n\nimport _ \"github.com/tasker-go/tasker/domain\"\n",
				"internal/y/doc.go": "package y\n",
			})
			write(t, root, map[string]string{c.file: c.content})
			for rule, broken := range rules(load(t, root)) {
				found := slices.ContainsFunc(broken, func(b string) bool { return strings.Contains(b, c.says) })
				switch {
				case rule == c.rule && !found:
					t.Errorf("%s: found %q, want one that says %q", rule, broken, c.says)
				case c.rule == "" && len(broken) > 0:
					t.Errorf("%s: found %q, want nothing", rule, broken)
				}
			}
		})
	}
}

func TestListOfLongFilesIsKeptShort(t *testing.T) {
	root := t.TempDir()
	write(t, root, good)
	write(t, root, map[string]string{"infra/natslog/long.go": "package natslog\n" + strings.Repeat("\n", maxLines)})
	broken := load(t, root).lengths(map[string]string{
		"infra/natslog/long.go": "one table", // fine
		"infra/natslog/n.go":    "was long once",
		"infra/natslog/gone.go": "was there once",
	})
	if len(broken) != 2 || !strings.Contains(broken[0], "gone.go") || !strings.Contains(broken[1], "take it off") {
		t.Errorf("found %q", broken)
	}
}

func TestModuleWithoutTheLayersYet(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"go.mod": "module " + module + "\n\ngo 1.26\n", "infra/x/x.go": "package x\n\nvar s = \"\"\n"})
	for rule, broken := range rules(load(t, root)) {
		if len(broken) > 0 {
			t.Errorf("%s: found %q", rule, broken)
		}
	}
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
