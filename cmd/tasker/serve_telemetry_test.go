package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// told hands on what a command prints, line by line.
type told struct {
	rest  []byte
	lines chan string
}

func (w *told) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		w.lines <- string(w.rest[:i])
		w.rest = w.rest[i+1:]
	}
}

// wait returns the first line that begins so.
func (w *told) wait(t *testing.T, begin string) string {
	t.Helper()
	late := time.After(time.Minute)
	var others []string
	for {
		select {
		case line := <-w.lines:
			others = append(others, line)
			if strings.HasPrefix(line, begin) {
				return line
			}
		case <-late:
			t.Fatalf("it never said %q, but %q", begin, others)
		}
	}
}

const greet = `name: greet
version: 0.1.0
steps:
  - name: hello
    handler: log
    handler_config: {message: hello}
`

func TestServeTellsPrometheusAndACollector(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path] += len(body)
	}))
	defer collector.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "greet.yaml"), []byte(greet), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	out, problems := &told{lines: make(chan string, 1000)}, &told{lines: make(chan string, 1000)}
	a := &app{in: strings.NewReader(""), out: out, err: problems}
	root := newRootCommand(a)
	root.SetArgs([]string{"serve", "--data", data, "--definitions", dir, "--metrics", "127.0.0.1:0", "--otlp-endpoint", collector.URL})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	at := strings.TrimSpace(strings.TrimPrefix(out.wait(t, "metrics "), "metrics"))
	out.wait(t, "ready")
	var answer bytes.Buffer
	if code := execute([]string{"submit", "greet", "--data", data, "--wait"}, strings.NewReader(""), &answer, &answer); code != 0 {
		t.Fatalf("exit code %d: %s", code, answer.String())
	}
	if text := fetch(t, at); !strings.Contains(text, `tasker_tasks_finished_total{definition="greet",namespace="default",outcome="complete"} 1`) ||
		!strings.Contains(text, "go_goroutines") {
		t.Errorf("%s has no task that is complete:\n%s", at, text)
	}
	if text := fetch(t, strings.TrimSuffix(at, "metrics")+"healthz"); text != "ok\n" {
		t.Errorf("it is not healthy: %s", text)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	mu.Lock()
	defer mu.Unlock()
	if got["/v1/traces"] == 0 || got["/v1/metrics"] == 0 {
		t.Errorf("the collector got %v", got)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url) // #nosec G107 -- a server of this test
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServeRefusesTelemetryThatCannotWork(t *testing.T) {
	for _, tt := range []struct {
		args []string
		env  map[string]string
		says string
	}{
		{[]string{"--metrics", "9464"}, nil, `--metrics is "9464": want HOST:PORT`},
		{[]string{"--metrics", "256.0.0.1:1"}, nil, "metrics cannot be served at 256.0.0.1:1"},
		{[]string{"--trace-ratio", "1.5"}, nil, "--trace-ratio must be 0 to 1, not 1.5"},
		{[]string{"--trace-ratio", "NaN"}, nil, "--trace-ratio must be 0 to 1, not NaN"},
		{[]string{"--otlp-endpoint", "localhost:4318"}, nil, "want a URL such as http://localhost:4318"},
		{[]string{"--otlp-protocol", "carrier pigeon"}, nil, `OTLP over "carrier pigeon" is not supported`},
		{nil, map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "all"}, `OTEL_TRACES_SAMPLER_ARG is "all"`},
	} {
		for name, value := range tt.env {
			t.Setenv(name, value)
		}
		var out bytes.Buffer
		args := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data")}, tt.args...)
		if code := execute(args, strings.NewReader(""), &out, &out); code != 2 || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%v: exit code %d, %s; want %q", tt.args, code, out.String(), tt.says)
		}
		for name := range tt.env {
			t.Setenv(name, "")
		}
	}
}

func TestASubmissionBelongsToTheTraceOfItsCaller(t *testing.T) {
	const theirs, ours = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01"
	for _, tt := range []struct{ flag, env, want string }{
		{"", "", ""}, {"", theirs, theirs}, {ours, theirs, ours}, {"", "nonsense", ""},
	} {
		t.Setenv("TRACEPARENT", tt.env)
		f := submitFlags{traceparent: tt.flag}
		if err := f.setTrace(); err != nil || f.traceparent != tt.want {
			t.Errorf("%q beside %q: %q, %v", tt.flag, tt.env, f.traceparent, err)
		}
	}
	f := submitFlags{traceparent: "nonsense"}
	if err := f.setTrace(); err == nil || !strings.Contains(err.Error(), `--traceparent: "nonsense" is no traceparent`) {
		t.Errorf("got %v", err)
	}
}
