package exechandler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/tasker-go/tasker/domain"
)

// What a shell exits with when it cannot run a command; a command that runs without a shell fails with the same codes.
const (
	exitNoExec   = 126
	exitNotFound = 127
)

// notStarted is why a program cannot be started, with the exit code that a shell has for it.
type notStarted struct {
	code int // 0 when a shell has none
	text string
}

func (e *notStarted) Error() string { return e.text }

// find gives the path of a program, as a shell with that environment would. Folders of PATH that are not absolute
// are left out: what runs would depend on where.
func find(name string, env []string) (string, error) {
	if runtime.GOOS == "windows" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", &notStarted{exitNotFound, err.Error()}
		}
		return path, nil
	}
	if strings.Contains(name, "/") {
		return name, nil // below the working directory, when it is relative
	}
	searched := valueOf(env, "PATH")
	denied := ""
	for _, dir := range filepath.SplitList(searched) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		switch {
		case err != nil || info.IsDir():
		case info.Mode()&0o111 != 0:
			return path, nil
		case denied == "":
			denied = path
		}
	}
	if denied != "" {
		return "", &notStarted{exitNoExec, denied + " is not executable: chmod +x it on the machine of the engine"}
	}
	if searched == "" {
		return "", &notStarted{exitNotFound, fmt.Sprintf("%q was not found, because there is no PATH: write its full path", name)}
	}
	return "", &notStarted{exitNotFound, fmt.Sprintf(
		"%q was not found in PATH (%s): install it where the engine runs, or write its full path", name, searched)}
}

// checkDir refuses a working directory that cannot be one.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	_, err := os.Stat(dir + string(filepath.Separator) + ".") // only a folder that one may enter has a "."
	if err == nil {
		return nil
	}
	reason := err
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		reason = cause.Err
	}
	return &domain.Failure{Kind: domain.KindPermanent, Code: "DIR", Err: fmt.Errorf(
		"command cannot be started: working directory %q: %w: create it where the engine runs, or correct handler_config.dir",
		dir, reason)}
}

// startFailed tells what no retry mends from a machine that is short of processes or memory.
func (c config) startFailed(err error, cmd *exec.Cmd) error {
	why := (*notStarted)(nil)
	if !errors.As(err, &why) {
		why = diagnose(err, cmd)
	}
	switch {
	case why == nil:
		return &domain.Failure{Code: "START", Err: fmt.Errorf("command cannot be started: %w", err)}
	case why.code == 0:
		return &domain.Failure{Kind: domain.KindPermanent, Code: "ARGUMENTS_TOO_LARGE", Err: fmt.Errorf("command cannot be started: %w", why)}
	}
	return c.failure(why.code, fmt.Errorf("command cannot be started: %w", why))
}

// diagnose makes sense of what the system said; nil when it may be otherwise in a moment.
func diagnose(err error, cmd *exec.Cmd) *notStarted {
	path := cmd.Path
	if cmd.Dir != "" && !filepath.IsAbs(path) {
		path = filepath.Join(cmd.Dir, path)
	}
	info, missing := os.Stat(path)
	switch {
	case errors.Is(err, syscall.E2BIG):
		name, size := largest(cmd)
		return &notStarted{0, fmt.Sprintf("its arguments and environment are more than the system allows; the largest is %s, with %d "+
			"bytes: read large values from stdin, which has the context and all results", name, size)}
	case errors.Is(err, syscall.ENOEXEC):
		return &notStarted{exitNoExec, path + " is no program of this machine; a script begins with #! and its interpreter"}
	case missing == nil && info.IsDir():
		return &notStarted{exitNoExec, path + " is a folder"}
	case errors.Is(err, fs.ErrPermission):
		return &notStarted{exitNoExec, path + " is not executable for the engine (permission denied): chmod +x it, or let the engine's user at it"}
	case errors.Is(err, fs.ErrNotExist) && missing == nil:
		return &notStarted{exitNoExec, path + " needs an interpreter (its first line, #!) or a loader that does not exist"}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound), errors.Is(err, exec.ErrDot),
		errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG):
		return &notStarted{exitNotFound, fmt.Sprintf("%q was not found: install it where the engine runs, or correct the path", path)}
	}
	return nil
}

// largest names the largest argument or variable.
func largest(cmd *exec.Cmd) (name string, size int) {
	for i, argument := range cmd.Args {
		if len(argument) > size {
			name, size = fmt.Sprintf("argument %d", i), len(argument)
		}
	}
	for _, variable := range cmd.Env {
		if len(variable) > size {
			variableName, _, _ := strings.Cut(variable, "=")
			name, size = "variable "+variableName, len(variable)
		}
	}
	return name, size
}
