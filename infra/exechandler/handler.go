// Package exechandler runs a program as a step: handler "exec" (SEMANTICS 9).
//
// handler_config:
//
//	command     a string for /bin/sh -c, or a list: a program and its arguments, without a shell; required
//	env         variables; their values may hold ${context.key} and ${results.step.key}; null leaves one unset
//	pass_env    names of variables of the engine's environment to pass on
//	dir         working directory; default the engine's
//	max_output  bytes of stdout at most; default 1 MiB
//
// The environment has PATH, HOME, LANG, LC_*, TZ, TMPDIR and USER of the engine, pass_env, env, and TASKER_TASK (the
// task's id), TASKER_STEP and TASKER_ATTEMPT. Nothing else: a secret of the engine reaches a command only by name.
//
// stdin is one line of JSON:
//
//	{"task":{"id","namespace","name","version"},"context":...,
//	 "step":{"name","attempt","round","inputs","idempotency_key","last_error"},"results":{"<step that is over>":...}}
//
// stdout is the result: one JSON value; nothing is null; any other text becomes a JSON string. stderr goes to the
// step's log line by line, its end also into the error.
//
// Exit 0 is success, 75 asks for a retry, another code fails for good with code EXIT_<n>; a command that dies of a
// signal is retried. (A shell turns the signal that killed its child into the exit code 128+n, which fails for good.)
// The command has a process group of its own. It is sent SIGTERM when the execution is over before the command is, and
// whatever is left of it is killed half a second later, or when the command has ended.
package exechandler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Options of New. The zero value works.
type Options struct {
	// Logger gives the logger of the running step. nil, and a nil result, discard what a command writes to stderr but
	// for the end that its error quotes.
	Logger func(ctx context.Context) *slog.Logger
}

// retryExit is EX_TEMPFAIL of sysexits.h.
const retryExit = 75

// grace is how long a command that was told to end may take, and how long its output is read after it ended.
const grace = 500 * time.Millisecond

// allowed are the variables that every command gets; LC_* as well.
var allowed = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"}

var errTooMuch = errors.New("too much output")

type handler struct{ o Options }

// New returns the handler. It is safe for use by several goroutines and holds nothing that needs closing.
func New(o Options) domain.StepHandler { return handler{o} }

// Handle runs the command of the step to its end, or until ctx ends. The result is a json.RawMessage.
func (h handler) Handle(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) (any, error) {
	c, err := parse(step.Config)
	if err != nil {
		return nil, handlerconfig.Failed(err)
	}
	stdin, err := input(ctx, task, steps, step)
	if err != nil {
		return nil, err
	}
	env, err := environment(ctx, c, task, steps, step)
	if err != nil {
		return nil, err
	}
	runContext, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	cmd := exec.CommandContext(runContext, c.Command[0], c.Command[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = env, c.Dir, bytes.NewReader(stdin)
	stdout := &limited{room: c.MaxOutput, full: func() { stop(errTooMuch) }}
	stderr := &lines{log: h.logger(ctx)}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = stdout, stderr, grace
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, startFailed(ctx, err)
	}
	err = cmd.Wait()
	killGroup(cmd)
	stderr.end()
	switch {
	case stdout.over:
		return nil, &domain.Failure{Kind: domain.KindPermanent, Code: "OUTPUT_TOO_LARGE", Err: fmt.Errorf(
			"command wrote more than %d bytes to stdout: raise max_output, or write a file and print its name", c.MaxOutput)}
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return result(stdout.buffer)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("command was stopped: %w (%w)%s", context.Cause(ctx), ctx.Err(), stderr.tail())
	}
	return nil, ended(err, stderr.tail())
}

func (h handler) logger(ctx context.Context) *slog.Logger {
	if h.o.Logger != nil {
		if l := h.o.Logger(ctx); l != nil {
			return l
		}
	}
	return slog.New(slog.DiscardHandler)
}

// startFailed tells what no retry mends from a machine that is short of processes or memory.
func startFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("command was not started: %w (%w)", context.Cause(ctx), ctx.Err())
	}
	err = fmt.Errorf("command cannot be started: %w", err)
	for _, final := range []error{exec.ErrNotFound, exec.ErrDot, fs.ErrNotExist, fs.ErrPermission} {
		if errors.Is(err, final) {
			return &domain.Failure{Err: err, Kind: domain.KindPermanent, Code: "START"}
		}
	}
	return err
}

