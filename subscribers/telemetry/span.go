package telemetry

import (
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkresource "go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-go/tasker/domain"
)

// scope is the name of the instrumentation.
const scope = "github.com/tasker-go/tasker"

// maxStatus bounds a text that others wrote, in bytes.
const maxStatus = 1 << 10

// span is a run of a task or an execution of a step that is over, on its way to the exporter.
type span struct {
	task         domain.TaskID
	trace        domain.Trace
	definition   *domain.Definition
	began, ended domain.Instant
	retryAt      domain.Instant
	kind         domain.ErrorKind
	why          string // text of the error, or reason
	round        int32
	step         int32 // index
	attempt      int32
	outcome      uint8
	ofStep       bool
}

// finished is a span as the SDK's exporters see it.
type finished struct {
	sdktrace.ReadOnlySpan // nil: for the one method that nobody else can have
	of                    *span
	by                    *tracer
}

var _ sdktrace.ReadOnlySpan = finished{}

// Name has as few values as there are definitions and steps.
func (f finished) Name() string {
	if f.of.ofStep {
		return "step " + f.stepName()
	}
	return "task " + f.of.definition.Name
}

func (f finished) stepName() string { return f.of.definition.Steps[f.of.step].Name }

// SpanContext names the span; it follows from the task alone.
func (f finished) SpanContext() trace.SpanContext {
	if f.of.ofStep {
		return f.context(domain.ExecutionSpan(f.of.task, f.stepName(), int(f.of.attempt)), false)
	}
	return f.context(domain.TaskSpan(f.of.task, int(f.of.round)), false)
}

func (f finished) context(id [8]byte, remote bool) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: f.of.trace.ID, SpanID: id, TraceFlags: trace.FlagsSampled, Remote: remote,
	})
}

// Parent is the run of the task, or the request that asked for it.
func (f finished) Parent() trace.SpanContext {
	switch {
	case f.of.ofStep:
		return f.context(domain.TaskSpan(f.of.task, int(f.of.round)), false)
	case f.of.trace.Remote():
		return f.context(f.of.trace.Parent, true)
	}
	return trace.SpanContext{}
}

// SpanKind of a task is consumer: it carries out what was asked for earlier.
func (f finished) SpanKind() trace.SpanKind {
	if f.of.ofStep {
		return trace.SpanKindInternal
	}
	return trace.SpanKindConsumer
}

func (f finished) StartTime() time.Time { return f.of.began.Time() }
func (f finished) EndTime() time.Time   { return f.of.ended.Time() }

func (f finished) Attributes() []attribute.KeyValue {
	x, d := f.of, f.of.definition
	list := make([]attribute.KeyValue, 0, 12)
	list = append(list,
		attribute.String("tasker.task.id", x.task.String()), attribute.String("tasker.namespace", d.Namespace),
		attribute.String("tasker.definition", d.Name), attribute.String("tasker.version", d.Version),
		attribute.Int("tasker.round", int(x.round)), attribute.String("tasker.outcome", outcomes[x.outcome]))
	if x.ofStep {
		list = append(list, attribute.String("tasker.step", f.stepName()), attribute.Int("tasker.attempt", int(x.attempt)),
			attribute.String("tasker.handler", d.Steps[x.step].Handler))
	}
	switch {
	case x.kind != "":
		list = append(list, attribute.String("error.type", text(string(x.kind))))
	case x.outcome == failed:
		list = append(list, attribute.String("error.type", text(x.why)))
	case x.why != "":
		list = append(list, attribute.String("tasker.reason", text(x.why)))
	}
	if x.retryAt != 0 {
		list = append(list, attribute.String("tasker.retry_at", x.retryAt.String()))
	}
	return list
}

// Links lead to what this is a repetition of: the attempt, or the run, before.
func (f finished) Links() []sdktrace.Link {
	x := f.of
	var before [8]byte
	switch {
	case x.ofStep && x.attempt > 1:
		before = domain.ExecutionSpan(x.task, f.stepName(), int(x.attempt)-1)
	case !x.ofStep && x.round > 1:
		before = domain.TaskSpan(x.task, int(x.round)-1)
	default:
		return nil
	}
	return []sdktrace.Link{{
		SpanContext: f.context(before, false), Attributes: []attribute.KeyValue{attribute.String("tasker.link", "retry_of")},
	}}
}

func (finished) Events() []sdktrace.Event { return nil }

// Status of what was cancelled is unset: nobody failed.
func (f finished) Status() sdktrace.Status {
	switch f.of.outcome {
	case ended:
		return sdktrace.Status{Code: codes.Ok}
	case failed:
		return sdktrace.Status{Code: codes.Error, Description: text(f.of.why)}
	}
	return sdktrace.Status{}
}

// text is what others wrote, as the protocol takes it: one wrong byte, and the collector refuses all spans of a batch.
func text(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxStatus)], "\uFFFD") }

func (f finished) InstrumentationScope() instrumentation.Scope {
	return instrumentation.Scope{Name: scope, Version: f.by.version}
}

// InstrumentationLibrary is the old name of InstrumentationScope, for exporters that ask for it.
func (f finished) InstrumentationLibrary() instrumentation.Scope { return f.InstrumentationScope() }

func (f finished) Resource() *sdkresource.Resource { return f.by.resource }

func (finished) DroppedAttributes() int { return 0 }
func (finished) DroppedLinks() int      { return 0 }
func (finished) DroppedEvents() int     { return 0 }
func (finished) ChildSpanCount() int    { return 0 }
