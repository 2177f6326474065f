// Package bench measures the engine as a user would meet it: through Submit, handlers and Wait, on a log on disk, with
// everything switched on. The command line's bench verb prints its Report; make bench makes docs/performance.md of it.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// Options of one measurement. Duration or Tasks must be set.
type Options struct {
	Shape      string // dummy, diamond, fanout:N, chain:N
	Inflight   int
	Duration   time.Duration
	Tasks      int
	Durability natsserver.Durability
	Dir        string // data directory; used as it is found
	Partitions int    // 0 = the engine's default
	Keys       bool   // every submission has an idempotency key
	FailShare  float64
	WarmUp     time.Duration // run before the clock starts; default 500 ms with Duration, else none
	Baselines  bool          // measure fsync and single appends first, in the same run
	Attach     bool          // a durable subscriber that does nothing listens to everything
	// SnapshotBytes is Config.SnapshotBytes.
	SnapshotBytes int64
	// Configure changes the engine's configuration, and Ended looks at the engine after its end; nil: nothing.
	Configure func(*tasker.Config) `json:"-"`
	Ended     func(*tasker.Engine) `json:"-"`
}

// Report is one measurement. Times are in microseconds, sizes in bytes unless their name says otherwise.
type Report struct {
	Shape            string   `json:"shape"`
	Inflight         int      `json:"inflight"`
	Tasks            int64    `json:"tasks"`
	Seconds          float64  `json:"seconds"`
	TasksPerS        float64  `json:"tasks_per_s"`
	StepsPerS        float64  `json:"steps_per_s"`
	P50              float64  `json:"p50_us"`
	P99              float64  `json:"p99_us"`
	CPUPerTask       float64  `json:"cpu_us_per_task"`
	LogBytesPerTask  float64  `json:"log_bytes_per_task"`            // as published, before compression
	DiskBytesPerTask float64  `json:"disk_bytes_per_task,omitempty"` // files of the data directory, after a regular stop
	CommitsPerS      float64  `json:"commits_per_s"`
	EventsPerCommit  float64  `json:"events_per_commit"`
	AckP50           float64  `json:"ack_us_mean"` // append to acknowledgement
	FsyncP50         float64  `json:"fsync_us_p50,omitempty"`
	FsyncsPerCommit  *float64 `json:"fsyncs_per_commit"` // cache flushes of the data directory's disk; null where the system does not count them
	AppendP50        float64  `json:"append_us_p50,omitempty"`
	ChainRatio       float64  `json:"chain_ratio,omitempty"` // p50 / (steps * append_us_p50)
	Partitions       int      `json:"partitions"`
	RSS              float64  `json:"rss_mb"`
	Durability       string   `json:"durability"`
	GOMAXPROCS       int      `json:"gomaxprocs"`
	CPUModel         string   `json:"cpu_model"`
	NATSServer       string   `json:"nats_server"`
	Commit           string   `json:"commit"`
	Failed           int64    `json:"failed,omitempty"`
	Refused          int64    `json:"refused,omitempty"`
}

// Run measures once.
func Run(ctx context.Context, o Options) (Report, error) {
	shape, err := parseShape(o.Shape)
	if err != nil {
		return Report{}, err
	}
	if o.Inflight <= 0 {
		o.Inflight = 1
	}
	if o.Duration <= 0 && o.Tasks <= 0 {
		return Report{}, errors.New("bench: say how long (--duration) or how many tasks (--tasks)")
	}
	r := Report{
		Shape: o.Shape, Inflight: o.Inflight, Durability: string(o.Durability), GOMAXPROCS: runtime.GOMAXPROCS(0),
		CPUModel: cpuModel(), NATSServer: server.VERSION, Commit: revision(),
	}
	if o.Baselines {
		if r.FsyncP50, err = fsyncP50(o.Dir); err != nil {
			return r, err
		}
	}
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: o.Dir, Durability: o.Durability})
	if err != nil {
		return r, err
	}
	stopServer := sync.OnceFunc(func() { _ = srv.Shutdown(context.WithoutCancel(ctx)) })
	defer stopServer()
	if o.Baselines {
		if r.AppendP50, err = appendP50(ctx, srv); err != nil {
			return r, err
		}
	}
	disk, all := diskBytes(o.Dir), int64(0)
	err = withEngine(ctx, srv, o, shape, func(e *tasker.Engine) error { return measure(ctx, e, o, shape, &r, &all) })
	stopServer()
	// Blocks of the log are compressed when they are full: only the whole run says what a task takes.
	r.DiskBytesPerTask = float64(diskBytes(o.Dir)-disk) / float64(max(all, 1))
	return r, err
}

