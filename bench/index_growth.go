package bench

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/projections/index"
)

// IndexGrowthOptions say how far IndexGrowth goes.
type IndexGrowthOptions struct {
	Dir   string // an empty directory
	Tasks int    // default 3,000,000
	Step  int    // tasks between two measurements; default 500,000
	Keyed bool   // tasks have idempotency keys
	Batch int    // tasks of a batch; default 2,000, which is 0.2 s at 10,000 tasks/s
}

// IndexGrowthPoint is what the tasks cost up to a size of the index, since the point before.
type IndexGrowthPoint struct {
	Tasks   int     `json:"tasks"`
	Micros  float64 `json:"us_per_task"`     // of applying
	CPU     float64 `json:"cpu_us_per_task"` // likewise
	Written float64 `json:"bytes_written_per_task"`
	Bytes   float64 `json:"bytes_per_task"` // of the file so far
}

// IndexGrowth applies batch after batch of dummy tasks, as while an engine runs: what a task costs must not grow with the file.
func IndexGrowth(ctx context.Context, o IndexGrowthOptions) (points []IndexGrowthPoint, err error) {
	o.Tasks, o.Step, o.Batch = cmpOr(o.Tasks, 3_000_000), cmpOr(o.Step, 500_000), cmpOr(o.Batch, 2_000)
	const partitions = 1
	m, err := newLogMaker(partitions, false)
	if err != nil {
		return nil, err
	}
	x, err := sqlite.Open(ctx, filepath.Join(o.Dir, "index.db"), sqlite.Options{Data: m.store.Data(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = x.Close() }()
	m.keyed = o.Keyed
	m.straddle = 4 // in each of the commits of a batch, which is one in four at its end
	folder := index.NewFolder(x, index.Limits{})
	m.sink = func(c domain.Commit) error { return folder.Fold(ctx, c) }
	if err := m.adopt(partitions); err != nil {
		return nil, err
	}
	var took, cpu time.Duration
	var written int64
	last := 0
	for done := 0; done < o.Tasks; {
		for n := 0; n < o.Batch; n += tasksPerCommit {
			if err := m.commit(0, partitions, tasksPerCommit); err != nil {
				return nil, err
			}
			done += tasksPerCommit
		}
		batch := folder.Take()
		began, used, bytes := time.Now(), cpuTime(), writtenBytes()
		if err := x.Apply(ctx, batch); err != nil {
			return nil, fmt.Errorf("at %d tasks: %w", done, err)
		}
		took, cpu, written = took+time.Since(began), cpu+cpuTime()-used, written+writtenBytes()-bytes
		folder.Applied(batch)
		if n := done - last; n >= o.Step || done >= o.Tasks {
			points = append(points, IndexGrowthPoint{
				Tasks: done, Micros: micros(took) / float64(n), CPU: micros(cpu) / float64(n),
				Written: float64(written) / float64(n), Bytes: float64(diskBytes(o.Dir)) / float64(done),
			})
			took, cpu, written, last = 0, 0, 0, done
		}
	}
	return points, ctx.Err()
}
