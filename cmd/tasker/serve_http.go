package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/net/netutil"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/httpapi"
	"github.com/tasker-go/tasker/httpapi/auth"
	prom "github.com/tasker-go/tasker/infra/prometheus"
	"github.com/tasker-go/tasker/infra/yamldef"
	"github.com/tasker-go/tasker/web"
)

// Limits of the HTTP listener. What a request may take is the handler's to say.
const (
	httpConnections = 1024
	httpHeaderTime  = 10 * time.Second
	httpIdleTime    = 2 * time.Minute
	httpHeaderBytes = 64 << 10
	httpStopTime    = 5 * time.Second // for requests that run, at the end
)

// The ways to find out who calls.
const (
	authOff   = "off"
	authToken = "token"
	authOIDC  = "oidc"
)

// httpFlags say where the HTTP API and the web UI are, and who may use them.
type httpFlags struct {
	address   string
	cors      []string
	auth      []string // after check: what is used
	cert, key string
	oidc      auth.OIDCOptions
}

func (f *httpFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.address, "http", "", "HOST:PORT for the HTTP API and the web UI; port 0 is any free one (default: none)")
	flags.StringSliceVar(&f.auth, "http-auth", nil, "who may use them: token, oidc, both with a comma, or off, which is for loopback only (default: oidc if there is an issuer, else off on loopback and token elsewhere)")
	flags.StringSliceVar(&f.cors, "http-cors", nil, "origin whose pages may use the API, such as https://ops.example.com")
	flags.StringVar(&f.cert, "http-cert", "", "certificate (PEM) for HTTPS; a new one is taken within a minute")
	flags.StringVar(&f.key, "http-key", "", "its private key (PEM)")
	flags.StringVar(&f.oidc.Issuer, "http-oidc-issuer", "", "URL of the OpenID Connect provider whose JWTs are taken")
	flags.StringVar(&f.oidc.Audience, "http-oidc-audience", "", "audience (claim aud) that they must be for")
	flags.StringVar(&f.oidc.ScopeClaim, "http-oidc-scope-claim", "scope", "their claim with the scopes")
	flags.StringVar(&f.oidc.ScopePrefix, "http-oidc-scope-prefix", auth.DefaultScopePrefix, "what begins the values of it that are meant, as in tasker:read; - is nothing")
	flags.StringVar(&f.oidc.NamespaceClaim, "http-oidc-namespace-claim", "", "their claim with the namespaces; * in it is all (default: all for everybody)")
	flags.StringVar(&f.oidc.NameClaim, "http-oidc-name-claim", "sub", "their claim with the name that is stored with what somebody does")
}

