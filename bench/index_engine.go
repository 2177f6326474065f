package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// IndexEngineOptions say how long IndexEngine takes.
type IndexEngineOptions struct {
	Dir    string // where the data directories go; emptied behind each measurement
	Rounds int    // of the comparison; default 5
	Slice  time.Duration
	Rate   int           // tasks per second while the lag is measured; default 10,000
	For    time.Duration // that the lag is measured; default 30 s
	Keyed  bool          // the tasks of that have idempotency keys
}

// IndexEngineReport is what an index costs the engine, and how it keeps up.
type IndexEngineReport struct {
	Rounds  int     `json:"rounds"`
	Slice   float64 `json:"slice_s"`
	Without float64 `json:"tasks_per_s_without"`
	With    float64 `json:"tasks_per_s_with"`
	Ratio   float64 `json:"ratio"` // the median of the rounds
	Low     float64 `json:"low"`
	High    float64 `json:"high"`

	Seconds   float64 `json:"lag_seconds"` // that the lag was measured
	Rate      float64 `json:"lag_tasks_per_s"`
	LagMS     float64 `json:"lag_ms_max"`
	LagP50    float64 `json:"lag_ms_p50"`
	CatchUpMS float64 `json:"catch_up_ms"` // behind the load, until the index had everything

	RebuildPerS float64 `json:"rebuild_events_per_s"` // of what was stored meanwhile, through NATS, beside the idle engine
}

// IndexEngine measures the dummy task with and without an index, in turns, and then how far the index is behind at a rate.
func IndexEngine(ctx context.Context, o IndexEngineOptions) (IndexEngineReport, error) {
	o.Rounds, o.Rate = cmpOr(o.Rounds, 5), cmpOr(o.Rate, 10_000)
	o.Slice, o.For = cmpOr(o.Slice, 2*time.Second), cmpOr(o.For, 30*time.Second)
	r := IndexEngineReport{Rounds: o.Rounds, Slice: o.Slice.Seconds()}
	var rates [2][]float64
	for round := range o.Rounds {
		for i := range 2 {
			with := (i+round)%2 == 1
			one, err := indexOnce(ctx, o, with)
			if err != nil {
				return r, err
			}
			k := 0
			if with {
				k = 1
			}
			rates[k] = append(rates[k], one.TasksPerS)
		}
	}
	all := ratios(rates[1], rates[0])
	r.Ratio, r.Low, r.High = middle(all), all[0], all[len(all)-1]
	r.Without, r.With = middle(slices.Sorted(slices.Values(rates[0]))), middle(slices.Sorted(slices.Values(rates[1])))
	return r, indexLag(ctx, o, &r)
}

func indexOnce(ctx context.Context, o IndexEngineOptions, with bool) (Report, error) {
	dir, err := os.MkdirTemp(o.Dir, "index")
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	options := Options{Shape: "dummy", Inflight: 1000, Duration: o.Slice, Durability: natsserver.Strict, Dir: filepath.Join(dir, "data")}
	if with {
		options.Configure = func(c *tasker.Config) { c.Index = filepath.Join(dir, "index.db") }
	}
	return Run(ctx, options)
}

// indexLag runs the dummy task at a rate, and asks ten times a second how far the index is behind.
func indexLag(ctx context.Context, o IndexEngineOptions, r *IndexEngineReport) error {
	dir, err := os.MkdirTemp(o.Dir, "lag")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: filepath.Join(dir, "data"), Durability: natsserver.Strict})
	if err != nil {
		return err
	}
	defer func() { _ = srv.Shutdown(context.WithoutCancel(ctx)) }()
	shape, err := parseShape("dummy")
	if err != nil {
		return err
	}
	b := Options{Shape: "dummy", Configure: func(c *tasker.Config) { c.Index = filepath.Join(dir, "index.db") }}
	return withEngine(ctx, srv, b, shape, func(e *tasker.Engine) error {
		var lags []float64
		sampling, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		var failed error
		wg.Go(func() { lags, failed = sampleLag(sampling, e) })
		began := time.Now()
		n, err := atRate(ctx, e, shape, o)
		r.Seconds = time.Since(began).Seconds()
		r.Rate = float64(n) / r.Seconds
		stop()
		wg.Wait()
		if err = errors.Join(err, failed); err != nil || len(lags) == 0 {
			return errors.Join(err, failed)
		}
		slices.Sort(lags)
		r.LagMS, r.LagP50 = lags[len(lags)-1], lags[len(lags)/2]
		began = time.Now()
		for {
			lag, err := e.IndexLag(ctx)
			if err != nil {
				return err
			}
			if lag.Commits == 0 {
				r.CatchUpMS = micros(time.Since(began)) / 1000
				return rebuildAgain(ctx, e, r)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

func rebuildAgain(ctx context.Context, e *tasker.Engine, r *IndexEngineReport) error {
	if err := e.RebuildIndex(ctx, nil); err != nil {
		return err
	}
	s, err := e.IndexStatus(ctx)
	if err == nil && s.Rebuild != nil {
		r.RebuildPerS = float64(s.Rebuild.Events) / s.Rebuild.Took.Seconds()
	}
	return err
}

func sampleLag(ctx context.Context, e *tasker.Engine) (lags []float64, err error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return lags, nil
		case <-ticker.C:
			lag, err := e.IndexLag(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return lags, nil // the measurement is over
				}
				return lags, err
			}
			lags = append(lags, micros(lag.Behind)/1000)
		}
	}
}

// atRate runs tasks at a rate, as well as 1,000 at once can.
func atRate(ctx context.Context, e *tasker.Engine, shape shape, o IndexEngineOptions) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tokens := make(chan int, 1000)
	var l loaded
	var wg sync.WaitGroup
	for range cap(tokens) {
		wg.Go(func() {
			for n := range tokens {
				var options []tasker.SubmitOption
				if o.Keyed {
					options = append(options, tasker.Key(fmt.Sprint(n)))
				}
				if err := one(ctx, e, shape, options, &l); err != nil {
					cancel(fmt.Errorf("a task of the load: %w", err))
					return
				}
			}
		})
	}
	began := time.Now()
	sent := 0
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for time.Since(began) < o.For && ctx.Err() == nil {
		<-ticker.C
		for due := int(time.Since(began).Seconds() * float64(o.Rate)); sent < due && ctx.Err() == nil; sent++ {
			select {
			case tokens <- sent:
			case <-ctx.Done():
			}
		}
	}
	close(tokens)
	wg.Wait()
	return l.done.Load(), context.Cause(ctx)
}
