package yamldef

import (
	"os"
	"path/filepath"
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
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := Locate(path, problems).Error()
		want := path + ":5:5: the command is missing\n" + path + ":7:15: no such handler: use another"
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
	if got, want := Locate("gone.yaml", problems[:1]).Error(), "gone.yaml: no such handler: use another"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
