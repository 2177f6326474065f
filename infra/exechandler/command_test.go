//go:build unix

package exechandler_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/exechandler"
)

func TestCommandRunsInAShellOnlyWhenItIsAText(t *testing.T) {
	for config, want := range map[string]string{
		`{"command":["printf","%s|","$HOME","a b",";","$(id)","*"]}`: `"$HOME|a b|;|$(id)|*|"`,
		`{"command":"printf '%s|' $((1+1)) 'a b'; echo x"}`:          `"2|a b|x"`,
		`{"command":"printf '%s' $((1+1))","shell":true}`:            `2`,
		`{"command":"pwd","shell":false,"dir":"/"}`:                  `"/"`,
		`{"command":["sh","-c","printf '%s|' \"$@\"","sh","a b"]}`:   `"a b|"`,
	} {
		got, err := handle(t.Context(), exechandler.Options{}, config)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", config, got, err, want)
		}
	}
}

func TestArgumentsOfAListMayHoldValues(t *testing.T) {
	for config, want := range map[string]string{
		`["printf","%s|","${context.who}","n=${results.first.n}","${results.first}"]`: `"<world>|n=1.50|{\"n\":1.50}|"`,
		`["printf","%s|","${context.evil}","$${context.who}"]`:                        `"$(id); id|${context.who}|"`,
		`["sh","-c","printf '%s|' \"$1\" ${2}","sh","${context.evil}","b"]`:           `"$(id); id|b|"`,
		`["env","-i","sh","-ec","echo \"$1\"","sh","${context.who}"]`:                 `"<world>"`,
	} {
		got, err := handle(t.Context(), exechandler.Options{}, `{"command":`+config+`}`)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", config, got, err, want)
		}
	}
	for config, want := range map[string]string{
		`["echo","${context.no}"]`:       `command: argument 1: ${context.no}: context has no "no"`,
		`["echo","a","${context.none}"]`: "command: argument 2: ${context.none} is null",
		`["echo","${context.nul}"]`:      "command: argument 1: ${context.nul}: the value holds a NUL character",
	} {
		_, err := handle(t.Context(), exechandler.Options{}, `{"command":`+config+`}`)
		if f := failureOf(err); f.Kind != domain.KindPermanent || f.Code != "TEMPLATE" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %q, %v; want %q", config, f.Kind, f.Code, err, want)
		}
	}
}

// A value of a task in a line for the shell is what makes a submitter an owner of the machine.
func TestCodeHoldsNoValues(t *testing.T) {
	const line = `%s in a line for the shell could become code: write env: {VALUE: "%[1]s"} and "$VALUE" here, or a command that is a list`
	const code = `argument %[2]d is code, and %[1]s in it could become code: write env: {VALUE: "%[1]s"} and read the variable, ` +
		`or put the value into an argument behind the code`
	for config, want := range map[string]string{
		`"echo ${context.who}"`:                                     fmt.Sprintf(line, "${context.who}"),
		`"echo \"${results.first.n}\" | cat"`:                       fmt.Sprintf(line, "${results.first.n}"),
		`["sh","-c","echo ${context.who}"]`:                         fmt.Sprintf(code, "${context.who}", 2),
		`["/usr/bin/env","FOO=1","/bin/bash","-lc","${context.x}"]`: fmt.Sprintf(code, "${context.x}", 4),
		`["bash","-o","errexit","-c","${context.x}"]`:               fmt.Sprintf(code, "${context.x}", 4),
		`["python3.12","-c","print(${context.x})"]`:                 fmt.Sprintf(code, "${context.x}", 2),
		`["perl","-ne","print ${context.x}"]`:                       fmt.Sprintf(code, "${context.x}", 2),
	} {
		err := exechandler.Validate(json.RawMessage(`{"command":` + config + `}`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", config, err, want)
		}
	}
}

func TestProgramsAreFoundInThePathThatTheyGet(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"mine": "#!/bin/sh\necho '\"found\"'\n", "pwd": "#!/bin/sh\necho '\"mine\"'\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil { // #nosec G306 -- it shall run
			t.Fatal(err)
		}
	}
	path := fmt.Sprintf(`"env":{"PATH":%q}`, dir+":"+os.Getenv("PATH"))
	for config, want := range map[string]string{
		`{"command":["mine"],` + path + `}`: `"found"`,
		`{"command":["pwd"],` + path + `}`:  `"mine"`,
		`{"command":"mine",` + path + `}`:   `"found"`,
	} {
		if got, err := handle(t.Context(), exechandler.Options{}, config); err != nil || got != want {
			t.Errorf("%s: %s, %v", config, got, err)
		}
	}
	t.Chdir(dir) // a program of the working directory is not found by its name alone
	for _, path := range []string{".", "", ":", "./"} {
		_, err := handle(t.Context(), exechandler.Options{}, fmt.Sprintf(`{"command":["mine"],"env":{"PATH":%q}}`, path))
		if f := failureOf(err); f.Code != "EXIT_127" {
			t.Errorf("PATH=%s: %v", path, err)
		}
	}
}

func TestEnvironmentHoldsOnlyWhatIsAllowed(t *testing.T) {
	for _, name := range []string{
		"SECRET", "PASSED", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "IFS", "AWS_SECRET_ACCESS_KEY", "NATS_URL",
		"TASKER_DATA", "XLC_X", "PYTHONPATH", "BASH_FUNC_x%%", "SSH_AUTH_SOCK", "HTTP_PROXY", "PWD", "OLDPWD",
	} {
		t.Setenv(name, "p")
	}
	t.Setenv("LC_NUMERIC", "C")
	t.Setenv("TZ", "UTC")
	t.Setenv("TMPDIR", "/tmp")
	t.Setenv("USER", "somebody")
	t.Setenv("LANG", "C")
	t.Setenv("HOME", "/home/x")
	got, err := handle(t.Context(), exechandler.Options{}, `{"command":["env"],"pass_env":["PASSED","ABSENT"],
		"env":{"OWN":"o","N":"n=${results.first.n}","WHO":"${context.who}","NULL":"${results.skipped}","TZ":"CET",
			"TMPDIR":"${results.skipped}","USER":null,"EMPTY":""}}`)
	var text string
	if err != nil || json.Unmarshal([]byte(got), &text) != nil {
		t.Fatal(got, err)
	}
	env := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if _, twice := env[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		env[name] = value
	}
	want := map[string]string{
		"PASSED": "p", "LC_NUMERIC": "C", "TZ": "CET", "OWN": "o", "N": "n=1.50", "WHO": "<world>", "PATH": os.Getenv("PATH"),
		"EMPTY": "", "LANG": "C", "HOME": "/home/x",
		"TASKER_TASK": task.ID.String(), "TASKER_STEP": "this", "TASKER_ATTEMPT": "2", "TASKER_IDEMPOTENCY_KEY": "key-1",
	}
	for name, value := range want {
		if env[name] != value {
			t.Errorf("%s = %q, want %q", name, env[name], value)
		}
	}
	for name, value := range env {
		if _, ok := want[name]; !ok && !strings.HasPrefix(name, "LC_") {
			t.Errorf("%s = %q, want it unset", name, value)
		}
	}
}

func TestValueThatNoVariableCanHoldIsNamed(t *testing.T) {
	_, err := handle(t.Context(), exechandler.Options{}, `{"command":"x","env":{"A":"${context.nul}"}}`)
	if f := failureOf(err); f.Kind != domain.KindPermanent || f.Code != "CONFIG" || !strings.Contains(err.Error(), "env.A: the value holds a NUL") {
		t.Errorf("%q, %q, %v", f.Kind, f.Code, err)
	}
}
