package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"go.opentelemetry.io/otel/sdk/trace"

	face "github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/memlog"
)

// scrapeInterval is that of deploy/prometheus/prometheus.yml.
const scrapeInterval = 5 * time.Second

// scrape is what /metrics said, and when.
type scrape struct {
	at   time.Time
	text []byte
	kind string
}

// workload is an engine with what a bad day has: steps that fail once, for good, by timeout and by panic, that sleep and that
// take long, beside the dummy task. Its time is virtual.
type workload struct {
	engine   *face.Engine
	registry *prometheus.Registry
}

func (w *workload) register(t *testing.T) {
	t.Helper()
	type input = map[string]any
	dummy := face.Handle(func(_ context.Context, in input) (input, error) { return in, nil })
	var tried sync.Map
	flaky := face.Handle(func(_ context.Context, in input) (input, error) {
		if _, again := tried.LoadOrStore(fmt.Sprint(in["n"]), true); !again {
			return nil, errors.New("not yet")
		}
		return in, nil
	})
	hang := face.Handle(func(ctx context.Context, _ input) (input, error) { <-ctx.Done(); return nil, ctx.Err() })
	slow := face.Handle(func(ctx context.Context, in input) (input, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(7 * time.Second):
			return in, nil
		}
	})
	for _, b := range []*face.Builder{
		face.Define("dummy_task").Step("step-one", dummy).Step("step-two", dummy).
			Step("step-three", dummy, face.After("step-two")).Step("step-four", dummy, face.After("step-three")),
		face.Define("flaky").Namespace("shop").Step("charge", flaky).Step("ship", dummy, face.After("charge")),
		face.Define("doomed").Namespace("shop").Step("refuse", face.Handle(func(context.Context, input) (input, error) {
			return nil, face.Permanent(errors.New("never"))
		})).Step("after", dummy, face.After("refuse")),
		face.Define("panics").Step("boom", face.Handle(func(context.Context, input) (input, error) { panic("boom") }), face.NoRetry()),
		face.Define("hangs").Step("wait", hang, face.Timeout(time.Second), face.NoRetry()),
		face.Define("slow").Step("work", slow).StepNamed("nap", "sleep", face.HandlerConfig(map[string]string{"duration": "1m"}), face.After("work")),
	} {
		flow, err := b.Build()
		if err == nil {
			err = w.engine.Register(flow)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (w *workload) scrape(t *testing.T) scrape {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text, err := io.ReadAll(answer.Result().Body)
	if err != nil || answer.Code != 200 {
		t.Fatalf("%d %s %v", answer.Code, text, err)
	}
	return scrape{time.Now(), text, answer.Result().Header.Get("Content-Type")}
}

// busyDay runs the workload for two virtual minutes and scrapes it as Prometheus would.
func busyDay(t *testing.T) []scrape {
	t.Helper()
	var scrapes []scrape
	synctest.Test(t, func(t *testing.T) {
		quiet := slog.New(slog.DiscardHandler)
		w := &workload{registry: prometheus.NewRegistry()}
		var err error
		w.engine, err = face.New(t.Context(), face.Config{
			Store: memlog.New(memlog.Options{Partitions: 2, Delay: 2 * time.Millisecond}), Metrics: w.registry, Logger: quiet, Drain: -1,
			Traces: face.Traces{Exporter: spans{}}, Index: filepath.Join(t.TempDir(), "index.db"),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.register(t)
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- w.engine.Run(ctx) }()
		<-w.engine.Ready()
		attached := make(chan error, 1)
		go func() {
			attached <- w.engine.Attach(ctx, "billing", nil, func(context.Context, face.Event) error { return nil })
		}()
		for round := range 24 {
			for _, name := range []string{"dummy_task", "dummy_task", "dummy_task", "shop/flaky", "shop/doomed", "panics", "hangs", "slow"} {
				namespace, short, ok := strings.Cut(name, "/")
				if !ok {
					namespace, short = "default", name
				}
				if _, err := w.engine.SubmitRequest(ctx, face.Submission{Namespace: namespace, Name: short, Context: fmt.Appendf(nil, `{"n":%d}`, round)}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(scrapeInterval) // virtual
			synctest.Wait()
			scrapes = append(scrapes, w.scrape(t))
		}
		stop()
		if err := <-attached; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return scrapes
}

// spans is an exporter that takes everything.
type spans struct{}

func (spans) ExportSpans(context.Context, []trace.ReadOnlySpan) error { return nil }
func (spans) Shutdown(context.Context) error                          { return nil }

// store keeps the scrapes as Prometheus does.
func store(t *testing.T, scrapes []scrape) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, s := range scrapes {
		app := db.Appender(t.Context())
		p, err := textparse.New(s.text, s.kind, labels.NewSymbolTable(), textparse.ParserOptions{})
		if err != nil {
			t.Fatal(err)
		}
		series := func(l labels.Labels, value float64) {
			b := labels.NewBuilder(l).Set("job", "tasker").Set("instance", "engine-1:9464")
			if _, err := app.Append(0, b.Labels(), s.at.UnixMilli(), value); err != nil {
				t.Fatal(err)
			}
		}
		for {
			entry, err := p.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if entry != textparse.EntrySeries {
				continue
			}
			_, _, value := p.Series()
			var l labels.Labels
			p.Labels(&l)
			series(l, value)
		}
		series(labels.FromStrings("__name__", "up"), 1)
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func TestEveryQueryReturnsData(t *testing.T) {
	scrapes := busyDay(t)
	db := store(t, scrapes)
	queries := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1 << 20, Timeout: patience, LookbackDelta: 5 * time.Minute, Parser: queries})
	t.Cleanup(func() { _ = engine.Close() })
	last := scrapes[len(scrapes)-1].at
	ask := func(where, expr string) {
		t.Helper()
		q, err := engine.NewInstantQuery(t.Context(), db, nil, expr, last)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			return
		}
		defer q.Close()
		result := q.Exec(t.Context())
		if result.Err != nil {
			t.Errorf("%s: %s: %v", where, expr, result.Err)
			return
		}
		vector, err := result.Vector()
		if err != nil {
			t.Errorf("%s: %s: %v", where, expr, err)
			return
		}
		numbers := 0
		for _, s := range vector {
			if !math.IsNaN(s.F) && !math.IsInf(s.F, 0) {
				numbers++
			}
		}
		if numbers == 0 {
			t.Errorf("%s: %s: %d series, none with a number", where, expr, len(vector))
		}
	}
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				ask(d.file+": "+p.Title, fill(q.Expr))
			}
		}
		for _, v := range d.Templating.List {
			if m := labelValues.FindStringSubmatch(fmt.Sprint(v.Query)); m != nil {
				ask(d.file+": variable "+v.Name, fmt.Sprintf("count by (%s) (%s)", m[2], fill(m[1])))
			}
		}
	}
}
