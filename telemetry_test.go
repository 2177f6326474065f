package tasker_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers/telemetry"
	"github.com/tasker-go/tasker/taskertest"
)

const parentSpan = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// request is a context as the instrumentation of a server makes it.
func request(t *testing.T) context.Context {
	t.Helper()
	p, err := domain.ParseTraceparent(parentSpan)
	if err != nil {
		t.Fatal(err)
	}
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: p.ID, SpanID: p.Parent, TraceFlags: trace.TraceFlags(p.Flags),
	}))
}

// spanLines are spans as "name attempt outcome < parent", in the order of their end.
func spanLines(spans tracetest.SpanStubs) []string {
	names := map[trace.SpanID]string{}
	for _, s := range spans {
		names[s.SpanContext.SpanID()] = s.Name
	}
	lines := make([]string, 0, len(spans))
	for _, s := range spans {
		attempt, outcome := "", ""
		for _, a := range s.Attributes {
			switch a.Key {
			case "tasker.attempt":
				attempt = " " + a.Value.String()
			case "tasker.outcome", "error.type":
				outcome += " " + a.Value.String()
			}
		}
		parent := names[s.Parent.SpanID()]
		if s.Parent.IsRemote() {
			parent = "request " + s.Parent.SpanID().String()
		}
		lines = append(lines, s.Name+attempt+outcome+" < "+parent)
	}
	return lines
}

func TestATaskIsTracedOnceWhateverRestarts(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	traced := func(c *tasker.Config) { c.Traces.Exporter = spans }
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		var mu sync.Mutex
		seen := map[int]trace.SpanContext{}
		e.MustRegister(tasker.Define("order").
			Step("charge", tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
				mu.Lock()
				seen[step.Attempt] = trace.SpanContextFromContext(ctx)
				mu.Unlock()
				switch step.Attempt {
				case 1:
					return nil, tasker.RetryAfter(time.Second, errors.New("busy"))
				case 2: // until the process is killed
					<-ctx.Done()
				}
				return nil, ctx.Err()
			})).
			Step("ship", tasker.Handle(func(context.Context, struct{}) (int, error) { return 1, nil }), tasker.After("charge")).
			MustBuild())
		r, err := e.Submit(request(t), "order", nil, tasker.Correlated("order-7"))
		if err != nil {
			t.Fatal(err)
		}
		e.Advance(5 * time.Second) // the second attempt runs
		e.Crash()
		e.MustWait(r.ID)
		e.Restart()
		e.Settle()
		if task := e.MustTask(r.ID); task.Traceparent != parentSpan || task.Correlation != "order-7" {
			t.Errorf("the task has traceparent %q and correlation %q", task.Traceparent, task.Correlation)
		}
		e.Stop()
		want := []string{
			"step charge 1 error error < task order", "step charge 2 error worker_lost < task order",
			"step charge 3 complete < task order", "step ship 1 complete < task order", "task order complete < request 00f067aa0ba902b7",
		}
		if got := spanLines(spans.GetSpans()); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("spans:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, s := range spans.GetSpans() {
			if s.SpanContext.TraceID().String() != parentSpan[3:35] {
				t.Errorf("%s belongs to trace %s", s.Name, s.SpanContext.TraceID())
			}
		}
		for attempt := 1; attempt <= 3; attempt++ {
			if want := trace.SpanID(domain.ExecutionSpan(r.ID, "charge", attempt)); seen[attempt].SpanID() != want || !seen[attempt].IsSampled() {
				t.Errorf("attempt %d ran in span %s, want %s", attempt, seen[attempt].SpanID(), want)
			}
		}
	}, traced)
}

func TestATraceparentIsReadOrRefused(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(tasker.Define("order").Step("a", tasker.Handle(func(context.Context, struct{}) (int, error) { return 1, nil })).MustBuild())
		id := e.MustSubmit("order", nil, tasker.WithTraceparent(parentSpan))
		if got := e.MustTask(id).Traceparent; got != parentSpan {
			t.Errorf("it has %q", got)
		}
		other := strings.Replace(parentSpan, "4bf9", "4bf8", 1)
		r, err := e.Submit(request(t), "order", nil, tasker.WithTraceparent(other), tasker.Key("k"))
		if got := e.MustTask(r.ID).Traceparent; err != nil || got != other {
			t.Errorf("the option comes before the context: %q, %v", got, err)
		}
		if again, err := e.Submit(request(t), "order", nil, tasker.Key("k")); err != nil || again.Created {
			t.Errorf("a repetition in another trace is the same task: %+v %v", again, err)
		}
		if _, err := e.Submit(t.Context(), "order", nil, tasker.WithTraceparent("00-zz")); err == nil || !strings.Contains(err.Error(), `"00-zz" is no traceparent`) {
			t.Errorf("got %v", err)
		}
		if got := e.MustTask(e.MustSubmit("order", nil)).Traceparent; got != "" {
			t.Errorf("nobody named a trace, and it has %q", got)
		}
	})
}

