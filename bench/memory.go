package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// MemoryReport is what very many tasks cost, all with idempotency keys, one in a hundred of them failed.
type MemoryReport struct {
	Tasks        int64   `json:"tasks"`
	RSSPeak      float64 `json:"rss_mb_peak"`
	RSSAt100k    float64 `json:"rss_mb_at_100k"` // at rest
	RSSAtEnd     float64 `json:"rss_mb_at_end"`  // at rest
	BytesPerKey  float64 `json:"rss_bytes_per_key"`
	TasksPerS    float64 `json:"tasks_per_s"`
	Restart      float64 `json:"restart_s"`             // after a regular stop: server and engine, until every partition is owned
	RestartKill  float64 `json:"restart_kill_s"`        // the same without a regular stop
	KillServer   float64 `json:"restart_kill_server_s"` // of it the NATS server, which reads its files again
	Resubmitted  int64   `json:"resubmitted"`
	CreatedAgain int64   `json:"created_again"` // must be 0
}

// Fill runs the first n keyed tasks on the data directory, and calls end while the engine still runs.
func Fill(ctx context.Context, dir string, n int, r *MemoryReport, end func()) error {
	return onDirectory(ctx, dir, func(e *tasker.Engine, _, _ time.Duration) error {
		var resting time.Duration
		began := time.Now()
		_, err := keyed(ctx, e, n, func(k int64) {
			if k == 100_000 {
				rest := time.Now()
				r.RSSAt100k = rssAtRest()
				resting = time.Since(rest)
			}
			if k%20_000 == 0 {
				r.RSSPeak = max(r.RSSPeak, rssMB())
			}
		})
		r.Tasks, r.TasksPerS = int64(n), float64(n)/(time.Since(began)-resting).Seconds()
		r.RSSAtEnd = rssAtRest()
		r.BytesPerKey = (r.RSSAtEnd - r.RSSAt100k) * (1 << 20) / float64(max(n-100_000, 1))
		if err == nil {
			end()
		}
		return err
	})
}

// restTime is longer than the NATS server keeps blocks of a stream in memory that nobody reads or writes (10 s): 8 MiB a
// block, one or two of them per stream, whatever is stored.
const restTime = 12 * time.Second

// rssAtRest is the memory of the process when nothing has happened for a while and what nobody holds has been given
// back; pools keep theirs for two collections.
func rssAtRest() float64 {
	time.Sleep(restTime)
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
	return rssMB()
}

// Again starts on a directory that Fill filled, submits the first n tasks again, and calls end while the engine runs.
func Again(ctx context.Context, dir string, n int, r *MemoryReport, killed bool, end func()) error {
	return onDirectory(ctx, dir, func(e *tasker.Engine, server, ready time.Duration) error {
		if killed {
			r.RestartKill, r.KillServer = ready.Seconds(), server.Seconds()
		} else {
			r.Restart = ready.Seconds()
		}
		created, err := keyed(ctx, e, n, func(int64) {})
		r.Resubmitted, r.CreatedAgain = int64(n), created
		if err == nil {
			end()
		}
		return err
	})
}

// Live makes n tasks that wait for a long time, so that a restart has to load them.
func Live(ctx context.Context, dir string, n int) error {
	return onDirectory(ctx, dir, func(e *tasker.Engine, _, _ time.Duration) error {
		var wg sync.WaitGroup
		var next atomic.Int64
		errs := make(chan error, 1)
		for range 1000 {
			wg.Go(func() {
				for next.Add(1) <= int64(n) && ctx.Err() == nil {
					if _, err := e.Submit(ctx, "waiting", result{true}); err != nil {
						select {
						case errs <- err:
						default:
						}
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case err := <-errs:
			return err
		default:
			return nil
		}
	})
}

func onDirectory(ctx context.Context, dir string, f func(e *tasker.Engine, server, ready time.Duration) error) error {
	return onDirectoryWith(ctx, dir, Options{FailShare: 0.01}, f)
}

func onDirectoryWith(ctx context.Context, dir string, o Options, f func(e *tasker.Engine, server, ready time.Duration) error) error {
	o.Durability = natsserver.Strict
	began := time.Now()
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: dir})
	if err != nil {
		return err
	}
	server := time.Since(began)
	defer func() { _ = srv.Shutdown(context.WithoutCancel(ctx)) }()
	shape, err := parseShape("dummy")
	if err != nil {
		return err
	}
	return withEngine(ctx, srv, o, shape, func(e *tasker.Engine) error {
		waiting, err := tasker.Define("waiting").
			StepNamed("sleep", domain.SleepHandler, tasker.HandlerConfig(map[string]string{"duration": "240h"})).
			StepNamed("after", worker, tasker.After("sleep")).
			StepNamed("later", worker, tasker.After("after")).
			StepNamed("last", worker, tasker.After("later")).Build()
		if err != nil {
			return err
		}
		if err := e.Register(waiting); err != nil {
			return err
		}
		for owned := 0; owned < e.Info().Partitions; {
			owned = 0
			for _, p := range e.Stats().Partitions {
				if p.Phase == "owning" {
					owned++
				}
			}
			if owned < e.Info().Partitions {
				time.Sleep(time.Millisecond)
			}
		}
		return f(e, server, time.Since(began))
	})
}

// keyed submits keys 1 to n, 1,000 at a time, and waits for what it created.
func keyed(ctx context.Context, e *tasker.Engine, n int, at func(k int64)) (created int64, err error) {
	var next, made atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 1000 {
		wg.Go(func() {
			for k := next.Add(1); k <= int64(n) && ctx.Err() == nil; k = next.Add(1) {
				receipt, failure := e.Submit(ctx, "dummy_task", result{true}, tasker.Key(fmt.Sprint("key-", k)))
				if failure == nil && receipt.Created {
					made.Add(1)
					var failed *tasker.TaskFailedError
					if _, failure = e.Wait(ctx, receipt.ID); errors.As(failure, &failed) {
						failure = nil
					}
				}
				mu.Lock()
				at(k)
				if failure != nil && err == nil {
					err = failure
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return made.Load(), err
}
