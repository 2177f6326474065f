package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tasker-go/tasker/bench"
)

// writeTelemetry is the section about what metrics and traces cost. It takes a minute and a half.
func writeTelemetry(page *strings.Builder, root string, scale func(float64) float64) error {
	fmt.Fprintln(os.Stderr, "telemetry")
	dir := filepath.Join(root, "telemetry")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	r, err := do[bench.TelemetryReport](task{Kind: "telemetry", Dir: dir, N: max(int(scale(10)), 2), Seconds: 1})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## Telemetry\n\nThe dummy task, 1,000 in flight, strict, in %d rounds of %.0f s for each row, in turns; ratios are medians of what was measured beside each\n"+
		"other. Metrics are gathered once a second. Spans go by OTLP over HTTP to a collector in the same process, whose work counts. At most\n"+
		"5 %% are asked for, for metrics, and 5 %% more for 1 %% of the traces.\n\n"+
		"| with | against | tasks/s | ratio | least | most | CPU per task | spans exported |\n|---|---|---|---|---|---|---|---|\n", r.Rounds, r.Slice)
	for _, x := range r.Compared {
		spans := "–"
		if x.Spans > 0 {
			spans = fmt.Sprintf("%.1f %%", 100*x.Spans)
		}
		if x.Name == x.Against {
			fmt.Fprintf(page, "| %s | – | %s | – | – | – | – | – |\n", x.Name, thousands(x.TasksPerS))
			continue
		}
		fmt.Fprintf(page, "| %s | %s | %s | %.3f | %.2f | %.2f | %+.1f %% | %s |\n", x.Name, x.Against, thousands(x.TasksPerS), x.Ratio, x.Low, x.High, 100*(x.CPU-1), spans)
	}
	return nil
}
