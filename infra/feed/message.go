package feed

import (
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
)

// Nobody stands in a subject for a namespace that the event has none of, or that nobody knows any more, and for the task of a
// fact without one.
const Nobody = "_"

const (
	headerPrefix = "ce-"
	headerID     = "Nats-Msg-Id"
	maxAttribute = 4 << 10 // bytes of a value, three times as many in a header; the server allows 64 KiB for all headers
	maxType      = 512     // bytes of the type in a subject; the server allows 4 KiB for a line with subject and inbox
)

// message is the event on NATS. The id that keeps it from being stored twice is the event's.
func (f *Feed) message(e *domain.CloudEvent) *nats.Msg {
	header := make(nats.Header, 20)
	for name, value := range e.Attributes() {
		// Correlations, the names of operators and causes may be of any length.
		header[headerPrefix+name] = []string{domain.CloudEventHeader(shortened(value, maxAttribute))}
	}
	header[headerID] = header[headerPrefix+"id"]
	return &nats.Msg{Subject: f.subject(e), Header: header, Data: e.Data}
}

func (f *Feed) subject(e *domain.CloudEvent) string {
	var b strings.Builder
	b.Grow(len(f.root) + len(e.Namespace) + len(e.Subject) + len(e.Type) + 4)
	b.WriteString(f.root)
	b.WriteString(token(e.Namespace))
	b.WriteByte('.')
	b.WriteString(token(e.Subject))
	b.WriteByte('.')
	b.WriteString(tokens(string(e.Type)))
	return b.String()
}

// token is s as one token of a subject.
func token(s string) string {
	if s == "" {
		return Nobody
	}
	if strings.IndexFunc(s, odd) < 0 {
		return s
	}
	return strings.Map(plain, s)
}

// tokens keeps dots between tokens that are not empty. Known types are what they are; an event of a later version may have
// any name.
func tokens(s string) string {
	s = shortened(s, maxType)
	if strings.IndexFunc(s, func(r rune) bool { return r != '.' && odd(r) }) < 0 &&
		s != "" && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..") {
		return s
	}
	parts := strings.Split(s, ".")
	for i, part := range parts {
		parts[i] = token(part)
	}
	return strings.Join(parts, ".")
}

func odd(r rune) bool { return plain(r) != r }

func plain(r rune) rune {
	if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
		return r
	}
	return '_'
}

// shortened cuts between characters.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
