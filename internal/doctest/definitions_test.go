package doctest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/yamldef"
)

// validators find mistakes in the handler_config of the built-in handlers; the validator of definitions knows sleep.
var validators = map[string]func(json.RawMessage) error{
	"exec": exechandler.Validate, "http": httphandler.Validate, "log": loghandler.Validate,
	domain.SleepHandler: func(json.RawMessage) error { return nil },
}

// A fence "yaml" is a whole definition, "yaml bad" one that is refused.
func TestDefinitionsInThePagesLoad(t *testing.T) {
	found := 0
	for _, p := range users(t) {
		for _, f := range p.fences {
			if f.info != "yaml" {
				continue
			}
			found++
			d, err := yamldef.Load("docs.yaml", []byte(f.text))
			if err != nil {
				t.Errorf("%s: %v", f.at(), err)
				continue
			}
			if _, err := jsonschema.Compile(d.Schema); err != nil {
				t.Errorf("%s: %v", f.at(), err)
			}
			for i := range d.Steps {
				if check := validators[d.Steps[i].Handler]; check == nil {
					t.Errorf("%s: step %s has a handler that readers do not have", f.at(), d.Steps[i].Name)
				} else if err := check(d.Steps[i].HandlerConfig); err != nil {
					t.Errorf("%s: step %s: %v", f.at(), d.Steps[i].Name, err)
				}
			}
		}
	}
	if found < 2 {
		t.Errorf("%d definitions were found", found)
	}
}

func TestTheExampleOfDefinitionsUsesEveryField(t *testing.T) {
	for _, f := range readPage(t, definitionsPage).fences {
		if f.info != "yaml" {
			continue
		}
		for _, list := range [][]string{keys(t, "definitionKeys"), keys(t, "stepKeys")} {
			for _, key := range list {
				if key != "retryable" && !strings.Contains(f.text, key+":") {
					t.Errorf("%s: the example has no %s", f.at(), key)
				}
			}
		}
		return // the first one has everything, later ones show one thing each
	}
	t.Error("the page has no example")
}

func TestMistakesAreReportedAsThePageShows(t *testing.T) {
	fences := readPage(t, definitionsPage).fences
	found := 0
	for i, f := range fences {
		if f.info != "yaml bad" {
			continue
		}
		found++
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "order.yaml"), []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd := exec.Command(tasker(t), "definition", "validate", "order.yaml")
		cmd.Dir, cmd.Stderr = dir, &out
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%s: exit %v, want 2", f.at(), err)
		}
		if diff := cmp.Diff(fences[i+1].text, out.String()); diff != "" {
			t.Errorf("%s: page and output differ (-page +output):\n%s", fences[i+1].at(), diff)
		}
	}
	if found == 0 {
		t.Error("no mistake is shown")
	}
}

// keys are those that the JSON form knows, read from its source; of a map, its keys.
func keys(t *testing.T, variable string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), "domain/definition_json.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != variable {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				e = pair.Key
			}
			text, err := strconv.Unquote(e.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, text)
		}
		return false
	})
	if len(list) == 0 {
		t.Fatalf("domain/definition_json.go has no variable %s", variable)
	}
	return list
}

// fieldTables are the headings of the tables of fields, with the variables that hold the keys of the code.
var fieldTables = map[string]string{
	"## Fields of a definition": "definitionKeys", "## Fields of a step": "stepKeys", "## Backoff": "backoffKeys",
	"## Identity": "identityKeys", "## Custom events": "customEventKeys",
}

func TestTablesOfFieldsNameEveryFieldAndItsTest(t *testing.T) {
	p := readPage(t, definitionsPage)
	for heading, variable := range fieldTables {
		var named []string
		for _, r := range p.tables(t, heading, "field", "type", "default") {
			named = append(named, code(r.first))
			tests := inlineCode.FindAllStringSubmatch(r.cells["enforced by"], -1)
			if len(tests) == 0 {
				t.Errorf("%s: no test is named for %s", r.at, r.first)
			}
			for _, m := range tests {
				if !testName.MatchString(m[1]) {
					t.Errorf("%s: %s is no test", r.at, m[1])
				}
			}
		}
		if diff := cmp.Diff(keys(t, variable), named); diff != "" {
			t.Errorf("%s, %q (-code +page):\n%s", p.path, heading, diff)
		}
	}
}

