package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tasker-go/tasker/bench"
)

// lagFor is how long the lag is measured; the whole demand is five minutes.
var lagFor = 30 * time.Second

// writeIndex is the section about the index of all tasks. It takes six minutes.
func writeIndex(page *strings.Builder, root string, scale func(float64) float64) error {
	fmt.Fprintln(os.Stderr, "index")
	dir := filepath.Join(root, "index")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	r, err := do[bench.IndexReport](task{Kind: "index", Dir: dir, N: int(scale(1_000_000))})
	if err != nil {
		return err
	}
	grown, err := do[[]bench.IndexGrowthPoint](task{Kind: "index growth", Dir: filepath.Join(root, "growth"), N: int(scale(3_000_000))})
	if err != nil {
		return err
	}
	keyed, err := do[[]bench.IndexGrowthPoint](task{Kind: "index growth", Dir: filepath.Join(root, "keyed"), N: int(scale(3_000_000)), Keyed: true})
	if err != nil {
		return err
	}
	e, err := do[bench.IndexEngineReport](task{Kind: "index engine", Dir: dir, N: max(int(scale(10)), 2), Seconds: scale(lagFor.Seconds())})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## Index\n\n"+
		"Rebuilding the index of %s dummy tasks from a log in memory: %s events/s, %.0f bytes per task on disk; of as many tasks of four\n"+
		"definitions with initiators, tags, fields and errors: %s events/s, %.0f bytes. At least 200,000/s are asked for.\n\n"+
		"Lists of those tasks, 50 on a page, first pages and deep ones, one after the other; %d of %d pages ended early for the work that\n"+
		"they would have been. At most 50 ms are asked for, p99 of all.\n\n| list | pages | p50 | p99 | max |\n|---|---|---|---|---|\n",
		thousands(float64(r.Tasks)), thousands(r.DummyPerS), r.DummyBytes, thousands(r.VariedPerS), r.VariedBytes, r.Short, r.Queries)
	for _, l := range r.Lists {
		fmt.Fprintf(page, "| %s | %d | %s | %s | %s |\n", l.Name, l.N, span(1000*l.P50), span(1000*l.P99), span(1000*l.Max))
	}
	first, last, worst := grown[0], grown[len(grown)-1], keyed[len(keyed)-1]
	fmt.Fprintf(page, "\nFollowing, in batches of 2,000 dummy tasks, a task costs %.1f µs of a processor and %.1f KB written, checkpoints too, in a file\n"+
		"of up to %s tasks, and %.1f µs and %.1f KB in one of %s. With idempotency keys, whose ids have no order, it is %.1f µs and %.1f KB there.\n",
		first.CPU, first.Written/1000, thousands(float64(first.Tasks)), last.CPU, last.Written/1000, thousands(float64(last.Tasks)), worst.CPU, worst.Written/1000)
	fmt.Fprintf(page, "\nThe dummy task, 1,000 in flight, strict, in %d rounds of %.0f s, in turns: %s/s without an index and %s/s with one, which is\n"+
		"%.2f of it (%.2f to %.2f); at least 0.80 is asked for. At %s tasks/s for %.0f s the index was %s behind, at most %s; at most 2 s\n"+
		"are asked for, at 10,000/s. It had everything %s after the load.\n"+
		"Made again from these tasks, from NATS and beside the idle engine: %s events/s.\n",
		e.Rounds, e.Slice, thousands(e.Without), thousands(e.With), e.Ratio, e.Low, e.High, thousands(e.Rate), e.Seconds,
		span(1000*e.LagP50), span(1000*e.LagMS), span(1000*e.CatchUpMS), thousands(e.RebuildPerS))
	return nil
}
