package sim

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

var (
	seeds   = flag.Int("sim.seeds", 120, "how many worlds")
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
	if !raced {
		simulate(t, *seeds)
		return
	}
	// A world has one goroutine, so the race detector makes it eight times slower for nothing. A few run with it, for the
	// product's memory that worlds may share, and all of them in a test without it.
	simulate(t, min(*seeds, 4))
	if !t.Failed() {
		withoutRaceDetector(t)
	}
}

func withoutRaceDetector(t *testing.T) {
	if os.Getenv(child) != "" {
		t.Fatal("the test without the race detector has it")
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-race=false", "-vet=off", "-count=1", "-run=^TestSimulation$", "-v",
		"-timeout=60m", ".", "-args", fmt.Sprintf("-sim.seeds=%d", *seeds), fmt.Sprintf("-sim.commits=%d", *commits))
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

const child = "TASKER_SIM_WITHOUT_RACE_DETECTOR"

// simulate runs worlds 1 to n, as many at a time as there are processors.
func simulate(t *testing.T, n int) {
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // a world is small and makes much garbage
	var next atomic.Int64
	var all sync.Mutex
	var sum Report
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
				r, err := Run(Config{Seed: uint64(i), Commits: *commits})
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
	t.Logf("%d worlds: %+v", n, sum)
	if n >= 200 && *commits >= 5000 && !t.Failed() {
		everythingHappens(t, sum)
	}
}

// everythingHappens: every fact was stored, and every verb did something, changed nothing, and was refused, often.
func everythingHappens(t *testing.T, sum Report) {
	const often = 500
	for _, fact := range domain.Types() {
		if n := sum.Events[fact]; n < often && fact != domain.PartitionSkippedType {
			t.Errorf("%s was stored only %d times", fact, n)
		}
	}
	if n := sum.Events[domain.CustomType("noted")]; n < often {
		t.Errorf("custom events were stored only %d times", n)
	}
	for _, verb := range []domain.Command{
		domain.CancelTask{}, domain.RetryTask{}, domain.ResolveTask{}, domain.PauseTask{}, domain.ResumeTask{},
		domain.RetryStep{}, domain.ResolveStep{}, domain.CancelStep{}, domain.FinishStep{},
	} {
		name := nameOf(verb)
		if v := sum.Verbs[name]; min(v.Changed, v.Same, v.Refused) < often {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func (r Report) plus(o Report) Report {
	r.Commits += o.Commits
	r.Facts += o.Facts
	r.Tasks += o.Tasks
	r.Takeovers += o.Takeovers
	r.Crashes += o.Crashes
	r.Snapshots += o.Snapshots
	r.Fallbacks += o.Fallbacks
	r.Splits += o.Splits
	r.TooLarge += o.TooLarge
	r.Moves += o.Moves
	r.Lost += o.Lost
	r.Answers += o.Answers
	r.Stale += o.Stale
	r.Events, r.Verbs = maps.Clone(r.Events), maps.Clone(r.Verbs)
	if r.Events == nil {
		r.Events, r.Verbs = map[domain.EventType]int{}, map[string]Verb{}
	}
	for t, n := range o.Events {
		r.Events[t] += n
	}
	for name, v := range o.Verbs {
		sum := r.Verbs[name]
		r.Verbs[name] = Verb{sum.Changed + v.Changed, sum.Same + v.Same, sum.Refused + v.Refused}
	}
	return r
}

func TestSimulationFindsPlantedFaults(t *testing.T) {
	for _, f := range []Fault{EffectBeforeCommit, NoFence, AttemptIgnored, TimersLost, SnapshotShort, CursorsLost} {
		t.Run(f.String(), func(t *testing.T) {
			for n := uint64(1); n <= 200; n++ {
				var failure *Failure
				if _, err := Run(Config{Seed: n, Commits: 2000, Fault: f}); errors.As(err, &failure) {
					t.Logf("found by seed %d after %d commits: %s", n, failure.After, failure.What)
					return
				}
			}
			t.Error("not found by 200 seeds")
		})
	}
}
