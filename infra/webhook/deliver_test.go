package webhook

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var here = prefixes("127.0.0.0/8")

func described(_ context.Context, r domain.Record) (domain.CloudEvent, error) {
	e := domain.CloudEventOf(r, "/tasker/data-1")
	if !r.Task.IsZero() {
		e.Namespace, e.Definition, e.DefinitionVersion = "shop", "order", "1.2.0"
	}
	return e, nil
}

func newWebhook(t *testing.T, url string, change ...func(*Config)) *Webhook {
	t.Helper()
	c := Config{Name: "test", URL: url, Secret: secretA, Allow: here, Timeout: 20 * time.Second}
	for _, f := range change {
		f(&c)
	}
	w, err := New(c, Options{Event: described})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

var done = domain.Record{
	Task: domain.KeyedTaskID("shop", "order", "1"), At: 1_700_000_000_000_000, Position: domain.Position{Partition: 1, Sequence: 12, Index: 3},
	Event: domain.StepCompleted{Step: "pay", Attempt: 2, Result: domain.Payload{JSON: json.RawMessage(`{"sum":17}`)}},
}

func TestADeliveryIsASignedCloudEvent(t *testing.T) {
	var got *http.Request
	var body []byte
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	w := newWebhook(t, strings.Replace(s.URL, "://", "://user:pass@", 1)+"/hooks?x=1", func(c *Config) {
		c.Previous, c.Headers = secretB, map[string]string{"X-Team": "payments"}
	})
	if err := w.Handle(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	user, password, _ := got.BasicAuth()
	if got.Method != http.MethodPost || got.URL.String() != "/hooks?x=1" || user != "user" || password != "pass" ||
		got.Header.Get("Content-Type") != "application/cloudevents+json" || got.Header.Get("X-Team") != "payments" || got.Header.Get("User-Agent") != "tasker-webhook" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	for _, secret := range []string{secretA, secretB} {
		if id, err := Verify(got.Header, body, time.Now(), secret); err != nil || id != "data-1_01-12-3" {
			t.Errorf("Verify: %q, %v", id, err)
		}
	}
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"specversion": "1.0", "id": "01-12-3", "type": "step.completed", "subject": done.Task.String(), "namespace": "shop", "attempt": 2.0} {
		if event[name] != want {
			t.Errorf("%s is %v, want %v", name, event[name], want)
		}
	}
	signal, _ := described(t.Context(), domain.Record{Event: domain.Signal{Name: domain.SignalStepBackoff}})
	if id := MessageID(&signal); id != "data-1_00-0-0_observability_step_backoff" {
		t.Errorf("the id of a signal is %q", id)
	}
}

// outcome is what a try came to.
func outcome(err error) string {
	failure := (*domain.Failure)(nil)
	switch {
	case err == nil:
		return "delivered"
	case errors.Is(err, ErrGone):
		return "gone"
	case !errors.As(err, &failure):
		return "again"
	case failure.Kind == domain.KindPermanent:
		return "lost"
	}
	return "after " + failure.RetryAfter.String()
}

func TestTheStatusDecides(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		want   string
	}{
		{200, "", "delivered"}, {201, "", "delivered"}, {202, "", "delivered"}, {204, "", "delivered"}, {299, "", "delivered"},
		{301, "", "again"}, {302, "", "again"}, {304, "", "again"}, {307, "", "again"},
		{400, "", "lost"}, {401, "", "lost"}, {403, "", "lost"}, {404, "", "lost"}, {405, "", "lost"}, {409, "", "lost"}, {413, "", "lost"},
		{418, "", "lost"}, {422, "60", "lost"}, {410, "", "gone"},
		{408, "", "again"}, {425, "", "again"}, {429, "", "again"}, {429, "7", "after 7s"}, {429, "0", "again"}, {429, "soon", "again"},
		{429, "-5", "again"}, {429, "99999999999999999999", "after 1h0m0s"}, {429, "7200", "after 1h0m0s"},
		{429, "Mon, 02 Jan 2006 15:04:05 GMT", "again"}, {429, "Fri, 31 Dec 9999 23:59:59 GMT", "after 1h0m0s"},
		{500, "", "again"}, {500, "30", "again"}, {502, "", "again"}, {503, "", "again"}, {503, " 12 ", "after 12s"}, {504, "", "again"}, {599, "", "again"},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(c.status)
		})
		w := newWebhook(t, s.URL)
		if got := outcome(w.Handle(t.Context(), done)); got != c.want {
			t.Errorf("%d, Retry-After %q: %s, want %s", c.status, c.after, got, c.want)
		}
	}
}

