package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// rss is what this process holds in memory, in MiB.
func rss(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() >> 20
}

// C (backpressure). Far more is submitted than can be run: what is refused is refused at once, what was accepted ends,
// and memory stays bounded. The handlers are what limits the rate: 20 slots of 10 ms are 500 tasks/s of four steps.
//
// The file is named so that this test runs before the one of kill_test.go, which reads whole logs into this process.
func TestOverload(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	srv := single(t, natsservertest.Strict())
	e := run(t, tasker.Config{Connect: srv.Connect, Slots: 20, MaxReady: 500, MaxQueue: 256}, dummy(brief))
	const sustainable = 500 // tasks/s
	span := 3 * time.Second
	if *long {
		span = 30 * time.Second
	}
	before := rss(t)
	var (
		mu       sync.Mutex
		accepted []tasker.TaskID
		slowest  time.Duration
		waits    []time.Duration
		refused  int
		other    = map[string]int{}
		most     int
		wg       sync.WaitGroup
	)
	stop := time.Now().Add(span)
	const workers = 64
	pause := workers * time.Second / (20 * sustainable)
	for range workers {
		wg.Go(func() {
			for time.Now().Before(stop) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				r, err := e.Submit(ctx, "dummy", map[string]string{"text": strings.Repeat("x", 500)})
				cancel()
				took := time.Since(began)
				mu.Lock()
				switch {
				case err == nil:
					accepted = append(accepted, r.ID)
				case errors.Is(err, tasker.ErrOverloaded):
					refused++
					slowest = max(slowest, took)
					waits = append(waits, took)
				default:
					other[err.Error()]++
				}
				mu.Unlock()
				time.Sleep(max(0, pause-time.Since(began))) // a rate
			}
		})
	}
	for time.Now().Before(stop) {
		most = max(most, rss(t))
		time.Sleep(50 * time.Millisecond) // sampling
	}
	wg.Wait()
	slices.Sort(waits)
	for _, p := range e.Stats().Partitions {
		t.Logf("partition %d: %d live, %d held", p.Partition, p.Live, p.Held)
	}
	t.Logf("%d accepted, %d refused in %s; refusals took p50 %s, p99.9 %s, at most %s; RSS %d MiB before, at most %d MiB",
		len(accepted), refused, span, waits[len(waits)/2], waits[len(waits)*999/1000], slowest, before, most)
	if len(other) > 0 {
		t.Errorf("other answers than ErrOverloaded: %v", other)
	}
	if refused < len(accepted) {
		t.Errorf("%d were refused and %d accepted: that was no overload", refused, len(accepted))
	}
	// The 99.9th percentile: on a busy machine with the race detector one goroutine in a thousand waits for the processor.
	// At full length nothing else is to run beside it.
	limit := 2 * time.Second
	if *long {
		limit = 100 * time.Millisecond
	}
	if p := waits[len(waits)*999/1000]; p > limit {
		t.Errorf("a refusal took %s", p)
	}
	if limit := 500 * raceFactor; most > limit {
		t.Errorf("%d MiB of memory, at most %d are allowed", most, limit)
	}
	eventually(t, "the accepted tasks to end", func() bool {
		live := int64(0)
		for _, p := range e.Stats().Partitions {
			live += p.Live
		}
		return live == 0
	})
	e.end(t)
	checkLog(t, openStore(t, srv.Connect), accepted)
}

// Slots of two and queues of one, with handlers, executor and coordinator waiting for each other: it ends.
func TestSmallestQueuesDoNotDeadlock(t *testing.T) {
	t.Parallel()
	tasks, width := 10, 200
	if *long {
		tasks, width = 20, 9_800 // and the joins: 10,000 is the most
	}
	srv := single(t)
	b := tasker.Define("fanout").StepNamed("prepare", "work")
	names := make([]string, width)
	for i := range names {
		names[i] = fmt.Sprintf("w%05d", i)
		b.StepNamed(names[i], "work", tasker.After("prepare"))
	}
	// A step has at most 100 parents: the join is a tree.
	for level := 0; len(names) > 1; level++ {
		var next []string
		for i, group := range slices.Collect(slices.Chunk(names, 100)) {
			name := fmt.Sprintf("join-%d-%03d", level, i)
			b.StepNamed(name, "work", tasker.After(group...))
			next = append(next, name)
		}
		names = next
	}
	e := run(t, tasker.Config{Connect: srv.Connect, Slots: 2, MaxQueue: 1, MaxReady: math.MaxInt},
		b.MustBuild())
	if err := e.Handler("work", step(done)); err != nil {
		t.Fatal(err)
	}
	ids := make([]tasker.TaskID, tasks)
	parallel(tasks, tasks, func(i int) {
		for {
			r, err := e.Submit(context.Background(), "fanout", nil)
			if err == nil {
				ids[i] = r.ID
				return
			}
			if !errors.Is(err, tasker.ErrOverloaded) {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond) // refused: tried again
		}
	})
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, id := range ids { // one after the other, because the queue is one
		if _, err := e.Wait(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d tasks of %d steps through 2 slots in %.1f s", tasks, width, time.Since(began).Seconds())
}
