package tasker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/internal/cut"
	"github.com/tasker-go/tasker/taskertest"
)

// mail is somebody who has nothing but a NATS client.
type mail struct {
	t *testing.T
	*memlog.Store
}

func (m mail) publish(target, body string, headers ...string) {
	m.t.Helper()
	if err := m.PublishIntake(m.t.Context(), strings.Split(target, "."), pairs(headers), []byte(body)); err != nil {
		m.t.Fatal(err)
	}
}

func pairs(headers []string) map[string][]string {
	h := map[string][]string{}
	for i := 0; i < len(headers); i += 2 {
		h[headers[i]] = append(h[headers[i]], headers[i+1])
	}
	return h
}

// asks publishes a request that wants its answer, and returns it.
func (m mail) asks(body string, headers ...string) domain.IntakeAnswer {
	m.t.Helper()
	answers := make(chan []byte, 10)
	m.Replies("_INBOX.me", func(answer []byte) { answers <- answer })
	m.publish("default.orders", body, append(headers, domain.HeaderReplyTo, "_INBOX.me")...)
	return m.read(<-answers)
}

func (m mail) requests(target []string, body string) domain.IntakeAnswer {
	m.t.Helper()
	answer, err := m.RequestIntake(m.t.Context(), target, nil, []byte(body))
	if err != nil {
		m.t.Fatal(err)
	}
	return m.read(answer)
}

func (m mail) read(text []byte) (a domain.IntakeAnswer) {
	m.t.Helper()
	if err := json.Unmarshal(text, &a); err != nil {
		m.t.Fatalf("%s: %v", text, err)
	}
	return a
}

func (m mail) letters() []string {
	m.t.Helper()
	var all []string
	for _, l := range m.Letters() {
		all = append(all, fmt.Sprintf("%s %s %s: %s", l.Kind, l.Name, l.Headers["Tasker-Code"], l.Reason))
	}
	return all
}

// posted is an engine with a definition that wants a number, and somebody who publishes.
func posted(t *testing.T, test func(t *testing.T, e *taskertest.Engine, m mail), change ...func(*tasker.Config)) {
	t.Helper()
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(orders("1.0.0", domain.Identity{}, `{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}`))
		e.MustHandle("place", taskertest.Returns("placed"))
		test(t, e, mail{t, e.Store})
	}, change...)
}

func TestAForeignRequestBecomesATask(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		answer := m.asks(`{"context":{"id":7},"version":"1.0.0","initiator":"ann","source_system":"shop","reason":"she wants it",
			"tags":["a","b"],"correlation":"c","task":"01890a5d-ac96-774b-bcce-b302099a8057","actor":"operator:eve","attempt":9}`)
		if answer.Error != nil || !answer.Created || answer.Position == nil || answer.Task.IsZero() {
			t.Fatalf("the answer is %+v", answer)
		}
		if got := string(e.MustWait(answer.Task).Value); got != `{"place":"placed"}` {
			t.Errorf("its result is %s", got)
		}
		task := e.MustTask(answer.Task)
		if task.Initiator != "ann" || task.SourceSystem != "shop" || task.Reason != "she wants it" || task.Correlation != "c" ||
			strings.Join(task.Tags, " ") != "a b" || string(task.Context) != `{"id":7}` || task.ID.String() == "01890a5d-ac96-774b-bcce-b302099a8057" {
			t.Errorf("the task is %+v", task)
		}
		if n := e.Store.Waiting(); n != 0 || len(m.letters()) != 0 {
			t.Errorf("%d requests wait, letters %q", n, m.letters())
		}
	})
}

