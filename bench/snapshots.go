package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
)

// SnapshotReport says how long commits wait while a partition with many live tasks is snapshotted under load. Times are
// in microseconds.
type SnapshotReport struct {
	Live         int64   `json:"live"`
	Seconds      float64 `json:"seconds"`
	TasksPerS    float64 `json:"tasks_per_s"`
	Snapshots    int64   `json:"snapshots"`
	SnapshotMB   float64 `json:"snapshot_mb"`
	Turn         float64 `json:"turn_us_max"` // of the coordinator's loop, from waking up to having sent what there was
	TurnSnapshot float64 `json:"turn_us_max_snapshot"`
	Ack          float64 `json:"ack_us_max"` // of a commit, from sending to acknowledgement
	AckSnapshot  float64 `json:"ack_us_max_snapshot"`
}

// Snapshots makes live tasks, and then runs dummy tasks for d, while a snapshot is taken whenever the log behind the last
// one is twice as large as that: the most often that there is.
func Snapshots(ctx context.Context, dir string, live int, d time.Duration) (SnapshotReport, error) {
	r := SnapshotReport{Live: int64(live), Seconds: d.Seconds()}
	if err := Live(ctx, dir, live); err != nil {
		return r, err
	}
	err := onDirectoryWith(ctx, dir, Options{SnapshotBytes: 1 << 20}, func(e *tasker.Engine, _, _ time.Duration) error {
		shape, err := parseShape("dummy")
		if err != nil {
			return err
		}
		n, err := paced(ctx, e, shape, d)
		if err != nil {
			return err
		}
		r.TasksPerS = float64(n) / d.Seconds()
		for _, p := range e.Stats().Partitions {
			r.Snapshots += p.Snapshots
			r.Turn, r.TurnSnapshot = max(r.Turn, micros(p.SlowestTurn)), max(r.TurnSnapshot, micros(p.SnapshotTurn))
			r.Ack, r.AckSnapshot = max(r.Ack, micros(p.SlowestAck)), max(r.AckSnapshot, micros(p.SnapshotAck))
		}
		return nil
	})
	r.SnapshotMB = largestSnapshot(dir)
	return r, err
}

// pacedRate is a load that leaves half of two processors free: a coordinator that waits for a processor is not what is
// to be measured.
const pacedRate = 4000

// paced submits tasks at pacedRate for d, waits for each, and returns how many ended.
func paced(ctx context.Context, e *tasker.Engine, shape shape, d time.Duration) (int64, error) {
	const every = 2 * time.Millisecond
	var l loaded
	var wg sync.WaitGroup
	errs := make(chan error, 1)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < d && ctx.Err() == nil; <-tick.C {
		for range int(pacedRate * every / time.Second) {
			wg.Go(func() {
				if err := one(ctx, e, shape, nil, &l); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			})
		}
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return l.done.Load(), nil
	}
}

// largestSnapshot is the size of the snapshots' stream on disk, per partition and snapshot kept.
func largestSnapshot(dir string) float64 {
	var bytes int64
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "SNAPSHOTS") && !entry.IsDir() {
			if info, err := entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return float64(bytes) / (1 << 20) / 4
}
