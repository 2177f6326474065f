package httphandler_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// secureServer speaks TLS with a certificate of the tests' authority for 127.0.0.1 and shop.example.
func secureServer(t *testing.T, serve http.HandlerFunc, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(serve)
	s.Config.ErrorLog = quiet
	s.TLS = authority().server("127.0.0.1", "shop.example")
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func requestClient(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }

func requireClient(c *tls.Config) {
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authority().pool()
}

func TestOptionsOfTLS(t *testing.T) {
	ca, strange := file(t, authority().pem), file(t, newAuthority("strange").pem)
	me := authority().identity("me")
	cert, key := file(t, me.certPEM), file(t, me.keyPEM)
	otherKey := file(t, authority().identity("other").keyPEM)
	empty, big := file(t, nil), file(t, make([]byte, 2<<20))
	gone := filepath.Join(t.TempDir(), "gone.pem")
	trusted := expectation{retries, "TRANSPORT", "certificate"}
	files := func(message string) expectation { return expectation{retries, "TLS_FILE", message} }
	ok := expectation{outcome: succeeds}
	for name, c := range map[string]struct {
		tls    string
		server func(*tls.Config)
		want   expectation
	}{
		"authorities of the system":              {`{}`, nil, trusted},
		"an authority of its own":                {`{"ca_file":"` + ca + `"}`, nil, ok},
		"another authority":                      {`{"ca_file":"` + strange + `"}`, nil, trusted},
		"no verification":                        {`{"insecure_skip_verify":true}`, nil, ok},
		"verification, said so":                  {`{"insecure_skip_verify":false}`, nil, trusted},
		"another name of the certificate":        {`{"ca_file":"` + ca + `","server_name":"shop.example"}`, nil, ok},
		"a name that the certificate has not":    {`{"ca_file":"` + ca + `","server_name":"bank.example"}`, nil, trusted},
		"an old server, by default":              {`{"ca_file":"` + ca + `"}`, version(tls.VersionTLS11), expectation{retries, "TRANSPORT", "protocol version"}},
		"an old server that is let in":           {`{"ca_file":"` + ca + `","min_version":"1.0"}`, version(tls.VersionTLS11), ok},
		"version 1.3 of a new server":            {`{"ca_file":"` + ca + `","min_version":1.3}`, nil, ok},
		"version 1.3 of an old server":           {`{"ca_file":"` + ca + `","min_version":"1.3"}`, version(tls.VersionTLS12), expectation{retries, "TRANSPORT", "protocol version"}},
		"no client certificate":                  {`{"ca_file":"` + ca + `"}`, requireClient, expectation{retries, "TRANSPORT", "certificate required"}},
		"a client certificate":                   {`{"ca_file":"` + ca + `","cert_file":"` + cert + `","key_file":"` + key + `"}`, requireClient, ok},
		"a key of another certificate":           {`{"cert_file":"` + cert + `","key_file":"` + otherKey + `"}`, nil, files("private key does not match")},
		"a file that is not there":               {`{"ca_file":"` + gone + `"}`, nil, files("no such file")},
		"a file that is empty":                   {`{"ca_file":"` + empty + `"}`, nil, files("is empty")},
		"a file that is too large":               {`{"ca_file":"` + big + `"}`, nil, files("is not a file of at most 1048576 bytes")},
		"a folder":                               {`{"ca_file":"` + t.TempDir() + `"}`, nil, files("is not a file of at most")},
		"a device that never ends":               {`{"ca_file":"/dev/zero"}`, nil, files("is not a file of at most")},
		"a key in the place of the certificates": {`{"ca_file":"` + key + `"}`, nil, files("ca_file holds no PEM certificate")},
	} {
		t.Run(name, func(t *testing.T) {
			s := secureServer(t, fine, c.server)
			l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"url":"`+s.URL+`","tls":`+c.tls+`}`)
			c.want.check(t, l.err)
			if strings.Contains(l.text, "BEGIN") {
				t.Errorf("a file is quoted: %s", l.text)
			}
		})
	}
}

func version(most uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, most }
}

// Certificates are renewed while a process runs.
func TestFilesOfTLSAreReadForEveryRequest(t *testing.T) {
	s := secureServer(t, fine, nil)
	ca := file(t, newAuthority("old").pem)
	h := newHandler(t, httphandler.Options{})
	config := `{"url":"` + s.URL + `","tls":{"ca_file":"` + ca + `"}}`
	if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(config)); err == nil {
		t.Error("the old authority is trusted")
	}
	if err := os.WriteFile(ca, authority().pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(config)); err != nil {
		t.Errorf("the new authority is not: %v", err)
	}
}

// Of a connection that several exchanges share, nobody could say who reads how much.
func TestHTTP2IsNotSpoken(t *testing.T) {
	var spoken string
	s := secureServer(t, func(_ http.ResponseWriter, r *http.Request) { spoken = r.Proto }, func(c *tls.Config) {
		c.NextProtos = []string{"h2", "http/1.1"}
	})
	l := execute(t, httphandler.Options{}, domain.TaskView{}, `{"url":"`+s.URL+`","tls":{"insecure_skip_verify":true}}`)
	if l.err != nil || spoken != "HTTP/1.1" {
		t.Errorf("%v, spoke %s", l.err, spoken)
	}
}

func TestConnectionsAreSharedByStepsWithTheSameSettingsOnly(t *testing.T) {
	var clients []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { clients = append(clients, r.RemoteAddr) }))
	defer s.Close()
	h := newHandler(t, httphandler.Options{})
	for i, same := range []bool{false, true, true} {
		if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(`{"url":"`+s.URL+`"}`)); err != nil {
			t.Fatal(err)
		}
		if same != (i > 0 && clients[i] == clients[i-1]) {
			t.Errorf("request %d came from %v", i, clients)
		}
	}
	for i := range 40 { // more than there are pools
		config := fmt.Sprintf(`{"url":"%s","tls":{"server_name":"n%d"}}`, s.URL, i)
		if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(config)); err != nil {
			t.Fatal(err)
		}
		if n := len(clients); clients[n-1] == clients[n-2] {
			t.Errorf("settings %d use the connection of others", i)
		}
	}
}
