package tasker_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/webhook"
	"github.com/tasker-go/tasker/subscribers"
)

// runEngine runs one with the task "order" until stop is called.
func runEngine(t *testing.T, c tasker.Config) (e *tasker.Engine, stop func()) {
	t.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	e, err := tasker.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	order := tasker.Define("order").Namespace("shop").Version("1.2.0").
		Step("pay", tasker.Handle(func(context.Context, struct{}) (int, error) { return 17, nil })).
		Step("ship", tasker.Handle(func(context.Context, struct{}) (int, error) { return 4, nil }), tasker.After("pay")).MustBuild()
	if err := e.Register(order); err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(run) }()
	<-e.Ready() // it owns one partition
	owned := func() bool {
		return !slices.ContainsFunc(e.Stats().Partitions, func(p subscribers.Stats) bool { return p.Phase != subscribers.Owning })
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !owned() {
		<-look.C
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return e, stop
}

func runTasks(t *testing.T, e *tasker.Engine, n int) {
	t.Helper()
	for range n {
		receipt, err := e.Submit(t.Context(), "order", struct{}{}, tasker.InNamespace("shop"), tasker.Correlated("req-7"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Wait(t.Context(), receipt.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// fed is one message of the feed.
type fed struct {
	subject string
	header  map[string][]string
	data    string
}

// reader hands out the messages of the feed, through a durable consumer.
func reader(t *testing.T, srv *natsserver.Server, filter string) func(n int) []fed {
	t.Helper()
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.CreateConsumer(t.Context(), "TASKER_EVENTS", jetstream.ConsumerConfig{Durable: "reader", FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	return func(n int) []fed {
		t.Helper()
		var all []fed
		for len(all) < n {
			batch, err := c.Fetch(n-len(all), jetstream.FetchMaxWait(20*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			before := len(all)
			for m := range batch.Messages() {
				all = append(all, fed{m.Subject(), m.Headers(), string(m.Data())})
				if err := m.Ack(); err != nil {
					t.Fatal(err)
				}
			}
			if len(all) == before {
				t.Fatalf("%d messages came, want %d", len(all), n)
			}
		}
		if info, err := c.Info(t.Context()); err != nil || info.NumPending != 0 {
			t.Errorf("%d more messages, %v", info.NumPending, err)
		}
		return all
	}
}

func TestTheFeedHasEveryEventOnceAlsoOverRestarts(t *testing.T) {
	for _, durability := range []string{"interval", "strict"} { // one by one, and in batches
		t.Run(durability, func(t *testing.T) {
			srv := natsservertest.Single(t)
			c := tasker.Config{Connect: srv.Connect, Durability: durability, Feed: &tasker.Feed{From: tasker.FromBeginning, MaxAge: time.Hour, MaxBytes: 8 << 20}}
			var want []tasker.Event
			var e *tasker.Engine
			for range 2 {
				var stop func()
				e, stop = runEngine(t, c)
				runTasks(t, e, 10)
				stop()
			}
			e, _ = runEngine(t, c)
			for r, err := range e.Replay(t.Context(), tasker.ReplayOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, r)
			}
			got := map[string][]string{} // by task
			for _, m := range reader(t, srv, "")(len(want)) {
				header := func(name string) string { return strings.Join(m.header["ce-"+name], "|") }
				task, namespace := header("subject"), "shop"
				if task == "" {
					task, namespace = "_", "_"
				} else if header("definition") != "order" || header("definitionversion") != "1.2.0" || header("correlationid") != "req-7" || header("namespace") != "shop" {
					t.Errorf("%s: %v", m.subject, m.header)
				}
				if m.subject != "tasker.events."+namespace+"."+task+"."+header("type") || header("source") != "/tasker/"+e.Info().ID {
					t.Errorf("%s: %v", m.subject, m.header)
				}
				got[task] = append(got[task], header("id")+" "+header("type")+" "+m.data)
			}
			expected := map[string][]string{}
			for _, r := range want {
				task, data := "_", "{}"
				if !r.Task.IsZero() {
					task = r.Task.String()
				}
				if d := domain.EventData(r.Event); d != nil {
					data = string(d)
				}
				expected[task] = append(expected[task], r.ID()+" "+string(r.Event.Type())+" "+data)
			}
			for task, events := range expected {
				if task == "_" { // of two partitions
					slices.Sort(events)
					slices.Sort(got[task])
				}
				if !slices.Equal(got[task], events) {
					t.Errorf("task %s: %q, want %q", task, got[task], events)
				}
			}
			if len(got) != len(expected) {
				t.Errorf("%d tasks, want %d", len(got), len(expected))
			}
		})
	}
}

func TestTheFeedHasTheTypesThatAreAskedFor(t *testing.T) {
	srv := natsservertest.Single(t)
	e, _ := runEngine(t, tasker.Config{Connect: srv.Connect, Prefix: "ACME", Partitions: 1, Feed: &tasker.Feed{
		From: tasker.FromBeginning, Types: []tasker.EventType{domain.TaskCompletedType, domain.SignalTaskStarted},
	}})
	runTasks(t, e, 1)
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(t.Context(), "ACME_EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"acme.events.shop.*.>"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"workflow.task_started", "task.completed"} {
		m, err := c.Next(jetstream.FetchMaxWait(20 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(m.Subject(), "."+want) || m.Headers().Get("ce-type") != want {
			t.Errorf("%s %v, want %s", m.Subject(), m.Headers(), want)
		}
	}
}

func TestAFeedOrWebhookThatCannotBeIsRefused(t *testing.T) {
	secret := "whsec_" + strings.Repeat("A", 40)
	hook := tasker.Webhook{Name: "hook", URL: "https://x.example", Secret: secret}
	store := memlog.New(memlog.Options{})
	for want, c := range map[string]tasker.Config{
		"Config.Feed needs NATS":      {Store: store, Feed: &tasker.Feed{}},
		"is no type of an event":      {Store: store, Feed: &tasker.Feed{Types: []tasker.EventType{"task.complete"}}},
		`two are named "hook"`:        {Store: store, Webhooks: []tasker.Webhook{hook, hook}},
		`webhook "": name must be`:    {Store: store, Webhooks: []tasker.Webhook{{}}},
		"127.0.0.1 is not a public":   {Store: store, Webhooks: []tasker.Webhook{{Name: "hook", URL: "https://127.0.0.1", Secret: secret}}},
		"secret cannot be used: want": {Store: store, Webhooks: []tasker.Webhook{{Name: "hook", URL: "https://x.example"}}},
	} {
		if e, err := tasker.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want an error with %q", e, err, want)
		}
	}
	var config *webhook.ConfigError
	_, err := tasker.New(t.Context(), tasker.Config{Store: store, Webhooks: []tasker.Webhook{{Name: "hook"}}})
	if !errors.As(err, &config) || config.Webhook != "hook" {
		t.Errorf("New: %v", err)
	}
}

func TestWebhooksAreSentWhatHappensAndADeadOneHoldsNothingUp(t *testing.T) {
	secret := "whsec_" + strings.Repeat("A", 40)
	hang := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer dead.Close()
	defer close(hang)
	sent := make(chan string, 100)
	alive := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := webhook.Verify(r.Header, body, time.Now(), secret); err != nil {
			t.Error(err)
		}
		sent <- string(body)
	}))
	defer alive.Close()
	hook := tasker.Webhook{
		Name: "dead", URL: dead.URL, Secret: secret, From: tasker.FromBeginning, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Types: []tasker.EventType{domain.TaskCompletedType}, Namespaces: []string{"shop"}, Definitions: []string{"order"},
	}
	other, elsewhere := hook, hook
	other.Name, other.URL = "alive", alive.URL
	elsewhere.Name, elsewhere.URL, elsewhere.Namespaces = "elsewhere", alive.URL, []string{"default"}
	e, stop := runEngine(t, tasker.Config{Store: memlog.New(memlog.Options{}), Webhooks: []tasker.Webhook{hook, other, elsewhere}})
	const tasks = 5
	runTasks(t, e, tasks)
	for range tasks {
		if body := <-sent; !strings.Contains(body, `"type":"task.completed"`) || !strings.Contains(body, `"namespace":"shop"`) || !strings.Contains(body, `"correlationid":"req-7"`) {
			t.Errorf("the receiver was sent %s", body)
		}
	}
	stop() // the dead one is being asked
	select {
	case body := <-sent:
		t.Errorf("the receiver was sent %s", body)
	default:
	}
}