func withEngine(ctx context.Context, srv *natsserver.Server, o Options, shape shape, f func(*tasker.Engine) error) error {
	config := tasker.Config{Connect: srv.Connect, StoreLimit: srv.MaxStore(), Durability: string(o.Durability), Partitions: o.Partitions, SnapshotBytes: o.SnapshotBytes}
	if o.Configure != nil {
		o.Configure(&config)
	}
	e, err := tasker.New(ctx, config)
	if err != nil {
		return err
	}
	if err := shape.register(e, o.FailShare); err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var ended error
	wg.Go(func() { ended = e.Run(run) })
	if o.Attach {
		wg.Go(func() {
			_ = e.Attach(run, "bench", nil, func(context.Context, tasker.Event) error { return nil })
		})
	}
	select {
	case <-e.Ready():
		err = f(e)
	case <-ctx.Done():
		err = ctx.Err()
	}
	stop()
	wg.Wait()
	if o.Ended != nil {
		o.Ended(e)
	}
	return errors.Join(err, ended)
}

func measure(ctx context.Context, e *tasker.Engine, o Options, shape shape, r *Report, all *int64) error {
	r.Partitions = e.Info().Partitions
	if o.WarmUp == 0 && o.Duration > 0 {
		o.WarmUp = 500 * time.Millisecond
	}
	if o.WarmUp > 0 {
		warm := o
		warm.Duration, warm.Tasks = o.WarmUp, 0
		l, err := load(ctx, e, warm, shape)
		if err != nil {
			return err
		}
		*all += l.done.Load()
	}
	before, cpu, flushes := e.Stats(), cpuTime(), diskFlushes(o.Dir)
	began := time.Now()
	l, err := load(ctx, e, o, shape)
	if err != nil {
		return err
	}
	took, after := time.Since(began).Seconds(), e.Stats()
	n := float64(l.done.Load())
	*all += l.done.Load()
	r.Tasks, r.Seconds, r.Failed, r.Refused = l.done.Load(), took, l.failed.Load(), l.refused.Load()
	r.TasksPerS, r.StepsPerS = n/took, n*float64(shape.steps)/took
	r.CPUPerTask = float64((cpuTime() - cpu).Microseconds()) / n
	sort.Slice(l.latencies, func(i, j int) bool { return l.latencies[i] < l.latencies[j] })
	if k := len(l.latencies); k > 0 {
		r.P50, r.P99 = micros(l.latencies[k/2]), micros(l.latencies[k*99/100])
	}
	var commits, events, bytes int64
	var acks time.Duration
	for i, p := range after.Partitions {
		b := before.Partitions[i]
		commits += p.Commits - b.Commits
		events += p.Events - b.Events
		bytes += p.Bytes - b.Bytes
		acks += p.AckWait - b.AckWait
	}
	r.LogBytesPerTask = float64(bytes) / n
	r.CommitsPerS = float64(commits) / took
	r.EventsPerCommit = float64(events) / float64(max(commits, 1))
	r.AckP50 = micros(acks) / float64(max(commits, 1))
	if now := diskFlushes(o.Dir); now >= 0 && flushes >= 0 && commits > 0 {
		share := float64(now-flushes) / float64(commits)
		r.FsyncsPerCommit = &share
	}
	if r.AppendP50 > 0 && shape.chain > 0 {
		r.ChainRatio = r.P50 / (float64(shape.chain) * r.AppendP50)
	}
	r.RSS = rssMB()
	return nil
}

// loaded is what a load came to.
type loaded struct {
	done, failed, refused atomic.Int64
	mu                    sync.Mutex
	latencies             []time.Duration
}

// load keeps Inflight tasks going, each from Submit to Wait.
func load(ctx context.Context, e *tasker.Engine, o Options, shape shape) (*loaded, error) {
	l := &loaded{}
	began := time.Now()
	var started atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, o.Inflight)
	run := fmt.Sprintf("%x", rand.Uint64()) // #nosec G404 -- keys of a benchmark
	for range o.Inflight {
		wg.Go(func() {
			var own []time.Duration
			defer func() {
				l.mu.Lock()
				l.latencies = append(l.latencies, own...)
				l.mu.Unlock()
			}()
			for {
				n := started.Add(1)
				if o.Tasks > 0 && n > int64(o.Tasks) || o.Duration > 0 && time.Since(began) > o.Duration || ctx.Err() != nil {
					return
				}
				var options []tasker.SubmitOption
				if o.Keys {
					options = append(options, tasker.Key(fmt.Sprintf("%s-%d", run, n)))
				}
				sent := time.Now()
				if err := one(ctx, e, shape, options, l); err != nil {
					errs <- err
					return
				}
				own = append(own, time.Since(sent))
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return l, err
	default:
		return l, ctx.Err()
	}
}

func one(ctx context.Context, e *tasker.Engine, shape shape, options []tasker.SubmitOption, l *loaded) error {
	receipt, err := e.Submit(ctx, shape.name, map[string]bool{"dummy": true}, options...)
	if errors.Is(err, tasker.ErrOverloaded) {
		l.refused.Add(1)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = e.Wait(ctx, receipt.ID)
	var failed *tasker.TaskFailedError
	if errors.As(err, &failed) && failed.State == domain.Error {
		l.failed.Add(1)
		err = nil
	}
	l.done.Add(1)
	return err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
