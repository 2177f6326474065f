package yamldef

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
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

// Error has one line per problem: "order.yaml:12:5: unknown key ...: did you mean ...?".
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = e.File + ": " + p.Message
		if p.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.File, p.Line, p.Column, p.Message)
		}
		if p.Hint != "" {
			lines[i] += ": " + p.Hint
		}
	}
	return strings.Join(lines, "\n")
}

// newError sorts the problems and drops repetitions: what is wrong behind an anchor is wrong wherever it is used.
func newError(file string, problems []Problem) *Error {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	seen := make(map[Problem]bool, len(problems))
	problems = slices.DeleteFunc(problems, func(p Problem) bool {
		twice := seen[p]
		seen[p] = true
		return twice
	})
	return &Error{File: file, Problems: problems}
}
