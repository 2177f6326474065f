package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	prom "github.com/tasker-go/tasker/infra/prometheus"

	"github.com/prometheus/client_golang/prometheus"
)

// health runs the verb against an address.
func health(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = execute(append([]string{"health"}, args...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestHealthIsWhatTheServerSays(t *testing.T) {
	var reason error
	s, err := prom.Serve(t.Context(), prom.Options{Addr: "127.0.0.1:0", From: prometheus.NewRegistry(), Healthy: func() error { return reason }})
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := health(t, "--metrics", s.Addr()); code != 0 || out != "ok\n" || errOut != "" {
		t.Errorf("%d %q %q", code, out, errOut)
	}
	reason = fmt.Errorf("partition 01: %w\nof two lines", domain.ErrUnavailable)
	code, out, errOut := health(t, "--metrics", s.Addr())
	if want := "tasker: not healthy: partition 01: " + domain.ErrUnavailable.Error(); code != 3 || out != "" || !strings.HasPrefix(errOut, want) || strings.Count(errOut, "\n") != 1 {
		t.Errorf("%d %q %q", code, out, errOut)
	}
	if code, _, errOut := health(t, "--metrics", s.Addr(), "--live"); code != 0 {
		t.Errorf("it answers, and is said not to live: %d %s", code, errOut)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := health(t, "--metrics", s.Addr()); code != 3 || !strings.Contains(errOut, "the server cannot be asked") {
		t.Errorf("of a stopped server: %d %q", code, errOut)
	}
}

func TestHealthTrustsNobodyElse(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(elsewhere.Close)
	release := make(chan struct{})
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"sends it elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "that is no server of tasker"},
		"has no such page":   {http.NotFound, "answers 404 Not Found"},
		"talks without end": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			for range 100 {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<10)); err != nil {
					return
				}
			}
		}, "not healthy: xxx"},
		"never answers": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}, "it does not answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			t.Cleanup(s.Close)
			t.Setenv("HTTP_PROXY", elsewhere.URL)
			code, out, errOut := health(t, "--metrics", s.Listener.Addr().String(), "--timeout", (300 * time.Millisecond).String())
			if code != 3 || out != "" || !strings.Contains(errOut, c.want) || len(errOut) > 2*healthBytes {
				t.Errorf("%d %q %.200q", code, out, errOut)
			}
		})
	}
	close(release)
}

func TestHealthRefusesWhatIsNoAddress(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, args := range [][]string{
		{"--metrics", "9464"}, {"--metrics", "127.0.0.1:0"}, {"--metrics", ""}, {"--timeout", "0s"}, {"--metrics", "a b:1"}, {"more"},
	} {
		if code, _, errOut := health(t, args...); code != 2 || !strings.Contains(errOut, "usage: tasker health") {
			t.Errorf("%v: %d %q", args, code, errOut)
		}
	}
}
