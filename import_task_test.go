package tasker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/projections"
)

// at is the task as the log has it, with its positions left out of account.
func at(t *testing.T, s domain.Store, id tasker.TaskID) (*domain.Task, []domain.Record) {
	t.Helper()
	p := id.Partition(s.Data().Partitions)
	last, found, err := projections.FindTask(t.Context(), s.Log(p), p, id)
	if err != nil || !found {
		t.Fatalf("task %s: found %v, %v", id, found, err)
	}
	records, _, err := projections.Walk(t.Context(), s.Log(p), p, id, last)
	if err != nil {
		t.Fatal(err)
	}
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: s, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	adopted := map[string]*domain.Definition{}
	for r, err := range client.Replay(t.Context(), tasker.ReplayOptions{Types: []tasker.EventType{domain.DefinitionAdoptedType}}) {
		if err != nil {
			t.Fatal(err)
		}
		e := r.Event.(domain.DefinitionAdopted)
		def, err := e.Definition()
		if err != nil {
			t.Fatal(err)
		}
		adopted[e.Hash] = def.Under(e.Hash)
	}
	task, err := projections.LoadTask(records, func(hash string) (*domain.Definition, bool) { d, ok := adopted[hash]; return d, ok })
	if err != nil {
		t.Fatal(err)
	}
	return task, records
}

func TestImportOfATaskFoldsToTheSameTask(t *testing.T) {
	store := memory(2)
	busy(t, store, 200<<10)
	client, err := tasker.NewClient(t.Context(), tasker.Config{Store: store, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ids := map[tasker.TaskID]bool{}
	for e, err := range client.Replay(t.Context(), tasker.ReplayOptions{Types: []tasker.EventType{domain.TaskCreatedType}}) {
		if err != nil {
			t.Fatal(err)
		}
		ids[e.Task] = true
	}
	blobs := 0
	for id := range ids {
		file, exported := exportOf(t, store, tasker.ExportOptions{Task: id})
		into := memlog.New(memlog.Options{Partitions: 2})
		report, err := importInto(t, into, file, tasker.ImportOptions{Continue: true})
		if err != nil {
			t.Fatalf("task %s: %v\n%s", id, err, file)
		}
		blobs += report.Blobs
		want, before := at(t, store, id)
		got, after := at(t, into, id)
		if report.Events != exported.Events+1 || len(after) != len(before) {
			t.Errorf("%d events were exported, %d with the definition imported, %d of %d found", exported.Events, report.Events, len(after), len(before))
		}
		for i, r := range after {
			was := before[i]
			if r.At != was.At || r.Actor() != was.Actor() || r.Event.Type() != was.Event.Type() || (r.Cause == "") != (was.Cause == "") ||
				!bytes.Equal(domain.EventData(r.Event), domain.EventData(was.Event)) {
				t.Errorf("event %s was %+v and is %+v", was.ID(), was, r)
			}
		}
		// What the task is, without the places at which it is stored.
		if a, b := got.ExecutionContext(), want.ExecutionContext(); a != b || got.State != want.State || got.Round != want.Round {
			t.Errorf("task %s is %s, %+v and was %s, %+v", id, got.State, a, want.State, b)
		}
		for i := range want.Steps {
			a, b := got.Steps[i], want.Steps[i]
			if a.State != b.State || a.Attempt != b.Attempt || a.Executions != b.Executions || a.WakeAt != b.WakeAt || a.Result.Size != b.Result.Size ||
				a.Result.Blob != b.Result.Blob {
				t.Errorf("step %d of task %s is %+v and was %+v", i, id, a, b)
			}
		}
		again, _ := exportOf(t, into, tasker.ExportOptions{Task: id})
		if lines := strings.Count(string(again), "\n"); lines != strings.Count(string(file), "\n") {
			t.Errorf("exported again it has %d lines:\n%s\nwas\n%s", lines, again, file)
		}
	}
	if len(ids) != 6 || blobs == 0 {
		t.Errorf("%d tasks, %d large payloads", len(ids), blobs)
	}
}

func TestImportOfATaskRefusesWhatIsNotWhole(t *testing.T) {
	store := memory(2)
	failed := busy(t, store, 0)
	file, _ := exportOf(t, store, tasker.ExportOptions{Task: failed})
	lines := strings.SplitAfter(string(file), "\n")
	lines = lines[:len(lines)-1]
	without := func(drop ...int) []byte {
		var kept []string
		for i, l := range lines {
			left := true
			for _, d := range drop {
				left = left && i != d
			}
			if left {
				kept = append(kept, strings.TrimSuffix(l, "\n"))
			}
		}
		return forge(kept)
	}
	for name, bad := range map[string][]byte{
		"torn":            []byte(strings.Join(lines[:len(lines)-1], "")),
		"edited":          bytes.Replace(file, []byte(`"by":"engine"`), []byte(`"by":"handler"`), 1),
		"no definition":   without(1),
		"no beginning":    without(2),
		"no line count":   without(3),
		"something after": append(bytes.Clone(file), "{}\n"...),
		"doubled":         forge(append(append([]string{}, trimmed(lines[:4])...), trimmed(lines[3:])...)),
	} {
		into := memlog.New(memlog.Options{Partitions: 2})
		_, err := importInto(t, into, bad, tasker.ImportOptions{Continue: true})
		var wrong *tasker.ImportError
		if !errors.As(err, &wrong) || wrong.Line == 0 {
			t.Errorf("%s: %v", name, err)
		}
		for p := range 2 {
			if b, err := into.Log(p).Bounds(t.Context()); err != nil || b.Last != 0 {
				t.Errorf("%s: something was stored: %+v, %v", name, b, err)
			}
		}
	}
	// Bytes that would end the event and begin another one.
	event := fmt.Sprintf(`{"event":"%02d-99999-0","type":"task.paused","v":1,"at":"2026-01-01T00:00:00Z","bytes":"e319LHt9","sum":""}`, failed.Partition(2))
	forged := append(append(trimmed(lines[:len(lines)-1]), event), trimmed(lines[len(lines)-1:])...)
	if _, err := importInto(t, memory(2), forge(forged), tasker.ImportOptions{}); err == nil || !strings.Contains(err.Error(), "is not JSON") {
		t.Errorf("data that is no JSON: %v", err)
	}

	into := memlog.New(memlog.Options{Partitions: 2})
	if _, err := importInto(t, into, file, tasker.ImportOptions{}); err != nil {
		t.Errorf("a failed task is not live: %v", err)
	}
	var full *tasker.LogNotEmptyError
	if _, err := importInto(t, into, file, tasker.ImportOptions{}); !errors.As(err, &full) {
		t.Errorf("imported twice: %v", err)
	}

	// An engine goes on with it: the failed task is reopened.
	ctx, stop := context.WithCancel(t.Context())
	e, err := tasker.New(ctx, tasker.Config{Store: into, Partitions: 2, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	<-e.Ready()
	if r, err := e.Retry(ctx, failed, tasker.By{Actor: "ann", Reason: "moved"}); err != nil || !r.Changed || r.From != domain.Error {
		t.Errorf("retry in the new log: %+v, %v", r, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func trimmed(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = strings.TrimSuffix(l, "\n")
	}
	return out
}