// families gathers what is registered.
func families(t *testing.T, from prometheus.Gatherer) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*dto.MetricFamily{}
	for _, f := range all {
		by[f.GetName()] = f
	}
	return by
}

// values are the series of a metric with their labels' values; of a histogram the number of values.
func values(f *dto.MetricFamily) map[string]float64 {
	all := map[string]float64{}
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		all[strings.Join(labels, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return all
}

func TestAnEngineMeasuresWhatItDoes(t *testing.T) {
	registry := prometheus.NewRegistry()
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		release := make(chan struct{})
		e.MustRegister(tasker.Define("order").
			Step("charge", tasker.Handle(func(context.Context, struct{}) (int, error) { <-release; return 1, nil })).
			Step("mail", tasker.Handle(func(context.Context, struct{}) (int, error) { return 0, tasker.Permanent(errors.New("no address")) })).
			MustBuild())
		attached := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			attached <- e.Attach(ctx, "office", nil, func(context.Context, tasker.Event) error { return nil })
		}()
		e.MustSubmit("order", nil)
		e.MustSubmit("order", nil)
		e.Advance(time.Minute)
		cancel() // the subscriber falls behind
		if err := <-attached; err != nil {
			t.Error(err)
		}
		id := e.MustSubmit("order", nil)
		e.Advance(time.Minute)
		got := families(t, registry)
		for name, want := range map[string]string{
			"tasker_tasks_created_total": "map[order default:3]", "tasker_tasks": "map[error:0 in_progress:3 pending:0]",
			"tasker_slots_used": "map[:2]", "tasker_slots": "map[:2]", "tasker_steps_ready": "map[:3]",
			"tasker_partition_owned": "map[00:1]", "tasker_steps_finished_total": "map[order default error:1]",
		} {
			if have := fmt.Sprint(values(got[name])); have != want {
				t.Errorf("%s: %s, want %s", name, have, want)
			}
		}
		if lag := values(got["tasker_subscriber_lag_commits"])["office"]; lag == 0 {
			t.Error("a subscriber that does not run does not lag")
		}
		for partition, size := range values(got["tasker_log_size_bytes"]) {
			if size == 0 {
				t.Errorf("the log of partition %s takes no room", partition)
			}
		}
		close(release)
		e.MustFail(id)
		e.Settle()
		got = families(t, registry)
		for name, want := range map[string]string{
			"tasker_tasks_finished_total": "map[order default error:3]", "tasker_tasks": "map[error:3 in_progress:0 pending:0]",
			"tasker_step_failures_total":   "map[order permanent default mail:3]",
			"tasker_step_executions_total": "map[order default charge:3 order default mail:3]", "tasker_task_duration_seconds": "map[order default:3]",
			"tasker_step_queue_wait_seconds": "map[:6]", "tasker_step_execution_duration_seconds": "map[order default:6]",
		} {
			if have := fmt.Sprint(values(got[name])); have != want {
				t.Errorf("%s: %s, want %s", name, have, want)
			}
		}
		if wait := got["tasker_step_queue_wait_seconds"].GetMetric()[0].GetHistogram().GetSampleSum(); wait < 60 {
			t.Errorf("steps waited %v s for slots together, one of them for a minute", wait)
		}
		for _, m := range telemetry.List() {
			if got[m.Name] == nil && m.Kind != telemetry.Counter && len(m.Labels) == 0 {
				t.Errorf("%s is not served", m.Name)
			}
		}
		e.Stop()
		if left := families(t, registry); len(left) > 0 {
			t.Errorf("%d metrics of an engine that has ended", len(left))
		}
	}, func(c *tasker.Config) {
		c.Metrics, c.Slots, c.Index = registry, 2, filepath.Join(t.TempDir(), "index.db")
	})
}

func TestTwoEnginesNeedARegistryOrALabelEach(t *testing.T) {
	registry := prometheus.NewRegistry()
	labelled := func(name string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"engine": name}, registry)
	}
	engine := func(registry prometheus.Registerer) (*tasker.Engine, error) {
		return tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{}), Metrics: registry})
	}
	first, err := engine(labelled("first"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine(labelled("first")); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Fatalf("got %v", err)
	}
	second, err := engine(labelled("second"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := values(families(t, registry)["tasker_slots"]); len(got) != 2 {
		t.Errorf("two engines: %v", got)
	}
	first.Close()
	third, err := engine(labelled("first"))
	if err != nil {
		t.Fatalf("the first engine is closed, and in the way: %v", err)
	}
	third.Close()
}

func TestAnEngineSaysWhetherItIsHealthy(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		if err := e.Healthy(); err != nil {
			t.Errorf("it runs: %v", err)
		}
		e.Stop()
		if err := e.Healthy(); !errors.Is(err, tasker.ErrNotRunning) {
			t.Errorf("it has ended: %v", err)
		}
	})
}
