package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// The requests are made of the description: whatever it promises to take is sent, and much that it does not.

// hostile are texts that have hurt others.
var hostile = []string{
	"", " ", "\x00", "a\x00b", "\xff\xfe", "\u202e\u0000", "'; DROP TABLE tasks; --", "' OR '1'='1", "1) UNION SELECT * FROM tasks", `" OR ""="`, "*", "%", "_%", "a* OR b*",
	"NEAR(a b)", `"unbalanced`, "../../../../etc/passwd", "..%2f..%2f", "/etc/passwd", "file:///etc/passwd", "\r\nSet-Cookie: a=b", "<script>alert(1)</script>", "${jndi:ldap://x}",
	"{{7*7}}", "-1", "0", "1e999", "NaN", "9223372036854775808", "18446744073709551616", "-9223372036854775809", "0x10", "1_000", "true", "null", "[]", "{}", "TASKER.>", "tasker.cmd.>", "*.>",
	"00-1-0", "63-9223372036854775807-0", "64-1-0", "99999999999-1-1", "00-0-0", "x:00=1", ":00=1,00=2", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999+14:00", "-9999-01-01T00:00:00Z", "1h", "-1h", "1e9h",
	"task.*", "custom.", "custom.*", "step.handle", "error", "pending,error", "Ａ", "日本語", strings.Repeat("x", 300), strings.Repeat("ab ", 2000), strings.Repeat("(", 500), strings.Repeat("\"", 99),
}

var hostileBodies = []string{
	"", "{", "[]", "null", "0", `"x"`, "{}{}", `{"":""}`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 10_000), "{\"reason\":\"\x00\"}", "{\"reason\":\"\xff\"}", `{"reason":"\ud800"}`, `{"reason":"\u0000"}`,
	`{"retry_limit":1e999}`, `{"retry_limit":-0}`, `{"limit":99999999999999999999999999}`, "\ufeff{}", `{"context":{"a":1e400}}`, `{"name":{"name":{"name":1}}}`,
}

// described is the description as the fuzz reads it.
type described struct {
	Paths      map[string]map[string]describedOp
	Components struct{ Schemas map[string]*schema }
}

type describedOp struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Schema   *schema
	}
	RequestBody *struct {
		Content map[string]struct{ Schema *schema }
	}
	Responses map[string]struct{ Description string }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Enum       []any
	Format     string
	Properties map[string]*schema
	Items      *schema
}

// attacker makes requests.
type attacker struct {
	*rand.Rand
	doc     *described
	ops     []attack
	tasks   []string
	pieces  []string // positions and other texts that mean something here
	handler http.Handler
}

type attack struct {
	method, path string
	op           describedOp
}

