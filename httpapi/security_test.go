package httpapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// A page of another origin can change nothing, and with the defaults read nothing.
func TestAPageOfAnotherOriginCanChangeNothing(t *testing.T) {
	engine := start(t)
	w := serve(t, engine, Options{CORS: []string{"https://ops.example.com"}})
	closed := serve(t, engine, Options{})
	const body = `{"name":"echo"}`
	for what, c := range map[string]struct {
		w       *world
		method  string
		body    any
		headers []string
		status  int
	}{
		"no browser":                       {w, "POST", body, nil, 201},
		"the UI":                           {w, "POST", body, []string{"Origin: " + w.server.URL, "Sec-Fetch-Site: same-origin"}, 201},
		"an old browser, same origin":      {w, "POST", body, []string{"Origin: " + w.server.URL}, 201},
		"an allowed origin":                {w, "POST", body, []string{"Origin: https://ops.example.com", "Sec-Fetch-Site: cross-site"}, 201},
		"another origin":                   {w, "POST", body, []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		"another origin, old browser":      {w, "POST", body, []string{"Origin: https://evil.example"}, 403},
		"another port of this host":        {w, "POST", body, []string{"Origin: http://127.0.0.1:1", "Sec-Fetch-Site: same-site"}, 403},
		"no origin at all":                 {w, "POST", body, []string{"Origin: null"}, 403},
		"the allowed one, but not allowed": {closed, "POST", body, []string{"Origin: https://ops.example.com", "Sec-Fetch-Site: cross-site"}, 403},
		"http instead of https":            {w, "POST", body, []string{"Origin: http://ops.example.com", "Sec-Fetch-Site: cross-site"}, 403},
		"a form":                           {w, "POST", "name=echo", []string{"Content-Type: text/plain"}, 415},
		"a form without a body":            {w, "POST", nil, []string{"Content-Type: "}, 415},
		"a picture that reads":             {w, "GET", nil, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		"typed into the address":           {w, "GET", nil, []string{"Sec-Fetch-Site: none"}, 200},
		"allowed to read":                  {w, "GET", nil, []string{"Sec-Fetch-Site: cross-site", "Origin: https://ops.example.com"}, 200},
	} {
		path := tasksPath
		if c.method == "GET" {
			path = "/api/v1/me"
		}
		r := c.w.do(c.method, path, c.body, c.headers...)
		if r.Status != c.status {
			t.Errorf("%s: %d %s, want %d", what, r.Status, r.Text, c.status)
		}
		if c.status == 403 && r.problem(t).Code != CodeCrossOrigin {
			t.Errorf("%s: %s", what, r.Text)
		}
		allowed := what == "an allowed origin" || what == "allowed to read"
		if got := r.Header.Get("Access-Control-Allow-Origin"); (got != "") != allowed {
			t.Errorf("%s: Access-Control-Allow-Origin %q", what, got)
		}
	}
	ask := func(w *world, origin string) reply {
		return w.do("OPTIONS", tasksPath, nil, "Origin: "+origin, "Access-Control-Request-Method: POST", "Sec-Fetch-Site: cross-site", "Content-Type: ")
	}
	if r := ask(w, "https://ops.example.com"); r.Status != 204 || r.Header.Get("Access-Control-Allow-Origin") != "https://ops.example.com" ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(r.Header.Get("Vary"), "Origin") ||
		r.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%d %v", r.Status, r.Header)
	}
	for _, r := range []reply{ask(w, "https://evil.example"), ask(closed, "https://ops.example.com")} {
		if r.Status != 403 || r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", r.Status, r.Header)
		}
	}
	for _, origin := range []string{"*", "null", "ops.example.com", "https://ops.example.com/", "https://ops.example.com/x", "ftp://x", "https://"} {
		if _, err := New(engine, Options{CORS: []string{origin}}); err == nil || !strings.Contains(err.Error(), "such as https://ops.example.com") {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

// Without authentication only loopback names are answered: the name of a page that points here is not one.
func TestANameThatPointsHereIsNotEnough(t *testing.T) {
	engine := start(t)
	open, known, locked := serve(t, engine, Options{}), serve(t, engine, Options{Hosts: []string{"tasker.local"}}), serve(t, engine, Options{Auth: everybody})
	for host, want := range map[string]int{
		"localhost:8080": 200, "LOCALHOST": 200, "localhost.": 200, "127.0.0.1": 200, "127.9.9.9:1": 200, "[::1]:80": 200, "[::1]": 200,
		"evil.example": 421, "evil.example:8080": 421, "127.0.0.1.evil.example": 421, "10.0.0.1": 421, "tasker.local": 421, "localhost.evil.example": 421, "0.0.0.0": 421,
	} {
		for _, path := range []string{"/api/v1/me", "/livez"} {
			if r := open.do("GET", path, nil, "Host: "+host); r.Status != want {
				t.Errorf("%s: %d, want %d", host, r.Status, want)
			}
		}
	}
	if r := known.do("GET", "/api/v1/me", nil, "Host: Tasker.local:80"); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	if r := locked.as("all").do("GET", "/api/v1/me", nil, "Host: tasker.example.com"); r.Status != 200 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	if p := open.do("GET", "/api/v1/me", nil, "Host: evil.example").problem(t); p.Code != CodeHost {
		t.Errorf("%+v", p)
	}
}

func TestWhoActsWithoutAuthentication(t *testing.T) {
	w := serve(t, start(t), Options{})
	for name, want := range map[string]string{"": "http", "ann": "ann"} {
		me := read[Me](t, w.do("GET", "/api/v1/me", nil, headerActor+": "+name), 200)
		if me.Name != want || me.Auth != AuthOff || len(me.Scopes) != 4 {
			t.Errorf("%q: %+v", name, me)
		}
	}
	for _, name := range []string{strings.Repeat("x", 257), "a\xffb"} {
		if p := w.do("GET", "/api/v1/me", nil, headerActor+": "+name).problem(t); p.Code != CodeInvalid {
			t.Errorf("%q: %+v", name, p)
		}
	}
}

var pages = fstest.MapFS{
	"index.html":         {Data: []byte("<!doctype html>" + strings.Repeat(" ", 2000))},
	"assets/app-1a2b.js": {Data: []byte(strings.Repeat("let x = 1\n", 500))},
	"favicon.svg":        {Data: []byte("<svg/>")},
}

func TestTheUIIsServedWithItsHeaders(t *testing.T) {
	engine := start(t)
	w := serve(t, engine, Options{UI: pages})
	for path, c := range map[string]struct {
		status       int
		kind, cached string
	}{
		"/":                     {200, "text/html", "no-cache"},
		"/tasks/some-id":        {200, "text/html", "no-cache"},
		"/index.html":           {200, "text/html", "no-cache"},
		"/assets/app-1a2b.js":   {200, "text/javascript", "immutable"},
		"/favicon.svg":          {200, "image/svg+xml", "no-cache"},
		"/assets/gone-3c4d.js":  {404, "application/problem+json", "no-store"},
		"/..%2f..%2fetc/passwd": {200, "text/html", "no-cache"}, // a view, and no file
	} {
		r := w.do("GET", path, nil)
		if r.Status != c.status || !strings.HasPrefix(r.Header.Get("Content-Type"), c.kind) || !strings.Contains(r.Header.Get("Cache-Control"), c.cached) {
			t.Errorf("%s: %d %v", path, r.Status, r.Header)
		}
		policy := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'self';") || !strings.Contains(policy, "frame-ancestors 'none'") || r.Header.Get("X-Content-Type-Options") != "nosniff" ||
			r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, r.Header)
		}
		if tag := r.Header.Get("ETag"); c.status == 200 {
			if again := w.do("GET", path, nil, `If-None-Match: "x", W/`+tag); again.Status != 304 || again.Text != "" {
				t.Errorf("%s: %d", path, again.Status)
			}
		}
	}
	if r := w.do("POST", "/", `{}`); r.Status != 405 || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%d %v", r.Status, r.Header)
	}
	if r := serve(t, engine, Options{}).do("GET", "/", nil); r.Status != 404 || !strings.Contains(r.Text, "no web UI") {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	if _, err := New(engine, Options{UI: fstest.MapFS{"x": {}}}); err == nil {
		t.Error("a UI without index.html")
	}
}

func TestAnswersAreCompressed(t *testing.T) {
	w := serve(t, start(t), Options{UI: pages})
	_, task := w.submit("hangs", "", map[string]string{"text": strings.Repeat("x", 2000)})
	w.until(task, domain.InProgress)
	for _, path := range []string{"/", "/assets/app-1a2b.js", "/openapi.json", task} {
		r := w.do("GET", path, nil, "Accept-Encoding: gzip")
		unpacked, err := gzip.NewReader(strings.NewReader(r.Text))
		if err != nil || r.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(r.Header.Get("Vary"), "Accept-Encoding") {
			t.Errorf("%s: %v %v", path, r.Header, err)
			continue
		}
		text, err := io.ReadAll(unpacked)
		plain := w.do("GET", path, nil, "Accept-Encoding: identity")
		if err != nil || string(text) != plain.Text || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTheDescriptionIsServed(t *testing.T) {
	r := serve(t, start(t), Options{Auth: everybody}).do("GET", "/openapi.json", nil)
	if r.Status != 200 || r.Text != string(description) || r.Header.Get("Content-Type") != "application/openapi+json" {
		t.Errorf("%d %v", r.Status, r.Header)
	}
}

func TestHealthNeedsNoToken(t *testing.T) {
	engine := start(t)
	w := serve(t, engine, Options{Auth: everybody})
	sick := serve(t, engine, Options{Auth: everybody, Healthy: func() error { return errors.New("the disk is full") }})
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		if r := w.do("GET", path, nil); r.Status != 200 || r.Text != "ok\n" {
			t.Errorf("%s: %d %s", path, r.Status, r.Text)
		}
		want := 503
		if path == "/livez" {
			want = 200
		}
		if r := sick.do("GET", path, nil); r.Status != want || want == 503 && !strings.Contains(r.Text, "disk") {
			t.Errorf("%s: %d %s", path, r.Status, r.Text)
		}
	}
	idle, err := tasker.New(t.Context(), tasker.Config{Store: engine.store, Name: "idle", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if r := serve(t, idle, Options{}).do("GET", "/readyz", nil); r.Status != 503 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
	if r := w.do("POST", "/livez", `{}`); r.Status != 405 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
}

// broken is a service that fails in ways that nobody has thought of.
type broken struct{ *running }

func (broken) Definitions(context.Context) ([]*tasker.Definition, error) { panic("secret 1") }

func (broken) Status(context.Context) (*tasker.Status, error) { return nil, errors.New("secret 2") }

// What is the server's own fault is logged under an id, and not told.
func TestInternalErrorsKeepTheirTexts(t *testing.T) {
	var log bytes.Buffer
	w := serve(t, broken{start(t)}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for path, secret := range map[string]string{"/api/v1/definitions": "secret 1", "/api/v1/status": "secret 2"} {
		p := w.do("GET", path, nil).problem(t)
		if p.Status != 500 || p.Code != CodeInternal || p.ID == "" || strings.Contains(p.Detail+p.Hint, "secret") {
			t.Errorf("%+v", p)
		}
		if !strings.Contains(log.String(), p.ID) || !strings.Contains(log.String(), secret) {
			t.Errorf("the log does not say it: %s", &log)
		}
	}
}

// A body that does not arrive, or that is cut off, costs neither the server nor the other requests anything.
func TestABodyThatComesTooSlowly(t *testing.T) {
	w := serve(t, start(t), Options{BodyTimeout: 30 * time.Millisecond, MaxPayloadBody: 1000})
	send := func(text string, more bool) (status int, closes bool) {
		t.Helper()
		conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "POST "+tasksPath+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+text)
		if !more {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Close
	}
	for text, want := range map[string]int{
		"Content-Length: 100\r\n\r\n{\"name\":":                                          408,
		"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"nam\r\n":                              408,
		"Content-Length: 9999999999\r\n\r\n":                                             413,
		"Transfer-Encoding: chunked\r\n\r\n800\r\n" + strings.Repeat(" ", 2048) + "\r\n": 413,
	} {
		if status, closes := send(text, true); status != want || !closes {
			t.Errorf("%.40q: %d %v", text, status, closes)
		}
	}
	if status, _ := send("Content-Length: 100\r\n\r\n{\"name\":", false); status != 400 {
		t.Errorf("%d", status)
	}
	w.submit("echo", "", nil)
}

// The deadline of a body is over when the body is there: what is done with it may take longer.
func TestARequestMayTakeLongerThanItsBody(t *testing.T) {
	w := serve(t, slowly{start(t)}, Options{BodyTimeout: 20 * time.Millisecond})
	r := w.do("POST", tasksPath, map[string]any{"name": "echo"})
	if r.Status != 201 {
		t.Errorf("%d %s", r.Status, r.Text)
	}
}

type slowly struct{ *running }

func (s slowly) SubmitRequest(ctx context.Context, x tasker.Submission) (tasker.Receipt, error) {
	select {
	case <-ctx.Done():
		return tasker.Receipt{}, ctx.Err()
	case <-time.After(100 * time.Millisecond):
	}
	return s.running.SubmitRequest(ctx, x)
}

func TestARequestEndsInTime(t *testing.T) {
	w := serve(t, slowly{start(t)}, Options{Timeout: 10 * time.Millisecond})
	if p := w.do("POST", tasksPath, map[string]any{"name": "echo"}).problem(t); p.Status != 504 || p.Code != CodeTimeout {
		t.Errorf("%+v", p)
	}
}

func TestPathsThatAreNoOperation(t *testing.T) {
	w := serve(t, start(t), Options{UI: pages})
	for _, path := range []string{"/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/me", "/api/v1/me/", "/api/v1//me", "/api/v1/./me", "/api/v1/x/../me", "/api/v1/m%00e", "/api/v1/%ff"} {
		if p := w.do("GET", path, nil).problem(t); p.Status != 404 || p.Code != CodeNotFound {
			t.Errorf("%s: %+v", path, p)
		}
	}
	if r := w.do("DELETE", "/api/v1/tasks/"+nobody, nil); r.Status != 405 || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%d %v", r.Status, r.Header)
	}
	if p := w.do("GET", "/"+strings.Repeat("x", 5000), nil).problem(t); p.Status != 414 {
		t.Errorf("%+v", p)
	}
}

// Read-your-writes over HTTP, against an index of its own file.
func TestAListContainsWhatAReceiptSays(t *testing.T) {
	w := serve(t, start(t, func(c *tasker.Config) { c.Index = filepath.Join(t.TempDir(), "index.db") }), Options{})
	for i := range 20 {
		receipt, _ := w.submit("echo", "", map[string]any{"i": i})
		page := read[index.TaskPage](t, w.do("GET", tasksPath+"?limit=1&wait=10s&position="+receipt.Position.String(), nil), 200)
		if len(page.Tasks) != 1 || page.Tasks[0].ID != receipt.ID {
			t.Fatalf("%d: %+v", i, page)
		}
	}
	if c := read[index.Counts](t, w.do("GET", tasksPath+"/count?name=echo", nil), 200); c.Total != 20 {
		t.Errorf("%+v", c)
	}
	ahead := tasker.Position{Partition: 0, Sequence: 1 << 40}
	if p := w.do("GET", tasksPath+"?wait=0s&position="+ahead.String(), nil).problem(t); p.Code != CodeBehind || p.Explanation == nil ||
		p.Explanation.Reason != domain.ReasonIndexBehind {
		t.Errorf("%+v", p)
	}
}