// The page has a meaning for every key of Tasker's files: those that are only theirs, and those that are ours as well.
func TestKeysOfTaskersFilesAreThoseOfThePage(t *testing.T) {
	p := readPage(t, definitionsPage)
	for column, variables := range map[string][2]string{
		"key of the file": {"taskerDefinitionKeys", "definitionKeys"}, "key of a step": {"taskerStepKeys", "stepKeys"},
	} {
		theirs, ours := keys(t, variables[0]), keys(t, variables[1])
		named := map[string]bool{}
		for _, r := range p.tables(t, "## Tasker's files", column, "meaning") {
			for _, m := range inlineCode.FindAllStringSubmatch(r.first, -1) {
				named[m[1]] = true
				if !slices.Contains(theirs, m[1]) && !slices.Contains(ours, m[1]) {
					t.Errorf("%s: nobody knows the key %s", r.at, m[1])
				}
			}
		}
		for _, key := range theirs {
			if !named[key] {
				t.Errorf("%s: %q has no row for %s", p.path, column, key)
			}
		}
	}
}

// defaults are what the validator fills in.
func defaults(t *testing.T) map[string]any {
	t.Helper()
	d, err := domain.ParseDefinition([]byte(`{"name":"d","steps":[{"name":"s","handler":"h","backoff":{"strategy":"exponential"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	standard, err := domain.ParseDefinition([]byte(`{"name":"d","steps":[{"name":"s","handler":"h"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s := d.Steps[0]
	hash, err := domain.ParseDefinition([]byte(`{"name":"d","steps":[{"name":"s","handler":"h"}],"identity":"hash"}`))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"## Fields of a definition namespace": d.Namespace, "## Fields of a definition version": d.Version,
		"## Fields of a definition on_failure": string(d.OnFailure), "## Fields of a definition identity": string(d.Identity.Strategy),
		"## Fields of a step retryable": !s.NotRetryable, "## Fields of a step retry_limit": s.RetryLimit,
		"## Fields of a step max_retry_after": s.MaxRetryAfter, "## Fields of a step timeout": s.Timeout,
		"## Fields of a step skippable": s.Skippable, "## Fields of a step optional": s.Optional,
		"## Backoff strategy": string(standard.Steps[0].Backoff.Strategy), "## Backoff base": s.Backoff.Base,
		"## Backoff factor": s.Backoff.Factor, "## Backoff max": s.Backoff.Max, "## Backoff jitter": s.Backoff.Jitter,
		"## Identity strategy": string(d.Identity.Strategy), "## Identity window": hash.Identity.Window,
	}
}

func TestDefaultsOfThePageAreThoseOfTheCode(t *testing.T) {
	want := defaults(t)
	p := readPage(t, definitionsPage)
	for heading := range fieldTables {
		for _, r := range p.tables(t, heading, "field", "type", "default") {
			cell, key := r.cells["default"], heading+" "+code(r.first)
			value, ok := want[key]
			if !ok {
				if strings.HasPrefix(cell, "`") {
					t.Errorf("%s: nothing is known of the default %s", r.at, cell)
				}
				continue
			}
			delete(want, key)
			text := fmt.Sprint(value)
			if d, ok := value.(time.Duration); ok {
				have, err := time.ParseDuration(code(cell))
				if err != nil || have != d {
					t.Errorf("%s: the default is %s, not %s", r.at, d, cell)
				}
			} else if code(cell) != text {
				t.Errorf("%s: the default is %s, not %s", r.at, text, cell)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("the page does not have the defaults %v", want)
	}
}

func TestWaitsOfThePageAreComputed(t *testing.T) {
	rows := readPage(t, definitionsPage).tables(t, "## Backoff", "backoff", "n = 1", "8")
	strategies := map[domain.Strategy]bool{}
	for _, r := range rows {
		text := "name: d\nsteps:\n  - name: s\n    handler: h\n    backoff: " + code(r.first) + "\n"
		d, err := yamldef.Load("row.yaml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", r.at, err)
			continue
		}
		b := d.Steps[0].Backoff
		b.Jitter = domain.NoJitter
		strategies[b.Strategy] = true
		for n := 1; n <= 8; n++ {
			column := fmt.Sprint(n)
			if n == 1 {
				column = "n = 1"
			}
			have, err := time.ParseDuration(r.cells[column])
			if want := b.Delay(n, 0.5); err != nil || have != want {
				t.Errorf("%s: n = %d: the wait is %s, not %s", r.at, n, want, r.cells[column])
			}
		}
	}
	if len(strategies) != 5 {
		t.Errorf("strategies %v", strategies)
	}
}

func TestTablesOfHandlersNameEveryKey(t *testing.T) {
	p := readPage(t, definitionsPage)
	for handler, validate := range validators {
		var named []string
		for _, r := range p.tables(t, "### "+handler, "key", "type", "default") {
			named = append(named, code(r.first))
		}
		var known string
		if handler == domain.SleepHandler {
			known = "duration" // the validator says: duration is the only one
			_, err := domain.ParseDefinition([]byte(`{"name":"d","steps":[{"name":"s","handler":"sleep","handler_config":{"nobody":1}}]}`))
			if err == nil || !strings.Contains(err.Error(), "duration is the only one") {
				t.Errorf("sleep says %v", err)
			}
		} else if err := validate(json.RawMessage(`{"nobody":1}`)); err != nil {
			_, known, _ = strings.Cut(err.Error(), "known are ")
		}
		if diff := cmp.Diff(strings.Split(known, ", "), named); diff != "" {
			t.Errorf("%s, handler %s (-code +page):\n%s", p.path, handler, diff)
		}
	}
}

func TestDefaultsOfHandlersAreThoseOfTheCode(t *testing.T) {
	p := readPage(t, definitionsPage)
	want := map[string]int64{
		"exec max_output": exechandler.DefaultMaxOutput, "exec max_stderr": exechandler.DefaultMaxStderr,
		"exec grace": int64(exechandler.DefaultGrace), "http max_response": httphandler.DefaultMaxResponse,
		"http timeout": int64(httphandler.DefaultTimeout),
	}
	for handler := range validators {
		for _, r := range p.tables(t, "### "+handler, "key", "type", "default") {
			name := handler + " " + code(r.first)
			value, ok := want[name]
			if !ok {
				continue
			}
			delete(want, name)
			text := code(r.cells["default"])
			have, err := quantity(text)
			if d, durationErr := time.ParseDuration(text); durationErr == nil {
				have, err = int64(d), nil
			}
			if err != nil || have != value {
				t.Errorf("%s: the default is %d, not %s (%v)", r.at, value, text, err)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("the page does not have the defaults %v", want)
	}
}

func TestNamesOfHandlersHaveTheLimitOfThePage(t *testing.T) {
	for n, ok := range map[int]bool{512: true, 513: false} {
		d := domain.Definition{Name: "d", Steps: []domain.StepTemplate{{Name: "s", Handler: strings.Repeat("h", n)}}}
		if err := d.Validate(); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// Warnings are shown in the page as the command prints them, below a definition that loads.
func TestWarningsAreThoseOfThePage(t *testing.T) {
	fences := readPage(t, definitionsPage).fences
	found := 0
	for i, f := range fences {
		if f.info != "yaml" || i+1 == len(fences) || !strings.Contains(fences[i+1].text, ": warning: ") {
			continue
		}
		found++
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "order.yaml"), []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd := exec.Command(tasker(t), "definition", "validate", "order.yaml")
		cmd.Dir, cmd.Stderr = dir, &out
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v", f.at(), err)
		}
		if diff := cmp.Diff(fences[i+1].text, out.String()); diff != "" {
			t.Errorf("%s: page and output differ (-page +output):\n%s", fences[i+1].at(), diff)
		}
	}
	if found == 0 {
		t.Error("no warning is shown")
	}
}
