package domain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var rewritePacked = flag.Bool("rewrite-packed", false, "rewrite the golden file of the newest packed format")

// packDefinition is made by hand, so that nothing that Validate does changes the golden files.
func packDefinition(hash string, steps ...StepTemplate) *Definition {
	for i := range steps {
		steps[i].RetryLimit = max(steps[i].RetryLimit, 1)
	}
	g, cycle := compile(steps)
	if cycle != nil {
		panic(cycleText(cycle))
	}
	return &Definition{Namespace: "default", Name: "packed", Version: "1.0.0", OnFailure: FinishBranches, Steps: steps, graph: g, hash: hash}
}

func diamond(hash string) *Definition {
	return packDefinition(hash,
		StepTemplate{Name: "a", Handler: "h", RetryLimit: 3},
		StepTemplate{Name: "b", Handler: "h", RetryLimit: 3, DependsOn: []string{"a"}, Skippable: true},
		StepTemplate{Name: "c", Handler: "h", RetryLimit: 3, DependsOn: []string{"a"}, Optional: true},
		StepTemplate{Name: "d", Handler: SleepHandler, DependsOn: []string{"b", "c"}, NotRetryable: true},
	)
}

func knows(defs ...*Definition) func(string) (*Definition, bool) {
	return func(hash string) (*Definition, bool) {
		for _, def := range defs {
			if def.hash == hash {
				return def, true
			}
		}
		return nil, false
	}
}

const goldenHash = "0123456789abcdef0123456789abcdef"

// goldenTask is what testdata/packed/v1.hex holds.
func goldenTask() *Task {
	const created Instant = 1_790_000_000_000_000
	t := &Task{
		ID:         TaskID{0x01, 0x99, 0x9e, 0x2c, 0x11, 0x22, 0x73, 0x44, 0x85, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc},
		Definition: diamond(goldenHash), State: Pending, Paused: true, Round: 2,
		Context:   Inline(json.RawMessage(`{"order":17}`)),
		Initiator: "ann", SourceSystem: "shop", Reason: "because", Correlation: "c-1", Tags: []string{"red", "green"},
		InputHash: 0xdeadbeef, bypass: []bool{false, true, false, false},
		CreatedAt: created, StartedAt: created + 5, EndedAt: created + 900, Deadline: created + 3_600_000_000,
		Waiting: Waiting{Reason: WaitRetryBackoff, Until: created + 2_000_000}, Failed: FailStepsInError,
		Result:     Payload{Blob: "sha256-00ff", Size: 200_000},
		ResultFrom: []string{"d"}, Last: 123_456_789, before: 123_456_700,
		Steps: []Step{
			{State: Complete, Attempt: 4, Executions: 2, Lost: 1, Round: 2, StartedAt: created + 6, EndedAt: created + 7,
				Result: Payload{Pos: Position{Partition: 3, Sequence: 77, Index: 5}, Size: 4096}},
			{State: Complete, Skipped: true, Round: 1, EndedAt: created + 8},
			{State: Error, Attempt: 1, Executions: 1, Round: 1, StartedAt: created + 9, EndedAt: created + 10, WakeAt: created + 2_000_000,
				More: &StepMore{
					Error:      &StepError{Message: "no", Kind: "odd", Code: "HTTP_500", Frames: []string{"f1", "f2"}},
					RetryLimit: 9, Inputs: json.RawMessage(`{"x":1}`),
				}},
			{State: InProgress, Attempt: 1, Round: 1, StartedAt: created + 11, WakeAt: created + 60_000_000},
		},
	}
	t.recount()
	return t
}

