package httphandler

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// appendEnds appends every position at which the character want can end when it begins at the given one: as it is, or
// escaped in one of the ways of urls, HTML, JSON and Go.
func appendEnds(ends []int, s string, at int, want rune) []int {
	rest := s[at:]
	if rest == "" {
		return ends
	}
	if got, size := utf8.DecodeRuneInString(rest); equalFold(got, want) {
		ends = append(ends, at+size)
	}
	switch rest[0] {
	case '+':
		if want == ' ' {
			ends = append(ends, at+1)
		}
	case '%':
		if size := percent(rest, want); size > 0 {
			ends = append(ends, at+size)
		}
	case '&':
		if end := strings.IndexByte(rest[:min(len(rest), 12)], ';'); end > 0 && isRune(html.UnescapeString(rest[:end+1]), want) {
			ends = append(ends, at+end+1)
		}
	case '\\':
		ends = backslash(ends, s, at, want)
	}
	return ends
}

func equalFold(a, b rune) bool { return a == b || unicode.ToLower(a) == unicode.ToLower(b) }

func isRune(s string, want rune) bool {
	got, size := utf8.DecodeRuneInString(s)
	return size == len(s) && equalFold(got, want)
}

// percent is the length of want as %XX for each of its bytes, or 0.
func percent(s string, want rune) int {
	text := ""
	size := utf8.RuneLen(want)
	for i := range size {
		if len(s) < 3*i+3 || s[3*i] != '%' {
			return 0
		}
		b, err := strconv.ParseUint(s[3*i+1:3*i+3], 16, 8)
		if err != nil {
			return 0
		}
		text += string([]byte{byte(b)})
	}
	if !isRune(text, want) {
		return 0
	}
	return 3 * size
}

// maxBackslashes is how many may stand for one, or before an escaped character: a text was quoted four times then.
const maxBackslashes = 16

// backslashes appends where a number of backslashes can end: escaped one by one, or with all that follow each other, or
// one earlier, which then escapes the next character.
func backslashes(ends []int, s string, at, number int) []int {
	end := at
	for end < min(len(s), at+number*maxBackslashes) && s[end] == '\\' {
		end++
	}
	if end-at >= number {
		ends = append(ends, end)
	}
	if end-at > number {
		ends = append(ends, end-1)
	}
	single := []int{at}
	for range number {
		var next []int
		for _, end := range single {
			next = appendEnds(next, s, end, '\\')
		}
		single = next
	}
	return append(ends, single...)
}

// backslash reads the escapes of JSON and Go behind one backslash or, where a text was quoted twice, several.
func backslash(ends []int, s string, at int, want rune) []int {
	most := min(len(s), at+maxBackslashes)
	for at < most && s[at] == '\\' {
		at++
	}
	rest := s[at:]
	if rest == "" {
		return ends
	}
	if got, size := utf8.DecodeRuneInString(rest); equalFold(got, want) && want != '\\' {
		ends = append(ends, at+size)
	}
	if want != 0 && want < ' ' && controls[rest[0]] == want {
		ends = append(ends, at+1)
	}
	switch rest[0] {
	case 'x':
		if got, ok := hexRune(rest, 2); ok && equalFold(got, want) {
			ends = append(ends, at+3)
		}
	case 'U':
		if got, ok := hexRune(rest, 8); ok && equalFold(got, want) {
			ends = append(ends, at+9)
		}
	case 'u':
		got, ok := hexRune(rest, 4)
		size := 5
		if ok && utf16.IsSurrogate(got) && strings.HasPrefix(rest[size:], `\u`) {
			low, _ := hexRune(rest[size+1:], 4)
			got, size = utf16.DecodeRune(got, low), 11
		}
		if ok && equalFold(got, want) {
			ends = append(ends, at+size)
		}
	}
	return ends
}

// controls are the characters that a letter behind a backslash stands for.
var controls = map[byte]rune{'n': '\n', 't': '\t', 'r': '\r', 'b': '\b', 'f': '\f', 'v': '\v', 'a': '\a'}

// hexRune reads the digits behind a letter.
func hexRune(s string, digits int) (rune, bool) {
	if len(s) < 1+digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	return rune(n), err == nil
}
