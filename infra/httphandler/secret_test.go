package httphandler_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// token has what every encoding writes in another way.
const token = `sk_live/a+b "Zürich" <&'\%41>=`

// plainToken can stand in a header, a host and a path as it is.
const plainToken = "sk-live-0123456789abcdef"

var secrets = map[string]string{
	"TOKEN": token, "PLAIN": plainToken, "BEARER": "Bearer " + plainToken, "SHORT": "1234567", "NUMBER": "123456789012",
	"HOOK":      "https://bot:" + plainToken + "@127.0.0.1:1/services/T0AAAAAAA/B0BBBBBBB?key=query-secret-1",
	"MULTILINE": "first line\nsecond line\n", "EDGES": "  " + plainToken + "\n", "JSON": `{"private":"` + plainToken + `"}`,
	"TOKEN2": "another-secret-of-this-step", "INVALID": "abc\xff\xfedefghij",
}

func secretOf(_ context.Context, name string) (string, error) {
	if value, ok := secrets[name]; ok {
		return value, nil
	}
	return "", fmt.Errorf("secret %q: %w", name, handlerconfig.ErrNoValue)
}

// left is every text that leaves a handler in an execution: the result, the error with all that it wraps, the step's log
// and the log of the process.
type left struct {
	result httphandler.Response
	err    error
	text   string
}

// execute runs a step. It is not for parallel tests: the log of the process is everybody's.
func execute(t *testing.T, o httphandler.Options, task domain.TaskView, config string) left {
	t.Helper()
	var logged bytes.Buffer
	log.SetOutput(&logged)
	defer log.SetOutput(io.Discard)
	o.Logger = func(context.Context) *slog.Logger { return slog.New(slog.NewTextHandler(&logged, nil)) }
	if o.Secret == nil {
		o.Secret = secretOf
	}
	h := httphandler.New(o)
	result, err := h.Handle(t.Context(), task, sequence{}, step(config))
	_ = h.Close()
	l := left{err: err}
	l.result, _ = result.(httphandler.Response)
	l.text = string(must(json.Marshal(result))) + fmt.Sprintf("\n%v %+v %#v\n", err, err, result)
	for _, inner := range chain(err) {
		l.text += fmt.Sprintf("%v %+v %#v %q\n", inner, inner, inner, inner)
	}
	l.text += logged.String()
	return l
}

// chain is an error and everything that it wraps.
func chain(err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	switch e := err.(type) { //nolint:errorlint // it looks at each link
	case interface{ Unwrap() error }:
		all = append(all, chain(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, chain(inner)...)
		}
	}
	return all
}

// leaks are the forms of a secret that a text holds.
func leaks(text, secret string) []string {
	quoted := func(s string) string { b := string(must(json.Marshal(s))); return b[1 : len(b)-1] }
	goQuoted := fmt.Sprintf("%q", secret)
	ascii := fmt.Sprintf("%+q", secret)
	forms := map[string]string{
		"as it is": secret, "escaped for a query": url.QueryEscape(secret), "escaped for a path": url.PathEscape(secret),
		"in JSON": quoted(secret), "in JSON twice": quoted(quoted(secret)), "in Go": goQuoted[1 : len(goQuoted)-1],
		"in ASCII": ascii[1 : len(ascii)-1], "in HTML": html.EscapeString(secret),
		"in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "in base64 of a url": base64.URLEncoding.EncodeToString([]byte(secret)),
		"its beginning": secret[:min(len(secret), 8)],
	}
	var found []string
	for form, encoded := range forms {
		if strings.Contains(strings.ToLower(text), strings.ToLower(encoded)) {
			found = append(found, form+": "+encoded)
		}
	}
	return found
}

// echo answers with what a server got, in the way of the test.
type echo func(w http.ResponseWriter, r *http.Request, body string)

