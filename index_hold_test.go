package tasker_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/memlog"
)

// pruned is how many commits go when everything that has ended may go.
func pruned(t *testing.T, config tasker.Config) (*tasker.Engine, uint64) {
	t.Helper()
	config.Store = memlog.New(memlog.Options{Partitions: 2})
	engine, _ := indexed(t, config)
	for i := range 40 {
		if _, err := engine.Wait(soon(t, 20*time.Second), buy(t, engine, fmt.Sprint(i), false).ID); err != nil {
			t.Fatal(err)
		}
	}
	if config.Index != "" {
		end, err := engine.LogEnd(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = engine.CountTasks(soon(t, 5*time.Second), tasker.TaskQuery{}, end...) // has read everything, if it works
	}
	reports, err := engine.Prune(t.Context(), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, r := range reports {
		n += r.Commits
	}
	return engine, n
}

func TestTheLogKeepsWhatTheIndexHasNotRead(t *testing.T) {
	if _, n := pruned(t, tasker.Config{}); n == 0 {
		t.Error("without an index nothing is pruned")
	}
	if _, n := pruned(t, tasker.Config{Index: t.TempDir()}); n != 0 {
		t.Errorf("%d commits went that an index, which cannot be opened now, has not read", n)
	}
	engine, n := pruned(t, tasker.Config{Index: filepath.Join(t.TempDir(), "index.db")})
	if n == 0 {
		t.Error("an index that has read everything holds the log back")
	}
	if counts, err := engine.CountTasks(t.Context(), tasker.TaskQuery{}); err != nil || counts.Total != 40 {
		t.Errorf("behind the prune %d tasks are in the index, %v", counts.Total, err)
	}
}
