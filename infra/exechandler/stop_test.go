//go:build unix

package exechandler_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
)

var errReason = errors.New("step was cancelled")

// stopped runs the script, and ends its context when it writes "ready" to stderr. It returns how long the handler took
// from then on.
func stopped(t *testing.T, config string) (*log, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var at time.Time
	l := &log{on: func(line string) {
		if line == "ready" {
			at = time.Now()
			cancel(errReason)
		}
	}}
	_, err := handle(ctx, l.options(), config)
	if at.IsZero() {
		t.Fatalf("%s: never ready: %v, %q", config, err, l.lines)
	}
	return l, time.Since(at), err
}

// slack is what a machine with other things to do may add.
const slack = 10 * time.Second

// Every script says its group, and when it is ready to be stopped. It would run for an hour.
func TestWholeGroupEndsWithTheContext(t *testing.T) {
	const ready = `echo ready >&2; `
	for name, script := range map[string]string{
		"the shell alone":          ready + `exec sleep 3600`,
		"a child":                  ready + `sleep 3600; :`,
		"it ignores SIGTERM":       `trap '' TERM; ` + ready + `sleep 3600; sleep 3600; :`,
		"a child ignores SIGTERM":  `(trap '' TERM; ` + ready + `sleep 3600; sleep 3600) & wait`,
		"a child holds the pipes":  `(trap '' TERM; ` + ready + `: >FIFO; sleep 3600; sleep 3600) & : <FIFO; exit 0`,
		"a grandchild was let go":  `(trap '' TERM; (` + ready + `exec </dev/null >/dev/null 2>&1; sleep 3600; sleep 3600) &) ; sleep 3600`,
		"it stands still":          ready + `kill -s STOP $$`,
		"it writes without end":    ready + `while :; do echo x >&2; done`,
		"many":                     `trap '' TERM; for i in 1 2 3 4 5 6 7 8 9; do sleep 3600 & done; ` + ready + `wait`,
		"children of its children": `sh -c 'sh -c "echo ready >&2; sleep 3600; :"; :'; :`,
	} {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			script = strings.ReplaceAll(script, "FIFO", fifo)
			l, took, err := stopped(t, shell(`echo "group $$" >&2; `+script, `"grace":"50ms"`))
			if !errors.Is(err, errReason) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, errReason)
			}
			if f := failureOf(err); f.Kind == domain.KindPermanent {
				t.Errorf("it is final: %v", err)
			}
			if strings.Contains(script, "trap ''") && took < 50*time.Millisecond {
				t.Errorf("took %s: the grace was not given", took)
			}
			if took > slack {
				t.Errorf("took %s", took)
			}
			nobodyIsLeft(t, numberIn(t, l.lines, "group"))
		})
	}
}

func TestCommandMayTidyUpWhenItIsStopped(t *testing.T) {
	t.Parallel() // it waits
	file := filepath.Join(t.TempDir(), "tidied")
	for name, script := range map[string]string{
		"itself":                        `trap 'echo tidy >&2; : >%q; exit 0' TERM; echo ready >&2; while :; do sleep 0.01; done`,
		"a child, the shell dies first": `sh -c 'trap "echo tidy >&2; sleep 0.1; : >%q; exit 0" TERM; echo ready >&2; while :; do sleep 0.01; done'; :`,
		"a child without the pipes":     `sh -c 'trap "echo tidy >&2; exec >/dev/null 2>&1; sleep 0.1; : >%q; exit 0" TERM; echo ready >&2; while :; do sleep 0.01; done'; :`,
	} {
		_ = os.Remove(file)
		_, took, err := stopped(t, shell(fmt.Sprintf(script, file), `"grace":"10m"`))
		if !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), "\ntidy") || strings.Contains(err.Error(), "killed after") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took > slack {
			t.Errorf("%s: took %s of the grace", name, took)
		}
	}
}

