package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxNesting is how deep arrays and objects may nest in a payload. Readers in other languages give up between 500 and
// 10,000, and the commit around a payload adds six levels.
const MaxNesting = 500

// ErrPayload is what CompactJSON returns for text that cannot be a payload.
var ErrPayload = errors.New("not a usable payload")

// CompactJSON checks that raw is one JSON value that a commit can hold (valid JSON and UTF-8, at most MaxPayload bytes
// without its white space, at most MaxNesting levels) and takes the white space out. It returns raw itself when there
// is none. Every payload passes through it once, where it enters the engine: the encoder copies payloads unseen.
// Errors wrap ErrPayload and say what is wrong where.
func CompactJSON(raw json.RawMessage) (json.RawMessage, error) {
	p := parser{data: raw, maxDepth: MaxNesting}
	p.value()
	p.finish()
	if p.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, p.err)
	}
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: the text is not UTF-8", ErrPayload)
	}
	if n := len(raw) - p.spaces; n > MaxPayload {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are possible: keep the data elsewhere and pass a reference",
			ErrPayload, n, MaxPayload)
	}
	if p.spaces == 0 {
		return raw, nil
	}
	var out bytes.Buffer
	out.Grow(len(raw) - p.spaces)
	if err := json.Compact(&out, raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return out.Bytes(), nil
}

// plain marks the bytes that stand for themselves inside of a JSON string and are ASCII.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendText appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD, as in encoding/json.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		size := 1
		if s[i] >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		b = appendEscaped(b, s[i])
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\n':
		return append(b, `\n`...)
	case c == '\r':
		return append(b, `\r`...)
	case c == '\t':
		return append(b, `\t`...)
	case c >= utf8.RuneSelf:
		return append(b, "\uFFFD"...)
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