func TestHeadersGiveTraceAndCorrelation(t *testing.T) {
	const trace, other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01"
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		for _, c := range []struct{ body, header, value, wantTrace, wantCorrelation string }{
			{`{"context":{"id":1}}`, "traceparent", trace, trace, ""},
			{`{"context":{"id":1},"traceparent":"` + other + `"}`, "traceparent", trace, other, ""},
			{`{"context":{"id":1}}`, "traceparent", "garbage", "", ""},
			{`{"context":{"id":1}}`, "correlation_id", "x", "", "x"},
			{`{"context":{"id":1},"correlation":"y"}`, "correlation_id", "x", "", "y"},
		} {
			answer := m.asks(c.body, c.header, c.value)
			created, ok := e.Records(answer.Task)[0].Event.(domain.TaskCreated)
			if !ok || created.Traceparent != c.wantTrace || created.Correlation != c.wantCorrelation {
				t.Errorf("%s with %s: %+v", c.body, c.header, created)
			}
		}
	})
}

// forgetful loses the first acknowledgement of every request, as an engine does that is killed after the answer.
type forgetful struct{ *cut.Store }

func (f forgetful) ServeIntake(handle func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict) func(ctx context.Context) {
	return f.Store.ServeIntake(func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		v := handle(ctx, m)
		if v.Again == 0 && m.Deliveries == 1 {
			return domain.IntakeVerdict{Again: 10 * time.Second}
		}
		return v
	})
}

func TestARedeliveryIsTheSameTask(t *testing.T) {
	for name, c := range map[string]struct {
		body     string
		headers  []string
		identity domain.Identity
		version  byte // of the id
	}{
		"by idempotency key":          {`{"context":{"id":1},"idempotency_key":"k"}`, []string{"Nats-Msg-Id", "x"}, hashed(time.Second), '5'},
		"by the definition":           {`{"context":{"id":1}}`, []string{"Nats-Msg-Id", "x"}, hashed(time.Second), '5'},
		"by message id":               {`{"context":{"id":1}}`, []string{"Nats-Msg-Id", "x"}, domain.Identity{}, '5'},
		"by the id of a dead message": {`{"context":{"id":1}}`, []string{"Tasker-Message-Id", "y", "Nats-Msg-Id", "x"}, domain.Identity{}, '5'},
		"by sequence":                 {`{"context":{"id":1}}`, nil, domain.Identity{}, '7'},
	} {
		t.Run(name, func(t *testing.T) {
			taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
				e.MustRegister(orders("1.0.0", c.identity, ``))
				e.MustHandle("place", taskertest.Returns("placed"))
				m := mail{t, e.Store}
				var answers []domain.IntakeAnswer
				m.Replies("_INBOX.me", func(answer []byte) { answers = append(answers, m.read(answer)) })
				m.publish("default.orders", c.body, append(c.headers, domain.HeaderReplyTo, "_INBOX.me")...)
				e.Advance(time.Minute)
				if len(answers) != 2 || !answers[0].Created || answers[1].Created || answers[0].Task != answers[1].Task {
					t.Fatalf("the answers are %+v", answers)
				}
				if id := answers[0].Task.String(); id[14] != c.version {
					t.Errorf("the id is %s, want one of version %c", id, c.version)
				}
				if s := e.Stats().Intake; s.Accepted != 1 || s.Repeated != 1 || s.InHand != 0 || e.Store.Waiting() != 0 {
					t.Errorf("it counts %+v", s)
				}
			}, func(c *tasker.Config) { c.Store = forgetful{c.Store.(*cut.Store)} })
		})
	}
}

