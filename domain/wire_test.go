package domain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

func TestEncoderWritesWhatEncodingJSONWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommit(t)
		got := domain.EncodeCommit(c)
		if diff := cmp.Diff(commitJSON(c), parseJSON(got)); diff != "" {
			t.Fatalf("%s\n(-want +got)\n%s", got, diff)
		}
	})
}

func TestDecodingUndoesEncoding(t *testing.T) {
	var d domain.Decoder
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommit(t)
		got, err := d.Decode(domain.EncodeCommit(c), c.Partition, c.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

// The order of keys, white space, escapes and unknown keys mean nothing: whatever encoding/json writes of the same
// values is the same commit.
func TestDecoderReadsWhatAnyOtherWriterWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommit(t)
		value := commitJSON(c).(map[string]any)
		value["later"] = map[string]any{"v": []any{2, "x"}}
		for _, group := range value["tasks"].([]any) {
			group.(map[string]any)["aa"] = "early"
			group.(map[string]any)["zz"] = []any{"late"}
			for _, ev := range group.(map[string]any)["events"].([]any) {
				ev.(map[string]any)["another"] = nil
			}
		}
		text, err := json.MarshalIndent(value, "\t", " ")
		if err != nil {
			t.Fatal(err)
		}
		got, err := domain.DecodeCommit(text, c.Partition, c.Sequence)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		payloads := cmp.Transformer("value", func(raw json.RawMessage) any { return parseJSON(raw) })
		sizes := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Size" }, cmp.Ignore())
		if diff := cmp.Diff(c, got, cmp.FilterValues(func(a, b json.RawMessage) bool {
			return json.Valid(a) && json.Valid(b)
		}, payloads), sizes); diff != "" {
			t.Fatalf("%s\n(-want +got)\n%s", text, diff)
		}
	})
}

func TestEncoderGroupsConsecutiveRecordsOfATask(t *testing.T) {
	a, b := wireTasks[1], wireTasks[2]
	c := domain.Commit{ID: "c-1", At: 1_700_000_000_000_000, Records: []domain.Record{
		{Event: domain.PartitionOpened{Writer: "w", Engine: "0.1.0"}, At: 1_700_000_000_000_000},
		{Event: domain.TaskStartRequested{}, At: 1_700_000_000_000_000, Task: a, Prev: 4},
		{Event: domain.StepExecutionRequested{Step: "one", Attempt: 1}, At: 1_700_000_000_000_007, Task: a, Prev: 4},
		{Event: domain.StepCompleted{Step: "two", Attempt: 2, Result: domain.Inline(json.RawMessage(`{"x":1}`))},
			At: 1_700_000_000_000_009, By: "handler", Cause: "00-4-1", Task: b},
		{Event: domain.StepCompleted{Step: "two", Attempt: 1, Result: domain.Payload{Blob: "sha256-ab", Size: 9}},
			At: 1_700_000_000_000_000, By: "operator", Task: a, Prev: 4},
	}}
	want := `{"v":1,"id":"c-1","at":"2023-11-14T22:13:20.000000Z","tasks":[` +
		`{"events":[{"type":"partition.opened","data":{"writer":"w","engine":"0.1.0"}}]},` +
		`{"task":"` + a.String() + `","prev":4,"events":[{"type":"task.start_requested"},` +
		`{"type":"step.execution_requested","step":"one","us":7}]},` +
		`{"task":"` + b.String() + `","events":[` +
		`{"type":"step.completed","step":"two","attempt":2,"us":9,"cause":"00-4-1","data":{"result":{"x":1}}}]},` +
		`{"task":"` + a.String() + `","prev":4,"events":[{"type":"step.completed","step":"two","by":"operator",` +
		`"data":{"result_ref":{"blob":"sha256-ab","size":9}}}]}]}`
	if diff := cmp.Diff(want, string(domain.EncodeCommit(c))); diff != "" {
		t.Error(diff)
	}
}

