package httphandler_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

// rawServer answers TCP connections on a port of its own, one goroutine each.
type rawServer struct {
	address  string
	listener net.Listener
	running  sync.WaitGroup
	over     chan struct{}
	stop     func()

	mu    sync.Mutex
	conns []net.Conn
}

// served is a connection of a rawServer.
type served struct {
	net.Conn
	over    <-chan struct{} // the server stops
	waiting func()          // to be called when nothing more will happen by itself
}

// startRaw calls serve for every connection; it is closed when serve returns.
func startRaw(t *testing.T, serve func(net.Conn), waiting func()) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{address: l.Addr().String(), listener: l, over: make(chan struct{})}
	s.stop = sync.OnceFunc(s.close)
	s.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.running.Go(func() {
				defer c.Close()
				serve(&served{c, s.over, waiting})
			})
		}
	})
	return s
}

func (s *rawServer) close() {
	_ = s.listener.Close()
	close(s.over)
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// serveRaw is startRaw until the test ends.
func serveRaw(t *testing.T, serve func(net.Conn)) *rawServer {
	t.Helper()
	s := startRaw(t, serve, func() {})
	t.Cleanup(s.stop)
	return s
}

// readRequest reads a request with its body; false when none comes.
func readRequest(c net.Conn) bool {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return true
}

// answers is a server that sends text to every request, then closes.
func answers(text string) func(net.Conn) {
	return func(c net.Conn) {
		if readRequest(c) {
			_, _ = io.WriteString(c, text)
		}
	}
}

// thenForever sends text, then more of it until nobody reads.
func thenForever(text, more string) func(net.Conn) {
	return func(c net.Conn) {
		if !readRequest(c) {
			return
		}
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		block := []byte(strings.Repeat(more, 1+1<<14/len(more)))
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
}

// untilGone reads until the client closes.
func untilGone(c net.Conn) {
	c.(*served).waiting()
	_, _ = io.Copy(io.Discard, c)
}

// stalls reads nothing.
func stalls(c net.Conn) {
	c.(*served).waiting()
	<-c.(*served).over
}

// abort closes with a reset.
func abort(c net.Conn) {
	_ = c.(*served).Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// network counts what a client reads, and calls back when something comes of a connection.
type network struct {
	read     atomic.Int64
	happened func()

	mu     sync.Mutex
	opened []*countedConn
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		n.happened()
		return nil, err
	}
	_ = c.(*net.TCPConn).SetWriteBuffer(4096) // so that a server that does not read is noticed
	counted := &countedConn{Conn: c, n: n, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened = append(n.opened, counted)
	return counted, nil
}

// stillOpen is how many connections the client has not closed, and does not within a second.
func (n *network) stillOpen() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	patience, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	open := 0
	for _, c := range n.opened {
		select {
		case <-c.closed:
		case <-patience.Done():
			open++
		}
	}
	return open
}

type countedConn struct {
	net.Conn
	n      *network
	once   sync.Once
	closed chan struct{}
}

func (c *countedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.read.Add(int64(n))
	c.n.happened()
	return n, err
}

// expectation is what came of an execution.
type expectation struct{ outcome, code, message string }

const (
	succeeds = "success"
	retries  = "retry"
	fails    = "permanent"
)

func outcomeOf(err error) (outcome, code string) {
	if err == nil {
		return succeeds, ""
	}
	failure := (*domain.Failure)(nil)
	if !errors.As(err, &failure) {
		return retries, ""
	}
	if failure.Kind == domain.KindPermanent {
		return fails, failure.Code
	}
	return retries, failure.Code
}

// check compares an execution with what is expected of it.
func (e expectation) check(t *testing.T, err error) {
	t.Helper()
	outcome, code := outcomeOf(err)
	message := ""
	if err != nil {
		message = err.Error()
	}
	if outcome != e.outcome || code != e.code || !strings.Contains(message, e.message) {
		t.Errorf("%s, code %q: %v; want %s, code %q, %q", outcome, code, err, e.outcome, e.code, e.message)
	}
}

// step is one execution of a step with this configuration.
func step(config string) domain.StepView {
	return domain.StepView{Name: "call", Attempt: 1, IdempotencyKey: "key-1", Config: []byte(config)}
}

func newHandler(t *testing.T, o httphandler.Options) *httphandler.Handler {
	t.Helper()
	h := httphandler.New(o)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// overTLS serves TLS with this configuration.
func overTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		secure := tls.Server(c, config)
		if secure.Handshake() == nil {
			serve(secure)
		}
	}
}

var quiet = log.New(io.Discard, "", 0)