func TestEveryFormatThatEverPackedATaskIsReadable(t *testing.T) {
	want := goldenTask()
	newest := filepath.Join("testdata", "packed", "v"+strconv.Itoa(packFormat)+".hex")
	if *rewritePacked {
		if err := os.WriteFile(newest, []byte(hex.EncodeToString(want.AppendPacked(nil))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "packed", "v*.hex"))
	if err != nil || len(files) != packFormat {
		t.Fatalf("%d golden files for %d formats: %v", len(files), packFormat, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file) // #nosec G304 -- a test's own file
		if err != nil {
			t.Fatal(err)
		}
		packed, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, rest, err := UnpackTask(append(packed, "rest"...), knows(want.Definition))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if string(rest) != "rest" || !got.Equal(want) {
			t.Errorf("%s is another task now: rest %q\n got %+v\nwant %+v", file, rest, got, want)
		}
		if file == newest && !bytes.Equal(packed, want.AppendPacked(nil)) {
			t.Errorf("%s: the layout changed: give it a new number and keep the reader of the old one", file)
		}
		if got.counts != want.counts || got.Bypassed(1) != true || got.Steps[2].LastError().Frames[1] != "f2" {
			t.Errorf("%s: got %+v", file, got)
		}
	}
}

// randomHistory draws a definition and the events of one task of it, legal and illegal ones.
func randomHistory(rt *rapid.T) (*Definition, []Record) {
	def := diamond(rapid.SampledFrom([]string{goldenHash, "not-a-hash", strings.ToUpper(goldenHash)}).Draw(rt, "hash"))
	def.OnFailure = rapid.SampledFrom([]OnFailure{FinishBranches, Stop}).Draw(rt, "on_failure")
	instant := rapid.Map(rapid.Int64Range(0, 5_000_000), func(d int64) Instant {
		if d == 0 {
			return 0
		}
		return Instant(1_790_000_000_000_000 + d)
	})
	text := rapid.SampledFrom([]string{"", "x", strings.Repeat("long ", 400)})
	payload := rapid.Custom(func(rt *rapid.T) Payload {
		switch rapid.IntRange(0, 3).Draw(rt, "kind") {
		case 0:
			return Inline(json.RawMessage(`null`))
		case 1:
			return Inline(json.RawMessage(strconv.Quote(text.Draw(rt, "text"))))
		case 2:
			return Payload{Blob: "sha256-" + text.Draw(rt, "digest"), Size: 7}
		}
		return Payload{}
	})
	step := rapid.SampledFrom([]string{"a", "b", "c", "d", "unheard-of"})
	attempt := rapid.IntRange(0, 4)
	kind := rapid.SampledFrom([]ErrorKind{KindError, KindWorkerLost, KindDeadline, "mine"})
	event := rapid.Custom(func(rt *rapid.T) Event {
		name, n, at, why := step.Draw(rt, "step"), attempt.Draw(rt, "attempt"), instant.Draw(rt, "until"), text.Draw(rt, "reason")
		switch rapid.IntRange(0, 23).Draw(rt, "event") {
		case 18, 19:
			return StepCheckpointed{Step: name, Attempt: n, Cursor: json.RawMessage(strconv.Itoa(n))}
		case 20:
			return StepProgressed{Step: name, Attempt: n, Done: n, Total: 2 * n, Message: why}
		case 21:
			if at != 0 && n == 4 {
				return TaskExpired{}
			}
		case 0:
			return TaskStartRequested{}
		case 1:
			return TaskReenqueued{Reason: WaitReason(why)}
		case 2:
			return TaskDelayed{Reason: WaitRetryBackoff, Until: at}
		case 3:
			return TaskCompleted{Result: payload.Draw(rt, "result"), From: rapid.SliceOfN(step, 0, 2).Draw(rt, "from")}
		case 4:
			return TaskFailed{Reason: FailStepsInError}
		case 5:
			return TaskRetryRequested{Deadline: at}
		case 6:
			return TaskPaused{}
		case 7:
			return TaskResumed{}
		case 8, 9, 10:
			return StepExecutionRequested{Step: name, Attempt: n, Until: at}
		case 11, 12:
			return StepCompleted{Step: name, Attempt: n, Result: payload.Draw(rt, "result")}
		case 13, 14:
			return StepFailed{Step: name, Attempt: n, RetryAt: at, Error: StepError{Message: why, Kind: kind.Draw(rt, "kind"), Frames: []string{why}}}
		case 15:
			return StepRetryRequested{Step: name, NewRound: at != 0, RetryLimit: n, Inputs: payload.Draw(rt, "inputs").JSON}
		case 23:
			return StepInherited{Step: name, Result: payload.Draw(rt, "result"), Skipped: n%2 == 0, Resolved: n%3 == 0}
		case 16:
			return StepCancelled{Step: name}
		case 17:
			return StepResolvedManually{Step: name, Result: payload.Draw(rt, "result")}
		}
		return StepSkipped{Step: name}
	})
	created := TaskCreated{
		Definition: def.hash, Context: payload.Draw(rt, "context"), Initiator: text.Draw(rt, "initiator"),
		Tags: rapid.SliceOfN(text, 0, 3).Draw(rt, "tags"), Deadline: instant.Draw(rt, "deadline"),
		BypassSteps: rapid.SliceOfN(step, 0, 2).Draw(rt, "bypass"), InputHash: rapid.Uint32().Draw(rt, "input"),
		Traceparent: text.Draw(rt, "traceparent"),
		Forked:      rapid.SampledFrom([]*ForkedFrom{nil, {}, {TaskID{1: 7}, Position{Partition: 3, Sequence: 1 << 40, Index: 400}}}).Draw(rt, "forked"),
	}
	records := []Record{{Event: created, At: 1_790_000_000_000_000}}
	for i, e := range rapid.SliceOfN(event, 0, 30).Draw(rt, "events") {
		records = append(records, Record{Event: e, At: records[i].At + 1000, Position: Position{Sequence: uint64(i + 2)}})
	}
	return def, records
}

func TestAnUnpackedTaskIsTheTaskAndEvolvesLikeIt(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		def, records := randomHistory(rt)
		cut := rapid.IntRange(1, len(records)).Draw(rt, "cut")
		task := NewTask(records[0], def)
		for _, r := range records[1:cut] {
			Evolve(task, r)
			task.Touch(r.Position.Sequence)
		}
		packed := task.AppendPacked(nil)
		copied, rest, err := UnpackTask(packed, knows(def))
		if err != nil || len(rest) != 0 {
			rt.Fatalf("%d bytes left: %v", len(rest), err)
		}
		for i := cut; ; i++ {
			if !copied.Equal(task) {
				rt.Fatalf("after %d events\n got %+v\nwant %+v", i, copied, task)
			}
			if copied.Prev(copied.Last) != task.Prev(task.Last) {
				rt.Fatalf("prev %d, want %d", copied.Prev(copied.Last), task.Prev(task.Last))
			}
			if copied.ExecutionContext() != task.ExecutionContext() || copied.NextWake() != task.NextWake() {
				rt.Fatalf("after %d events\n got %+v, wakes %v\nwant %+v, wakes %v", i, copied.ExecutionContext(), copied.NextWake(),
					task.ExecutionContext(), task.NextWake())
			}
			for s := range task.Steps {
				if copied.Ready(s) != task.Ready(s) || copied.Steps[s].open != task.Steps[s].open {
					rt.Fatalf("after %d events: step %d", i, s)
				}
			}
			if i == len(records) {
				return
			}
			Evolve(task, records[i])
			Evolve(copied, records[i])
		}
	})
}