func text(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestSecretThatAServerEchoesDoesNotLeaveTheHandler(t *testing.T) {
	jsonOf := func(value any) string { return string(must(json.Marshal(value))) }
	for name, answer := range map[string]echo{
		"in the body of an error": func(w http.ResponseWriter, _ *http.Request, got string) { text(401, "bad token "+got)(w) },
		"as JSON in an error":     func(w http.ResponseWriter, _ *http.Request, got string) { text(500, jsonOf([]string{got}))(w) },
		"as JSON inside of JSON":  func(w http.ResponseWriter, _ *http.Request, got string) { text(500, jsonOf(jsonOf(got)))(w) },
		"as JSON with escaped slashes": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(400, strings.ReplaceAll(jsonOf(got), "/", `\/`))(w)
		},
		"as JSON in ASCII":    func(w http.ResponseWriter, _ *http.Request, got string) { text(400, fmt.Sprintf("%+q", got))(w) },
		"escaped for a query": func(w http.ResponseWriter, _ *http.Request, got string) { text(400, "token="+url.QueryEscape(got))(w) },
		"escaped for a query in lower": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(400, strings.ToLower(url.QueryEscape(got)))(w)
		},
		"escaped for a path": func(w http.ResponseWriter, _ *http.Request, got string) { text(404, "/"+url.PathEscape(got)+"/x")(w) },
		"in HTML": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(502, "<p>"+html.EscapeString(got)+"</p>")(w)
		},
		"in upper case": func(w http.ResponseWriter, _ *http.Request, got string) { text(403, strings.ToUpper(got))(w) },
		"in base64": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(403, base64.StdEncoding.EncodeToString([]byte(got)))(w)
		},
		"in base64 behind a name": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(403, base64.StdEncoding.EncodeToString([]byte("u:"+got)))(w)
		},
		"in base64 in the middle": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(403, base64.URLEncoding.EncodeToString([]byte("user:"+got+"!!")))(w)
		},
		"many times": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(400, strings.Repeat(got+got+" ", 50))(w)
		},
		"where the quote of the body ends": func(w http.ResponseWriter, _ *http.Request, got string) {
			text(400, strings.Repeat("x", 512-12)+got)(w)
		},
		"as a body that breaks off": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("Content-Length", "1000")
			text(400, got[:len(got)-3])(w)
		},
		"as the result":               func(w http.ResponseWriter, _ *http.Request, got string) { text(200, got)(w) },
		"as a result that breaks off": func(w http.ResponseWriter, _ *http.Request, got string) { text(200, "... "+got[:len(got)-3])(w) },
		"in a header of the result": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("X-Echo", url.QueryEscape(got))
			text(200, "")(w)
		},
		"in a header of an error": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("X-Echo", url.QueryEscape(got))
			text(500, "")(w)
		},
		"in the wish for a later retry": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("Retry-After", url.QueryEscape(got))
			text(429, "")(w)
		},
		"in an address that cannot be": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("Location", "://"+url.QueryEscape(got))
			text(302, "")(w)
		},
		"in the address of nobody": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("Location", "http://127.0.0.1:1/"+url.QueryEscape(got))
			text(302, "")(w)
		},
		"in the path of another address": func(w http.ResponseWriter, _ *http.Request, got string) {
			w.Header().Set("Location", "/x%zz"+url.QueryEscape(got))
			text(302, "")(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				answer(w, r, string(body))
			}))
			defer s.Close()
			l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"method":"POST","url":"`+s.URL+`","text":"${secret.TOKEN}"}`)
			for _, leak := range leaks(l.text, token) {
				t.Errorf("it is there %s:\n%s", leak, l.text)
			}
			if !strings.Contains(l.text, httphandler.Redacted) && l.result.Status != 0 {
				t.Errorf("nothing was redacted:\n%s", l.text)
			}
		})
	}
}

func TestSecretInAResultOfJSONLeavesItsPlaceOnly(t *testing.T) {
	for body, want := range map[string]string{
		`{"token":"` + plainToken + `","id":7,"big":99345678901234567890.10}`: `{"big":99345678901234567890.10,"id":7,"token":"[redacted]"}`,
		`{"a":["x","Bearer ` + plainToken + `!"]}`:                            `{"a":["x","Bearer [redacted]!"]}`,
		`{"` + plainToken + `":1}`:                                            `{"[redacted]":1}`,
		`[123456789012, 12, -123456789012.5]`:                                 `["[redacted]",12,"-[redacted].5"]`,
		`{"s":"\u0073k-live-0123456789abcdef"}`:                               `{"s":"[redacted]"}`,
		`{"q":"key=sk%2Dlive%2D0123456789abcdef"}`:                            `{"q":"key=[redacted]"}`,
		`{"other": "1.50",  "kept" : [1.50, true, null]}`:                     `{"other": "1.50",  "kept" : [1.50, true, null]}`,
		`[{"private":"` + plainToken + `"}]`:                                  `[{"private":"[redacted]"}]`,
		`["` + plainToken[:10] + `","` + plainToken[10:] + `"]`:               `["` + plainToken[:10] + `","` + plainToken[10:] + `"]`,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		}))
		l := execute(t, httphandler.Options{}, domain.TaskView{},
			`{"method":"POST","url":"`+s.URL+`","body":["${secret.PLAIN}","${secret.NUMBER}","${secret.JSON}"]}`)
		s.Close()
		if l.err != nil || string(l.result.Body) != want {
			t.Errorf("%s: %s, %v; want %s", body, l.result.Body, l.err, want)
		}
	}
}

// A secret that is JSON itself is found where it is no string.
func TestSecretThatIsJSONIsHiddenAsAWhole(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, r.Body)
	}))
	defer s.Close()
	l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"method":"POST","url":"`+s.URL+`","text":"[${secret.JSON}]"}`)
	if l.err != nil || string(l.result.Body) != `"[[redacted]]"` {
		t.Errorf("%s, %v", l.result.Body, l.err)
	}
}

