package tasker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers"
)

func TestALargeAnswerIsFetchedInPartsOnce(t *testing.T) {
	var p parts
	data := bytes.Repeat([]byte("0123456789"), partSize/4)
	view, err := p.keep(data)
	if err != nil || view.Count != 3 {
		t.Fatalf("%+v, %v", view, err)
	}
	for _, wrong := range []partRequest{{"another", 0}, {view.Token, -1}, {view.Token, 3}} {
		if _, err := p.take(&wrong); !errors.Is(err, subscribers.ErrNotOwner) {
			t.Errorf("%+v gave %v", wrong, err)
		}
	}
	var all []byte
	for i := range view.Count {
		part, err := p.take(&partRequest{view.Token, i})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part...)
	}
	if !bytes.Equal(all, data) {
		t.Error("the parts are not the whole")
	}
	if _, err := p.take(&partRequest{view.Token, 0}); err == nil || p.bytes != 0 {
		t.Errorf("it is still kept: %d bytes, %v", p.bytes, err)
	}
	if _, err := p.keep(make([]byte, partsKept+1)); err == nil {
		t.Error("an answer that is too large was kept")
	}
}

func TestAnswersThatNobodyFetchesAreForgotten(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		var p parts
		first, err := p.keep(make([]byte, partsKept/2))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second one takes the room of the first
			if _, err := p.keep(make([]byte, partsKept/2)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.take(&partRequest{first.Token, 0}); err == nil || p.bytes != partsKept {
			t.Errorf("the oldest is still there: %d bytes, %v", p.bytes, err)
		}
		time.Sleep(partsPatience)
		if _, err := p.keep([]byte("x")); err != nil || p.bytes != 1 || len(p.order) != 1 {
			t.Errorf("after half a minute %d bytes are kept, %v", p.bytes, err)
		}
	})
}

func TestAClientGetsResultsThatAreLargerThanAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, quiet := memlog.New(memlog.Options{}), slog.New(slog.DiscardHandler)
		engine, err := New(t.Context(), Config{Store: store, Logger: quiet, Drain: -1})
		if err != nil {
			t.Fatal(err)
		}
		large := strings.Repeat("large ", 1<<19)
		flow := Define("large").Step("make", Handle(func(context.Context, struct{}) (string, error) { return large, nil })).MustBuild()
		if err := engine.Register(flow); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- engine.Run(ctx) }()
		defer func() { stop(); <-ended }()
		<-engine.Ready()
		client, err := NewClient(ctx, Config{Store: store, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		got, err := Run[map[string]string](ctx, client, "large", nil)
		if err != nil || got["make"] != large {
			t.Errorf("%d bytes of %d arrived, %v", len(got["make"]), len(large), err)
		}
		if n := engine.commands.parts.bytes; n != 0 {
			t.Errorf("%d bytes are kept", n)
		}
	})
}
