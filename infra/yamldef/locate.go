package yamldef

import (
	"strconv"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// spot is where a path leads in the tree of a file.
type spot struct {
	at     mark
	was    string // the key that stands there in the file, when another one stands for it
	broken bool   // what stands there could not be read, and that was reported
}

// spot follows a path such as steps[2].handler_config["odd key"]. A path that leads nowhere, such as that of a key that is
// missing, ends at the value around it. The place of a field is that of its key, the place of an item its own.
func (n *node) spot(path string) spot {
	s := spot{at: n.at, broken: n.broken}
	for path != "" {
		key, index, rest := step(path)
		switch {
		case n.kind == isObject && index < 0:
			f := n.find(key)
			if f == nil {
				return spot{at: s.at}
			}
			n, s = f.value, spot{f.at, f.was, f.value.broken}
		case n.kind == isList && index < 0: // a JSON pointer does not tell an index from a key
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(n.items) {
				return spot{at: s.at}
			}
			n = n.items[i]
			s = spot{at: n.at, broken: n.broken}
		case n.kind == isList && index >= 0 && index < len(n.items):
			n = n.items[index]
			s = spot{at: n.at, broken: n.broken}
		default:
			return spot{at: s.at}
		}
		path = rest
	}
	return s
}

// step takes the first step off a path that domain.JoinPath and IndexPath made; index is -1 when it is a key.
func step(path string) (key string, index int, rest string) {
	if strings.HasPrefix(path, `["`) {
		if quoted, err := strconv.QuotedPrefix(path[1:]); err == nil {
			key, _ = strconv.Unquote(quoted)
			return key, -1, strings.TrimPrefix(path[1+len(quoted):], "]")
		}
	}
	if inner, ok := strings.CutPrefix(path, "["); ok {
		number, rest, _ := strings.Cut(inner, "]")
		if i, err := strconv.Atoi(number); err == nil {
			return "", i, rest
		}
	}
	path = strings.TrimPrefix(path, ".")
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	return path[:end], -1, path[end:]
}

// locate gives the problems their places, and leaves out those of values that have been reported.
func (n *node) locate(problems []domain.Problem) []Problem {
	var placed []Problem
	for _, p := range problems {
		s := n.spot(p.Path)
		if s.broken {
			continue
		}
		message := p.Message
		if s.was != "" {
			message = inTheirWords(p.Path, message, s.was)
		}
		placed = append(placed, Problem{Line: s.at.line, Column: s.at.column, Message: message, Hint: p.Hint})
	}
	return placed
}

// inTheirWords says a message about one of our keys with the key that stands in the file.
func inTheirWords(path, message, was string) string {
	ours := path[strings.LastIndexByte(path, '.')+1:]
	if rest, ok := strings.CutPrefix(message, ours+" "); ok {
		return was + " " + rest
	}
	return message
}

// Locate says where in the file something is wrong that only its user can know, such as a handler that does not exist: it
// finds the places of the paths of problems ("steps[2].handler").
func (f *File) Locate(problems []domain.Problem) *Error {
	return newError(f.Name, f.tree.locate(problems))
}
