// Package httphandler sends an HTTP request as a step: handler "http" (SEMANTICS 9).
//
// handler_config, whose every key docs/definitions.md describes:
//
//	method, url, headers, query              the request; url is required
//	body, form, text                         one of them: JSON, fields, or plain text
//	timeout, connect_timeout, max_response   limits of the exchange
//	redirects                                how many to follow; 0 for none
//	retry_on, permanent_on                   status codes with another outcome than below
//	tls, proxy                               how connections are made
//
// The request is made of templates: ${context.key}, ${results.step.key}, with a default ${context.key:-default}, and
// ${secret.NAME}. In the url a value is escaped, so that it stays one segment of the path or one value of the query,
// except at its very beginning. A header, parameter or field whose value is null is left out.
//
// Every attempt of a round sends the same Idempotency-Key, and each its own traceparent in the trace of the task. The
// result is {"status", "headers", "body"}: the body parsed when its content type is JSON, null when empty, else a string.
//
//	200-226                   success
//	429, 503                  retried; Retry-After (at most 300 s) when given, else the step's backoff
//	400, 401, 403, 404, 422   fails for good, code HTTP_<n>
//	any other, no answer      retried
//
// A secret is in the request and nowhere else: results, errors and log lines have Redacted in its place, also when the
// server echoes it. For one exchange at most max_response and 64 KiB are read from the network, whatever the server
// sends, and nothing of it is left when its time is over.
package httphandler

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Options of New. The zero value works.
type Options struct {
	// Now is the clock that dates in Retry-After are compared with. Default time.Now.
	Now func() time.Time
	// Logger gives the logger of the running step, for wishes that are clipped. nil, and a nil result, discard them.
	Logger func(ctx context.Context) *slog.Logger
	// Secret gives the value of ${secret.name}: at least 8 bytes of UTF-8. An error that wraps handlerconfig.ErrNoValue says
	// that there is none of that name. Default handlerconfig.EnvSecret: the variable TASKER_SECRET_<name>. Whoever may
	// register a definition may use every secret that this gives, and send it anywhere.
	Secret func(ctx context.Context, name string) (string, error)
	// Dial opens connections, to proxies as well. Default that of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport sends the requests instead of connections of the handler's own. Then Dial is not used, tls and proxy of
	// definitions are refused, and what is read from the network is the transport's to limit. It has to return when the
	// context of a request ends. Default none.
	Transport http.RoundTripper
}

// Handler is the step handler. It is safe for use by several goroutines.
type Handler struct {
	o          Options
	transports transports
}

var _ domain.StepHandler = (*Handler)(nil)

// New returns the handler. Close it when nothing runs any more.
func New(o Options) *Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Secret == nil {
		o.Secret = handlerconfig.EnvSecret
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	return &Handler{o: o}
}

// Close ends the connections that wait for the next request, and their goroutines. A request after it opens new ones;
// a second call does nothing.
func (h *Handler) Close() error {
	h.closeIdle()
	return nil
}

// Handle sends the request of the step. The result is a Response.
func (h *Handler) Handle(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (any, error) {
	c, err := parse(step.Config)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	x, end := h.newExchange(ctx, c)
	defer end()
	response, err := x.run(task, steps, step)
	if err != nil && ctx.Err() != nil {
		err = x.stopped() // whatever came of it
	}
	if err != nil {
		return nil, x.hidden.error(err)
	}
	return response, nil
}
