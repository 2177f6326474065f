// Package otlp sends spans and metrics to an OpenTelemetry collector, as the environment variables of the OpenTelemetry
// specification say (OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS, _PROTOCOL, _CERTIFICATE, OTEL_SERVICE_NAME and so on). It makes
// the exporters; what is exported comes from tasker.Config.Traces and from a Prometheus registry.
package otlp

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	promclient "github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Options say where to, and who sends. The environment fills in what is empty.
type Options struct {
	// Endpoint is the URL of the collector, such as http://localhost:4318; the paths of the signals are added. Default: what
	// OTEL_EXPORTER_OTLP_ENDPOINT and its sisters for single signals say.
	Endpoint string
	// Protocol is "http/protobuf" or "grpc". Default: OTEL_EXPORTER_OTLP_PROTOCOL and its sisters, else http/protobuf.
	Protocol string
	// Service is service.name where the environment names none. Default "tasker".
	Service string
	// Version and Instance are service.version and service.instance.id.
	Version, Instance string
}

// Signal is what is sent.
type Signal string

// The signals.
const (
	Traces  Signal = "TRACES"
	Metrics Signal = "METRICS"
)

// Protocols that the exporters speak.
const (
	HTTP = "http/protobuf"
	GRPC = "grpc"
)

// Wanted reports whether the signal is to be sent: somebody said where to, and nobody switched it off (OTEL_SDK_DISABLED,
// OTEL_TRACES_EXPORTER=none, OTEL_METRICS_EXPORTER=none).
func (o Options) Wanted(s Signal) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_"+string(s)+"_EXPORTER") == "none" {
		return false
	}
	return o.Endpoint != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" ||
		os.Getenv("OTEL_EXPORTER_OTLP_"+string(s)+"_ENDPOINT") != ""
}

// Check says what is wrong with the options and with the environment; the libraries would fall back to their defaults.
func (o Options) Check() error {
	if err := checkURL("the endpoint", o.Endpoint); err != nil {
		return err
	}
	for _, s := range []Signal{Traces, Metrics} {
		for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + string(s) + "_ENDPOINT"} {
			if err := checkURL(name, os.Getenv(name)); err != nil {
				return err
			}
		}
		if p := o.protocol(s); p != HTTP && p != GRPC {
			return fmt.Errorf("OTLP over %q is not supported: take %s or %s", p, HTTP, GRPC)
		}
		name := "OTEL_" + string(s) + "_EXPORTER"
		if exporter := os.Getenv(name); !slices.Contains([]string{"", "otlp", "none"}, exporter) {
			return fmt.Errorf("%s is %q: there are otlp and none", name, exporter)
		}
	}
	return nil
}

func checkURL(what, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%s is %q: want a URL such as http://localhost:4318", what, text)
	}
	return nil
}

func (o Options) protocol(s Signal) string {
	for _, p := range []string{o.Protocol, os.Getenv("OTEL_EXPORTER_OTLP_" + string(s) + "_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")} {
		if p != "" {
			return p
		}
	}
	return HTTP
}

// at is the URL of a signal over HTTP.
func (o Options) at(path string) (string, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return "", err
	}
	return u.JoinPath(path).String(), nil
}

// Resource says who sends: OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME come before the options.
func (o Options) Resource(ctx context.Context) (*resource.Resource, error) {
	service := o.Service
	if service == "" {
		service = "tasker"
	}
	own := []attribute.KeyValue{attribute.String("service.name", service)}
	for key, value := range map[string]string{"service.version": o.Version, "service.instance.id": o.Instance} {
		if value != "" {
			own = append(own, attribute.String(key, value))
		}
	}
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(own...), resource.WithFromEnv())
}

// Spans makes an exporter of spans. It connects when it has something to send; a collector that is away is tried again
// within the time of a call. Whoever asks for it shuts it down.
func (o Options) Spans(ctx context.Context) (sdktrace.SpanExporter, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.protocol(Traces) == GRPC {
		var options []otlptracegrpc.Option
		if o.Endpoint != "" {
			options = append(options, otlptracegrpc.WithEndpointURL(o.Endpoint))
		}
		return otlptracegrpc.New(ctx, options...)
	}
	var options []otlptracehttp.Option
	if o.Endpoint != "" {
		at, err := o.at("v1/traces")
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracehttp.WithEndpointURL(at))
	}
	return otlptracehttp.New(ctx, options...)
}

// Push sends what the gatherer has, every minute or as OTEL_METRIC_EXPORT_INTERVAL says, under the names that Prometheus
// has for it, until Shutdown, which sends it once more; ForceFlush sends it at once. Failures go to OpenTelemetry's error
// handler.
func (o Options) Push(ctx context.Context, from promclient.Gatherer) (*sdkmetric.MeterProvider, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	who, err := o.Resource(ctx)
	if err != nil {
		return nil, err
	}
	exporter, err := o.metrics(ctx)
	if err != nil {
		return nil, err
	}
	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(prometheus.NewMetricProducer(prometheus.WithGatherer(from))))
	return sdkmetric.NewMeterProvider(sdkmetric.WithResource(who), sdkmetric.WithReader(reader)), nil
}

func (o Options) metrics(ctx context.Context) (sdkmetric.Exporter, error) {
	if o.protocol(Metrics) == GRPC {
		var options []otlpmetricgrpc.Option
		if o.Endpoint != "" {
			options = append(options, otlpmetricgrpc.WithEndpointURL(o.Endpoint))
		}
		return otlpmetricgrpc.New(ctx, options...)
	}
	var options []otlpmetrichttp.Option
	if o.Endpoint != "" {
		at, err := o.at("v1/metrics")
		if err != nil {
			return nil, err
		}
		options = append(options, otlpmetrichttp.WithEndpointURL(at))
	}
	return otlpmetrichttp.New(ctx, options...)
}
