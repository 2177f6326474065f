package yamldef_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/yamldef"
)

// shown is what a file became: the canonical body and the warnings, or the mistakes.
func shown(t *testing.T, f *yamldef.File, err error) string {
	t.Helper()
	var b bytes.Buffer
	if err != nil {
		b.WriteString(err.Error() + "\n")
	} else if err := json.Indent(&b, f.Definition.Body(), "", "  "); err != nil {
		t.Fatal(err)
	} else {
		b.WriteByte('\n')
	}
	for _, w := range f.Warnings {
		b.WriteString(w.WarningIn(f.Name) + "\n")
	}
	return b.String()
}

func TestFilesAreWhatTheirEnvironmentMakesThem(t *testing.T) {
	for _, tt := range []struct{ file, environment string }{
		{"tasker-everything.yaml", "development"}, {"tasker-everything.yaml", "production"},
		{"own-environments.yaml", "production"}, {"own-environments.yaml", "prodction"},
	} {
		t.Run(tt.file+" in "+tt.environment, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			f, err := yamldef.Read(tt.file, data, yamldef.Options{Environment: tt.environment})
			golden(t, "testdata/"+tt.file+"."+tt.environment+".golden", shown(t, f, err))
		})
	}
}

// The keys of SEMANTICS 7, second paragraph.
func TestTheFileOfEveryKeyHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/tasker-everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"name", "namespace_name", "version", "description", "task_handler_class", "module_namespace", "concurrent",
		"default_dependent_system", "named_steps", "schema", "handler_config", "custom_events", "environments", "step_templates",
	} {
		if !strings.Contains("\n"+string(data), "\n"+key+":") {
			t.Errorf("the file has no %s", key)
		}
	}
	for _, key := range []string{
		"handler_class", "description", "depends_on_step", "depends_on_steps", "default_retryable", "default_retry_limit", "skippable",
		"dependent_system", "handler_config", "custom_events",
	} {
		if !strings.Contains(string(data), "\n    "+key+":") {
			t.Errorf("no step has %s", key)
		}
	}
}

// An environment is part of what is loaded: the same file elsewhere is another content under the same version.
func TestEnvironmentsDifferInContentAndNotInName(t *testing.T) {
	hashes := map[string]string{}
	for _, environment := range []string{"", "development", "test", "production"} {
		f, err := yamldef.ReadFile("testdata/tasker-everything.yaml", yamldef.Options{Environment: environment})
		if err != nil {
			t.Fatal(err)
		}
		hashes[environment] = f.Definition.Hash()
		if f.Definition.FullName() != "fulfilment.fulfilment_ship_order@2.1.0" || f.Environment != environment {
			t.Errorf("%q: %s, %q", environment, f.Definition.FullName(), f.Environment)
		}
		if diff := cmp.Diff([]string{"development", "test", "production"}, f.Environments); diff != "" {
			t.Error(diff)
		}
	}
	if hashes["test"] != hashes[""] || hashes["development"] == hashes[""] || hashes["production"] == hashes[""] ||
		hashes["production"] == hashes["development"] {
		t.Errorf("hashes %v", hashes)
	}
}