func newAttacker(t testing.TB) *attacker {
	t.Helper()
	a := &attacker{doc: &described{}}
	if err := json.Unmarshal(description, a.doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range a.doc.Paths {
		for method, op := range methods {
			a.ops = append(a.ops, attack{strings.ToUpper(method), path, op})
		}
	}
	slices.SortFunc(a.ops, func(x, y attack) int { return strings.Compare(x.op.OperationID, y.op.OperationID) })
	index := filepath.Join(t.TempDir(), "index.db")
	w := serve(t, start(t, func(c *tasker.Config) { c.Index = index }), Options{Timeout: 10 * time.Second})
	a.handler = w.server.Config.Handler
	for _, name := range []string{"echo", "fails", "hangs"} {
		receipt, path := w.submit(name, "", map[string]any{"n": 1})
		w.until(path, map[string]domain.State{"echo": domain.Complete, "fails": domain.Error, "hangs": domain.InProgress}[name])
		a.tasks = append(a.tasks, receipt.ID.String())
		a.pieces = append(a.pieces, receipt.ID.String(), receipt.Position.String(), name, "one", "pay", "hang")
	}
	a.tasks = append(a.tasks, nobody)
	a.pieces = append(a.pieces, w.engine.Info().ID+":00=1,01=1", w.engine.Info().ID+":00=999999")
	letter := domain.DeadLetter{Kind: tasker.LetterSubmission, Name: "default.echo", Reason: "no", Subject: "tasker.submit.task.default.echo", Data: []byte(`{"context":{}}`)}
	if err := w.engine.store.DeadLetters().Put(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *attacker) pick(from []string) string { return from[a.IntN(len(from))] }

// text is a value for a parameter.
func (a *attacker) text(s *schema) string {
	switch n := a.IntN(10); {
	case n < 4:
		return a.pick(hostile)
	case n < 6:
		return a.pick(a.pieces)
	}
	if v := a.value(s, 0); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// value is a value that a schema takes, or one that it does not.
func (a *attacker) value(s *schema, depth int) any {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return a.value(a.doc.Components.Schemas[name], depth)
	}
	if a.IntN(8) == 0 || depth > 5 {
		return a.wrong()
	}
	if len(s.Enum) > 0 {
		return s.Enum[a.IntN(len(s.Enum))]
	}
	kind, _ := s.Type.(string)
	if list, ok := s.Type.([]any); ok && len(list) > 0 {
		kind, _ = list[0].(string)
	}
	switch kind {
	case "object":
		object := map[string]any{}
		for _, name := range sortedKeys(s.Properties) {
			if a.IntN(3) > 0 {
				object[name] = a.value(s.Properties[name], depth+1)
			}
		}
		if a.IntN(10) == 0 {
			object[a.pick(hostile)] = a.wrong()
		}
		return object
	case "array":
		list := []any{}
		for range a.IntN(4) {
			list = append(list, a.value(s.Items, depth+1))
		}
		return list
	case "integer", "number":
		return []any{0, 1, 2, 7, 50, -1, 501, 1 << 40}[a.IntN(8)]
	case "boolean":
		return a.IntN(2) == 0
	case "string":
		if s.Format == "date-time" {
			return "2026-01-02T03:04:05Z"
		}
		return strings.ToValidUTF8(a.pick(append(hostile, a.pieces...)), "?")
	}
	return []any{map[string]any{"n": 1}, map[string]any{"total": "x"}, []any{1}, nil, "x"}[a.IntN(5)]
}

func sortedKeys(m map[string]*schema) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *attacker) wrong() any {
	deep := any(1)
	for range a.IntN(60) {
		deep = []any{deep}
	}
	return []any{
		nil, true, -1, 1.5, json.Number("1e999"), json.Number("123456789012345678901234567890"), strings.ToValidUTF8(a.pick(hostile), "?"), deep, []any{}, map[string]any{}, map[string]any{"": nil},
	}[a.IntN(11)]
}

// request makes a request for the operation.
func (a *attacker) request(x *attack) (*http.Request, string) {
	target, query := x.path, url.Values{}
	for _, p := range x.op.Parameters {
		switch p.In {
		case "path":
			value := a.text(p.Schema)
			if p.Name == "id" && a.IntN(4) > 0 {
				value = a.pick(a.tasks)
			}
			target = strings.Replace(target, "{"+p.Name+"}", url.PathEscape(value), 1)
		case "query":
			for a.IntN(3) == 0 {
				query.Add(p.Name, a.text(p.Schema))
			}
		}
	}
	if a.IntN(20) == 0 {
		query.Add("field."+a.pick(hostile), a.pick(hostile))
	}
	if x.op.OperationID == "waitForTask" {
		if d, err := time.ParseDuration(query.Get("timeout")); !query.Has("timeout") || err == nil && d > 0 {
			query.Set("timeout", "1ms")
		}
	}
	if query.Has("position") {
		query.Set("wait", "0s")
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	body := ""
	if x.op.RequestBody != nil {
		if body = a.pick(hostileBodies); a.IntN(4) > 0 {
			text, err := json.Marshal(a.value(x.op.RequestBody.Content["application/json"].Schema, 0))
			if err == nil {
				body = string(text)
			}
		}
	}
	r := httptest.NewRequest(x.method, "http://localhost"+"/", strings.NewReader(body))
	r.Host = "localhost"
	at, err := url.ParseRequestURI(target)
	if err != nil { // no server would get so far
		at = &url.URL{Path: "/api/v1/me"}
	}
	r.URL, r.RequestURI = at, at.RequestURI()
	for _, p := range x.op.Parameters {
		if p.In == "header" && a.IntN(4) == 0 {
			r.Header.Set(p.Name, a.text(p.Schema))
		}
	}
	if x.method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, body
}

// attack sends one request and looks at what comes back.
func (a *attacker) attack(t testing.TB, seed uint64) (code Code) {
	t.Helper()
	a.Rand = rand.New(rand.NewPCG(seed, 1))
	x := &a.ops[a.IntN(len(a.ops))]
	r, body := a.request(x)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if x.op.OperationID == "streamEvents" {
		r.Method = http.MethodHead
		if seed%16 == 0 {
			r.Method = http.MethodGet
			ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
		}
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r.WithContext(ctx))
	fail := func(why string) {
		t.Errorf("seed %d: %s: %s %s\n%.400s\n-> %d %.600s", seed, why, r.Method, r.RequestURI, body, w.Code, w.Body.String())
	}
	if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
		fail("the server's own fault")
	}
	if w.Code < 400 || r.Method == http.MethodHead {
		return ""
	}
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code == "" || p.Detail == "" || p.Status != w.Code {
		fail("no problem")
	}
	if own := x.op.Responses[fmt.Sprint(w.Code)].Description; !strings.Contains(own+x.op.Responses["default"].Description, "`"+string(p.Code)+"`") &&
		p.Code != CodeNotFound && p.Code != CodeMethod { // what became no path of an operation
		fail("the description knows nothing of " + string(p.Code))
	}
	return p.Code
}

// No request is too much: what is wrong with it is said, and is not the server's fault.
func TestHostileRequestsAreRefused(t *testing.T) {
	a := newAttacker(t)
	codes := map[Code]int{}
	for seed := range uint64(1500) {
		codes[a.attack(t, seed)]++
		if t.Failed() {
			return
		}
	}
	for _, code := range []Code{"", CodeInvalid, CodeTaskNotFound, CodeStepNotFound, CodeDefNotFound, CodeLetterNotFound, CodeSubNotFound, CodeRefused} {
		if codes[code] == 0 {
			t.Errorf("no request was answered with %q: the attack does not get that far: %v", code, codes)
		}
	}
}

func FuzzOperations(f *testing.F) {
	a := newAttacker(f)
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { a.attack(t, seed) })
}
