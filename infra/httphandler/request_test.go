package httphandler_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// sent is what a server gets for this configuration.
func sent(t *testing.T, task domain.TaskView, step domain.StepView) (http.Header, string, string, error) {
	t.Helper()
	var header http.Header
	var query, body string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		header, query, body = r.Header.Clone(), r.URL.RawQuery, string(text)
	}))
	defer s.Close()
	step.Config = []byte(strings.ReplaceAll(string(step.Config), "$URL", s.URL))
	_, err := newHandler(t, httphandler.Options{}).Handle(t.Context(), task, sequence{}, step)
	return header, query, body, err
}

func TestBodyCanBeAFormOrPlainText(t *testing.T) {
	task := domain.TaskView{Context: json.RawMessage(`{"id":7,"name":"a & b","none":null}`)}
	for config, want := range map[string]struct{ contentType, body string }{
		`"form":{"n":"${context.name}","i":"${context.id}","b":true,"x":"${context.none}","d":"${context.no:-é}"}`: {
			"application/x-www-form-urlencoded", "b=true&d=%C3%A9&i=7&n=a+%26+b"},
		`"form":{}`:                       {"application/x-www-form-urlencoded", ""},
		`"text":"id ${context.id}\n"`:     {"text/plain; charset=utf-8", "id 7\n"},
		`"text":"${context}"`:             {"text/plain; charset=utf-8", `{"id":7,"name":"a & b","none":null}`},
		`"text":"${context.none}"`:        {"", ""},
		`"text":""`:                       {"text/plain; charset=utf-8", ""},
		`"body":"${context.id}"`:          {"application/json", "7"},
		`"body":"${context.none}"`:        {"application/json", "null"},
		`"body":["${context.no:-[1,2]}"]`: {"application/json", "[[1,2]]"},
		`"body":null,"form":null`:         {"", ""},
		`"text":"<a/>","headers":{"Content-Type":"application/xml"}`: {"application/xml", "<a/>"},
	} {
		header, _, body, err := sent(t, task, step(`{"method":"POST","url":"$URL",`+config+`}`))
		if err != nil || header.Get("Content-Type") != want.contentType || body != want.body {
			t.Errorf("%s: %v, %q, %q; want %+v", config, err, header.Get("Content-Type"), body, want)
		}
	}
}

func TestDefaultsStandInForMissingValues(t *testing.T) {
	header, query, body, err := sent(t, domain.TaskView{Context: json.RawMessage(`{"none":null}`)}, step(`{"method":"POST",
		"url":"$URL/${context.no:-a b}?x=${context.no:-c d}","query":{"q":"${context.no:-1.50}","left_out":"${context.no:-null}"},
		"headers":{"X-A":"${context.none:-text}","X-B":"${context.no:-null}"},"body":{"express":"${context.express:-false}"}}`))
	_, out := header["X-B"]
	if err != nil || query != "x=c+d&q=1.50" || body != `{"express":false}` || header.Get("X-A") != "text" || out {
		t.Errorf("%v: %q, %q, %v", err, query, body, header)
	}
}

func TestEveryAttemptHasASpanInTheTraceOfItsTask(t *testing.T) {
	task := domain.TaskView{ID: domain.KeyedTaskID("shop", "order", "1")}
	traceOf := func(task domain.TaskView, name string, attempt int, config string) string {
		t.Helper()
		s := step(`{"url":"$URL"` + config + `}`)
		s.Name, s.Attempt = name, attempt
		header, _, _, err := sent(t, task, s)
		if err != nil {
			t.Fatal(err)
		}
		return header.Get("traceparent")
	}
	first := traceOf(task, "charge", 1, "")
	if !regexp.MustCompile(`^00-` + strings.ReplaceAll(task.ID.String(), "-", "") + `-[0-9a-f]{16}-01$`).MatchString(first) {
		t.Errorf("got %s", first)
	}
	if first != "00-b9f55edb72d85fe1a5c944377306a49c-0a728f73cb2ea1a3-01" { // of somebody's dashboards: it must not change
		t.Errorf("another version gave another span: %s", first)
	}
	if again := traceOf(task, "charge", 1, ""); again != first {
		t.Errorf("the same attempt has %s and %s", first, again)
	}
	spans := map[string]bool{first: true, traceOf(task, "charge", 2, ""): true, traceOf(task, "ship", 1, ""): true}
	if len(spans) != 3 {
		t.Errorf("attempts and steps share spans: %v", spans)
	}
	own := "00-11111111111111111111111111111111-2222222222222222-00"
	if got := traceOf(task, "charge", 1, `,"headers":{"traceparent":"`+own+`"}`); got != own {
		t.Errorf("the definition's own is %s", got)
	}
	for correlation, want := range map[string]string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00":         "00-0af7651916cd43dd8448eb211c80319c-" + first[36:52] + "-00",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03":         "00-0af7651916cd43dd8448eb211c80319c-" + first[36:52] + "-03",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new-one": "00-0af7651916cd43dd8448eb211c80319c-" + first[36:52] + "-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new-one": first,
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":         first,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":         first,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01":         first,
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01":         first,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331":            first,
		"00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01":          first,
		"order-17": first,
	} {
		task.CorrelationID = correlation
		if got := traceOf(task, "charge", 1, ""); got != want {
			t.Errorf("correlation %s: got %s, want %s", correlation, got, want)
		}
	}
}

