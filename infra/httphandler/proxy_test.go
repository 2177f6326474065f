package httphandler_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// tunnel is a proxy that connects to a server whatever the client asks for.
func tunnel(t *testing.T, server string, asked *[]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
		if r.Method != http.MethodConnect {
			fine(w, r)
			return
		}
		to, err := net.Dial("tcp", server)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		go func() {
			_, _ = io.Copy(to, buffered)
			_ = to.Close()
		}()
		_, _ = io.Copy(client, to)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestProxyIsAskedForTheServer(t *testing.T) {
	s := secureServer(t, fine, nil)
	var asked []string
	proxy := tunnel(t, s.Listener.Addr().String(), &asked)
	address := strings.TrimPrefix(proxy.URL, "http://")
	ca := file(t, authority().pem)
	l := execute(t, httphandler.Options{}, domain.TaskView{}, fmt.Sprintf(
		`{"url":"http://shop.example/x","proxy":"http://me:${secret.PLAIN}@%s"}`, address))
	l2 := execute(t, httphandler.Options{}, domain.TaskView{}, fmt.Sprintf(
		`{"url":"https://shop.example/x","proxy":"http://%s","tls":{"ca_file":"%s"}}`, address, ca))
	if l.err != nil || l2.err != nil || len(asked) != 2 || !strings.HasPrefix(asked[0], "GET http://shop.example/x Basic ") ||
		asked[1] != "CONNECT shop.example:443 " {
		t.Errorf("%v, %v: the proxy was asked %q", l.err, l2.err, asked)
	}
	for _, leak := range leaks(l.text, plainToken) {
		t.Errorf("it is there %s", leak)
	}
}

func TestProxyOfTheEnvironmentCanBeLeftOut(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(fine))
	defer s.Close()
	if l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"url":"`+s.URL+`","proxy":"none"}`); l.err != nil {
		t.Error(l.err)
	}
}

func TestProxyThatHangsHoldsNobody(t *testing.T) {
	for name, c := range map[string]struct {
		serve       func(net.Conn)
		url, scheme string
	}{
		"does not answer CONNECT":        {untilGone, "https://shop.example/", "http"},
		"drips its answer to CONNECT":    {drips("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), "https://shop.example/", "http"},
		"does not answer a request":      {untilGone, "http://shop.example/", "http"},
		"does not speak TLS":             {untilGone, "http://shop.example/", "https"},
		"does not answer behind TLS":     {overTLS(authority().server("127.0.0.1"), func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "https://shop.example/", "https"},
		"does not speak SOCKS":           {untilGone, "http://shop.example/", "socks5"},
		"does not speak SOCKS about TLS": {untilGone, "https://shop.example/", "socks5h"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startRaw(t, c.serve, func() {})
			defer s.stop()
			n := &network{happened: func() {}}
			h := newHandler(t, httphandler.Options{Dial: n.dial})
			began := time.Now()
			_, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(
				fmt.Sprintf(`{"url":"%s","proxy":"%s://%s","timeout":"40ms","tls":{"insecure_skip_verify":true}}`, c.url, c.scheme, s.address)))
			expectation{retries, "TRANSPORT", "no complete answer within 40ms"}.check(t, err)
			if took := time.Since(began); took > time.Second {
				t.Errorf("took %s", took)
			}
			if open := n.stillOpen(); open > 0 {
				t.Errorf("%d connections are still open", open)
			}
		})
	}
}

func TestTransportOfTheProcessTakesNoSettings(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(fine))
	defer s.Close()
	transport := &http.Transport{}
	for config, want := range map[string]expectation{
		``:                               {outcome: succeeds},
		`,"tls":{}`:                      {outcome: succeeds},
		`,"proxy":"none"`:                {fails, "CONFIG", "tls and proxy cannot be set here"},
		`,"tls":{"server_name":"a.b"}`:   {fails, "CONFIG", "tls and proxy cannot be set here"},
		`,"tls":{"min_version":"1.3"}`:   {fails, "CONFIG", "tls and proxy cannot be set here"},
		`,"timeout":5,"redirects":0`:     {outcome: succeeds},
		`,"connect_timeout":1,"text":""`: {outcome: succeeds},
	} {
		l := execute(t, httphandler.Options{Transport: transport}, domain.TaskView{}, `{"url":"`+s.URL+`"`+config+`}`)
		want.check(t, l.err)
	}
}
