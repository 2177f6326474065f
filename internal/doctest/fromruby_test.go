package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/yamldef"
)

const fromRubyPage = "docs/from-ruby-tasker.md"

// testdata/ruby-tasker.txt lists what Ruby Tasker has; every name of it begins a row below its heading, as one of several
// perhaps. "·" stands for a space in a name.
func TestEveryNameOfRubyTaskerHasARow(t *testing.T) {
	text, err := os.ReadFile("testdata/ruby-tasker.txt")
	if err != nil {
		t.Fatal(err)
	}
	p := readPage(t, fromRubyPage)
	heading, found := "", 0
	var rows map[string]bool
	for _, l := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(l, "## "):
			heading, rows = l, subjects(t, p, l)
		case strings.HasPrefix(l, "# "):
		default:
			for _, name := range strings.Fields(l) {
				found++
				if name = strings.ReplaceAll(name, "·", " "); !rows[name] {
					t.Errorf("%s: no row below %q is about %s", p.path, heading, name)
				}
			}
		}
	}
	if found < 500 {
		t.Errorf("only %d names were looked for", found)
	}
}

// subjects are what the rows below a heading are about: the code in their first cells, and in those of the column "table".
func subjects(t *testing.T, p page, heading string) map[string]bool {
	t.Helper()
	named := map[string]bool{}
	for _, r := range p.tables(t, heading) {
		for _, m := range inlineCode.FindAllStringSubmatch(r.first+r.cells["table"], -1) {
			named[m[1]] = true
		}
	}
	return named
}

// The page has a row for every key of Tasker's files that the code knows.
func TestKeysOfTaskersFilesHaveARow(t *testing.T) {
	rows := subjects(t, readPage(t, fromRubyPage), "## YAML keys")
	for _, variable := range []string{"taskerDefinitionKeys", "taskerStepKeys"} {
		for _, key := range keys(t, variable) {
			if !rows[key] {
				t.Errorf("%s has no row for the key %s", fromRubyPage, key)
			}
		}
	}
}

// eventNames are the constants of domain that name events: those of facts by the name of their struct, those of signals by
// their own.
func eventNames(t *testing.T) map[string]domain.EventType {
	t.Helper()
	constants, structs := map[string]domain.EventType{}, map[string]string{}
	for _, name := range []string{"event.go", "signal.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), "domain", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "EventType" {
					text, err := strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					constants[n.Names[0].Name] = domain.EventType(text)
				}
			case *ast.FuncDecl:
				if n.Recv != nil && n.Name.Name == "Type" {
					if result, ok := n.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.Ident); ok {
						structs[result.Name] = n.Recv.List[0].Type.(*ast.Ident).Name
					}
				}
			}
			return true
		})
	}
	names := map[string]domain.EventType{}
	for name, eventType := range constants {
		if fact, ok := structs[name]; ok {
			name = fact
		}
		names["domain."+name] = eventType
	}
	if want := len(domain.Types()) + len(domain.SignalCatalogue()); len(names) != want {
		t.Fatalf("%d names of %d events: %v", len(names), want, names)
	}
	return names
}

// Every fact and every signal stands in a row of the page, with its Go name beside it; and no row names an event that
// does not exist.
func TestEveryEventOfTheCodeHasARow(t *testing.T) {
	p := readPage(t, fromRubyPage)
	names := eventNames(t)
	shown := map[string]bool{}
	check := func(r row, cell string) {
		events := map[domain.EventType]bool{}
		var here []string
		for _, m := range inlineCode.FindAllStringSubmatch(cell, -1) {
			switch eventType, ok := names[m[1]]; {
			case ok:
				events[eventType] = true
				shown[m[1]] = true
			case strings.HasPrefix(m[1], "custom."), m[1] == "domain.Custom":
			default:
				here = append(here, m[1])
			}
		}
		for _, name := range here {
			if !events[domain.EventType(name)] {
				t.Errorf("%s: %s is no event, or its Go name is not beside it", r.at, name)
			}
		}
		if len(events) != len(here) {
			t.Errorf("%s: %d Go names for %d events", r.at, len(events), len(here))
		}
	}
	for _, r := range p.tables(t, "### Tasker's events", "Ruby Tasker", "here", "difference") {
		check(r, r.cells["here"])
		if !strings.Contains(r.cells["here"], "`") && r.cells["here"] != "gone" {
			t.Errorf("%s: %q is neither an event nor gone", r.at, r.cells["here"])
		}
	}
	for _, r := range p.tables(t, "### Events that are new", "event", "Go", "what for") {
		check(r, r.cells["event"]+r.cells["Go"])
	}
	for name, eventType := range names {
		if !shown[name] {
			t.Errorf("%s has no row for %s, %s", p.path, eventType, name)
		}
	}
}

