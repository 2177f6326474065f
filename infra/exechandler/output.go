package exechandler

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

var errTooMuch = errors.New("too much output")

// result makes a JSON value of what a command wrote to stdout.
func result(out []byte) (json.RawMessage, error) {
	out = bytes.ToValidUTF8(out, []byte("\uFFFD"))
	switch trimmed := bytes.TrimSpace(out); {
	case len(trimmed) == 0:
		return json.RawMessage("null"), nil
	case json.Valid(trimmed):
		return trimmed, nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(strings.TrimSuffix(strings.TrimSuffix(string(out), "\n"), "\r"))
	return bytes.TrimSpace(text.Bytes()), err
}

// limited keeps what is written up to room bytes, and closes full when more comes. One goroutine of os/exec writes, and
// stops at the first error.
type limited struct {
	buffer []byte
	room   int
	over   bool
	full   chan<- struct{}
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.room-len(l.buffer) {
		if !l.over {
			l.over = true
			close(l.full)
		}
		return 0, errTooMuch
	}
	l.buffer = append(l.buffer, b...)
	return len(b), nil
}
