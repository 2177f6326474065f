// Package telemetry makes what happens visible: it counts events by type and writes them to the log.
package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Telemetry is told of every fact. It writes the end of a task at level info, a failed execution that will be retried at
// warn, a final failure at error, and everything else at debug; a level that is off costs nothing. A signal of
// observability.step.* has no line of its own: the line of the fact that it follows from names it, as signal, beside task,
// step and attempt; so each is written once. It is counted by itself. The methods may be called from any goroutine, and the
// coordinators of all partitions may share a Telemetry.
type Telemetry struct {
	log      *slog.Logger
	types    []domain.EventType
	index    map[domain.EventType]int // read only
	counters []counter
}

// counter has a cache line of its own, because several coordinators count.
type counter struct {
	n atomic.Uint64
	_ [56]byte
}

var _ subscribers.Subscriber = (*Telemetry)(nil)

// New makes a Telemetry that writes to the logger; nil = slog.Default().
func New(logger *slog.Logger) *Telemetry {
	if logger == nil {
		logger = slog.Default()
	}
	t := &Telemetry{log: logger, types: domain.Types(), index: map[domain.EventType]int{}}
	t.types = append(t.types, domain.SignalStepBackoff, domain.SignalMaxRetriesReached, domain.SignalStepSkip)
	for i, eventType := range t.types {
		t.index[eventType] = i
	}
	t.counters = make([]counter, len(t.types))
	return t
}

// Name is the subscriber's name.
func (*Telemetry) Name() string { return "telemetry" }

// SubscribesTo lists every fact.
func (*Telemetry) SubscribesTo() []domain.EventType { return domain.Types() }

// Notify counts the event and writes it.
func (t *Telemetry) Notify(c subscribers.Committed) {
	t.count(c.Record.Event.Type())
	if signal := domain.StepSignal(c.Record.Event); signal != "" {
		t.count(signal)
	}
	level := levelOf(c.Record.Event)
	if ctx := context.Background(); t.log.Enabled(ctx, level) {
		t.write(ctx, level, c)
	}
}

func (t *Telemetry) count(eventType domain.EventType) {
	if i, ok := t.index[eventType]; ok {
		t.counters[i].n.Add(1)
	}
}

// Counters are the facts since the start of the process, and the signals of observability.step.*, by type; those that never
// happened are 0.
func (t *Telemetry) Counters() map[domain.EventType]uint64 {
	counts := make(map[domain.EventType]uint64, len(t.types))
	for i, eventType := range t.types {
		counts[eventType] = t.counters[i].n.Load()
	}
	return counts
}

func levelOf(e domain.Event) slog.Level {
	switch e := e.(type) {
	case domain.TaskCompleted, domain.TaskCancelled, domain.TaskResolvedManually:
		return slog.LevelInfo
	case domain.TaskFailed:
		return slog.LevelError
	case domain.StepFailed:
		if e.RetryAt != 0 {
			return slog.LevelWarn
		}
		return slog.LevelError
	case domain.PartitionSkipped:
		return slog.LevelWarn
	case domain.PartitionOpened, domain.DefinitionAdopted, domain.TaskCreated, domain.TaskStartRequested,
		domain.TaskReenqueued, domain.TaskDelayed, domain.TaskRetryRequested, domain.TaskPaused, domain.TaskResumed,
		domain.TaskAnnotated, domain.StepExecutionRequested, domain.StepCompleted, domain.StepRetryRequested,
		domain.StepCancelled, domain.StepResolvedManually, domain.StepSkipped, domain.TaskExpired,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.Signal, domain.Unknown:
		return slog.LevelDebug
	}
	return slog.LevelDebug
}

func (t *Telemetry) write(ctx context.Context, level slog.Level, c subscribers.Committed) {
	var room [16]slog.Attr
	attrs := append(room[:0], slog.String("event", c.Record.ID()))
	if !c.Record.Task.IsZero() {
		attrs = append(attrs, slog.String("task", c.Record.Task.String()))
	}
	if by := c.Record.By; by != "" {
		attrs = append(attrs, slog.String("by", string(by)))
	}
	if c.Task != nil {
		attrs = append(attrs, slog.String("definition", c.Task.Definition.FullName()))
		if c.Task.Correlation != "" {
			attrs = append(attrs, slog.String("correlation", c.Task.Correlation))
		}
	}
	if s, ok := c.Record.Event.(domain.StepEvent); ok {
		attrs = append(attrs, slog.String("step", s.StepName()))
		if n := s.AttemptNumber(); n > 0 {
			attrs = append(attrs, slog.Int("attempt", n))
		}
	}
	if signal := domain.StepSignal(c.Record.Event); signal != "" {
		attrs = append(attrs, slog.String("signal", string(signal)))
	}
	t.log.LogAttrs(ctx, level, string(c.Record.Event.Type()), appendDetails(attrs, c)...)
}

// appendDetails adds what is worth reading of the event itself. Payloads never go to the log.
func appendDetails(attrs []slog.Attr, c subscribers.Committed) []slog.Attr {
	switch e := c.Record.Event.(type) {
	case domain.StepFailed:
		attrs = append(attrs, slog.String("kind", string(e.Error.Kind)), slog.String("error", e.Error.Message))
		if e.Error.Code != "" {
			attrs = append(attrs, slog.String("code", e.Error.Code))
		}
		if e.RetryAt != 0 {
			attrs = append(attrs, slog.String("retry_at", e.RetryAt.String()))
		}
	case domain.TaskFailed:
		attrs = append(attrs, slog.String("reason", string(e.Reason)), slog.Any("steps", e.Steps), took(c))
	case domain.TaskCompleted:
		attrs = append(attrs, took(c))
	case domain.TaskCancelled:
		attrs = append(attrs, slog.String("reason", e.Reason), took(c))
	case domain.TaskResolvedManually:
		attrs = append(attrs, slog.String("reason", e.Reason), took(c))
	case domain.TaskDelayed:
		attrs = append(attrs, slog.String("reason", string(e.Reason)), slog.String("until", e.Until.String()))
	case domain.TaskReenqueued:
		attrs = append(attrs, slog.String("reason", string(e.Reason)))
	case domain.StepCompleted:
		attrs = append(attrs, slog.Int("bytes", e.Result.Size))
	case domain.StepSkipped:
		attrs = append(attrs, slog.String("reason", e.Reason))
	case domain.PartitionOpened:
		attrs = append(attrs, slog.String("writer", e.Writer), slog.String("engine", e.Engine))
	case domain.PartitionSkipped:
		attrs = append(attrs, slog.Uint64("sequence", e.Sequence), slog.String("reason", e.Reason))
	case domain.DefinitionAdopted:
		attrs = append(attrs, slog.String("hash", e.Hash))
	case domain.TaskCreated, domain.TaskStartRequested, domain.TaskRetryRequested, domain.TaskPaused, domain.TaskResumed,
		domain.TaskAnnotated, domain.StepExecutionRequested, domain.StepRetryRequested, domain.StepCancelled,
		domain.StepResolvedManually, domain.TaskExpired, domain.StepCheckpointed, domain.StepLogAppended, domain.Custom,
		domain.Signal, domain.Unknown:
	case domain.StepProgressed:
		attrs = append(attrs, slog.Int("done", e.Done), slog.Int("total", e.Total), slog.String("message", e.Message))
	}
	return attrs
}

// took is the time from the creation of the task to the event.
func took(c subscribers.Committed) slog.Attr {
	var d time.Duration
	if c.Task != nil {
		d = c.Record.At.Sub(c.Task.CreatedAt)
	}
	return slog.Duration("took", d)
}
