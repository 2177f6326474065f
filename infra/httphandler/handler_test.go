package httphandler_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sequence []domain.StepView

func (s sequence) Steps(context.Context) ([]domain.StepView, error) { return s, nil }

func (s sequence) Find(_ context.Context, name string) (domain.StepView, error) {
	for _, step := range s {
		if step.Name == name {
			return step, nil
		}
	}
	return domain.StepView{}, fmt.Errorf("step %q: %w", name, domain.ErrUnknownStep)
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// send runs a step against a server; $URL in the config is its address.
func send(t *testing.T, server http.HandlerFunc, config string) (httphandler.Response, error) {
	t.Helper()
	return sendContext(t.Context(), t, server, config)
}

func sendContext(ctx context.Context, t *testing.T, server http.HandlerFunc, config string) (httphandler.Response, error) {
	t.Helper()
	s := httptest.NewServer(server)
	defer s.Close()
	h := httphandler.New(httphandler.Options{Now: func() time.Time { return now }})
	defer h.Close()
	result, err := h.Handle(ctx, domain.TaskView{
		Context: json.RawMessage(`{"id":7,"name":"a/b?c=d&e","dots":"..","none":null,"break":"a\r\nX-Evil: 1","base":"` + s.URL + `"}`),
	}, sequence{{Name: "charge", State: domain.Complete, Result: json.RawMessage(`{"id":"pay_1","n":1.50}`)}},
		domain.StepView{Name: "call", IdempotencyKey: "key-1", Config: json.RawMessage(strings.ReplaceAll(config, "$URL", s.URL))})
	response, _ := result.(httphandler.Response)
	return response, err
}

func TestB25StatusSaysHowTheStepEnds(t *testing.T) {
	const ok, retry, permanent = "ok", "retry", "permanent"
	for _, c := range []struct {
		status     int
		retryAfter string
		config     string // more of it
		want       string
		wait       time.Duration
	}{
		{status: 200, want: ok},
		{status: 201, want: ok},
		{status: 202, want: ok},
		{status: 204, want: ok},
		{status: 226, want: ok},
		{status: 227, want: retry},
		{status: 304, want: retry},
		{status: 400, want: permanent},
		{status: 401, want: permanent},
		{status: 403, want: permanent},
		{status: 404, want: permanent},
		{status: 422, want: permanent},
		{status: 408, want: retry},
		{status: 409, want: retry},
		{status: 418, want: retry},
		{status: 500, want: retry},
		{status: 502, want: retry},
		{status: 500, retryAfter: "30", want: retry},
		{status: 429, want: retry},
		{status: 429, retryAfter: "30", want: retry, wait: 30 * time.Second},
		{status: 503, retryAfter: "30", want: retry, wait: 30 * time.Second},
		{status: 429, retryAfter: "301", want: retry, wait: 300 * time.Second},
		{status: 429, retryAfter: "99999999999999999999999", want: retry, wait: 300 * time.Second},
		{status: 429, retryAfter: "0", want: retry},
		{status: 429, retryAfter: "soon", want: retry},
		{status: 429, retryAfter: "-5", want: retry},
		{status: 429, retryAfter: now.Add(time.Minute).Format(http.TimeFormat), want: retry, wait: time.Minute},
		{status: 429, retryAfter: now.Add(-time.Hour).Format(http.TimeFormat), want: retry, wait: time.Second},
		{status: 429, retryAfter: now.Add(time.Hour).Format(http.TimeFormat), want: retry, wait: 300 * time.Second},
		{status: 404, config: `,"retry_on":[404]`, want: retry},
		{status: 202, config: `,"retry_on":[202]`, want: retry},
		{status: 500, config: `,"permanent_on":[500]`, want: permanent},
		{status: 429, retryAfter: "30", config: `,"permanent_on":[429]`, want: permanent},
		{status: 429, retryAfter: "30", config: `,"retry_on":[429]`, want: retry, wait: 30 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d %s %s", c.status, c.retryAfter, c.config), func(t *testing.T) {
			_, err := send(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(c.status)
			}, `{"url":"$URL/x"`+c.config+`}`)
			failure := (*domain.Failure)(nil)
			got := ok
			if err != nil {
				if !errors.As(err, &failure) {
					t.Fatalf("%v is no failure", err)
				}
				if got = retry; failure.Kind == domain.KindPermanent {
					got = permanent
				}
				if code := fmt.Sprintf("HTTP_%d", c.status); failure.Code != code {
					t.Errorf("code %s, want %s", failure.Code, code)
				}
				if failure.RetryAfter != c.wait {
					t.Errorf("waits %s, want %s", failure.RetryAfter, c.wait)
				}
			}
			if got != c.want {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
}

func TestRequestIsMadeOfTheConfigAndTheTask(t *testing.T) {
	response, err := send(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.Header().Add("X-Two", "1")
		w.Header().Add("X-Two", "2")
		_ = json.NewEncoder(w).Encode([]string{
			r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key"), r.Header.Get("X-Pay"),
			strings.Join(r.Header.Values("X-None"), "-"), r.Host, string(body),
		})
	}, `{"method":"put","url":"$URL/orders/${context.name}?fixed=1&n=${context.name}","query":{"a":"${results.charge.id}","b":2,"c":true,"d":"${context.none}"},
		"headers":{"X-Pay":"pay ${results.charge.id}","X-None":"${context.none}","Host":"shop.example"},"body":{"id":"${context.id}","n":["${results.charge.n}"],"t":"#${context.id}"}}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `["PUT","/orders/a%2Fb%3Fc=d&e?fixed=1&n=a%2Fb%3Fc%3Dd%26e&a=pay_1&b=2&c=true","application/json","key-1",` +
		`"pay pay_1","","shop.example","{\"id\":7,\"n\":[1.50],\"t\":\"#7\"}"]`
	if got := strings.ReplaceAll(string(response.Body), `\u0026`, "&"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if response.Status != 200 || response.Headers["X-Two"] != "1, 2" {
		t.Errorf("status %d, headers %v", response.Status, response.Headers)
	}
}

func TestBodyIsParsedWhenItsTypeIsJSON(t *testing.T) {
	for _, c := range []struct{ contentType, body, want string }{
		{"application/json", ` {"a": 1.50} `, `{"a": 1.50}`},
		{"application/json", ``, `null`},
		{"application/json", `{broken`, `"{broken"`},
		{"text/plain", `{"a":1}`, `"{\"a\":1}"`},
		{"text/plain", ``, `null`},
		{"", `hello`, `"hello"`},
	} {
		response, err := send(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.contentType)
			_, _ = io.WriteString(w, c.body)
		}, `{"url":"${context.base}/x"}`)
		if err != nil || string(response.Body) != c.want {
			t.Errorf("%s %q: %s, %v; want %s", c.contentType, c.body, response.Body, err, c.want)
		}
	}
}

func TestRequestThatCannotBeMadeIsFinalAndNotSent(t *testing.T) {
	for config, code := range map[string]string{
		`{"url":"$URL/${context.missing}"}`:                 "TEMPLATE",
		`{"url":"$URL/${context.dots}/x"}`:                  "TEMPLATE",
		`{"url":"${context.id}"}`:                           "CONFIG",
		`{"url":"$URL","body":{"a":"${results.no}"}}`:       "TEMPLATE",
		`{"url":"$URL","query":{"a":"x${context.none}"}}`:   "TEMPLATE",
		`{"url":"$URL","headers":{"X":"${context.break}"}}`: "CONFIG",
		`{"url":"$URL","header":{}}`:                        "CONFIG",
	} {
		_, err := send(t, func(http.ResponseWriter, *http.Request) { t.Errorf("%s was sent", config) }, config)
		failure := &domain.Failure{}
		if !errors.As(err, &failure) || failure.Kind != domain.KindPermanent || failure.Code != code {
			t.Errorf("%s: %v (kind %s, code %s); want a permanent failure, code %s", config, err, failure.Kind, failure.Code, code)
		}
	}
}

func TestAnswerThatDoesNotComeIsRetried(t *testing.T) {
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	}
	slow := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	slowBody := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for name, c := range map[string]struct {
		server  http.HandlerFunc
		config  string
		message string
	}{
		"hangs up":     {hangUp, `{"url":"$URL/x?secret=1"}`, "EOF"},
		"breaks off":   {half, `{"url":"$URL/x?secret=1"}`, "unexpected EOF"},
		"too slow":     {slow, `{"url":"$URL/x?secret=1","timeout":"50ms"}`, "no complete answer within 50ms"},
		"body is slow": {slowBody, `{"url":"$URL/x?secret=1","timeout":0.05}`, "no complete answer within 50ms"},
		"nobody there": {hangUp, `{"url":"http://127.0.0.1:1/x?secret=1"}`, "refused"},
	} {
		_, err := send(t, c.server, c.config)
		failure := &domain.Failure{}
		if !errors.As(err, &failure) || failure.Kind == domain.KindPermanent || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v; want a retryable failure with %q", name, err, c.message)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: the query is in the error: %v", name, err)
		}
	}
}

func TestRequestEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("step was cancelled")
	_, err := sendContext(ctx, t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(reason)
		<-r.Context().Done()
	}, `{"url":"$URL"}`)
	if !errors.Is(err, reason) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, reason)
	}
}

func TestResponseBeyondTheLimitIsFinal(t *testing.T) {
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "123456") }
	_, err := send(t, answer, `{"url":"$URL","max_response":5}`)
	failure := &domain.Failure{}
	if !errors.As(err, &failure) || failure.Kind != domain.KindPermanent || failure.Code != "RESPONSE_TOO_LARGE" {
		t.Errorf("got %v", err)
	}
	if response, err := send(t, answer, `{"url":"$URL","max_response":6}`); err != nil || string(response.Body) != `"123456"` {
		t.Errorf("exactly the limit: %s, %v", response.Body, err)
	}
}

func TestLimitIsForWhatComesOfDecompression(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.WriteString(w, strings.Repeat("a", 1000))
	_ = w.Close()
	answer := func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		}
	}
	if response, err := send(t, answer, `{"url":"$URL","max_response":1000}`); err != nil || len(response.Body) != 1002 || response.Headers["Content-Encoding"] != "" {
		t.Errorf("exactly the limit: %.50s, %v, %v", response.Body, response.Headers, err)
	}
	if _, err := send(t, answer, `{"url":"$URL","max_response":999}`); err == nil || !strings.Contains(err.Error(), "more than 999 bytes") {
		t.Errorf("a byte more: %v", err)
	}
	own := `{"url":"$URL","max_response":999,"headers":{"Accept-Encoding":"gzip"}}`
	if response, err := send(t, answer, own); err != nil || response.Headers["Content-Encoding"] != "gzip" {
		t.Errorf("asked for by the definition: %v, %v", response.Headers, err)
	}
}

func TestErrorQuotesTheBeginningOfTheAnswer(t *testing.T) {
	_, err := send(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "no such order"+strings.Repeat(".", 100_000))
	}, `{"method":"DELETE","url":"$URL/orders/7?token=secret"}`)
	text := fmt.Sprint(err)
	if !strings.HasPrefix(text, "DELETE http://127.0.0.1:") || !strings.Contains(text, "/orders/7 answered 404 Not Found: no such order...") ||
		len(text) > 1000 || strings.Contains(text, "secret") {
		t.Errorf("got %.2000s", text)
	}
}

func TestTenRedirectsAreFollowedAndNotEleven(t *testing.T) {
	redirects := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if n--; n < 0 {
				_, _ = io.WriteString(w, r.Method)
				return
			}
			http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
		}
	}
	if response, err := send(t, redirects(10), `{"method":"POST","url":"$URL","body":{}}`); err != nil || string(response.Body) != `"POST"` {
		t.Errorf("ten: %s, %v", response.Body, err)
	}
	if _, err := send(t, redirects(11), `{"url":"$URL"}`); err == nil || !strings.Contains(err.Error(), "stopped after 10 redirects") {
		t.Errorf("eleven: %v", err)
	}
}

func TestMistakesOfTheConfigAreNamedBeforeItRuns(t *testing.T) {
	for config, want := range map[string]string{
		``:                                  "url: is missing",
		`{"url":"ftp://x/"}`:                "begins neither with http://",
		`{"url":"http:///x"}`:               "has no host",
		`{"url":"http://x:y"}`:              "invalid port",
		`{"url":"http://x/${env.A}"}`:       "write ${secret.NAME}",
		`{"url":"http://x","method":"G T"}`: `"G T" is not an HTTP method`,
		`{"url":"http://x","headers":{"a b":"c"}}`:                 `"a b" is not the name of a header`,
		`{"url":"http://x","headers":{"a":"b\nc"}}`:                "line breaks",
		`{"url":"http://x","headers":{"a":1}}`:                     "must be a string, not number",
		`{"url":"http://x","query":{"a":[1]}}`:                     "a query parameter must be",
		`{"url":"http://x","query":{"a":null}}`:                    "a query parameter must be",
		`{"url":"http://x","body":["${x}"]}`:                       "body: template",
		`{"url":"http://x","timeout":0}`:                           "timeout must be more than 0",
		`{"url":"http://x","max_response":-1}`:                     "max_response must be at least 1",
		`{"url":"http://x","retry_on":[99]}`:                       "got 99",
		`{"url":"http://x","retry_on":[500],"permanent_on":[500]}`: "both hold 500",
		`{"url":"http://x","headers_env":{}}`:                      `unknown keys "headers_env"`,
	} {
		if err := httphandler.Validate(json.RawMessage(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
	for _, fine := range []string{
		`{"url":"https://${context.host}:${context.port}/x/${results.a.b}?c=$${d}"}`,
		`{"url":"${context.url}","timeout":"1m","retry_on":[409],"permanent_on":[500],"body":null}`,
	} {
		if err := httphandler.Validate(json.RawMessage(fine)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}
