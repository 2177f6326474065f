package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tasker-go/tasker/bench"
)

// writeSubscribers is the section about what durable subscribers cost. It takes a minute and a half.
func writeSubscribers(page *strings.Builder, root string, scale func(float64) float64) error {
	fmt.Fprintln(os.Stderr, "subscribers")
	r, err := do[bench.SubscribersReport](task{Kind: "subscribers", Dir: filepath.Join(root, "subscribers", "data"), Seconds: scale(1)})
	if err != nil {
		return err
	}
	fmt.Fprintf(page, "\n## Subscribers\n\nA durable subscriber that does nothing follows the dummy task at full speed, 1,000 in flight, strict: in %.1f s %s tasks/s stored %s events, it\n"+
		"handled %s/s. When the load ended %s were left, as many as are stored in %s, and it was through %s later.\n\n",
		r.Idle.Seconds, thousands(r.Idle.TasksPerS), thousands(float64(r.Idle.Stored)), thousands(r.Idle.PerS), thousands(float64(r.Idle.Lag)),
		span(1000*r.Idle.LagMS), span(1000*r.Idle.CatchUpMS))
	fmt.Fprintf(page, "What each costs the engine: %d interleaved pairs of %.1f s with and without it. Slow and failing ones are to cost less than 3 %%.\n\n"+
		"| durable subscriber | tasks/s, median of the pairs | least | most | processor time per task | handled | failed tries |\n|---|---|---|---|---|---|---|\n", r.Rounds, r.Slice)
	for _, c := range r.Compared {
		fmt.Fprintf(page, "| %s | %+.1f %% | %+.1f %% | %+.1f %% | %+.1f %% | %s | %s |\n", c.Does, 100*(c.Ratio-1), 100*(c.Low-1), 100*(c.High-1), 100*(c.CPU-1),
			thousands(float64(c.Handled)), thousands(float64(c.Failed)))
	}
	return nil
}

// subscribersOptions make everything as long as the section asks for, in slices of that many seconds.
func subscribersOptions(slice float64) bench.SubscribersOptions {
	return bench.SubscribersOptions{
		Slice: time.Duration(slice * float64(time.Second)), Idle: time.Duration(5 * slice * float64(time.Second)),
	}
}
