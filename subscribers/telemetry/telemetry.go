// Package telemetry makes what happens visible: it counts and measures events, makes spans of them, and writes them to the
// log.
//
//	telemetry.go   what it is told
//	list.go        the metrics: names, labels, meaning
//	shard.go       counting, on the coordinators' goroutines
//	labels.go      label sets, first come, first served
//	sums.go        adding up for a scrape
//	collector.go   what Prometheus gets
//	tracer.go      which spans there are
//	span.go        a span as OpenTelemetry sees it
//	export.go      the queue to the exporter
//	logs.go        lines of the log
package telemetry

import (
	"context"
	"log/slog"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Telemetry is told of every fact, after its commit. It writes the end of a task at level info, a failed execution that
// will be retried at warn, a final failure at error, and everything else at debug; a level that is off costs nothing. A
// signal of observability.step.* has no line of its own: the line of the fact that it follows from names it, as signal,
// beside task, step and attempt; so each is written once. It is counted by itself.
//
// The coordinators of all partitions share a Telemetry; Notify is called on one goroutine per partition, every other
// method on any.
type Telemetry struct {
	log      *slog.Logger
	types    []domain.EventType       // the last one stands for custom events
	index    map[domain.EventType]int // read only
	shards   []*shard                 // by partition
	labels   *labels
	measures bool
	spans    *tracer // nil: no traces
}

// Config is what a Telemetry is made of.
type Config struct {
	Logger     *slog.Logger // default slog.Default()
	Partitions int          // of the log; default 1
	Metrics    bool         // measure tasks and steps, for Collector
	Traces     Traces       // without an exporter there are none
	Version    string       // of the engine, in spans
}

var _ subscribers.Subscriber = (*Telemetry)(nil)

// New makes a Telemetry. Start begins to export spans.
func New(c Config) *Telemetry {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	t := &Telemetry{
		log: c.Logger, types: domain.Types(), index: map[domain.EventType]int{}, labels: newLabels(), measures: c.Metrics,
		spans: newTracer(c),
	}
	t.types = append(t.types, domain.SignalStepBackoff, domain.SignalMaxRetriesReached, domain.SignalStepSkip)
	for i, eventType := range t.types {
		t.index[eventType] = i
	}
	t.types = append(t.types, "custom")
	for range max(c.Partitions, 1) {
		t.shards = append(t.shards, newShard(t))
	}
	return t
}

// Name is the subscriber's name.
func (*Telemetry) Name() string { return "telemetry" }

// SubscribesTo lists every fact.
func (*Telemetry) SubscribesTo() []domain.EventType { return domain.Types() }

// Moments reports whether Committed.Before has to be filled in.
func (t *Telemetry) Moments() bool { return t.measures || t.spans != nil }

// Partition is where the coordinator of a partition says what commits cost, and the discoverer how long steps waited; nil
// when nothing is measured.
func (t *Telemetry) Partition(partition int) *Meter {
	if !t.measures {
		return nil
	}
	return &Meter{t.shards[partition]}
}

// Notify counts the event, measures what ended with it, makes a span of that, and writes a line. It neither blocks nor,
// unless there is a line to write, allocates.
func (t *Telemetry) Notify(c subscribers.Committed) {
	s := t.shards[c.Record.Position.Partition%len(t.shards)]
	s.count(c.Record.Event.Type())
	if signal := domain.StepSignal(c.Record.Event); signal != "" {
		s.count(signal)
	}
	if c.Task != nil {
		if t.measures {
			s.measure(&c)
		}
		if t.spans != nil {
			t.spans.notify(&c)
		}
	}
	level := levelOf(c.Record.Event)
	if ctx := context.Background(); t.log.Enabled(ctx, level) {
		t.write(ctx, level, c)
	}
}

// Counters are the facts since the start of the process, and the signals of observability.step.*, by type; those that never
// happened are 0.
func (t *Telemetry) Counters() map[domain.EventType]uint64 {
	counts := make(map[domain.EventType]uint64, len(t.index))
	for eventType, i := range t.index {
		for _, s := range t.shards {
			counts[eventType] += s.events[i].Load()
		}
	}
	return counts
}
