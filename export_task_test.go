package tasker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// The lines of a task fold to the task: with the definition that they bring, and nothing else.
func TestExportOfATaskFoldsToTheTask(t *testing.T) {
	store := memory(2)
	busy(t, store, 200<<10)
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: store, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	tasks := map[tasker.TaskID][]domain.Record{}
	for e, err := range client.Replay(t.Context(), tasker.ReplayOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !e.Task.IsZero() {
			tasks[e.Task] = append(tasks[e.Task], e)
		}
	}
	blobs := 0
	for id, records := range tasks {
		file, report := exportOf(t, store, tasker.ExportOptions{Task: id})
		blobs += report.Blobs
		if report.Events != len(records) {
			t.Errorf("%d events of %d", report.Events, len(records))
		}
		want, err := projections.LoadTask(records, func(string) (*domain.Definition, bool) {
			d, err := client.Definition(t.Context(), "", "order", "")
			return d, err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := taskOfLines(t, file, id); !bytes.Equal(got.AppendPacked(nil), want.AppendPacked(nil)) {
			t.Errorf("task %s folds to %+v, want %+v", id, got, want)
		}
	}
	if len(tasks) != 6 || blobs == 0 {
		t.Errorf("%d tasks, %d large payloads", len(tasks), blobs)
	}
}

// taskOfLines reads the export of a task as a program without our code would.
func taskOfLines(t *testing.T, file []byte, id tasker.TaskID) *domain.Task {
	t.Helper()
	var def *domain.Definition
	var records []domain.Record
	for i, text := range strings.Split(strings.TrimSuffix(string(file), "\n"), "\n") {
		var line struct {
			Tasker, Of, Task, Definition, Event, Type, At, Step, By, Cause string
			V, Attempt                                                     int
			Value                                                          json.RawMessage
			End                                                            bool
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		switch {
		case i == 0:
			if line.Tasker != "export" || line.Of != "task" || line.Task != id.String() {
				t.Fatal(text)
			}
		case line.Definition != "":
			var err error
			if def, err = domain.ParseDefinition(line.Value); err != nil {
				t.Fatal(err)
			}
			def = def.Under(line.Definition)
		case line.Event != "":
			at, err := domain.ParsePosition(line.Event)
			if err != nil {
				t.Fatal(err)
			}
			attempt := ""
			if line.Attempt > 0 {
				attempt = fmt.Sprintf(`"attempt":%d,`, line.Attempt)
			}
			c, err := domain.DecodeCommit(fmt.Appendf(nil, `{"v":1,"id":"x","at":%q,"tasks":[{"task":%q,"events":[{"type":%q,"v":%d,"step":%q,%s"by":%q,"cause":%q,"data":%s}]}]}`,
				line.At, id, line.Type, line.V, line.Step, attempt, line.By, line.Cause, line.Value), at.Partition, at.Sequence)
			if err != nil {
				t.Fatal(err)
			}
			r := c.Records[0]
			r.Position = at
			records = append(records, r)
		}
	}
	task, err := projections.LoadTask(records, func(string) (*domain.Definition, bool) { return def, def != nil })
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestExportOfATaskThatIsNotThere(t *testing.T) {
	store := memory(2)
	busy(t, store, 10)
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: store, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Export(t.Context(), io.Discard, tasker.ExportOptions{Task: domain.KeyedTaskID("a", "b", "c")}); !errors.Is(err, tasker.ErrTaskNotFound) {
		t.Errorf("no such task: %v", err)
	}
	var some []tasker.TaskID
	for e, err := range client.Replay(t.Context(), tasker.ReplayOptions{Types: []tasker.EventType{domain.TaskCreatedType}}) {
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, e.Task)
	}
	for p := range 2 {
		b, err := store.Log(p).Bounds(t.Context())
		if err == nil {
			err = store.Log(p).Trim(t.Context(), b.Last)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	trimmed, gone := 0, 0
	for _, id := range some {
		_, err := client.Export(t.Context(), io.Discard, tasker.ExportOptions{Task: id})
		var cut *tasker.HistoryTrimmedError
		switch {
		case errors.As(err, &cut):
			trimmed++
		case errors.Is(err, tasker.ErrTaskNotFound):
			gone++
		default:
			t.Errorf("a trimmed log: %v", err)
		}
	}
	if trimmed == 0 || gone == 0 {
		t.Errorf("%d tasks whose beginning is gone, %d of which nothing is left", trimmed, gone)
	}
	if _, err := client.Export(t.Context(), io.Discard, tasker.ExportOptions{}); err == nil || !strings.Contains(err.Error(), "no snapshot can be used") {
		t.Errorf("a trimmed log without a snapshot: %v", err)
	}
}

// A writer that fails ends the export with its error.
func TestExportToAFullDisk(t *testing.T) {
	store := memory(2)
	busy(t, store, 200<<10)
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: store, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, room := range []int{0, 100, 70_000} {
		if _, err := client.Export(t.Context(), &fullDisk{room}, tasker.ExportOptions{}); !errors.Is(err, errDiskFull) {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

var errDiskFull = errors.New("no space left")

type fullDisk struct{ room int }

func (f *fullDisk) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errDiskFull
	}
	return len(b), nil
}
