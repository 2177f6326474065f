package domain

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestARequestIsReadAsItWasMeant(t *testing.T) {
	order := []string{"shop", "order"}
	for name, c := range map[string]struct {
		subject []string
		body    string
		want    IntakeRequest
	}{
		"empty":                   {order, "", IntakeRequest{Namespace: "shop", Name: "order"}},
		"white space":             {order, " \r\n\t", IntakeRequest{Namespace: "shop", Name: "order"}},
		"an empty object":         {order, "{}", IntakeRequest{Namespace: "shop", Name: "order"}},
		"context only":            {order, `{"context": {"id": 7.50}}`, IntakeRequest{Namespace: "shop", Name: "order", Context: []byte(`{"id": 7.50}`)}},
		"context null":            {order, `{"context": null}`, IntakeRequest{Namespace: "shop", Name: "order"}},
		"the subject repeated":    {order, `{"namespace":"shop","name":"order"}`, IntakeRequest{Namespace: "shop", Name: "order"}},
		"named in the body":       {nil, `{"name":"order"}`, IntakeRequest{Namespace: DefaultNamespace, Name: "order"}},
		"what the engine decides": {order, `{"id":1,"task":"x","actor":{"a":1},"attempt":"9","definition":"d","at":null,"context":{}}`, IntakeRequest{Namespace: "shop", Name: "order", Context: []byte(`{}`)}},
		"everything": {
			order,
			`{"version":"1.0.0","context":{},"idempotency_key":"k","initiator":"i","source_system":"s","reason":"r","tags":["a","b"],"bypass_steps":["x"],"correlation":"c"}`,
			IntakeRequest{
				Namespace: "shop", Name: "order", Version: "1.0.0", Context: []byte(`{}`), IdempotencyKey: "k", Initiator: "i",
				SourceSystem: "s", Reason: "r", Tags: []string{"a", "b"}, BypassSteps: []string{"x"}, Correlation: "c",
			},
		},
	} {
		got, err := ParseIntakeRequest(c.subject, []byte(c.body))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: read as %+v (%v), want %+v", name, got, err, c.want)
		}
	}
}

func TestWhatIsNoRequestIsRefusedWithTheReason(t *testing.T) {
	order := []string{"shop", "order"}
	long := strings.Repeat("n", MaxNameLength+1)
	for name, c := range map[string]struct {
		subject []string
		body    string
		want    string // part of the message
	}{
		"garbage":                   {order, "\x00\x01\x02", "not valid JSON: line 1, column 1"},
		"not UTF-8":                 {order, "{\"reason\":\"\xff\"}", "not UTF-8"},
		"a text":                    {order, `"hello"`, "no JSON object"},
		"a number":                  {order, `12`, "no JSON object"},
		"null":                      {order, `null`, "no JSON object"},
		"a list":                    {order, `[{"context":{}}]`, "no JSON object"},
		"cut off":                   {order, `{"context": {"id": 7}`, "not valid JSON"},
		"two objects":               {order, `{} {}`, "not valid JSON"},
		"XML":                       {order, `<task/>`, "not valid JSON"},
		"the context itself":        {order, `{"order_id": 7}`, `the field "order_id", which a request has not; the task's input goes into "context"`},
		"the context, with an id":   {order, `{"id": 7}`, `the field "id", which is ignored, and no "context"`},
		"misspelled":                {order, `{"contxt": {}}`, `was "context" meant?`},
		"another case":              {order, `{"Context": {}}`, `was "context" meant?`},
		"the key's short name":      {order, `{"key": "k"}`, `called "idempotency_key"`},
		"a field twice":             {order, `{"context": {"a":1}, "context": {"a":2}}`, `the field "context" twice`},
		"a context that is a list":  {order, `{"context": [1]}`, "context must be a JSON object"},
		"a context that is a text":  {order, `{"context": "{}"}`, "context must be a JSON object"},
		"a key that is a number":    {order, `{"idempotency_key": 7}`, "idempotency_key must be a string"},
		"tags that are a text":      {order, `{"tags": "a"}`, "tags must be a list of strings"},
		"steps that are numbers":    {order, `{"bypass_steps": [1]}`, "bypass_steps must be a list of strings"},
		"another name":              {order, `{"name": "refund"}`, `the subject says name "order", the body "refund"`},
		"another namespace":         {order, `{"namespace": "default"}`, `the subject says namespace "shop", the body "default"`},
		"a subject with one part":   {[]string{"order"}, `{}`, "two parts, and \"order\" has 1"},
		"a subject with three":      {[]string{"a", "b", "c"}, `{}`, "has 3"},
		"a wildcard in the subject": {[]string{"shop", "*"}, `{}`, `the name of the definition "*" has the character '*'`},
		"an odd namespace":          {[]string{"sh op", "order"}, `{}`, `the namespace "sh op" has the character ' '`},
		"no name at all":            {nil, `{}`, "the name of the definition is missing"},
		"a name that is too long":   {[]string{"shop", long}, `{}`, "at most 128 are allowed"},
		"nested without end":        {order, strings.Repeat(`{"context":`, 20_000), "not valid JSON"},
	} {
		got, err := ParseIntakeRequest(c.subject, []byte(c.body))
		if !errors.Is(err, ErrIntake) || !strings.Contains(err.Error(), c.want) || !reflect.DeepEqual(got, IntakeRequest{}) && err == nil {
			t.Errorf("%s: read as %+v, refused with %v, want an error with %q", name, got, err, c.want)
		}
	}
}

