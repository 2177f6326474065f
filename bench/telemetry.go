package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/otlp"
)

// TelemetryOptions say how long Telemetry takes: Rounds times four measurements of Slice, each with a start and a warm-up of
// about a second.
type TelemetryOptions struct {
	Dir      string // where the data directories go; emptied behind each measurement
	Rounds   int    // default 10
	Slice    time.Duration
	Inflight int // default 1000
}

// TelemetryReport is what metrics and traces cost the engine, each compared with what is measured beside it in the same
// round.
type TelemetryReport struct {
	Rounds   int              `json:"rounds"`
	Slice    float64          `json:"slice_s"`
	Compared []TelemetryRatio `json:"compared"`
}

// TelemetryRatio is one way to run the engine.
type TelemetryRatio struct {
	Name      string  `json:"name"`
	Against   string  `json:"against"` // what it is compared with
	TasksPerS float64 `json:"tasks_per_s"`
	Ratio     float64 `json:"ratio"` // of the tasks per second: the median of the rounds
	Low       float64 `json:"low"`   // the least
	High      float64 `json:"high"`  // the most
	CPU       float64 `json:"cpu"`   // processor time per task, likewise; it says more on a shared machine
	Spans     float64 `json:"spans"` // exported, as a share of all that there were
}

// telemetryKind is one way to run the engine.
type telemetryKind struct {
	name    string
	against int // index of what it is compared with; its own for the one that is compared with nothing
	metrics bool
	ratio   float64 // of the traces; 0: no exporter
}

var telemetryKinds = []telemetryKind{
	{"nothing", 0, false, 0},
	{"metrics", 0, true, 0},
	{"metrics, and 1 % of the traces", 1, true, 0.01},
	{"metrics, and every trace", 1, true, 1},
}

// sink is a collector that takes everything, over HTTP in this process.
type sink struct {
	server http.Server
	url    string
}

func newSink(ctx context.Context) (*sink, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{url: "http://" + listener.Addr().String()}
	s.server = http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// counted is an exporter that counts what another one takes.
type counted struct {
	sdktrace.SpanExporter
	spans atomic.Int64
}

// ExportSpans counts spans that were taken.
func (c *counted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		c.spans.Add(int64(len(spans)))
	}
	return err
}

// Telemetry measures the dummy task with and without metrics and traces, in turns, so that what else the machine does
// meets all of them alike. Metrics are gathered once a second meanwhile, and spans go to a collector in this process, whose
// work is counted, too.
func Telemetry(ctx context.Context, o TelemetryOptions) (TelemetryReport, error) {
	if o.Rounds <= 0 {
		o.Rounds = 10
	}
	if o.Slice <= 0 {
		o.Slice = time.Second
	}
	if o.Inflight <= 0 {
		o.Inflight = 1000
	}
	report := TelemetryReport{Rounds: o.Rounds, Slice: o.Slice.Seconds()}
	s, err := newSink(ctx)
	if err != nil {
		return report, err
	}
	defer s.server.Close()
	rates, cpu, spans := make([][]float64, len(telemetryKinds)), make([][]float64, len(telemetryKinds)), make([]float64, len(telemetryKinds))
	for round := range o.Rounds {
		for i := range telemetryKinds {
			k := (i + round) % len(telemetryKinds) // each comes first as often as the others
			r, share, err := telemetryOnce(ctx, o, telemetryKinds[k], s)
			if err != nil {
				return report, fmt.Errorf("%s: %w", telemetryKinds[k].name, err)
			}
			rates[k], cpu[k] = append(rates[k], r.TasksPerS), append(cpu[k], r.CPUPerTask)
			spans[k] += share / float64(o.Rounds)
		}
	}
	for k, kind := range telemetryKinds {
		ratio, work := ratios(rates[k], rates[kind.against]), ratios(cpu[k], cpu[kind.against])
		report.Compared = append(report.Compared, TelemetryRatio{
			Name: kind.name, Against: telemetryKinds[kind.against].name, TasksPerS: middle(slices.Sorted(slices.Values(rates[k]))),
			Ratio: middle(ratio), Low: ratio[0], High: ratio[len(ratio)-1], CPU: middle(work), Spans: spans[k],
		})
	}
	return report, nil
}

// telemetryOnce is one measurement. share is that of the spans of all its traces which were exported.
func telemetryOnce(ctx context.Context, o TelemetryOptions, kind telemetryKind, s *sink) (r Report, share float64, err error) {
	dir, err := os.MkdirTemp(o.Dir, "telemetry")
	if err != nil {
		return r, 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	options := Options{
		Shape: "dummy", Inflight: o.Inflight, Duration: o.Slice, Durability: natsserver.Strict, Dir: filepath.Join(dir, "data"),
	}
	registry, exporter := prometheus.NewRegistry(), &counted{}
	if kind.ratio > 0 {
		if exporter.SpanExporter, err = (otlp.Options{Endpoint: s.url}).Spans(ctx); err != nil {
			return r, 0, err
		}
		defer func() { _ = exporter.Shutdown(context.WithoutCancel(ctx)) }()
	}
	var all atomic.Int64
	options.Configure = func(c *tasker.Config) {
		if kind.metrics {
			c.Metrics = registry
		}
		if kind.ratio > 0 {
			c.Traces = tasker.Traces{Exporter: exporter, Ratio: kind.ratio}
		}
	}
	options.Ended = func(e *tasker.Engine) {
		for name, n := range e.Stats().Events {
			if name == domain.TaskCompletedType || name == domain.StepCompletedType {
				all.Add(int64(n)) // #nosec G115 -- of a benchmark
			}
		}
	}
	done := make(chan struct{})
	scraping, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		scrape(scraping, registry)
	}()
	r, err = Run(ctx, options)
	stop()
	<-done
	if n := all.Load(); n > 0 && kind.ratio > 0 {
		share = float64(exporter.spans.Load()) / float64(n)
	}
	return r, share, err
}

// scrape gathers the metrics once a second, as a Prometheus server that is in a hurry would.
func scrape(ctx context.Context, from prometheus.Gatherer) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = from.Gather()
		}
	}
}

// ratios divides pair by pair, and sorts.
func ratios(of, by []float64) []float64 {
	list := make([]float64, len(of))
	for i := range of {
		list[i] = of[i] / by[i]
	}
	slices.Sort(list)
	return list
}
