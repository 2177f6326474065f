package domain_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

// TestCatalogueConstantsAndStructsAreTheSameSet holds together what Go does not: the constants, the types that
// implement Event, and the catalogue.
func TestCatalogueConstantsAndStructsAreTheSameSet(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants, order := map[string]string{}, []string{} // constant -> wire name
	implements := map[string]string{}                   // struct -> constant
	sealed := map[string]bool{}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				value, ok := spec.(*ast.ValueSpec)
				if !ok || len(value.Values) != 1 {
					continue
				}
				if typ, ok := value.Type.(*ast.Ident); ok && typ.Name == "EventType" {
					name, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					constants[value.Names[0].Name] = name
					order = append(order, name)
				}
			}
		case *ast.FuncDecl:
			if decl.Recv == nil {
				continue
			}
			receiver, ok := decl.Recv.List[0].Type.(*ast.Ident)
			if !ok {
				continue
			}
			switch decl.Name.Name {
			case "Type":
				implements[receiver.Name] = decl.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.Ident).Name
			case "event":
				sealed[receiver.Name] = true
			}
		}
	}

	var listed []string
	structs := map[string]bool{}
	for _, entry := range domain.Catalogue() {
		name := reflect.TypeOf(entry.Sample).Name()
		structs[name] = true
		listed = append(listed, string(entry.Type))
		if entry.Sample.Type() != entry.Type {
			t.Errorf("the sample of %s is a %s", entry.Type, entry.Sample.Type())
		}
		if got := constants[implements[name]]; got != string(entry.Type) {
			t.Errorf("%s is declared as %q and listed as %q", name, got, entry.Type)
		}
		if want := name + "Type"; implements[name] != want {
			t.Errorf("the constant of %s is called %s, want %s", name, implements[name], want)
		}
		if !regexp.MustCompile(`^[A-Z][^.]*\.$`).MatchString(entry.About) {
			t.Errorf("%s: %q is not one sentence", entry.Type, entry.About)
		}
		if entry.Version < 1 || len(entry.Appends) == 0 || len(entry.Reacts) == 0 {
			t.Errorf("%s: version %d, appended by %v, reacted to by %v", entry.Type, entry.Version, entry.Appends, entry.Reacts)
		}
		if !domain.KnownType(entry.Type) {
			t.Errorf("%s is not known", entry.Type)
		}
	}
	if diff := cmp.Diff(order, listed); diff != "" {
		t.Errorf("catalogue and constants (-constants +catalogue)\n%s", diff)
	}
	if diff := cmp.Diff(sealed, structs); diff != "" {
		t.Errorf("catalogue and implementations (-event.go +catalogue)\n%s", diff)
	}
	if !domain.KnownType("custom.order.paid") {
		t.Error("custom events are not known")
	}
	if domain.KnownType("task.hummed") || domain.KnownType("") || domain.KnownType("custom.") {
		t.Error("an unknown type is known")
	}
	if got := len(domain.Types()); got != len(listed) {
		t.Errorf("%d types of %d", got, len(listed))
	}
	got := domain.TypesOf(domain.StepFailed{}, domain.TaskPaused{}, domain.StepFailed{})
	if diff := cmp.Diff([]domain.EventType{domain.StepFailedType, domain.TaskPausedType}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCatalogueIsTheCallers(t *testing.T) {
	list := domain.Catalogue()
	list[0].Appends[0], list[0].About = "somebody", "changed"
	if again := domain.Catalogue()[0]; again.Appends[0] == "somebody" || again.About == "changed" {
		t.Error("a caller changed the catalogue")
	}
}

var createMissing = flag.Bool("rewrite", false, "create golden files that are missing; existing event fixtures never change")

// fixture is the event that testdata/events/<name>.json holds. What was written once can be read for ever: a fixture
// is added for a new type or version and never changed.
type fixture struct {
	name   string
	record domain.Record
}

var (
	fixtureTask = mustID("01890a5d-ac96-774b-bcce-b302099a8057")
	fixtureAt   = domain.Instant(1_769_846_400_000_000)
	fixtureJSON = domain.Inline(json.RawMessage(`{"dummy":true}`))
	fixtureBlob = domain.Payload{Blob: "sha256-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Size: 200_000}
)

func mustID(s string) domain.TaskID {
	id, err := domain.ParseTaskID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// fixtures has an event for each type and version, with every field set, and more where fields exclude each other. A
// field that is added later without a new version gets a fixture of its own.
func fixtures() []fixture {
	later := fixtureAt.Add(1_500_000_000)
	created := domain.TaskCreated{
		Namespace: "billing", Name: "dummy_task", Version: "1.2.0", Definition: "9f86d081884c7d659a2feaa0c55ad015",
		Context: fixtureJSON, Initiator: "ann", SourceSystem: "shop", Reason: "order 7", Tags: []string{"eu", "vip"},
		BypassSteps: []string{"step-two"}, Correlation: "req-42", Deadline: later, InputHash: 4_038_471_504,
	}
	completed := domain.StepCompleted{Step: "step-one", Attempt: 2, Result: fixtureJSON, Reason: "done by hand"}
	resolved := domain.StepResolvedManually{Step: "step-one", Result: fixtureJSON, Reason: "checked"}
	createdBlob, completedBlob, resolvedBlob := created, completed, resolved
	createdTrace := created
	createdTrace.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	createdFork := created
	createdFork.Forked = &domain.ForkedFrom{Task: mustID("01890a5d-ac96-774b-bcce-b302099a8058"), Position: domain.Position{Partition: 1, Sequence: 70, Index: 4}}
	inherited := domain.StepInherited{Step: "step-one", Result: fixtureJSON, From: domain.Position{Partition: 1, Sequence: 69, Index: 2}}
	inheritedBlob, inheritedSkipped, inheritedResolved := inherited, inherited, inherited
	inheritedBlob.Result = fixtureBlob
	inheritedSkipped.Result, inheritedSkipped.Skipped = domain.Payload{}, true
	inheritedResolved.Resolved = true
	createdBlob.Context, completedBlob.Result, resolvedBlob.Result = fixtureBlob, fixtureBlob, fixtureBlob

	var list []fixture
	add := func(suffix string, events ...domain.Event) {
		for _, ev := range events {
			r := domain.Record{Event: ev, At: fixtureAt + 345, By: "operator:ann", Cause: "03-76-2", Task: fixtureTask, Prev: 12,
				Position: domain.Position{Partition: 3, Sequence: 77}}
			list = append(list, fixture{string(ev.Type()) + ".v1" + suffix, r})
		}
	}
	add("",
		domain.PartitionOpened{Writer: "host-1-42", Engine: "0.1.0", LeastReader: 1},
		domain.PartitionSkipped{Sequence: 75, Reason: "written by a foreign tool"},
		domain.DefinitionAdopted{Hash: "9f86d081884c7d659a2feaa0c55ad015",
			Body: json.RawMessage(`{"name":"dummy_task","steps":[{"name":"step-one","handler":"dummy"}]}`)},
		created, domain.TaskStartRequested{}, domain.TaskReenqueued{Reason: domain.WaitPaused},
		domain.TaskDelayed{Reason: domain.WaitRetryBackoff, Until: later},
		domain.TaskCompleted{Result: fixtureJSON},
		domain.TaskFailed{Reason: domain.FailStepsInError, Steps: []string{"step-one", "step-two"}},
		domain.TaskRetryRequested{Reason: "fixed upstream", Deadline: later},
		domain.TaskCancelled{Reason: "not needed"}, domain.TaskResolvedManually{Reason: "refunded"},
		domain.TaskPaused{Reason: "maintenance"}, domain.TaskResumed{Reason: "maintenance is over"},
		domain.TaskAnnotated{Kind: "dummy-annotation", Step: "step-one", Round: 2, Annotation: json.RawMessage(`{"note":"x"}`)},
		inherited, domain.StepExecutionRequested{Step: "step-one", Attempt: 2, Until: later}, completed,
		domain.StepFailed{Step: "step-one", Attempt: 2, RetryAt: later, Error: domain.StepError{
			Message: "503 from \"shop\"\ntry later", Kind: domain.KindError, Code: "HTTP_503",
			Frames: []string{"main.charge charge.go:42", "main.main main.go:7"}}},
		domain.StepRetryRequested{Step: "step-one", NewRound: true, RetryLimit: 5, Inputs: json.RawMessage(`{"amount":7}`),
			Reason: "fixed upstream"},
		domain.StepCancelled{Step: "step-one", Reason: "not needed"}, resolved,
		domain.StepSkipped{Step: "step-one", Reason: "bypassed"},
		domain.TaskExpired{},
		domain.StepCheckpointed{Step: "step-one", Attempt: 2, Cursor: json.RawMessage(`{"page":7}`)},
		domain.StepProgressed{Step: "step-one", Attempt: 2, Done: 40, Total: 100, Message: "rows copied"},
		domain.StepLogAppended{Step: "step-one", Attempt: 2, Lines: []string{"first", "second \"line\""}, Dropped: 3},
		domain.Custom{Name: "order.paid", Step: "step-one", Attempt: 2, Data: json.RawMessage(`{"amount":7}`)},
	)
	add("-again", domain.TaskStartRequested{Again: true})
	add("-blob", createdBlob, domain.TaskCompleted{Result: fixtureBlob}, completedBlob, resolvedBlob, inheritedBlob)
	add("-from", domain.TaskCompleted{From: []string{"step-one", "step-four"}})
	add("-trace", createdTrace)
	add("-fork", createdFork)
	add("-skipped", inheritedSkipped)
	add("-resolved", inheritedResolved)
	add("-packed", domain.DefinitionAdopted{Hash: "9f86d081884c7d659a2feaa0c55ad015", Packed: []byte{0xab, 0x56, 0xfa, 0xff}})
	return list
}

func TestFixturesCoverEveryTypeVersionAndField(t *testing.T) {
	var names []string
	set := map[string]bool{}
	for _, fixture := range fixtures() {
		names = append(names, fixture.name+".json")
		v := reflect.ValueOf(fixture.record.Event)
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				set[v.Type().Name()+"."+v.Type().Field(i).Name] = true
			}
		}
	}
	for _, entry := range domain.Catalogue() {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(entry.Sample)) {
			if name := reflect.TypeOf(entry.Sample).Name() + "." + field.Name; !set[name] {
				t.Errorf("no fixture sets %s", name)
			}
		}
		for version := 1; version <= entry.Version; version++ {
			if want := string(entry.Type) + ".v" + strconv.Itoa(version) + ".json"; !slices.Contains(names, want) {
				t.Errorf("no fixture %s", want)
			}
		}
	}
	files, err := filepath.Glob("testdata/events/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(names, filepath.Base(file)) {
			t.Errorf("%s belongs to no event: a version that was written stays readable", file)
		}
	}
}

