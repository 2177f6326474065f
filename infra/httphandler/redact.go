package httphandler

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// Redacted stands in results, errors and log lines where a secret was.
const Redacted = "[redacted]"

const (
	minSecret  = 8 // bytes: what is shorter cannot be told from other text
	minPartial = 4 // characters of a secret at the end of a text that was cut
)

// redactor takes the secrets of one exchange out of every text that leaves the handler. A secret is found as it is and
// as an echo writes it: in any case, quoted or escaped for Go, JSON, HTML and urls, and inside of base64.
type redactor struct {
	needles [][]rune
	starts  [256][][]rune // those that can begin with a byte

	ends, next []int // of the match that is being tried
}

// none: nothing is to be hidden.
func (r *redactor) none() bool { return len(r.needles) == 0 }

// add hides a secret from now on, and the parts of it that travel alone: what follows Bearer, the pieces of a url.
func (r *redactor) add(secret string) {
	secret = strings.TrimSpace(secret)
	pieces := []string{secret}
	if words := strings.Fields(secret); len(words) == 2 {
		pieces = append(pieces, words[1])
	}
	if u, err := url.Parse(secret); err == nil && u.Host != "" {
		password, _ := u.User.Password()
		pieces = append(pieces, password, u.RawQuery, u.Path, u.EscapedPath())
		pieces = append(pieces, strings.Split(u.Path, "/")...)
		for _, values := range u.Query() {
			pieces = append(pieces, values...)
		}
	}
	for _, piece := range pieces {
		if len(piece) < minSecret {
			continue
		}
		r.needle(piece)
		for shift := range 3 {
			r.needle(inBase64(base64.RawStdEncoding, piece, shift))
			r.needle(inBase64(base64.RawURLEncoding, piece, shift))
		}
	}
}

func (r *redactor) needle(text string) {
	needle := []rune(text)
	if slices.ContainsFunc(r.needles, func(other []rune) bool { return slices.Equal(other, needle) }) {
		return
	}
	r.needles = append(r.needles, needle)
	firsts := []byte{'%', '\\', '&'} // of escapes
	for _, form := range []string{text, strings.ToLower(text), strings.ToUpper(text)} {
		if !slices.Contains(firsts, form[0]) {
			firsts = append(firsts, form[0])
		}
	}
	for _, first := range firsts {
		r.starts[first] = append(r.starts[first], needle)
	}
}

// inBase64 is what base64 of a longer text has of piece, when piece begins there at a multiple of three bytes plus shift.
func inBase64(encoding *base64.Encoding, piece string, shift int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat(" ", shift) + piece))
	return encoded[(8*shift+5)/6 : 8*(shift+len(piece))/6]
}

// text is s without secrets. With partial, a secret that s ends in the middle of is hidden from that many characters on.
func (r *redactor) text(s string, partial int) string {
	if r.none() {
		return s
	}
	var out strings.Builder
	copied, from, to := 0, -1, -1 // the match that is being extended
	flush := func() {
		if from >= 0 {
			out.WriteString(s[copied:from] + Redacted)
			copied = to
		}
	}
	for i := range len(s) {
		end := -1
		for _, needle := range r.starts[s[i]] {
			end = max(end, r.match(s, i, needle, partial))
		}
		switch {
		case end < 0:
		case from >= 0 && i < to: // secrets may overlap
			to = max(to, end)
		default:
			flush()
			from, to = i, end
		}
	}
	flush()
	return out.String() + s[copied:]
}

// json is a JSON value without secrets: in strings, keys and numbers. What is found only across them makes it a string.
func (r *redactor) json(value json.RawMessage) json.RawMessage {
	if r.none() {
		return value
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var tree any
	if decoder.Decode(&tree) == nil {
		if clean, changed := r.tree(tree); changed {
			value = encodeJSON(clean)
		}
	}
	if clean := r.text(string(value), 0); clean != string(value) {
		return encodeJSON(clean)
	}
	return value
}

func (r *redactor) tree(value any) (clean any, changed bool) {
	switch value := value.(type) {
	case string:
		clean := r.text(value, 0)
		return clean, clean != value
	case json.Number:
		if clean := r.text(value.String(), 0); clean != value.String() {
			return clean, true
		}
	case []any:
		for i := range value {
			clean, other := r.tree(value[i])
			value[i], changed = clean, changed || other
		}
		return value, changed
	case map[string]any:
		clean := make(map[string]any, len(value))
		for key, below := range value {
			name := r.text(key, 0)
			below, other := r.tree(below)
			clean[name], changed = below, changed || other || name != key
		}
		return clean, changed
	}
	return value, false
}

// encodeJSON is json.Marshal of a tree of JSON, without its escapes for HTML.
func encodeJSON(tree any) json.RawMessage {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		panic(err) // strings, numbers, booleans, lists and maps of them always can
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// error is err without secrets. Nothing of what it wraps can be reached but through errors.Is: a message inside may hold
// what the outer one left out.
func (r *redactor) error(err error) error {
	if err == nil || r.none() {
		return err
	}
	clean := &cleanError{text: r.text(err.Error(), minPartial), is: func(target error) bool { return errors.Is(err, target) }}
	if failure := (*domain.Failure)(nil); errors.As(err, &failure) {
		return &domain.Failure{Err: clean, Kind: failure.Kind, Code: failure.Code, RetryAfter: failure.RetryAfter}
	}
	return clean
}

type cleanError struct {
	text string
	is   func(error) bool
}

func (e *cleanError) Error() string        { return e.text }
func (e *cleanError) Is(target error) bool { return e.is(target) }

// match is where the needle that begins at the position ends, or -1. A character may end at several positions: %41 is
// one in a url and three elsewhere.
func (r *redactor) match(s string, at int, needle []rune, partial int) int {
	r.ends = append(r.ends[:0], at)
	for matched := 0; matched < len(needle); {
		run := 1 // of backslashes, which are one unit
		for needle[matched] == '\\' && matched+run < len(needle) && needle[matched+run] == '\\' {
			run++
		}
		r.next = r.next[:0]
		for _, end := range r.ends {
			if partial > 0 && matched >= partial && isCut(s[end:]) {
				return len(s)
			}
			if needle[matched] == '\\' {
				r.next = backslashes(r.next, s, end, run)
			} else {
				r.next = appendEnds(r.next, s, end, needle[matched])
			}
		}
		if len(r.next) == 0 {
			return -1
		}
		if len(r.next) > 1 {
			slices.Sort(r.next)
			r.next = slices.Compact(r.next)
		}
		r.ends, r.next = r.next, r.ends
		matched += run
	}
	return r.ends[len(r.ends)-1]
}

// isCut: the text ends here, perhaps inside of an escape.
func isCut(rest string) bool {
	const longest = len(`\u0000\u0000`)
	return rest == "" || len(rest) < longest && strings.ContainsRune(`%\&`, rune(rest[0]))
}
