package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
	"github.com/tasker-go/tasker/infra/httphandler"
	"github.com/tasker-go/tasker/infra/loghandler"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// defaultData is the data directory when nothing else is said.
const defaultData = "./.tasker"

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
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Engine.Run, after done
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
			Dir: o.data, Durability: durability, Listen: o.listen, Token: o.token, Logger: o.logger,
		})
		if err != nil {
			return nil, err
		}
		config.Connect = func(opts ...nats.Option) (*nats.Conn, error) { return h.server.Connect(opts...) }
		config.Durability = o.durability
	}
	var err error
	if h.engine, err = tasker.New(ctx, config); err != nil {
		return nil, errors.Join(err, h.stopServer())
	}
	return h, nil
}

// register adds the handlers that come with tasker.
func (h *host) register(logger func(context.Context) *slog.Logger, exec bool) error {
	h.http = httphandler.New(httphandler.Options{Logger: logger})
	handlers := map[string]tasker.StepHandler{
		"http": h.http,
		"log":  loghandler.New(loghandler.Options{Logger: logger}),
	}
	if exec {
		handlers["exec"] = exechandler.New(exechandler.Options{Logger: logger})
	}
	for name, handler := range handlers {
		if err := h.engine.Handler(name, handler); err != nil {
			return err
		}
	}
	return nil
}

// start runs the engine and returns when it takes tasks.
func (h *host) start(ctx context.Context) error {
	var run context.Context
	run, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(h.done)
		h.err = h.engine.Run(run)
	}()
	select {
	case <-h.engine.Ready():
		return nil
	case <-h.done:
		if h.err == nil {
			h.err = tasker.ErrNotRunning
		}
		return h.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop drains the engine, then stops the server. It may be called at any time, once.
func (h *host) stop() error {
	if h.cancel != nil {
		h.cancel()
		<-h.done
	} else {
		h.engine.Close()
	}
	if h.http != nil {
		_ = h.http.Close()
	}
	return errors.Join(h.err, h.stopServer())
}

func (h *host) stopServer() error {
	if h.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return h.server.Shutdown(ctx)
}

// configChecks find mistakes in the handler_config of a step before it runs.
var configChecks = map[string]func(*domain.StepTemplate) error{
	"exec":              func(s *domain.StepTemplate) error { return exechandler.Validate(s.HandlerConfig) },
	"http":              func(s *domain.StepTemplate) error { return httphandler.Validate(s.HandlerConfig) },
	"log":               func(s *domain.StepTemplate) error { return loghandler.Validate(s.HandlerConfig) },
	domain.SleepHandler: func(*domain.StepTemplate) error { return nil },
}

// builtIn are the names of the handlers that come with tasker.
func builtIn() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for name := range configChecks {
			if !yield(name) {
				return
			}
		}
	})
}

// checkHandlers refuses a definition with steps that nothing here can run, or with a handler_config that cannot work.
func checkHandlers(file string, d *tasker.Definition) error {
	var problems []string
	for i := range d.Steps {
		s := &d.Steps[i]
		check, ok := configChecks[s.Handler]
		if !ok {
			problems = append(problems, "step "+s.Name+": there is no handler "+quote(s.Handler)+" here; there are: "+strings.Join(builtIn(), ", "))
			continue
		}
		if err := check(s); err != nil {
			problems = append(problems, "step "+s.Name+": "+err.Error())
		}
	}
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return badInput(errors.New(file+": "+problems[0]), "")
	}
	return badInput(errors.New(file+" cannot be run:\n  "+strings.Join(problems, "\n  ")), "")
}

func quote(s string) string { return "\"" + s + "\"" }

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
