package tasker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/attached"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/executor"
	"github.com/tasker-go/tasker/subscribers/telemetry"
)

// Traces say what becomes of the spans of tasks and executions: see Config.Traces.
type Traces = telemetry.Traces

// sampleEvery is how often is looked at what would cost too much to follow.
const sampleEvery = 15 * time.Second

// spanPatience is how long the end of an engine waits for the exporter of its last spans.
const spanPatience = 5 * time.Second

// measures are what an engine knows of itself for its metrics.
type measures struct {
	collector prometheus.Collector // nil: nothing is measured
	refused   map[subscribers.Refusal]*atomic.Uint64

	mu    sync.Mutex
	sizes []int64 // bytes of the log by partition; -1: not ours, or not known
	usage float64
	lag   map[string]uint64
}

func (e *Engine) newTelemetry() *telemetry.Telemetry {
	e.measures.refused = map[subscribers.Refusal]*atomic.Uint64{}
	for _, reason := range subscribers.Refusals {
		e.measures.refused[reason] = new(atomic.Uint64)
	}
	return telemetry.New(telemetry.Config{
		Logger: e.config.Logger, Partitions: e.store.Data().Partitions, Metrics: e.config.Metrics != nil,
		Traces: e.config.Traces, Version: Version(),
	})
}

// registerMetrics makes the engine's metrics known to Config.Metrics.
func (e *Engine) registerMetrics() error {
	if e.config.Metrics == nil {
		return nil
	}
	collector := e.telemetry.Collector(e.process)
	if err := e.config.Metrics.Register(collector); err != nil {
		return fmt.Errorf("tasker: the metrics cannot be registered; engines that share a registry need a label each, "+
			"see prometheus.WrapRegistererWith: %w", err)
	}
	e.measures.collector = collector
	return nil
}

func (e *Engine) unregisterMetrics() {
	if e.measures.collector != nil {
		e.config.Metrics.Unregister(e.measures.collector)
	}
}

// observed is the configuration of a coordinator that telemetry listens to.
func (e *Engine) observed(c subscribers.Config) subscribers.Config {
	c.Moments = e.telemetry.Moments()
	if meter := e.telemetry.Partition(c.Partition); meter != nil {
		c.Meter = meter
	}
	return c
}

// slots is where the steps of a partition get their slots.
func (e *Engine) slots(partition int) discoverer.Slots {
	if meter := e.telemetry.Partition(partition); meter != nil {
		return meteredSlots{e.executor, meter}
	}
	return e.executor
}

// meteredSlots also hears how long steps waited.
type meteredSlots struct {
	*executor.Executor
	meter *telemetry.Meter
}

// Waited is told by the discoverer.
func (s meteredSlots) Waited(d time.Duration) { s.meter.Waited(d) }

// refusing counts a refusal of this process.
func (e *Engine) refusing(err error) {
	if reason, ok := subscribers.RefusalOf(err); ok {
		e.measures.refused[reason].Add(1)
	}
}

// process is what the metrics are made of beside events.
func (e *Engine) process() telemetry.Process {
	p := telemetry.Process{Version: Version(), Refused: map[subscribers.Refusal]uint64{}}
	for _, c := range e.parts {
		p.Partitions = append(p.Partitions, c.Stats())
	}
	for reason, n := range e.measures.refused {
		p.Refused[reason] = n.Load()
	}
	i := e.intake.stats()
	p.Intake = telemetry.Intake{Accepted: i.Accepted, Repeated: i.Repeated, Refused: i.Refused, Retried: i.Retried}
	s := e.executor.Stats()
	p.Slots, p.SlotsUsed, p.SlotsLeaked, p.Late = s.Slots, s.Running, s.Leaked, s.Late
	for _, h := range s.Handlers {
		p.Handlers = append(p.Handlers, telemetry.HandlerSlots{Name: h.Name, Used: h.Running, Limit: h.Limit})
	}
	if e.index != nil {
		p.Index = e.index.measured(context.Background())
	}
	e.measures.mu.Lock()
	defer e.measures.mu.Unlock()
	p.LogSizes, p.StoreUsage, p.Lag = e.measures.sizes, e.measures.usage, e.measures.lag
	return p
}

// sample looks from time to time at the sizes of the log and at the lag of durable subscribers, until ctx ends.
func (e *Engine) sample(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := time.Second; ; pause = min(2*pause, sampleEvery) { // sooner at first: partitions are still being opened
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		e.look(ctx)
		timer.Reset(pause)
	}
}

// look keeps the last picture of what cannot be had now.
func (e *Engine) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleEvery)
	defer cancel()
	sizes := make([]int64, len(e.parts))
	for i, c := range e.parts {
		sizes[i] = -1
		if !owns(c) {
			continue
		}
		if b, err := e.store.Log(i).Bounds(ctx); err == nil && b.Bytes <= math.MaxInt64 {
			sizes[i] = int64(b.Bytes)
		}
	}
	usage, usageErr := e.store.Usage(ctx)
	saved, lagErr := attached.List(ctx, e.store)
	lag := make(map[string]uint64, len(saved))
	for _, s := range saved {
		for _, p := range s.Partitions {
			if n := p.Next.Partition; n < len(e.parts) && owns(e.parts[n]) {
				lag[s.Name] += p.Lag
			}
		}
	}
	m := &e.measures
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sizes = sizes
	if usageErr == nil {
		m.usage = usage
	}
	if lagErr == nil {
		m.lag = lag
	}
}

func owns(c *subscribers.Coordinator) bool {
	phase, _ := c.Phase()
	return phase == subscribers.Owning
}

// Healthy says why this process does not do its part now; nil when it does, also while other engines own all partitions.
func (e *Engine) Healthy() error {
	switch e.state.Load() {
	case engineNew, engineStopped:
		return ErrNotRunning
	case engineDraining:
		return errors.New("the engine is stopping")
	}
	for _, c := range e.parts {
		switch phase, why := c.Phase(); phase {
		case subscribers.Closed:
			return why
		case subscribers.Loading:
			return fmt.Errorf("partition %02d is being loaded", c.Partition)
		case subscribers.Owning:
			if c.Gone() {
				return fmt.Errorf("partition %02d: %w", c.Partition, ErrUnavailable)
			}
		case subscribers.Away, subscribers.Stopped:
		}
	}
	return nil
}

// startTelemetry begins to export and to sample; stop ends both, when nothing happens any more.
func (e *Engine) startTelemetry(side context.Context) (stop func()) {
	e.telemetry.Start()
	if e.measures.collector != nil {
		e.background.wg.Go(func() { e.sample(side) })
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), spanPatience)
		defer cancel()
		e.telemetry.Stop(ctx)
	}
}
