package exechandler

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// exitRetry is EX_TEMPFAIL of sysexits.h.
const exitRetry = 75

// exitSignal is what a shell adds to the number of the signal that killed its child.
const exitSignal = 128

// retries says whether an exit code asks for a retry: SEMANTICS 9, unless the configuration says otherwise.
func (c config) retries(code int) bool {
	return slices.Contains(c.retryOn, code) || code == exitRetry && !slices.Contains(c.permanentOn, code)
}

// failure is that of an exit code.
func (c config) failure(code int, err error) *domain.Failure {
	f := &domain.Failure{Err: err, Code: fmt.Sprintf("EXIT_%d", code)}
	switch {
	case !c.retries(code):
		f.Kind = domain.KindPermanent
	case code == exitRetry:
		f.Code = "EX_TEMPFAIL"
	}
	return f
}

// ended is the failure of a command that ended by itself, and not well. tail is the end of stderr.
func (c config) ended(err error, tail string) error {
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) {
		return fmt.Errorf("running the command: %w%s", err, tail)
	}
	if number := signalOf(exit); number > 0 {
		return c.killedBy(number, tail)
	}
	code := exit.ExitCode()
	switch {
	case !c.retries(code):
		return c.failure(code, fmt.Errorf("command failed with exit code %d%s%s", code, meaning(code), tail))
	case code == exitRetry:
		return c.failure(code, fmt.Errorf("command asked for a retry (exit code %d)%s", code, tail))
	}
	return c.failure(code, fmt.Errorf("command failed with exit code %d, one of retry_on%s", code, tail))
}

// killedBy is the failure of a command that a signal killed: that says little about whether it can succeed.
func (c config) killedBy(number int, tail string) error {
	name := signalName(number)
	f := &domain.Failure{Code: "SIGNAL_" + name, Err: fmt.Errorf("command was killed by SIG%s%s", name, tail)}
	if name == "" {
		f.Code, f.Err = fmt.Sprintf("SIGNAL_%d", number), fmt.Errorf("command was killed by signal %d%s", number, tail)
	}
	if slices.Contains(c.permanentOn, exitSignal+number) {
		f.Kind = domain.KindPermanent
	}
	return f
}

// meaning says what shells mean by an exit code; other programs mean what they like.
func meaning(code int) string {
	switch name := signalName(code - exitSignal); {
	case code == exitNotFound:
		return " (a shell found no such command: is it installed where the engine runs, and in PATH?)"
	case code == exitNoExec:
		return " (a shell found the command, but may not execute it)"
	case name != "":
		return fmt.Sprintf(" (%d+%d: a shell's child was killed by SIG%s)", exitSignal, code-exitSignal, name)
	}
	return ""
}

// wish reads {"retry_after": "30s"}, which a command may print when it asks for a retry; 0 when it did not. A wish that
// cannot be understood gives a complaint.
func wish(stdout []byte) (wait time.Duration, complaint string) {
	var said struct {
		RetryAfter json.RawMessage `json:"retry_after"`
	}
	if json.Unmarshal(stdout, &said) != nil || isNull(said.RetryAfter) {
		return 0, ""
	}
	var d handlerconfig.Duration
	if err := json.Unmarshal(said.RetryAfter, &d); err != nil {
		return 0, fmt.Sprintf("retry_after of stdout: %v; the step's backoff holds", err)
	}
	if d <= 0 {
		return 0, fmt.Sprintf("retry_after of stdout must be more than 0, got %s; the step's backoff holds", short(said.RetryAfter))
	}
	return time.Duration(d), ""
}
