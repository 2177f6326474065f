package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/watermill"
)

const created = string(domain.TaskCreatedType)

// inbox is a server with a stream as engines make it, of at most that many requests.
func inbox(t *testing.T, most int64) (*nats.Conn, jetstream.Stream) {
	t.Helper()
	nc, err := natsservertest.Single(t).Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "TASKER_INBOX", Subjects: []string{"tasker.submit.task.>"}, Retention: jetstream.WorkQueuePolicy, MaxMsgs: most, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	return nc, s
}

func newIntake(t *testing.T, c watermill.IntakeConfig) *watermill.Intake {
	t.Helper()
	i, err := watermill.NewIntake(c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// stored reads what stands in the stream under a sequence.
func stored(t *testing.T, s jetstream.Stream, sequence uint64) *jetstream.RawStreamMsg {
	t.Helper()
	m, err := s.GetMsg(t.Context(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func held(t *testing.T, s jetstream.Stream) uint64 {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

func TestARequestForATaskGoesToTheInbox(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	body := `{"namespace":"shop","name":"order","context":{"id":7.50}}`
	msg := message.NewMessage("m-1", []byte(body))
	for k, v := range map[string]string{
		watermill.MetadataCorrelation: "req-42", domain.HeaderTraceparent: "00-1-2-01", domain.HeaderReplyTo: "answers", "note": "two\r\nlines",
		"Nats-Expected-Last-Sequence": "99", "nats-ttl": "1s", "Tasker-Commit": "x", "bad: key": "x", "": "x",
	} {
		msg.Metadata.Set(k, v)
	}
	if err := i.Publish(created, msg); err != nil {
		t.Fatal(err)
	}
	m := stored(t, s, 1)
	if m.Subject != "tasker.submit.task.shop.order" || string(m.Data) != body {
		t.Errorf("stored: %s %s", m.Subject, m.Data)
	}
	got := map[string]string{}
	for k := range m.Header {
		got[k] = m.Header.Get(k)
	}
	want := map[string]string{
		"correlation_id": "req-42", "traceparent": "00-1-2-01", "Tasker-Reply-To": "answers", "note": "two  lines",
		"_watermill_message_uuid": "m-1", "Nats-Msg-Id": "shop.order/m-1", "Tasker-Message-Id": "m-1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if _, there := msg.Metadata[watermill.MetadataTask]; there {
		t.Error("it says what the task is, but a definition may have an identity")
	}
}

func TestAMessageIsTheSameRequestAgainAndAnotherOneForAnotherDefinition(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	for range 3 {
		if err := i.Publish(created, message.NewMessage("m-1", []byte(`{"name":"order"}`))); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Publish(created, message.NewMessage("m-1", []byte(`{"name":"invoice"}`))); err != nil {
		t.Fatal(err)
	}
	if n := held(t, s); n != 2 {
		t.Errorf("the inbox has %d requests, want one for each definition", n)
	}
}

func TestAnIdempotencyKeyDecidesWhichTaskItIs(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	msg := message.NewMessage("m-1", []byte(`{"namespace":"shop","name":"order","idempotency_key":"order-7"}`))
	if err := i.Publish(created, msg); err != nil {
		t.Fatal(err)
	}
	if got, want := msg.Metadata.Get(watermill.MetadataTask), domain.KeyedTaskID("shop", "order", "order-7").String(); got != want {
		t.Errorf("its task is %s, want %s", got, want)
	}
	if h := stored(t, s, 1).Header; h.Get("Nats-Msg-Id") != "" || h.Get("Tasker-Message-Id") != "" {
		t.Errorf("headers: %v", h)
	}
}

func TestManyRequestsAreStoredInTheirOrder(t *testing.T) {
	nc, s := inbox(t, 10_000)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	var all sync.WaitGroup
	for g := range 2 {
		all.Go(func() {
			var messages []*message.Message
			for n := range 550 { // more in all than may be on their way at once
				messages = append(messages, message.NewMessage("", fmt.Appendf(nil, `{"name":"order","reason":"%d-%d"}`, g, n)))
			}
			if err := i.Publish(created, messages...); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := held(t, s); n != 1100 {
		t.Fatalf("the inbox has %d requests", n)
	}
	next := map[string]int{}
	for sequence := uint64(1); sequence <= 1100; sequence++ {
		r, err := domain.ParseIntakeRequest(nil, stored(t, s, sequence).Data)
		if err != nil {
			t.Fatal(err)
		}
		g, n, _ := strings.Cut(r.Reason, "-")
		if n != fmt.Sprint(next[g]) {
			t.Fatalf("%s of %s stands where %d should", n, g, next[g])
		}
		next[g]++
	}
}

func TestWhatIsNoRequestIsRefusedBeforeItIsSent(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	for want, payload := range map[string]string{
		"not valid JSON":      `{"name":`,
		"no JSON object":      `[]`,
		"is missing":          `{"context":{}}`,
		`"order_id"`:          `{"name":"order","order_id":7}`,
		"has the character":   `{"name":"order.*"}`,
		"the namespace \">\"": `{"name":"order","namespace":">"}`,
	} {
		err := i.Publish(created, message.NewMessage("m", []byte(payload)))
		if !errors.Is(err, domain.ErrIntake) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	err := i.Publish(created, message.NewMessage("a", []byte(`{"name":"order"}`)), message.NewMessage("b", []byte(`{}`)), message.NewMessage("c", []byte(`{"name":"order"}`)))
	var failed *watermill.PublishError
	if !errors.As(err, &failed) || failed.UUID != "b" || failed.Done != 1 || failed.Of != 3 || !strings.Contains(err.Error(), "1 of 3") {
		t.Errorf("the second of three: %v", err)
	}
	if n := held(t, s); n != 1 {
		t.Errorf("the inbox has %d requests, want that before the bad one", n)
	}
}

func TestFactsAreNotPublished(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	topics := []string{"", "*", "task.*", "custom.order.shipped", "orders", "tasker.log.1.00", "task.cancell"}
	for _, entry := range domain.Catalogue() {
		if entry.Type != domain.TaskCreatedType {
			topics = append(topics, string(entry.Type))
		}
	}
	for _, entry := range domain.SignalCatalogue() {
		topics = append(topics, string(entry.Type))
	}
	for _, topic := range topics {
		if err := i.Publish(topic, message.NewMessage("m", []byte(`{}`))); !errors.Is(err, watermill.ErrFactsAreNotPublished) {
			t.Errorf("%q: %v", topic, err)
		}
		if err := i.Publish(topic); !errors.Is(err, watermill.ErrFactsAreNotPublished) {
			t.Errorf("%q without messages: %v", topic, err)
		}
	}
	if err := i.Publish("task.cancell"); err == nil || !strings.Contains(err.Error(), `"task.cancel" meant`) {
		t.Errorf("a misspelled verb: %v", err)
	}
	if n := held(t, s); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
}

func TestARequestThatCannotBeStoredIsAnError(t *testing.T) {
	request := func() *message.Message { return message.NewMessage("", []byte(`{"name":"order"}`)) }
	t.Run("nobody listens", func(t *testing.T) {
		nc, _ := inbox(t, 100)
		i := newIntake(t, watermill.IntakeConfig{NATS: nc, Prefix: "OTHER"})
		if err := i.Publish(created, request()); err == nil || !strings.Contains(err.Error(), "other.submit.task.default.order: has an engine run") {
			t.Errorf("Publish: %v", err)
		}
	})
	t.Run("the inbox is full", func(t *testing.T) {
		nc, _ := inbox(t, 1)
		i := newIntake(t, watermill.IntakeConfig{NATS: nc})
		err := i.Publish(created, request(), request(), request())
		var failed *watermill.PublishError
		if !errors.As(err, &failed) || failed.Done != 1 || !strings.Contains(err.Error(), "maximum messages") {
			t.Errorf("Publish: %v", err)
		}
	})
	t.Run("the connection is closed", func(t *testing.T) {
		nc, _ := inbox(t, 1)
		i := newIntake(t, watermill.IntakeConfig{NATS: nc})
		nc.Close()
		if err := i.Publish(created, request()); err == nil || !strings.Contains(err.Error(), "connection closed") {
			t.Errorf("Publish: %v", err)
		}
	})
	t.Run("the context has ended", func(t *testing.T) {
		nc, s := inbox(t, 100)
		i := newIntake(t, watermill.IntakeConfig{NATS: nc})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		msg := request()
		msg.SetContext(ctx)
		if err := i.Publish(created, msg); !errors.Is(err, context.Canceled) || held(t, s) != 0 {
			t.Errorf("Publish: %v", err)
		}
	})
}

func TestAnIntakeMayServeSeveralHandlersOfARouter(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	for range 2 {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := i.Publish(created, message.NewMessage("m", []byte(`{"name":"order"}`))); err != nil || held(t, s) != 1 || nc.IsClosed() {
		t.Errorf("after the Close of another handler: %v", err)
	}
}

func TestAnEventBusPublishesRequests(t *testing.T) {
	nc, s := inbox(t, 100)
	i := newIntake(t, watermill.IntakeConfig{NATS: nc})
	bus, err := cqrs.NewEventBusWithConfig(i, cqrs.EventBusConfig{
		GeneratePublishTopic: func(p cqrs.GenerateEventPublishTopicParams) (string, error) { return p.EventName, nil },
		Marshaler:            watermill.Marshaler{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Publish(t.Context(), domain.IntakeRequest{Name: "order", Context: []byte(`{"id":7}`)}); err != nil {
		t.Fatal(err)
	}
	if m := stored(t, s, 1); m.Subject != "tasker.submit.task.default.order" || string(m.Data) != `{"name":"order","context":{"id":7}}` {
		t.Errorf("stored: %s %s", m.Subject, m.Data)
	}
	if err := bus.Publish(t.Context(), domain.TaskCompleted{}); !errors.Is(err, watermill.ErrFactsAreNotPublished) {
		t.Errorf("a fact: %v", err)
	}
}

// waiting is an engine with a task whose step waits for its context to end.
func waiting(t *testing.T) (*tasker.Engine, tasker.TaskID) {
	t.Helper()
	e, err := tasker.New(t.Context(), tasker.Config{Store: memlog.New(memlog.Options{}), Logger: quiet, Drain: -1})
	if err != nil {
		t.Fatal(err)
	}
	wait := tasker.Handle(func(ctx context.Context, _ struct{}) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	if err := e.Register(tasker.Define("wait").Step("a", wait).MustBuild()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	through := make(chan error, 1)
	go func() { through <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-through; err != nil {
			t.Error(err)
		}
	})
	<-e.Ready()
	r, err := e.Submit(t.Context(), "wait", struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	return e, r.ID
}

func TestVerbsAreCarriedOutByTheEngine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, id := waiting(t)
		i := newIntake(t, watermill.IntakeConfig{Operator: e})
		verb := func(v domain.Verb, more string) error {
			return i.Publish(string(v), message.NewMessage("m", fmt.Appendf(nil, `{"task":"%s","actor":"ann","reason":"r"%s}`, id, more)))
		}
		settle(time.Second)
		for _, step := range []struct {
			verb  domain.Verb
			more  string
			state domain.State
		}{
			{domain.VerbPause, "", domain.InProgress},
			{domain.VerbResume, "", domain.InProgress},
			{domain.VerbCancelStep, `,"step":"a"`, domain.Error},
			{domain.VerbResolve, "", domain.ResolvedManually},
		} {
			if err := verb(step.verb, step.more); err != nil {
				t.Errorf("%s: %v", step.verb, err)
			}
			settle(time.Second)
			if task, err := e.Task(t.Context(), id); err != nil || task.State != step.state {
				t.Errorf("after %s the task is %v (%v), want %s", step.verb, task.State, err, step.state)
			}
		}
		var refused *domain.TransitionError
		if err := verb(domain.VerbRetry, ""); !errors.As(err, &refused) {
			t.Errorf("retry of a task that is resolved: %v", err)
		}
		h, err := e.History(t.Context(), id)
		if err != nil || h.Events[len(h.Events)-1].Actor != "operator:ann" {
			t.Errorf("history: %+v, %v", h, err)
		}
	})
}

// operators keeps what it is asked.
type operators []domain.OperatorRequest

func (o *operators) Operate(_ context.Context, r domain.OperatorRequest) error {
	*o = append(*o, r)
	return nil
}

func TestVerbsAreReadStrictly(t *testing.T) {
	var asked operators
	i := newIntake(t, watermill.IntakeConfig{Operator: &asked})
	id := taskOf(1, 0, 1)
	for payload, want := range map[string]string{
		``:                         "want {",
		`[]`:                       "want {",
		`{}`:                       `"task"`,
		`{"task":"7"}`:             "not a task id",
		`{"task":"ID"} {}`:         "more behind",
		`{"task":"ID","why":1}`:    `unknown field "why"`,
		`{"task":"ID","step":"a"}`: "about the whole task",
	} {
		err := i.Publish(string(domain.VerbCancel), message.NewMessage("m", []byte(strings.ReplaceAll(payload, "ID", id.String()))))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	if err := i.Publish(string(domain.VerbRetryStep), message.NewMessage("m", fmt.Appendf(nil, `{"task":"%s"}`, id))); err == nil || !strings.Contains(err.Error(), `"step"`) {
		t.Errorf("a step's verb without a step: %v", err)
	}
	if len(asked) > 0 {
		t.Errorf("asked: %+v", asked)
	}
	full := fmt.Appendf(nil, `{"task":"%s","step":"a","actor":"ann","reason":"r","inputs":{"a":1},"retry_limit":2}`, id)
	if err := i.Publish(string(domain.VerbRetryStep), message.NewMessage("m", full)); err != nil {
		t.Fatal(err)
	}
	want := operators{{Verb: domain.VerbRetryStep, Task: id, Step: "a", Actor: "ann", Reason: "r", Inputs: []byte(`{"a":1}`), RetryLimit: 2}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAnIntakeWithHalfOfWhatItNeedsSaysSo(t *testing.T) {
	if _, err := watermill.NewIntake(watermill.IntakeConfig{}); err == nil {
		t.Error("an Intake that can do nothing was made")
	}
	if _, err := watermill.NewIntake(watermill.IntakeConfig{Operator: &operators{}, Timeout: -1}); err == nil {
		t.Error("a negative timeout was taken")
	}
	i := newIntake(t, watermill.IntakeConfig{Operator: &operators{}})
	if err := i.Publish(created, message.NewMessage("m", []byte(`{"name":"a"}`))); err == nil || !strings.Contains(err.Error(), "IntakeConfig.NATS") {
		t.Errorf("a request without NATS: %v", err)
	}
	nc, _ := inbox(t, 1)
	i = newIntake(t, watermill.IntakeConfig{NATS: nc})
	if err := i.Publish(string(domain.VerbCancel), message.NewMessage("m", []byte(`{}`))); err == nil || !strings.Contains(err.Error(), "IntakeConfig.Operator") {
		t.Errorf("a verb without an operator: %v", err)
	}
}
