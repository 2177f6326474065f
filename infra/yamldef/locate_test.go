package yamldef

import (
	"testing"

	"github.com/tasker-go/tasker/domain"
)

func TestProblemsFoundLaterHaveTheirPlaceInTheFile(t *testing.T) {
	problems := []domain.Problem{
		{Path: "steps[1].handler", Message: "no such handler", Hint: "use another"},
		{Path: "steps[0].handler_config.command", Message: "the command is missing"},
	}
	for name, text := range map[string]string{
		"a.yaml": "name: x\nsteps:\n  - name: a\n    handler: exec\n    handler_config:\n      env: {}\n  - {name: b, handler: nope}\n",
		"a.json": "{\"name\": \"x\",\n \"steps\": [{\"name\": \"a\",\n \"handler\": \"exec\",\n \n    \"handler_config\": {}},\n\n" +
			"        {     \"handler\": \"nope\", \"name\": \"b\"}]}",
	} {
		f, err := Read(name, []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := f.Locate(problems).Error()
		want := name + ":5:5: the command is missing\n" + name + ":7:15: no such handler; use another"
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestEveryPathLeadsToItsPlace(t *testing.T) {
	text := `name: x
schema:
  "odd key": {a.b: {c: [1, {"]": 2}]}}
steps:
  - &a {name: a, handler: h}
  - name: b
    handler: h
    handler_config: [*a]
`
	tree, problems := readYAML([]byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for path, want := range map[string]mark{
		"": {1, 1}, "name": {1, 1}, "schema": {2, 1}, `schema["odd key"]`: {3, 3}, `schema["odd key"]["a.b"]`: {3, 15},
		`schema["odd key"]["a.b"].c`: {3, 21}, `schema["odd key"]["a.b"].c[0]`: {3, 25}, `schema["odd key"]["a.b"].c[1]["]"]`: {3, 29},
		`schema["odd key"]["a.b"].c.1`: {3, 28}, "steps": {4, 1}, "steps[1]": {6, 5}, "steps[1].handler": {7, 5},
		"steps[1].handler_config[0]": {8, 22}, "steps[1].handler_config[0].name": {5, 9},
		// What leads nowhere ends at what is around it.
		"output": {1, 1}, "steps[2].name": {4, 1}, "steps[0].depends_on[3]": {5, 5}, "name[0].x": {1, 1}, "steps.x": {4, 1}, "[": {1, 1},
	} {
		if got := tree.spot(path).at; got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}
