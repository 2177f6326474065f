package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/watermill"
)

const watermillPage = "docs/watermill.md"

func init() { packages["watermill"] = "infra/watermill" } // its identifiers are checked, too

// What the page shows of programs is a part of one that runs.
func TestProgramsOfTheWatermillPageAreExamples(t *testing.T) {
	var runs strings.Builder
	for _, path := range []string{"infra/watermill/example_test.go", "examples/watermill-subscriber/main.go"} {
		text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		runs.WriteString(trimmed(string(text)))
	}
	shown := 0
	for _, f := range readPage(t, watermillPage).fences {
		if f.info != "go" {
			continue
		}
		shown++
		if !strings.Contains(runs.String(), trimmed(f.text)) {
			t.Errorf("%s: this is in no example", f.at())
		}
	}
	if shown < 5 {
		t.Errorf("only %d programs were found", shown)
	}
}

func TestWatermillPageNamesEveryKeyAndEveryVerb(t *testing.T) {
	named := map[string]bool{}
	readPage(t, watermillPage).inline(func(_, code string) { named[code] = true })
	for _, key := range []string{
		watermill.MetadataType, watermill.MetadataName, watermill.MetadataVersion, watermill.MetadataPosition, watermill.MetadataPartition,
		watermill.MetadataTime, watermill.MetadataTask, watermill.MetadataStep, watermill.MetadataAttempt, watermill.MetadataActor,
		watermill.MetadataCausation, watermill.MetadataCorrelation,
	} {
		if !named[key] {
			t.Errorf("the page does not name the key %q", key)
		}
	}
	for _, v := range domain.Verbs() {
		if !named[string(v)] {
			t.Errorf("the page does not name the verb %q", v)
		}
	}
}