func TestUnpackSaysWhatIsWrong(t *testing.T) {
	task := goldenTask()
	packed := task.AppendPacked(nil)
	for n := range packed {
		if _, _, err := UnpackTask(packed[:n], knows(task.Definition)); !errors.Is(err, ErrPackCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, _, err := UnpackTask(packed, knows()); !errors.Is(err, ErrPackDefinition) {
		t.Errorf("unknown definition: %v", err)
	}
	newer := append([]byte{packFormat + 1}, packed[1:]...)
	if _, _, err := UnpackTask(newer, knows(task.Definition)); !errors.Is(err, ErrPackFormat) {
		t.Errorf("newer format: %v", err)
	}
	other := diamond(goldenHash)
	other.graph, _ = compile(other.Steps[:3])
	if _, _, err := UnpackTask(packed, knows(other)); !errors.Is(err, ErrPackCorrupt) {
		t.Errorf("another definition under the same hash: %v", err)
	}
	var named *PackError
	if _, _, err := UnpackTask(packed, knows()); !errors.As(err, &named) || named.Task != task.ID {
		t.Errorf("the error does not name the task: %v", err)
	}
}

func FuzzUnpackTask(f *testing.F) {
	f.Add(goldenTask().AppendPacked(nil))
	f.Add(dummyTask().AppendPacked(nil))
	def := diamond(goldenHash)
	every := func(string) (*Definition, bool) { return def, true }
	f.Fuzz(func(t *testing.T, b []byte) {
		task, _, err := UnpackTask(b, every)
		if err != nil {
			return
		}
		again, rest, err := UnpackTask(task.AppendPacked(nil), every)
		if err != nil || len(rest) != 0 || !again.Equal(task) {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
	})
}

// dummyTask is the 4-step task of the measurements, half done.
func dummyTask() *Task {
	const created Instant = 1_790_000_000_000_000
	def := diamond(goldenHash)
	t := NewTask(Record{At: created, Task: goldenTask().ID, Position: Position{Sequence: 1000}, Event: TaskCreated{
		Definition: def.hash, Context: Inline(json.RawMessage(`{"order":4711,"customer":"c-0815"}`)), Initiator: "bench", InputHash: 1 << 30,
	}}, def)
	for i, e := range []Event{
		TaskStartRequested{},
		StepExecutionRequested{Step: "a", Attempt: 1},
		StepCompleted{Step: "a", Attempt: 1, Result: Inline(json.RawMessage(`{"ok":true,"n":12345}`))},
		StepExecutionRequested{Step: "b", Attempt: 1}, StepExecutionRequested{Step: "c", Attempt: 1},
		StepCompleted{Step: "b", Attempt: 1, Result: Inline(json.RawMessage(`{"ok":true,"n":67890}`))},
	} {
		Evolve(t, Record{Event: e, At: created.Add(1) + Instant(i)*700, Position: Position{Sequence: 1001}})
		t.Last = 1001
	}
	return t
}

func TestAPackedDummyTaskIsSmall(t *testing.T) {
	if n := len(dummyTask().AppendPacked(nil)); n > 250 {
		t.Errorf("%d bytes", n)
	}
}

func BenchmarkPack(b *testing.B) {
	task := dummyTask()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = task.AppendPacked(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "bytes/task")
}

func BenchmarkUnpack(b *testing.B) {
	task := dummyTask()
	packed, lookup := task.AppendPacked(nil), knows(task.Definition)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := UnpackTask(packed, lookup); err != nil {
			b.Fatal(err)
		}
	}
}