func TestGraceIsHowLongACommandMayTakeToEnd(t *testing.T) {
	t.Parallel() // it waits
	const stubborn = `trap '' TERM; echo ready >&2; while :; do sleep 0.01; done`
	for config, want := range map[string]time.Duration{
		shell(stubborn):                    exechandler.DefaultGrace,
		shell(stubborn, `"grace":"100ms"`): 100 * time.Millisecond,
		shell(stubborn, `"grace":0`):       0,
	} {
		_, took, err := stopped(t, config)
		if took < want || took > want+slack {
			t.Errorf("%s: took %s", config, took)
		}
		if err == nil || !strings.Contains(err.Error(), "command was stopped, and killed after its grace of "+want.String()) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestTimeoutSaysThatItWasOne(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := handle(ctx, exechandler.Options{}, shell(`echo working >&2; sleep 3600`))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "command was stopped: ") {
		t.Errorf("got %v", err)
	}
}

func TestWhatACommandLeavesBehindIsKilled(t *testing.T) {
	t.Parallel() // it waits
	for name, script := range map[string]string{
		"with its pipes":    `(trap '' TERM; sleep 3600; sleep 3600) & echo '{"ok":true}'`,
		"without its pipes": `(trap '' TERM; sleep 3600; sleep 3600) </dev/null >/dev/null 2>&1 & echo '{"ok":true}'`,
		"a daemon of sorts": `(nohup sh -c 'sleep 3600; :' </dev/null >/dev/null 2>&1 &) ; echo '{"ok":true}'`,
	} {
		var l log
		start := time.Now()
		got, err := handle(t.Context(), l.options(), shell(`echo "group $$" >&2; `+script))
		if err != nil || got != `{"ok":true}` {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
		if took := time.Since(start); took > slack {
			t.Errorf("%s: took %s", name, took)
		}
		nobodyIsLeft(t, numberIn(t, l.lines, "group"))
	}
}

// Who leaves the group on purpose survives, which nobody can prevent. It does not keep the step.
func TestDaemonInAnotherSessionDoesNotKeepTheStep(t *testing.T) {
	t.Parallel() // it waits
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := fmt.Sprintf(`%s='other session' '%s' & `, helperVariable, self)
	ended := func(l *log) {
		pid := numberIn(t, l.lines, "daemon")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("the daemon had not survived: %v", err)
		}
		nobodyIsLeft(t, pid)
	}
	fifo := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}

	// The command ends when the daemon has said something, which a fifo brings back to it.
	l := &log{on: func(line string) {
		if strings.HasPrefix(line, "daemon ") {
			if err := os.WriteFile(fifo, []byte("x\n"), 0); err != nil {
				t.Error(err)
			}
		}
	}}
	start := time.Now()
	got, err := handle(t.Context(), l.options(), shell(daemon+`read x <'`+fifo+`'; echo 1`))
	if got != "1" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if took := time.Since(start); took > 2*slack {
		t.Errorf("took %s", took)
	}
	ended(l)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l = &log{on: func(line string) {
		if strings.HasPrefix(line, "daemon ") {
			start = time.Now()
			cancel()
		}
	}}
	if _, err := handle(ctx, l.options(), shell(daemon+`wait`)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > exechandler.DefaultGrace+slack {
		t.Errorf("took %s", took)
	}
	ended(l)
}

func TestCommandHasNoTerminal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := handle(t.Context(), exechandler.Options{}, fmt.Sprintf(`{"command":[%q],"env":{%q:"terminal","GORACE":"atexit_sleep_ms=0"}}`,
		self, helperVariable))
	if got != "true" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

// The context of an execution ends when the engine stops; nobody waits for the handler then but Close.
func TestCloseStopsWhatStillRuns(t *testing.T) {
	t.Parallel() // it waits
	ready, ended := make(chan struct{}), make(chan error)
	l := &log{on: func(line string) {
		if line == "ready" {
			close(ready)
		}
	}}
	h := exechandler.New(l.options())
	step := domain.StepView{Config: []byte(shell(`trap '' TERM; echo "group $$" >&2; echo ready >&2; sleep 3600; sleep 3600`, `"grace":"100ms"`))}
	go func() {
		_, err := h.Handle(t.Context(), task, steps, step)
		ended <- err
	}()
	<-ready
	start := time.Now()
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- h.Close() }()
	}
	if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "command was stopped, and killed after its grace of 100ms: the engine stops") {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(start); took < 100*time.Millisecond || took > slack {
		t.Errorf("took %s", took)
	}
	nobodyIsLeft(t, numberIn(t, l.lines, "group"))
	if _, err := h.Handle(t.Context(), task, steps, step); err == nil || err.Error() != "command was not started: the engine stops" {
		t.Errorf("after Close: %v", err)
	}
}
