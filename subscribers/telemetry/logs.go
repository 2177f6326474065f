package telemetry

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

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
		domain.TaskAnnotated, domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepRetryRequested,
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
		if trace := domain.TraceOf(c.Task.ID, c.Task.Traceparent, c.Task.Correlation); t.spans != nil || trace.Remote() {
			attrs = append(attrs, slog.String("trace_id", hex.EncodeToString(trace.ID[:])))
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
		domain.TaskAnnotated, domain.StepInherited, domain.StepExecutionRequested, domain.StepRetryRequested, domain.StepCancelled,
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