// ended is the error of a command that ended by itself, and not well.
func ended(err error, tail string) error {
	exit := (*exec.ExitError)(nil)
	switch {
	case !errors.As(err, &exit):
		return fmt.Errorf("running the command: %w%s", err, tail)
	case exit.ExitCode() == retryExit:
		return &domain.Failure{Code: "EX_TEMPFAIL", Err: fmt.Errorf("command asked for a retry (exit code %d)%s", retryExit, tail)}
	case !exit.Exited():
		return fmt.Errorf("command was killed (%s)%s", exit.ProcessState, tail)
	}
	return &domain.Failure{
		Err:  fmt.Errorf("command failed with exit code %d%s", exit.ExitCode(), tail),
		Kind: domain.KindPermanent, Code: fmt.Sprintf("EXIT_%d", exit.ExitCode()),
	}
}

// input is what the command reads from stdin.
func input(ctx context.Context, task domain.TaskView, steps domain.Sequence, step domain.StepView) ([]byte, error) {
	type taskInput struct {
		ID        domain.TaskID `json:"id"`
		Namespace string        `json:"namespace"`
		Name      string        `json:"name"`
		Version   string        `json:"version"`
	}
	type stepInput struct {
		Name           string            `json:"name"`
		Attempt        int               `json:"attempt"`
		Round          int               `json:"round"`
		Inputs         json.RawMessage   `json:"inputs"`
		IdempotencyKey string            `json:"idempotency_key"`
		LastError      *domain.StepError `json:"last_error"`
	}
	results := map[string]json.RawMessage{}
	all, err := steps.Steps(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the results of earlier steps: %w", err)
	}
	for _, s := range all {
		if s.Result != nil {
			results[s.Name] = s.Result
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // for scripts that look at it with grep
	err = encoder.Encode(struct {
		Task    taskInput                  `json:"task"`
		Context json.RawMessage            `json:"context"`
		Step    stepInput                  `json:"step"`
		Results map[string]json.RawMessage `json:"results"`
	}{
		taskInput{task.ID, task.Namespace, task.Name, task.Version}, task.Context,
		stepInput{step.Name, step.Attempt, step.Round, step.Inputs, step.IdempotencyKey, step.LastError}, results,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the input of the command: %w", err)
	}
	return out.Bytes(), nil
}

// environment is the whole one; where a variable is named twice, the last one holds.
func environment(ctx context.Context, c config, task domain.TaskView, steps domain.Sequence, step domain.StepView) ([]string, error) {
	var env []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if slices.Contains(allowed, name) || strings.HasPrefix(name, "LC_") || slices.Contains(c.PassEnv, name) {
			env = append(env, variable)
		}
	}
	scope := handlerconfig.Scope{Context: task.Context, Steps: steps}
	for name, template := range c.Env {
		value, there, err := scope.Text(ctx, template)
		switch {
		case err != nil:
			return nil, fmt.Errorf("env.%s: %w", name, err)
		case hasNUL(value):
			return nil, handlerconfig.Failed(fmt.Errorf("env.%s: the value holds a NUL character", name))
		case there:
			env = append(env, name+"="+value)
		default:
			env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		}
	}
	return append(env, "TASKER_TASK="+task.ID.String(), "TASKER_STEP="+step.Name,
		"TASKER_ATTEMPT="+strconv.Itoa(step.Attempt)), nil
}
