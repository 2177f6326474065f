package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker/bench"
	"github.com/tasker-go/tasker/infra/natsserver"
)

func newBenchCommand(a *app) *cobra.Command {
	var o bench.Options
	var durability, output string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how many tasks this machine runs",
		Long: "Measures the engine through its public face, on a log on disk: Submit, handlers that do nothing, Wait.\n" +
			"Shapes: dummy (4 steps), diamond (7), fanout:N (N+2), chain:N.",
		Example: "  tasker bench --shape dummy --inflight 1000 --duration 5s\n" +
			"  tasker bench --shape chain:100 --inflight 1 --tasks 200 --output json",
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Durability, err = natsserver.ParseDurability(durability); err != nil {
				return badInput(err, "")
			}
			if err := bench.CheckShape(o.Shape); err != nil {
				return badInput(err, "")
			}
			if output != "text" && output != "json" {
				return usageError("--output is %q: it is text or json", output)
			}
			if o.Duration == 0 && o.Tasks == 0 {
				o.Duration = 5 * time.Second
			}
			if o.Dir == "" {
				dir, err := os.MkdirTemp("", "tasker-bench")
				if err != nil {
					return err
				}
				defer func() { _ = os.RemoveAll(dir) }()
				o.Dir = filepath.Join(dir, "data")
			}
			slog.SetDefault(slog.New(slog.DiscardHandler)) // a benchmark that logs measures the log
			r, err := bench.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(a.out).Encode(r)
			}
			printBench(a, r)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Shape, "shape", "dummy", "dummy, diamond, fanout:N or chain:N")
	f.IntVar(&o.Inflight, "inflight", 1000, "tasks under way at once")
	f.DurationVar(&o.Duration, "duration", 0, "how long (default 5s, unless --tasks is given)")
	f.IntVar(&o.Tasks, "tasks", 0, "how many tasks")
	f.StringVar(&durability, "durability", "strict", "strict (fsync before every acknowledgement) or interval (every second)")
	f.StringVar(&o.Dir, "data", "", "data directory (default: a new one, removed at the end)")
	f.IntVar(&o.Partitions, "partitions", 0, "partitions of a new log (default: the engine's)")
	f.BoolVar(&o.Keys, "keys", false, "give every submission an idempotency key")
	f.BoolVar(&o.Baselines, "baselines", true, "measure fsync and single appends first")
	f.BoolVar(&o.Attach, "attach", false, "attach a durable subscriber that does nothing")
	f.StringVar(&output, "output", "text", "text or json")
	return cmd
}

func printBench(a *app, r bench.Report) {
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(a.out, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("shape", "%s, %d in flight, %s, %d partitions", r.Shape, r.Inflight, r.Durability, r.Partitions)
	row("machine", "%s, %d processors, NATS server %s", r.CPUModel, r.GOMAXPROCS, r.NATSServer)
	row("throughput", "%.0f tasks/s, %.0f steps/s (%d tasks in %.1f s)", r.TasksPerS, r.StepsPerS, r.Tasks, r.Seconds)
	row("latency", "p50 %.0f µs, p99 %.0f µs", r.P50, r.P99)
	row("processor", "%.1f µs per task", r.CPUPerTask)
	row("log", "%.0f bytes per task, %.0f on disk", r.LogBytesPerTask, r.DiskBytesPerTask)
	flushes := ""
	if r.FsyncsPerCommit != nil {
		flushes = fmt.Sprintf(", %.2f fsyncs each", *r.FsyncsPerCommit)
	}
	row("commits", "%.0f/s, %.1f events each%s", r.CommitsPerS, r.EventsPerCommit, flushes)
	if r.FsyncP50 > 0 {
		row("disk", "fsync p50 %.0f µs, single append p50 %.0f µs", r.FsyncP50, r.AppendP50)
	}
	if r.ChainRatio > 0 {
		row("chain", "%.2f times its appends", r.ChainRatio)
	}
	row("memory", "%.0f MB", r.RSS)
}
