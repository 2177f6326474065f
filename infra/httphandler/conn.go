package httphandler

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
)

// extraBytes is what may be read from the network for one exchange beyond max_response: status lines, headers, the
// framing of the body, and TLS.
const extraBytes = 64 << 10

var errTooMuch = errors.New("the answer is larger than max_response")

// conn is a connection that reads no more than the exchange that uses it may. Connections are used by one exchange after
// the other, so the budget changes.
type conn struct {
	net.Conn
	left  atomic.Pointer[atomic.Int64] // bytes of the exchange that uses it
	ready atomic.Bool                  // it is the transport's, which may give it to any exchange
}

func (c *conn) Read(p []byte) (int, error) {
	left := c.left.Load().Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Load().Add(-int64(n)) // another exchange may have taken over an idle connection meanwhile
	return n, err
}

// hop is one request of an exchange: the first, or one that a redirect asks for.
type hop struct {
	x          *exchange
	handshakes atomic.Int32 // that are needed before its connection is ready; less than 0: nobody tells
}

type hopKey struct{}

// dial opens a connection for the transport. The transport goes on with it when its request is over, in case that
// another one wants it; here it ends with its exchange, or a server that says nothing would hold it.
func (h *Handler) dial(ctx context.Context, network, address string) (net.Conn, error) {
	hop := ctx.Value(hopKey{}).(*hop)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(hop.x.ctx, cancel)()
	raw, err := h.o.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw}
	c.left.Store(hop.x.left)
	c.ready.Store(hop.handshakes.Load() == 0)
	if !hop.x.opened(c) {
		return nil, errors.Join(context.Cause(hop.x.ctx), c.Close())
	}
	return c, nil
}

// opened notes a connection; false when it comes too late.
func (x *exchange) opened(c *conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conns = append(x.conns, c)
	return x.ctx.Err() == nil
}

// handshaken is called when a handshake of TLS is over: after the last one the connection is the transport's.
func (p *hop) handshaken(_ tls.ConnectionState, err error) {
	if err != nil || p.handshakes.Add(-1) != 0 {
		return
	}
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	for _, c := range p.x.conns {
		c.ready.Store(true)
	}
}

// take makes a connection of the transport the one of this exchange.
func (x *exchange) take(nc net.Conn) {
	for {
		switch c := nc.(type) {
		case *conn:
			c.ready.Store(true)
			c.left.Store(x.left)
			return
		case *tls.Conn: // around it, twice with a proxy that speaks TLS
			nc = c.NetConn()
		default: // of a transport that the process brought
			return
		}
	}
}
