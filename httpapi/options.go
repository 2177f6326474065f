package httpapi

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// Options of New. The zero value serves everything to everybody who asks on a loopback name.
type Options struct {
	// Auth says who calls. Default nil: nobody is asked, and everybody may do everything. Then only requests for loopback
	// names are answered (Hosts), so that a web page cannot reach the API by a name of its own (DNS rebinding); that nobody
	// else can reach the listener is up to whoever opens it.
	Auth Authenticator
	// Hosts are further names in the Host header that are answered without Auth, without port. Default none: localhost and
	// loopback addresses.
	Hosts []string
	// CORS are the origins whose pages may use the API, such as "https://ops.example.com". Default none: a page of another
	// origin can neither read nor change anything. "*" is refused.
	CORS []string
	// UI is the built web UI: index.html, and assets/ with names that change with their content. Default nil: none.
	UI fs.FS

	// ReadDefinition reads a definition that is not JSON, such as infra/yamldef does. Default nil: YAML is refused.
	ReadDefinition func(text []byte) (*tasker.Definition, error)
	// Metrics serves GET /api/v1/metrics. Default nil: there are none.
	Metrics http.Handler
	// Healthy says why this process does not do its part; nil when it does. Default: what the service says, if it has such a
	// method, as *tasker.Engine does.
	Healthy func() error
	// Done ends streams of events and waits when it is closed: close it before the server is shut down, which waits for
	// them. Default nil: never.
	Done <-chan struct{}

	// Timeout of a request, from its first byte to its last. Default 30 s.
	Timeout time.Duration
	// MaxWait is the longest timeout that GET /tasks/{id}/wait takes. Default 5 min.
	MaxWait time.Duration
	// BodyTimeout is how long the body of a request may take to arrive. Default 15 s.
	BodyTimeout time.Duration
	// WriteTimeout is how long a client may take to read an answer, or a batch of events. Default 15 s.
	WriteTimeout time.Duration
	// MaxBody is the largest body of a request, in bytes, where no context or result is part of it. Default 1 MiB.
	MaxBody int64
	// MaxPayloadBody is the largest body with a context or a result in it. Default 17 MiB: domain.MaxPayload and what is
	// around it.
	MaxPayloadBody int64
	// MaxQuery is the largest query of a request, in bytes. Default 8 KiB.
	MaxQuery int
	// MaxStreams is how many streams of events are served at once. Default 256.
	MaxStreams int
	// StreamBuffer is how many events wait for a slow reader of a stream before it is cut off. Default 4096, and at most
	// 8 MiB of them.
	StreamBuffer int
	// Heartbeat is how often a stream without events says that it is alive. Default 15 s.
	Heartbeat time.Duration

	// Clock is the wall clock. Default time.Now.
	Clock func() time.Time
	// Logger takes what operators need to know. Default slog.Default().
	Logger *slog.Logger
}

const maxStreamBytes = 8 << 20

func (o *Options) defaults() error {
	setDuration(&o.Timeout, 30*time.Second)
	setDuration(&o.MaxWait, 5*time.Minute)
	setDuration(&o.BodyTimeout, 15*time.Second)
	setDuration(&o.WriteTimeout, 15*time.Second)
	setDuration(&o.Heartbeat, 15*time.Second)
	setNumber(&o.MaxBody, 1<<20)
	setNumber(&o.MaxPayloadBody, domain.MaxPayload+1<<20)
	setNumber(&o.MaxQuery, 8<<10)
	setNumber(&o.MaxStreams, 256)
	setNumber(&o.StreamBuffer, 4096)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, origin := range o.CORS {
		if err := checkOrigin(origin); err != nil {
			return err
		}
	}
	return nil
}

func setDuration(d *time.Duration, to time.Duration) {
	if *d <= 0 {
		*d = to
	}
}

func setNumber[N int | int64](n *N, to N) {
	if *n <= 0 {
		*n = to
	}
}

// checkOrigin refuses what a browser would never send as an origin, and what would let everybody in.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case origin == "*" || origin == "null":
		return fmt.Errorf("httpapi: Options.CORS: %q would let every page in: name the origins, such as https://ops.example.com", origin)
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", origin != u.Scheme+"://"+u.Host:
		return fmt.Errorf("httpapi: Options.CORS: %q is no origin: want scheme and host, such as https://ops.example.com or http://localhost:5173", origin)
	}
	return nil
}

// healthy is where the health comes from.
func (o *Options) healthy(service Service) func() error {
	if o.Healthy != nil {
		return o.Healthy
	}
	if self, ok := service.(interface{ Healthy() error }); ok {
		return self.Healthy
	}
	return func() error { return nil }
}

// until ends with ctx, and with Done.
func (o *Options) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if o.Done == nil {
		return ctx, func() { cancel(nil) }
	}
	stopped := make(chan struct{})
	go func() {
		select {
		case <-o.Done:
			cancel(errStopping)
		case <-stopped:
		}
	}()
	return ctx, func() { close(stopped); cancel(nil) }
}