func TestEncoderIsReusable(t *testing.T) {
	var e domain.Encoder
	e.Add(domain.Record{Event: domain.TaskStartRequested{}})
	if got, want := string(e.Finish("x")), `{"v":1,"id":"x","at":"","tasks":[{"events":[{"type":"task.start_requested"}]}]}`; got != want {
		t.Errorf("without Begin: %s", got)
	}
	e.Begin(0)
	if got, want := string(e.Finish("x")), `{"v":1,"id":"x","at":"","tasks":[]}`; got != want {
		t.Errorf("empty: %s", got)
	}
	long := strings.Repeat("long", 100)
	e.Begin(0)
	if got, want := string(e.Finish(long)), `{"v":1,"id":"`+long+`","at":"","tasks":[]}`; got != want {
		t.Errorf("long id: %s", got)
	}
	c := dummyCommits(3, 4)[1]
	for range 2 {
		e.Begin(c.At)
		for i, r := range c.Records {
			if e.Count() != i {
				t.Errorf("%d records, want %d", e.Count(), i)
			}
			e.Add(r)
		}
		bound := e.Len()
		got := e.Finish(c.ID)
		if !bytes.Equal(got, domain.EncodeCommit(c)) {
			t.Errorf("a second use gives something else: %s", got)
		}
		if bound < len(got) || bound > len(got)+128 {
			t.Errorf("Len said %d, it became %d", bound, len(got))
		}
	}
}

func TestEncoderDoesNotAllocate(t *testing.T) {
	c := domain.Commit{ID: "0190b2c4-7c39-7d5e-9c34-0a9f8d9f1b2a", At: 1_700_000_000_000_000}
	for _, entry := range domain.Catalogue() {
		c.Records = append(c.Records, domain.Record{Event: entry.Sample, At: c.At + 5, Task: wireTasks[1], Prev: 7,
			By: "operator:ünn\n", Cause: "00-1-1"})
	}
	for _, dummy := range dummyCommits(2, 4) {
		c.Records = append(c.Records, dummy.Records...)
	}
	var e domain.Encoder
	encode := func() {
		e.Begin(c.At)
		for i := range c.Records {
			e.Add(c.Records[i])
		}
		e.Finish(c.ID)
	}
	encode()
	if n := testing.AllocsPerRun(100, encode); n != 0 {
		t.Errorf("%v allocations per commit of %d records", n, len(c.Records))
	}
}

const emptyCommit = `{"v":1,"id":"x","at":"2026-01-31T08:00:00Z","tasks":[]}`

func oneEvent(event string) string {
	return `{"v":1,"id":"x","at":"2026-01-31T08:00:00Z","tasks":[{"task":"01890a5d-ac96-774b-bcce-b302099a8057",` +
		`"events":[` + event + `]}]}`
}

