package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-go/tasker/domain"
)

// discard is an exporter that takes everything.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }

// exported runs a telemetry with traces, and returns what it exported.
func exported(t *testing.T, traces Traces, do func(*Telemetry)) tracetest.SpanStubs {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	traces.Exporter = kept
	tel := quiet(Config{Traces: traces, Version: "v9"})
	tel.Start()
	do(tel)
	tel.Stop(t.Context())
	return kept.GetSpans()
}

func TestATaskIsATraceWithASpanForEachExecution(t *testing.T) {
	id := domain.TaskID{0: 1, 6: 0x70, 15: 9}
	d := definition(t, "order", 2)
	spans := exported(t, Traces{}, func(tel *Telemetry) {
		l := begin(t, tel, d, id, domain.CreateTask{})
		l.then(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "step-00", Attempt: 1},
			domain.StepFailed{Step: "step-00", Attempt: 1, RetryAt: l.at + 5000, Error: domain.StepError{Kind: domain.KindTimeout, Message: "bad \xff"}},
			domain.StepRetryRequested{Step: "step-00"}, domain.StepExecutionRequested{Step: "step-00", Attempt: 2},
			domain.StepCompleted{Step: "step-00", Attempt: 2}, domain.StepSkipped{Step: "step-01"}, domain.TaskCompleted{})
	})
	if len(spans) != 3 {
		t.Fatalf("%d spans, want one for each of two executions, and the task's", len(spans))
	}
	const start = 1_790_000_000_000_000
	task := domain.TaskSpan(id, 1)
	for i, want := range []struct {
		name       string
		id, parent [8]byte
		from, to   domain.Instant
		status     codes.Code
		text, link string
		attributes []string
	}{
		{"step step-00", domain.ExecutionSpan(id, "step-00", 1), task, 2000, 3000, codes.Error, "bad \uFFFD", "",
			[]string{"error.type=timeout", "tasker.attempt=1", "tasker.outcome=error", "tasker.handler=h", "tasker.retry_at="}},
		{"step step-00", domain.ExecutionSpan(id, "step-00", 2), task, 5000, 6000, codes.Ok, "", fmt.Sprintf("%x", domain.ExecutionSpan(id, "step-00", 1)),
			[]string{"tasker.attempt=2", "tasker.outcome=complete"}},
		{"task order", task, [8]byte{}, 0, 8000, codes.Ok, "", "",
			[]string{"tasker.task.id=" + id.String(), "tasker.namespace=shop", "tasker.definition=order", "tasker.version=0.1.0", "tasker.round=1"}},
	} {
		got := spans[i]
		if got.Name != want.name || got.SpanContext.SpanID() != trace.SpanID(want.id) || got.Parent.SpanID() != trace.SpanID(want.parent) ||
			got.SpanContext.TraceID() != trace.TraceID(id) || !got.SpanContext.IsSampled() {
			t.Errorf("span %d: %s %v, child of %v", i, got.Name, got.SpanContext, got.Parent)
		}
		if from, to := domain.InstantOf(got.StartTime)-start, domain.InstantOf(got.EndTime)-start; from != want.from || to != want.to {
			t.Errorf("%s lasts from %d to %d, want %d to %d", got.Name, from, to, want.from, want.to)
		}
		if got.Status.Code != want.status || got.Status.Description != want.text {
			t.Errorf("%s ended %+v", got.Name, got.Status)
		}
		link := ""
		for _, l := range got.Links {
			link += l.SpanContext.SpanID().String()
		}
		if link != want.link {
			t.Errorf("%s links to %q, want %q", got.Name, link, want.link)
		}
		for _, a := range want.attributes {
			if !strings.Contains(attributes(got), a) {
				t.Errorf("%s lacks %s: %s", got.Name, a, attributes(got))
			}
		}
		if got.InstrumentationScope.Version != "v9" || got.Resource == nil {
			t.Errorf("%s comes from %+v, %v", got.Name, got.InstrumentationScope, got.Resource)
		}
	}
}

