package webhook_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/webhook"
	"github.com/tasker-go/tasker/subscribers/attached"
)

var secret = webhook.SecretPrefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

// subscriptions are those of an engine, with failures that come again at once.
type subscriptions struct{ store domain.Store }

func (s subscriptions) Subscribe(ctx context.Context, o domain.Subscription, handle func(context.Context, domain.Record) error) error {
	o.Backoff = func(int) time.Duration { return time.Millisecond }
	return attached.Run(ctx, s.store, o, handle, attached.WithLogger(slog.New(slog.DiscardHandler)))
}

func (subscriptions) Replay(context.Context, domain.ReplayOptions) iter.Seq2[domain.Record, error] {
	return nil
}

// log has one event of each of n tasks.
func log(t *testing.T, n int) *memlog.Store {
	t.Helper()
	s := memlog.New(memlog.Options{})
	var records []domain.Record
	for i := range n {
		records = append(records, domain.Record{
			Task: domain.KeyedTaskID("shop", "order", fmt.Sprint(i)), Event: domain.TaskAnnotated{Kind: fmt.Sprint(i), Annotation: json.RawMessage("1")},
		})
	}
	stored := make(chan error, 1)
	s.Log(0).Append(0, "c", domain.EncodeCommit(domain.Commit{ID: "c", At: 1, Records: records}), func(_ uint64, err error) { stored <- err })
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	return s
}

// receiver notes which events it took, and how often each was sent to it.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	sent  map[string]int
	taken map[string]bool
	done  chan struct{} // closed when as many as expected were taken
}

func receive(t *testing.T, want int, status func(times int) int) *receiver {
	t.Helper()
	r := &receiver{sent: map[string]int{}, taken: map[string]bool{}, done: make(chan struct{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		id, err := webhook.Verify(q.Header, body, time.Now(), secret)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sent[id]++
		code := status(r.sent[id])
		if code < 300 && !r.taken[id] {
			r.taken[id] = true
			if len(r.taken) == want {
				close(r.done)
			}
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(r.Close)
	return r
}

func hook(t *testing.T, name, url string) *webhook.Webhook {
	t.Helper()
	w, err := webhook.New(webhook.Config{
		Name: name, URL: url, Secret: secret, Tries: 3, From: domain.FromBeginning, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Timeout: 20 * time.Second,
	}, webhook.Options{Event: func(_ context.Context, r domain.Record) (domain.CloudEvent, error) {
		return domain.CloudEventOf(r, "/tasker/data-1"), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestADeadReceiverHoldsNoOther(t *testing.T) {
	const events = 40
	store := log(t, events)
	hang := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(dead.Close)
	t.Cleanup(func() { close(hang) })
	flaky := receive(t, events, func(times int) int { return []int{503, 500, 204}[times-1] })
	picky := receive(t, events, func(int) int { return http.StatusBadRequest })
	broken := receive(t, events, func(int) int { return http.StatusInternalServerError })
	good := receive(t, events, func(int) int { return http.StatusOK })

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for name, url := range map[string]string{"dead": dead.URL, "flaky": flaky.URL, "picky": picky.URL, "broken": broken.URL, "good": good.URL} {
		w := hook(t, name, url)
		running.Go(func() {
			if err := w.Run(ctx, subscriptions{store}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	<-good.done
	<-flaky.done
	letters := func(of string) (n int, reason string) {
		for _, l := range store.Letters() {
			if l.Name == "webhook-"+of {
				n++
				reason = l.Reason
			}
		}
		return n, reason
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		a, _ := letters("picky")
		b, _ := letters("broken")
		if a == events && b == events {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d events were parked, want %d each", a, b, events)
		}
	}
	cancel()
	running.Wait()
	for _, c := range []struct {
		name   string
		r      *receiver
		times  int
		reason string
	}{
		{"good", good, 1, ""}, {"flaky", flaky, 3, ""}, {"picky", picky, 1, "gave it up at try 1: http://127.0.0.1"}, {"broken", broken, 3, "failed 3 times: http://127.0.0.1"},
	} {
		if len(c.r.sent) != events {
			t.Errorf("%s was sent %d events, want %d", c.name, len(c.r.sent), events)
		}
		for id, n := range c.r.sent {
			if n != c.times {
				t.Errorf("%s was sent %s %d times, want %d", c.name, id, n, c.times)
			}
		}
		if _, reason := letters(c.name); !strings.Contains(reason, c.reason) || (reason == "") != (c.reason == "") {
			t.Errorf("%s: a dead letter says %q, want %q", c.name, reason, c.reason)
		}
	}
}

func TestAReceiverThatIsGoneEndsItsWebhookAndLosesNothing(t *testing.T) {
	const events = 10
	store := log(t, events)
	var back atomic.Bool
	r := receive(t, events, func(int) int {
		if back.Load() {
			return http.StatusOK
		}
		return http.StatusGone
	})
	err := hook(t, "hook", r.URL).Run(t.Context(), subscriptions{store})
	if !errors.Is(err, webhook.ErrGone) || !strings.Contains(err.Error(), `webhook "hook"`) {
		t.Fatalf("Run: %v", err)
	}
	if n := len(store.Letters()); n != 0 {
		t.Errorf("%d events were parked", n)
	}
	back.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- hook(t, "hook", r.URL).Run(ctx, subscriptions{store}) }()
	<-r.done
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
}
