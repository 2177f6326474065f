package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// OverloadReport is what an engine does when it is asked for many times of what it can do.
type OverloadReport struct {
	Unloaded      float64 `json:"unloaded_tasks_per_s"` // 1,000 in flight
	Offered       float64 `json:"offered_per_s"`
	Completed     float64 `json:"completed_tasks_per_s"` // of those that were accepted
	Share         float64 `json:"share"`                 // completed / unloaded
	Accepted      int64   `json:"accepted"`
	Refused       int64   `json:"refused"`
	RefusalP99    float64 `json:"refusal_p99_us"`
	RefusalMax    float64 `json:"refusal_max_us"`
	RSSMax        float64 `json:"rss_mb_max"`
	Unfinished    int64   `json:"unfinished"` // accepted tasks that had not ended 60 s after the load: must be 0
	DurationS     float64 `json:"seconds"`
	Factor        float64 `json:"factor"`
	OtherFailures int64   `json:"other_errors"`
}

// Overload measures the engine at 1,000 in flight, and then offers it factor times that rate for a while.
func Overload(ctx context.Context, dir string, factor float64, d time.Duration) (OverloadReport, error) {
	r := OverloadReport{Factor: factor, DurationS: d.Seconds()}
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: dir})
	if err != nil {
		return r, err
	}
	defer func() { _ = srv.Shutdown(context.WithoutCancel(ctx)) }()
	o := Options{Shape: "dummy", Inflight: 1000, Duration: 5 * time.Second, Durability: natsserver.Strict}
	shape, err := parseShape(o.Shape)
	if err != nil {
		return r, err
	}
	err = withEngine(ctx, srv, o, shape, func(e *tasker.Engine) error {
		l, err := load(ctx, e, o, shape)
		if err != nil {
			return err
		}
		r.Unloaded = float64(l.done.Load()) / o.Duration.Seconds()
		return r.offer(ctx, e, shape, d)
	})
	return r, err
}

// offer is an open loop: every asker keeps to its share of the rate, whatever the answers are, and makes up for the time
// that an accepted submission took.
func (r *OverloadReport) offer(ctx context.Context, e *tasker.Engine, shape shape, d time.Duration) error {
	const askers = 4000 // goroutines: as many submissions may wait for their answer
	var accepted, refused, other, slowest atomic.Int64
	var buckets [64]atomic.Int64 // of refusals, by the logarithm of the time in ns
	var wg sync.WaitGroup
	began := time.Now()
	done := func() int64 {
		var n uint64
		for t, c := range e.Stats().Events {
			if t == domain.TaskCompletedType {
				n = c
			}
		}
		return int64(n) // #nosec G115 -- a counter
	}
	before := done()
	stop, tick := began.Add(d), 100*time.Millisecond
	rate := r.Unloaded * r.Factor / askers // of one asker, per second
	for i := range askers {
		wg.Go(func() {
			time.Sleep(tick * time.Duration(i) / askers)
			first := time.Now()
			for asks := 0; ; asks++ {
				if float64(asks) >= rate*time.Since(first).Seconds() {
					time.Sleep(tick)
				}
				asked := time.Now()
				if asked.After(stop) || ctx.Err() != nil {
					return
				}
				_, err := e.Submit(ctx, shape.name, result{true})
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, tasker.ErrOverloaded):
					took := time.Since(asked)
					refused.Add(1)
					buckets[logarithm(took)].Add(1)
					raise(&slowest, int64(took))
				default:
					other.Add(1)
				}
			}
		})
	}
	for time.Now().Before(stop) {
		r.RSSMax = max(r.RSSMax, rssMB())
		time.Sleep(50 * time.Millisecond)
	}
	r.Completed = float64(done()-before) / time.Since(began).Seconds()
	wg.Wait()
	r.Accepted, r.Refused, r.OtherFailures = accepted.Load(), refused.Load(), other.Load()
	r.Offered = float64(r.Accepted+r.Refused) / d.Seconds()
	r.Share = r.Completed / r.Unloaded
	r.RefusalMax = float64(slowest.Load()) / 1e3
	r.RefusalP99 = percentile(buckets[:], r.Refused, 0.99)
	for wait := time.Now(); done()-before < r.Accepted && time.Since(wait) < time.Minute; {
		time.Sleep(20 * time.Millisecond)
	}
	r.Unfinished = r.Accepted - (done() - before)
	if r.Unfinished > 0 {
		return fmt.Errorf("%d accepted tasks have not ended a minute after the load", r.Unfinished)
	}
	return nil
}

// raise sets n to v if that is more.
func raise(n *atomic.Int64, v int64) {
	for old := n.Load(); v > old; old = n.Load() {
		if n.CompareAndSwap(old, v) {
			return
		}
	}
}

func logarithm(d time.Duration) int {
	n := 0
	for d > 1 {
		d /= 2
		n++
	}
	return n
}

// percentile is the upper bound of the bucket that holds it, in microseconds.
func percentile(buckets []atomic.Int64, total int64, share float64) float64 {
	var sum int64
	for i := range buckets {
		if sum += buckets[i].Load(); float64(sum) >= share*float64(total) {
			return float64(int64(2)<<i) / 1e3
		}
	}
	return 0
}
