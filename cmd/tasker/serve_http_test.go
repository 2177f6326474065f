package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// served is a `tasker serve` in this process.
type served struct {
	t     *testing.T
	url   string
	data  string
	out   *told
	stop  context.CancelFunc
	ended chan error
	over  bool
}

func serveHTTP(t *testing.T, data string, args ...string) *served {
	t.Helper()
	s := &served{t: t, data: data, out: &told{lines: make(chan string, 1000)}, ended: make(chan error, 1)}
	a := &app{in: strings.NewReader(""), out: s.out, err: &told{lines: make(chan string, 1000)}}
	root := newRootCommand(a)
	root.SetArgs(append([]string{"serve", "--data", data, "--drain", "0s"}, args...))
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	go func() { s.ended <- root.ExecuteContext(ctx) }()
	t.Cleanup(s.end)
	s.url = strings.Fields(s.out.wait(t, "http "))[1]
	s.out.wait(t, "ready")
	return s
}

// end stops it; a second call does nothing.
func (s *served) end() {
	s.t.Helper()
	if s.over {
		return
	}
	s.over = true
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Error(err)
		}
	case <-time.After(time.Minute):
		s.t.Error("it does not stop")
	}
}

// ask returns the status and the body of an answer.
func ask(t *testing.T, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// command runs a command line and returns what it prints.
func command(t *testing.T, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	if code := execute(args, strings.NewReader(""), &out, &problems); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, problems.String())
	}
	return strings.TrimSpace(out.String())
}

func TestServeAnswersOverHTTPAndStopsInOrder(t *testing.T) {
	s := serveHTTP(t, filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0")
	for path, want := range map[string]string{
		"/api/v1/me": `"off"`, "/readyz": "ok", "/api/v1/metrics": "tasker_", "/": "<html", "/openapi.json": `"openapi"`,
	} {
		if code, text := ask(t, s.url+path, ""); code != http.StatusOK || !strings.Contains(strings.ToLower(text), want) {
			t.Errorf("GET %s: %d %.300s", path, code, text)
		}
	}
	// A stream of events ends with the server, and does not hold it up.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	if stream.StatusCode != http.StatusOK {
		t.Fatal(stream.Status)
	}
	s.end()
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	if c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), time.Second); err == nil {
		_ = c.Close()
		t.Error("something still listens")
	}
}

func TestServeOnOtherAddressesAsksForATokenAndHearsOfItsEnd(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := command(t, "token", "create", "first", "--scope", "admin", "--data", data)
	s := serveHTTP(t, data, "--http", "0.0.0.0:0")
	if !strings.HasPrefix(s.url, "http://localhost:") {
		t.Errorf("it is at %s", s.url)
	}
	me := s.url + "/api/v1/me"
	if code, text := ask(t, me, ""); code != http.StatusUnauthorized || !strings.Contains(text, "the request has no token") {
		t.Errorf("without a token: %d %s", code, text)
	}
	if code, text := ask(t, me, first); code != http.StatusOK || !strings.Contains(text, `"first"`) {
		t.Errorf("with the first one: %d %s", code, text)
	}
	if code, text := ask(t, me, first[:len(first)-4]+"aaaa"); code != http.StatusUnauthorized {
		t.Errorf("with a wrong one: %d %s", code, text)
	}
	second := command(t, "token", "create", "second", "--scope", "submit", "--data", data)
	if code, text := ask(t, me, second); code != http.StatusOK && code != http.StatusForbidden {
		t.Errorf("with one made while it runs: %d %s", code, text)
	}
	if code, text := ask(t, s.url+"/api/v1/definitions", second); code != http.StatusForbidden || !strings.Contains(text, "read") {
		t.Errorf("without the scope: %d %s", code, text)
	}
	command(t, "token", "revoke", "first", "--data", data)
	late := time.After(20 * time.Second)
	for code := 0; code != http.StatusUnauthorized; {
		select {
		case <-late:
			t.Fatalf("a revoked token goes on: %d", code)
		default:
			code, _ = ask(t, me, first)
		}
	}
	for _, path := range []string{"/healthz", "/"} {
		if code, _ := ask(t, s.url+path, ""); code != http.StatusOK {
			t.Errorf("GET %s without a token: %d", path, code)
		}
	}
}

func TestServeSaysWhatItsHTTPListenerIs(t *testing.T) {
	for want, args := range map[string][]string{
		"(auth off: loopback only)":                              {"--http", "localhost:0"},
		"(no token yet: tasker token create NAME --scope admin)": {"--http", "127.0.0.1:0", "--http-auth", "token"},
		"(no token yet: tasker token create NAME --scope admin; OIDC http://127.0.0.1:1)": {"--http", "127.0.0.1:0", "--http-auth", "token,oidc",
			"--http-oidc-issuer", "http://127.0.0.1:1", "--http-oidc-audience", "tasker"},
	} {
		data := filepath.Join(t.TempDir(), "data")
		out := &told{lines: make(chan string, 1000)}
		root := newRootCommand(&app{in: strings.NewReader(""), out: out, err: io.Discard})
		root.SetArgs(append([]string{"serve", "--data", data, "--index", "off"}, args...))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- root.ExecuteContext(ctx) }()
		if line := out.wait(t, "http "); !strings.HasSuffix(line, "  "+want) {
			t.Errorf("it says %s", line)
		}
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestAPortThatIsTakenIsNamedAndLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	data := filepath.Join(t.TempDir(), "data")
	var out bytes.Buffer
	code := execute([]string{"serve", "--data", data, "--http", taken.Addr().String()}, strings.NewReader(""), &out, &out)
	if code != exitUsage || !strings.Contains(out.String(), "the HTTP API cannot be served at "+taken.Addr().String()) ||
		!strings.Contains(out.String(), "address already in use\nhint: another --http, or port 0 for any free one\n") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	command(t, "token", "list", "--data", data) // the directory is free
}

// certify writes a certificate for localhost and its key.
func certify(t *testing.T, dir string, serial int64) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, key, pool
}

func TestServeSpeaksHTTPS(t *testing.T) {
	cert, key, pool := certify(t, t.TempDir(), 1)
	s := serveHTTP(t, filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0", "--http-cert", cert, "--http-key", key, "--index", "off")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	client := &http.Client{Transport: transport}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 || !strings.HasPrefix(s.url, "https://") {
		t.Errorf("%s %s %s", s.url, response.Proto, response.Status)
	}
}

func TestARenewedCertificateIsTakenAndABrokenOneIsNot(t *testing.T) {
	dir := t.TempDir()
	cert, key, _ := certify(t, dir, 1)
	c := &certificate{cert: cert, key: key, logger: slog.New(slog.DiscardHandler)}
	serial := func() int64 {
		t.Helper()
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Fatalf("certificate %d", n)
	}
	later := func(minutes int) {
		t.Helper()
		at := time.Now().Add(time.Duration(minutes) * time.Minute)
		if err := os.Chtimes(cert, at, at); err != nil {
			t.Fatal(err)
		}
		c.looked = time.Now().Add(-certificateAge)
	}
	certify(t, dir, 2)
	later(1)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d after the renewal", n)
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	later(2)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d after a broken renewal", n)
	}
}
