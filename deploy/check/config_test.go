package check

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v4"
)

func TestPrometheusReadsItsConfiguration(t *testing.T) {
	p := project(t)
	c, err := config.LoadFile(filepath.Join(root, "deploy", "prometheus", "prometheus.yml"), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, s := range c.ScrapeConfigs {
		for _, d := range s.ServiceDiscoveryConfigs {
			for _, group := range d.(discovery.StaticConfig) {
				for _, target := range group.Targets {
					targets[string(target["__address__"])] = true
				}
			}
		}
	}
	for target := range targets {
		host, _, err := net.SplitHostPort(target)
		if _, ok := p.Services[host]; err != nil || !ok && host != "localhost" {
			t.Errorf("target %s is no service", target)
		}
	}
	for name, s := range p.Services {
		port, ok := flagOf(s, "--metrics")
		if !ok {
			continue
		}
		_, port, _ = net.SplitHostPort(port)
		if !targets[name+":"+port] {
			t.Errorf("nobody scrapes %s:%s", name, port)
		}
	}
	for _, pattern := range c.RuleFiles {
		checkRules(t, pattern)
	}
	if len(c.RuleFiles) == 0 {
		t.Error("there are no rules")
	}
}

func checkRules(t *testing.T, file string) {
	t.Helper()
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		return
	}
	known := metrics(t)
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("%s does not say what is the matter and what to do", r.Alert)
			}
			for _, m := range metricName.FindAllString(r.Expr, -1) {
				if !known.has(m) {
					t.Errorf("%s: there is no metric %s", r.Alert, m)
				}
			}
		}
	}
}

// flagOf is the value of a flag in a command.
func flagOf(s types.ServiceConfig, flag string) (string, bool) {
	for _, word := range s.Command {
		if value, ok := strings.CutPrefix(word, flag+"="); ok {
			return value, true
		}
	}
	return "", false
}

// otelTypes are the components of the distribution in the compose file that are used here.
var otelTypes = map[string][]string{
	"receivers": {"otlp"}, "processors": {"memory_limiter", "batch"}, "exporters": {"otlp_grpc"}, "extensions": {"health_check"},
}

func TestTheCollectorsConfigurationIsWhole(t *testing.T) {
	type pipeline struct{ Receivers, Processors, Exporters []string }
	var c struct {
		Receivers, Processors, Exporters, Extensions map[string]map[string]any
		Service                                      struct {
			Extensions []string
			Pipelines  map[string]pipeline
			Telemetry  map[string]any
		}
	}
	if err := yaml.Unmarshal(read(t, "deploy/collector/collector.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	used := map[string][]string{"extensions": c.Service.Extensions}
	for _, p := range c.Service.Pipelines {
		used["receivers"] = append(used["receivers"], p.Receivers...)
		used["processors"] = append(used["processors"], p.Processors...)
		used["exporters"] = append(used["exporters"], p.Exporters...)
	}
	for kind, have := range map[string]map[string]map[string]any{
		"receivers": c.Receivers, "processors": c.Processors, "exporters": c.Exporters, "extensions": c.Extensions,
	} {
		for name := range have {
			if !slices.Contains(used[kind], name) {
				t.Errorf("%s: %s is in no pipeline", kind, name)
			}
			if !slices.Contains(otelTypes[kind], name) {
				t.Errorf("%s: %s is not in the distribution, as far as this test knows", kind, name)
			}
		}
		for _, name := range used[kind] {
			if _, ok := have[name]; !ok {
				t.Errorf("%s: %s is not configured", kind, name)
			}
		}
	}
	if _, ok := c.Service.Pipelines["traces"]; !ok {
		t.Error("there is no pipeline for traces")
	}
	p := project(t)
	host, _, err := net.SplitHostPort(fmt.Sprint(c.Exporters["otlp_grpc"]["endpoint"]))
	if _, ok := p.Services[host]; err != nil || !ok {
		t.Errorf("traces go to %q, which is no service: %v", host, err)
	}
	engine := p.Services["engine-1"]
	endpoint, _ := flagOf(engine, "--otlp-endpoint")
	protocols, _ := c.Receivers["otlp"]["protocols"].(map[string]any)
	for protocol, port := range map[string]string{"grpc": "4317", "http": "4318"} {
		if !strings.Contains(fmt.Sprint(protocols[protocol]), port) {
			t.Errorf("the collector does not listen for %s on %s", protocol, port)
		}
	}
	if endpoint != "http://otel-collector:4318" { // its default protocol is OTLP over HTTP
		t.Errorf("the engine sends traces to %q", endpoint)
	}
	if _, metrics := c.Service.Pipelines["metrics"]; metrics == (*engine.Environment["OTEL_METRICS_EXPORTER"] == "none") {
		t.Errorf("the collector takes metrics: %t, and the engine sends them: %t", metrics, !metrics)
	}
}

func TestGrafanaFindsItsDataSourcesAndDashboards(t *testing.T) {
	p := project(t)
	var sources struct {
		Datasources []struct{ Name, UID, Type, URL string }
	}
	if err := yaml.Unmarshal(read(t, "deploy/grafana/provisioning/datasources/datasources.yaml"), &sources); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, s := range sources.Datasources {
		kinds[s.Type] = true
		host, _, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
		if _, ok := p.Services[host]; err != nil || !ok {
			t.Errorf("data source %s is at %s, which is no service: %v", s.Name, s.URL, err)
		}
	}
	if !kinds["prometheus"] || !kinds["jaeger"] {
		t.Errorf("data sources: %v", kinds)
	}
	var dashboards struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	if err := yaml.Unmarshal(read(t, "deploy/grafana/provisioning/dashboards/dashboards.yaml"), &dashboards); err != nil {
		t.Fatal(err)
	}
	grafana := p.Services["grafana"]
	for _, d := range dashboards.Providers {
		host, ok := onHost(grafana, d.Options.Path)
		if files, err := filepath.Glob(filepath.Join(host, "*.json")); !ok || err != nil || len(files) == 0 {
			t.Errorf("no dashboards at %s: %v %v", d.Options.Path, files, err)
		}
	}
	home := *grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if host, ok := onHost(grafana, home); !ok {
		t.Errorf("the home dashboard %s is not mounted", home)
	} else if _, err := filepath.Glob(host); err != nil {
		t.Error(err)
	}
}
