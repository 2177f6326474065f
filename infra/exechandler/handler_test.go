//go:build unix

package exechandler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type sequence []domain.StepView

func (s sequence) Steps(context.Context) ([]domain.StepView, error) { return s, nil }

func (s sequence) Find(_ context.Context, name string) (domain.StepView, error) {
	for _, step := range s {
		if step.Name == name {
			return step, nil
		}
	}
	return domain.StepView{}, fmt.Errorf("step %q: %w", name, domain.ErrUnknownStep)
}

var (
	task = domain.TaskView{
		ID: domain.KeyedTaskID("shop", "order", "1"), Namespace: "shop", Name: "order", Version: "1.2.3",
		Context: json.RawMessage(`{"who": "<world>"}`),
	}
	steps = sequence{
		{Name: "first", State: domain.Complete, Result: json.RawMessage(`{"n":1.50}`)},
		{Name: "skipped", State: domain.Complete, Skipped: true},
		{Name: "this", State: domain.InProgress},
	}
)

func handle(ctx context.Context, o exechandler.Options, config string) (string, error) {
	result, err := exechandler.New(o).Handle(ctx, task, steps, domain.StepView{
		Name: "this", Attempt: 2, Round: 1, IdempotencyKey: "key-1", Config: json.RawMessage(config),
		LastError: &domain.StepError{Message: "before", Kind: domain.KindError},
	})
	raw, _ := result.(json.RawMessage)
	return string(raw), err
}

// shell is the handler_config that runs a script.
func shell(script string) string {
	text, err := json.Marshal(map[string]string{"command": script})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestStdoutIsTheResult(t *testing.T) {
	for script, want := range map[string]string{
		`:`:                               `null`,
		`echo`:                            `null`,
		`echo '{"a": 1.50}'`:              `{"a": 1.50}`,
		`echo 12345678901234567890.10`:    `12345678901234567890.10`,
		`printf '\n [1,\n2]\n\n'`:         "[1,\n2]",
		`echo hello`:                      `"hello"`,
		`printf 'two\nlines\n\n'`:         `"two\nlines\n"`,
		`printf '{"a":1} {"b":2}'`:        `"{\"a\":1} {\"b\":2}"`,
		`printf 'x\377y'`:                 `"x\ufffdy"`,
		`cat >/dev/null; echo '"quoted"'`: `"quoted"`,
	} {
		got, err := handle(t.Context(), exechandler.Options{}, shell(script))
		var a, b any
		if err != nil || json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Errorf("%s: %s, %v; want %s", script, got, err, want)
		} else if strings.HasPrefix(want, `"`) && a != b || !strings.HasPrefix(want, `"`) && got != want {
			t.Errorf("%s: %s; want %s", script, got, want)
		}
	}
}

