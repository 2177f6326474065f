package sim

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seeds   = flag.Int("sim.seeds", 200, "how many worlds")
	seed    = flag.Uint64("sim.seed", 0, "run this world only")
	commits = flag.Int("sim.commits", 5000, "commits of a world before its faults stop")
)

func TestSimulation(t *testing.T) {
	if *seed != 0 {
		r, err := Run(Config{Seed: *seed, Commits: *commits})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", r)
		return
	}
	var next atomic.Int64
	var all sync.Mutex
	var sum Report
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(*seeds) && !t.Failed(); n = next.Add(1) {
				r, err := Run(Config{Seed: uint64(n), Commits: *commits})
				if err != nil {
					t.Error(err)
				}
				all.Lock()
				sum = sum.plus(r)
				all.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d worlds: %+v", *seeds, sum)
}

func (r Report) plus(o Report) Report {
	r.Commits += o.Commits
	r.Facts += o.Facts
	r.Tasks += o.Tasks
	r.Takeovers += o.Takeovers
	r.Crashes += o.Crashes
	r.Snapshots += o.Snapshots
	r.Fallback += o.Fallback
	r.Splits += o.Splits
	r.Moves += o.Moves
	r.Lost += o.Lost
	r.Answers += o.Answers
	r.Stale += o.Stale
	return r
}

func TestSimulationFindsPlantedFaults(t *testing.T) {
	for _, f := range []Fault{EffectBeforeCommit, NoFence, AttemptIgnored, TimersLost, SnapshotShort} {
		t.Run(f.String(), func(t *testing.T) {
			for n := uint64(1); n <= 200; n++ {
				if _, err := Run(Config{Seed: n, Commits: 2000, Fault: f}); err != nil {
					t.Logf("found by seed %d: %s", n, err.(*Failure).What)
					return
				}
			}
			t.Error("not found by 200 seeds")
		})
	}
}
