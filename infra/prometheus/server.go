// Package prometheus serves metrics to a Prometheus server, and the state of health to whoever starts and watches processes.
package prometheus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options of a Server.
type Options struct {
	// Addr is HOST:PORT; port 0 is any free one. Whoever reaches it reads names of definitions and steps, so it does not
	// belong on a public address.
	Addr string
	// From is what is served.
	From prometheus.Gatherer
	// Healthy says what is wrong; nil: nothing is ever wrong.
	Healthy func() error
	// Logger gets what goes wrong with a scrape; default slog.Default().
	Logger *slog.Logger
}

// Limits of a Server.
const (
	scrapesAtOnce = 4
	scrapeTime    = 10 * time.Second
)

// Server answers GET /metrics, /healthz/live (200 while the process answers), and /healthz/ready, also /healthz (200, or
// 503 with the reason).
type Server struct {
	http     http.Server
	listener net.Listener
	done     chan struct{}
}

// Serve begins to listen; an address that cannot be had is an error. Shutdown ends it.
func Serve(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("metrics cannot be served at %s: %w", o.Addr, err)
	}
	s := &Server{listener: listener, done: make(chan struct{})}
	s.http = http.Server{
		Handler: o.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: scrapeTime, WriteTimeout: 2 * scrapeTime,
		IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("metrics are not served any more", "error", err)
		}
	}()
	return s, nil
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Shutdown lets running scrapes end, as long as ctx does. A second call does nothing.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}

// Metrics answers scrapes, for a server of one's own.
func Metrics(from prometheus.Gatherer, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(from, promhttp.HandlerOpts{
		ErrorLog: scrapeErrors{logger}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapesAtOnce,
		Timeout: scrapeTime, EnableOpenMetrics: true,
	})
}

func (o Options) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", Metrics(o.From, o.Logger))
	mux.HandleFunc("GET /healthz/live", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if o.Healthy != nil {
			if err := o.Healthy(); err != nil {
				say(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		say(w, http.StatusOK, "ok")
	}
	mux.HandleFunc("GET /healthz/ready", ready)
	mux.HandleFunc("GET /healthz", ready)
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// scrapeErrors writes what promhttp complains of.
type scrapeErrors struct{ log *slog.Logger }

// Println is promhttp's.
func (s scrapeErrors) Println(v ...any) { s.log.Warn("a scrape went wrong", "error", fmt.Sprint(v...)) }