func TestTaskersWordsMeanWhatOursMean(t *testing.T) {
	for name, tt := range map[string]struct{ theirs, ours string }{
		"names of keys": {
			"name: x\nnamespace_name: n\nstep_templates: [{name: a, handler_class: 'A::B', default_retryable: false, default_retry_limit: 2}]",
			"name: x\nnamespace: n\nsteps: [{name: a, handler: 'A::B', retryable: false, retry_limit: 2}]",
		},
		"what says nothing": {
			"name: x\ntask_handler_class: A::B\nmodule_namespace: M\nconcurrent: true\nnamed_steps: [a, b]\nsteps: [{name: a, handler: h}, {name: b, handler: h}]",
			"name: x\nsteps: [{name: a, handler: h}, {name: b, handler: h}]",
		},
		"null is left out": {
			"name: x\nconcurrent: ~\nnamed_steps: ~\nenvironments: ~\nhandler_config: ~\ndefault_dependent_system: ~\nidentity: ~\n" +
				"steps: [{name: a, handler: h, depends_on_step: ~, depends_on_steps: ~, handler_class: ~}]",
			"name: x\nsteps: [{name: a, handler: h}]",
		},
		"dependencies": {
			"name: x\nsteps: [{name: a, handler: h}, {name: b, handler: h}, {name: c, handler: h}, " +
				"{name: d, handler: h, depends_on: [c, a], depends_on_step: b, depends_on_steps: [a, b]}, {name: e, handler: h, depends_on_steps: a}]",
			"name: x\nsteps: [{name: a, handler: h}, {name: b, handler: h}, {name: c, handler: h}, " +
				"{name: d, handler: h, depends_on: [b, a, c]}, {name: e, handler: h, depends_on: a}]",
		},
		"the system": {
			"name: x\ndefault_dependent_system: s\nsteps: [{name: a, handler: h}, {name: b, handler: h, dependent_system: t}, {name: c, handler: h, dependent_system: ~}]",
			"name: x\nsteps: [{name: a, handler: h, dependent_system: s}, {name: b, handler: h, dependent_system: t}, {name: c, handler: h, dependent_system: s}]",
		},
		"the configuration, but not of handlers that are ours": {
			"name: x\nhandler_config: {k: {a: 1, b: 2}, l: [1]}\nsteps: [{name: a, handler: h}, {name: b, handler: h, handler_config: {k: {b: 3}, l: [2]}}, " +
				"{name: c, handler: h, handler_config: [7]}, {name: d, handler: log, handler_config: {message: hi}}, {name: e, command: x}, " +
				"{name: f, handler: sleep, handler_config: {duration: 1s}}]",
			"name: x\nsteps: [{name: a, handler: h, handler_config: {k: {a: 1, b: 2}, l: [1]}}, {name: b, handler: h, handler_config: {k: {a: 1, b: 3}, l: [2]}}, " +
				"{name: c, handler: h, handler_config: [7]}, {name: d, handler: log, handler_config: {message: hi}}, {name: e, command: x}, " +
				"{name: f, handler: sleep, handler_config: {duration: 1s}}]",
		},
		"JSON": {
			`{"name": "x", "task_handler_class": "T", "step_templates": [{"name": "a", "handler_class": "A::B"}], "environments": {"e": {}}}`,
			"name: x\nsteps: [{name: a, handler: 'A::B'}]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			theirs, err := yamldef.Read("theirs.yaml", []byte(tt.theirs), yamldef.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ours, err := yamldef.Load("ours.yaml", []byte(tt.ours))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(ours.Body()), string(theirs.Definition.Body())); diff != "" {
				t.Errorf("-ours +theirs:\n%s", diff)
			}
			if len(theirs.Warnings) > 0 {
				t.Errorf("warnings %v", theirs.Warnings)
			}
		})
	}
}

