//go:build unix

package exechandler_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
)

// ending is what a failed execution says.
type ending struct {
	kind    domain.ErrorKind
	code    string
	message string
}

func (want ending) check(t *testing.T, config string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want.message) {
		t.Errorf("%s: %v; want %q", config, err, want.message)
		return
	}
	if f := failureOf(err); f.Kind != want.kind || f.Code != want.code {
		t.Errorf("%s: kind %q, code %q; want %q, %q", config, f.Kind, f.Code, want.kind, want.code)
	}
}

func TestExitSaysHowTheStepEnds(t *testing.T) {
	const retry, permanent = domain.ErrorKind(""), domain.KindPermanent
	for config, want := range map[string]ending{
		shell(`echo no >&2; exit 75`):         {retry, "EX_TEMPFAIL", "command asked for a retry (exit code 75): no"},
		shell(`echo a >&2; echo b>&2;exit 3`): {permanent, "EXIT_3", "command failed with exit code 3: a\nb"},
		shell(`exit 1`):                       {permanent, "EXIT_1", "command failed with exit code 1"},
		shell(`exit 255`):                     {permanent, "EXIT_255", "command failed with exit code 255"},
		shell(`exit 126`):                     {permanent, "EXIT_126", "exit code 126 (a shell found the command, but may not execute it)"},
		shell(`no-such-command-at-all; exit`): {permanent, "EXIT_127", "exit code 127 (a shell found no such command: is it installed where the engine runs, and in PATH?): "},
		shell(`/etc/passwd; exit`):            {permanent, "EXIT_126", "exit code 126"},

		shell(`kill -9 $$`):                    {retry, "SIGNAL_KILL", "command was killed by SIGKILL"},
		shell(`kill -15 $$`):                   {retry, "SIGNAL_TERM", "command was killed by SIGTERM"},
		shell(`kill -s SEGV $$`):               {retry, "SIGNAL_SEGV", "command was killed by SIGSEGV"},
		shell(`echo why >&2; kill -s USR1 $$`): {retry, "SIGNAL_USR1", "command was killed by SIGUSR1: why"},
		shell(`sh -c 'kill -9 $$'; exit $?`):   {permanent, "EXIT_137", "exit code 137 (128+9: a shell's child was killed by SIGKILL)"},

		shell(`exit 1`, `"retry_on":[1,2]`):                      {retry, "EXIT_1", "command failed with exit code 1, one of retry_on"},
		shell(`exit 3`, `"retry_on":[1,2]`):                      {permanent, "EXIT_3", "exit code 3"},
		shell(`exit 75`, `"retry_on":[1]`):                       {retry, "EX_TEMPFAIL", "exit code 75"},
		shell(`exit 75`, `"retry_on":[75]`):                      {retry, "EX_TEMPFAIL", "exit code 75"},
		shell(`exit 75`, `"permanent_on":[75]`):                  {permanent, "EXIT_75", "command failed with exit code 75"},
		shell(`kill -9 $$`, `"permanent_on":[137]`):              {permanent, "SIGNAL_KILL", "SIGKILL"},
		shell(`kill -15 $$`, `"permanent_on":[137]`):             {retry, "SIGNAL_TERM", "SIGTERM"},
		shell(`sh -c 'kill -9 $$'; exit $?`, `"retry_on":[137]`): {retry, "EXIT_137", "exit code 137, one of retry_on"},

		`{"command":"x","shell":"bash"}`:              {permanent, "CONFIG", `shell must be true or false`},
		`{"command":"x","env":{"A":"${context.no}"}}`: {permanent, "TEMPLATE", `env.A: ${context.no}: context has no "no"`},
	} {
		_, err := handle(t.Context(), exechandler.Options{}, config)
		want.check(t, config, err)
	}
}

