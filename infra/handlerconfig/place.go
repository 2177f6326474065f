package handlerconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// part is either a literal text or, with a path, a place.
type part struct {
	text     string // of a place: its path as it is written
	path     []string
	fallback json.RawMessage // the default; nil when there is none
}

// secretName is what a variable of a process can be called.
var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// place reads a place behind its ${, and returns what follows its brace. :- begins a default: a JSON value, or a text
// that is none, up to the next brace.
func place(rest string, secrets bool) (part, string, error) {
	end := strings.Index(rest, "}")
	if end < 0 {
		return part{}, "", errors.New("${ without }; write $${ for a plain ${")
	}
	p := part{text: rest[:end]}
	after := rest[end+1:]
	if path, fallback, ok := strings.Cut(rest, ":-"); ok && len(path) < end {
		var err error
		p.text = path
		if p.fallback, after, err = readDefault(fallback); err != nil {
			return part{}, "", fmt.Errorf("${%s:-...}: %w", path, err)
		}
	}
	p.path = strings.Split(p.text, ".")
	return p, after, checkPath(p, secrets)
}

func checkPath(p part, secrets bool) error {
	switch root := p.path[0]; {
	case root == "secret" && secrets && (len(p.path) != 2 || !secretName.MatchString(p.path[1])):
		return fmt.Errorf("${%s} must be ${secret.NAME}, a name of A-Z a-z 0-9 _", p.text)
	case root == "secret" && !secrets:
		return fmt.Errorf("${%s}: secrets are for requests of the handler http only", p.text)
	case root == "env" && secrets:
		return fmt.Errorf("${%s}: the environment cannot be read; write ${secret.NAME} for the variable TASKER_SECRET_NAME of the engine", p.text)
	case root != "context" && root != "results" && root != "secret" && secrets:
		return fmt.Errorf("${%s} begins neither with context, nor with results, nor with secret; write $${ for a plain ${", p.text)
	case root != "context" && root != "results" && root != "secret":
		return fmt.Errorf("${%s} begins neither with context nor with results; write $${ for a plain ${", p.text)
	case root == "results" && len(p.path) == 1:
		return errors.New("${results} needs the name of a step: ${results.step.key}")
	}
	for _, key := range p.path {
		if key == "" {
			return fmt.Errorf("${%s} has an empty key", p.text)
		}
	}
	return nil
}

// readDefault reads a default up to the brace that ends the place, and returns what follows it.
func readDefault(text string) (json.RawMessage, string, error) {
	if text != "" && strings.ContainsRune(`{["`, rune(text[0])) {
		var value json.RawMessage
		decoder := json.NewDecoder(strings.NewReader(text))
		if err := decoder.Decode(&value); err != nil {
			return nil, "", fmt.Errorf("a default that begins with %c must be JSON: %w", text[0], err)
		}
		after, closed := strings.CutPrefix(text[decoder.InputOffset():], "}")
		if !closed {
			return nil, "", fmt.Errorf("a } must follow the default %s", value)
		}
		return value, after, noPlace(string(value))
	}
	text, after, _ := strings.Cut(text, "}") // place has seen one
	if json.Valid([]byte(text)) {
		return json.RawMessage(strings.TrimSpace(text)), after, nil
	}
	value, err := encode(text)
	return value, after, errors.Join(err, noPlace(text))
}

func noPlace(text string) error {
	if strings.Contains(text, "${") {
		return errors.New("a default cannot hold another ${")
	}
	return nil
}