// check refuses flags that contradict each other, and what would let strangers in.
func (f *httpFlags) check(cmd *cobra.Command) error {
	if f.address == "" {
		for _, name := range []string{"auth", "cors", "cert", "key", "oidc-issuer", "oidc-audience", "oidc-scope-claim", "oidc-scope-prefix", "oidc-namespace-claim", "oidc-name-claim"} {
			if cmd.Flags().Changed("http-" + name) {
				return usageError("--http-%s is for the HTTP API: say with --http HOST:PORT where it is", name)
			}
		}
		return nil
	}
	if _, port, err := net.SplitHostPort(f.address); err != nil || !isPort(port) {
		return usageError("--http is %q: want HOST:PORT", f.address)
	}
	if (f.cert == "") != (f.key == "") {
		return usageError("--http-cert and --http-key belong together")
	}
	if err := f.checkAuth(); err != nil {
		return err
	}
	if f.cert != "" {
		if _, err := tls.LoadX509KeyPair(f.cert, f.key); err != nil {
			return badInput(fmt.Errorf("--http-cert, --http-key: %w", err), "")
		}
	}
	return nil
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

func (f *httpFlags) checkAuth() error {
	if len(f.auth) == 0 {
		switch {
		case f.oidc.Issuer != "":
			f.auth = []string{authOIDC}
		case isLoopback(f.address):
			f.auth = []string{authOff}
		default:
			f.auth = []string{authToken}
		}
	}
	for _, way := range f.auth {
		if way != authOff && way != authToken && way != authOIDC {
			return usageError("--http-auth is %q: it is token, oidc, both with a comma, or off", way)
		}
	}
	off, byOIDC := slices.Contains(f.auth, authOff), slices.Contains(f.auth, authOIDC)
	switch {
	case off && len(f.auth) > 1:
		return usageError("--http-auth off goes with nothing else")
	case off && !isLoopback(f.address):
		return badInput(fmt.Errorf("--http %s with --http-auth off would let everybody who reaches it run and cancel tasks", f.address),
			"leave --http-auth out and make a token: tasker token create NAME --scope admin; or listen on 127.0.0.1")
	case byOIDC && (f.oidc.Issuer == "" || f.oidc.Audience == ""):
		return usageError("OpenID Connect needs --http-oidc-issuer and --http-oidc-audience")
	case !byOIDC && f.oidc.Issuer != "":
		return usageError("--http-oidc-issuer is for --http-auth oidc")
	}
	if byOIDC {
		if _, err := auth.NewOIDC(f.oidc); err != nil {
			return badInput(err, "")
		}
	}
	return nil
}

// webServer serves the HTTP API and the UI.
type webServer struct {
	flags    httpFlags
	server   http.Server
	listener net.Listener
	logger   *slog.Logger
	ending   chan struct{} // closed at the stop: ends streams of events
	done     chan struct{}
	stopped  bool
	who      string // may use it, for people
}

// start begins to listen and to answer; nil when nobody asked for it. Before the engine runs, health says so.
func (f *httpFlags) start(ctx context.Context, engine *tasker.Engine, metrics prometheus.Gatherer, logger *slog.Logger) (*webServer, error) {
	if f.address == "" {
		return nil, nil
	}
	w := &webServer{flags: *f, logger: logger, ending: make(chan struct{}), done: make(chan struct{})}
	door, err := w.door(ctx, engine)
	if err != nil {
		return nil, err
	}
	handler, err := httpapi.New(engine, httpapi.Options{
		Auth: door, CORS: f.cors, UI: web.Files(), ReadDefinition: readDefinition, Metrics: prom.Metrics(metrics, logger),
		Done: w.ending, Logger: logger,
	})
	if err != nil {
		return nil, badInput(err, "")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.address)
	if err != nil {
		return nil, badInput(fmt.Errorf("the HTTP API cannot be served at %s: %w", f.address, err), "another --http, or port 0 for any free one")
	}
	w.listener = listener
	w.server = http.Server{
		Handler: handler, ReadHeaderTimeout: httpHeaderTime, IdleTimeout: httpIdleTime, MaxHeaderBytes: httpHeaderBytes,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	go w.serve()
	return w, nil
}

func (w *webServer) serve() {
	defer close(w.done)
	limited := netutil.LimitListener(w.listener, httpConnections)
	var err error
	if w.flags.cert == "" {
		err = w.server.Serve(limited)
	} else {
		files := &certificate{cert: w.flags.cert, key: w.flags.key, logger: w.logger}
		w.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}
		err = w.server.ServeTLS(limited, "", "")
	}
	if !errors.Is(err, http.ErrServerClosed) {
		w.logger.Error("the HTTP API is not served any more", "error", err)
	}
}

// door is who is asked about callers; nil: nobody.
func (w *webServer) door(ctx context.Context, engine *tasker.Engine) (httpapi.Authenticator, error) {
	if w.flags.auth[0] == authOff {
		w.who = "auth off: loopback only"
		return nil, nil
	}
	var tokens *auth.Tokens
	var providers *auth.OIDC
	var who []string
	if slices.Contains(w.flags.auth, authToken) {
		tokens = auth.NewTokens(engine, auth.TokensOptions{Logger: w.logger})
		n, err := tokens.Warm(ctx)
		if err != nil {
			w.logger.Warn("not all tokens can be read", "error", err)
		}
		if n == 0 && err == nil {
			who = append(who, "no token yet: tasker token create NAME --scope admin")
		} else {
			who = append(who, plural(n, "token", "tokens"))
		}
	}
	if slices.Contains(w.flags.auth, authOIDC) {
		o := w.flags.oidc
		o.Logger = w.logger
		var err error
		if providers, err = auth.NewOIDC(o); err != nil {
			return nil, badInput(err, "")
		}
		if err := providers.Discover(ctx); err != nil {
			w.logger.Warn("nobody can log in by OpenID Connect until the provider answers", "error", err)
		}
		who = append(who, "OIDC "+o.Issuer)
	}
	w.who = strings.Join(who, "; ")
	switch {
	case tokens == nil:
		return providers, nil
	case providers == nil:
		return tokens, nil
	}
	return &auth.Either{Tokens: tokens, OIDC: providers}, nil
}

// url is where a browser on this machine finds it.
func (w *webServer) url() string {
	scheme := "http"
	if w.flags.cert != "" {
		scheme = "https"
	}
	address := w.listener.Addr().(*net.TCPAddr)
	host := address.IP.String()
	if address.IP.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(address.Port))
}

// say writes where it is, and who may use it.
func (w *webServer) say(a *app) {
	if w == nil {
		return
	}
	a.printf("http         %s  (%s)\n", w.url(), w.who)
	if w.flags.cert == "" && w.flags.auth[0] != authOff && !isLoopback(w.flags.address) {
		w.logger.Warn("tokens cross the network readable: use --http-cert and --http-key, or a proxy that speaks HTTPS", "http", w.url())
	}
}

// stop takes no more requests, ends streams of events, and lets what runs end. A second call, and one on nil, do nothing.
func (w *webServer) stop() {
	if w == nil || w.stopped {
		return
	}
	w.stopped = true
	close(w.ending)
	ctx, cancel := context.WithTimeout(context.Background(), httpStopTime)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		w.logger.Warn("requests were cut off at the stop of the HTTP API", "error", err)
		_ = w.server.Close()
	}
	<-w.done
}

// readDefinition reads YAML that came over HTTP.
func readDefinition(text []byte) (*tasker.Definition, error) { return yamldef.Load("definition", text) }