func TestWhatCannotBeStartedFailsAsInAShell(t *testing.T) {
	const permanent = domain.KindPermanent
	dir := t.TempDir()
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"plain":       {"hello", 0o600},
		"noformat":    {"hello", 0o700},
		"interpreter": {"#!/no/such/interpreter\n", 0o700},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	path := fmt.Sprintf(`,"env":{"PATH":%q}`, dir)
	for config, want := range map[string]ending{
		`{"command":["no-such"]}`:                        {permanent, "EXIT_127", `"no-such" was not found in PATH (` + os.Getenv("PATH") + "): install it where the engine runs, or write its full path"},
		`{"command":["x"],"env":{"PATH":null}}`:          {permanent, "EXIT_127", `"x" was not found, because there is no PATH: write its full path`},
		`{"command":["/no/such"]}`:                       {permanent, "EXIT_127", `"/no/such" was not found: install it`},
		`{"command":["./such"],"dir":"/"}`:               {permanent, "EXIT_127", `"/such" was not found`},
		`{"command":["/etc/passwd/x"]}`:                  {permanent, "EXIT_127", `"/etc/passwd/x" was not found`},
		`{"command":["/tmp"]}`:                           {permanent, "EXIT_126", "/tmp is a folder"},
		`{"command":["/etc/passwd"]}`:                    {permanent, "EXIT_126", "/etc/passwd is not executable for the engine (permission denied): chmod +x"},
		`{"command":["plain"]` + path + `}`:              {permanent, "EXIT_126", dir + "/plain is not executable: chmod +x"},
		`{"command":["noformat"]` + path + `}`:           {permanent, "EXIT_126", dir + "/noformat is no program of this machine; a script begins with #!"},
		`{"command":["interpreter"]` + path + `}`:        {permanent, "EXIT_126", dir + "/interpreter needs an interpreter (its first line, #!)"},
		`{"command":["no-such"],"retry_on":[127]}`:       {"", "EXIT_127", "was not found"},
		`{"command":"x","dir":"/no/such"}`:               {permanent, "DIR", `working directory "/no/such": no such file or directory: create it where the engine runs, or correct handler_config.dir`},
		`{"command":"x","dir":"/etc/passwd"}`:            {permanent, "DIR", `working directory "/etc/passwd": not a directory`},
		`{"command":"x","dir":"` + dir + `/plain/deep"}`: {permanent, "DIR", "not a directory"},
	} {
		_, err := handle(t.Context(), exechandler.Options{}, config)
		want.check(t, config, err)
	}
}

func TestValuesThatAreTooLargeForTheSystemAreNamed(t *testing.T) {
	large := domain.TaskView{Context: []byte(`{"large":"` + strings.Repeat("x", 2<<20) + `"}`)}
	for config, want := range map[string]string{
		`{"command":["true"],"env":{"BIG":"${context.large}"}}`: "the largest is variable BIG, with 2097156 bytes: read large values from stdin",
		`{"command":["true","a","${context.large}"]}`:           "the largest is argument 2, with 2097152 bytes: read large values from stdin",
	} {
		_, err := handleTask(t.Context(), exechandler.Options{}, large, config)
		ending{domain.KindPermanent, "ARGUMENTS_TOO_LARGE", want}.check(t, config, err)
	}
}

func TestCommandThatAsksForARetryMaySayWhen(t *testing.T) {
	for config, want := range map[string]struct {
		wait   time.Duration
		logged string
	}{
		shell(`echo '{"retry_after": "90s"}'; exit 75`):                 {90 * time.Second, ""},
		shell(`echo '{"retry_after": 1.5, "more": 1}'; exit 75`):        {1500 * time.Millisecond, ""},
		shell(`echo '{"retry_after": "1h"}'; exit 4`, `"retry_on":[4]`): {time.Hour, ""},
		shell(`echo '{"retry_after": "1h"}'; exit 4`):                   {0, ""},
		shell(`echo '{"retry_after": null}'; exit 75`):                  {0, ""},
		shell(`echo later; exit 75`):                                    {0, ""},
		shell(`echo '{"retry_after": "soon"}'; exit 75`):                {0, `retry_after of stdout: "soon" is not a duration: write it like 90s or 1m30s, or as a number of seconds; the step's backoff holds`},
		shell(`echo '{"retry_after": 0}'; exit 75`):                     {0, "retry_after of stdout must be more than 0, got 0; the step's backoff holds"},
		shell(`echo '{"retry_after": "-5s"}'; echo why >&2; exit 75`):   {0, `why|retry_after of stdout must be more than 0, got "-5s"; the step's backoff holds`},
	} {
		var l log
		_, err := handle(t.Context(), l.options(), config)
		if f := failureOf(err); err == nil || f.RetryAfter != want.wait {
			t.Errorf("%s: %v, wait %s, want %s", config, err, f.RetryAfter, want.wait)
		}
		if got := strings.Join(l.lines, "|"); got != want.logged {
			t.Errorf("%s: logged %q, want %q", config, got, want.logged)
		}
	}
	// A success means what it prints.
	if got, err := handle(t.Context(), exechandler.Options{}, shell(`echo '{"retry_after":1}'`)); got != `{"retry_after":1}` || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}
