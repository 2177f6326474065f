// Command report measures everything that docs/performance.md shows, each setting in a process of its own, and writes the
// page. make bench runs it; on two cores it takes about six minutes.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/bench"
	"github.com/tasker-go/tasker/infra/natsserver"
)

func main() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	out := flag.String("out", "docs/performance.md", "the page; what stands behind its marker is kept")
	dir := flag.String("dir", "", "where the data directories go (default: the system's temporary directory)")
	quick := flag.Bool("quick", false, "a tenth of everything, to try the report itself")
	only := flag.String("only", "", "subscribers, telemetry or index: print that section alone, and leave the page as it is")
	flag.DurationVar(&lagFor, "lag-for", lagFor, "how long the lag of the index is measured at 10,000 tasks/s")
	job := flag.String("job", "", "internal: run one measurement and print it")
	flag.Parse()
	if *job != "" {
		if err := runJob(*job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := report(*out, *dir, *only, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// task is one job in a process of its own.
type task struct {
	Kind     string // run, overload, fill, again, live, snapshots, subscribers, telemetry, index, index growth, index engine
	Run      bench.Options
	Dir      string
	N        int
	Seconds  float64
	Killed   bool
	Keyed    bool // tasks have idempotency keys
	EndsHard bool // the process ends without stopping anything, as kill -9 does
}

func runJob(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	ctx := context.Background()
	var result any
	var err error
	switch t.Kind {
	case "run":
		t.Run.Dir = t.Dir
		result, err = bench.Run(ctx, t.Run)
	case "overload":
		result, err = bench.Overload(ctx, t.Dir, 20, time.Duration(t.Seconds*float64(time.Second)))
	case "fill", "again":
		var r bench.MemoryReport
		if t.Kind == "fill" {
			err = bench.Fill(ctx, t.Dir, t.N, &r, hard(t.EndsHard, &r))
		} else {
			err = bench.Again(ctx, t.Dir, t.N, &r, t.Killed, hard(t.EndsHard, &r))
		}
		result = r
	case "live":
		err = bench.Live(ctx, t.Dir, t.N)
	case "subscribers":
		result, err = bench.Subscribers(ctx, t.Dir, subscribersOptions(t.Seconds))
	case "telemetry":
		result, err = bench.Telemetry(ctx, bench.TelemetryOptions{Dir: t.Dir, Rounds: t.N, Slice: time.Duration(t.Seconds * float64(time.Second))})
	case "index":
		result, err = bench.Index(ctx, bench.IndexOptions{Dir: t.Dir, Tasks: t.N})
	case "index growth":
		result, err = bench.IndexGrowth(ctx, bench.IndexGrowthOptions{Dir: t.Dir, Tasks: t.N, Step: t.N / 6, Keyed: t.Keyed})
	case "index engine":
		result, err = bench.IndexEngine(ctx, bench.IndexEngineOptions{Dir: t.Dir, Rounds: t.N, For: time.Duration(t.Seconds * float64(time.Second))})
	case "snapshots":
		result, err = bench.Snapshots(ctx, t.Dir, t.N, time.Duration(t.Seconds*float64(time.Second)))
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// hard prints the result and ends the process on the spot.
func hard(yes bool, r *bench.MemoryReport) func() {
	if !yes {
		return func() {}
	}
	return func() {
		_ = json.NewEncoder(os.Stdout).Encode(r)
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
}

func do[T any](t task) (T, error) {
	var result T
	text, err := json.Marshal(t)
	if err != nil {
		return result, err
	}
	self, err := os.Executable()
	if err != nil {
		return result, err
	}
	cmd := exec.Command(self, "-job", string(text)) // #nosec G204 -- this program itself
	cmd.Stderr = os.Stderr
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil && !t.EndsHard {
		return result, fmt.Errorf("%s: %w", text, err)
	}
	return result, json.Unmarshal(out.Bytes(), &result)
}

const marker = "<!-- Everything above is written by make bench. -->"

func report(out, dir, only string, quick bool) error {
	if dir == "" {
		dir = os.TempDir()
	}
	root, err := os.MkdirTemp(dir, "tasker-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(root) }()
	scale := func(n float64) float64 {
		if quick {
			return n / 10
		}
		return n
	}
	page := &strings.Builder{}
	if only != "" {
		section, ok := map[string]func(*strings.Builder, string, func(float64) float64) error{
			"subscribers": writeSubscribers, "telemetry": writeTelemetry, "index": writeIndex,
		}[only]
		if !ok {
			return fmt.Errorf("-only %q: there are subscribers, telemetry and index", only)
		}
		err := section(page, root, scale)
		fmt.Print(page)
		return err
	}
	runs, err := runAll(root, scale)
	if err != nil {
		return err
	}
	writeRuns(page, runs)
	if err := writeRest(page, root, scale); err != nil {
		return err
	}
	kept := "\n"
	if old, err := os.ReadFile(out); err == nil { // #nosec G304 -- the caller's file
		if _, behind, ok := strings.Cut(string(old), marker); ok {
			kept = behind
		}
	}
	return os.WriteFile(out, []byte(page.String()+"\n"+marker+kept), 0o644) // #nosec G306 -- a page of documentation
}

type setting struct {
	shape      string
	inflight   int
	durability natsserver.Durability
	attach     bool
	target     string
}

func runAll(root string, scale func(float64) float64) ([]bench.Report, error) {
	var reports []bench.Report
	for i, s := range settings {
		fmt.Fprintf(os.Stderr, "%s, %d in flight, %s\n", s.shape, s.inflight, s.durability)
		var tries []bench.Report
		for n := range 3 { // the median of three: these machines are shared
			r, err := do[bench.Report](task{Kind: "run", Dir: filepath.Join(root, fmt.Sprint(i, "-", n), "data"), Run: bench.Options{
				Shape: s.shape, Inflight: s.inflight, Durability: s.durability, Baselines: true, Attach: s.attach,
				Duration: time.Duration(scale(5) * float64(time.Second)),
			}})
			if err != nil {
				return nil, err
			}
			tries = append(tries, r)
			_ = os.RemoveAll(filepath.Join(root, fmt.Sprint(i, "-", n)))
		}
		sort.Slice(tries, func(a, b int) bool { return tries[a].TasksPerS < tries[b].TasksPerS })
		reports = append(reports, tries[1])
	}
	return reports, nil
}

var settings = []setting{
	{shape: "dummy", inflight: 1000, durability: natsserver.Strict, target: "at least 15,000/s, aim 25,000"},
	{shape: "dummy", inflight: 200, durability: natsserver.Strict, target: "at least 8,000/s"},
	{shape: "dummy", inflight: 1, durability: natsserver.Strict, target: "p50 at most 6 fsyncs, aim 1 ms"},
	{shape: "dummy", inflight: 1, durability: natsserver.Interval, target: "p50 aim 250 µs"},
	{shape: "dummy", inflight: 1000, durability: natsserver.Interval},
	{shape: "dummy", inflight: 1000, durability: natsserver.Strict, attach: true, target: "with a durable subscriber attached"},
	{shape: "diamond", inflight: 1000, durability: natsserver.Strict},
	{shape: "fanout:1000", inflight: 1, durability: natsserver.Strict, target: "p50 at most 40 ms"},
	{shape: "fanout:10000", inflight: 1, durability: natsserver.Strict, target: "p50 at most 12 x fanout:1000"},
	{shape: "chain:100", inflight: 1, durability: natsserver.Strict, target: "p50 at most 1.2 x 100 appends"},
}

func writeRuns(page *strings.Builder, runs []bench.Report) {
	r := runs[0]
	fmt.Fprintf(page, "# Performance\n\nMeasured by `make bench` on %s, %d of its processors used, Go %s, NATS server %s, commit %s. Every row is the median of\n"+
		"three runs of 5 s, each in a process of its own, through the public face: Submit, handlers, Wait. *fsync* is the median of\n"+
		"writing 1 KiB to a file of the same disk and forcing it there, *append* that of 1,000 single commits, both in the same run.\n"+
		"Log bytes are as published, before compression.\n\n", r.CPUModel, r.GOMAXPROCS, strings.TrimPrefix(runtime.Version(), "go"), r.NATSServer, r.Commit)
	page.WriteString("| shape | in flight | durability | tasks/s | steps/s | p50 | p99 | CPU per task | log bytes per task | on disk | commits/s | events per commit | fsync | fsyncs per commit | append | RSS | target |\n")
	page.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i, r := range runs {
		flushes := "–"
		if r.FsyncsPerCommit != nil {
			flushes = fmt.Sprintf("%.2f", *r.FsyncsPerCommit)
		}
		fmt.Fprintf(page, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %.1f | %s | %s | %s | %.0f MB | %s |\n", r.Shape, r.Inflight, r.Durability,
			thousands(r.TasksPerS), thousands(r.StepsPerS), span(r.P50), span(r.P99), span(r.CPUPerTask), thousands(r.LogBytesPerTask),
			thousands(r.DiskBytesPerTask), thousands(r.CommitsPerS), r.EventsPerCommit, span(r.FsyncP50), flushes, span(r.AppendP50), r.RSS, verdict(settings[i], r, runs))
	}
}

// verdict is the target with what it came to.
func verdict(s setting, r bench.Report, runs []bench.Report) string {
	switch {
	case s.shape == "chain:100":
		return fmt.Sprintf("%s: %.2f", s.target, r.ChainRatio)
	case s.shape == "fanout:10000":
		return fmt.Sprintf("%s: %.1f", s.target, r.P50/runs[7].P50)
	case s.inflight == 1 && s.shape == "dummy" && s.durability == natsserver.Strict:
		return fmt.Sprintf("%s: %.1f fsyncs", s.target, r.P50/r.FsyncP50)
	case s.attach:
		return fmt.Sprintf("%s: %+.1f %%", s.target, 100*(r.TasksPerS/runs[0].TasksPerS-1))
	}
	return s.target
}

func writeRest(page *strings.Builder, root string, scale func(float64) float64) error {
	n := int(scale(1_000_000))
	fmt.Fprintln(os.Stderr, "overload")
	o, err := do[bench.OverloadReport](task{Kind: "overload", Dir: filepath.Join(root, "overload", "data"), Seconds: scale(30)})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## Overload\n\n%.0f times the unloaded rate for %.0f s: offered %s/s, completed %s/s, which is %.0f %% of the unloaded %s/s. %s submissions were refused\n"+
		"(p99 at most %s, slowest %s), %s accepted, and all of them ended. RSS at most %.0f MB.\n", o.Factor, o.DurationS, thousands(o.Offered), thousands(o.Completed),
		100*o.Share, thousands(o.Unloaded), thousands(float64(o.Refused)), span(o.RefusalP99), span(o.RefusalMax), thousands(float64(o.Accepted)), o.RSSMax)
	fmt.Fprintln(os.Stderr, "memory")
	data := filepath.Join(root, "memory", "data")
	m, err := do[bench.MemoryReport](task{Kind: "fill", Dir: data, N: n, EndsHard: true})
	if err != nil {
		return err
	}
	killed, err := do[bench.MemoryReport](task{Kind: "again", Dir: data, N: n, Killed: true})
	if err != nil {
		return err
	}
	again, err := do[bench.MemoryReport](task{Kind: "again", Dir: data, N: 0})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## Very many tasks\n\n%s dummy tasks, all with idempotency keys, one in a hundred failed: RSS at most %.0f MB; at rest (no load for 12 s) %.0f MB with\n"+
		"100,000 keys and %.0f MB at the end, %.0f bytes per key; at most 60 are asked for. Then the process was killed. Submitting all of them again created %d.\n\n", thousands(float64(m.Tasks)), m.RSSPeak, m.RSSAt100k,
		m.RSSAtEnd, m.BytesPerKey, killed.CreatedAgain)
	live := filepath.Join(root, "live", "data")
	if _, err := do[any](task{Kind: "live", Dir: live, N: n / 10}); err != nil {
		return err
	}
	waiting, err := do[bench.MemoryReport](task{Kind: "again", Dir: live, N: 0})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "| restart, from the start of the process until every partition is owned | |\n|---|---|\n| %s ended tasks, after a regular stop | %.2f s |\n"+
		"| the same after kill -9 | %.2f s, of it %.2f s in the NATS server, which reads its files again |\n| %s live tasks, after a regular stop | %.2f s |\n",
		thousands(float64(n)), again.Restart, killed.RestartKill, killed.KillServer, thousands(float64(n/10)), waiting.Restart)
	fmt.Fprintln(os.Stderr, "snapshots")
	s, err := do[bench.SnapshotReport](task{Kind: "snapshots", Dir: filepath.Join(root, "snapshots", "data"), N: n / 4, Seconds: scale(20)})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## Snapshots under load\n\n%s live tasks, and dummy tasks for %.0f s (%s/s, half of what is possible) while %d snapshots of up to %.0f MB were written. The longest\n"+
		"that a partition's loop was busy before it sent its next commit: %s while a snapshot was written, %s otherwise. The longest that a sent\n"+
		"commit waited for its acknowledgement: %s and %s. At most 20 ms are asked for.\n", thousands(float64(s.Live)), s.Seconds, thousands(s.TasksPerS), s.Snapshots,
		s.SnapshotMB, span(s.TurnSnapshot), span(s.Turn), span(s.AckSnapshot), span(s.Ack))
	if err := writeSubscribers(page, root, scale); err != nil {
		return err
	}
	if err := writeTelemetry(page, root, scale); err != nil {
		return err
	}
	return writeIndex(page, root, scale)
}

func thousands(f float64) string {
	s := strconv.FormatInt(int64(f+0.5), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func span(us float64) string {
	switch {
	case us >= 10_000:
		return fmt.Sprintf("%.1f ms", us/1000)
	case us >= 1000:
		return fmt.Sprintf("%.2f ms", us/1000)
	case us >= 10:
		return fmt.Sprintf("%.0f µs", us)
	}
	return fmt.Sprintf("%.1f µs", us)
}
