package httphandler_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/httphandler"
)

func TestEveryExchangeHasItsOwnShareOfAConnection(t *testing.T) {
	clients := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clients[r.RemoteAddr] = true
		_, _ = io.WriteString(w, strings.Repeat("x", 60_000))
	}))
	defer s.Close()
	h := newHandler(t, httphandler.Options{})
	for range 5 {
		if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(`{"url":"`+s.URL+`","max_response":60000}`)); err != nil {
			t.Fatal(err)
		}
	}
	if len(clients) != 1 {
		t.Errorf("%d connections were opened", len(clients))
	}
}

func TestConnectTimeoutEndsWithTheConnection(t *testing.T) {
	answer := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-answer }))
	defer s.Close()
	h := newHandler(t, httphandler.Options{})
	time.AfterFunc(200*time.Millisecond, func() { close(answer) })
	if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(`{"url":"`+s.URL+`","connect_timeout":"100ms"}`)); err != nil {
		t.Error(err)
	}
}

// A resolver or a network may answer when nobody waits any more.
func TestConnectionThatComesTooLateIsClosed(t *testing.T) {
	s := serveRaw(t, untilGone)
	n := &network{happened: func() {}}
	late := make(chan struct{})
	h := newHandler(t, httphandler.Options{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		<-ctx.Done()
		defer close(late)
		return n.dial(context.WithoutCancel(ctx), network, s.address)
	}})
	_, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(`{"url":"http://192.0.2.1/","timeout":"20ms"}`))
	tooSlow.says("no complete answer within 20ms").check(t, err)
	select {
	case <-late:
	case <-time.After(10 * time.Second):
		t.Fatal("the dialer was not told")
	}
	if open := n.stillOpen(); open > 0 {
		t.Errorf("%d connections are still open", open)
	}
}

func TestPoolsThatWereNotUsedForLongAreClosed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(fine))
	defer s.Close()
	n := &network{happened: func() {}}
	h := newHandler(t, httphandler.Options{Dial: n.dial})
	request := func(i int) {
		t.Helper()
		config := fmt.Sprintf(`{"url":"%s","tls":{"server_name":"n%d"}}`, s.URL, i)
		if _, err := h.Handle(t.Context(), domain.TaskView{}, sequence{}, step(config)); err != nil {
			t.Fatal(err)
		}
	}
	const pools = 32
	for i := range pools {
		request(i)
	}
	request(0) // so that 1 is the one that waits longest
	const more = 10
	for i := range more {
		request(pools + i)
	}
	if opened := len(n.opened); opened != pools+more {
		t.Errorf("%d connections were opened", opened)
	}
	for i, c := range n.opened {
		closed := false
		select {
		case <-c.closed:
			closed = true
		default:
		}
		if want := 1 <= i && i <= more; closed != want {
			t.Errorf("connection %d: closed is %t", i, closed)
		}
	}
}
