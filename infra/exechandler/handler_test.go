//go:build unix

package exechandler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
)

// helperVariable makes this binary a program for the tests of what no shell can do.
const helperVariable = "EXECHANDLER_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVariable) {
	case "":
		goleak.VerifyTestMain(m)
	case "other session": // says who it is, and keeps stdout and stderr open
		_, err := syscall.Setsid()
		fmt.Fprintln(os.Stderr, "daemon", os.Getpid(), err)
		select {}
	case "terminal": // none, because the leader of a session, which cannot have another group, begins without one
		f, err := os.Open("/dev/tty")
		if err == nil {
			_ = f.Close()
		}
		fmt.Println(err != nil && errors.Is(syscall.Setpgid(0, 0), syscall.EPERM))
	}
}

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
		Context: json.RawMessage(`{"who": "<world>", "evil": "$(id); id", "nul": "a\u0000b", "none": null}`),
	}
	steps = sequence{
		{Name: "first", State: domain.Complete, Result: json.RawMessage(`{"n":1.50}`)},
		{Name: "skipped", State: domain.Complete, Skipped: true},
		{Name: "this", State: domain.InProgress},
	}
)

func handle(ctx context.Context, o exechandler.Options, config string) (string, error) {
	return handleTask(ctx, o, task, config)
}

func handleTask(ctx context.Context, o exechandler.Options, task domain.TaskView, config string) (string, error) {
	result, err := exechandler.New(o).Handle(ctx, task, steps, domain.StepView{
		Name: "this", Attempt: 2, Round: 1, IdempotencyKey: "key-1", Config: json.RawMessage(config),
		LastError: &domain.StepError{Message: "before", Kind: domain.KindError},
	})
	raw, _ := result.(json.RawMessage)
	return string(raw), err
}

// shell is the handler_config that runs a script. more are further keys.
func shell(script string, more ...string) string {
	text, err := json.Marshal(script)
	if err != nil {
		panic(err)
	}
	return `{"command":` + string(text) + strings.Join(append([]string{""}, more...), ",") + `}`
}

// failureOf is the Failure in an error; an empty one when there is none.
func failureOf(err error) domain.Failure {
	if f := (*domain.Failure)(nil); errors.As(err, &f) {
		return *f
	}
	return domain.Failure{}
}

// log keeps what is logged, and calls on for every line.
type log struct {
	mu    sync.Mutex
	lines []string
	on    func(line string)
}

func (l *log) Enabled(context.Context, slog.Level) bool { return true }
func (l *log) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *log) WithGroup(string) slog.Handler            { return l }

func (l *log) Handle(_ context.Context, r slog.Record) error {
	if l.on != nil {
		l.on(r.Message)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r.Message)
	return nil
}

func (l *log) options() exechandler.Options {
	return exechandler.Options{Logger: func(context.Context) *slog.Logger { return slog.New(l) }}
}

// numberIn is the number behind a word, such as the 17 of "group 17".
func numberIn(t *testing.T, lines []string, word string) int {
	t.Helper()
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line, word+" "); ok {
			text, _, _ = strings.Cut(text, " ")
			if n, err := strconv.Atoi(text); err == nil {
				return n
			}
		}
	}
	t.Fatalf("no %q in %q", word, lines)
	return 0
}

// nobodyIsLeft fails the test when a process of the group lives on.
func nobodyIsLeft(t *testing.T, group int) {
	t.Helper()
	for range 1000 {
		if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) || onlyZombies(group) {
			return
		}
		time.Sleep(10 * time.Millisecond) // nothing tells when a process that is not our child is gone
	}
	t.Errorf("process group %d still lives", group)
}

// onlyZombies: dead, and waiting for a parent that may be a container's init.
func onlyZombies(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	found := false
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) {
			if found = true; fields[0] != "Z" {
				return false
			}
		}
	}
	return found
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
		`printf 'x\000y'`:                 `"x\u0000y"`,
		`printf '"x\377y"'`:               `"x\ufffdy"`,
		`printf '"a\000b"'`:               `"\"a\u0000b\""`,
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
		`"context":{"who":"<world>","evil":"$(id); id","nul":"a\u0000b","none":null},` +
		`"step":{"name":"this","attempt":2,"round":1,"inputs":null,"idempotency_key":"key-1",` +
		`"last_error":{"message":"before","kind":"error"}},"results":{"first":{"n":1.50}}}`
	if err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

// A pipe holds 64 KiB: whoever writes more into it before it looks at stdout would wait for ever.
func TestLargeInputNeedNotBeRead(t *testing.T) {
	for script, want := range map[string]string{
		`echo 1`:                              "1",    // never reads
		`exec <&-; echo 2`:                    "2",    // closes it
		`exec 0</dev/null; cat; :`:            "null", // puts something else in its place
		`head -c 7 | tr -d '{":'`:             `"task"`,
		`exec >&-; cat; :`:                    "null", // closes stdout
		`expr $(cat | cat | wc -c) / 1000000`: "1",    // reads it all
	} {
		size := 1 << 20
		if script == "echo 1" {
			size = 10 << 20
		}
		large := domain.TaskView{Context: json.RawMessage(`{"large":"` + strings.Repeat("x", size) + `"}`)}
		got, err := handleTask(t.Context(), exechandler.Options{}, large, shell(script))
		if err != nil || got != want {
			t.Errorf("%s: %.100s, %v; want %s", script, got, err, want)
		}
	}
}

func TestContextThatHasEndedStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "started")
	if _, err := handle(ctx, exechandler.Options{}, shell(": >"+file)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it was started")
	}
}

func TestCommandRunsInItsDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\npwd\n"), 0o700); err != nil { // #nosec G306 -- it shall run
		t.Fatal(err)
	}
	for _, command := range []string{`"pwd"`, `"./tool"`, `["./tool"]`} {
		got, err := handle(t.Context(), exechandler.Options{}, fmt.Sprintf(`{"command":%s,"dir":%q}`, command, dir))
		if err != nil || got != strconv.Quote(dir) {
			t.Errorf("%s: got %s, %v", command, got, err)
		}
	}
}
