package exechandler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// Defaults and limits of a handler_config. The most that max_output and max_stderr may be is domain.MaxPayload, which
// is the largest result.
const (
	// DefaultMaxOutput is the most that a command may write to stdout, in bytes, when max_output is left out.
	DefaultMaxOutput = 1 << 20
	// DefaultMaxStderr is how much of stderr is logged, in bytes, when max_stderr is left out.
	DefaultMaxStderr = 1 << 20
	// DefaultGrace is the time between SIGTERM and SIGKILL when grace is left out.
	DefaultGrace = 500 * time.Millisecond
	// MaxGrace is the longest grace.
	MaxGrace = 10 * time.Minute
)

// config is the handler_config of a step.
type config struct {
	command     command
	env         map[string]*string // nil: unset
	passEnv     []string
	dir         string
	grace       time.Duration
	maxOutput   int
	maxStderr   int
	retryOn     []int
	permanentOn []int
}

// keys is a handler_config as it was written. Each key is read by itself, so that all mistakes are found at once.
type keys struct {
	Command     json.RawMessage `json:"command"`
	Shell       json.RawMessage `json:"shell"`
	Env         json.RawMessage `json:"env"`
	PassEnv     json.RawMessage `json:"pass_env"`
	Dir         json.RawMessage `json:"dir"`
	Grace       json.RawMessage `json:"grace"`
	MaxOutput   json.RawMessage `json:"max_output"`
	MaxStderr   json.RawMessage `json:"max_stderr"`
	RetryOn     json.RawMessage `json:"retry_on"`
	PermanentOn json.RawMessage `json:"permanent_on"`
}

// Validate finds mistakes in a handler_config, so that a definition is refused before it runs. The error has a line per
// mistake, which begins with the key and says what to do.
func Validate(raw json.RawMessage) error {
	_, err := parse(raw)
	return err
}

// problems gathers mistakes.
type problems []error

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Errorf("handler_config."+format, args...))
}

// read reads a key into out; a key that is left out, and null, leave out as it is.
func (p *problems) read(key string, raw json.RawMessage, out any, want string) {
	if isNull(raw) {
		return
	}
	if json.Unmarshal(raw, out) != nil {
		p.add("%s must be %s, got %s", key, want, short(raw))
	}
}

func parse(raw json.RawMessage) (config, error) {
	c := config{grace: DefaultGrace, maxOutput: DefaultMaxOutput, maxStderr: DefaultMaxStderr}
	var k keys
	unknown := handlerconfig.Decode(raw, &k)
	if unknown != nil && json.Unmarshal(raw, &k) != nil {
		return c, unknown // not even an object
	}
	var p problems
	if unknown == nil || k.Command != nil { // else it may be the unknown one
		c.command = readCommand(&p, k.Command, k.Shell)
	}
	c.env = readEnv(&p, k.Env)
	readList(&p, "pass_env", k.PassEnv, &c.passEnv, "the name of a variable", checkPassed)
	p.read("dir", k.Dir, &c.dir, "a text")
	switch {
	case hasNUL(c.dir):
		p.add("dir holds a NUL character, which no path can")
	case strings.Contains(c.dir, "${"):
		p.add("dir holds no ${...}: where a program runs is for the definition to say, not for a task")
	}
	c.grace = readGrace(&p, k.Grace, c.grace)
	readBytes(&p, "max_output", k.MaxOutput, &c.maxOutput)
	readBytes(&p, "max_stderr", k.MaxStderr, &c.maxStderr)
	readList(&p, "retry_on", k.RetryOn, &c.retryOn, "an exit code", checkCode)
	readList(&p, "permanent_on", k.PermanentOn, &c.permanentOn, "an exit code", checkCode)
	for _, code := range c.retryOn {
		if slices.Contains(c.permanentOn, code) {
			p.add("retry_on and permanent_on both hold %d: keep one of them", code)
		}
	}
	return c, errors.Join(append(p, unknown)...)
}

// readEnv reads the variables; those that are null are nil.
func readEnv(p *problems, raw json.RawMessage) map[string]*string {
	var values map[string]json.RawMessage
	p.read("env", raw, &values, `an object of texts, such as {"NAME": "value"}`)
	env := make(map[string]*string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var value *string
		switch {
		case !isVariable(name):
			p.add("env: %q is not the name of a variable: it may hold neither = nor NUL, and not be empty", name)
		case slices.Contains(given, name):
			p.add("env.%s is what the engine sets: choose another name", name)
		case json.Unmarshal(values[name], &value) != nil:
			p.add("env.%s must be a text, got %s: put quotes around it", name, short(values[name]))
		case value == nil:
			env[name] = nil
		case hasNUL(*value):
			p.add("env.%s holds a NUL character, which no variable can", name)
		default:
			if err := checkTemplate(*value); err != nil {
				p.add("env.%s: %w", name, err)
			}
			env[name] = value
		}
	}
	return env
}

func readGrace(p *problems, raw json.RawMessage, otherwise time.Duration) time.Duration {
	if isNull(raw) {
		return otherwise
	}
	var grace handlerconfig.Duration
	if err := json.Unmarshal(raw, &grace); err != nil {
		p.add("grace: %w", err)
	} else if d := time.Duration(grace); d < 0 || d > MaxGrace {
		p.add("grace must be from 0, which kills at once, to %s, got %s", MaxGrace, d)
	}
	return time.Duration(grace)
}

func readBytes(p *problems, key string, raw json.RawMessage, out *int) {
	before := len(*p)
	p.read(key, raw, out, "a whole number of bytes")
	if len(*p) == before && (*out < 1 || *out > domain.MaxPayload) {
		p.add("%s must be from 1 to %d bytes, got %s", key, domain.MaxPayload, short(raw))
	}
}

// readList reads a list whose items are checked one by one; check says what is wrong with an item, or nothing.
func readList[T any](p *problems, key string, raw json.RawMessage, out *[]T, item string, check func(T) string) {
	var items []json.RawMessage
	p.read(key, raw, &items, "a list")
	for _, text := range items {
		var value T
		if isNull(text) || json.Unmarshal(text, &value) != nil {
			p.add("%s: %s is not %s", key, short(text), item)
		} else if wrong := check(value); wrong != "" {
			p.add("%s: %s %s", key, short(text), wrong)
		} else {
			*out = append(*out, value)
		}
	}
}

func checkPassed(name string) string {
	switch {
	case !isVariable(name):
		return "is not the name of a variable"
	case strings.ContainsAny(name, "*?"):
		return "is a pattern: name each variable"
	case slices.Contains(given, name):
		return "is what the engine sets: leave it out"
	}
	return ""
}

func checkCode(code int) string {
	switch {
	case code == 0:
		return "is success, and stays it"
	case code < 0 || code > 255:
		return "is no exit code: they go from 1 to 255; a death by signal n counts as 128+n"
	}
	return ""
}

func isVariable(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }

func hasNUL(s string) bool { return strings.Contains(s, "\x00") }

func isNull(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// short is a piece of JSON for a message: in one line, and not too long.
func short(raw json.RawMessage) string {
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return "something that is not JSON"
	}
	text := compact.String()
	const most = 40
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
