package exechandler

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// DefaultMaxOutput is the most that a command may write to stdout, in bytes, when max_output is left out.
const DefaultMaxOutput = 1 << 20

// config is the handler_config of a step.
type config struct {
	Command   command           `json:"command"`
	Env       map[string]string `json:"env"`
	PassEnv   []string          `json:"pass_env"`
	Dir       string            `json:"dir"`
	MaxOutput int               `json:"max_output"`
}

// command is what to run, program first.
type command []string

// UnmarshalJSON reads a line for the shell or a list of arguments.
func (c *command) UnmarshalJSON(b []byte) error {
	var line string
	if json.Unmarshal(b, &line) == nil {
		if *c = nil; strings.TrimSpace(line) != "" {
			*c = command{"/bin/sh", "-c", line}
		}
		return nil
	}
	var argv []string
	if json.Unmarshal(b, &argv) != nil {
		return errors.New("command must be a string, which /bin/sh runs, or a list of strings, which runs without a shell")
	}
	*c = argv
	return nil
}

// Validate finds mistakes in a handler_config, so that a definition is refused before it runs.
func Validate(raw json.RawMessage) error {
	_, err := parse(raw)
	return err
}

func parse(raw json.RawMessage) (config, error) {
	c := config{MaxOutput: DefaultMaxOutput}
	if err := handlerconfig.Decode(raw, &c); err != nil {
		return c, err
	}
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case len(c.Command) == 0 || c.Command[0] == "":
		report("handler_config.command is missing: what shall run?")
	case slices.ContainsFunc(c.Command, hasNUL):
		report("handler_config.command holds a NUL character")
	}
	for name, value := range c.Env {
		if !isVariable(name) || hasNUL(value) {
			report("handler_config.env: %q is not a variable that a process can have", name)
		}
		if err := handlerconfig.Check(value); err != nil {
			report("handler_config.env.%s: %w", name, err)
		}
	}
	for _, name := range c.PassEnv {
		if !isVariable(name) {
			report("handler_config.pass_env: %q is not the name of a variable", name)
		}
	}
	if hasNUL(c.Dir) {
		report("handler_config.dir holds a NUL character")
	}
	if c.MaxOutput < 1 {
		report("handler_config.max_output must be at least 1 byte, got %d", c.MaxOutput)
	}
	return c, errors.Join(problems...)
}

func isVariable(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }

func hasNUL(s string) bool { return strings.Contains(s, "\x00") }
