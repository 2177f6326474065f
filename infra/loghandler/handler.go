// Package loghandler writes a line to the step's log as a step: handler "log" (SEMANTICS 9).
//
// handler_config:
//
//	message  required; may hold ${context.key} and ${results.step.key}
//	level    debug, info (default), warn or error
//
// The result is {"message": ...} with the values in place.
package loghandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Options of New. The zero value works.
type Options struct {
	// Logger gives the logger of the running step. When it is nil or gives nil, the line goes to slog.Default with the
	// attributes task and step.
	Logger func(ctx context.Context) *slog.Logger
}

type handler struct{ o Options }

// New returns the handler. It is safe for use by several goroutines and holds nothing that needs closing.
func New(o Options) domain.StepHandler { return handler{o} }

// config is the handler_config of a step.
type config struct {
	Message string `json:"message"`
	Level   string `json:"level"`
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// Validate finds mistakes in a handler_config, so that a definition is refused before it runs.
func Validate(raw json.RawMessage) error {
	_, err := parse(raw)
	return err
}

func parse(raw json.RawMessage) (config, error) {
	c := config{Level: "info"}
	if err := handlerconfig.Decode(raw, &c); err != nil {
		return c, err
	}
	var problems []error
	if c.Message == "" {
		problems = append(problems, errors.New("handler_config.message is missing: what shall be logged?"))
	}
	if err := handlerconfig.Check(c.Message); err != nil {
		problems = append(problems, fmt.Errorf("handler_config.message: %w", err))
	}
	if _, ok := levels[c.Level]; !ok {
		problems = append(problems, fmt.Errorf("handler_config.level must be debug, info, warn or error, got %q", c.Level))
	}
	return c, errors.Join(problems...)
}

// Handle writes the line.
func (h handler) Handle(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (any, error) {
	c, err := parse(step.Config)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	scope := handlerconfig.Scope{Context: task.Context, Steps: steps}
	message, err := scope.TextWith(ctx, c.Message, nil)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	h.logger(ctx, task, step).Log(ctx, levels[c.Level], message)
	return struct {
		Message string `json:"message"`
	}{message}, nil
}

func (h handler) logger(ctx context.Context, task domain.TaskView, step domain.StepView) *slog.Logger {
	if h.o.Logger != nil {
		if l := h.o.Logger(ctx); l != nil {
			return l
		}
	}
	return slog.Default().With("task", task.ID, "step", step.Name)
}
