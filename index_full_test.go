package tasker_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/memlog"
)

// smallDisk mounts a disk of a megabyte; grow makes it larger. Only root may.
func smallDisk(t *testing.T) (dir string, grow func()) {
	t.Helper()
	dir = t.TempDir()
	if err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "none", dir).Run(); err != nil {
		t.Skip("a small disk cannot be mounted:", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir, func() {
		if out, err := exec.Command("mount", "-o", "remount,size=64m", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}

func TestAFullDiskStopsTheIndexAndNotTheEngine(t *testing.T) {
	dir, grow := smallDisk(t)
	engine, _ := indexed(t, tasker.Config{Store: memlog.New(memlog.Options{}), Index: filepath.Join(dir, "index.db")})
	const n = 120
	for i := range n {
		reason := tasker.From("ann", "test", strings.Repeat(fmt.Sprintf("reason %d ", i), 1000))
		if _, err := engine.Wait(soon(t, 20*time.Second), buy(t, engine, fmt.Sprint(i), false, reason).ID); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() error {
		status, err := engine.IndexStatus(t.Context())
		if err == nil && !strings.Contains(status.Problem, "full") {
			return fmt.Errorf("the status is %+v", status)
		}
		return err
	})
	if _, err := engine.FindTasks(t.Context(), tasker.TaskQuery{}); err != nil {
		t.Errorf("what the index has cannot be read: %v", err)
	}
	end, err := engine.LogEnd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.FindTasks(soon(t, 50*time.Millisecond), tasker.TaskQuery{}, end...); !errors.Is(err, tasker.ErrBehind) {
		t.Errorf("what it has not ends with %v", err)
	}
	grow()
	counts, err := engine.CountTasks(soon(t, 20*time.Second), tasker.TaskQuery{}, end...)
	if err != nil || counts.Total != n {
		t.Errorf("on a larger disk %d of %d tasks are found, %v", counts.Total, n, err)
	}
	if status, err := engine.IndexStatus(t.Context()); err != nil || status.Problem != "" {
		t.Errorf("the status is %+v, %v", status, err)
	}
}