func TestWhoIsTheSameTask(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		const body = `{"context":{"id":1}}`
		ids := map[string]domain.TaskID{}
		for _, c := range []struct {
			name, body string
			headers    []string
			same       string // as
		}{
			{name: "plain", body: body},
			{name: "plain again", body: body},
			{name: "id x", body: body, headers: []string{"Nats-Msg-Id", "x"}},
			{name: "id x, other body", body: `{"context":{"id":2}}`, headers: []string{"Nats-Msg-Id", "x"}, same: "id x"},
			{name: "id y", body: body, headers: []string{"Nats-Msg-Id", "y"}},
			{name: "key x", body: `{"context":{"id":1},"idempotency_key":"x"}`},
			{name: "key x, id y", body: `{"context":{"id":1},"idempotency_key":"x"}`, headers: []string{"Nats-Msg-Id", "y"}, same: "key x"},
		} {
			a := m.asks(c.body, c.headers...)
			if a.Error != nil || a.Created != (c.same == "") || c.same != "" && ids[c.same] != a.Task {
				t.Errorf("%s: %+v, want the task of %q", c.name, a, c.same)
			}
			ids[c.name] = a.Task
		}
		a := m.asks(`{"context":{"id":2},"idempotency_key":"x"}`)
		if a.Error == nil || a.Error.Code != "idempotency_mismatch" || a.Task != ids["key x"] {
			t.Errorf("another input with the key is answered with %+v", a)
		}
		if r, err := e.Submit(t.Context(), "orders", map[string]int{"id": 1}, tasker.Key("x")); err != nil || r.Created || r.ID != ids["key x"] {
			t.Errorf("the key in Go is task %v (%v)", r, err)
		}
		if got := m.letters(); len(got) != 1 || !strings.HasPrefix(got[0], "submission default.orders idempotency_mismatch: the idempotency key was used before") {
			t.Errorf("the letters are %q", got)
		}
	})
}

func TestRequestsAreAnsweredAndLeaveNothingBehind(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		a := m.requests([]string{"default", "orders"}, `{"context":{"id":7}}`)
		if a.Error != nil || !a.Created {
			t.Fatalf("the answer is %+v", a)
		}
		e.MustWait(a.Task)
		if a = m.requests(nil, `{"name":"orders","context":{"id":7},"idempotency_key":"k"}`); a.Error != nil || !a.Created {
			t.Errorf("the answer is %+v", a)
		}
		for body, code := range map[string]string{
			`{"name":"orders","context":{"id":"seven"}}`:                   "violations",
			`{"name":"order"}`:                                             "definition_not_found",
			`{"name":"orders","context":{"id":8},"idempotency_key":"k"}`:   "idempotency_mismatch",
			`{"name":"orders","context":{"id":8},"bypass_steps":["nope"]}`: "bypass",
			`garbage`: "invalid_request",
			`{}`:      "invalid_request",
		} {
			a := m.requests(nil, body)
			if a.Error == nil || a.Error.Code != code || a.Error.Retryable || a.Error.Message == "" {
				t.Errorf("%s is answered with %+v (%v)", body, a, a.Error)
			}
			if code == "violations" && !strings.Contains(string(a.Error.Detail), `"path":"/id"`) {
				t.Errorf("the violations are %s", a.Error.Detail)
			}
		}
		if len(m.letters()) != 0 {
			t.Errorf("the letters are %q", m.letters())
		}
		if s := e.Stats().Intake; s.Accepted != 2 || s.Refused != 6 {
			t.Errorf("it counts %+v", s)
		}
	})
}

func TestADefinitionMayBeRegisteredAMomentLater(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		m.publish("default.later", `{}`)
		m.publish("default.never", `{}`)
		e.Advance(5 * time.Second)
		if n := len(m.letters()); n != 0 || e.Store.Waiting() != 2 {
			t.Fatalf("after a moment there are %d letters", n)
		}
		def := &tasker.Definition{Name: "later", Steps: []domain.StepTemplate{{Name: "place", Handler: "place"}}}
		if err := client(t, e).Apply(t.Context(), def, false); err != nil {
			t.Fatal(err)
		}
		e.Advance(15 * time.Second)
		tasks, err := e.Tasks(t.Context(), tasker.Filter{Name: "later"})
		if err != nil || len(tasks) != 1 {
			t.Errorf("there are %d tasks (%v)", len(tasks), err)
		}
		if got := m.letters(); len(got) != 1 || !strings.HasPrefix(got[0], `submission default.never definition_not_found: no definition "never" in namespace "default"`) {
			t.Errorf("the letters are %q", got)
		}
		// An engine that begins gives what waits for it the same time, whatever its age.
		e.Stop()
		m.publish("default.evenlater", `{}`)
		e.Advance(time.Hour)
		e.Restart()
		e.Advance(5 * time.Second)
		if n := e.Store.Waiting(); n != 1 || len(m.letters()) != 1 {
			t.Errorf("it was given up at once")
		}
		e.Advance(10 * time.Second)
		if n := e.Store.Waiting(); n != 0 || len(m.letters()) != 2 {
			t.Errorf("it was not given up")
		}
	})
}