func TestEnvironmentsThatCannotBeAreRefused(t *testing.T) {
	const head = "name: x\nsteps: [{name: a, handler: h}, {name: b, handler: h}]\nenvironments:\n"
	for text, want := range map[string]string{
		"  e: {name: y}":                        "f.yaml:4:7: an environment cannot change name; a definition has one name and version everywhere",
		"  e: {namespace_name: y}":              "f.yaml:4:7: an environment cannot change namespace_name; a definition has one name and version everywhere",
		"  e: {environments: {f: {}}}":          "f.yaml:4:7: an environment cannot change environments; a definition has one name and version everywhere",
		"  e: {steps: [{name: c}]}":             `f.yaml:4:16: environment "e" changes an unknown step "c"; an environment changes steps and adds none`,
		"  e: {steps: [{handler: c}]}":          `f.yaml:4:15: a step of environment "e" has no name; steps are merged by name`,
		"  e: {steps: [a]}":                     "f.yaml:4:15: a step must be an object, not a string; it has the name of a step and what is different there",
		"  e: {steps: 7}":                       "f.yaml:4:7: steps must be a list, not a number; write it like steps: [{name: a, handler: log}]",
		"  e: {stpes: []}":                      `f.yaml:4:7: unknown key "stpes"; did you mean "steps"?`,
		"  e: []":                               `f.yaml:4:3: environment "e" must be an object, not a list; it holds what is different there`,
		"  f: {}":                               `f.yaml:3:1: there is no environment "e"; there are f`,
		"  {}":                                  `f.yaml:3:1: there is no environment "e"; there are none`,
		"  e: {steps: [], step_templates: []}":  "f.yaml:4:18: step_templates and steps are the same; leave one of the two out",
		"  e: {steps: [{name: a, handler: 1}]}": `f.yaml:4:25: handler must be a string, not a number; write it in quotes: "1"`,
	} {
		_, err := yamldef.Read("f.yaml", []byte(head+text), yamldef.Options{Environment: "e"})
		if err == nil || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
	// What is wrong with an environment does not matter elsewhere, and a file without any is the same in all.
	if _, err := yamldef.Read("f.yaml", []byte(head+"  e: {name: y}\n  f:"), yamldef.Options{Environment: "f"}); err != nil {
		t.Error(err)
	}
	if _, err := yamldef.Read("f.yaml", []byte("name: x\nsteps: [{name: a, handler: h}]"), yamldef.Options{Environment: "e"}); err != nil {
		t.Error(err)
	}
}

// What all steps share is written for each of them: a small file must not become a large one.
func TestWhatStepsShareHasALimit(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: x\nhandler_config: {a: " + strings.Repeat("x", 1<<20) + "}\nsteps:\n")
	for range 100 {
		b.WriteString("- {name: a, handler: h}\n")
	}
	_, err := yamldef.Load("a.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "more than 32 MiB with what its steps share") {
		t.Errorf("%.200v", err)
	}
}

func TestChecksSeeADefinitionThatIsWrongAndAreReportedWithTheRest(t *testing.T) {
	text := "name: x y\nschema: {type: strin}\nsteps:\n- {name: a, handler: h, depends_on: a}\n"
	find := func(message string) func(*domain.Definition) []domain.Problem {
		return func(d *domain.Definition) []domain.Problem {
			if d.Graph() != nil || d.Steps[0].Handler != "h" {
				t.Errorf("%+v", d)
			}
			return []domain.Problem{{Path: "steps[0].handler", Message: message}}
		}
	}
	f, err := yamldef.Read("f.yaml", []byte(text), yamldef.Options{Check: find("unknown"), Lint: find("odd")})
	if f.Definition != nil {
		t.Error("a file that is wrong has a definition")
	}
	want := `f.yaml:1:1: name "x y" has the character ' '; allowed are A-Z a-z 0-9 _ -
f.yaml:2:10: schema: /type: fits none of the alternatives (value must be one of 'array', 'boolean', 'integer', 'null', 'number', 'object', 'string'; or got string, want array); it is JSON Schema 2020-12, unless $schema names another draft
f.yaml:4:13: unknown
f.yaml:4:25: cycle: a -> a; leave one of these dependencies out
f.yaml:4:13: warning: odd
`
	if diff := cmp.Diff(want, shown(t, f, err)); diff != "" {
		t.Error(diff)
	}
}

// A file of thousands of mistakes is refused as fast as one of a hundred.
func TestManyNamesThatNobodyKnowsAreListedUpToALimit(t *testing.T) {
	var names, steps strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&names, "- a_rather_long_name_of_a_stop_%d\n", i)
		fmt.Fprintf(&steps, "- {name: a_rather_long_name_of_a_step_%d, handler: h}\n", i)
	}
	for _, text := range []string{
		"name: x\nnamed_steps:\n" + names.String() + "steps:\n" + steps.String(),
		"name: x\nsteps: [{name: a, handler: h}]\nenvironments: {e: {steps: [" + strings.ReplaceAll(strings.ReplaceAll(steps.String(), "- ", ""), "\n", ", ") + "]}}",
	} {
		_, err := yamldef.Read("f.yaml", []byte(text), yamldef.Options{Environment: "e"})
		var wrong *yamldef.Error
		if !errors.As(err, &wrong) || len(wrong.Problems) < domain.MaxProblems || len(wrong.Problems) > domain.MaxProblems+2 {
			t.Errorf("%.300v", err)
		}
	}
}
