package yamldef

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file, or a warning about it.
type Problem struct {
	Line    int    // from 1; 0 when the problem has no place
	Column  int    // from 1, in characters; of the key, where the problem is about the value of a key
	Message string // what is wrong
	Hint    string // what to do; may be ""
}

// Error lists everything that is wrong with one file, sorted by place.
type Error struct {
	File     string
	Problems []Problem // at least one
}

// Error has one line per problem, as compilers print them; see Problem.In.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.In(e.File)
	}
	return strings.Join(lines, "\n")
}

// In is the problem of a file as a line: "order.yaml:12:5: unknown key ...; did you mean ...?".
func (p Problem) In(file string) string {
	line := file
	if p.Line > 0 {
		line = fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
	}
	line += ": " + p.Message
	if p.Hint != "" {
		line += "; " + p.Hint
	}
	return line
}

// WarningIn is In for a warning: "order.yaml:12:5: warning: ...; ...".
func (p Problem) WarningIn(file string) string {
	p.Message = "warning: " + p.Message
	return p.In(file)
}

func newError(file string, problems []Problem) *Error {
	return &Error{File: file, Problems: sorted(problems)}
}

// sorted orders problems by place and drops repetitions: what is wrong behind an anchor is wrong wherever it is used.
func sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	seen := make(map[Problem]bool, len(problems))
	return slices.DeleteFunc(problems, func(p Problem) bool {
		twice := seen[p]
		seen[p] = true
		return twice
	})
}
