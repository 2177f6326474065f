package bench_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tasker-go/tasker/bench"
	"github.com/tasker-go/tasker/infra/natsserver"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

func TestEveryShapeIsMeasured(t *testing.T) {
	for _, shape := range []string{"dummy", "diamond", "fanout:20", "chain:5"} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := bench.Run(ctx, bench.Options{
				Shape: shape, Inflight: 2, Tasks: 6, Durability: natsserver.Interval, Dir: filepath.Join(t.TempDir(), "data"),
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Tasks != 6 || r.Failed != 0 || r.P50 <= 0 || r.LogBytesPerTask <= 0 || r.EventsPerCommit <= 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// What a benchmark of the index applies is an index.
func TestIndexGrowthAppliesTasks(t *testing.T) {
	points, err := bench.IndexGrowth(t.Context(), bench.IndexGrowthOptions{Dir: t.TempDir(), Tasks: 1_200, Step: 600, Batch: 300})
	if err != nil || len(points) != 2 || points[1].Tasks != 1_200 {
		t.Fatalf("%+v, %v", points, err)
	}
	for _, p := range points {
		if p.Micros <= 0 || p.Bytes <= 0 {
			t.Errorf("%+v", p)
		}
	}
}