func TestAMessageIsTheSameTaskHoweverOftenItComes(t *testing.T) {
	at := time.Date(2026, 1, 31, 8, 0, 0, 123456789, time.UTC)
	id := SequencedTaskID("d", 7, at)
	if again := SequencedTaskID("d", 7, at.In(time.FixedZone("", 3600))); again != id {
		t.Errorf("it was task %s and is task %s", id, again)
	}
	if got := id.String(); got[14] != '7' || !strings.ContainsRune("89ab", rune(got[19])) || id.Keyed() {
		t.Errorf("%s is no UUID of version 7", got)
	}
	if got := id.CreatedAt(); got != InstantOf(at.Truncate(time.Millisecond)) {
		t.Errorf("its time is %s", got)
	}
	for name, other := range map[string]TaskID{
		"another log":      SequencedTaskID("e", 7, at),
		"another sequence": SequencedTaskID("d", 8, at),
		"another time":     SequencedTaskID("d", 7, at.Add(1)),
	} {
		if other == id {
			t.Errorf("%s is the same task", name)
		}
	}
	if a, b := MessageTaskID("n", "t", "k"), KeyedTaskID("n", "t", "k"); a == b || !a.Keyed() {
		t.Errorf("the message id gives %s, the same text as a key %s", a, b)
	}
	if MessageTaskID("n", "t", "k") == MessageTaskID("n", "u", "k") {
		t.Error("a message id belongs to one definition")
	}
	if got, want := MessageTaskID("n", "t", "k").String(), "cf649bb5-093e-5961-896c-a4391a408777"; got != want {
		t.Errorf("the message id gives %s, and it gave %s in all versions before", got, want)
	}
}

func TestAnswersDoNotGoWhereOnlyTheEngineMayWrite(t *testing.T) {
	for _, subject := range []string{
		"_INBOX.abc.1", "answers", "shop.answers.7", "taskers.x", "my$.x",
	} {
		if err := CheckReplySubject("", subject); err != nil {
			t.Errorf("%s is refused: %v", subject, err)
		}
	}
	for _, subject := range []string{
		"", "tasker", "tasker.log.1.00", "tasker.submit.task.default.x", "tasker.cmd.00", "$JS.API.STREAM.DELETE.TASKER_LOG_1_00",
		"$SYS.REQ.SERVER.PING", "$KV.TASKER_META.data", "$O.TASKER_BLOBS.C.x", "a.*", ">", "a..b", ".a", "a.", "a b", "a\r\nPUB b 0\r\n",
		"a\x00b", "é", strings.Repeat("a", 256),
	} {
		if err := CheckReplySubject("", subject); !errors.Is(err, ErrIntake) {
			t.Errorf("%.40q is accepted: %v", subject, err)
		}
	}
	if err := CheckReplySubject("SHOP", "shop.log.1.00"); err == nil {
		t.Error("the log of another prefix is accepted")
	}
	if err := CheckReplySubject("SHOP", "tasker.log.1.00"); err != nil {
		t.Error(err)
	}
}

func TestSubjectsOfTheIntakeHaveThePrefix(t *testing.T) {
	for got, want := range map[string]string{
		IntakeSubject("", "", "order"):                     "tasker.submit.task.default.order",
		IntakeSubject("TEST_1", "shop", "order"):           "test_1.submit.task.shop.order",
		IntakeRequestSubject("TASKER", "default", "order"): "tasker.submit.request.default.order",
	} {
		if got != want {
			t.Errorf("the subject is %s, want %s", got, want)
		}
	}
}

func FuzzParseIntakeRequest(f *testing.F) {
	f.Add([]byte(`{"context": {"id": 7}, "idempotency_key": "k", "tags": ["a"]}`))
	f.Add([]byte(`{"context":`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseIntakeRequest([]string{"a", "b"}, body)
		if err != nil && !errors.Is(err, ErrIntake) {
			t.Fatalf("%q: %v is no refusal of a request", body, err)
		}
		if err == nil && (r.Namespace != "a" || r.Name != "b") {
			t.Fatalf("%q: it asks for %s.%s", body, r.Namespace, r.Name)
		}
	})
}
