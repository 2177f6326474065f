package domain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// MaxProblems is how many problems one DefinitionError lists; a last entry says how many more there are.
const MaxProblems = 100

// maxSuggestions bounds the work of looking for names that were meant.
const maxSuggestions = 20

// Problem is one thing that is wrong with a definition.
type Problem struct {
	Path    string // where: "steps[2].depends_on[0]"; "" for the definition as a whole
	Message string // what
	Hint    string // what to do: `did you mean "validate_cart"?`; may be ""
}

// String is "path: message: hint".
func (p Problem) String() string {
	s := p.Message
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Hint != "" {
		s += ": " + p.Hint
	}
	return s
}

// DefinitionError lists everything that is wrong with a definition.
type DefinitionError struct {
	Definition string    // its name, "" when it has none
	Problems   []Problem // at least one
}

// Error has one line per problem.
func (e *DefinitionError) Error() string {
	what := "definition"
	if e.Definition != "" {
		what += " " + strconv.Quote(e.Definition)
	}
	if len(e.Problems) == 1 {
		return what + ": " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d problems:", what, len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// JoinPath is the path of the value under key in the object at path: "backoff.max", or `schema["odd key"]`.
func JoinPath(path, key string) string {
	plain := key != ""
	for _, c := range []byte(key) {
		plain = plain && isNameByte(c)
	}
	switch {
	case !plain:
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// IndexPath is the path of item i of the list at path: "steps[2]".
func IndexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// problems collects what is wrong. What the reader of a document has reported, the validator does not report again:
// a value that could not be read is not also missing.
type problems struct {
	list        []Problem
	more        int             // beyond MaxProblems
	excused     map[string]bool // paths that the reader has dealt with
	suggestions int
}

func (p *problems) add(path, message, hint string) {
	if p.excused[path] {
		return
	}
	if len(p.list) == MaxProblems {
		p.more++
		return
	}
	p.list = append(p.list, Problem{Path: path, Message: message, Hint: hint})
}

func (p *problems) addf(path, hint, format string, args ...any) {
	p.add(path, fmt.Sprintf(format, args...), hint)
}

// read is add for the reader of a document: the validator will keep quiet about the path.
func (p *problems) read(path, message, hint string) {
	p.add(path, message, hint)
	p.excuse(path)
}

func (p *problems) excuse(path string) {
	if p.excused == nil {
		p.excused = map[string]bool{}
	}
	p.excused[path] = true
}

func (p *problems) err(name string) error {
	if len(p.list) == 0 {
		return nil
	}
	list := p.list
	if p.more > 0 {
		list = append(list, Problem{Message: fmt.Sprintf("and %d more problems", p.more)})
	}
	return &DefinitionError{Definition: name, Problems: list}
}

// suggest is Nearest for messages about a document, of which there may be many.
func (p *problems) suggest(name string, candidates []string) string {
	if p.suggestions++; p.suggestions > maxSuggestions {
		return ""
	}
	return Nearest(name, candidates)
}

// Nearest is the candidate that was probably meant by a name that is none of them, or "": it differs by at most one letter
// in three, and case, underscores and hyphens do not count.
func Nearest(name string, candidates []string) string {
	const longest = MaxNameLength
	want := plainName(name)
	if len(want) > longest {
		return ""
	}
	best, at := "", (len(want)+1)/3+1 // one mistake in three letters, none in one
	for _, c := range candidates {
		have := plainName(c)
		if c == name || c == "" || len(have) > longest || abs(len(have)-len(want)) >= at {
			continue
		}
		if d := editDistance(want, have); d < at {
			best, at = c, d
		}
	}
	return best
}

// didYouMean is the hint for a suggestion.
func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "did you mean " + strconv.Quote(name) + "?"
}

// plainName drops what people get wrong without noticing: case, underscores, hyphens.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours (optimal string alignment) that
// make b of a, byte by byte.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
