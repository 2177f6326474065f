// Package faultnet is a bad network between a NATS client and a server, for tests: a TCP proxy that loses, delays and
// doubles messages on their way to the client, holds everything back, and cuts connections.
package faultnet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Message is one message from the server to a client.
type Message struct {
	Subject string // it was delivered under: for an answer the inbox
	Header  []byte // as on the wire; empty for most
	Data    []byte
}

// IsAck reports whether a message is JetStream's answer to a publish.
func (m Message) IsAck() bool {
	return bytes.HasPrefix(m.Data, []byte(`{"stream":`)) || bytes.HasPrefix(m.Data, []byte(`{"error":`)) && bytes.Contains(m.Data, []byte(`"seq":`))
}

// Fate is what happens to a message. The zero Fate lets it pass.
type Fate struct {
	Drop   bool
	Delay  time.Duration // later messages overtake it
	Double bool
}

// Proxy forwards TCP connections. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	upstream string
	decide   func(Message) Fate
	refuse   bool
	frozen   [2]chan struct{} // by direction; closed when the freeze ends, nil when there is none
	links    map[*link]struct{}
	closed   chan struct{}
}

// Directions of Freeze.
const (
	ToServer = iota
	ToClient
)

// Start proxies a port of its own to upstream, HOST:PORT, until the test ends.
func Start(t testing.TB, upstream string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, upstream: upstream, links: map[*link]struct{}{}, closed: make(chan struct{})}
	p.running.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// URL is what a client connects to.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Upstream changes the server of connections made from now on.
func (p *Proxy) Upstream(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = address
}

// Messages asks decide for the fate of every message to a client, in order per connection; nil lets all pass.
func (p *Proxy) Messages(decide func(Message) Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// Refuse closes new connections at once, or accepts them again.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Cut closes all connections that there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Freeze holds back everything in one direction, or lets it go on. Connections stay open, and nothing is lost.
func (p *Proxy) Freeze(direction int, freeze bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case freeze && p.frozen[direction] == nil:
		p.frozen[direction] = make(chan struct{})
	case !freeze && p.frozen[direction] != nil:
		close(p.frozen[direction])
		p.frozen[direction] = nil
	}
}

func (p *Proxy) close() {
	close(p.closed)
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	defer p.running.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse, upstream := p.refuse, p.upstream
		p.mu.Unlock()
		var server net.Conn
		if !refuse {
			server, err = net.Dial("tcp", upstream)
		}
		if refuse || err != nil {
			_ = client.Close()
			continue
		}
		l := &link{proxy: p, client: client, server: server, done: make(chan struct{})}
		p.mu.Lock()
		p.links[l] = struct{}{}
		p.mu.Unlock()
		select {
		case <-p.closed: // Cut may have run before the link was there
			l.close()
		default:
		}
		p.running.Add(2)
		go l.run(l.toServer)
		go l.run(l.toClient)
	}
}

// link is one connection.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	once           sync.Once
	done           chan struct{}
	write          sync.Mutex // of the client's side, where delayed messages join
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

func (l *link) run(forward func() error) {
	defer l.proxy.running.Done()
	_ = forward() // the other side learns it from the closed connection
	l.close()
	l.proxy.mu.Lock()
	delete(l.proxy.links, l)
	l.proxy.mu.Unlock()
}

// thaw waits while a direction is frozen.
func (l *link) thaw(direction int) {
	l.proxy.mu.Lock()
	frozen := l.proxy.frozen[direction]
	l.proxy.mu.Unlock()
	if frozen == nil {
		return
	}
	select {
	case <-frozen:
	case <-l.done:
	}
}

func (l *link) toServer() error {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buf)
		if n > 0 {
			l.thaw(ToServer)
			if _, err := l.server.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) toClient() error {
	r := bufio.NewReaderSize(l.server, 64<<10)
	for {
		frame, m, err := readFrame(r)
		if err != nil {
			return err
		}
		l.thaw(ToClient)
		var fate Fate
		if m != nil {
			l.proxy.mu.Lock()
			decide := l.proxy.decide
			l.proxy.mu.Unlock()
			if decide != nil {
				fate = decide(*m)
			}
		}
		if fate.Drop {
			continue
		}
		if fate.Double {
			frame = append(frame, frame...)
		}
		if fate.Delay > 0 {
			l.proxy.running.Add(1)
			go l.later(frame, fate.Delay)
			continue
		}
		if err := l.toClientNow(frame); err != nil {
			return err
		}
	}
}

func (l *link) later(frame []byte, delay time.Duration) {
	defer l.proxy.running.Done()
	select {
	case <-time.After(delay):
		_ = l.toClientNow(frame)
	case <-l.done:
	}
}

func (l *link) toClientNow(frame []byte) error {
	l.write.Lock()
	defer l.write.Unlock()
	_, err := l.client.Write(frame)
	return err
}

// readFrame reads one line of the NATS protocol, with the payload that follows a MSG or HMSG.
func readFrame(r *bufio.Reader) ([]byte, *Message, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, nil, err
	}
	fields := bytes.Fields(line)
	if len(fields) < 4 || !bytes.Equal(fields[0], []byte("MSG")) && !bytes.Equal(fields[0], []byte("HMSG")) {
		return line, nil, nil
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	if err != nil {
		return nil, nil, fmt.Errorf("the size in %q: %w", line, err)
	}
	header := 0
	if bytes.Equal(fields[0], []byte("HMSG")) {
		if header, err = strconv.Atoi(string(fields[len(fields)-2])); err != nil || header > size {
			return nil, nil, fmt.Errorf("the header size in %q: %w", line, err)
		}
	}
	frame := make([]byte, len(line)+size+2)
	payload := frame[copy(frame, line):]
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, nil, err
	}
	return frame, &Message{Subject: string(fields[1]), Header: payload[:header], Data: payload[header:size]}, nil
}
