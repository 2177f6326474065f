package domain

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// parser pulls values out of JSON text whose shape the caller knows. The first error sticks and moves the parser to the
// end, so that callers look at err once. null stands for "not there" wherever a value of another kind is wanted.
type parser struct {
	data     []byte
	pos      int
	depth    int
	maxDepth int
	spaces   int // white space outside of strings
	err      error
	scratch  []byte // of strings with escapes
}

// fail reports what is wrong at pos.
func (p *parser) fail(pos int, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("at offset %d: %s", pos, fmt.Sprintf(format, args...))
	}
	p.pos = len(p.data)
}

func (p *parser) unexpected(want string) {
	if p.pos >= len(p.data) {
		p.fail(p.pos, "the text ends where %s should be", want)
		return
	}
	p.fail(p.pos, "%q where %s should be", p.data[p.pos], want)
}

// next passes white space and returns the byte after it without taking it; 0 at the end.
func (p *parser) next() byte {
	for p.pos < len(p.data) {
		c := p.data[p.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		p.pos++
		p.spaces++
	}
	return 0
}

// finish wants nothing but white space in the rest.
func (p *parser) finish() {
	if p.next(); p.err == nil && p.pos < len(p.data) {
		p.unexpected("the end")
	}
}

// enter takes an opening bracket and reports whether an element follows. Use:
//
//	for more := p.enter('{'); more; more = p.another('}') {
func (p *parser) enter(open byte) bool {
	switch p.next() {
	case open:
		p.pos++
		if p.next() == open+2 { // [ and ], { and } are two apart
			p.pos++
			return false
		}
		return p.err == nil
	case 'n':
		p.literal("null")
		return false
	}
	p.unexpected(strconv.QuoteRune(rune(open)))
	return false
}

// another takes the comma or the closing bracket and reports whether an element follows.
func (p *parser) another(end byte) bool {
	switch p.next() {
	case ',':
		p.pos++
		return p.err == nil
	case end:
		p.pos++
		return false
	}
	p.unexpected(`',' or ` + strconv.QuoteRune(rune(end)))
	return false
}

// key takes the name of a member and the colon. The name is valid until the next string.
func (p *parser) key() []byte {
	if p.next() != '"' {
		p.unexpected("a key")
		return nil
	}
	key := p.text()
	if p.next() != ':' {
		p.unexpected("':'")
		return nil
	}
	p.pos++
	return key
}

func (p *parser) literal(word string) {
	if !bytes.HasPrefix(p.data[p.pos:], []byte(word)) {
		p.unexpected("a value")
		return
	}
	p.pos += len(word)
}

// null takes a null, if one comes.
func (p *parser) null() bool {
	if p.next() != 'n' {
		return false
	}
	p.literal("null")
	return true
}

// value passes a value of any kind and checks it.
func (p *parser) value() {
	switch c := p.next(); c {
	case '{', '[':
		if p.depth++; p.depth > p.maxDepth {
			p.fail(p.pos, "nested more than %d levels deep", p.maxDepth)
		}
		for more := p.enter(c); more; more = p.another(c + 2) {
			if c == '{' {
				p.passKey()
			}
			p.value()
		}
		p.depth--
	case '"':
		p.passText()
	case 't':
		p.literal("true")
	case 'f':
		p.literal("false")
	case 'n':
		p.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		p.numeral()
	default:
		p.unexpected("a value")
	}
}

func (p *parser) passKey() {
	if p.next() != '"' {
		p.unexpected("a key")
		return
	}
	p.passText()
	if p.next() != ':' {
		p.unexpected("':'")
		return
	}
	p.pos++
}

// passText passes the string that begins here; escaped reports whether it is anything but plain ASCII.
func (p *parser) passText() (escaped bool) {
	start := p.pos
	for i := start + 1; i < len(p.data); {
		c := p.data[i]
		switch {
		case plain[c]:
			i++
		case c == '"':
			p.pos = i + 1
			return escaped
		case c >= utf8.RuneSelf:
			escaped = true
			i++
		case c == '\\':
			escaped = true
			n := escapeLen(p.data[i:])
			if n == 0 {
				p.fail(i, "bad escape in a string")
				return true
			}
			i += n
		default:
			p.fail(i, "control character %q in a string", c)
			return true
		}
	}
	p.fail(start, "a string does not end")
	return true
}

// escapeLen is the length of the escape at the beginning of b; 0 when it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if unhex(b) >= 0 {
			return 6
		}
	}
	return 0
}