func TestCommandGetsItsTaskOnStdin(t *testing.T) {
	got, err := handle(t.Context(), exechandler.Options{}, `{"command":["cat"]}`)
	want := `{"task":{"id":"` + task.ID.String() + `","namespace":"shop","name":"order","version":"1.2.3"},` +
		`"context":{"who":"<world>"},"step":{"name":"this","attempt":2,"round":1,"inputs":null,"idempotency_key":"key-1",` +
		`"last_error":{"message":"before","kind":"error"}},"results":{"first":{"n":1.50}}}`
	if err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestListOfArgumentsRunsWithoutAShell(t *testing.T) {
	got, err := handle(t.Context(), exechandler.Options{}, `{"command":["printf","%s|","$HOME","a b",";"]}`)
	if err != nil || got != `"$HOME|a b|;|"` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestEnvironmentHoldsOnlyWhatIsAllowed(t *testing.T) {
	t.Setenv("SECRET", "s")
	t.Setenv("PASSED", "p")
	t.Setenv("LC_NUMERIC", "C")
	t.Setenv("TZ", "UTC")
	t.Setenv("TMPDIR", "/tmp")
	got, err := handle(t.Context(), exechandler.Options{}, `{"command":["env"],"pass_env":["PASSED","ABSENT"],
		"env":{"OWN":"o","N":"n=${results.first.n}","WHO":"${context.who}","NULL":"${results.skipped}","TZ":"CET","TMPDIR":"${results.skipped}"}}`)
	var text string
	if err != nil || json.Unmarshal([]byte(got), &text) != nil {
		t.Fatal(got, err)
	}
	env := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[name] = value
	}
	for name, want := range map[string]string{
		"PASSED": "p", "LC_NUMERIC": "C", "TZ": "CET", "OWN": "o", "N": "n=1.50", "WHO": "<world>", "PATH": os.Getenv("PATH"),
		"TASKER_TASK": task.ID.String(), "TASKER_STEP": "this", "TASKER_ATTEMPT": "2",
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	for _, name := range []string{"SECRET", "ABSENT", "NULL", "TMPDIR"} {
		if value, ok := env[name]; ok {
			t.Errorf("%s = %q, want it unset", name, value)
		}
	}
}

func TestCommandRunsInItsDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got, err := handle(t.Context(), exechandler.Options{}, fmt.Sprintf(`{"command":"pwd","dir":%q}`, dir))
	if err != nil || got != strconv.Quote(dir) {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestExitSaysHowTheStepEnds(t *testing.T) {
	for config, want := range map[string]struct {
		kind    domain.ErrorKind
		code    string
		message string
	}{
		shell(`echo no >&2; exit 75`):                 {"", "EX_TEMPFAIL", "command asked for a retry (exit code 75): no"},
		shell(`echo a >&2; echo b>&2;exit 3`):         {domain.KindPermanent, "EXIT_3", "command failed with exit code 3: a\nb"},
		shell(`exit 1`):                               {domain.KindPermanent, "EXIT_1", "command failed with exit code 1"},
		shell(`no-such-command-at-all`):               {domain.KindPermanent, "EXIT_127", "exit code 127: "},
		shell(`kill -9 $$`):                           {"", "", "command was killed (signal: killed)"},
		shell(`kill -15 $$`):                          {"", "", "command was killed (signal: terminated)"},
		`{"command":["no-such-command"]}`:             {domain.KindPermanent, "START", "cannot be started"},
		`{"command":["/etc/passwd"]}`:                 {domain.KindPermanent, "START", "permission denied"},
		`{"command":"x","dir":"/no/such"}`:            {domain.KindPermanent, "START", "no such file"},
		`{"command":"x","shell":"bash"}`:              {domain.KindPermanent, "CONFIG", `unknown keys "shell"`},
		`{"command":"x","env":{"A":"${context.no}"}}`: {domain.KindPermanent, "TEMPLATE", `env.A: ${context.no}: context has no "no"`},
	} {
		_, err := handle(t.Context(), exechandler.Options{}, config)
		if err == nil || !strings.Contains(err.Error(), want.message) {
			t.Errorf("%s: %v; want %q", config, err, want.message)
			continue
		}
		failure := &domain.Failure{}
		_ = errors.As(err, &failure)
		if failure.Kind != want.kind || failure.Code != want.code {
			t.Errorf("%s: kind %q, code %q; want %q, %q", config, failure.Kind, failure.Code, want.kind, want.code)
		}
	}
}

func TestStderrIsLoggedLineByLineAndItsEndIsInTheError(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	o := exechandler.Options{Logger: func(context.Context) *slog.Logger { return logger }}
	_, err := handle(t.Context(), o, shell(`i=1; while [ $i -le 100 ]; do echo "line $i" >&2; i=$((i+1)); done; printf last >&2; exit 1`))
	if err == nil || !strings.HasSuffix(err.Error(), "\nline 100\nlast") || strings.Contains(err.Error(), "line 81\n") {
		t.Errorf("error = %v", err)
	}
	if n := strings.Count(out.String(), "stream=stderr"); n != 101 || !strings.Contains(out.String(), `msg="line 42"`) {
		t.Errorf("%d lines logged:\n%s", n, out.String())
	}
}

func TestEndlessLineOnStderrIsCut(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	o := exechandler.Options{Logger: func(context.Context) *slog.Logger { return logger }}
	_, err := handle(t.Context(), o, shell(`head -c 3000000 /dev/zero | tr '\0' x >&2; exit 1`))
	if err == nil || len(err.Error()) > 3000 || out.Len() > 6000 {
		t.Errorf("error of %d bytes, log of %d bytes", len(fmt.Sprint(err)), out.Len())
	}
}

func TestOutputBeyondTheLimitEndsTheCommandForGood(t *testing.T) {
	start := time.Now()
	_, err := handle(t.Context(), exechandler.Options{}, `{"command":"printf 123456; sleep 60","max_output":5}`)
	failure := &domain.Failure{}
	if !errors.As(err, &failure) || failure.Kind != domain.KindPermanent || failure.Code != "OUTPUT_TOO_LARGE" ||
		!strings.Contains(err.Error(), "more than 5 bytes") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if got, err := handle(t.Context(), exechandler.Options{}, `{"command":"printf 12345","max_output":5}`); got != "12345" || err != nil {
		t.Errorf("exactly the limit: %s, %v", got, err)
	}
}

// background is a script that starts a process in the background, which ignores SIGTERM, writes its number to
// the file, and keeps stdout open; then it goes on with rest.
func background(file, rest string) string {
	return fmt.Sprintf(`(trap '' TERM; sleep 60 & echo $! >'%[1]s.tmp'; mv '%[1]s.tmp' '%[1]s'; wait) &
		while [ ! -e '%[1]s' ]; do sleep 0.01; done; %[2]s`, file, rest)
}

func isGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && bytes.Contains(stat, []byte(") Z ")) {
			return // dead, and waits for its parent, which may be a container's init that reaps nothing
		}
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
		time.Sleep(10 * time.Millisecond) // nothing tells when a process that is not our child is gone
	}
	t.Errorf("process %d, left in the background, still runs", pid)
}

func TestChildThatKeepsStdoutOpenDoesNotHangTheStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	start := time.Now()
	got, err := handle(t.Context(), exechandler.Options{}, shell(background(file, `echo '{"ok":true}'`)))
	if err != nil || got != `{"ok":true}` {
		t.Errorf("got %s, %v", got, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	isGone(t, file)
}

func TestWholeGroupEndsWithTheContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("step was cancelled")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(file); err == nil {
				cancel(reason)
			}
			time.Sleep(time.Millisecond) // polls a file that another process writes
		}
	}()
	start := time.Now()
	_, err := handle(ctx, exechandler.Options{}, shell(background(file, `trap '' TERM; sleep 60; sleep 60`)))
	if !errors.Is(err, reason) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, reason)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	isGone(t, file)
}

