//go:build unix

package exechandler_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/infra/exechandler"
)

func TestMistakesOfTheConfigAreNamedBeforeItRuns(t *testing.T) {
	for config, want := range map[string]string{
		``:                                                      "command is missing: what shall run?",
		`null`:                                                  "command is missing",
		`[]`:                                                    "handler_config must be an object",
		`{"command":" "}`:                                       "command is missing",
		`{"command":[]}`:                                        "command is missing",
		`{"command":[""]}`:                                      "command is missing",
		`{"command":["a\u0000"]}`:                               "argument 0 holds a NUL character",
		`{"command":"a\u0000"}`:                                 "command holds a NUL character",
		`{"command":{"run":"x"}}`:                               "must be a string, which /bin/sh runs, or a list of strings, which runs without a shell",
		`{"command":["sleep",5]}`:                               "argument 1 must be a text, got 5: put quotes around it",
		`{"command":["sleep",null]}`:                            "argument 1 must be a text, got null",
		`{"command":["x","${who}"]}`:                            `argument 1: template "${who}"`,
		`{"command":["${context.program}"]}`:                    "the program's name holds no ${...}",
		`{"command":"x","shell":"bash"}`:                        `shell must be true or false, got "bash"`,
		`{"command":["x"],"shell":true}`:                        "shell: true needs command as one text",
		`{"command":"x y","shell":false}`:                       `shell: false needs command as a list, such as ["program", "argument"]`,
		`{"command":"${x}","shell":false}`:                      "the program's name holds no ${...}",
		`{"command":"x","cmd":"y"}`:                             `unknown keys "cmd"; known are command, shell, env, pass_env, dir, grace, max_output, max_stderr, retry_on, permanent_on`,
		`{"command":"x","env":[]}`:                              `env must be an object of texts, such as {"NAME": "value"}, got []`,
		`{"command":"x","env":{"A=B":"c"}}`:                     `env: "A=B" is not the name of a variable`,
		`{"command":"x","env":{"A":1}}`:                         "env.A must be a text, got 1: put quotes around it",
		`{"command":"x","env":{"A":"${HOME}"}}`:                 "env.A: template",
		`{"command":"x","env":{"A":"\u0000"}}`:                  "env.A holds a NUL character",
		`{"command":"x","env":{"TASKER_STEP":""}}`:              "env.TASKER_STEP is what the engine sets: choose another name",
		`{"command":"x","env":{"A":"${secret.T}"}}`:             "env.A: ${secret...} is for the handler http: a secret reaches a program as a variable that pass_env names",
		`{"command":["x","${secret.T}"]}`:                       "argument 1: ${secret...} is for the handler http",
		`{"command":["x","${env.T}"]}`:                          `argument 1: template "${env.T}"`,
		`{"command":"x","pass_env":"A"}`:                        `pass_env must be a list, got "A"`,
		`{"command":"x","pass_env":[""]}`:                       `pass_env: "" is not the name of a variable`,
		`{"command":"x","pass_env":["A=1"]}`:                    `pass_env: "A=1" is not the name of a variable`,
		`{"command":"x","pass_env":["AWS_*"]}`:                  `pass_env: "AWS_*" is a pattern: name each variable`,
		`{"command":"x","pass_env":[7]}`:                        "pass_env: 7 is not the name of a variable",
		`{"command":"x","pass_env":["TASKER_TASK"]}`:            `pass_env: "TASKER_TASK" is what the engine sets: leave it out`,
		`{"command":"x","dir":7}`:                               "dir must be a text, got 7",
		`{"command":"x","dir":"a\u0000"}`:                       "dir holds a NUL character",
		`{"command":"x","dir":"/${context.dir}"}`:               "dir holds no ${...}",
		`{"command":"x","grace":"soon"}`:                        `grace: "soon" is not a duration`,
		`{"command":"x","grace":-1}`:                            "grace must be from 0, which kills at once, to 10m0s, got -1s",
		`{"command":"x","grace":"11m"}`:                         "grace must be from 0, which kills at once, to 10m0s, got 11m0s",
		`{"command":"x","max_output":0}`:                        "max_output must be from 1 to 16777216 bytes, got 0",
		`{"command":"x","max_output":16777217}`:                 "max_output must be from 1 to 16777216 bytes, got 16777217",
		`{"command":"x","max_output":"1 MiB"}`:                  `max_output must be a whole number of bytes, got "1 MiB"`,
		`{"command":"x","max_stderr":0}`:                        "max_stderr must be from 1 to 16777216 bytes, got 0",
		`{"command":"x","retry_on":1}`:                          "retry_on must be a list, got 1",
		`{"command":"x","retry_on":["1"]}`:                      `retry_on: "1" is not an exit code`,
		`{"command":"x","retry_on":[null]}`:                     "retry_on: null is not an exit code",
		`{"command":"x","retry_on":[0]}`:                        "retry_on: 0 is success, and stays it",
		`{"command":"x","permanent_on":[256]}`:                  "permanent_on: 256 is no exit code: they go from 1 to 255; a death by signal n counts as 128+n",
		`{"command":"x","permanent_on":[-9]}`:                   "permanent_on: -9 is no exit code",
		`{"command":"x","retry_on":[1,2],"permanent_on":[3,2]}`: "retry_on and permanent_on both hold 2: keep one of them",
	} {
		if err := exechandler.Validate(json.RawMessage(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: one mistake, and %q", config, err)
		}
	}
}

func TestAllMistakesOfAConfigAreNamedAtOnce(t *testing.T) {
	err := exechandler.Validate(json.RawMessage(`{"command":["x",1],"env":{"B=":"","A":2},"pass_env":["",3],"dir":4,"grace":"x",
		"max_output":0,"max_stderr":-1,"retry_on":[0,999],"shell":5,"comand":""}`))
	want := []string{
		"handler_config.shell ", "handler_config.command: argument 1 ", "handler_config.env.A ", "handler_config.env: ",
		"handler_config.pass_env: \"\" ", "handler_config.pass_env: 3 ", "handler_config.dir ", "handler_config.grace: ",
		"handler_config.max_output ", "handler_config.max_stderr ", "handler_config.retry_on: 0 ", "handler_config.retry_on: 999 ",
		`handler_config has unknown keys "comand"`,
	}
	if err == nil {
		t.Fatal("none was found")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d mistakes:\n%v", len(lines), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d is %q, want %q", i, line, want[i])
		}
	}
}

func TestConfigsThatWork(t *testing.T) {
	for _, config := range []string{
		`{"command":"echo ${HOME} $HOME ${context} ${env:-x} $(id)"}`, // the shell's own
		`{"command":"x","shell":true}`, `{"command":"x","shell":false}`, `{"command":["x"],"shell":false}`,
		`{"command":"x","shell":null,"env":null,"pass_env":null,"dir":null,"grace":null,"max_output":null,"retry_on":null}`,
		`{"command":["sh","-c","echo ${HOME}"]}`, `{"command":["x","","a b","$${y}","$${secret.x}","${context.x:-}"]}`,
		`{"command":"x","env":{"A":null,"B":"${context.b}"},"grace":0,"max_output":1,"max_stderr":16777216}`,
		`{"command":"x","grace":"10m","retry_on":[1,255],"permanent_on":[75]}`,
	} {
		if err := exechandler.Validate(json.RawMessage(config)); err != nil {
			t.Errorf("%s: %v", config, err)
		}
	}
}
