package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	sdkresource "go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// Traces say what becomes of spans. There is one span for each run of a task and one for each execution of a step, made
// when it is over, from stored events and with their times: so each is made once, by the process that stored its end.
type Traces struct {
	// Exporter takes the spans; nil: no traces. One call at a time. Whoever made it shuts it down, after the engine.
	Exporter sdktrace.SpanExporter
	// Ratio of the traces that begin with a task which are recorded, by their id, so that every process decides alike.
	// 0 stands for 1; negative: none. A trace that began with a request is recorded if the request says that it is.
	Ratio float64
	// Resource that the spans belong to. Default: resource.Default() of the SDK.
	Resource *sdkresource.Resource
	// Queue is how many spans may wait for the exporter; what is more is dropped and counted. Default 16,384.
	Queue int
}

const defaultQueue = 16_384

// tracer makes spans of events.
type tracer struct {
	exporter  sdktrace.SpanExporter
	resource  *sdkresource.Resource
	version   string
	log       *slog.Logger
	least     uint64 // of domain.Trace.Random, of traces that are recorded
	queue     chan span
	stopping  chan context.Context // how long the last spans may take
	done      chan struct{}
	start     sync.Once
	complaint time.Time // when a failure was last written; the exporting goroutine's

	exported, full, failures atomic.Uint64

	mu     sync.Mutex
	rounds map[domain.TaskID]domain.Instant // beginnings of runs after the first one
}

// maxRounds is how many runs of tasks that were retried are remembered; the span of another one begins with its task.
const maxRounds = 10_000

func newTracer(c Config) *tracer {
	if c.Traces.Exporter == nil {
		return nil
	}
	t := &tracer{
		exporter: c.Traces.Exporter, resource: c.Traces.Resource, version: c.Version, log: c.Logger,
		queue: make(chan span, max(c.Traces.Queue, 0)), stopping: make(chan context.Context, 1), done: make(chan struct{}),
		rounds: map[domain.TaskID]domain.Instant{}, least: leastRandom(c.Traces.Ratio),
	}
	if c.Traces.Queue <= 0 {
		t.queue = make(chan span, defaultQueue)
	}
	if t.resource == nil {
		t.resource = sdkresource.Default()
	}
	return t
}

// leastRandom is the bound that a share of all traces reaches (consistent probability sampling).
func leastRandom(ratio float64) uint64 {
	const all = 1 << 56
	switch {
	case ratio == 0 || ratio >= 1:
		return 0
	case ratio < 0:
		return all
	}
	return uint64((1 - ratio) * all)
}

// sampled decides by the trace alone.
func (t *tracer) sampled(trace domain.Trace) bool {
	if trace.Remote() {
		return trace.Flags&domain.FlagSampled != 0
	}
	return trace.Random() >= t.least
}

// notify queues the span that ends with the event. It is called on the coordinators' goroutines and never waits.
func (t *tracer) notify(c *subscribers.Committed) {
	ofStep, over := ends(c)
	_, again := c.Record.Event.(domain.TaskRetryRequested)
	if !over && !again {
		return
	}
	trace := domain.TraceOf(c.Task.ID, c.Task.Traceparent, c.Task.Correlation)
	if !t.sampled(trace) {
		return
	}
	if again {
		t.reopened(c)
		return
	}
	x := span{
		task: c.Task.ID, trace: trace, definition: c.Task.Definition, ended: c.Record.At, ofStep: ofStep,
		round: c.Before.Round, attempt: c.Before.Attempt, step: c.Before.Step, began: c.Before.Began,
	}
	if !ofStep {
		x.began = t.began(c)
	}
	x.outcome, x.kind, x.why = outcomeOf(c.Record.Event)
	if e, ok := c.Record.Event.(domain.StepFailed); ok {
		x.retryAt = e.RetryAt
	}
	select {
	case t.queue <- x:
	default:
		t.full.Add(1)
	}
}

// ends reports whether an execution, or a run, is over with the event.
func ends(c *subscribers.Committed) (ofStep, over bool) {
	switch c.Record.Event.(type) {
	case domain.TaskCompleted, domain.TaskFailed, domain.TaskCancelled:
		return false, c.Before.State != domain.Error // else the run had ended before
	case domain.StepCompleted, domain.StepFailed, domain.StepCancelled:
		return true, c.Before.Attempt != 0 // else nothing was in progress
	case domain.TaskCreated, domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskPaused,
		domain.TaskResumed, domain.TaskAnnotated, domain.TaskExpired, domain.TaskResolvedManually, domain.TaskRetryRequested,
		domain.StepInherited, domain.StepExecutionRequested, domain.StepRetryRequested, domain.StepResolvedManually, domain.StepSkipped,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.PartitionOpened,
		domain.PartitionSkipped, domain.DefinitionAdopted, domain.Signal, domain.Unknown:
	}
	return false, false
}

// outcomeOf is how it ended, and why.
func outcomeOf(ev domain.Event) (outcome uint8, kind domain.ErrorKind, why string) {
	switch e := ev.(type) { //nolint:gochecksumtype // ends has listed them all
	case domain.TaskFailed:
		return failed, "", string(e.Reason)
	case domain.TaskCancelled:
		return cancelled, "", e.Reason
	case domain.StepFailed:
		return failed, e.Error.Kind, e.Error.Message
	case domain.StepCancelled:
		return cancelled, "", e.Reason
	}
	return ended, "", ""
}

// reopened notes when another run of a task begins.
func (t *tracer) reopened(c *subscribers.Committed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rounds) < maxRounds {
		t.rounds[c.Task.ID] = c.Record.At
	}
}

func (t *tracer) began(c *subscribers.Committed) domain.Instant {
	if c.Before.Round == 1 {
		return c.Task.CreatedAt
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.rounds[c.Task.ID]
	delete(t.rounds, c.Task.ID)
	if !ok {
		return c.Task.CreatedAt // another process saw it begin
	}
	return at
}

// HandlerContext returns a context with the span that the execution will be, so that what its handler traces are children
// of it. Without an exporter, they are children of the request that asked for the task, if that brought a traceparent.
func (t *Telemetry) HandlerContext(ctx context.Context, task domain.TaskView, step domain.StepView) context.Context {
	of := domain.TraceOf(task.ID, task.Traceparent, task.CorrelationID)
	c := trace.SpanContextConfig{TraceID: of.ID, Remote: true}
	switch {
	case t.spans != nil:
		c.SpanID = domain.ExecutionSpan(task.ID, step.Name, step.Attempt)
		if t.spans.sampled(of) {
			c.TraceFlags = trace.FlagsSampled
		}
	case of.Remote():
		c.SpanID, c.TraceFlags = of.Parent, trace.TraceFlags(of.Flags)
	default:
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(c))
}
