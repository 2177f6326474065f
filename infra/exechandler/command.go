package exechandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/tasker-go/tasker/infra/handlerconfig"
)

// command is what to run.
type command struct {
	argv []string // program first
	// literal says of each argument that it is taken as it stands: the program, and what somebody will read as code.
	literal []bool
}

// theShell runs a command that is a text.
const theShell = "/bin/sh"

// interpreters take code from the argument after an option that holds one of the letters: sh -c, bash -lc, perl -ne.
var interpreters = map[string]string{
	"sh": "c", "bash": "c", "dash": "c", "ash": "c", "ksh": "c", "mksh": "c", "zsh": "c", "fish": "c",
	"python": "c", "perl": "eE", "ruby": "e", "node": "ep", "php": "r", "lua": "e",
}

// placed is a place of a template inside of code, where a value of the task could become code itself. (A variable of
// the shell has no dot in its name.)
var placed = regexp.MustCompile(`\$\{(context|results|secret|env)\.[^}]*\}?`)

// readCommand reads the keys command and shell.
func readCommand(p *problems, raw, shell json.RawMessage) command {
	var asked *bool
	p.read("shell", shell, &asked, "true or false")
	var line string
	var items []json.RawMessage
	switch {
	case isNull(raw):
		p.add("command is missing: what shall run?")
		return command{}
	case json.Unmarshal(raw, &line) == nil:
		return lineCommand(p, line, asked)
	case json.Unmarshal(raw, &items) == nil:
		if asked != nil && *asked {
			p.add(`shell: true needs command as one text; a list runs without a shell`)
		}
		return listCommand(p, items)
	}
	p.add(`command must be a string, which /bin/sh runs, or a list of strings, which runs without a shell, got %s`, short(raw))
	return command{}
}

// lineCommand is a text: a line for the shell, unless that was refused; then it is the name of a program.
func lineCommand(p *problems, line string, asked *bool) command {
	place := placed.FindString(line)
	switch {
	case strings.TrimSpace(line) == "":
		p.add("command is missing: what shall run?")
	case hasNUL(line):
		p.add("command holds a NUL character, which no command can")
	case asked != nil && !*asked:
		if strings.ContainsAny(line, " \t\n") {
			p.add(`shell: false needs command as a list, such as ["program", "argument"]: a text is not split`)
		} else if strings.Contains(line, "${") {
			p.add("command: %s", noProgram)
		}
		return command{argv: []string{line}, literal: []bool{true}}
	case place != "":
		p.add("command: %s in a line for the shell could become code: %s", place, instead(place))
	}
	return command{argv: []string{theShell, "-c", line}, literal: []bool{true, true, true}}
}

const noProgram = "the program's name holds no ${...}: what runs is for the definition to say, not for a task"

func instead(place string) string {
	return `write env: {VALUE: "` + place + `"} and "$VALUE" here, or a command that is a list, which runs without a shell`
}

func listCommand(p *problems, items []json.RawMessage) command {
	var c command
	for i, item := range items {
		var argument string
		switch {
		case isNull(item) || json.Unmarshal(item, &argument) != nil:
			p.add("command: argument %d must be a text, got %s: put quotes around it", i, short(item))
		case hasNUL(argument):
			p.add("command: argument %d holds a NUL character, which no argument can", i)
		}
		c.argv = append(c.argv, argument)
	}
	if len(c.argv) == 0 || isNull(items[0]) || string(items[0]) == `""` {
		p.add("command is missing: what shall run?")
		return c
	}
	c.literal = literals(c.argv)
	for i, argument := range c.argv {
		place := placed.FindString(argument)
		switch {
		case i == 0 && strings.Contains(argument, "${"):
			p.add("command: %s", noProgram)
		case !c.literal[i]:
			if err := checkTemplate(argument); err != nil {
				p.add("command: argument %d: %w", i, err)
			}
		case place != "":
			p.add(`command: argument %d is code, and %s in it could become code: write env: {VALUE: "%s"} and read the variable, `+
				`or put the value into an argument behind the code`, i, place, place)
		}
	}
	return c
}

// checkTemplate finds mistakes in the form of an argument or the value of a variable.
func checkTemplate(text string) error {
	err := handlerconfig.Check(text)
	if err != nil && strings.Contains(text, "${secret.") {
		return errors.New("${secret...} is for the handler http: a secret reaches a program as a variable that pass_env names")
	}
	return err
}

// literals finds the arguments that are no templates: the program, and code for an interpreter, wherever that stands
// (env -i sh -c ...).
func literals(argv []string) []bool {
	literal := make([]bool, len(argv))
	literal[0] = true
	letters, next, had := "", false, false
	for i, argument := range argv {
		isOption := strings.HasPrefix(argument, "-") && !strings.HasPrefix(argument, "--")
		switch {
		case next:
			literal[i], next, had = true, false, true
		case letters == "":
			letters = interpreters[strings.TrimRight(path.Base(argument), "0123456789.")]
		case isOption && strings.ContainsAny(argument, letters):
			next = true
		case !isOption && had:
			return literal // what follows is read by the code
		}
	}
	return literal
}

// expand puts the values of the task into the arguments.
func (c command) expand(ctx context.Context, scope handlerconfig.Scope) ([]string, error) {
	argv := make([]string, len(c.argv))
	for i, argument := range c.argv {
		if c.literal[i] {
			argv[i] = argument
			continue
		}
		var err error
		argv[i], err = scope.TextWith(ctx, argument, func(_, value string) (string, error) {
			if hasNUL(value) {
				return "", errors.New("the value holds a NUL character, which no argument can")
			}
			return value, nil
		})
		if err != nil {
			return nil, fmt.Errorf("command: argument %d: %w", i, err)
		}
	}
	return argv, nil
}
