package sqlite

import (
	"context"
	"runtime"
	"time"
)

// duty holds the index back while the process wants more than nearly all processors: then what the index uses is taken from the
// engine. The index never uses more than its share of them then.
type duty struct {
	asked  time.Time
	wanted time.Duration
	full   bool
}

const (
	dutyWindow = 100 * time.Millisecond
	dutyFull   = 0.90 // of all processors
	dutyShare  = 0.11 // of all processors, while they are full
	dutyMost   = 2 * time.Second
	// dutyAll is what a batch costs in all, as a multiple of what applying it does: delivered, decoded, folded, and cleaned up behind.
	dutyAll = 2.6
)

// look sees whether the processors are full.
func (d *duty) look() {
	now, wanted := time.Now(), wantedTime()
	since := now.Sub(d.asked)
	if since < dutyWindow {
		return
	}
	d.full = !d.asked.IsZero() && float64(wanted-d.wanted) > dutyFull*float64(since)*float64(runtime.GOMAXPROCS(0))
	d.asked, d.wanted = now, wanted
}

// rest waits for as long as is fair behind a batch that began then and took so much processor time to apply, unless somebody waits
// for the index.
func (d *duty) rest(ctx context.Context, began time.Time, used time.Duration, urgent func() bool) {
	if d.look(); !d.full {
		return
	}
	period := time.Duration(dutyAll * float64(used) / (dutyShare * float64(runtime.GOMAXPROCS(0))))
	left := min(period, dutyMost) - time.Since(began)
	for left > 0 && ctx.Err() == nil && !urgent() {
		step := min(left, 20*time.Millisecond)
		sleep(ctx, step)
		left -= step
	}
}

// measured is how much processor time f takes.
func measured(f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	err := f()
	return threadTime() - before, err
}