func TestAnOverloadedEngineLosesNothing(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		e.MustRegister(tasker.Define("slow").Step("wait", taskertest.Takes(time.Second, nil)).MustBuild())
		const n = 200
		for i := range n {
			m.publish("default.slow", fmt.Sprintf(`{"context":{"n":%d}}`, i))
		}
		e.Advance(500 * time.Millisecond)
		if a := m.requests([]string{"default", "slow"}, `{}`); a.Error == nil || a.Error.Code != "overloaded" || !a.Error.Retryable {
			t.Errorf("a request is answered with %+v", a)
		}
		for e.Store.Waiting() > 0 {
			e.Advance(time.Second)
		}
		if s := e.Stats().Intake; s.Accepted != n || s.Refused != 0 || s.Retried == 0 || len(m.letters()) != 0 {
			t.Errorf("it counts %+v, letters %q", s, m.letters())
		}
	}, func(c *tasker.Config) { c.Slots, c.MaxReady, c.MaxQueue = 2, 10, 10 })
}

func TestAnEngineThatCrashesLosesNoRequest(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		const n = 100
		for i := range n {
			m.publish("default.orders", fmt.Sprintf(`{"context":{"id":%d}}`, i))
			if i%50 == 25 {
				e.Crash()
			}
		}
		e.Advance(5 * time.Minute)
		tasks, err := e.Tasks(t.Context(), tasker.Filter{Name: "orders", Limit: 2 * n, States: []domain.State{domain.Complete}})
		if err != nil || len(tasks) != n {
			t.Errorf("%d requests became %d tasks (%v)", n, len(tasks), err)
		}
		if e.Store.Waiting() != 0 || len(m.letters()) != 0 {
			t.Errorf("%d wait, letters %q", e.Store.Waiting(), m.letters())
		}
	})
}

// broken cannot store dead letters.
type broken struct {
	*cut.Store
	mended *atomic.Bool
}

func (b broken) DeadLetters() domain.DeadLetters {
	return brokenLetters{b.Store.DeadLetters(), b.mended}
}

type brokenLetters struct {
	domain.DeadLetters
	mended *atomic.Bool
}

func (b brokenLetters) Put(ctx context.Context, l domain.DeadLetter) error {
	if !b.mended.Load() {
		return errors.New("no room")
	}
	return b.DeadLetters.Put(ctx, l)
}

func TestWhatIsNeitherTaskNorLetterIsNotAcknowledged(t *testing.T) {
	var mended atomic.Bool
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		m := mail{t, e.Store}
		m.publish("default.orders", `garbage`)
		e.Advance(20 * time.Second)
		if e.Store.Waiting() != 1 {
			t.Fatal("it is gone")
		}
		mended.Store(true)
		e.Advance(time.Minute)
		if e.Store.Waiting() != 0 || len(m.letters()) != 1 {
			t.Errorf("%d wait, letters %q", e.Store.Waiting(), m.letters())
		}
	}, func(c *tasker.Config) { c.Store = broken{c.Store.(*cut.Store), &mended} })
}

func TestAnEngineMayLeaveTheIntakeToOthers(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		m.publish("default.orders", `{"context":{"id":1}}`)
		e.Advance(time.Hour)
		if e.Store.Waiting() != 1 {
			t.Error("it was taken")
		}
		if _, err := m.RequestIntake(t.Context(), nil, nil, nil); !errors.Is(err, domain.ErrNoOwner) {
			t.Errorf("a request is answered (%v)", err)
		}
	}, func(c *tasker.Config) { c.NoIntake = true })
}
