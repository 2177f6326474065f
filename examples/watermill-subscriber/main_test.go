package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/examples/internal/remote"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// paper is what is written, and says when a line is complete.
type paper struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan struct{}
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.text.Write(b)
	p.lines <- struct{}{}
	return n, err
}

// engine runs orders where other processes can reach it.
func engine(t *testing.T) (*tasker.Engine, remote.NATS) {
	t.Helper()
	srv := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	e, err := tasker.New(t.Context(), tasker.Config{Connect: srv.Connect, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ship := tasker.StepHandlerFunc(func(_ context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		if step.Attempt == 1 {
			return nil, tasker.RetryAfter(time.Millisecond, errors.New("no van"))
		}
		return "on its way", step.Emit("order.shipped", Shipped{Van: 7})
	})
	if err := e.Register(tasker.Define("order").Step("ship", ship, tasker.Emits("order.shipped")).MustBuild()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	through := make(chan error, 1)
	go func() { through <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-through; err != nil {
			t.Error(err)
		}
	})
	<-e.Ready()
	return e, remote.NATS{URL: srv.URL()}
}

func order(t *testing.T, e *tasker.Engine, number string) {
	t.Helper()
	r, err := e.Submit(t.Context(), "order", map[string]string{"order": number}, tasker.Correlated(number))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Wait(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
}

func TestASubscriberInAProcessOfItsOwnGoesOnWhereItStopped(t *testing.T) {
	e, at := engine(t)
	heard := &paper{lines: make(chan struct{}, 100)}
	live := func(number string) { // one start of the program, in which an order is made
		ctx, stop := context.WithCancel(t.Context())
		through := make(chan error, 1)
		go func() { through <- run(ctx, heard, at, false) }()
		order(t, e, number)
		for range 4 {
			select {
			case <-heard.lines:
			case err := <-through:
				t.Fatalf("it ended: %v", err)
			case <-time.After(30 * time.Second):
				t.Fatalf("it is silent after %s", heard.text.String())
			}
		}
		stop()
		if err := <-through; err != nil {
			t.Error(err)
		}
	}
	live("A-1")
	live("A-2")
	readme.Shows(t, heard.text.String())
}

func TestAReplayTellsEverythingAndEnds(t *testing.T) {
	e, at := engine(t)
	order(t, e, "A-1")
	order(t, e, "A-2")
	for range 2 {
		var out paper
		out.lines = make(chan struct{}, 100)
		if err := run(t.Context(), &out, at, true); err != nil {
			t.Fatal(err)
		}
		for _, number := range []string{"A-1", "A-2"} {
			if n := strings.Count(out.text.String(), number+" "); n != 4 {
				t.Errorf("%d lines are about %s:\n%s", n, number, out.text.String())
			}
		}
	}
}

func TestWithoutAnEngineItSaysSo(t *testing.T) {
	srv := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	err := run(t.Context(), &paper{}, remote.NATS{URL: srv.URL()}, false)
	if err == nil || !strings.Contains(err.Error(), "log") {
		t.Errorf("run: %v", err)
	}
}
