package httphandler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// exchange is one execution of a step: a request, the redirects that it meets, and an answer.
type exchange struct {
	h    *Handler
	c    config
	step context.Context // of the execution
	ctx  context.Context // ends at the timeouts, too
	stop context.CancelCauseFunc

	hidden        redactor
	asked         int      // secrets that templates named
	secretHeaders []string // canonical names of headers with secrets
	secretBody    bool

	full, plain http.RoundTripper // plain has no client certificate, for other hosts
	away        bool              // a redirect went to another host
	what        string            // method and address of the request, for errors

	left       *atomic.Int64 // bytes that may still be read; the connection keeps it, and not the exchange, until the next one
	connecting atomic.Pointer[time.Timer]

	mu    sync.Mutex
	conns []*conn // opened for this exchange
}

func (h *Handler) newExchange(ctx context.Context, c config) (*exchange, func()) {
	x := &exchange{h: h, c: c, step: ctx, left: new(atomic.Int64)}
	x.left.Store(min(int64(c.MaxResponse), math.MaxInt64-extraBytes) + extraBytes)
	timeout := time.Duration(c.Timeout)
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no complete answer within %s", timeout))
	x.ctx, x.stop = context.WithCancelCause(limited)
	return x, func() {
		x.stop(nil)
		cancel()
		x.end()
	}
}

// end closes the connections that nobody can use, such as one whose server does not finish its handshake. ctx has ended.
func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.conns {
		if !c.ready.Load() {
			_ = c.Close()
		}
	}
}

func (x *exchange) run(task domain.TaskView, steps domain.Sequence, step domain.StepView) (Response, error) {
	request, err := x.request(task, steps, step)
	if err != nil {
		return Response{}, err
	}
	if err := x.connectBy(task, steps); err != nil {
		return Response{}, err
	}
	x.what = request.Method + " " + request.URL.Scheme + "://" + request.URL.Host + request.URL.EscapedPath()
	client := http.Client{Transport: x, CheckRedirect: x.redirect}
	response, err := client.Do(request)
	if err != nil {
		return Response{}, x.unanswered(err)
	}
	return x.answer(response)
}

// connectBy chooses the pools of connections.
func (x *exchange) connectBy(task domain.TaskView, steps domain.Sequence) error {
	proxy, err := x.proxy(task, steps)
	if err != nil {
		return err
	}
	s, err := x.c.settings(proxy)
	if err != nil {
		return err
	}
	if x.full, err = x.h.transport(s); err != nil {
		return err
	}
	x.plain = x.full
	if s.files.cert != "" {
		s.files.cert, s.files.key = "", ""
		x.plain, err = x.h.transport(s)
	}
	return err
}

// RoundTrip sends one request of the exchange.
func (x *exchange) RoundTrip(request *http.Request) (*http.Response, error) {
	transport := x.full
	if x.away {
		transport = x.plain
	}
	ctx, hop := x.hop(request, transport)
	limit := time.Duration(x.c.ConnectTimeout)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(address string) {
			x.connecting.Store(time.AfterFunc(limit, func() { x.stop(fmt.Errorf("no connection to %s within %s", address, limit)) }))
		},
		GotConn: func(info httptrace.GotConnInfo) {
			x.connected()
			x.take(info.Conn)
		},
		TLSHandshakeDone: hop.handshaken,
	})
	request = request.WithContext(ctx)
	// What a server sends behind its answer is printed by the transport when the connection is kept, and may be an echo.
	request.Close = request.Close || !x.hidden.none()
	defer x.connected() // or there will be no connection
	return transport.RoundTrip(request)
}

// connected stops the connect_timeout.
func (x *exchange) connected() {
	if timer := x.connecting.Swap(nil); timer != nil {
		timer.Stop()
	}
}

// stopped is the error of an exchange whose step was stopped.
func (x *exchange) stopped() error {
	return fmt.Errorf("%s was stopped: %w (%w)", cmp.Or(x.what, "the request"), context.Cause(x.step), x.step.Err())
}

// unanswered is the error of an exchange that broke. The url stays out of it but for its path: queries hold secrets.
func (x *exchange) unanswered(err error) error {
	refusal := (*domain.Failure)(nil)
	switch {
	case x.left.Load() <= 0:
		return x.tooLarge("")
	case errors.As(err, &refusal):
		return refusal
	case x.ctx.Err() != nil:
		err = context.Cause(x.ctx)
	default:
		err = withoutURL(err)
	}
	return &domain.Failure{Err: fmt.Errorf("%s: %w", x.what, err), Code: "TRANSPORT"}
}
