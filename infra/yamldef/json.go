package yamldef

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// loadJSON reads JSON as JSON: a YAML parser refuses some of it (surrogate pairs) and reads some of it differently.
func loadJSON(data []byte) (*domain.Definition, []Problem) {
	if err := json.Unmarshal(data, &json.RawMessage{}); err != nil {
		var at *json.SyntaxError
		p := Problem{Message: "not valid JSON: " + err.Error()}
		if errors.As(err, &at) {
			p.Line, p.Column = place(data, int(max(at.Offset-1, 0)))
		}
		return nil, []Problem{p}
	}
	return parse(data, nil, func() map[string]mark { return jsonMarks(data) })
}

func jsonMarks(data []byte) map[string]mark {
	l := locator{data: data, dec: json.NewDecoder(bytes.NewReader(data)), at: map[string]mark{}, line: 1, column: 1}
	l.dec.UseNumber()
	l.value("", mark{})
	return l.at
}

// locator finds the place of every value of a JSON text that is known to be valid: that of the key, or of the item.
type locator struct {
	data         []byte
	dec          *json.Decoder
	at           map[string]mark
	offset       int // line and column are those of offset
	line, column int
}

// token reads the next token and the place where it begins.
func (l *locator) token() (json.Token, mark) {
	start := int(l.dec.InputOffset())
	for start < len(l.data) && strings.IndexByte(" \t\r\n,:", l.data[start]) >= 0 {
		start++
	}
	for ; l.offset < start; l.offset++ {
		switch b := l.data[l.offset]; {
		case b == '\n':
			l.line, l.column = l.line+1, 1
		case b&0xc0 != 0x80: // not inside a character
			l.column++
		}
	}
	token, err := l.dec.Token()
	if err != nil {
		return nil, mark{} // not reached: the text is valid
	}
	return token, mark{l.line, l.column}
}

// value records the places of what is under path. The place of an item is its own, that of a field is its key's.
func (l *locator) value(path string, key mark) {
	token, own := l.token()
	if key == (mark{}) {
		key = own
	}
	l.at[path] = key
	switch token {
	case json.Delim('{'):
		for l.dec.More() {
			name, at := l.token()
			text, _ := name.(string) // a key is a string
			l.value(domain.JoinPath(path, text), at)
		}
		l.token()
	case json.Delim('['):
		for i := 0; l.dec.More(); i++ {
			l.value(domain.IndexPath(path, i), mark{})
		}
		l.token()
	}
}
