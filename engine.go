package tasker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/attached"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/executor"
	"github.com/tasker-go/tasker/subscribers/finalizer"
	"github.com/tasker-go/tasker/subscribers/reenqueuer"
	"github.com/tasker-go/tasker/subscribers/telemetry"
)

// maxSkew is how far this machine's clock may be off the server's (DESIGN 5).
const maxSkew = 30 * time.Second

// Engine runs tasks: it owns partitions of the log, decides, and executes handlers. Its methods may be called from any
// goroutine. Register definitions and handlers, then Run it; several engines may run on one log, and share the
// partitions between them.
type Engine struct {
	router
	config    Config
	closeLog  func()
	executor  *executor.Executor
	telemetry *telemetry.Telemetry
	measures  measures
	taps      *attached.Taps
	attached  *attachments
	origins   *origins // nil when nobody needs it
	outlets   outlets
	parts     []*subscribers.Coordinator
	ready     chan struct{}
	readyOnce sync.Once
	state     atomic.Int32
	full      atomic.Bool
	commands  commandServers
	intake    intake
	index     *indexer // nil: Config.Index is ""
	workflows workflows
	background
}

// The engine's life.
const (
	engineNew = iota
	engineRunning
	engineDraining
	engineStopped
)

// background is the goroutines that an engine started besides its coordinators.
type background struct {
	wg   sync.WaitGroup
	stop context.CancelFunc
}

// New opens the log and makes an engine on it. Nothing happens before Run. Errors: a Config that contradicts itself,
// domain.ErrUnavailable, *domain.StreamMissingError, data of a newer version.
func New(ctx context.Context, config Config) (*Engine, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	store, closeLog, err := config.open(ctx, false)
	if err != nil {
		return nil, err
	}
	e := &Engine{config: config, closeLog: closeLog, ready: make(chan struct{}), attached: newAttachments()}
	e.router = newRouter(store, &config)
	e.router.local = e.serveLocal
	e.telemetry = e.newTelemetry()
	e.taps = attached.NewTaps(store, config.Clock, e.definitionOf, config.Logger)
	e.executor = executor.New(executor.Config{
		Slots: config.Slots, PerHandler: config.SlotsPerHandler, Logger: config.Logger,
		Report:   func(partition int, id domain.TaskID, cmd domain.Command) { e.parts[partition].Report(id, cmd) },
		Confirm:  e.confirm,
		Annotate: e.annotate,
		Load:     e.payloads.load,
		Store:    e.payloads.store,
		Sequence: e.sequence,
		Tap:      e.taps,
		Context:  e.telemetry.HandlerContext,
	})
	if config.Index != "" {
		e.index = newIndexer(e, config.Index)
		e.router.near = e.index.near
	}
	for p := range store.Data().Partitions {
		e.parts = append(e.parts, subscribers.NewCoordinator(e.coordinatorConfig(p)))
	}
	if err := e.registerMetrics(); err != nil {
		closeLog()
		return nil, err
	}
	e.executor.OnFree(func() {
		for _, c := range e.parts {
			c.Resume()
		}
	})
	if err := e.openOutlets(ctx); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) coordinatorConfig(partition int) subscribers.Config {
	return e.observed(subscribers.Config{
		Partition: partition, Store: e.store, Holder: e.config.Name, Engine: Version(),
		NewReactors: func() []subscribers.Reactor {
			return []subscribers.Reactor{reenqueuer.Reenqueuer{}, finalizer.Finalizer{}, discoverer.New(e.slots(partition))}
		},
		Subscribers: []subscribers.Subscriber{e.executor, e.telemetry},
		Tap:         e.taps,
		Abandoned:   e.executor.CancelPartition,
		Changed:     e.phaseChanged,
		Admit:       e.admit,
		Cursors:     e.slowestCursor(partition),
		Near:        e.router.nearest,
		Clock:       e.config.Clock, Logger: e.config.Logger,
		LeaseTTL: e.config.LeaseTTL, Queue: e.config.MaxQueue, MaxHeld: e.config.MaxReady,
		SnapshotBytes: e.config.SnapshotBytes, Retention: e.config.Retention, ErrorRetention: e.config.ErrorRetention, Idempotency: e.config.IdempotencyWindow,
		MaxKeys: (e.config.MaxKeys + e.store.Data().Partitions - 1) / e.store.Data().Partitions,
	})
}

