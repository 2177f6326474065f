package bench_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/tasker-go/tasker/bench"
)

func TestSubscribersAreComparedInPairs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := bench.Subscribers(ctx, filepath.Join(t.TempDir(), "data"), bench.SubscribersOptions{
		Rounds: 2, Slice: 60 * time.Millisecond, Idle: 100 * time.Millisecond, Inflight: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	if i := r.Idle; i.Stored == 0 || i.TasksPerS <= 0 || i.PerS <= 0 || i.Lag < 0 || i.Lag > i.Stored {
		t.Errorf("the one that keeps up: %+v", i)
	}
	if len(r.Compared) != 4 {
		t.Fatalf("%d kinds were compared: %+v", len(r.Compared), r.Compared)
	}
	for _, c := range r.Compared {
		always := c.Name == "failing" || c.Name == "useless"
		if c.Ratio <= 0 || c.CPU <= 0 || c.Low > c.Ratio || c.High < c.Ratio || (c.Handled > 0) == always || (c.Failed > 0) != always {
			t.Errorf("%+v", c)
		}
	}
}
