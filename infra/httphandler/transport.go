package httphandler

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

const (
	maxHeaders    = 64 << 10 // bytes of the response's headers
	maxTransports = 32       // pools of connections with settings of their own
	idlePerHost   = 32       // connections of a pool that wait for the next request
	idleTimeout   = 90 * time.Second
)

// settings are what connections differ in. Those with the same share a pool.
type settings struct {
	files      tlsFiles
	serverName string
	minVersion version
	insecure   bool
	proxy      string
}

func (c *config) settings(proxy string) (settings, error) {
	files, err := c.tls.read()
	if err != nil {
		return settings{}, tlsFailed(err)
	}
	return settings{
		files: files, serverName: c.tls.ServerName, minVersion: c.tls.MinVersion, insecure: c.tls.Insecure, proxy: proxy,
	}, nil
}

// transports are the pools, the one used last at the end.
type transports struct {
	mu   sync.Mutex
	list []pool
}

type pool struct {
	settings  settings
	transport *http.Transport
}

// transport is the one with these settings.
func (h *Handler) transport(s settings) (http.RoundTripper, error) {
	if h.o.Transport != nil {
		if s != (settings{minVersion: DefaultMinVersion}) {
			return nil, handlerconfig.Failed(errors.New("tls and proxy cannot be set here: this process has a transport of its own for all requests"))
		}
		return h.o.Transport, nil
	}
	t := &h.transports
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.IndexFunc(t.list, func(p pool) bool { return p.settings == s }); i >= 0 {
		p := t.list[i]
		t.list = append(slices.Delete(t.list, i, i+1), p)
		return p.transport, nil
	}
	transport, err := h.newTransport(s)
	if err != nil {
		return nil, err
	}
	if len(t.list) == maxTransports {
		t.list[0].transport.CloseIdleConnections()
		t.list = slices.Delete(t.list, 0, 1)
	}
	t.list = append(t.list, pool{s, transport})
	return transport, nil
}

// newTransport speaks HTTP/1.1 only: there a connection belongs to one exchange at a time, so that what is read from it
// can be limited and cut off.
func (h *Handler) newTransport(s settings) (*http.Transport, error) {
	config, err := s.client()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext: h.dial, TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, Protocols: &http.Protocols{},
		MaxResponseHeaderBytes: maxHeaders, MaxIdleConns: 4 * idlePerHost, MaxIdleConnsPerHost: idlePerHost,
		IdleConnTimeout: idleTimeout, ExpectContinueTimeout: time.Second,
	}
	t.Protocols.SetHTTP1(true)
	switch s.proxy {
	case proxyEnvironment:
	case proxyNone:
		t.Proxy = nil
	default:
		proxy, err := parseProxy(s.proxy)
		if err != nil {
			return nil, handlerconfig.Failed(err)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return t, nil
}

func (h *Handler) closeIdle() {
	if t, ok := h.o.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	h.transports.mu.Lock()
	defer h.transports.mu.Unlock()
	for _, p := range h.transports.list {
		p.transport.CloseIdleConnections()
	}
}

// hop marks a request, so that dial knows for whom a connection is and when it is ready.
func (x *exchange) hop(request *http.Request, transport http.RoundTripper) (context.Context, *hop) {
	p := &hop{x: x}
	if request.URL.Scheme == "https" {
		p.handshakes.Add(1)
	}
	if t, ok := transport.(*http.Transport); ok && t.Proxy != nil {
		switch proxy, _ := t.Proxy(request); { // an error is the transport's to tell
		case proxy == nil:
		case proxy.Scheme == "https":
			p.handshakes.Add(1)
		case isSOCKS(proxy) && request.URL.Scheme == "http":
			p.handshakes.Store(-1)
		}
	}
	return context.WithValue(request.Context(), hopKey{}, p), p
}

func isSOCKS(u *url.URL) bool { return u.Scheme == "socks5" || u.Scheme == "socks5h" }
