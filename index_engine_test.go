package tasker

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestAnIndexThatDoesNotGetOnHoldsTheLogForADay(t *testing.T) {
	for name, tt := range map[string]struct {
		problem string
		ago     time.Duration
		holds   bool
	}{
		"it has nothing to do":     {"", 48 * time.Hour, true},
		"it stands still":          {"the disk is full", time.Hour, true},
		"it stands still for long": {"the disk is full", 25 * time.Hour, false},
	} {
		x := newIndexer(nil, "index.db")
		x.problem, x.stands = tt.problem, time.Now().Add(-tt.ago)
		if at, holds := x.holds(0); at != 0 || holds != tt.holds {
			t.Errorf("%s: it holds the log at %d, %t", name, at, holds)
		}
	}
}

// What an engine looks for in the log, it looks for first where its index has it.
func TestTheIndexSaysWhereTheNewestCommitOfATaskIs(t *testing.T) {
	e, err := New(t.Context(), Config{
		Store: memlog.New(memlog.Options{Partitions: 2}), Index: filepath.Join(t.TempDir(), "index.db"), Logger: slog.New(slog.DiscardHandler), NoIntake: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Register(Define("one").Step("a", Handle(func(context.Context, struct{}) (int, error) { return 1, nil })).MustBuild()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	select {
	case <-e.Ready():
	case <-ctx.Done():
	}
	r, err := e.Submit(ctx, "one", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Wait(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	task, err := e.Task(ctx, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.FindTasks(ctx, TaskQuery{}, task.Position); err != nil {
		t.Fatal(err)
	}
	if near := e.nearest(ctx, r.ID); near != task.Position.Sequence {
		t.Errorf("the newest commit of the task is said to be at %d, it is at %d", near, task.Position.Sequence)
	}
	if near := e.nearest(ctx, domain.TaskID{6: 0x70, 8: 0x80}); near != 0 {
		t.Errorf("a task that is not there is said to be at %d", near)
	}
	if found, _, err := e.parts[r.Position.Partition].Ended(ctx, r.ID, 0); err != nil || found.State != domain.Complete {
		t.Errorf("the log has %v, %v", found, err)
	}
}