func TestMistakesOfTheNewKeysAreNamedBeforeTheyRun(t *testing.T) {
	for config, want := range map[string]string{
		`"form":{"a":[1]}`:                                  "must be a string, a number or a boolean",
		`"form":{"a":"${x}"}`:                               "handler_config.form.a: template",
		`"text":7`:                                          "handler_config.text must be a string, not number",
		`"text":"${x}"`:                                     "handler_config.text: template",
		`"text":"a","form":{}`:                              "handler_config.text: the request has a body already: keep one of body, form and text",
		`"body":{},"form":{}`:                               "handler_config.form: the request has a body already",
		`"connect_timeout":0`:                               "handler_config.connect_timeout must be more than 0; leave it out for 30s",
		`"connect_timeout":"soon"`:                          `"soon" is not a duration`,
		`"timeout":"5s","connect_timeout":"6s"`:             "connect_timeout is 6s, but the whole exchange ends after the timeout of 5s",
		`"redirects":-1`:                                    "handler_config.redirects must be 0 to 50, got -1",
		`"redirects":51`:                                    "0 for none",
		`"redirects":false`:                                 "handler_config.redirects must be a whole number",
		`"headers":{"X-A":"1","x-a":"2"}`:                   "X-A and x-a are one header",
		`"headers":{"A":"${secret.a-b}"}`:                   "must be ${secret.NAME}",
		`"headers":{"A":"${context.a:-{}"}`:                 "a } must follow the default",
		`"tls":7`:                                           "handler_config.tls must be an object",
		`"tls":{"ca":"x"}`:                                  `handler_config.tls has unknown keys "ca"; known are ca_file, cert_file, key_file, server_name, min_version, insecure_skip_verify`,
		`"tls":{"min_version":"1.4"}`:                       `TLS has no version "1.4": write 1.0, 1.1, 1.2, 1.3`,
		`"tls":{"min_version":2}`:                           `no version "2"`,
		`"tls":{"cert_file":"a"}`:                           "handler_config.tls.key_file is missing",
		`"tls":{"key_file":"a"}`:                            "handler_config.tls.cert_file is missing",
		`"tls":{"insecure_skip_verify":1}`:                  "insecure_skip_verify must be true or false",
		`"tls":{"insecure_skip_verify":true,"ca_file":"x"}`: "keep one of them",
		`"tls":{"server_name":"https://a.example"}`:         "is not the name of a host",
		`"tls":{"server_name":"a:1"}`:                       "without scheme and port",
		`"tls":{"ca_file":"${context.ca}"}`:                 "handler_config.tls.ca_file cannot hold ${...}",
		`"proxy":"ftp://a"`:                                 `"ftp://a" is no proxy: write it like http://proxy.example:3128`,
		`"proxy":"proxy.example:3128"`:                      "is no proxy",
		`"proxy":"http://${nobody}"`:                        "handler_config.proxy: template",
		`"proxy":"http://a:${context.port:-x}"`:             "invalid port",
		`"url":"${context.base:-ftp://a}/x"`:                "begins neither with http:// nor with https://",
		`"url":"http://a:${context.port:-port}/"`:           "invalid port",
	} {
		if !strings.Contains(config, `"url"`) {
			config += `,"url":"http://x"`
		}
		if err := httphandler.Validate(json.RawMessage(`{` + config + `}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
	err := httphandler.Validate(json.RawMessage(`{"url":"x","redirects":99,"proxy":"x","tls":{"min_version":"9"},"text":"${"}`))
	if err == nil || strings.Count(err.Error(), "handler_config.") != 5 {
		t.Errorf("not every mistake is named: %v", err)
	}
	for _, fine := range []string{
		`{"url":"https://x","timeout":"5s","connect_timeout":"5s","redirects":0,"tls":null,"proxy":"none","text":""}`,
		`{"url":"${secret.URL}","timeout":"5s","form":{"a":1},"tls":{"min_version":1.3,"server_name":null},"proxy":"socks5://u:${secret.P}@p:1"}`,
		`{"url":"${context.base:-https://a.example}/x","proxy":"${context.proxy}","redirects":50,"headers":{"A":"Bearer ${secret.A_1}"}}`,
	} {
		if err := httphandler.Validate(json.RawMessage(fine)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}
