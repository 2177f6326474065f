package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/subscribers"
)

// defaultData is the data directory when nothing else is said.
const defaultData = "./.tasker"

// startTimeout is how long opening all partitions may take: loading a million tasks takes seconds.
const startTimeout = time.Minute

// stopTimeout is how long the embedded server may take to flush and stop.
const stopTimeout = 10 * time.Second

// hostOptions say how an engine is started in this process.
type hostOptions struct {
	data, durability string
	listen, token    string
	drain            time.Duration
	logger           *slog.Logger
	config           tasker.Config // with URL or NATSContext set, there is no embedded server
}

// host is an engine in this process, with its embedded server.
type host struct {
	server *natsserver.Server // nil on an external NATS
	engine *tasker.Engine
	http   *httphandler.Handler
	exec   *exechandler.Handler
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Engine.Run, after done

	drained bool
}

// newHost starts the server and makes the engine, which does nothing before start.
func newHost(ctx context.Context, o hostOptions) (*host, error) {
	h := &host{done: make(chan struct{})}
	config := o.config
	config.Drain, config.Logger = o.drain, o.logger
	if config.URL == "" && config.NATSContext == "" {
		durability, err := natsserver.ParseDurability(o.durability)
		if err != nil {
			return nil, usageError("--durability: %w", err)
		}
		h.server, err = natsserver.Start(ctx, natsserver.Options{
			Dir: o.data, Durability: durability, Listen: o.listen, Token: o.token, Guarded: o.listen != "", Logger: o.logger,
		})
		if err != nil {
			return nil, err
		}
		config.Connect = func(opts ...nats.Option) (*nats.Conn, error) { return h.server.Connect(opts...) }
		config.StoreLimit = h.server.MaxStore()
		config.Durability = o.durability
	}
	var err error
	if h.engine, err = tasker.New(ctx, config); err != nil {
		return nil, errors.Join(err, h.stopServer())
	}
	return h, nil
}

// register adds the handlers that come with tasker; exec only when every definition may run programs.
func (h *host) register(logger func(context.Context) *slog.Logger, exec bool) error {
	h.http = httphandler.New(httphandler.Options{Logger: logger})
	h.exec = exechandler.New(exechandler.Options{Logger: logger})
	handlers := map[string]tasker.StepHandler{
		"http": h.http,
		"log":  loghandler.New(loghandler.Options{Logger: logger}),
	}
	if exec {
		handlers["exec"] = h.exec
	}
	for name, handler := range handlers {
		if err := h.engine.Handler(name, handler); err != nil {
			return err
		}
	}
	return nil
}

// start runs the engine and returns when every partition is open, or cannot be opened. A partition that somebody else
// owns is not waited for longer than patience.
func (h *host) start(ctx context.Context, patience time.Duration) error {
	var run context.Context
	run, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(h.done)
		h.err = h.engine.Run(run)
	}()
	enough := time.NewTimer(patience)
	defer enough.Stop()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for !h.settled() {
		select {
		case <-look.C:
		case <-enough.C:
			return nil
		case <-h.done:
			return errors.Join(h.drain(), tasker.ErrNotRunning)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// apply registers a definition, in place of another content under its version. While partition 00, which keeps the
// definitions for all engines, is closed, it is registered in this process only.
func (h *host) apply(ctx context.Context, d *tasker.Definition) error {
	err := h.engine.Apply(ctx, d, true)
	if err != nil && ctx.Err() == nil && h.engine.Register(d) == nil {
		return nil
	}
	return err
}

// settled reports whether every partition is open, or closed for good. The engine says that it is ready after a partition is
// open: in between it opens the partition's door for other processes.
func (h *host) settled() bool {
	owns := false
	for _, p := range h.engine.Stats().Partitions {
		if p.Phase != subscribers.Owning && p.Phase != subscribers.Closed {
			return false
		}
		owns = owns || p.Phase == subscribers.Owning
	}
	return !owns || h.ready()
}

func (h *host) ready() bool {
	select {
	case <-h.engine.Ready():
		return true
	default:
		return false
	}
}

// drain stops the engine: it starts no more steps, and gives those that run their time. A second call does nothing.
func (h *host) drain() error {
	if h.drained {
		return nil
	}
	h.drained = true
	if h.cancel != nil {
		h.cancel()
		<-h.done
	} else {
		h.engine.Close()
	}
	if h.http != nil {
		_ = h.exec.Close() // programs that were interrupted have their grace; they must not outlive this process
		_ = h.http.Close()
	}
	return h.err
}

// stop drains the engine, then stops the server. It may be called at any time, once.
func (h *host) stop() error { return errors.Join(h.drain(), h.stopServer()) }

// client opens connections of their own, which outlive the engine.
func (h *host) client(ctx context.Context, logger *slog.Logger) (*tasker.Client, error) {
	return tasker.NewClient(ctx, tasker.Config{
		Connect: func(opts ...nats.Option) (*nats.Conn, error) { return h.server.Connect(opts...) },
		Logger:  logger, Durability: h.engine.Info().Durability,
	})
}

func (h *host) stopServer() error {
	if h.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return h.server.Shutdown(ctx)
}

// shownPath is a path as people write it: relative when it is below the working directory.
func shownPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		return abs
	}
	rel, err := filepath.Rel(here, abs)
	if err != nil || strings.HasPrefix(rel, "..") {
		return abs
	}
	if rel == "." {
		return rel
	}
	return "./" + rel
}