func TestFixturesAreReadAndWrittenForEver(t *testing.T) {
	head := `{"v":1,"id":"c","at":"2026-01-31T08:00:00.000000Z","tasks":[{"task":"` + fixtureTask.String() + `","prev":12,"events":[`
	const tail = `]}]}`
	for _, fixture := range fixtures() {
		t.Run(fixture.name, func(t *testing.T) {
			want := domain.Commit{ID: "c", At: fixtureAt, Partition: 3, Sequence: 77, Records: []domain.Record{fixture.record}}
			if fixture.record.By == domain.DefaultActor(fixture.record.Event.Type()) {
				want.Records[0].By = ""
			}
			encoded := string(domain.EncodeCommit(want))
			if !strings.HasPrefix(encoded, head) || !strings.HasSuffix(encoded, tail) {
				t.Fatalf("another envelope: %s", encoded)
			}
			event := strings.TrimSuffix(strings.TrimPrefix(encoded, head), tail)
			path := filepath.Join("testdata", "events", fixture.name+".json")
			golden, err := os.ReadFile(path)
			if os.IsNotExist(err) && *createMissing {
				golden = []byte(event + "\n")
				err = os.WriteFile(path, golden, 0o600)
			}
			if err != nil {
				t.Fatalf("%v (go test ./domain -run Fixtures -rewrite creates what is missing)", err)
			}
			golden = bytes.TrimSuffix(golden, []byte("\n"))
			if diff := cmp.Diff(string(golden), event); diff != "" {
				t.Errorf("the wire form changed: a stored event never does, make a new version (-golden +now)\n%s", diff)
			}
			got, err := domain.DecodeCommit([]byte(head+string(golden)+tail), 3, 77)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("it is read as something else (-want +got)\n%s", diff)
			}
		})
	}
}
