package webhook

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// receiver answers TCP connections on a port of its own until the test ends.
type receiver struct {
	url   string
	calls atomic.Int64
	wrote atomic.Int64 // bytes that the other side, and the buffers between, have taken
	over  chan struct{}
}

func listen(t *testing.T, answer func(r *receiver, c net.Conn)) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{url: "http://" + l.Addr().String(), over: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				r.calls.Add(1)
				gone := make(chan struct{})
				running.Go(func() {
					select {
					case <-r.over:
						_ = c.Close()
					case <-gone:
					}
				})
				answer(r, c)
				close(gone)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		close(r.over)
		running.Wait()
	})
	return r
}

// request reads one.
func request(c net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// says answers with text, and closes.
func says(text string) func(*receiver, net.Conn) {
	return func(_ *receiver, c net.Conn) {
		request(c)
		_, _ = io.WriteString(c, text)
	}
}

// goesOn answers with text, then with more until nobody reads, or the test ends.
func goesOn(text, more string) func(*receiver, net.Conn) {
	return func(r *receiver, c net.Conn) {
		request(c)
		_, err := io.WriteString(c, text)
		for block := strings.Repeat(more, 1+1<<14/len(more)); err == nil; {
			var n int
			n, err = io.WriteString(c, block)
			r.wrote.Add(int64(n))
		}
	}
}

// drips answers with text, then with a little more every few milliseconds.
func drips(text, more string) func(*receiver, net.Conn) {
	return func(r *receiver, c net.Conn) {
		request(c)
		_, err := io.WriteString(c, text)
		every := time.NewTicker(5 * time.Millisecond)
		defer every.Stop()
		for err == nil {
			select {
			case <-every.C:
				_, err = io.WriteString(c, more)
			case <-r.over:
				return
			}
		}
	}
}

func waits(r *receiver, c net.Conn) {
	request(c)
	<-r.over
}

func TestFaultOfAReceiverEndsTheDelivery(t *testing.T) {
	const ok, failed = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 500 Oh\r\n"
	const quick, patient = 250 * time.Millisecond, 30 * time.Second // the patient ones must end by themselves
	for _, f := range []struct {
		name    string
		answer  func(*receiver, net.Conn)
		timeout time.Duration
		want    string
		says    string
	}{
		{"closes before the request", func(*receiver, net.Conn) {}, patient, "again", ""},
		{"closes before the answer", says(""), patient, "again", "EOF"},
		{"resets", func(_ *receiver, c net.Conn) {
			request(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		}, patient, "again", ""},
		{"closes in the middle of the headers", says(ok + "X-A: "), patient, "again", "unexpected EOF"},
		{"never reads", func(r *receiver, _ net.Conn) { <-r.over }, quick, "again", "no answer within 250ms"},
		{"never answers", waits, quick, "again", "no answer within 250ms"},
		{"drips headers", drips(ok, "X-A: b\r\n"), quick, "again", "no answer within 250ms"},
		{"says for ever that it is processing", drips("", "HTTP/1.1 102 Processing\r\n\r\n"), quick, "again", "no answer within 250ms"},
		{"drips its thanks", drips(ok+"Content-Length: 4000\r\n\r\n", "x"), patient, "delivered", ""},
		{"drips an excuse", drips(failed+"Content-Length: 4000\r\n\r\n", "x"), patient, "again", "500 Internal Server Error"},
		{"promises thanks and sends none", drips(ok+"Content-Length: 4000\r\n\r\n", ""), patient, "delivered", ""},
		{"sends 10 GiB of thanks", goesOn(ok+"Content-Length: 10737418240\r\n\r\n", "x"), patient, "delivered", ""},
		{"sends chunks without end", goesOn(failed+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), patient, "again", ""},
		{"sends a body without end", goesOn("HTTP/1.1 400 No\r\n\r\n", "x"), patient, "lost", "400"},
		{"sends headers without end", goesOn(ok, "X-A: b\r\n"), patient, "again", "response headers exceeded"},
		{"sends one header without end", goesOn(ok+"X-A: ", "b"), patient, "again", "response headers exceeded"},
		{"sends noise", goesOn("", "\x00\xff\n"), patient, "again", "malformed"},
		{"speaks something else", says("220 mail.example ESMTP\r\n"), patient, "again", "malformed"},
		{"switches protocols", drips("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "x"), patient, "again", "101"},
		{"redirects to nonsense", says("HTTP/1.1 302 Found\r\nLocation: ://%zz\r\nContent-Length: 0\r\n\r\n"), patient, "again", ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := listen(t, f.answer)
			w := newWebhook(t, r.url, func(c *Config) { c.Timeout = f.timeout })
			err := w.Handle(t.Context(), done)
			if got := outcome(err); got != f.want {
				t.Errorf("%s (%v), want %s", got, err, f.want)
			}
			if text := fmt.Sprint(err); !strings.Contains(text, f.says) {
				t.Errorf("the error is %s, want %q in it", text, f.says)
			}
			if n := r.wrote.Load(); n > 64<<20 {
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	inside := listen(t, says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := listen(t, says(fmt.Sprintf("HTTP/1.1 %d X\r\nLocation: %s/secret\r\nContent-Length: 0\r\n\r\n", status, inside.url)))
		if err := newWebhook(t, r.url).Handle(t.Context(), done); outcome(err) != "again" {
			t.Errorf("%d: %v", status, err)
		}
	}
	if n := inside.calls.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestWrongTLSEndsTheDelivery(t *testing.T) {
	for name, answer := range map[string]func(*receiver, net.Conn){
		"speaks no TLS":                 func(_ *receiver, c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"does not finish the handshake": func(r *receiver, _ net.Conn) { <-r.over },
	} {
		r := listen(t, answer)
		w := newWebhook(t, strings.Replace(r.url, "http:", "https:", 1), func(c *Config) { c.Timeout = 100 * time.Millisecond })
		if err := w.Handle(t.Context(), done); outcome(err) != "again" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADeliveryEndsWithItsContext(t *testing.T) {
	called := make(chan struct{}, 1)
	r := listen(t, func(r *receiver, c net.Conn) {
		called <- struct{}{}
		waits(r, c)
	})
	w := newWebhook(t, r.url)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- w.Handle(ctx, done) }()
	<-called
	cancel()
	if err := <-result; outcome(err) != "again" {
		t.Errorf("Handle: %v", err)
	}
}

func TestNoMoreDeliveriesRunAtOnceThanConcurrencySays(t *testing.T) {
	const most, events = 3, 20
	called, release := make(chan struct{}, events), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		called <- struct{}{}
		<-release
	})
	w := newWebhook(t, s.URL, func(c *Config) { c.Concurrency = most })
	var all sync.WaitGroup
	for range events {
		all.Go(func() {
			if err := w.Handle(t.Context(), done); err != nil {
				t.Error(err)
			}
		})
	}
	for range most {
		<-called
	}
	select {
	case <-called:
		t.Errorf("more than %d at once", most)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	all.Wait()
}