func TestWhoAsksForTimeIsLeftAloneByAllEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWebhook(t, "http://127.0.0.1:1")
		w.hold(90 * time.Second)
		w.hold(5 * time.Second) // shorter than what was asked for before
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := w.wait(t.Context()); err != nil || time.Since(began) != 90*time.Second {
					t.Errorf("it waited %s: %v", time.Since(began), err)
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("when the context ends: %v", err)
		}
		all.Wait()
	})
}

func TestWhatNobodyWantsIsNotSent(t *testing.T) {
	var calls atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	alone := domain.Record{Event: domain.PartitionOpened{Writer: "w"}}
	for name, c := range map[string]struct {
		change func(*Config)
		record domain.Record
		want   int64
	}{
		"all":                    {func(*Config) {}, done, 1},
		"a fact without a task":  {func(*Config) {}, alone, 1},
		"its type":               {func(c *Config) { c.Types = []domain.EventType{"step.*"} }, done, 1},
		"another type":           {func(c *Config) { c.Types = []domain.EventType{"task.completed"} }, done, 0},
		"its namespace":          {func(c *Config) { c.Namespaces = []string{"a", "shop"} }, done, 1},
		"another namespace":      {func(c *Config) { c.Namespaces = []string{"a"} }, done, 0},
		"its definition":         {func(c *Config) { c.Definitions = []string{"order"} }, done, 1},
		"its version":            {func(c *Config) { c.Definitions = []string{"order@1.2.0"} }, done, 1},
		"another version":        {func(c *Config) { c.Definitions = []string{"order@1.2.1", "orde"} }, done, 0},
		"namespace without task": {func(c *Config) { c.Namespaces = []string{"default"} }, alone, 0},
	} {
		calls.Store(0)
		if err := newWebhook(t, s.URL, c.change).Handle(t.Context(), c.record); err != nil || calls.Load() != c.want {
			t.Errorf("%s: %d calls, %v; want %d", name, calls.Load(), err, c.want)
		}
	}
}

func TestErrorsHoldNoSecretOfTheRequest(t *testing.T) {
	const key = "k3y-of-the-receiver"
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_ = r.Header.Write(w)
		_, _ = io.WriteString(w, r.RequestURI)
	}
	closed := httptest.NewServer(http.HandlerFunc(echo))
	closed.Close()
	s := serve(t, echo)
	for name, w := range map[string]*Webhook{
		"userinfo":      newWebhook(t, strings.Replace(s.URL, "://", "://user:"+key+"@", 1)),
		"query":         newWebhook(t, s.URL+"/?key="+key),
		"path":          newWebhook(t, s.URL+"/"+key),
		"header":        newWebhook(t, s.URL, func(c *Config) { c.Headers = map[string]string{"Authorization": "Bearer " + key} }),
		"nobody there":  newWebhook(t, strings.Replace(closed.URL, "://", "://user:"+key+"@", 1)+"/"+key+"?key="+key),
		"not answering": newWebhook(t, s.URL+"/"+key, func(c *Config) { c.Timeout = time.Nanosecond }),
	} {
		err := w.Handle(t.Context(), done)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "dXNlcj") {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := newWebhook(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, "amount \x1b[31mis missing\xff\n"+strings.Repeat("x", 1000))
	}).URL)
	if err := plain.Handle(t.Context(), done); err == nil || !strings.Contains(err.Error(), "422 Unprocessable Entity: amount  [31mis missing") || len(err.Error()) > 500 {
		t.Errorf("what the receiver says: %v", err)
	}
}

func TestTheCertificateOfTheReceiverIsVerified(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	if err := newWebhook(t, s.URL).Handle(t.Context(), done); outcome(err) != "again" || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := func(c *Config) { c.CAFile = file }
	if err := newWebhook(t, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), trusting).Handle(t.Context(), done); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the certificate of another name: %v", err)
	}
	if err := newWebhook(t, s.URL, trusting).Handle(t.Context(), done); err != nil || calls.Load() != 1 {
		t.Errorf("one that ca_file names: %v, %d calls", err, calls.Load())
	}
	old := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	t.Cleanup(old.Close)
	if err := newWebhook(t, old.URL, trusting).Handle(t.Context(), done); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("an old version of TLS: %v", err)
	}
}

// A name is checked where it leads to, at the moment of the connection.
func TestANameThatLeadsInsideIsRefused(t *testing.T) {
	var calls atomic.Int64
	s := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	for _, url := range []string{"https://localhost:" + port, "http://localhost:" + port} {
		w := newWebhook(t, url, func(c *Config) { c.Allow = prefixes("10.0.0.0/8") })
		err := w.Handle(t.Context(), done)
		var address *AddressError
		if !errors.As(err, &address) || !address.Address.IsLoopback() {
			t.Errorf("%s: %v", url, err)
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d deliveries came through", calls.Load())
	}
}
