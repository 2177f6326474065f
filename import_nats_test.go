package tasker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func onNATS(t testing.TB) *natslog.Store {
	t.Helper()
	s, err := natslog.Open(t.Context(), natslog.Options{Connect: natsservertest.Single(t).Connect, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestImportFromNATSToNATS(t *testing.T) {
	from, to := onNATS(t), onNATS(t)
	failed := busy(t, from, 200<<10)
	file, _ := exportOf(t, from, tasker.ExportOptions{})
	report, err := importInto(t, to, file, tasker.ImportOptions{Continue: true})
	if err != nil {
		t.Fatal(err)
	}
	if report.Live != 1 || report.Failed != 1 || report.Blobs != 1 {
		t.Errorf("%+v", report)
	}
	sameLogs(t, from, to)
	goesOn(t, to, failed, 6)
}

// goesOn runs an engine on a log that was imported: the live task goes on, the failed one can be retried, the ended ones
// have their results, also a large one.
func goesOn(t testing.TB, s domain.Store, failed tasker.TaskID, complete int) {
	t.Helper()
	engine, err := tasker.New(t.Context(), tasker.Config{Store: s, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defs, err := engine.Definitions(t.Context())
	if err != nil || len(defs) != 1 || defs[0].Name != "order" {
		t.Fatalf("definitions that submitters find: %v, %v", defs, err)
	}
	done := tasker.StepHandlerFunc(func(context.Context, tasker.TaskView, tasker.Sequence, tasker.StepView) (any, error) {
		return "again", nil
	})
	for _, step := range defs[0].Steps {
		if err := engine.Handler(step.Handler, done); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	<-engine.Ready()
	live, err := engine.Tasks(ctx, tasker.Filter{States: []domain.State{domain.Pending, domain.InProgress}})
	if err != nil || len(live) != 1 {
		t.Fatalf("%d tasks are live, %v", len(live), err)
	}
	by := tasker.By{Actor: "me", Reason: "now"}
	if _, err := engine.RetryStep(ctx, live[0].ID, "first", tasker.StepRetry{}, by); err != nil {
		t.Error(err)
	}
	if _, err := engine.Retry(ctx, failed, by); err != nil {
		t.Error(err)
	}
	for _, id := range []tasker.TaskID{live[0].ID, failed} {
		if r, err := engine.Wait(ctx, id); err != nil || !strings.Contains(string(r.Value), "again") {
			t.Errorf("task %s: %s, %v", id, r.Value, err)
		}
	}
	results := 0
	for e, err := range engine.Replay(ctx, tasker.ReplayOptions{From: tasker.FromOldest, Types: []tasker.EventType{domain.TaskCompletedType}}) {
		if err != nil {
			t.Fatal(err)
		}
		if r, err := engine.Wait(ctx, e.Task); e.Task != failed && (err != nil || r.State != domain.Complete || !json.Valid(r.Value)) {
			t.Errorf("task %s: %d bytes, %v", e.Task, len(r.Value), err)
		}
		results++
	}
	if results < complete {
		t.Errorf("%d tasks are complete, want %d", results, complete)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestImportOfATrimmedLogBringsItsSnapshots(t *testing.T) {
	for name, c := range map[string]struct{ from, to domain.Store }{
		"memory": {memory(2), memory(2)},
		"NATS":   {onNATS(t), onNATS(t)},
	} {
		t.Run(name, func(t *testing.T) {
			failed := busy(t, c.from, 200<<10)
			trim(t, c.from)
			trimmed := 0
			for p := range 2 {
				if b, err := c.from.Log(p).Bounds(t.Context()); err != nil || b.First > 1 {
					trimmed++
				}
			}
			file, exported := exportOf(t, c.from, tasker.ExportOptions{})
			if trimmed == 0 || exported.Snapshots != trimmed {
				t.Fatalf("%d partitions were trimmed, %d snapshots exported", trimmed, exported.Snapshots)
			}
			if _, err := importInto(t, c.to, file, tasker.ImportOptions{Continue: true}); err != nil {
				t.Fatal(err)
			}
			sameLogs(t, c.from, c.to)
			goesOn(t, c.to, failed, 1)
			var bad *tasker.ImportError
			torn := bytes.Replace(file, []byte(`"bytes":"`), []byte(`"bytes":"A`), 1)
			if _, err := importInto(t, memory(2), torn, tasker.ImportOptions{Continue: true}); !errors.As(err, &bad) {
				t.Errorf("a torn snapshot: %v", err)
			}
		})
	}
}

// trim gives up what it can, twice, so that the older snapshot reaches far.
func trim(t testing.TB, s domain.Store) {
	t.Helper()
	for range 2 {
		engine, err := tasker.New(t.Context(), tasker.Config{Store: s, Logger: noLog})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- engine.Run(ctx) }()
		<-engine.Ready()
		if _, err := engine.Prune(ctx, 0, false); err != nil {
			t.Fatal(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

func TestImportKeepsEnginesAway(t *testing.T) {
	from := memory(2)
	busy(t, from, 10)
	file, _ := exportOf(t, from, tasker.ExportOptions{})
	to := memory(2)
	engine, err := tasker.New(t.Context(), tasker.Config{Store: to, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	<-engine.Ready()
	if _, err := importInto(t, to, file, tasker.ImportOptions{Continue: true}); !errors.Is(err, domain.ErrLeaseTaken) {
		t.Errorf("beside an engine: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var full *tasker.LogNotEmptyError
	if _, err := importInto(t, to, file, tasker.ImportOptions{Continue: true}); !errors.As(err, &full) {
		t.Errorf("after it: %v", err)
	}
}

// An import that breaks off says so, and leaves nothing that a second one would take for an empty log.
func TestImportThatBreaksOff(t *testing.T) {
	from := memory(1)
	busy(t, from, 10)
	file, exported := exportOf(t, from, tasker.ExportOptions{})
	to := memlog.New(memlog.Options{Limit: 2000})
	_, err := importInto(t, to, file, tasker.ImportOptions{Continue: true})
	if !errors.Is(err, domain.ErrNotStored) || !strings.Contains(err.Error(), "is not complete, remove it and import again") {
		t.Errorf("a full store: %v", err)
	}
	b, err := to.Log(0).Bounds(t.Context())
	if err != nil || b.Last == 0 || b.Last >= uint64(exported.Messages) {
		t.Errorf("%d of %d messages were stored, %v", b.Last, exported.Messages, err)
	}
	var full *tasker.LogNotEmptyError
	if _, err := importInto(t, to, file, tasker.ImportOptions{Continue: true}); !errors.As(err, &full) {
		t.Errorf("again: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tasker.Import(ended, tasker.Config{Store: memory(1), Logger: noLog}, bytes.NewReader(file), tasker.ImportOptions{Continue: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// An export may be made while engines work: each is a log as it was, and can be imported.
func TestExportBesideAnEngine(t *testing.T) {
	from := memory(2)
	engine, err := tasker.New(t.Context(), tasker.Config{Store: from, Logger: noLog})
	if err == nil {
		err = engine.Register(orderFlow())
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	<-engine.Ready()
	half, submitted := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 400 && err == nil; i++ {
			if i == 200 {
				close(half)
			}
			_, err = engine.Submit(ctx, "order", map[string]int{"n": i})
		}
		submitted <- err
	}()
	<-half
	last := 0
	for more := true; more; {
		var file bytes.Buffer
		if _, err := engine.Export(ctx, &file, tasker.ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		report, err := importInto(t, memory(2), file.Bytes(), tasker.ImportOptions{Continue: true})
		if err != nil || report.Messages < last {
			t.Fatalf("%+v after %d messages, %v", report, last, err)
		}
		last = report.Messages
		select {
		case err := <-submitted:
			if err != nil {
				t.Fatal(err)
			}
			more = false
		default:
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