func attributes(s tracetest.SpanStub) string {
	var list []string
	for _, a := range s.Attributes {
		list = append(list, string(a.Key)+"="+a.Value.String())
	}
	return strings.Join(list, " ")
}

func TestATaskThatIsRetriedHasASpanForEachRun(t *testing.T) {
	id := domain.TaskID{0: 1, 6: 0x70, 15: 9}
	d := definition(t, "order", 1)
	story := func(tel *Telemetry, forget bool) {
		l := begin(t, tel, d, id, domain.CreateTask{})
		l.then(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "step-00", Attempt: 1},
			domain.StepFailed{Step: "step-00", Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}},
			domain.TaskFailed{Reason: domain.FailStepsInError}, domain.TaskRetryRequested{}, domain.StepRetryRequested{Step: "step-00", NewRound: true},
			domain.TaskStartRequested{Again: true}, domain.StepExecutionRequested{Step: "step-00", Attempt: 2})
		if forget {
			clear(tel.spans.rounds) // as another process would
		}
		l.then(domain.TaskCancelled{Reason: "not needed"}, domain.StepCancelled{Step: "step-00"})
		l.then(domain.StepSkipped{Step: "step-00"}) // does not apply any more, and ends nothing
	}
	for _, forget := range []bool{false, true} {
		spans := exported(t, Traces{}, func(tel *Telemetry) { story(tel, forget) })
		if len(spans) != 4 {
			t.Fatalf("%d spans, want two executions and two runs", len(spans))
		}
		first, second, last := spans[1], spans[2], spans[3]
		if first.SpanContext.SpanID() != trace.SpanID(domain.TaskSpan(id, 1)) || first.Status.Code != codes.Error ||
			!strings.Contains(attributes(first), "error.type=steps_in_error_state") {
			t.Errorf("the first run: %+v %s", first.Status, attributes(first))
		}
		if second.SpanContext.SpanID() != trace.SpanID(domain.TaskSpan(id, 2)) || second.Status.Code != codes.Unset || len(second.Links) != 1 ||
			second.Links[0].SpanContext.SpanID() != first.SpanContext.SpanID() || !strings.Contains(attributes(second), "tasker.reason=not needed") {
			t.Errorf("the second run: %+v %v %s", second.Status, second.Links, attributes(second))
		}
		if began := second.StartTime.Equal(first.EndTime.Add(time.Millisecond)); began == forget {
			t.Errorf("the second run began %s, the first one ended %s", second.StartTime, first.EndTime)
		}
		if last.Parent.SpanID() != second.SpanContext.SpanID() || !strings.Contains(attributes(last), "tasker.outcome=cancelled") {
			t.Errorf("the execution that was cancelled: %v %s", last.Parent, attributes(last))
		}
	}
}

func TestARequestsTraceGoesOn(t *testing.T) {
	d := definition(t, "order", 1)
	for flags, recorded := range map[string]bool{"01": true, "00": false} {
		parent := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-" + flags
		for _, cmd := range []domain.CreateTask{{Traceparent: parent, Correlation: "order-7"}, {Correlation: parent}} {
			spans := exported(t, Traces{Ratio: -1}, func(tel *Telemetry) {
				begin(t, tel, d, domain.TaskID{15: 1}, cmd).then(domain.TaskStartRequested{}, domain.TaskCompleted{})
			})
			if !recorded {
				if len(spans) > 0 {
					t.Errorf("%s: the request is not recorded, and its task is", parent)
				}
				continue
			}
			if len(spans) != 1 || spans[0].SpanContext.TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" ||
				spans[0].Parent.SpanID().String() != "00f067aa0ba902b7" || !spans[0].Parent.IsRemote() || spans[0].SpanKind != trace.SpanKindConsumer {
				t.Errorf("%s: %+v", parent, spans)
			}
		}
	}
}

