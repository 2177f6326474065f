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
	used   time.Duration
	waited time.Duration
	own    float64 // of all processors that this process uses, its last windows weighing most
	full   bool
	share  float64 // of all processors, while they are full
}

const (
	dutyWindow = 100 * time.Millisecond
	dutyFull   = 0.90 // of all processors
	dutyOwn    = 0.76 // of all processors: it is this process that fills them, and the engine is at its limit
	dutyShare  = 0.11 // of all processors, when the engine is at its limit
	dutyBeside = 0.38 // when others fill them: then the engine does what it is asked to, and so has the index to
	dutyMost   = 2 * time.Second
	// dutyAll is what a batch costs in all, as a multiple of what applying it does: delivered, decoded, folded, and cleaned up behind.
	dutyAll = 3.2
)

// look sees whether the processors are full.
func (d *duty) look() {
	now := time.Now()
	since := now.Sub(d.asked)
	if since < dutyWindow {
		return
	}
	used, waited := usedAndWaited()
	all := float64(since) * float64(runtime.GOMAXPROCS(0))
	own := float64(used-d.used) / all
	d.full = !d.asked.IsZero() && own+float64(max(waited-d.waited, 0))/all > dutyFull
	if d.own == 0 {
		d.own = own
	}
	d.own = (d.own + own) / 2 // 0.67 at 10,000 tasks/s on two processors, 0.82 at the limit, measured before segments; single windows lie in between
	if d.share = dutyBeside; d.own > dutyOwn {
		d.share = dutyShare
	}
	d.asked, d.used, d.waited = now, used, waited
}

// rest waits for as long as is fair behind a batch that began then and took so much processor time to apply, unless somebody waits
// for the index.
func (d *duty) rest(ctx context.Context, began time.Time, used time.Duration, urgent func() bool) {
	if d.look(); !d.full {
		return
	}
	period := time.Duration(dutyAll * float64(used) / (d.share * float64(runtime.GOMAXPROCS(0))))
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
