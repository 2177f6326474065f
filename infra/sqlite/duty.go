package sqlite

import (
	"context"
	"runtime"
	"time"
)

// duty makes the index rest while the process uses nearly all processors: then its own work takes the engine's time.
type duty struct {
	asked time.Time
	used  time.Duration
	busy  bool
}

const (
	dutyWindow = 250 * time.Millisecond
	dutyFull   = 0.90 // of all processors: the process is saturated
	dutyShare  = 0.15 // of the time that the index works then
	dutyMost   = 2 * time.Second
)

// rest waits for as long as is fair behind so much work, unless somebody waits for the index.
func (d *duty) rest(ctx context.Context, worked time.Duration, wanted func() bool) {
	now, used := time.Now(), cpuTime()
	if since := now.Sub(d.asked); since >= dutyWindow {
		d.busy = !d.asked.IsZero() && float64(used-d.used) > dutyFull*float64(since)*float64(runtime.GOMAXPROCS(0))
		d.asked, d.used = now, used
	}
	if !d.busy || wanted() {
		return
	}
	left := min(time.Duration(float64(worked)*(1/dutyShare-1)), dutyMost)
	for left > 0 && ctx.Err() == nil && !wanted() {
		step := min(left, 20*time.Millisecond)
		sleep(ctx, step)
		left -= step
	}
}
