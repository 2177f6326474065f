package check

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// composed is the compose file without its containers: the very commands and environments, with the addresses that the
// services have on this machine in place of their names.
type composed struct {
	t       *testing.T
	project *types.Project
	names   *strings.Replacer
	metrics map[string]string // by engine
	traces  atomic.Int64
}

func newComposed(t *testing.T) *composed {
	t.Helper()
	addresses, env := startCluster(t)
	p, err := load(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	c := &composed{t: t, project: p, metrics: map[string]string{}}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/v1/traces" {
			c.traces.Add(1)
		} else {
			t.Errorf("the collector is sent %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(collector.Close)
	pairs := []string{"otel-collector:4318", collector.Listener.Addr().String()}
	for i, address := range addresses {
		pairs = append(pairs, fmt.Sprintf("nats-%d:4222", i+1), address)
	}
	c.names = strings.NewReplacer(pairs...)
	return c
}

// command is what a container of the service would run.
func (c *composed) command(ctx context.Context, service string, words []string) *exec.Cmd {
	s := c.project.Services[service]
	args := slices.Clone(words)
	for i, word := range args {
		flag, path, _ := strings.Cut(word, "=")
		if host, ok := onHost(s, path); ok {
			args[i] = flag + "=" + host
		}
		if port := c.metrics[service]; port != "" && flag == "--metrics" {
			args[i] = "--metrics=127.0.0.1:" + port
		}
		args[i] = c.names.Replace(args[i])
	}
	binary := "tasker"
	if s.Build != nil {
		binary = s.Build.Target
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(tasker(c.t)), binary), args...)
	cmd.Dir = c.t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir}
	for name, value := range s.Environment {
		cmd.Env = append(cmd.Env, name+"="+c.names.Replace(*value))
	}
	return cmd
}

// healthy runs the healthcheck of a service once.
func (c *composed) healthy(service string) error {
	test := c.project.Services[service].HealthCheck.Test
	if len(test) < 3 || test[0] != "CMD" || test[1] != "/usr/local/bin/tasker" {
		c.t.Fatalf("the healthcheck of %s is %v", service, test)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Duration(*c.project.Services[service].HealthCheck.Timeout))
	defer cancel()
	out, err := c.command(ctx, service, test[2:]).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// start starts an engine and waits until its healthcheck says that it is well.
func (c *composed) start(service string) *exec.Cmd {
	c.t.Helper()
	c.metrics[service] = fmt.Sprint(freePorts(c.t, 1)[0])
	cmd := c.command(context.WithoutCancel(c.t.Context()), service, c.project.Services[service].Command)
	var out buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("%s says:\n%s", service, out.String())
		}
	})
	await(c.t, service+" to be healthy", func() bool { return c.healthy(service) == nil })
	return cmd
}

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (c *composed) get(url string) string {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s %v", url, response.Status, err)
	}
	return string(text)
}

func (c *composed) tasker(service string, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	out, err := c.command(ctx, service, append(args, "--url=nats://nats-2:4222")).CombinedOutput()
	if err != nil {
		c.t.Fatalf("tasker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTheServicesOfTheComposeFileRunTogether(t *testing.T) {
	c := newComposed(t)
	first := c.start("engine-1")
	second := c.start("engine-2")
	if out := c.tasker("engine-1", "submit", "hello", "--wait", "--input", `{"name": "world"}`); !strings.Contains(out, "good bye world") {
		t.Errorf("the task says %s", out)
	}
	owned := regexp.MustCompile(`(?m)^tasker_partition_owned\{.*\} 1$`)
	count := func(service string) int {
		return len(owned.FindAllString(c.get("http://127.0.0.1:"+c.metrics[service]+"/metrics"), -1))
	}
	if one, two := count("engine-1"), count("engine-2"); one+two != 4 {
		t.Errorf("of 4 partitions the engines own %d and %d", one, two)
	}
	await(t, "a trace of it", func() bool { return c.traces.Load() > 0 })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := c.command(ctx, "interop", c.project.Services["interop"].Command).CombinedOutput(); err != nil {
		t.Errorf("interop: %v\n%s", err, out)
	}

	// The first engine stops as docker compose down would stop it, and the second goes on.
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the first engine ends with %v", err)
	}
	await(t, "the second engine to take over", func() bool { return count("engine-2") == 4 })
	if err := c.healthy("engine-2"); err != nil {
		t.Error(err)
	}
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the second engine ends with %v", err)
	}
	if drain, ok := flagOf(c.project.Services["engine-1"], "--drain"); ok {
		d, err := time.ParseDuration(drain)
		if grace := time.Duration(*c.project.Services["engine-1"].StopGracePeriod); err != nil || grace < d+40*time.Second {
			t.Errorf("an engine may take %s and 40 s to stop, and is killed after %s", drain, grace)
		}
	}
}
