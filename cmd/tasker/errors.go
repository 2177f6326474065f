package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/yamldef"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // the task did not complete
	exitUsage       = 2   // wrong flags, definition or input
	exitEngine      = 3   // the engine, or what it runs on
	exitInterrupted = 130 // Ctrl-C
)

// failure is an error with its exit code and, where there is one, what to do about it.
type failure struct {
	code  int
	err   error
	hint  string
	usage bool // show how the command is used
	quiet bool // everything has been said
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// usageError is about the command line.
func usageError(format string, args ...any) *failure {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), usage: true}
}

// badInput is about a definition or a task's input.
func badInput(err error, hint string) *failure {
	return &failure{code: exitUsage, err: err, hint: hint}
}

// report prints the error and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	if ctx := a.signals.ctx; ctx.Err() != nil && (errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled)) {
		return a.signals.code
	}
	f := classify(err)
	if f.quiet {
		return f.code
	}
	if wantsJSON(cmd) {
		_ = printJSON(a.err, map[string]any{"error": jsonError{Message: f.Error(), Hint: f.hint, Code: f.code}})
		return f.code
	}
	_, _ = fmt.Fprintf(a.err, "tasker: %s\n", f.Error())
	if f.usage && cmd != nil {
		use := cmd.UseLine()
		if cmd.HasSubCommands() {
			use = cmd.CommandPath() + " COMMAND"
		}
		_, _ = fmt.Fprintf(a.err, "usage: %s\n", use)
		if f.hint == "" {
			f.hint = fmt.Sprintf("%q says more", cmd.CommandPath()+" --help")
		}
	}
	if f.hint != "" {
		_, _ = fmt.Fprintf(a.err, "hint: %s\n", f.hint)
	}
	return f.code
}

// jsonError is an error as a program gets it, on stderr, when it has asked for JSON.
type jsonError struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do
	Code    int    `json:"exit_code"`
}

// wantsJSON reports whether the command was told to print JSON.
func wantsJSON(cmd *cobra.Command) bool {
	if cmd == nil {
		return false
	}
	output := cmd.Flags().Lookup("output")
	return output != nil && output.Value.String() == "json"
}

// classify finds the exit code of an error, and the hint that its text lacks.
func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	f = &failure{code: exitEngine, err: err}
	var file *yamldef.Error
	var definition *domain.DefinitionError
	var context *jsonschema.ViolationsError
	var unknown *tasker.DefinitionNotFoundError
	var bypass *domain.BypassError
	var invalid *tasker.InvalidVerbError
	var query *tasker.InvalidStuckError
	var failed *tasker.TaskFailedError
	switch {
	case errors.As(err, &file):
		f.code = exitUsage
		if n := len(file.Problems); n > 1 {
			f.err = fmt.Errorf("%s has %d problems:\n  %s", file.File, n, strings.ReplaceAll(file.Error(), "\n", "\n  "))
		}
	case errors.As(err, &definition), errors.As(err, &context), errors.As(err, &unknown), errors.As(err, &bypass), errors.As(err, &invalid), errors.As(err, &query),
		errors.Is(err, natsserver.ErrInvalidOptions), errors.Is(err, natsserver.ErrCredentials):
		f.code = exitUsage
	case errors.As(err, &failed):
		f.code = exitFailed
	case errors.Is(err, tasker.ErrOverloaded):
		f.hint = "nothing was stored; try again later"
	case errors.Is(err, tasker.ErrStoreFull):
		f.hint = "tasker prune --older-than 24h gives up the history of old tasks"
	}
	return f
}
