package exechandler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
)

// Limits of what is made of a command's stderr.
const (
	maxLine   = 4 << 10 // bytes of a logged line; the rest is cut
	maxLogged = 10_000  // lines of one execution; the rest is counted
	tailLines = 20      // lines in the error
	tailBytes = 2 << 10 // bytes in the error
)

// result makes a JSON value of what a command wrote to stdout.
func result(out []byte) (json.RawMessage, error) {
	out = bytes.ToValidUTF8(out, []byte("\uFFFD"))
	switch trimmed := bytes.TrimSpace(out); {
	case len(trimmed) == 0:
		return json.RawMessage("null"), nil
	case json.Valid(trimmed):
		return trimmed, nil
	}
	return json.Marshal(strings.TrimSuffix(strings.TrimSuffix(string(out), "\n"), "\r"))
}

// limited keeps what is written up to room bytes, and calls full when more comes. One goroutine of os/exec writes.
type limited struct {
	buffer []byte
	room   int
	over   bool
	full   func()
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.room-len(l.buffer) {
		l.over = true
		l.full()
		return 0, errTooMuch
	}
	l.buffer = append(l.buffer, b...)
	return len(b), nil
}

// lines logs what is written, line by line, and keeps the last ones. One goroutine of os/exec writes.
type lines struct {
	log    *slog.Logger
	line   []byte
	cut    bool
	logged int
	last   []string
}

func (l *lines) Write(b []byte) (int, error) {
	written := len(b)
	for {
		head, rest, ended := bytes.Cut(b, []byte("\n"))
		room := maxLine - len(l.line)
		l.cut = l.cut || len(head) > room
		l.line = append(l.line, head[:min(room, len(head))]...)
		if !ended {
			return written, nil
		}
		l.flush()
		b = rest
	}
}

func (l *lines) flush() {
	text := strings.ToValidUTF8(strings.TrimSuffix(string(l.line), "\r"), "\uFFFD")
	if l.cut {
		text += " ..."
	}
	l.line, l.cut = l.line[:0], false
	if l.logged++; l.logged <= maxLogged {
		l.log.Info(text, "stream", "stderr")
	}
	if strings.TrimSpace(text) != "" {
		if len(l.last) == tailLines {
			l.last = l.last[:copy(l.last, l.last[1:])]
		}
		l.last = append(l.last, text)
	}
}

// end logs the last line when it has no newline.
func (l *lines) end() {
	if len(l.line) > 0 {
		l.flush()
	}
	if more := l.logged - maxLogged; more > 0 {
		l.log.Warn(fmt.Sprintf("%d more lines of stderr were not logged", more), "stream", "stderr")
	}
}

// tail is ": " and the last lines, or nothing when there are none.
func (l *lines) tail() string {
	text := strings.Join(l.last, "\n")
	if len(text) > tailBytes {
		text = "... " + strings.ToValidUTF8(text[len(text)-tailBytes:], "")
	}
	if text != "" {
		text = ": " + text
	}
	return text
}
