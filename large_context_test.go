package tasker

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tasker-go/tasker/infra/memlog"
)

// Between the limit of a request and that of a context, it travels through the blob store.
func TestAClientSubmitsAContextThatIsLargerThanARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, quiet := memlog.New(memlog.Options{}), slog.New(slog.DiscardHandler)
		engine, err := New(t.Context(), Config{Store: store, Logger: quiet, Drain: -1})
		if err != nil {
			t.Fatal(err)
		}
		type input struct {
			Text string `json:"text"`
		}
		flow := Define("measure").Step("length", Handle(func(_ context.Context, in input) (int, error) { return len(in.Text), nil })).MustBuild()
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
		for _, n := range []int{1, largestRequest - 20, largestRequest, 2 << 20} {
			got, err := Run[map[string]int](ctx, client, "measure", input{strings.Repeat("x", n)})
			if err != nil || got["length"] != n {
				t.Errorf("%d bytes: the handler got %d, %v", n, got["length"], err)
			}
		}
	})
}
