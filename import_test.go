package tasker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/internal/scenario"
	"github.com/tasker-go/tasker/projections"
)

var noLog = slog.New(slog.DiscardHandler)

// exportOf exports what a store holds.
func exportOf(t testing.TB, s domain.Store, o tasker.ExportOptions) ([]byte, tasker.ExportReport) {
	t.Helper()
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: s, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var file bytes.Buffer
	report, err := client.Export(t.Context(), &file, o)
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), report
}

func importInto(t testing.TB, s domain.Store, file []byte, o tasker.ImportOptions) (tasker.ImportReport, error) {
	t.Helper()
	o.File = "log.jsonl"
	return tasker.Import(t.Context(), tasker.Config{Store: s, Logger: noLog}, bytes.NewReader(file), o)
}

// sameLogs compares message by message, and what the logs fold to.
func sameLogs(t testing.TB, a, b domain.Store) {
	t.Helper()
	for p := range a.Data().Partitions {
		messages := func(s domain.Store) (all []domain.Message) {
			if err := s.Log(p).Scan(t.Context(), 1, func(m domain.Message) error {
				m.Time = time.Time{}
				all = append(all, m)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return all
		}
		if x, y := messages(a), messages(b); !reflect.DeepEqual(x, y) {
			t.Fatalf("partition %02d: %d messages became %d others", p, len(x), len(y))
		}
		if x, y := folded(t, a, p), folded(t, b, p); !bytes.Equal(x, y) {
			t.Fatalf("partition %02d folds to another state", p)
		}
	}
}

// folded is the state of a partition, tasks packed in the order of their ids.
func folded(t testing.TB, s domain.Store, p int) []byte {
	t.Helper()
	state := projections.NewPartition(p)
	infos, err := s.Snapshots().List(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) > 0 {
		content, err := s.Snapshots().Get(t.Context(), infos[0])
		if err == nil {
			state, err = projections.ReadSnapshot(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Log(p).Scan(t.Context(), state.Sequence+1, func(m domain.Message) error {
		c, err := domain.DecodeCommit(m.Data, p, m.Sequence)
		if err != nil {
			return nil //nolint:nilerr // passed over by everybody
		}
		return state.Apply(c)
	}); err != nil {
		t.Fatal(err)
	}
	tasks := map[string][]byte{}
	var failed []tasker.TaskID
	for id := range state.FailedTasks() {
		failed = append(failed, id)
	}
	for _, id := range failed {
		state.Find(id)
	}
	for e := range state.Tasks() {
		tasks[e.Task.ID.String()] = e.Task.AppendPacked(nil)
	}
	text, err := json.Marshal(map[string]any{"tasks": tasks, "ended": state.Ended.Len(), "failed": len(failed), "sequence": state.Sequence, "commit": state.CommitID})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// busy runs tasks that end in every way on the store, leaves one that lives, and returns the one that failed.
func busy(t testing.TB, store domain.Store, large int) (failed tasker.TaskID) {
	t.Helper()
	engine, err := tasker.New(t.Context(), tasker.Config{Store: store, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	order := tasker.Define("order").
		Step("first", tasker.StepHandlerFunc(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
			switch {
			case strings.Contains(string(task.Context), "fails"):
				return nil, tasker.Permanent(errors.New("no"))
			case strings.Contains(string(task.Context), "retries") && step.Attempt == 1:
				return nil, tasker.RetryAfter(time.Millisecond, errors.New("not yet"))
			case strings.Contains(string(task.Context), "waits"):
				return nil, tasker.RetryAfter(time.Hour, errors.New("later"))
			case strings.Contains(string(task.Context), "large"):
				return strings.Repeat("x", large), nil
			}
			return map[string]int{"n": step.Attempt}, step.Emit("order.shipped", 1)
		}), tasker.Emits("order.shipped")).
		Step("second", tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
			return "done", nil
		}), tasker.After("first")).MustBuild()
	if err := engine.Register(order); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	<-engine.Ready()
	for i, kind := range []string{"good", "fails", "retries", "waits", "large", "good"} {
		// Every partition gets some of them: what tests forge stands in the first.
		own := newID(t)
		for n := store.Data().Partitions; own.Partition(n) != i%n; {
			own = newID(t)
		}
		id, err := engine.Submit(ctx, "order", map[string]any{"kind": kind, "n": i}, tasker.WithID(own))
		if err != nil {
			t.Fatal(err)
		}
		if kind == "fails" {
			failed = id.ID
		}
		for kind == "waits" {
			task, err := engine.Task(ctx, id.ID)
			if err != nil {
				t.Fatal(err)
			}
			if task.Waiting != "" {
				break
			}
		}
		if kind != "waits" {
			_, _ = engine.Wait(ctx, id.ID)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return failed
}

func newID(t testing.TB) tasker.TaskID {
	t.Helper()
	id, err := tasker.ParseTaskID(uuid.Must(uuid.NewV7()).String())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func memory(partitions int) *memlog.Store { return memlog.New(memlog.Options{Partitions: partitions}) }

func TestImportOfALogFoldsToTheSameState(t *testing.T) {
	from := memory(2)
	busy(t, from, 200<<10)
	from.Foreign(1, "", []byte("not\njson"))
	file, exported := exportOf(t, from, tasker.ExportOptions{})
	if exported.Blobs == 0 {
		t.Error("no large payload was exported")
	}
	to := memory(2)
	var live *tasker.LiveTasksError
	if _, err := importInto(t, to, file, tasker.ImportOptions{}); !errors.As(err, &live) || live.Live != 1 {
		t.Errorf("a live task: %v", err)
	}
	report, err := importInto(t, to, file, tasker.ImportOptions{Continue: true})
	if err != nil {
		t.Fatal(err)
	}
	if report.From != from.Data().ID || report.Log != to.Data().ID || report.Messages != exported.Messages || report.Live != 1 || report.Failed != 1 || report.Blobs != exported.Blobs {
		t.Errorf("%+v", report)
	}
	sameLogs(t, from, to)
	var full *tasker.LogNotEmptyError
	if _, err := importInto(t, to, file, tasker.ImportOptions{Continue: true}); !errors.As(err, &full) {
		t.Errorf("a second import: %v", err)
	}
	again, _ := exportOf(t, to, tasker.ExportOptions{})
	if bytes.Count(again, []byte("\n")) != bytes.Count(file, []byte("\n")) {
		t.Error("the export of the import has other lines")
	}
}

func TestImportRefusesWhatIsNotWhole(t *testing.T) {
	from := memory(2)
	busy(t, from, 10)
	file, _ := exportOf(t, from, tasker.ExportOptions{})
	lines := strings.SplitAfter(strings.TrimSuffix(string(file), "\n"), "\n")
	n := len(lines)
	swapped := append([]string(nil), lines...)
	swapped[4], swapped[5] = swapped[5], swapped[4]
	for name, c := range map[string]struct {
		file string
		line int
		want error
	}{
		"empty":            {"", 1, tasker.ErrNotAnExport},
		"another file":     {"name: order\nsteps: []\n", 1, tasker.ErrNotAnExport},
		"no last line":     {strings.Join(lines[:n-1], ""), n, tasker.ErrExportTorn},
		"torn in a line":   {string(file[:len(file)-40]), n, tasker.ErrExportTorn},
		"only the header":  {lines[0], 2, tasker.ErrExportTorn},
		"edited":           {strings.Replace(string(file), `"n":1`, `"n":7`, 1), 0, tasker.ErrExportEdited},
		"doubled":          {strings.Join(append(append([]string(nil), lines[:4]...), lines[3:]...), ""), 5, tasker.ErrExportEdited},
		"left out":         {strings.Join(append(append([]string(nil), lines[:4]...), lines[5:]...), ""), 5, tasker.ErrExportEdited},
		"in another order": {strings.Join(swapped, ""), 5, tasker.ErrExportEdited},
		"something behind": {string(file) + lines[1], n + 1, nil},
		"twice":            {string(file) + string(file), n + 1, nil},
	} {
		to := memory(2)
		_, err := importInto(t, to, []byte(c.file), tasker.ImportOptions{Continue: true})
		var bad *tasker.ImportError
		if !errors.As(err, &bad) || bad.File != "log.jsonl" || c.line > 0 && bad.Line != c.line || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		for p := range 2 {
			if b, err := to.Log(p).Bounds(t.Context()); err != nil || b.Last != 0 {
				t.Errorf("%s: %d messages were stored, %v", name, b.Last, err)
			}
		}
	}
}

// forge gives lines the sums that they need, as somebody would who knows how.
func forge(lines []string) []byte {
	var out bytes.Buffer
	w := tasker.NewLineWriterForTest(&out)
	for _, line := range lines {
		w(line[:strings.LastIndex(line, `,"sum":`)])
	}
	return out.Bytes()
}

func TestImportRefusesWhatNoEngineWouldHaveStored(t *testing.T) {
	from := memory(2)
	busy(t, from, 200<<10)
	file, _ := exportOf(t, from, tasker.ExportOptions{})
	lines := strings.SplitAfter(strings.TrimSuffix(string(file), "\n"), "\n")
	edit := func(change func(line string) string) []byte {
		forged := make([]string, len(lines))
		for i, line := range lines {
			forged[i] = change(line)
		}
		return forge(forged)
	}
	replace := func(old, with string) []byte {
		done := false
		return edit(func(line string) string {
			if !done && strings.Contains(line, old) {
				done = true
				return strings.Replace(line, old, with, 1)
			}
			return line
		})
	}
	without := func(what string) []byte {
		var kept []string
		for i, line := range lines {
			if i == len(lines)-1 {
				line = fmt.Sprintf(`{"end":true,"lines":%d,"sum":`, len(kept)+1)
			}
			if !strings.HasPrefix(line, what) {
				kept = append(kept, line)
			}
		}
		return forge(kept)
	}
	if _, err := importInto(t, memory(2), edit(func(line string) string { return line }), tasker.ImportOptions{Continue: true}); err != nil {
		t.Fatalf("forged without a change: %v", err)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"a newer version":      {replace(`"version":1`, `"version":2`), "use a newer one"},
		"no version":           {replace(`"version":1`, `"version":0`), "version 0"},
		"of something else":    {replace(`"of":"log"`, `"of":"everything"`), "no export that this program knows"},
		"too many partitions":  {replace(`"partitions":2`, `"partitions":65`), "1 to 64"},
		"negative partitions":  {replace(`"partitions":2`, `"partitions":-1`), "1 to 64"},
		"too few partitions":   {replace(`"partitions":2`, `"partitions":1`), "for 1 partitions"},
		"no data id":           {replace(`"log":"`, `"gol":"`), "data id"},
		"a line of the future": {replace(`"message":"00-2"`, `"dream":"00-2"`), "of this kind is not known"},
		"two kinds":            {replace(`"message":"00-2"`, `"message":"00-2","blob":"x"`), "of this kind is not known"},
		"a place":              {replace(`"message":"00-2"`, `"message":"00-3"`), "message 00-3 stands where 00-2 should"},
		"a partition":          {replace(`"message":"00-2"`, `"message":"07-2"`), "has 2 partitions"},
		"no place":             {replace(`"message":"00-2"`, `"message":"00--2"`), "want partition and sequence"},
		"one way too long":     {replace(`"message":"00-2"`, `"message":"00-99999999999999999999999"`), "want partition and sequence"},
		"a payload":            {replace(`"value":"xxx`, `"value":"yxx`), "has the digest"},
		"a payload left out":   {without(`{"blob":`), "missing before it"},
		"a message left out":   {without(`{"message":"00-3"`), "stands where 00-3 should|should reach 3"},
		"no definition":        {replace(`"type":"definition.adopted"`, `"type":"definition.adoptee"`), "needs a newer version"},
		"another definition":   {replace(`"definition":"`, `"definition":"00`), "never adopted"},
		"a chain":              {replace(`"prev":`, `"prev":9`), "that is not so|was before it"},
		"no beginning":         {replace(`"type":"task.created"`, `"type":"task.paused"`), "that is not so"},
		"a commit's id":        {replace(`"commit":"`, `"commit":"x`), "stands in it, not"},
		"no commit":            {replace(`"value":{"v":1`, `"value":{"w":1`), "cannot be read, and no operator"},
		"no content":           {replace(`"value":{"v":1`, `"valve":{"v":1`), "want either"},
		"a number of lines":    {replace(`"lines":`, `"lines":1`), "and should be line"},
		"the end":              {edit(func(line string) string { return strings.Replace(line, `"end":true`, `"end":false`, 1) }), "of this kind is not known"},
		"a longer partition":   {replace(`"last":[`, `"last":[1`), "should reach"},
		"a trimmed partition":  {replace(`"first":[1`, `"first":[2`), "has to come first"},
		"no such sequence":     {replace(`"first":[1`, `"first":[0`), "messages 0 to"},
		"what is published":    {replace(`"published":"`, `"published":"x`), "stands where"},
	} {
		_, err := importInto(t, memory(2), c.file, tasker.ImportOptions{Continue: true})
		var bad *tasker.ImportError
		found := false
		for _, want := range strings.Split(c.want, "|") {
			found = found || err != nil && strings.Contains(err.Error(), want)
		}
		if !errors.As(err, &bad) || !found {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := importInto(t, memory(4), file, tasker.ImportOptions{Continue: true}); err == nil || !strings.Contains(err.Error(), "4 partitions") {
		t.Errorf("another number of partitions: %v", err)
	}
}

// Logs of random messages: histories of the simulation of one task, cut into commits in any way, in any partition, with
// what somebody else wrote between them, live == imported, and what is exported of the import is the same again.
func TestImportOfRandomLogs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		partitions := rapid.IntRange(1, 3).Draw(rt, "partitions")
		from := memory(partitions)
		randomLog(t, rt, from, partitions)
		file, exported := exportOf(t, from, tasker.ExportOptions{})
		to := memory(partitions)
		report, err := importInto(t, to, file, tasker.ImportOptions{Continue: true})
		if err != nil {
			rt.Fatal(err)
		}
		if report.Messages != exported.Messages || report.Partitions != partitions {
			rt.Fatalf("%+v of %+v", report, exported)
		}
		sameLogs(t, from, to)

		// Whatever one byte is turned into, it is refused, or it was no byte that counts.
		at := rapid.IntRange(0, len(file)-1).Draw(rt, "at")
		with := rapid.Byte().Draw(rt, "with")
		if file[at] != with {
			broken := bytes.Clone(file)
			broken[at] = with
			var bad *tasker.ImportError
			if _, err := importInto(t, memory(partitions), broken, tasker.ImportOptions{Continue: true}); !errors.As(err, &bad) {
				rt.Fatalf("byte %d turned from %q into %q: %v", at, file[at], with, err)
			}
		}
		short := file[:rapid.IntRange(0, len(file)-1).Draw(rt, "short")]
		if _, err := importInto(t, memory(partitions), short, tasker.ImportOptions{Continue: true}); err == nil {
			rt.Fatalf("only %d of %d bytes: no error", len(short), len(file))
		}
	})
}

// randomLog stores the histories of some tasks.
func randomLog(t testing.TB, rt *rapid.T, s domain.Store, partitions int) {
	def, err := domain.ParseDefinition([]byte(`{"name":"order","steps":[{"name":"one","handler":"h"},{"name":"two","handler":"h","depends_on":["one"]},{"name":"three","handler":"h","optional":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	last := make([]uint64, partitions)
	store := func(p int, commit string, data []byte) {
		done := make(chan error, 1)
		s.Log(p).Append(last[p], commit, data, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		last[p]++
	}
	type history struct {
		id      tasker.TaskID
		waiting []domain.Record
		prev    uint64
	}
	histories := make([][]*history, partitions)
	for i := range rapid.IntRange(0, 5).Draw(rt, "tasks") {
		run := randomRun(t, rt, def)
		h := &history{id: domain.KeyedTaskID("random", "task", fmt.Sprint(i)), waiting: run}
		p := h.id.Partition(partitions)
		histories[p] = append(histories[p], h)
	}
	for p := range partitions {
		adopted := domain.Commit{ID: fmt.Sprintf("w%d-0", p), At: scenario.Start, Records: []domain.Record{
			{Event: domain.PartitionOpened{Writer: "w", Engine: "test"}, At: scenario.Start}, {Event: domain.AdoptDefinition(def), At: scenario.Start},
		}}
		store(p, adopted.ID, domain.EncodeCommit(adopted))
		for n := 1; len(histories[p]) > 0; n++ {
			if rapid.IntRange(0, 9).Draw(rt, "foreign") == 0 {
				store(p, "", rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "bytes"))
				continue
			}
			commit := domain.Commit{ID: fmt.Sprintf("w%d-%d", p, n), At: scenario.Start}
			for range rapid.IntRange(1, 3).Draw(rt, "groups") {
				if len(histories[p]) == 0 {
					break
				}
				i := rapid.IntRange(0, len(histories[p])-1).Draw(rt, "task")
				h := histories[p][i]
				k := rapid.IntRange(1, len(h.waiting)).Draw(rt, "events")
				for _, r := range h.waiting[:k] {
					r.Task, r.Prev = h.id, h.prev
					commit.Records = append(commit.Records, r)
				}
				if h.waiting = h.waiting[k:]; len(h.waiting) == 0 {
					histories[p] = append(histories[p][:i], histories[p][i+1:]...)
				}
			}
			store(p, commit.ID, domain.EncodeCommit(commit))
			for _, r := range commit.Records {
				for _, h := range histories[p] {
					if h.id == r.Task {
						h.prev = last[p]
					}
				}
			}
		}
	}
}

// randomRun is the history of a task to which anything happens.
func randomRun(t testing.TB, rt *rapid.T, def *domain.Definition) []domain.Record {
	run := scenario.New(def, scenario.AllSlots)
	if err := run.Submit(domain.CreateTask{Context: domain.Inline(json.RawMessage(`{"n":1}`)), Correlation: "c"}); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 12).Draw(rt, "inputs") {
		running := run.Task.Running()
		command := rapid.IntRange(0, 7).Draw(rt, "command")
		switch {
		case command < 4 && len(running) > 0:
			x := running[rapid.IntRange(0, len(running)-1).Draw(rt, "execution")]
			if command < 3 {
				_, _ = run.Do(domain.CompleteStep{Step: x.Step, Attempt: x.Attempt, Result: domain.Inline(json.RawMessage(`"` + strings.Repeat("r", 500*command) + `"`))})
			} else {
				_, _ = run.Do(domain.FailStep{Step: x.Step, Attempt: x.Attempt, Error: domain.StepError{Kind: domain.KindError, Message: "no\nway"}})
			}
		case command == 4:
			_, _ = run.Do(domain.PauseTask{Reason: "p"})
		case command == 5:
			_, _ = run.Do(domain.ResumeTask{})
		case command == 6:
			_, _ = run.Do(domain.RetryTask{})
		default:
			run.Advance(time.Minute)
		}
	}
	if rapid.IntRange(0, 3).Draw(rt, "cancel") == 0 {
		_, _ = run.Do(domain.CancelTask{Reason: "c"})
	}
	return run.Log
}
