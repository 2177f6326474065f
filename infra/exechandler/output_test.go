//go:build unix

package exechandler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
)

// run is what the engine offers to a handler, and keeps what it is given.
type run struct {
	domain.Run
	mu    sync.Mutex
	lines []string
	beats int
}

func (r *run) AppendLog(lines ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, lines...)
}

func (r *run) Heartbeat() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats++
}

// kib64 is a line of the shell that makes s 64 KiB of a text.
func kib64(text string) string {
	return fmt.Sprintf(`s='%s'; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do s="$s$s"; done; `, strings.Repeat(text, 16))
}

func TestOutputBeyondTheLimitEndsTheCommandForGood(t *testing.T) {
	start := time.Now()
	_, err := handle(t.Context(), exechandler.Options{}, `{"command":"printf 123456; sleep 3600","max_output":5}`)
	if f := failureOf(err); f.Kind != domain.KindPermanent || f.Code != "OUTPUT_TOO_LARGE" ||
		!strings.Contains(err.Error(), "more than 5 bytes to stdout: raise max_output, or write a file and print its name") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > slack {
		t.Errorf("took %s", took)
	}
	if got, err := handle(t.Context(), exechandler.Options{}, `{"command":"printf 12345","max_output":5}`); got != "12345" || err != nil {
		t.Errorf("exactly the limit: %s, %v", got, err)
	}
}

// allocated is how many bytes f asks for, all together.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestCommandThatWritesWithoutEndCostsNoMemory(t *testing.T) {
	const most = 10 << 20 // the limits, what is allocated and thrown away on the way, and what else the test does
	for name, script := range map[string]string{
		"stdout":                   kib64("x") + `while :; do printf %s "$s"; done`,
		"stdout, and it goes on":   `trap '' PIPE TERM; ` + kib64("x") + `while :; do printf %s "$s"; done`,
		"stderr, one line":         kib64("x") + `i=0; while [ $i -lt 256 ]; do printf %s "$s" >&2; i=$((i+1)); done; exit 3`,
		"stderr, lines":            kib64("1234567\n") + `i=0; while [ $i -lt 8 ]; do printf %s "$s" >&2; i=$((i+1)); done; exit 3`,
		"stderr, empty lines":      kib64("\n") + `i=0; while [ $i -lt 8 ]; do printf %s "$s" >&2; i=$((i+1)); done; exit 3`,
		"stderr, lines of garbage": kib64(strings.Repeat("\xff\x1b\xc3", 21)+"\n") + `i=0; while [ $i -lt 8 ]; do printf %s "$s" >&2; i=$((i+1)); done; exit 3`,
	} {
		var l log
		var err error
		n := allocated(func() { _, err = handle(t.Context(), l.options(), shell(script, `"grace":"50ms"`)) })
		want := "EXIT_3"
		if strings.HasPrefix(name, "stdout") {
			want = "OUTPUT_TOO_LARGE"
		}
		if f := failureOf(err); f.Code != want || len(err.Error()) > 8<<10 {
			t.Errorf("%s: %.200v", name, err)
		}
		if n > most {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
		bytes := 0
		for _, line := range l.lines {
			bytes += len(line)
		}
		if len(l.lines) > 10_001 || bytes > 2*exechandler.DefaultMaxStderr {
			t.Errorf("%s: %d lines of %d bytes", name, len(l.lines), bytes)
		}
	}
}

func TestStderrIsLoggedLineByLineAndItsEndIsInTheError(t *testing.T) {
	var l log
	var r run
	ctx := domain.WithRun(t.Context(), &r)
	_, err := handle(ctx, l.options(), shell(`i=1; while [ $i -le 100 ]; do echo "line $i" >&2; i=$((i+1)); done; printf last >&2; exit 1`))
	if err == nil || !strings.HasSuffix(err.Error(), "\nline 100\nlast") || strings.Contains(err.Error(), "line 81\n") {
		t.Errorf("error = %v", err)
	}
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("line %d", i+1))
	}
	want = append(want, "last")
	for whose, lines := range map[string][]string{"the engine's log": l.lines, "the step": r.lines} {
		if !slices.Equal(lines, want) {
			t.Errorf("%s has %q", whose, lines)
		}
	}
}

func TestLinesOfStderrAreMadeReadable(t *testing.T) {
	for script, want := range map[string][]string{
		`printf 'a\n\n\nb' >&2`:                     {"a", "", "", "b"},
		`printf 'dos\r\n' >&2`:                      {"dos"},
		`printf 'x\377y\000z\n' >&2`:                {"x\uFFFDy\uFFFDz"},
		`printf '\033[31mred\033[0m\ttab\n' >&2`:    {"\uFFFD[31mred\uFFFD[0m\ttab"},
		`printf '\303\244\303' >&2`:                 {"ä\uFFFD"},
		`printf 'no newline, ' >&2; printf end >&2`: {"no newline, end"},
		`:`: nil,
	} {
		var l log
		if _, err := handle(t.Context(), l.options(), shell(script)); err != nil || !slices.Equal(l.lines, want) {
			t.Errorf("%s: %q, %v; want %q", script, l.lines, err, want)
		}
	}
}

