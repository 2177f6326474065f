package httphandler

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-go/tasker/domain"
)

// traceparent is the header of W3C Trace Context for one execution: that of the span that the context belongs to. Without
// one it follows from the execution, so that the same one always has the same: see domain.TraceOf and
// domain.ExecutionSpan. The flags are then the request's; a trace that begins with the task counts as sampled.
func traceparent(ctx context.Context, task domain.TaskView, step domain.StepView) string {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		return domain.FormatTraceparent(span.TraceID(), span.SpanID(), byte(span.TraceFlags()))
	}
	t := domain.TraceOf(task.ID, task.Traceparent, task.CorrelationID)
	if !t.Remote() {
		t.Flags = domain.FlagSampled
	}
	return domain.FormatTraceparent(t.ID, domain.ExecutionSpan(task.ID, step.Name, step.Attempt), t.Flags)
}