func TestMessagesThatAreNoCommitSayWhatIsWrongWhere(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", ``, "offset 0: the text ends where '{'"},
		{"another shape", `[1]`, `offset 0: '[' where '{'`},
		{"null", `null`, `no version "v"`},
		{"an object", `{}`, `no version "v"`},
		{"version 0", strings.Replace(emptyCommit, `"v":1`, `"v":0`, 1), `no version "v"`},
		{"no id", strings.Replace(emptyCommit, `"id":"x",`, ``, 1), `no "id"`},
		{"no time", strings.Replace(emptyCommit, `"at"`, `"when"`, 1), `no time "at"`},
		{"no tasks", strings.Replace(emptyCommit, `"tasks"`, `"jobs"`, 1), `no "tasks"`},
		{"tasks twice", strings.Replace(emptyCommit, `}`, `,"tasks":[]}`, 1), `a second "tasks"`},
		{"cut", emptyCommit[:len(emptyCommit)-1], "offset 54: the text ends where ',' or '}'"},
		{"two", emptyCommit + emptyCommit, "offset 55: '{' where the end"},
		{"bad time", strings.Replace(emptyCommit, "08:00", "8 Uhr", 1), "offset 21: time"},
		{"far time", strings.Replace(emptyCommit, "2026-01-31T08:00:00Z", "0000-01-01T00:00:00+14:00", 1), "years"},
		{"bad task", strings.Replace(oneEvent(``), "bcce", "bxce", 1), `offset 61: task id`},
		{"dashes in a task id", strings.Replace(oneEvent(``), "9a8057\"", "9a80-7\"", 1), "task id"},
		{"trailing comma", oneEvent(`{"type":"x",}`), "'}' where a key"},
		{"no comma", oneEvent(`{"type":"x" "v":1}`), `'"' where ',' or '}'`},
		{"no colon", oneEvent(`{"type" "x"}`), "':'"},
		{"no type", oneEvent(`{"step":"x"}`), `an event without "type"`},
		{"events twice", strings.Replace(oneEvent(``), `[]`, `[],"events":[]`, 1), `a second "events"`},
		{"a number for a name", oneEvent(`{"type":"step.skipped","step":4}`), "'4' where a string"},
		{"fraction", oneEvent(`{"type":"step.completed","attempt":1.5}`), "1.5 is not an integer of 64 bits"},
		{"negative attempt", oneEvent(`{"type":"step.completed","attempt":-1}`), "attempt -1"},
		{"bad field", oneEvent(`{"type":"partition.skipped","data":{"sequence":-1}}`), "-1 is not an integer"},
		{"bad base64", oneEvent(`{"type":"definition.adopted","data":{"packed":"?"}}`), "illegal base64"},
		{"bad payload", oneEvent(`{"type":"task.completed","data":{"result":tru}}`), "a value"},
		{"leading zero", oneEvent(`{"type":"task.completed","data":{"result":01}}`), "'1' where"},
		{"control character", oneEvent("{\"type\":\"a\nb\"}"), `control character '\n'`},
		{"bad escape", oneEvent(`{"type":"a\qb"}`), "bad escape"},
		{"half escape", oneEvent(`{"type":"a\u12`), "bad escape"},
		{"deep", oneEvent(`{"type":"x","data":` + strings.Repeat("[", 20_000)), "nested more than 9000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := domain.DecodeCommit([]byte(tt.text), 3, 77)
			if !errors.Is(err, domain.ErrNotACommit) {
				t.Fatalf("not ErrNotACommit: %v", err)
			}
			for _, want := range []string{tt.want, "message 77 of partition 3", "at offset"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestCommitOfALaterFormatIsNotCalledBroken(t *testing.T) {
	for _, text := range []string{
		strings.Replace(emptyCommit, `"v":1`, `"v":2`, 1),
		`{"tasks":"another shape","v":2}`,
	} {
		_, err := domain.DecodeCommit([]byte(text), 0, 1)
		var later *domain.CommitVersionError
		if !errors.As(err, &later) || later.Version != 2 || later.Newest != domain.CommitVersion {
			t.Errorf("%s: %v", text, err)
		}
		if errors.Is(err, domain.ErrNotACommit) {
			t.Errorf("%s: may be skipped: %v", text, err)
		}
	}
}

func TestUnknownEventLeavesTheRestOfTheCommitReadable(t *testing.T) {
	text := oneEvent(`{"type":"step.teleported","step":"a","attempt":3,"data":{"to": [1,"x"]}},` +
		`{"data":{"result":1,"kind":{}},"type":"task.failed","v":2,"by":"operator"},` +
		`{"type":"task.hummed"},` +
		`{"type":"task.paused","data":{"reason":"lunch","until":"noon"}}`)
	c, err := domain.DecodeCommit([]byte(text), 3, 77)
	if err != nil {
		t.Fatal(err)
	}
	var events []domain.Event
	for _, r := range c.Records {
		events = append(events, r.Event)
	}
	if diff := cmp.Diff([]domain.Event{
		domain.Unknown{TypeName: "step.teleported", Version: 1, Step: "a", Attempt: 3,
			Data: json.RawMessage(`{"to": [1,"x"]}`)},
		domain.Unknown{TypeName: "task.failed", Version: 2, Data: json.RawMessage(`{"result":1,"kind":{}}`)},
		domain.Unknown{TypeName: "task.hummed", Version: 1},
		domain.TaskPaused{Reason: "lunch"},
	}, events); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	var unknown *domain.UnknownEventError
	if err := c.Records[1].Unreadable(); !errors.As(err, &unknown) || unknown.Type != "task.failed" ||
		unknown.Version != 2 || unknown.Task != c.Records[1].Task || unknown.Position != c.Records[1].Position {
		t.Errorf("%v", err)
	} else if want := "event 03-77-1 of task 01890a5d-ac96-774b-bcce-b302099a8057 is a task.failed of version 2"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if err := c.Records[3].Unreadable(); err != nil {
		t.Errorf("a known event: %v", err)
	}
	again, err := domain.DecodeCommit(domain.EncodeCommit(c), 3, 77)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestStringsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	for _, text := range []string{
		`"plain"`, `""`, `"\"\\\/\b\f\n\r\t"`, `"\u00fc\uD83D\ude80"`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`,
		`"\ude80\ud83d\ude80"`, `"ü🚀"`, "\"\xff\xfe a\"", "\"\xf0\x9f\\n\"", `"\u0000"`, "\"\u2028\x7f\"",
	} {
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		c, err := domain.DecodeCommit([]byte(oneEvent(`{"type":"task.paused","data":{"reason":`+text+`}}`)), 0, 1)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := c.Records[0].Event.(domain.TaskPaused).Reason; got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestDecodedCommitSharesNoMemoryWithTheMessage(t *testing.T) {
	message := domain.EncodeCommit(dummyCommits(1, 4)[0])
	c, err := domain.DecodeCommit(message, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	before := domain.EncodeCommit(c)
	for i := range message {
		message[i] = '#'
	}
	if after := domain.EncodeCommit(c); !bytes.Equal(before, after) {
		t.Errorf("it changed with the message:\n%s", after)
	}
	id := uintptr(unsafe.Pointer(unsafe.StringData(c.ID)))
	if base := uintptr(unsafe.Pointer(&message[0])); id >= base && id < base+uintptr(len(message)) {
		t.Error("the id keeps the message alive")
	}
}

func TestCompactJSON(t *testing.T) {
	for _, tt := range []struct{ in, want, problem string }{
		{in: `{"a":[1,2]}`, want: `{"a":[1,2]}`},
		{in: " {\n\t\"a b\" : [ 1 , \"c  d\" ]\r\n} ", want: `{"a b":[1,"c  d"]}`},
		{in: `null`, want: `null`},
		{in: "\"\u2028<\"", want: "\"\u2028<\""},
		{in: strings.Repeat("[", 500) + strings.Repeat("]", 500), want: strings.Repeat("[", 500) + strings.Repeat("]", 500)},
		{in: ``, problem: "offset 0: the text ends where a value"},
		{in: `{"a":1`, problem: "offset 6: the text ends"},
		{in: `{"a":1}]}`, problem: "offset 7: ']' where the end"},
		{in: "\"a\nb\"", problem: "offset 2: control character"},
		{in: "\"\xff\"", problem: "not UTF-8"},
		{in: strings.Repeat("[", 501) + strings.Repeat("]", 501), problem: "offset 500: nested more than 500"},
		{in: `"` + strings.Repeat("x", domain.MaxPayload-1) + `"`, problem: "16777217 bytes, at most 16777216"},
		{in: strings.Repeat(" ", domain.MaxPayload) + `1`, want: `1`},
	} {
		got, err := domain.CompactJSON(json.RawMessage(tt.in))
		switch {
		case tt.problem == "" && err != nil:
			t.Errorf("%.40q: %v", tt.in, err)
		case tt.problem == "" && string(got) != tt.want:
			t.Errorf("%.40q: %s", tt.in, got)
		case tt.problem != "" && (!errors.Is(err, domain.ErrPayload) || !strings.Contains(err.Error(), tt.problem)):
			t.Errorf("%.40q: %v", tt.in, err)
		}
	}
	raw := json.RawMessage(`{"dummy":true}`)
	if n := testing.AllocsPerRun(10, func() { _, _ = domain.CompactJSON(raw) }); n != 0 {
		t.Errorf("%v allocations for text that is compact already", n)
	}
}

func FuzzCompactJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-7,"\ud83d\ude80"]}`, ` [ true , null ] `, `-0.0`, `"\u12`, `{"a":1,}`, `[}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := domain.CompactJSON(raw)
		var want bytes.Buffer
		wantErr := json.Compact(&want, raw)
		if err == nil && (wantErr != nil || !bytes.Equal(got, want.Bytes())) {
			t.Fatalf("%q: %s; encoding/json: %s, %v", raw, got, want.Bytes(), wantErr)
		}
		if err != nil && wantErr == nil && !strings.Contains(err.Error(), "UTF-8") && !strings.Contains(err.Error(), "nested") {
			t.Fatalf("%q is refused: %v", raw, err)
		}
	})
}

// A commit that can be read can be read by encoding/json too, and encoded and decoded again it stays what it is.
func FuzzDecodeCommit(f *testing.F) {
	for _, c := range dummyCommits(2, 4) {
		f.Add(domain.EncodeCommit(c))
	}
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no fixtures", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(oneEvent(string(text))))
	}
	f.Add([]byte(oneEvent(`{"data":{"x":[null,1e9,"\ud83d\ude80"]},"v":7,"type":"a.b","attempt":2}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := domain.DecodeCommit(data, 3, 77)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("read, but not JSON: %q", data)
		}
		once := domain.EncodeCommit(c)
		again, err := domain.DecodeCommit(once, 3, 77)
		if err != nil {
			t.Fatalf("%v\n%q\n%q", err, data, once)
		}
		if twice := domain.EncodeCommit(again); !bytes.Equal(once, twice) {
			t.Fatalf("not stable:\n%q\n%q", once, twice)
		}
	})
}
