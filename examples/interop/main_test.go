package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/examples/internal/remote"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

// engine runs hello where other processes can reach it.
func engine(t *testing.T) remote.NATS {
	t.Helper()
	srv := natsservertest.Single(t, func(o *natsserver.Options) { o.Listen = "127.0.0.1:0" })
	e, err := tasker.New(t.Context(), tasker.Config{Connect: srv.Connect, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	type person struct{ Name string }
	greet := tasker.Handle(func(_ context.Context, in person) (string, error) {
		if in.Name == "" {
			return "", tasker.Permanent(errors.New("nobody is there"))
		}
		return "hello " + in.Name, nil
	})
	leave := tasker.Handle(func(_ context.Context, in person) (string, error) { return "good bye " + in.Name, nil })
	if err := e.Register(tasker.Define("hello").Step("greet", greet).Step("leave", leave, tasker.After("greet")).
		Schema(`{"type":"object","properties":{"name":{"type":"string"}}}`).MustBuild()); err != nil {
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
	return remote.NATS{URL: srv.URL()}
}

func hello(key, context string) domain.IntakeRequest {
	return domain.IntakeRequest{Name: "hello", IdempotencyKey: key, Context: []byte(context)}
}

func TestATaskIsSubmittedByWatermillNATSAndSeenToItsEnd(t *testing.T) {
	at := engine(t)
	var out bytes.Buffer
	if err := run(t.Context(), &out, at, hello("greeting-1", `{"name":"world"}`)); err != nil {
		t.Fatal(err)
	}
	readme.Shows(t, out.String())

	var again bytes.Buffer
	if err := run(t.Context(), &again, at, hello("greeting-1", `{"name":"world"}`)); err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(out.String(), "new: true", "new: false", 1); again.String() != want {
		t.Errorf("the same key again gives\n%swant\n%s", again.String(), want)
	}
}

func TestItSaysWhyThereIsNoTaskOrNoEnd(t *testing.T) {
	at := engine(t)
	for name, c := range map[string]struct {
		request domain.IntakeRequest
		want    string
	}{
		"the context is refused": {hello("a", `{"name":7}`), "/name"},
		"the task fails":         {hello("b", `{}`), "did not complete"},
		"no such subject":        {domain.IntakeRequest{Name: "he llo"}, "invalid subject"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), &out, at, c.request); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

func TestAnInterruptEndsTheWatch(t *testing.T) {
	at := engine(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := run(ctx, &bytes.Buffer{}, at, hello("c", `{"name":"world"}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
}
