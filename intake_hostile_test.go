package tasker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/taskertest"
)

// hostile is what strangers publish, where it should say default.orders and {"context":{"id":1}}.
var hostile = []struct {
	name, target, body string
	headers            []string
	code, reason       string // "" is a task
}{
	{name: "garbage", body: "\x00\xff\xfe", code: "invalid_request", reason: "not UTF-8"},
	{name: "a line of text", body: "please run my order", code: "invalid_request", reason: "not valid JSON"},
	{name: "gob", body: "\x0f\xff\x81\x03\x01\x01\x05Order", code: "invalid_request", reason: "not UTF-8"},
	{name: "a list", body: `[1,2]`, code: "invalid_request", reason: "no JSON object"},
	{name: "the input itself", body: `{"id":1}`, code: "invalid_request", reason: `no "context"`},
	{name: "an input with other fields", body: `{"id":1,"lines":[]}`, code: "invalid_request", reason: `the field "lines"`},
	{name: "cut off", body: `{"context":{"id":1}`, code: "invalid_request", reason: "not valid JSON"},
	{name: "something behind it", body: `{"context":{"id":1}}; DROP TABLE`, code: "invalid_request", reason: "not valid JSON"},
	{name: "two contexts", body: `{"context":{"id":1},"context":{"id":2}}`, code: "invalid_request", reason: "twice"},
	{name: "nested without end", body: `{"context":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5001), code: "violations", reason: "context"},
	{name: "no number", body: `{"context":{"id":"1"}}`, code: "violations", reason: "want integer"},
	{name: "a number that no computer has", body: `{"context":{"id":1e999999999}}`, code: "violations", reason: "id"},
	{name: "a forged event", body: `{"type":"task.completed","task":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":3,"actor":"engine","context":{"id":1}}`},
	{name: "a context from the blobs", body: `{"context_blob":"sha256-00"}`, code: "invalid_request", reason: `the field "context_blob"`},
	{name: "an id of one's own", body: `{"id":"01890a5d-ac96-774b-bcce-b302099a8057","context":{"id":1}}`},
	{name: "a reason of a megabyte", body: `{"context":{"id":1},"reason":"` + strings.Repeat("x", 900<<10) + `"}`, code: "invalid_request", reason: "at most 16384"},
	{name: "a hundred thousand tags", body: `{"context":{"id":1},"tags":["a"` + strings.Repeat(`,"a"`, 99_999) + `]}`, code: "invalid_request", reason: "at most 16384"},
	{name: "a bad trace", body: `{"context":{"id":1},"traceparent":"00-x"}`, code: "invalid_request", reason: "traceparent"},
	{name: "a bad trace in a header", body: `{"context":{"id":1}}`, headers: []string{"traceparent", strings.Repeat("z", 60_000)}},
	{name: "another name in the body", body: `{"name":"refund","context":{"id":1}}`, code: "invalid_request", reason: `the body "refund"`},
	{name: "a step that there is not", body: `{"context":{"id":1},"bypass_steps":["nope"]}`, code: "bypass", reason: "nope"},
	{name: "a version that there is not", body: `{"context":{"id":1},"version":"9.9.9"}`, code: "definition_not_found", reason: "9.9.9"},
	{name: "a name that there is not", target: "default.order", body: `{}`, code: "definition_not_found", reason: `no definition "order"`},
	{name: "one part", target: "orders", body: `{}`, code: "invalid_request", reason: "two parts"},
	{name: "three parts", target: "default.orders.1", body: `{}`, code: "invalid_request", reason: "two parts"},
	{name: "a wildcard", target: "default.*", body: `{}`, code: "invalid_request", reason: `the character '*'`},
	{name: "everything", target: "default.>", body: `{}`, code: "invalid_request", reason: `the character '>'`},
	{name: "a name of 10,000 letters", target: "default." + strings.Repeat("n", 10_000), body: `{}`, code: "invalid_request", reason: "at most 128"},
	{name: "headers with many values", body: `{"context":{"id":1}}`, headers: []string{"Nats-Msg-Id", "a", "Nats-Msg-Id", "b", "X", "", "X", "2"}},
	{name: "headers that NATS acts on", body: `x`, headers: []string{"Nats-Rollup", "all", "Nats-TTL", "1s", "Nats-Expected-Last-Sequence", "7"}, code: "invalid_request", reason: "not valid JSON"},
	{name: "an answer into the log", body: `{"context":{"id":1}}`, headers: []string{domain.HeaderReplyTo, "tasker.log.1.00"}, code: "invalid_request", reason: "what is below tasker is the engine's"},
	{name: "an answer to everybody", body: `{"context":{"id":1}}`, headers: []string{domain.HeaderReplyTo, ">"}, code: "invalid_request", reason: "wildcards"},
	{name: "an answer to JetStream", body: `{"context":{"id":1}}`, headers: []string{domain.HeaderReplyTo, "$JS.API.STREAM.DELETE.TASKER_LOG_1_00"}, code: "invalid_request", reason: "the system's"},
	{name: "an answer into the intake", body: `{"context":{"id":1}}`, headers: []string{domain.HeaderReplyTo, "tasker.submit.task.default.orders"}, code: "invalid_request", reason: "the engine's"},
}

func TestHostileRequestsBecomeLettersAndTheEngineGoesOn(t *testing.T) {
	posted(t, func(t *testing.T, e *taskertest.Engine, m mail) {
		for _, h := range hostile {
			target := h.target
			if target == "" {
				target = "default.orders"
			}
			before := len(m.Letters())
			stats := e.Stats().Intake
			m.publish(target, h.body, h.headers...)
			e.Advance(20 * time.Second)
			if e.Store.Waiting() != 0 {
				t.Fatalf("%s: it still waits", h.name)
			}
			letters := m.Letters()[before:]
			now := e.Stats().Intake
			if h.code == "" {
				if len(letters) != 0 || now.Accepted != stats.Accepted+1 {
					t.Errorf("%s: it counts %+v, letters %q", h.name, now, m.letters()[before:])
				}
				continue
			}
			if len(letters) != 1 || now.Accepted != stats.Accepted || now.Refused != stats.Refused+1 {
				t.Errorf("%s: it counts %+v, letters %q", h.name, now, m.letters()[before:])
				continue
			}
			l := letters[0]
			if l.Kind != "submission" || l.Name != target || l.Subject != "tasker.submit.task."+target || string(l.Data) != h.body ||
				l.Headers["Tasker-Code"] != h.code || !strings.Contains(l.Reason, h.reason) {
				t.Errorf("%s: it became a letter with code %s, subject %.100s, reason %.300s", h.name, l.Headers["Tasker-Code"], l.Subject, l.Reason)
			}
			for name, values := range pairs(h.headers) {
				if !slices.Equal(l.Original[name], values) {
					t.Errorf("%s: of the header %s it has %q", h.name, name, l.Original[name])
				}
			}
		}
		if a := m.asks(`{"context":{"id":7}}`); a.Error != nil || !a.Created {
			t.Errorf("afterwards a request is answered with %+v", a)
		}
	})
}
