package yamldef

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// mark is a place in a file.
type mark struct{ line, column int }

type kind uint8

const (
	isNull kind = iota
	isBool
	isNumber
	isText
	isList
	isObject
)

// String is the kind as a sentence names it.
func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// node is a value of a file, YAML or JSON, with its place. Aliases have been expanded.
type node struct {
	kind   kind
	text   string // of a boolean or number: its JSON; of a string: itself
	at     mark
	fields []field
	items  []*node
	broken bool // it has no JSON form, which was reported; it stands as null
}

// field is one key of an object. JSON may have a key twice; that is for the validator to report.
type field struct {
	key   string
	at    mark
	value *node
	was   string // the key in the file, where another one stands for it; else ""
}

func textNode(text string, at mark) *node { return &node{kind: isText, text: text, at: at} }

// find is the field of that key, or nil; the last one, as for every JSON reader.
func (n *node) find(key string) *field {
	for i := len(n.fields) - 1; i >= 0; i-- {
		if n.fields[i].key == key {
			return &n.fields[i]
		}
	}
	return nil
}

// value is the value of the key; nil when there is none, or null.
func (n *node) value(key string) *node {
	if f := n.find(key); f != nil && f.value.kind != isNull {
		return f.value
	}
	return nil
}

// string is the text of the key's value, "" when it has none.
func (n *node) string(key string) string {
	if v := n.value(key); v != nil && v.kind == isText {
		return v.text
	}
	return ""
}

// take removes the key and returns its field, or nil.
func (n *node) take(key string) *field {
	f := n.find(key)
	if f == nil {
		return nil
	}
	taken := *f
	n.remove(key)
	return &taken
}

func (n *node) remove(key string) {
	n.fields = slices.DeleteFunc(n.fields, func(f field) bool { return f.key == key })
}

// errTooMuch: what steps share has been written for each of them, and that is more than anybody means.
var errTooMuch = fmt.Errorf("the definition has more than %d MiB with what its steps share", maxOut>>20)

// encode writes a tree as JSON.
func encode(n *node) ([]byte, error) {
	var b bytes.Buffer
	e := encoder{Buffer: &b, texts: json.NewEncoder(&b)}
	e.texts.SetEscapeHTML(false)
	if err := e.node(n); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type encoder struct {
	*bytes.Buffer
	texts *json.Encoder
}

func (e encoder) node(n *node) error {
	if e.Len() > maxOut {
		return errTooMuch
	}
	switch n.kind {
	case isNull:
		e.WriteString("null")
	case isBool, isNumber:
		e.WriteString(n.text)
	case isText:
		return e.texts.Encode(n.text)
	case isList:
		e.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				e.WriteByte(',')
			}
			if err := e.node(item); err != nil {
				return err
			}
		}
		e.WriteByte(']')
	case isObject:
		e.WriteByte('{')
		for i, f := range n.fields {
			if i > 0 {
				e.WriteByte(',')
			}
			if err := e.texts.Encode(f.key); err != nil {
				return err
			}
			e.WriteByte(':')
			if err := e.node(f.value); err != nil {
				return err
			}
		}
		e.WriteByte('}')
	}
	return nil
}
