package yamldef

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// readJSON reads JSON as JSON: a YAML parser refuses some of it (surrogate pairs) and reads some of it differently.
func readJSON(data []byte) (*node, []Problem) {
	if err := json.Unmarshal(data, &json.RawMessage{}); err != nil {
		var at *json.SyntaxError
		p := Problem{Message: "not valid JSON: " + err.Error()}
		if errors.As(err, &at) {
			p.Line, p.Column = place(data, int(max(at.Offset-1, 0)))
		}
		return nil, []Problem{p}
	}
	r := jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1, column: 1}
	r.dec.UseNumber()
	return r.value(), nil
}

// jsonReader reads a text that is known to be valid, with the place of everything.
type jsonReader struct {
	data         []byte
	dec          *json.Decoder
	offset       int // line and column are those of offset
	line, column int
}

// token reads the next token and the place where it begins.
func (r *jsonReader) token() (json.Token, mark) {
	start := int(r.dec.InputOffset())
	for start < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[start]) >= 0 {
		start++
	}
	for ; r.offset < start; r.offset++ {
		switch b := r.data[r.offset]; {
		case b == '\n':
			r.line, r.column = r.line+1, 1
		case b&0xc0 != 0x80: // not inside a character
			r.column++
		}
	}
	token, err := r.dec.Token()
	if err != nil {
		return nil, mark{} // not reached: the text is valid
	}
	return token, mark{r.line, r.column}
}

func (r *jsonReader) value() *node {
	token, at := r.token()
	n := &node{at: at}
	switch t := token.(type) {
	case bool:
		n.kind, n.text = isBool, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = isNumber, t.String()
	case string:
		n.kind, n.text = isText, t
	case json.Delim:
		if t == '[' {
			n.kind = isList
			for r.dec.More() {
				n.items = append(n.items, r.value())
			}
		} else {
			n.kind = isObject
			for r.dec.More() {
				name, at := r.token()
				key, _ := name.(string) // a key is a string
				n.fields = append(n.fields, field{key: key, at: at, value: r.value()})
			}
		}
		r.token()
	}
	return n
}
