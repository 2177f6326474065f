package doctest

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

func TestWirePageCommitIsOne(t *testing.T) {
	for _, f := range readPage(t, wirePage).fences {
		if f.info != "json" || !strings.HasPrefix(f.text, `{"v"`) {
			continue
		}
		c, err := domain.DecodeCommit([]byte(f.text), 1, 77)
		if err != nil {
			t.Fatalf("%s: %v", f.at(), err)
		}
		if got := c.Records[1].ID(); got != "01-77-1" {
			t.Errorf("%s: the second event is %s, and the text says 01-77-1", f.at(), got)
		}
		if got := projections.Causes(c.Records)[1]; got != "01-77-0" {
			t.Errorf("%s: the task fails because of %s", f.at(), got)
		}
		return
	}
	t.Error("the page shows no commit")
}

// Every example on the page is an event, read as the page says.
func TestWirePageEventsAreRead(t *testing.T) {
	head := `{"v":1,"id":"c","at":"2026-01-31T08:00:00Z","tasks":[{"task":"01890a5d-ac96-774b-bcce-b302099a8057","events":[`
	read := map[domain.EventType]bool{}
	for _, f := range readPage(t, wirePage).fences {
		if f.info != "json" || !strings.HasPrefix(f.text, `{"type"`) {
			continue
		}
		c, err := domain.DecodeCommit([]byte(head+f.text+`]}]}`), 0, 1)
		if err != nil {
			t.Fatalf("%s: %v", f.at(), err)
		}
		if err := c.Records[0].Unreadable(); err != nil {
			t.Errorf("%s: %v", f.at(), err)
		}
		read[c.Records[0].Event.Type()] = true
	}
	for _, typ := range append(domain.Types(), "custom.order.paid") {
		if !read[typ] {
			t.Errorf("the page has no example of %s", typ)
		}
	}
}

// The partitions are computed as a reader would, with another program's FNV.
func TestWirePagePartitionsOfTasks(t *testing.T) {
	for _, r := range readPage(t, wirePage).tables(t, "## The log", "task", "hash", "of 2", "of 16") {
		id, err := domain.ParseTaskID(code(r.first))
		if err != nil {
			t.Errorf("%s: %v", r.at, err)
			continue
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(id.String()))
		want := map[string]string{
			"task": r.first, "hash": fmt.Sprint(h.Sum32()), "of 2": fmt.Sprint(h.Sum32() % 2), "of 16": fmt.Sprint(h.Sum32() % 16),
		}
		if diff := cmp.Diff(want, r.cells); diff != "" {
			t.Errorf("%s (-want +page):\n%s", r.at, diff)
		}
		if id.Partition(16) != int(h.Sum32()%16) {
			t.Errorf("the engine puts %s into partition %d of 16", id, id.Partition(16))
		}
	}
}

func TestWirePageNamesEveryFieldOfARequest(t *testing.T) {
	p := readPage(t, wirePage)
	if diff := cmp.Diff(jsonNames(reflect.TypeFor[domain.IntakeRequest]()), firstCodes(p.tables(t, "## The intake", "field", "type"))); diff != "" {
		t.Errorf("fields of a request (-code +page):\n%s", diff)
	}
	answer := map[string]bool{}
	for _, r := range p.tables(t, "## The intake", "field") {
		for _, m := range inlineCode.FindAllStringSubmatch(r.first+r.cells[""], -1) {
			answer[m[1]] = true
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[domain.IntakeAnswer](), reflect.TypeFor[domain.IntakeError]()} {
		for name := range jsonNames(typ) {
			if !answer[name] {
				t.Errorf("the page does not explain %s of an answer", name)
			}
		}
	}
	for _, header := range []string{domain.HeaderReplyTo, domain.HeaderMessageID, domain.HeaderCorrelation, domain.HeaderTraceparent} {
		if !firstCodes(p.tables(t, "## The intake", "header"))[header] {
			t.Errorf("the page does not explain the header %s", header)
		}
	}
}

// jsonNames are the members of a struct in JSON.
func jsonNames(of reflect.Type) map[string]bool {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

// firstCodes is the inline code in the first cells of the rows.
func firstCodes(rows []row) map[string]bool {
	names := map[string]bool{}
	for _, r := range rows {
		for _, m := range inlineCode.FindAllStringSubmatch(r.first, -1) {
			names[m[1]] = true
		}
	}
	return names
}

func TestWirePageNamesEveryAttributeOfTheFeed(t *testing.T) {
	full := domain.CloudEvent{
		ID: "x", Source: "x", Type: "x", Subject: "x", Time: 1, Position: "x", Version: 1, Step: "x", Attempt: 1, Actor: "x", Causation: "x",
		PartitionKey: "x", Correlation: "x", Namespace: "x", Definition: "x", DefinitionVersion: "x",
	}
	want := map[string]bool{}
	for name := range full.Attributes() {
		want[name] = true
	}
	if n := reflect.TypeFor[domain.CloudEvent]().NumField(); len(want) != n+1 { // all but Data; specversion and datacontenttype besides
		t.Errorf("%d attributes of %d fields: set every field here", len(want), n)
	}
	if diff := cmp.Diff(want, firstCodes(readPage(t, wirePage).tables(t, "## The feed", "attribute"))); diff != "" {
		t.Errorf("attributes (-code +page):\n%s", diff)
	}
}

// A code that an answer may have stands in the source where errors are told apart.
func TestWirePageNamesEveryErrorCode(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root(t), "intake_submission.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range regexp.MustCompile(`code: "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		want[m[1]] = true
	}
	if diff := cmp.Diff(want, firstCodes(readPage(t, wirePage).tables(t, "## The intake", "`error.code`"))); diff != "" || len(want) == 0 {
		t.Errorf("codes (-code +page):\n%s", diff)
	}
}

// The session on the page prints what it says, and the page names every stream that it leaves behind.
func TestTranscriptOfTheWirePage(t *testing.T) {
	s := replay(t, wirePage, "examples/nats-cli")
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	readPage(t, wirePage).inline(func(_, text string) { named[text] = true })
	list := js.StreamNames(s.ctx)
	streams := 0
	for name := range list.Name() {
		streams++
		shown := strings.NewReplacer("TASKER_LOG_1_00", "TASKER_LOG_<g>_<pp>", "KV_", "", "OBJ_", "").Replace(name)
		if !named[shown] {
			t.Errorf("the page does not name the stream %s", name)
		}
	}
	if err := list.Err(); err != nil || streams < 8 {
		t.Errorf("%d streams: %v", streams, err)
	}
}

func TestTranscriptOfTheCommandLineExample(t *testing.T) {
	replay(t, "examples/nats-cli/README.md", "examples/nats-cli")
}