// Run runs the engine until ctx ends; then it starts no more steps, waits for running ones at most Config.Drain, records
// the rest as interrupted, and gives its partitions back. A second call is an error. The error is nil after a regular
// stop.
func (e *Engine) Run(ctx context.Context) error {
	if !e.state.CompareAndSwap(engineNew, engineRunning) {
		return errors.New("tasker: Run was called before on this engine; make a new one")
	}
	defer e.state.Store(engineStopped)
	defer e.closeLog()
	defer e.closeTaps()
	defer e.closeOutlets()
	defer e.attached.stop()
	defer e.unregisterMetrics()
	if err := e.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	e.startOutlets(ctx)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var side context.Context
	side, e.background.stop = context.WithCancel(work)
	e.background.wg.Go(func() { e.watch(side) })
	stopTelemetry := e.startTelemetry(side)
	if e.index != nil {
		e.background.wg.Go(func() { e.index.run(side) })
	}
	e.intake.start(e)
	var owners sync.WaitGroup
	failed := make(chan error, len(e.parts))
	for _, c := range e.parts {
		owners.Go(func() {
			if err := c.Run(work); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	e.intake.stop() // while this engine can still answer
	e.state.Store(engineDraining)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(e.config.Drain, 0))
	e.executor.Drain(drain)
	cancel()
	e.background.stop()
	stop()
	owners.Wait()
	e.background.wg.Wait()
	stopTelemetry()
	e.commands.stopAll()
	return err
}

// prepare is what has to go well before anything starts.
func (e *Engine) prepare(ctx context.Context) error {
	if err := e.checkClock(ctx); err != nil {
		return err
	}
	return e.definitions.refresh(ctx)
}

// Ready is closed when this engine owns a partition and takes submissions. An engine that finds all partitions owned by
// others is a standby, and becomes ready when it takes over.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Close gives up an engine that is never run.
func (e *Engine) Close() {
	if e.state.CompareAndSwap(engineNew, engineStopped) {
		e.unregisterMetrics()
		e.attached.stop()
		e.closeOutlets()
		e.closeTaps()
		e.closeLog()
	}
}

func (e *Engine) phaseChanged(partition int, phase subscribers.Phase) {
	if phase != subscribers.Owning && phase != subscribers.Closed {
		e.commands.stop(partition)
		return
	}
	// A closed partition answers why it is closed, and takes the operator's word to skip a message.
	if err := e.commands.start(e, partition); err != nil {
		e.config.Logger.Error("other processes cannot reach the partition", "partition", partition, "error", err)
	}
	if phase == subscribers.Owning {
		e.readyOnce.Do(func() { close(e.ready) })
	}
}

// checkClock refuses to run with a clock that would date events wrongly.
func (e *Engine) checkClock(ctx context.Context) error {
	server, err := e.store.Clock(ctx)
	if err != nil {
		return err
	}
	if skew := e.config.Clock().Sub(server); skew > maxSkew || skew < -maxSkew {
		return fmt.Errorf("this machine's clock is %s off the server's (more than %s): set it, for instance with NTP, and start again",
			skew.Round(time.Millisecond), maxSkew)
	}
	return nil
}

// watch looks after what changes slowly: how full the store is, and definitions that others have applied. A store that
// says nothing of its limit is looked at once a minute, so that a month of virtual time costs little.
func (e *Engine) watch(ctx context.Context) {
	const quick, slow = 2 * time.Second, time.Minute
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := quick
		usage, err := e.store.Usage(ctx)
		if err == nil {
			if usage == 0 {
				next = slow
			}
			if full := usage >= 0.9; full != e.full.Swap(full) {
				e.config.Logger.Warn("fill level of the store", "usage", usage, "submissions_refused", full)
			}
		}
		if n%5 == 4 || n > 0 && next == slow {
			if err := e.definitions.refresh(ctx); err != nil && ctx.Err() == nil {
				e.config.Logger.Debug("definitions were not refreshed", "error", err)
			}
		}
		timer.Reset(next)
	}
}

func (e *Engine) admit() error {
	if e.full.Load() {
		return ErrStoreFull
	}
	return nil
}

// Stats are the numbers of this process.
type Stats struct {
	Partitions []subscribers.Stats
	Executor   executor.Stats
	Intake     IntakeStats
	Events     map[domain.EventType]uint64
}

// Stats returns the numbers as they are now.
func (e *Engine) Stats() Stats {
	s := Stats{Executor: e.executor.Stats(), Intake: e.intake.stats(), Events: e.telemetry.Counters()}
	for _, c := range e.parts {
		s.Partitions = append(s.Partitions, c.Stats())
	}
	return s
}

// Info says what the engine runs on.
func (e *Engine) Info() domain.DataInfo { return e.store.Data() }

// stampedVersion is set by the linker where the build does not know one: go build -ldflags "-X github.com/tasker-go/tasker.stampedVersion=v1.2.3".
var stampedVersion string

// Version of the engine: what the linker was told, or that of the module in the running binary, or "devel".
func Version() string {
	if stampedVersion != "" {
		return stampedVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, dep := range append(info.Deps, &info.Main) {
		if dep.Path == modulePath && dep.Version != "" && dep.Version != "(devel)" {
			return dep.Version
		}
	}
	return "devel"
}

const modulePath = "github.com/tasker-go/tasker"
