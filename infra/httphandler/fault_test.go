package httphandler_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

const (
	faultTimeout = 250 * time.Millisecond
	faultLimit   = 32 << 10 // bytes, max_response
	faultExtra   = 64 << 10 // bytes that may be read beyond it
	faultTries   = 10       // of what took too long: a busy machine is late now and then, a handler that waits is always
)

// fault is a server that does something wrong.
type fault struct {
	name   string
	serve  func(net.Conn)
	secure bool   // the url is https
	config string // more of the handler_config
	want   expectation
	// atOnce: nothing is to be waited for, so that the timeout plays no part.
	atOnce bool
}

const (
	head    = "HTTP/1.1 200 OK\r\n"
	chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
	huge    = "Content-Length: 10737418240\r\n\r\n" // 10 GiB
)

var (
	broken   = expectation{retries, "TRANSPORT", ""}
	tooSlow  = expectation{retries, "TRANSPORT", "no complete answer within 250ms"}
	tooLarge = expectation{fails, "RESPONSE_TOO_LARGE", "more than 32768 bytes: raise max_response"}
)

func (e expectation) says(message string) expectation {
	e.message = message
	return e
}

// faults are the ways of a server to misbehave, and what comes of each.
func faults() []fault {
	return []fault{
		// It is not there, or goes away.
		{name: "refuses the connection", want: broken.says("connection refused"), atOnce: true},
		{name: "closes before the answer", serve: answers(""), want: broken.says("EOF"), atOnce: true},
		{name: "closes before the request", serve: func(net.Conn) {}, want: broken, atOnce: true},
		{name: "resets instead of an answer", serve: func(c net.Conn) { readRequest(c); abort(c) }, want: broken, atOnce: true},
		{name: "resets in the middle of the body", serve: func(c net.Conn) {
			answers(head + "Content-Length: 1000\r\n\r\nhalf")(c)
			abort(c)
		}, want: broken, atOnce: true},
		{name: "closes in the middle of the headers", serve: answers(head + "X-Header: va"), want: broken.says("unexpected EOF"), atOnce: true},

		// It takes its time.
		{name: "never answers", serve: untilGone, want: tooSlow},
		{name: "never reads the request", serve: stalls, config: `,"method":"POST","text":"` + strings.Repeat("x", 1<<18) + `"`, want: tooSlow},
		{name: "drips headers", serve: drips("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"), want: tooSlow},
		{name: "drips the body", serve: drips(head+"Content-Length: 20000\r\n\r\n", "x"), want: tooSlow},
		{name: "drips chunks", serve: drips(chunked, "1\r\nx\r\n"), want: tooSlow},
		{name: "drips the body of an error", serve: drips("HTTP/1.1 404 Not Found\r\n"+huge, "x"), want: expectation{fails, "HTTP_404", "404 Not Found"}},
		{name: "promises a body and sends none", serve: holds(head + "Content-Length: 10\r\n\r\n"), want: tooSlow},
		{name: "asks to continue for ever", serve: drips("", "HTTP/1.1 100 Continue\r\n\r\n"), config: `,"method":"PUT","text":"x","headers":{"Expect":"100-continue"}`, want: tooSlow},
		{name: "says that it is processing for ever", serve: drips("", "HTTP/1.1 102 Processing\r\n\r\n"), want: tooSlow},
		{name: "switches protocols and waits", serve: holds("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhi"),
			want: expectation{retries, "HTTP_101", "101 Switching Protocols"}, atOnce: true},
		{name: "redirects to a body that never ends", serve: drips("HTTP/1.1 302 Found\r\nLocation: /next\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), want: tooSlow},

		// It sends too much.
		{name: "sends 10 GiB", serve: thenForever(head+huge, "x"), want: tooLarge, atOnce: true},
		{name: "sends chunks without end", serve: thenForever(chunked, "5\r\nhello\r\n"), want: tooLarge, atOnce: true},
		{name: "sends chunks of one byte", serve: thenForever(chunked, "1\r\nx\r\n"), want: tooLarge, atOnce: true},
		{name: "sends chunks that are mostly extensions", serve: thenForever(chunked, "1;"+strings.Repeat("e", 3000)+"\r\nx\r\n"), want: broken, atOnce: true},
		{name: "sends no length and no end", serve: thenForever(head+"\r\n", "x"), want: tooLarge, atOnce: true},
		{name: "sends 10 GiB with an error", serve: thenForever("HTTP/1.1 500 Oh\r\n"+huge, "x"), want: expectation{retries, "HTTP_500", "500 Oh: xxx"}, atOnce: true},
		{name: "sends headers without end", serve: thenForever(head, "X-Header: value\r\n"), want: broken.says("response headers exceeded"), atOnce: true},
		{name: "sends one header without end", serve: thenForever(head+"X-Header: ", "x"), want: broken.says("response headers exceeded"), atOnce: true},
		{name: "sends 1xx without end", serve: thenForever("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), want: broken, atOnce: true},
		{name: "sends trailers without end", serve: thenForever(head+"Trailer: X-A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-A: b\r\n"), want: broken.says("trailer"), atOnce: true},
		{name: "sends a gzip bomb", serve: thenForever(head+"Content-Encoding: gzip\r\n\r\n", zeros()), want: tooLarge, atOnce: true},
		{name: "sends a gzip bomb with an error", serve: thenForever("HTTP/1.1 422 No\r\nContent-Encoding: gzip\r\n\r\n", zeros()), want: expectation{fails, "HTTP_422", "422 No: \x00\x00"}, atOnce: true},
		{name: "sends more than it promised", serve: answers(head + "Content-Length: 5\r\n\r\nhello, and that is not all"), want: expectation{outcome: succeeds}, atOnce: true},

		// It does not speak HTTP, or lies.
		{name: "sends less than it promised", serve: answers(head + "Content-Length: 1000\r\n\r\nhello"), want: broken.says("unexpected EOF"), atOnce: true},
		{name: "speaks something else", serve: answers("220 mail.example ESMTP\r\n250 OK\r\n"), want: broken.says("malformed HTTP"), atOnce: true},
		{name: "sends noise", serve: thenForever("", "\x00\xff\x17\n\x80"), want: broken.says("malformed HTTP"), atOnce: true},
		{name: "sends a length that is none", serve: answers(head + "Content-Length: many\r\n\r\nhello"), want: broken.says("bad Content-Length"), atOnce: true},
		{name: "sends two lengths", serve: answers(head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), want: broken.says("Content-Length"), atOnce: true},
		{name: "sends gzip that is none", serve: answers(head + "Content-Encoding: gzip\r\n\r\nhello, this is no gzip"), want: broken.says("gzip"), atOnce: true},
		{name: "redirects in a circle", serve: answers("HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n"), want: broken.says("stopped after 10 redirects"), atOnce: true},
		{name: "redirects to nonsense", serve: answers("HTTP/1.1 302 Found\r\nLocation: ://%zz\r\nContent-Length: 0\r\n\r\n"), want: broken.says("Location"), atOnce: true},
		{name: "redirects to a file", serve: answers("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"), want: broken.says("unsupported protocol scheme"), atOnce: true},

		// Its TLS is wrong.
		{name: "has a certificate that nobody knows", secure: true, serve: overTLS(newAuthority("nobody").server("127.0.0.1"), answers(head+"\r\n")), want: broken.says("certificate"), atOnce: true},
		{name: "has the certificate of another name", secure: true, serve: overTLS(authority().server("other.example"), answers(head+"\r\n")), want: broken.says("certificate"), atOnce: true},
		{name: "has an old version of TLS", secure: true, config: `,"tls":{"min_version":"1.3"}`, serve: overTLS(oldTLS(), answers(head+"\r\n")), want: broken.says("protocol version"), atOnce: true},
		{name: "speaks no TLS", secure: true, serve: func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, want: broken, atOnce: true},
		{name: "does not finish the handshake", secure: true, serve: untilGone, want: tooSlow},
		{name: "drips the handshake", secure: true, serve: drips("\x16\x03\x03\x40\x00", "\x02"), want: tooSlow},
		{name: "sends 10 GiB in records of one byte", secure: true, config: `,"tls":{"insecure_skip_verify":true}`, serve: overTLS(authority().server("127.0.0.1"), tinyRecords), want: tooLarge, atOnce: true},
	}
}

func TestFaultOfAServerEndsAsThePageSays(t *testing.T) {
	all := faults()
	results := runAll(t, all, false)
	for i, f := range all {
		t.Run(f.name, func(t *testing.T) {
			r := results[i]
			for range faultTries {
				if r.late(f) == "" && !r.gaveUp(f) {
					break
				}
				r = runFault(t, f, false)
			}
			f.want.check(t, r.err)
			if late := r.late(f); late != "" {
				t.Error(late)
			}
			if r.read > faultLimit+faultExtra {
				t.Errorf("%d bytes were read from the network, want at most %d", r.read, faultLimit+faultExtra)
			}
			if r.open > 0 {
				t.Errorf("%d connections are still open", r.open)
			}
		})
	}
	goleak.VerifyNone(t)
}

func TestFaultOfAServerDoesNotHoldAStepThatIsCancelled(t *testing.T) {
	all := faults()
	results := runAll(t, all, true)
	for i, f := range all {
		t.Run(f.name, func(t *testing.T) {
			r := results[i]
			for range faultTries {
				if r.took <= faultSlack {
					break
				}
				r = runFault(t, f, true)
			}
			if r.took > faultSlack {
				t.Errorf("returned %s after the step was cancelled", r.took)
			}
			complete := f.want.outcome == succeeds && r.err == nil // what is there may be returned
			if !complete && (!errors.Is(r.err, errCancelled) || !errors.Is(r.err, context.Canceled)) {
				t.Errorf("got %v, want that the step was cancelled", r.err)
			}
			if r.open > 0 {
				t.Errorf("%d connections are still open", r.open)
			}
		})
	}
	goleak.VerifyNone(t)
}

var errCancelled = errors.New("step was cancelled")

// faultResult is what came of one execution. It took that long, or that long since it was cancelled.
type faultResult struct {
	err  error
	took time.Duration
	read int64
	open int // connections that were not closed, while the server still had them open
}

func (r faultResult) late(f fault) string {
	limit := faultTimeout + faultSlack
	if f.atOnce {
		limit = faultTimeout
	}
	if r.took <= limit {
		return ""
	}
	return fmt.Sprintf("took %s, want at most %s", r.took, limit)
}

// gaveUp: the timeout came before what had to come first.
func (r faultResult) gaveUp(f fault) bool {
	return f.want != tooSlow && r.err != nil && strings.Contains(r.err.Error(), tooSlow.message)
}

func runAll(t *testing.T, all []fault, cancelled bool) []faultResult {
	t.Helper()
	results := make([]faultResult, len(all))
	var running sync.WaitGroup
	for i, f := range all {
		running.Go(func() { results[i] = runFault(t, f, cancelled) })
	}
	running.Wait()
	return results
}

// runFault runs one step against the server. With cancelled, the step is cancelled as soon as the client has read
// something or failed to, and at the latest when the server waits.
func runFault(t *testing.T, f fault, cancelled bool) faultResult {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	began := time.Now()
	var once sync.Once
	happened := func() {
		if cancelled {
			once.Do(func() {
				began = time.Now()
				cancel(errCancelled)
			})
		}
	}
	serve := f.serve
	if serve == nil {
		serve = func(net.Conn) {}
	}
	s := startRaw(t, serve, happened)
	defer s.stop()
	if f.serve == nil {
		s.stop()
	}
	scheme := "http://"
	if f.secure {
		scheme = "https://"
	}
	timeout := faultTimeout
	if cancelled {
		timeout = time.Minute
	}
	n := &network{happened: happened}
	h := httphandler.New(httphandler.Options{Dial: n.dial})
	defer h.Close()
	_, err := h.Handle(ctx, domain.TaskView{}, sequence{}, step(fmt.Sprintf(
		`{"url":"%s%s/x","timeout":"%s","max_response":%d%s}`, scheme, s.address, timeout, faultLimit, f.config)))
	once.Do(func() {}) // began is not written from here on
	took := time.Since(began)
	open := 0
	if halfOpen := f.secure && f.want == tooSlow; !halfOpen { // such a one Close would end, and others may wait for a request
		_ = h.Close()
	}
	if err != nil {
		open = n.stillOpen()
	}
	return faultResult{err, took, n.read.Load(), open}
}

// drips sends text, then another piece of it every millisecond.
func drips(text, piece string) func(net.Conn) {
	return func(c net.Conn) {
		if strings.HasPrefix(text, "HTTP") || piece[0] == 'H' {
			_, _ = http.ReadRequest(bufio.NewReader(c)) // its body may wait for an answer
		}
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
		}
	}
}

// holds sends text and no more.
func holds(text string) func(net.Conn) {
	return func(c net.Conn) {
		answers(text)(c)
		untilGone(c)
	}
}

// zeros is gzip of one MiB.
var zeros = sync.OnceValue(func() string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	return out.String()
})

func oldTLS() *tls.Config {
	c := authority().server("127.0.0.1")
	c.MaxVersion = tls.VersionTLS12
	return c
}

// tinyRecords sends a body without end, of which every byte costs more than twenty.
func tinyRecords(c net.Conn) {
	answers(head + huge)(c)
	for {
		if _, err := c.Write([]byte{'x'}); err != nil {
			return
		}
	}
}

func TestAddressThatDoesNotConnectIsGivenUp(t *testing.T) {
	h := newHandler(t, httphandler.Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done() // as when packets are dropped
		return nil, ctx.Err()
	}})
	for config, message := range map[string]string{
		`{"url":"http://192.0.2.1/","connect_timeout":"50ms"}`:                      "no connection to 192.0.2.1:80 within 50ms",
		`{"url":"https://192.0.2.1/","timeout":"50ms","connect_timeout":0.05}`:      "within 50ms",
		`{"url":"http://192.0.2.1:8080/","timeout":"50ms","method":"POST"}`:         "no complete answer within 50ms",
		`{"url":"http://a.example/","proxy":"http://p:1","connect_timeout":"50ms"}`: "no connection to p:1 within 50ms",
	} {
		began := time.Now()
		_, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(config))
		broken.says(message).check(t, err)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: took %s", config, took)
		}
	}
}