func TestSecretDoesNotLeaveWithATransportThatFails(t *testing.T) {
	garbage := serveRaw(t, answers("HTTP/1.1 2x0 "+plainToken+"\r\n\r\n"))
	header := serveRaw(t, answers("HTTP/1.1 200 OK\r\nno header "+plainToken+"\r\n\r\n"))
	status := serveRaw(t, answers("HTTP/1.1 404 "+plainToken+"\r\nContent-Length: 0\r\n\r\n"))
	length := serveRaw(t, answers("HTTP/1.1 200 OK\r\nContent-Length: "+plainToken+"\r\n\r\n"))
	surplus := serveRaw(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"+plainToken))
	name := serveRaw(t, answers("HTTP/1.1 200 OK\r\n"+plainToken+": x\r\nContent-Length: 2\r\n\r\nok"))
	for what, config := range map[string]string{
		"a status line that is none":      `{"url":"http://` + garbage.address + `","headers":{"Authorization":"${secret.PLAIN}"}}`,
		"a header that is none":           `{"url":"http://` + header.address + `","headers":{"Authorization":"${secret.BEARER}"}}`,
		"the reason of a status":          `{"url":"http://` + status.address + `","headers":{"Authorization":"${secret.BEARER}"}}`,
		"a length that is none":           `{"url":"http://` + length.address + `","headers":{"Authorization":"x ${secret.PLAIN}"}}`,
		"bytes behind the answer":         `{"url":"http://` + surplus.address + `","headers":{"Authorization":"${secret.PLAIN}"}}`,
		"the name of a header":            `{"url":"http://` + name.address + `","headers":{"Authorization":"${secret.PLAIN}"}}`,
		"a path where nobody is":          `{"url":"http://127.0.0.1:1/${secret.PLAIN}/x"}`,
		"a query where nobody is":         `{"url":"http://127.0.0.1:1/","query":{"key":"${secret.PLAIN}"}}`,
		"a user where nobody is":          `{"url":"http://user:${secret.PLAIN}@127.0.0.1:1/"}`,
		"a url where nobody is":           `{"url":"${secret.HOOK}"}`,
		"a host that has no address":      `{"url":"http://${secret.PLAIN}.invalid/"}`,
		"a host that cannot be":           `{"url":"http://${secret.PLAIN} /"}`,
		"a url that is none":              `{"url":"${secret.PLAIN}"}`,
		"a proxy where nobody is":         `{"url":"http://a.example/","proxy":"http://user:${secret.PLAIN}@127.0.0.1:1"}`,
		"a proxy that is none":            `{"url":"http://a.example/","proxy":"${secret.PLAIN}"}`,
		"a value that is missing":         `{"url":"http://a.example/${secret.PLAIN}/${context.nothing}"}`,
		"a header that cannot be":         `{"url":"http://a.example/","headers":{"X":"${secret.MULTILINE}"}}`,
		"a secret that nobody knows":      `{"url":"http://a.example/${secret.PLAIN}","headers":{"X":"${secret.NOBODY}"}}`,
		"a file of TLS that is not there": `{"url":"https://a.example/${secret.PLAIN}","tls":{"ca_file":"/nobody"}}`,
	} {
		t.Run(what, func(t *testing.T) {
			l := execute(t, httphandler.Options{Dial: dialNamed}, domain.TaskView{Context: json.RawMessage(`{}`)}, config)
			for _, secret := range []string{plainToken, "query-secret-1", "T0AAAAAAA", "second line"} {
				for _, leak := range leaks(l.text, secret) {
					t.Errorf("it is there %s:\n%s", leak, l.text)
				}
			}
			if l.err == nil && l.result.Status != http.StatusOK {
				t.Errorf("no outcome:\n%s", l.text)
			}
		})
	}
}

// dialNamed refuses names as a resolver does, without asking one.
func dialNamed(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && net.ParseIP(host) == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func TestSecretIsSentAsItIs(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		got = []string{r.URL.Path, r.URL.Query().Get("a"), r.Header.Get("X-Key"), user, password, string(body)}
	}))
	defer s.Close()
	l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"method":"POST","url":"`+strings.Replace(s.URL, "://", "://me:${secret.TOKEN}@", 1)+
		`/${secret.TOKEN}","query":{"a":"${secret.TOKEN}"},"headers":{"X-Key":"k ${secret.BEARER}"},"body":{"t":"${secret.TOKEN}"}}`)
	want := []string{"/" + token, token, "k Bearer " + plainToken, "me", token, `{"t":` + string(must(handlerconfig.Scope{Secret: secretOf}.Expand(t.Context(), "${secret.TOKEN}"))) + `}`}
	if l.err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q, %v\nwant %q", got, l.err, want)
	}
}

