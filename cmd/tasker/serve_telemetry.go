package main

import (
	"context"
	"log/slog"
	"math"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/otlp"
	prom "github.com/tasker-go/tasker/infra/prometheus"
)

// telemetryFlags say who is told how the server does.
type telemetryFlags struct {
	metrics, endpoint, protocol string
	ratio                       float64
	elsewhere                   bool // somebody else serves the metrics, too
}

func (f *telemetryFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.metrics, "metrics", "", "HOST:PORT for /metrics (Prometheus) and /healthz; port 0 is any free one (default: none)")
	flags.StringVar(&f.endpoint, "otlp-endpoint", "", "URL of an OpenTelemetry collector for traces and metrics, such as http://localhost:4318 (default: OTEL_EXPORTER_OTLP_ENDPOINT)")
	flags.StringVar(&f.protocol, "otlp-protocol", "", "http/protobuf or grpc (default: OTEL_EXPORTER_OTLP_PROTOCOL, else http/protobuf)")
	flags.Float64Var(&f.ratio, "trace-ratio", 1, "share of the traces that are recorded, 0 to 1, of those that begin with a task (also OTEL_TRACES_SAMPLER_ARG)")
}

func (f *telemetryFlags) check(cmd *cobra.Command) error {
	set := cmd.Flags().Changed
	if !set("trace-ratio") {
		if text := os.Getenv("OTEL_TRACES_SAMPLER_ARG"); text != "" && strings.HasSuffix(os.Getenv("OTEL_TRACES_SAMPLER"), "traceidratio") {
			ratio, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return usageError("OTEL_TRACES_SAMPLER_ARG is %q: it is the share of traces that are recorded, 0 to 1", text)
			}
			f.ratio = ratio
		}
	}
	if math.IsNaN(f.ratio) || f.ratio < 0 || f.ratio > 1 {
		return usageError("--trace-ratio must be 0 to 1, not %v", f.ratio)
	}
	if set("metrics") && !strings.Contains(f.metrics, ":") {
		return usageError("--metrics is %q: want HOST:PORT", f.metrics)
	}
	if err := f.options().Check(); err != nil {
		return usageError("OpenTelemetry: %w", err)
	}
	return nil
}

func (f *telemetryFlags) options() otlp.Options {
	return otlp.Options{Endpoint: f.endpoint, Protocol: f.protocol, Version: tasker.Version()}
}

// watchers are those who are told how the server does.
type watchers struct {
	flags    telemetryFlags
	logger   *slog.Logger
	registry *prometheus.Registry // nil: nobody asks for metrics
	server   *prom.Server
	flush    func(context.Context) error   // nil: nothing is pushed
	stops    []func(context.Context) error // in reverse
}

// watch prepares the configuration of an engine: nothing listens or sends yet. The watchers have to be stopped.
func (f *telemetryFlags) watch(ctx context.Context, config *tasker.Config, logger *slog.Logger) (*watchers, error) {
	w := &watchers{flags: *f, logger: logger}
	o := f.options()
	o.Instance = config.Name
	if f.metrics != "" || f.elsewhere || o.Wanted(otlp.Metrics) {
		w.registry = prometheus.NewRegistry()
		w.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		config.Metrics = w.registry
	}
	if !o.Wanted(otlp.Traces) {
		return w, nil
	}
	who, err := o.Resource(ctx)
	if err != nil {
		return nil, err
	}
	exporter, err := o.Spans(ctx)
	if err != nil {
		return nil, err
	}
	w.stops = append(w.stops, exporter.Shutdown)
	config.Traces = tasker.Traces{Exporter: exporter, Resource: who, Ratio: f.ratio}
	if f.ratio == 0 {
		config.Traces.Ratio = -1 // in a Config, 0 is all of them
	}
	return w, nil
}

// start begins to listen and to send.
func (w *watchers) start(ctx context.Context, engine *tasker.Engine) error {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { w.logger.Warn("OpenTelemetry", "error", err) }))
	if o := w.flags.options(); w.registry != nil && o.Wanted(otlp.Metrics) {
		push, err := o.Push(ctx, w.registry)
		if err != nil {
			return err
		}
		w.stops = append(w.stops, push.Shutdown)
		w.flush = push.ForceFlush
	}
	if w.flags.metrics == "" {
		return nil
	}
	server, err := prom.Serve(ctx, prom.Options{Addr: w.flags.metrics, From: w.registry, Healthy: engine.Healthy, Logger: w.logger})
	if err != nil {
		return badInput(err, "another --metrics, or port 0 for any free one")
	}
	w.server = server
	w.stops = append(w.stops, server.Shutdown)
	return nil
}

// say writes where metrics are.
func (w *watchers) say(a *app) {
	if w.server != nil {
		a.printf("metrics      http://%s/metrics\n", w.server.Addr())
	}
	if u, err := url.Parse(w.flags.endpoint); err == nil && w.flags.endpoint != "" {
		a.printf("telemetry    %s\n", u.Redacted())
	}
}

// ending sends the metrics of an engine that is about to stop, while it still has them.
func (w *watchers) ending() {
	if w.flush != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = w.flush(ctx) // the error handler has it
	}
}

// stop ends what start began, after the engine. That a collector is away is no failure of the server.
func (w *watchers) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for i := len(w.stops) - 1; i >= 0; i-- {
		if err := w.stops[i](ctx); err != nil {
			w.logger.Warn("OpenTelemetry", "error", err)
		}
	}
}