// The components that a user of Tasker knows by name have a successor in the code and a test that shows it.
func TestComponentsHaveATest(t *testing.T) {
	p := readPage(t, fromRubyPage)
	classes := p.tables(t, "## Classes and modules", "class", "here", "shown by")
	for _, class := range []string{
		"Orchestration::Coordinator", "Orchestration::Orchestrator", "Orchestration::ViableStepDiscovery", "Orchestration::StepExecutor",
		"Orchestration::TaskFinalizer", "Orchestration::TaskReenqueuer", "Events::Subscribers::TelemetrySubscriber",
		"Concerns::IdempotentStateTransitions",
	} {
		i := slices.IndexFunc(classes, func(r row) bool { return strings.Contains(r.first, "`"+class+"`") })
		if i < 0 {
			t.Errorf("%s has no row for %s", p.path, class)
			continue
		}
		r := classes[i]
		if !link.MatchString(r.cells["here"]) {
			t.Errorf("%s: no file is named for %s", r.at, class)
		}
		if r.cells["shown by"] == "" {
			t.Errorf("%s: no test is named for %s", r.at, class)
		}
	}
	for _, heading := range []string{"## Classes and modules", "## Handlers", "## Errors", "## Defects that are gone"} {
		column := "Ruby Tasker"
		if heading == "## Classes and modules" {
			column = "class"
		}
		for _, r := range p.tables(t, heading, column, "here", "shown by") {
			tests := inlineCode.FindAllStringSubmatch(r.cells["shown by"], -1)
			if len(tests) == 0 && heading == "## Defects that are gone" {
				t.Errorf("%s: no test is named", r.at)
			}
			for _, m := range tests {
				if !testName.MatchString(m[1]) {
					t.Errorf("%s: %s is no test", r.at, m[1])
				}
			}
		}
	}
}

// What the page shows of Go stands in the example that the tests run, and its file is the one that the example reads.
func TestCodeForThoseWhoComeFromRubyIsThatOfTheExample(t *testing.T) {
	source, err := os.ReadFile("fromruby_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("testdata/refund.yaml")
	if err != nil {
		t.Fatal(err)
	}
	example := flat(string(source))
	found := 0
	fences := readPage(t, fromRubyPage).fences
	for i, f := range fences {
		switch f.info {
		case "go":
			found++
			if !strings.Contains(example, flat(f.text)) {
				t.Errorf("%s: the example does not hold this code", f.at())
			}
		case "yaml tasker":
			found++
			if diff := cmp.Diff(string(file), f.text); diff != "" {
				t.Errorf("%s: page and testdata/refund.yaml differ (-file +page):\n%s", f.at(), diff)
			}
			read, err := yamldef.Read("refund.yaml", file, yamldef.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var warnings strings.Builder
			for _, w := range read.Warnings {
				warnings.WriteString(w.WarningIn(read.Name) + "\n")
			}
			if diff := cmp.Diff(warnings.String(), fences[i+1].text); diff != "" {
				t.Errorf("%s: page and warnings differ (-warnings +page):\n%s", fences[i+1].at(), diff)
			}
		}
	}
	if found != 4 {
		t.Errorf("%d pieces of code were found", found)
	}
}

// flat is code without its indentation.
func flat(code string) string {
	lines := strings.Split(code, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
