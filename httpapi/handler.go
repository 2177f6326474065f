package httpapi

import (
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/klauspost/compress/gzhttp"
)

//go:generate go run ./internal/apidoc -root ..

// description is what GET /openapi.json answers; go generate writes it.
//
//go:embed openapi.json
var description []byte

// base is the path of the operations.
const base = "/api/v1"

// server is what New makes.
type server struct {
	Options
	service Service
	guard   *guard
	mux     *http.ServeMux // the operations
	api     huma.API
	plain   http.Handler // what is neither an operation nor the UI
	ui      http.Handler
	packed  http.Handler // operations, compressed
	owners  *owners
	streams *streams
	large   chan struct{} // large bodies that are in memory
	healthy func() error
}

// maxLarge is how many bodies larger than Options.MaxBody are handled at once.
const maxLarge = 16

// New makes the handler that serves the API, its description and the UI. It needs no closing: what it starts ends with the
// requests that it was started for. Mount it at the root of a server, with a ReadHeaderTimeout; the handler sets all other
// deadlines itself. Errors: an origin in Options.CORS that is none, a UI without index.html.
func New(service Service, o Options) (http.Handler, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	return newServer(service, o)
}

func newServer(service Service, o Options) (*server, error) {
	assets, err := newUI(o.UI)
	if err != nil {
		return nil, err
	}
	compress, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.MinSize(1024), gzhttp.ContentTypeFilter(compressible))
	if err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	s := &server{
		Options: o, service: service, guard: newGuard(&o), mux: http.NewServeMux(), ui: compress(assets),
		owners: newOwners(service), large: make(chan struct{}, maxLarge), healthy: o.healthy(service),
	}
	s.streams = newStreams(s)
	s.api = humago.New(s.mux, apiConfig())
	s.api.UseMiddleware(s.enter)
	s.register()
	s.packed = compress(s.mux)
	s.plain = compress(s.health())
	return s, nil
}

// compressible: text that is written once; a stream of events is not, nor is a picture.
func compressible(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.TrimSpace(kind) {
	case "application/json", "application/problem+json", "application/openapi+json", "text/html", "text/css", "text/javascript",
		"application/javascript", "image/svg+xml", "text/plain":
		return true
	}
	return false
}

// maxPath is the longest path of a request, in bytes.
const maxPath = 4 << 10

// ServeHTTP lets no panic out, and no request in that the guard refuses.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := &tracked{ResponseWriter: w}
	defer s.recovered(t, r)
	release := s.deadlines(t, r, s.Timeout+s.WriteTimeout)
	defer release()
	secure(t.Header())
	if p := s.guard.check(r); p != nil {
		p.write(t, r)
		return
	}
	if s.guard.cors(t, r) {
		return
	}
	if len(r.URL.RawQuery) > s.MaxQuery || len(r.URL.Path) > maxPath {
		newProblem(http.StatusRequestURITooLong, CodeTooLarge,
			fmt.Sprintf("the path may have %d bytes, the query %d", maxPath, s.MaxQuery), "ask for less at once").write(t, r)
		return
	}
	switch p := r.URL.Path; {
	case isAPI(p):
		t.Header().Set("Cache-Control", "no-store")
		s.serveAPI(t, r)
	case p == "/healthz", p == "/livez", p == "/readyz", p == "/openapi.json":
		s.plain.ServeHTTP(t, r)
	default:
		s.ui.ServeHTTP(t, r)
	}
}

// serveAPI finds the operation, or says what is there instead.
func (s *server) serveAPI(w http.ResponseWriter, r *http.Request) {
	clean := path.Clean(r.URL.EscapedPath()) == r.URL.EscapedPath() // the mux would send others elsewhere
	if !clean || !utf8.ValidString(r.URL.Path) || strings.ContainsRune(r.URL.Path, 0) {
		notFound(r, "there is no such operation", "see /openapi.json").write(w, r)
		return
	}
	_, pattern := s.mux.Handler(r)
	switch {
	case pattern == "":
		s.missing(r).write(w, r)
	case strings.HasSuffix(pattern, " "+base+"/events"):
		s.mux.ServeHTTP(w, r)
	default:
		s.packed.ServeHTTP(w, r)
	}
}

// missing is about a path or a method that is no operation's.
func (s *server) missing(r *http.Request) *Problem {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := s.mux.Handler(&other); pattern != "" {
			allow = append(allow, method)
		}
	}
	if slices.Contains(allow, http.MethodGet) {
		allow = slices.Insert(allow, 1, http.MethodHead)
	}
	if len(allow) == 0 {
		return notFound(r, "there is no such operation", "see /openapi.json")
	}
	return methodNotAllowed(r, strings.Join(allow, ", "))
}

// deadlines bound how long the connection may be written to. What the server itself sets comes back when the request is
// over: the connection may go on with other requests, which are not ours.
func (s *server) deadlines(t *tracked, r *http.Request, within time.Duration) func() {
	control := http.NewResponseController(t.ResponseWriter)
	if err := control.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return func() {} // a recorder, or a protocol without connections of its own
	}
	return func() {
		if t.written > 2<<10 {
			_ = control.Flush() // while the deadline holds
		}
		var next time.Time
		if outer, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && outer.WriteTimeout > 0 {
			next = time.Now().Add(outer.WriteTimeout)
		}
		_ = control.SetWriteDeadline(next)
	}
}

// recovered answers for a panic, if nothing has been answered yet.
func (s *server) recovered(t *tracked, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	if r.Context().Err() != nil || t.failed { // the client has gone in the middle
		s.Logger.Debug("an answer was not taken", "path", r.URL.Path, "error", v)
		panic(http.ErrAbortHandler)
	}
	p := s.internal(r.Context(), "a request made the server panic", fmt.Sprintf("%v\n%s", v, debug.Stack()))
	if t.status != 0 {
		panic(http.ErrAbortHandler) // so that the client does not take a part for the whole
	}
	p.write(t, r)
}

// tracked knows what has been answered.
type tracked struct {
	http.ResponseWriter
	status  int
	written int64
	failed  bool
}

func (t *tracked) WriteHeader(status int) {
	if t.status == 0 && status >= http.StatusOK {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	n, err := t.ResponseWriter.Write(b)
	t.written += int64(n)
	t.failed = t.failed || err != nil
	return n, err
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// health answers who asks whether the process lives, and what the API is.
func (s *server) health() http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = fmt.Fprintln(w, text)
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if err := s.healthy(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		if engine, ok := s.service.(interface{ Ready() <-chan struct{} }); ok {
			select {
			case <-engine.Ready():
			default:
				say(w, http.StatusServiceUnavailable, "the engine owns no partition yet")
				return
			}
		}
		say(w, http.StatusOK, "ok")
	}
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.healthy(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		say(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(description)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { methodNotAllowed(r, "GET, HEAD").write(w, r) })
	return mux
}