func TestCommandMayTidyUpWhenItIsStopped(t *testing.T) {
	dir := t.TempDir()
	ready, tidied := filepath.Join(dir, "ready"), filepath.Join(dir, "tidied")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(ready); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond) // polls a file that another process writes
		}
	}()
	_, err := handle(ctx, exechandler.Options{},
		shell(fmt.Sprintf(`trap 'echo tidy >&2; : >%q; exit 0' TERM; : >%q; while :; do sleep 0.01; done`, tidied, ready)))
	if !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), "tidy") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(tidied); err != nil {
		t.Error(err)
	}
}

func TestContextThatHasEndedStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := handle(ctx, exechandler.Options{}, shell("exit 0")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLargeInputThatIsNotReadIsNoError(t *testing.T) {
	result, err := exechandler.New(exechandler.Options{}).Handle(t.Context(),
		domain.TaskView{Context: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}, steps,
		domain.StepView{Config: json.RawMessage(shell("echo 1"))})
	if err != nil || string(result.(json.RawMessage)) != "1" {
		t.Errorf("got %s, %v", result, err)
	}
}

func TestMistakesOfTheConfigAreNamedBeforeItRuns(t *testing.T) {
	for config, want := range map[string]string{
		``:                                      "command is missing",
		`{"command":" "}`:                       "command is missing",
		`{"command":[]}`:                        "command is missing",
		`{"command":["a\u0000"]}`:               "NUL",
		`{"command":{"run":"x"}}`:               "must be a string, which /bin/sh runs, or a list of strings",
		`{"command":"x","cmd":"y"}`:             `unknown keys "cmd"; known are command, env, pass_env, dir, max_output`,
		`{"command":"x","env":{"A=B":"c"}}`:     `"A=B" is not a variable`,
		`{"command":"x","env":{"A":1}}`:         "must be a string, not number",
		`{"command":"x","env":{"A":"${HOME}"}}`: "env.A: template",
		`{"command":"x","pass_env":[""]}`:       "pass_env",
		`{"command":"x","max_output":0}`:        "max_output must be at least 1 byte, got 0",
	} {
		if err := exechandler.Validate(json.RawMessage(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
	if err := exechandler.Validate(json.RawMessage(`{"command":"echo ${HOME}"}`)); err != nil {
		t.Errorf("the shell's own ${} was refused: %v", err)
	}
}