func TestAShareOfTheTracesIsRecordedAndEachAsAWhole(t *testing.T) {
	d := definition(t, "order", 1)
	const tasks = 2000
	var first map[trace.TraceID]int
	for range 2 { // two processes decide alike
		seen := map[trace.TraceID]int{}
		for _, s := range exported(t, Traces{Ratio: 0.25}, func(tel *Telemetry) {
			for n := range tasks {
				l := begin(t, tel, d, domain.KeyedTaskID("shop", "order", fmt.Sprint(n)), domain.CreateTask{})
				l.then(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "step-00", Attempt: 1},
					domain.StepCompleted{Step: "step-00", Attempt: 1}, domain.TaskCompleted{})
			}
		}) {
			seen[s.SpanContext.TraceID()]++
		}
		for id, n := range seen {
			if n != 2 || first != nil && first[id] == 0 {
				t.Errorf("trace %s: %d spans, before %d", id, n, first[id])
			}
		}
		if len(seen) < tasks/5 || len(seen) > tasks*3/10 {
			t.Errorf("%d of %d traces, want about a quarter", len(seen), tasks)
		}
		first = seen
	}
}

// stuck is an exporter that waits until it is let go.
type stuck struct {
	discard
	called, release chan struct{}
	err             error
}

func (s *stuck) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	select {
	case s.called <- struct{}{}:
	default:
	}
	select {
	case <-s.release:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAnExporterThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &stuck{called: make(chan struct{}, 1), release: make(chan struct{})}
		tel := quiet(Config{Traces: Traces{Exporter: s, Queue: 100}, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		tel.Start()
		tel.Start()
		d := definition(t, "order", 1)
		end := func(n int) {
			for range n {
				begin(t, tel, d, domain.TaskID{15: 1}, domain.CreateTask{}).then(domain.TaskStartRequested{}, domain.TaskCompleted{})
			}
		}
		end(1)
		<-s.called
		end(1000)
		if exported, full, failed := tel.spans.counts(); exported != 0 || full != 900 || failed != 0 {
			t.Errorf("%d exported, %d dropped, %d failed, want 900 dropped of 1000 for a queue of 100", exported, full, failed)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		time.Sleep(2 * exportTime) // the call is given up, and the next one hangs, too
		began := time.Now()
		tel.Stop(ctx)
		if took := time.Since(began); took > exportTime+5*time.Second {
			t.Errorf("stopping took %s", took)
		}
		if exported, full, failed := tel.spans.counts(); exported != 0 || full+failed != 1001 {
			t.Errorf("%d exported, %d dropped, %d failed, of 1001", exported, full, failed)
		}
		if lines := strings.Count(out.String(), "spans were not exported"); lines < 1 || lines > 2 {
			t.Errorf("written %d times in a minute:\n%s", lines, out.String())
		}
	})
}

func TestSpansLeaveWithinASecondOrWhenThereAreMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{}
		tel := quiet(Config{Traces: Traces{Exporter: c}})
		tel.Start()
		d := definition(t, "order", 1)
		for range 2*exportSize + 3 {
			begin(t, tel, d, domain.TaskID{15: 1}, domain.CreateTask{}).then(domain.TaskStartRequested{}, domain.TaskCompleted{})
		}
		synctest.Wait()
		c.expect(t, exportSize, exportSize)
		time.Sleep(exportEvery)
		synctest.Wait()
		c.expect(t, exportSize, exportSize, 3)
		c.set(errors.New("the collector is away"))
		begin(t, tel, d, domain.TaskID{15: 1}, domain.CreateTask{}).then(domain.TaskStartRequested{}, domain.TaskCompleted{})
		tel.Stop(t.Context())
		if exported, full, failed := tel.spans.counts(); exported != 2*exportSize+3 || full != 0 || failed != 1 {
			t.Errorf("%d exported, %d dropped, %d failed", exported, full, failed)
		}
	})
}

type counting struct {
	discard
	mu    sync.Mutex
	calls []int
	err   error
}

