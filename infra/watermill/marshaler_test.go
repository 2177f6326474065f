package watermill

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
)

// fixtures are records with every event that was ever written.
func fixtures(t testing.TB) []domain.Record {
	t.Helper()
	paths, err := filepath.Glob("../../domain/testdata/events/*.json")
	if err != nil || len(paths) < 25 {
		t.Fatalf("%d fixtures: %v", len(paths), err)
	}
	id := domain.KeyedTaskID("a", "b", "c").String()
	var all []domain.Record
	for i, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		task := `"task":"` + id + `",`
		if name := filepath.Base(path); strings.HasPrefix(name, "partition.") || strings.HasPrefix(name, "definition.") {
			task = ""
		}
		c, err := domain.DecodeCommit([]byte(`{"v":1,"id":"x","at":"2026-01-31T08:00:00.000123Z","tasks":[{`+task+`"events":[`+string(text)+`]}]}`), 3, uint64(70+i))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		c.Records[0].Position.Index = i
		all = append(all, c.Records...)
	}
	return append(all, domain.Record{
		Task: domain.KeyedTaskID("a", "b", "c"), At: domain.InstantOf(time.Unix(1, 0)), Position: domain.Position{Partition: 63, Sequence: 1 << 40},
		Event: domain.Unknown{TypeName: "task.of_tomorrow", Version: 7, Step: "s", Attempt: 2, Data: json.RawMessage(`{"html":"<b>&</b>"}`)},
	})
}

func TestAMessageThatHasTravelledIsTheSameEvent(t *testing.T) {
	for _, r := range fixtures(t) {
		sent := newMessage(r, origin{cause: r.Cause, correlation: "c"})
		arrived := message.NewMessage(sent.UUID, append([]byte{}, sent.Payload...))
		for k, v := range sent.Metadata {
			arrived.Metadata.Set(k, v)
		}
		got, err := RecordOf(arrived)
		if err != nil {
			t.Errorf("%s: %v", r.Event.Type(), err)
			continue
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s (-sent +arrived):\n%s", r.Event.Type(), diff)
		}
	}
}

func TestEveryFactHasAGoTypeThatItIsUnmarshalledInto(t *testing.T) {
	for _, entry := range domain.Catalogue() {
		if got := (Marshaler{}).Name(entry.Sample); got != string(entry.Type) {
			t.Errorf("%T is called %q, want %q", entry.Sample, got, entry.Type)
		}
	}
	var e domain.TaskCompleted
	msg := newMessage(domain.Record{Event: domain.TaskFailed{}, At: 1}, origin{})
	err := Marshaler{}.Unmarshal(msg, &e)
	failure := &domain.Failure{}
	if !errors.As(err, &failure) || failure.Kind != domain.KindPermanent {
		t.Errorf("task.failed as a TaskCompleted: %v", err)
	}
}

func TestWhatIsNoEventIsRefusedForGood(t *testing.T) {
	good := newMessage(domain.Record{Event: domain.TaskCancelled{Reason: "r"}, At: domain.InstantOf(time.Unix(1, 0)), Position: domain.Position{Sequence: 1}}, origin{})
	if _, err := RecordOf(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*message.Message){
		"no metadata":            func(m *message.Message) { m.Metadata = nil },
		"no position":            func(m *message.Message) { m.Metadata.Set(MetadataPosition, "") },
		"a strange position":     func(m *message.Message) { m.Metadata.Set(MetadataPosition, "../../etc") },
		"no type":                func(m *message.Message) { m.Metadata.Set(MetadataType, "") },
		"a signal":               func(m *message.Message) { m.Metadata.Set(MetadataType, string(domain.SignalTaskStarted)) },
		"no time":                func(m *message.Message) { m.Metadata.Set(MetadataTime, "yesterday") },
		"no task":                func(m *message.Message) { m.Metadata.Set(MetadataTask, "7") },
		"no UUID":                func(m *message.Message) { m.UUID = "" },
		"a payload in pieces":    func(m *message.Message) { m.Payload = []byte(`{"reason":`) },
		"a payload that ends it": func(m *message.Message) { m.Payload = []byte(`{}}]}]}{`) },
		"a payload of bytes":     func(m *message.Message) { m.Payload = []byte{0, 1, 255} },
		"another field type":     func(m *message.Message) { m.Payload = []byte(`{"reason":7}`) },
	} {
		msg := good.Copy()
		spoil(msg)
		r, err := RecordOf(msg)
		failure := &domain.Failure{}
		if !errors.As(err, &failure) || failure.Kind != domain.KindPermanent {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := RecordOf(nil); err == nil {
		t.Error("no message is an event")
	}
}

func TestOnlyRequestsAreMarshalled(t *testing.T) {
	for _, fact := range []any{domain.TaskCreated{}, &domain.TaskCompleted{}, domain.Record{}, 7, nil} {
		if _, err := (Marshaler{}).Marshal(fact); !errors.Is(err, ErrFactsAreNotPublished) {
			t.Errorf("%T: %v", fact, err)
		}
	}
}

func FuzzRecordOf(f *testing.F) {
	for _, r := range fixtures(f) {
		m := newMessage(r, origin{})
		f.Add(m.UUID, m.Metadata.Get(MetadataType), m.Metadata.Get(MetadataPosition), []byte(m.Payload))
	}
	f.Fuzz(func(t *testing.T, uuid, typ, position string, payload []byte) {
		m := message.NewMessage(uuid, payload)
		m.Metadata.Set(MetadataType, typ)
		m.Metadata.Set(MetadataPosition, position)
		m.Metadata.Set(MetadataTime, "2026-01-31T08:00:00Z")
		if r, err := RecordOf(m); err == nil && utf8.ValidString(typ) && string(r.Event.Type()) != typ {
			t.Errorf("%q was read as %q", typ, r.Event.Type())
		}
	})
}

func TestCorrelationsOfManyTasksAreRememberedAndTheOldestForgotten(t *testing.T) {
	o := newOrigins(nil, false, nil)
	id := func(n int) domain.TaskID { return domain.TaskID{0: byte(n >> 16), 1: byte(n >> 8), 2: byte(n), 3: 1} }
	for n := range 3 * rememberedTasks {
		o.remember(id(n), domain.TaskCreated{})
	}
	for n, want := range map[int]bool{3*rememberedTasks - 1: true, 2*rememberedTasks - 1: true, rememberedTasks: true, rememberedTasks - 1: false, 0: false} {
		if got, found := o.recall(id(n)); found != want || found && got != id(n).String() {
			t.Errorf("task %d of %d: %q, %t", n, 3*rememberedTasks, got, found)
		}
	}
}
