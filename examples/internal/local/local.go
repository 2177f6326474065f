// Package local runs an engine and its log inside the process of an example, so that the stories are about workflows.
// examples/dummy does the same by hand.
package local

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// Options of Run.
type Options struct {
	// Dir keeps the log; another run with it goes on where this one stopped. Default: a new one, removed at the end.
	Dir string
	// Drain is how long running steps may go on when ctx ends; see tasker.Config. Default 30 s, negative not at all.
	Drain time.Duration
	// Register adds definitions and handlers, before the engine runs.
	Register func(*tasker.Engine) error
}

// Run starts an engine on an embedded NATS server, calls story, and stops both. It returns story's error, or why there
// was no story. When ctx ends, the engine stops, and story's context ends with it.
func Run(ctx context.Context, o Options, story func(context.Context, *tasker.Engine) error) (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "tasker-example"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(o.Dir) }()
	}
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: o.Dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Shutdown(context.WithoutCancel(ctx))) }()
	engine, err := tasker.New(ctx, tasker.Config{
		Connect: server.Connect, StoreLimit: server.MaxStore(), Drain: o.Drain,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	if err := o.Register(engine); err != nil {
		engine.Close()
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	select {
	case <-engine.Ready():
		return story(ctx, engine)
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		ended <- nil
		return errors.Join(errors.New("the engine did not start"), err)
	}
}
