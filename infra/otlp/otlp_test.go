package otlp

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector is what an OpenTelemetry collector would have got.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer
	collectormetrics.UnimplementedMetricsServiceServer
	mu      sync.Mutex
	spans   []string          // names
	metrics map[string]string // name to kind
	service map[string]string // attributes of the resource
	headers http.Header
}

func (c *collector) traces(r *collectortrace.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		c.resource(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, s.GetName())
			}
		}
	}
}

func (c *collector) measures(r *collectormetrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metrics = map[string]string{}
	for _, resource := range r.GetResourceMetrics() {
		c.resource(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				switch {
				case m.GetSum().GetIsMonotonic():
					c.metrics[m.GetName()] = "counter"
				case m.GetHistogram() != nil:
					c.metrics[m.GetName()] = "histogram"
				case m.GetGauge() != nil:
					c.metrics[m.GetName()] = "gauge"
				}
			}
		}
	}
}

func (c *collector) resource(attributes []*common.KeyValue) {
	c.service = map[string]string{}
	for _, a := range attributes {
		c.service[a.GetKey()] = a.GetValue().GetStringValue()
	}
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	c.headers = r.Header
	c.mu.Unlock()
	switch r.URL.Path {
	case "/base/v1/traces", "/v1/traces":
		var x collectortrace.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &x)
		}
		c.traces(&x)
	case "/base/v1/metrics", "/v1/metrics":
		var x collectormetrics.ExportMetricsServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &x)
		}
		c.measures(&x)
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

type traceService struct {
	collectortrace.UnimplementedTraceServiceServer
	to *collector
}

func (s traceService) Export(_ context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	s.to.traces(r)
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

type metricsService struct {
	collectormetrics.UnimplementedMetricsServiceServer
	to *collector
}

func (s metricsService) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.to.measures(r)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

// quiet takes what the machine's own environment may say away.
func quiet(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_SDK_DISABLED",
		"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_SERVICE_NAME",
		"OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_HEADERS",
	} {
		t.Setenv(name, "")
	}
}

// send exports a span and some metrics.
func send(t *testing.T, o Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	who, err := o.Resource(ctx)
	if err != nil {
		t.Fatal(err)
	}
	spans, err := o.Spans(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := spans.ExportSpans(ctx, []sdktrace.ReadOnlySpan{tracetest.SpanStub{Name: "task order", Resource: who}.Snapshot()}); err != nil {
		t.Fatal(err)
	}
	if err := spans.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	registry := promclient.NewRegistry()
	counter := promclient.NewCounter(promclient.CounterOpts{Name: "tasker_things_total"})
	gauge := promclient.NewGauge(promclient.GaugeOpts{Name: "tasker_things"})
	histogram := promclient.NewHistogram(promclient.HistogramOpts{Name: "tasker_things_seconds", Buckets: []float64{1, 2}})
	registry.MustRegister(counter, gauge, histogram)
	counter.Inc()
	histogram.Observe(1.5)
	push, err := o.Push(ctx, registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := push.ForceFlush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := push.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

func (c *collector) expect(t *testing.T, service, instance string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 1 || c.spans[0] != "task order" {
		t.Errorf("it got spans %q", c.spans)
	}
	for name, kind := range map[string]string{"tasker_things_total": "counter", "tasker_things": "gauge", "tasker_things_seconds": "histogram"} {
		if c.metrics[name] != kind {
			t.Errorf("%s came as %q: the names are those of Prometheus (%v)", name, c.metrics[name], c.metrics)
		}
	}
	if c.service["service.name"] != service || c.service["service.instance.id"] != instance || c.service["telemetry.sdk.language"] != "go" {
		t.Errorf("it came from %v", c.service)
	}
}

func TestSpansAndMetricsReachACollectorOverHTTP(t *testing.T) {
	quiet(t)
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	send(t, Options{Endpoint: server.URL + "/base", Version: "v1", Instance: "host-1"})
	c.expect(t, "tasker", "host-1")
}

func TestTheEnvironmentSaysWhereToAndWho(t *testing.T) {
	quiet(t)
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=secret")
	t.Setenv("OTEL_SERVICE_NAME", "billing")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7,deployment.environment.name=test")
	send(t, Options{Instance: "host-1"})
	c.expect(t, "billing", "pod-7")
	if c.headers.Get("Api-Key") != "secret" {
		t.Errorf("headers %v", c.headers)
	}
}

func TestSpansAndMetricsReachACollectorOverGRPC(t *testing.T) {
	quiet(t)
	c := &collector{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(server, traceService{to: c})
	collectormetrics.RegisterMetricsServiceServer(server, metricsService{to: c})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	send(t, Options{Endpoint: "http://" + listener.Addr().String(), Protocol: GRPC})
	c.expect(t, "tasker", "")
}

func TestACollectorThatIsAwayIsAnErrorWithinTheCallersTime(t *testing.T) {
	quiet(t)
	o := Options{Endpoint: "http://127.0.0.1:1"}
	spans, err := o.Spans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := spans.ExportSpans(ctx, []sdktrace.ReadOnlySpan{tracetest.SpanStub{Name: "x"}.Snapshot()}); err == nil {
		t.Error("nobody listens, and it went well")
	}
}

func TestSignalsAreWantedWhenSomebodySaysWhereTo(t *testing.T) {
	for _, tt := range []struct {
		name            string
		o               Options
		env             map[string]string
		traces, metrics bool
	}{
		{"nothing", Options{}, nil, false, false},
		{"an option", Options{Endpoint: "http://a"}, nil, true, true},
		{"a variable", Options{}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, true, true},
		{"for one signal", Options{}, map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, false, true},
		{"switched off", Options{Endpoint: "http://a"}, map[string]string{"OTEL_SDK_DISABLED": "TRUE"}, false, false},
		{"one switched off", Options{Endpoint: "http://a"}, map[string]string{"OTEL_METRICS_EXPORTER": "none"}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			quiet(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			if traces, metrics := tt.o.Wanted(Traces), tt.o.Wanted(Metrics); traces != tt.traces || metrics != tt.metrics {
				t.Errorf("traces %v, metrics %v", traces, metrics)
			}
		})
	}
}

func TestWhatCannotWorkIsRefused(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		env  map[string]string
		says string
	}{
		{Options{Endpoint: "localhost:4318"}, nil, `the endpoint is "localhost:4318": want a URL such as http://localhost:4318`},
		{Options{Endpoint: "http://"}, nil, "want a URL"},
		{Options{Endpoint: "http://a", Protocol: "http/json"}, nil, `OTLP over "http/json" is not supported: take http/protobuf or grpc`},
		{Options{}, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "x"}, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is "x"`},
		{Options{}, map[string]string{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "smoke"}, `"smoke"`},
		{Options{}, map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, `OTEL_TRACES_EXPORTER is "zipkin": there are otlp and none`},
	} {
		t.Run(tt.says, func(t *testing.T) {
			quiet(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			_, err := tt.o.Spans(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
			if _, err := tt.o.Push(t.Context(), promclient.NewRegistry()); err == nil {
				t.Error("metrics would be sent")
			}
		})
	}
}