func TestSecretThatCannotBeHiddenIsNotSent(t *testing.T) {
	for name, message := range map[string]string{
		"SHORT": "UTF-8 of at least 8 bytes, and this one has 7", "INVALID": "UTF-8 of at least 8 bytes", "NOBODY": `secret "NOBODY"`,
	} {
		l := execute(t, httphandler.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%s was sent", name)
			return nil, errors.New("no")
		}}, domain.TaskView{}, `{"url":"http://a.example/","headers":{"X":"${secret.`+name+`}"}}`)
		if l.err == nil || !strings.Contains(l.err.Error(), message) {
			t.Errorf("%s: %v; want %q", name, l.err, message)
		}
	}
}

// The variable of the environment is the way of every process that says nothing else.
func TestSecretsComeFromTheEnvironmentByTheirPrefix(t *testing.T) {
	t.Setenv("TASKER_SECRET_API_KEY", plainToken)
	t.Setenv("API_KEY", "of somebody else")
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("X-Key") }))
	defer s.Close()
	h := newHandler(t, httphandler.Options{})
	if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(`{"url":"`+s.URL+`","headers":{"X-Key":"${secret.API_KEY}"}}`)); err != nil || got != plainToken {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(`{"url":"`+s.URL+`","headers":{"X-Key":"${secret.PATH}"}}`))
	expectation{fails, "SECRET", "headers.X-Key: ${secret.PATH}: no such value: set TASKER_SECRET_PATH in the environment of the engine"}.check(t, err)
}

func TestErrorKeepsItsMeaningWithoutItsSecret(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", secrets["NUMBER"])
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"url":"`+s.URL+`","headers":{"A":"${secret.NUMBER}"}}`)
	failure := &domain.Failure{}
	if strings.Contains(l.text, secrets["NUMBER"]) || !errors.As(l.err, &failure) || failure.Code != "HTTP_503" || failure.RetryAfter.Seconds() != 300 || !strings.Contains(l.text, "Retry-After was clipped") {
		t.Errorf("got %v, %+v\n%s", l.err, failure, l.text)
	}
	l = execute(t, httphandler.Options{}, domain.TaskView{Context: json.RawMessage(`{}`)}, `{"url":"`+s.URL+`/${secret.PLAIN}/${context.no}"}`)
	if !errors.Is(l.err, handlerconfig.ErrNoValue) {
		t.Errorf("got %v", l.err)
	}
}