// unhex is the code unit of the \uXXXX at the beginning of b, or -1.
func unhex(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// text takes the string that begins here. The result is valid until the next call.
func (p *parser) text() []byte {
	start := p.pos
	escaped := p.passText()
	if p.err != nil {
		return nil
	}
	body := p.data[start+1 : p.pos-1]
	if !escaped || bytes.IndexByte(body, '\\') < 0 && utf8.Valid(body) {
		return body
	}
	p.scratch = unescape(p.scratch[:0], body)
	return p.scratch
}

// unescape appends what the checked inside of a JSON string stands for. What is not UTF-8 or half of a surrogate pair
// becomes U+FFFD, as in encoding/json.
func unescape(out, body []byte) []byte {
	for i := 0; i < len(body); {
		c := body[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(body[i:])
			out = utf8.AppendRune(out, r)
			i += size
			continue
		}
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		switch c = body[i+1]; c {
		case 'u':
			r := unhex(body[i:])
			i += 6
			if utf16.IsSurrogate(r) {
				if r = utf16.DecodeRune(r, unhex(body[i:])); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		}
		out = append(out, c)
		i += 2
	}
	return out
}

// numeral passes a number and returns its text.
func (p *parser) numeral() []byte {
	start, i, d := p.pos, p.pos, p.data
	digits := func() bool {
		from := i
		for i < len(d) && '0' <= d[i] && d[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(d) && d[i] == '-' {
		i++
	}
	ok := true
	if i < len(d) && d[i] == '0' {
		i++
	} else {
		ok = digits()
	}
	if ok && i < len(d) && d[i] == '.' {
		i++
		ok = digits()
	}
	if ok && i < len(d) && (d[i] == 'e' || d[i] == 'E') {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		ok = digits()
	}
	p.pos = i
	if !ok {
		p.unexpected("a digit")
		return nil
	}
	return d[start:i]
}

// ---- values of a known kind

// str takes a string of its own memory.
func (p *parser) str() string {
	if p.null() {
		return ""
	}
	if p.next() != '"' {
		p.unexpected("a string")
		return ""
	}
	return string(p.text())
}

// raw takes a value of any kind as its own copy.
func (p *parser) raw() json.RawMessage {
	p.next()
	start := p.pos
	p.value()
	if p.err != nil {
		return nil
	}
	return bytes.Clone(p.data[start:p.pos])
}

// number takes an integer that fits into the bits.
func (p *parser) number(bits int) int64 {
	if p.null() {
		return 0
	}
	start := p.pos
	text := p.numeral()
	if p.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(text), 10, bits)
	if err != nil {
		p.fail(start, "%s is not an integer of %d bits", text, bits)
	}
	return n
}

// unsigned takes an integer from 0 that fits into the bits.
func (p *parser) unsigned(bits int) uint64 {
	if p.null() {
		return 0
	}
	start := p.pos
	text := p.numeral()
	if p.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(string(text), 10, bits)
	if err != nil {
		p.fail(start, "%s is not an integer of %d bits without a sign", text, bits)
	}
	return n
}

// bytes takes base64, as encoding/json writes bytes.
func (p *parser) bytes() []byte {
	if p.null() {
		return nil
	}
	start := p.pos
	if p.next() != '"' {
		p.unexpected("base64 in a string")
		return nil
	}
	text := p.text()
	if p.err != nil {
		return nil
	}
	out, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		p.fail(start, "%v", err)
	}
	return out
}

func (p *parser) flag() bool {
	switch p.next() {
	case 't':
		p.literal("true")
		return true
	case 'n':
		p.literal("null")
		return false
	}
	p.literal("false")
	return false
}

func (p *parser) instant() Instant {
	if p.null() {
		return 0
	}
	start := p.pos
	if p.next() != '"' {
		p.unexpected("a time")
		return 0
	}
	text := p.text()
	if p.err != nil {
		return 0
	}
	var i Instant
	if err := i.UnmarshalText(text); err != nil {
		p.fail(start, "%v", err)
	} else if year := i.Time().Year(); year < 0 || year > 9999 {
		p.fail(start, "time %q is outside of the years 0 to 9999", text)
	}
	return i
}