func (c *counting) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, len(spans))
	return c.err
}

func (c *counting) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *counting) expect(t *testing.T, calls ...int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if fmt.Sprint(c.calls) != fmt.Sprint(calls) {
		t.Errorf("exported in parts of %v, want %v", c.calls, calls)
	}
}

func TestAHandlersSpansAreChildrenOfItsExecution(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	id := domain.TaskID{0: 1, 6: 0x70, 15: 9}
	own, theirs := domain.TaskView{ID: id}, domain.TaskView{ID: id, Traceparent: parent, CorrelationID: "order-7"}
	step := domain.StepView{Name: "charge", Attempt: 2}
	span := trace.SpanID(domain.ExecutionSpan(id, "charge", 2)).String()
	off, all, none := quiet(Config{}), quiet(Config{Traces: Traces{Exporter: discard{}}}), quiet(Config{Traces: Traces{Exporter: discard{}, Ratio: -1}})
	for _, tt := range []struct {
		name        string
		tel         *Telemetry
		task        domain.TaskView
		trace, span string
		sampled     bool
	}{
		{"no traces", off, own, strings.Repeat("0", 32), strings.Repeat("0", 16), false},
		{"no traces, but a request's", off, theirs, parent[3:35], parent[36:52], true},
		{"its own trace", all, own, fmt.Sprintf("%x", id[:]), span, true},
		{"a request's trace", all, theirs, parent[3:35], span, true},
		{"a trace that is not recorded", none, own, fmt.Sprintf("%x", id[:]), span, false},
		{"a request's trace, always", none, theirs, parent[3:35], span, true},
	} {
		got := trace.SpanContextFromContext(tt.tel.HandlerContext(t.Context(), tt.task, step))
		if got.TraceID().String() != tt.trace || got.SpanID().String() != tt.span || got.IsSampled() != tt.sampled {
			t.Errorf("%s: %s %s %v", tt.name, got.TraceID(), got.SpanID(), got.IsSampled())
		}
	}
}

func TestLinesNameTheTrace(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	d := definition(t, "order", 1)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tt := range []struct {
		traces      Traces
		traceparent string
		want        string
	}{
		{Traces{}, "", ""}, {Traces{}, parent, "trace_id=4bf92f3577b34da6a3ce929d0e0e4736"},
		{Traces{Exporter: discard{}}, "", "trace_id=01000000000000000000000000000009"},
		{Traces{Exporter: discard{}}, parent, "trace_id=4bf92f3577b34da6a3ce929d0e0e4736"},
	} {
		out.Reset()
		tel := quiet(Config{Logger: logger, Traces: tt.traces})
		begin(t, tel, d, domain.TaskID{0: 1, 15: 9}, domain.CreateTask{Traceparent: tt.traceparent}).then(domain.TaskStartRequested{}, domain.TaskCompleted{})
		if got := out.String(); strings.Count(got, "\n") != 1 || strings.Contains(got, "trace_id") != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("want %q in %s", tt.want, got)
		}
	}
}

func BenchmarkMeasure(b *testing.B) {
	for name, traces := range map[string]Traces{
		"metrics": {}, "metrics and no trace in 100": {Exporter: discard{}, Ratio: -1}, "metrics and every trace": {Exporter: discard{}},
	} {
		b.Run(name, func(b *testing.B) {
			tel := quiet(Config{Metrics: true, Traces: traces, Logger: slog.New(slog.DiscardHandler)})
			tel.Start()
			defer tel.Stop(context.Background())
			l := begin(b, tel, definition(b, "order", 2), domain.TaskID{15: 1}, domain.CreateTask{})
			l.then(domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "step-00", Attempt: 1})
			c := committed(l.task, domain.StepCompleted{Step: "step-00", Attempt: 1})
			c.Record.Position.Partition, c.Before = 0, l.task.Moment(c.Record.Event)
			b.ReportAllocs()
			for b.Loop() {
				tel.Notify(c)
			}
		})
	}
}