func TestLongLineOfStderrIsCutAtACharacter(t *testing.T) {
	for prefix, want := range map[string]string{
		"":  strings.Repeat("ä", 2048) + " [cut]",
		"x": "x" + strings.Repeat("ä", 2047) + " [cut]",
	} {
		var l log
		_, err := handle(t.Context(), l.options(), shell(fmt.Sprintf(`printf '%s' >&2; `, prefix)+kib64("ä")+`printf %s "$s" >&2; echo >&2; echo next >&2; exit 1`))
		if !slices.Equal(l.lines, []string{want, "next"}) {
			t.Errorf("%d lines, the first begins with %.20q and ends with %q", len(l.lines), l.lines[0], l.lines[0][max(0, len(l.lines[0])-12):])
		}
		if len(err.Error()) > 3000 || !strings.HasSuffix(err.Error(), "ä [cut]\nnext") {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

func TestStderrBeyondItsLimitIsDroppedAndCounted(t *testing.T) {
	for config, want := range map[string]struct {
		logged int
		last   string
	}{
		shell(`i=0; while [ $i -lt 100 ]; do echo 123456789 >&2; i=$((i+1)); done; echo end >&2; exit 1`, `"max_stderr":405`): {
			40, "61 lines dropped: a step logs at most 10000 lines and max_stderr, 405 bytes"},
		shell(kib64("\n") + `printf '%s' "$s" >&2; echo end >&2; exit 1`): {
			10_000, "55537 lines dropped: a step logs at most 10000 lines and max_stderr, 1048576 bytes"},
		shell(`printf 12345 >&2; exit 1`, `"max_stderr":5`): {
			0, "1 line dropped: a step logs at most 10000 lines and max_stderr, 5 bytes"},
	} {
		var l log
		_, err := handle(t.Context(), l.options(), config)
		if len(l.lines) != want.logged+1 || l.lines[want.logged] != want.last {
			t.Errorf("%.60s: %d lines, the last is %q; want %d and %q", config, len(l.lines), l.lines[len(l.lines)-1], want.logged, want.last)
		}
		if !strings.HasSuffix(err.Error(), "end") && !strings.HasSuffix(err.Error(), "12345") {
			t.Errorf("%.60s: %v", config, err) // the error has the end all the same
		}
	}
}

// The log stands still until the command has written more than pipes hold, and has ended.
func TestSlowLogDoesNotHoldTheCommand(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "written")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(fifo)
		written <- err
	}()
	var wait sync.Once
	l := &log{on: func(string) {
		wait.Do(func() {
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := handle(ctx, l.options(), shell(kib64("0123456789abcdef012345678901234\n")+
		`for i in 1 2 3 4 5; do printf '%s' "$s" >&2; done; : >'`+fifo+`'`, `"max_stderr":16777216`))
	if err != nil || len(l.lines) != 10_001 {
		t.Errorf("%v, %d lines", err, len(l.lines))
	}
}

// A step with a heartbeat_timeout is alive while its program writes, also when nobody keeps what it writes.
func TestOutputIsASignOfLife(t *testing.T) {
	for script, most := range map[string]int{
		`echo 1`: 1, `echo 1 >&2`: 1, `:`: 0, kib64("\n") + `printf '%s' "$s" >&2`: 1 << 16,
	} {
		var r run
		if _, err := handle(domain.WithRun(t.Context(), &r), exechandler.Options{}, shell(script, `"max_stderr":1`)); err != nil {
			t.Error(err)
		}
		if r.beats > most || (r.beats == 0) != (most == 0) {
			t.Errorf("%.40s: %d signs of life", script, r.beats)
		}
	}
}

func TestLargestResultIsKept(t *testing.T) {
	got, err := handle(t.Context(), exechandler.Options{}, shell(kib64("x")+`for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do printf '%s' "$s"; done`))
	var text string
	if err != nil || json.Unmarshal([]byte(got), &text) != nil || len(text) != exechandler.DefaultMaxOutput {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if _, err = handle(t.Context(), exechandler.Options{}, shell(kib64("x")+`for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do printf '%s' "$s"; done; echo`)); !strings.Contains(fmt.Sprint(err), "more than 1048576 bytes") {
		t.Errorf("one more: %v", err)
	}
	if errors.Is(err, context.Canceled) {
		t.Error("it looks like a cancel")
	}
}
