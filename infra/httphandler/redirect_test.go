package httphandler_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// seen is what a server got of one request.
type seen struct {
	method, body string
	header       http.Header
}

// recorder is a server that notes requests and answers as told.
func recorder(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) (*httptest.Server, func() []seen) {
	t.Helper()
	var all []seen
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		all = append(all, seen{r.Method, string(body), r.Header.Clone()})
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s, func() []seen { return all }
}

func found(to func() string, status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to())
		w.WriteHeader(status)
	}
}

func fine(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }

const privateConfig = `"query":{"key":"${secret.PLAIN}"},"headers":{"Authorization":"Basic x","Cookie":"a=b","X-Key":"k ${secret.TOKEN2}",` +
	`"X-Open":"open","Accept":"text/plain"}`

var privateHeaders = []string{"Authorization", "Cookie", "Idempotency-Key", "Referer", "X-Key"}

func TestRedirectToAnotherHostGetsNothingPrivate(t *testing.T) {
	for name, status := range map[string]int{"moved": 302, "the same request": 307} {
		t.Run(name, func(t *testing.T) {
			var second, third *httptest.Server
			first, atFirst := recorder(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/back" {
					found(func() string { return third.URL }, status)(w, r)
					return
				}
				found(func() string { return second.URL + "/there" }, status)(w, r)
			})
			var atSecond, atThird func() []seen
			second, atSecond = recorder(t, found(func() string { return first.URL + "/back" }, status))
			third, atThird = recorder(t, fine)
			l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"method":"POST","url":"`+first.URL+`","body":{"a":1},`+privateConfig+`}`)
			if l.err != nil || string(l.result.Body) != `"fine"` {
				t.Fatalf("%s, %v", l.result.Body, l.err)
			}
			for _, header := range privateHeaders {
				if got := atFirst()[0].header.Get(header); got == "" && header != "Referer" {
					t.Errorf("the host of the definition did not get %s", header)
				}
			}
			for where, got := range map[string]seen{"another host": atSecond()[0], "the first host again": atFirst()[1], "a third host": atThird()[0]} {
				for _, header := range privateHeaders {
					if value := got.header.Get(header); value != "" {
						t.Errorf("%s got %s: %s", where, header, value)
					}
				}
				if got.header.Get("X-Open") != "open" || got.header.Get("Traceparent") == "" {
					t.Errorf("%s did not get what is open: %v", where, got.header)
				}
				if text := fmt.Sprint(got); strings.Contains(text, plainToken) {
					t.Errorf("%s got the query: %s", where, text)
				}
			}
			if got := atSecond()[0]; status == 307 && (got.method != "POST" || got.body != `{"a":1}`) || status == 302 && (got.method != "GET" || got.body != "") {
				t.Errorf("another host got %s %q", got.method, got.body)
			}
		})
	}
}

func TestRedirectOnTheSameHostGetsEverything(t *testing.T) {
	s, all := recorder(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/there" {
			found(func() string { return "/there?x=1" }, 308)(w, r)
			return
		}
		fine(w, r)
	})
	l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"method":"PUT","url":"`+s.URL+`","text":"${secret.TOKEN}",`+privateConfig+`}`)
	if l.err != nil || len(all()) != 2 {
		t.Fatalf("%v, %d requests", l.err, len(all()))
	}
	got := all()[1]
	for _, header := range privateHeaders {
		if got.header.Get(header) == "" {
			t.Errorf("%s is missing", header)
		}
	}
	if got.method != "PUT" || got.body != token {
		t.Errorf("got %s %q", got.method, got.body)
	}
}

func TestRedirectThatWouldGiveASecretAwayIsRefused(t *testing.T) {
	other, atOther := recorder(t, fine)
	for name, c := range map[string]struct{ config, location, message string }{
		"in the body":                {`"method":"POST","text":"${secret.TOKEN}"`, "/x", "and the body holds a secret"},
		"in the address":             {`"headers":{"A":"${secret.PLAIN}"}`, "/?key=" + plainToken, "and the address holds a secret"},
		"in the address, escaped":    {`"headers":{"A":"${secret.PLAIN}"}`, "/?key=%73k-live-0123456789abcde%66", "and the address holds a secret"},
		"in the address, in a field": {`"query":{"a":"${secret.PLAIN}"}`, "/" + plainToken, "and the address holds a secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := recorder(t, found(func() string { return other.URL + c.location }, 307))
			l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"url":"`+s.URL+`",`+c.config+`}`)
			expectation{fails, "REDIRECT", c.message}.check(t, l.err)
			if strings.Contains(l.text, plainToken) {
				t.Errorf("the secret is there: %s", l.text)
			}
		})
	}
	if n := len(atOther()); n > 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

func TestRedirectsCanBeCountedAndTurnedOff(t *testing.T) {
	n := 0
	s, all := recorder(t, func(w http.ResponseWriter, r *http.Request) {
		if n--; n < 0 {
			fine(w, r)
			return
		}
		found(func() string { return "/next" }, 302)(w, r)
	})
	for _, c := range []struct {
		redirects, limit, requests int
		want                       expectation
	}{
		{0, 0, 1, expectation{outcome: succeeds}},
		{1, 0, 1, expectation{retries, "HTTP_302", "answered 302 Found (redirects are not followed)"}},
		{3, 3, 4, expectation{outcome: succeeds}},
		{4, 3, 4, expectation{retries, "TRANSPORT", "stopped after 3 redirects"}},
	} {
		n = c.redirects
		before := len(all())
		l := execute(t, httphandler.Options{}, domain.TaskView{}, fmt.Sprintf(`{"url":"%s","redirects":%d}`, s.URL, c.limit))
		c.want.check(t, l.err)
		if got := len(all()) - before; got != c.requests {
			t.Errorf("%+v: %d requests", c, got)
		}
	}
}

func TestClientCertificateStaysWithItsHost(t *testing.T) {
	names := func(got *[]string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, cert := range r.TLS.PeerCertificates {
				*got = append(*got, cert.Subject.CommonName)
			}
			fine(w, r)
		}
	}
	var atFirst, atSecond []string
	second := secureServer(t, names(&atSecond), requestClient)
	first := secureServer(t, func(w http.ResponseWriter, r *http.Request) {
		names(&atFirst)(httptest.NewRecorder(), r)
		http.Redirect(w, r, second.URL, http.StatusFound)
	}, requestClient)
	me := authority().identity("me")
	l := execute(t, httphandler.Options{}, domain.TaskView{}, fmt.Sprintf(`{"url":"%s","tls":{"ca_file":"%s","cert_file":"%s","key_file":"%s"}}`,
		first.URL, file(t, authority().pem), file(t, me.certPEM), file(t, me.keyPEM)))
	if l.err != nil || !slices.Equal(atFirst, []string{"leaf"}) || len(atSecond) > 0 {
		t.Errorf("%v: the first host saw %v, the second %v", l.err, atFirst, atSecond)
	}
}
