package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// running is an engine that runs.
type running struct {
	*tasker.Engine
	store *memlog.Store
	stop  func()
}

// start runs an engine with some definitions until the test ends.
func start(t testing.TB, change ...func(*tasker.Config)) *running {
	t.Helper()
	store := memlog.New(memlog.Options{Partitions: 2})
	config := tasker.Config{Store: store, Logger: quiet, Drain: -1}
	for _, c := range change {
		c(&config)
	}
	engine, err := tasker.New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Register(workflows()...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() {
		if err := engine.Run(ctx); err != nil {
			t.Errorf("the engine ended with %v", err)
		}
	})
	stop := func() {
		cancel()
		runs.Wait()
	}
	t.Cleanup(stop)
	select {
	case <-engine.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("the engine is not ready")
	}
	return &running{engine, store, stop}
}

func workflows() []any {
	echo := tasker.Handle(func(_ context.Context, in map[string]any) (map[string]any, error) { return in, nil })
	talk := tasker.Handle(func(ctx context.Context, _ map[string]any) (string, error) {
		tasker.Log(ctx, "hello")
		return "said", nil
	})
	fails := tasker.Handle(func(context.Context, map[string]any) (int, error) {
		return 0, tasker.Permanent(errors.New("card declined"))
	})
	hangs := tasker.Handle(func(ctx context.Context, _ map[string]any) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	return []any{
		tasker.Define("echo").Step("one", echo).Step("two", talk, tasker.After("one")).MustBuild(),
		tasker.Define("fails").Step("pay", fails).Step("ship", echo, tasker.After("pay")).MustBuild(),
		tasker.Define("hangs").Step("hang", hangs).Step("after", echo, tasker.After("hang")).MustBuild(),
		tasker.Define("order").Namespace("shop").Schema(`{"type":"object","required":["total"],"properties":{"total":{"type":"number"}}}`).
			Step("one", echo).MustBuild(),
		tasker.Define("stuck").Namespace("shop").Step("pay", fails).MustBuild(),
	}
}

// world is an API over a server.
type world struct {
	t      testing.TB
	engine *running
	server *httptest.Server
	token  string // "" = none is sent
}

func serve(t testing.TB, service Service, o Options) *world {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	h, err := New(service, o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: httptest.NewServer(h)}
	w.engine, _ = service.(*running)
	t.Cleanup(func() {
		w.server.CloseClientConnections()
		w.server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return w
}

func (w *world) as(token string) *world {
	other := *w
	other.token = token
	return &other
}

// reply is an answer that was read.
type reply struct {
	Status int
	Header http.Header
	Text   string
}

// do sends a request; body is encoded unless it is text or nil. headers are "Name: value".
func (w *world) do(method, path string, body any, headers ...string) reply {
	w.t.Helper()
	r, err := w.try(method, path, body, headers...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (w *world) try(method, path string, body any, headers ...string) (reply, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(b)
	case io.Reader:
		content = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, w.server.URL+path, content) //nolint:noctx // the client has a timeout
	if err != nil {
		return reply{}, err
	}
	if method != http.MethodGet && method != http.MethodHead {
		req.Header.Set("Content-Type", "application/json")
	}
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		} else if value == "" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	client := http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text)}, err
}

// problem reads the problem of an answer, and checks that it says enough.
func (r reply) problem(t testing.TB) Problem {
	t.Helper()
	var p Problem
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("%d %s: Content-Type %q", r.Status, r.Text, got)
	}
	if err := json.Unmarshal([]byte(r.Text), &p); err != nil {
		t.Fatalf("%s: %v", r.Text, err)
	}
	if p.Status != r.Status || p.Code == "" || p.Detail == "" || p.Title == "" || p.Hint == "" && p.Code != CodeRefused {
		t.Errorf("status %d, and the problem says too little: %s", r.Status, r.Text)
	}
	return p
}

// read decodes an answer with the status.
func read[T any](t testing.TB, r reply, status int) T {
	t.Helper()
	var out T
	if r.Status != status {
		t.Fatalf("status %d, want %d: %s", r.Status, status, r.Text)
	}
	if err := json.Unmarshal([]byte(r.Text), &out); err != nil {
		t.Fatalf("%s: %v", r.Text, err)
	}
	return out
}

// submit makes a task and returns its path.
func (w *world) submit(name, namespace string, context any) (tasker.Receipt, string) {
	w.t.Helper()
	body := map[string]any{"name": name, "namespace": namespace}
	if context != nil {
		body["context"] = context
	}
	r := w.do(http.MethodPost, "/api/v1/tasks", body)
	receipt := read[tasker.Receipt](w.t, r, http.StatusCreated)
	return receipt, "/api/v1/tasks/" + receipt.ID.String()
}

// until waits for the task to have the state.
func (w *world) until(path string, state domain.State) tasker.Task {
	w.t.Helper()
	end := time.Now().Add(15 * time.Second)
	for {
		t := read[tasker.Task](w.t, w.do(http.MethodGet, path, nil), http.StatusOK)
		if t.State == state {
			return t
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s is %s, want %s", path, t.State, state)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// tokens is an Authenticator with fixed tokens.
type tokens map[string]Identity

func (a tokens) Authenticate(r *http.Request) (Identity, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "broken" {
		return Identity{}, later{}
	}
	if who, ok := a[token]; found && ok {
		return who, nil
	}
	return Identity{}, fmt.Errorf("no such token: %w", ErrUnauthorized)
}

// later is an error that says what to do.
type later struct{}

func (later) Error() string             { return "secret trouble" }
func (later) Hint() string              { return "bring the issuer back" }
func (later) RetryAfter() time.Duration { return 7 * time.Second }

var everybody = tokens{
	"all":     {Name: "root", Scopes: Scopes(), Kind: AuthToken},
	"none":    {Name: "nobody", Kind: AuthToken},
	"shop":    {Name: "shopkeeper", Scopes: Scopes(), Namespaces: []string{"shop"}, Kind: AuthToken},
	"two":     {Name: "manager", Scopes: Scopes(), Namespaces: []string{"shop", "other"}, Kind: AuthToken},
	"reader":  {Name: "reader", Scopes: []Scope{ScopeRead}, Kind: AuthToken},
	"submits": {Name: "submitter", Scopes: []Scope{ScopeSubmit}, Kind: AuthToken},
}
