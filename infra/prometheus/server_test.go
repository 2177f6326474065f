package prometheus

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body), r.Header
}

func serve(t *testing.T, o Options) *Server {
	t.Helper()
	o.Addr, o.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	s, err := Serve(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 { // a second call does nothing
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func TestMetricsAndHealthAreServed(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "tasker_things_total", Help: "Things."})
	registry.MustRegister(counter)
	counter.Add(3)
	var wrong atomic.Value
	s := serve(t, Options{From: registry, Healthy: func() error {
		err, _ := wrong.Load().(error)
		return err
	}})
	at := "http://" + s.Addr()
	if status, body, header := get(t, at+"/metrics"); status != http.StatusOK || !strings.Contains(body, "\ntasker_things_total 3\n") ||
		!strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %v\n%s", status, header, body)
	}
	check := func(status int, text string) {
		t.Helper()
		for _, path := range []string{"/healthz", "/healthz/ready"} {
			if got, body, _ := get(t, at+path); got != status || body != text+"\n" {
				t.Errorf("%s: %d %s", path, got, body)
			}
		}
		if got, _, _ := get(t, at+"/healthz/live"); got != http.StatusOK {
			t.Errorf("it answers, and is said to be dead: %d", got)
		}
	}
	check(http.StatusOK, "ok")
	wrong.Store(errors.New("partition 01 is closed"))
	check(http.StatusServiceUnavailable, "partition 01 is closed")
	if status, _, _ := get(t, at+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("what nobody asked for is served: %d", status)
	}
}

// broken gives what it has and an error.
type broken struct{ *prometheus.Registry }

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.NewInvalidMetric(prometheus.NewDesc("tasker_bad", "", nil, nil), errors.New("no"))
}

func TestOneBrokenMetricDoesNotHideTheOthers(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(broken{}, prometheus.NewGauge(prometheus.GaugeOpts{Name: "tasker_things"}))
	s := serve(t, Options{From: registry})
	if status, body, _ := get(t, "http://"+s.Addr()+"/metrics"); status != http.StatusOK || !strings.Contains(body, "tasker_things 0") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := get(t, "http://"+s.Addr()+"/healthz"); status != http.StatusOK {
		t.Errorf("nobody says what is healthy, so everything is: %d", status)
	}
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	s := serve(t, Options{From: prometheus.NewRegistry()})
	_, err := Serve(t.Context(), Options{Addr: s.Addr(), From: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "metrics cannot be served at "+s.Addr()) {
		t.Errorf("got %v", err)
	}
}
