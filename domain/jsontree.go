package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// maxJSONDepth is how deep the JSON inside a definition may be nested.
const maxJSONDepth = 100

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

// String is the kind as a sentence names it.
func (k jsonKind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// jsonNode is a parsed JSON value that, unlike a map, knows the order of its keys, which of them come twice, and the
// text of its numbers.
type jsonNode struct {
	kind  jsonKind
	truth bool       // of a boolean
	text  string     // of a string, decoded; of a number, as written
	keys  []string   // of an object, with items
	items []jsonNode // of an array or object
}

// find is the value under key, or nil. The last one counts, as for every JSON reader.
func (n *jsonNode) find(key string) *jsonNode {
	if n.kind != jsonObject {
		return nil
	}
	for i := len(n.keys) - 1; i >= 0; i-- {
		if n.keys[i] == key {
			return &n.items[i]
		}
	}
	return nil
}

// parseJSON reads one JSON value. duplicates says that some object has a key twice.
func parseJSON(text []byte) (n jsonNode, duplicates bool, err error) {
	if !utf8.Valid(text) {
		return n, false, errors.New("not valid JSON: the text is not UTF-8")
	}
	if err := json.Unmarshal(text, &json.RawMessage{}); err != nil {
		return n, false, syntaxError(text, err)
	}
	p := jsonParser{dec: json.NewDecoder(bytes.NewReader(text))}
	p.dec.UseNumber()
	n, err = p.value(1)
	return n, p.duplicates, err
}

// syntaxError adds line and column.
func syntaxError(text []byte, err error) error {
	var at *json.SyntaxError
	if !errors.As(err, &at) {
		return fmt.Errorf("not valid JSON: %w", err)
	}
	before := text[:min(max(at.Offset-1, 0), int64(len(text)))]
	line, column := 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("not valid JSON: line %d, column %d: %w", line, column, err)
}

type jsonParser struct {
	dec        *json.Decoder
	duplicates bool
}

func (p *jsonParser) value(depth int) (jsonNode, error) {
	token, err := p.dec.Token()
	if err != nil {
		return jsonNode{}, fmt.Errorf("not valid JSON: %w", err)
	}
	switch t := token.(type) {
	case bool:
		return jsonNode{kind: jsonBool, truth: t}, nil
	case json.Number:
		return jsonNode{kind: jsonNumber, text: t.String()}, nil
	case string:
		return jsonNode{kind: jsonString, text: t}, nil
	case json.Delim:
		if depth > maxJSONDepth {
			return jsonNode{}, fmt.Errorf("nested deeper than %d levels", maxJSONDepth)
		}
		if t == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	}
	return jsonNode{kind: jsonNull}, nil
}

func (p *jsonParser) object(depth int) (jsonNode, error) {
	n := jsonNode{kind: jsonObject}
	seen := map[string]bool{}
	for p.dec.More() {
		token, err := p.dec.Token()
		if err != nil {
			return n, fmt.Errorf("not valid JSON: %w", err)
		}
		key, _ := token.(string) // the text was checked: a key is a string
		if seen[key] {
			p.duplicates = true
		}
		seen[key] = true
		item, err := p.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.keys, n.items = append(n.keys, key), append(n.items, item)
	}
	_, err := p.dec.Token()
	return n, err
}

func (p *jsonParser) array(depth int) (jsonNode, error) {
	n := jsonNode{kind: jsonArray}
	for p.dec.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.items = append(n.items, item)
	}
	_, err := p.dec.Token()
	return n, err
}

// reportDuplicates tells of every key that an object has twice.
func (n *jsonNode) reportDuplicates(path string, p *problems) {
	seen := make(map[string]bool, len(n.keys))
	for i := range n.items {
		if n.kind == jsonArray {
			n.items[i].reportDuplicates(IndexPath(path, i), p)
			continue
		}
		at := JoinPath(path, n.keys[i])
		if seen[n.keys[i]] {
			p.addf(at, "leave one of the two out", "duplicate key %q", n.keys[i])
		}
		seen[n.keys[i]] = true
		n.items[i].reportDuplicates(at, p)
	}
}

// canonicalJSON is text compacted and with sorted keys, so that the same content has the same bytes; numbers keep
// their text. JSON null and no text are nil.
func canonicalJSON(text json.RawMessage, path string, p *problems) (json.RawMessage, jsonNode) {
	if len(text) == 0 {
		return nil, jsonNode{}
	}
	n, duplicates, err := parseJSON(text)
	switch {
	case err != nil:
		p.add(path, err.Error(), "")
		return nil, jsonNode{}
	case duplicates:
		n.reportDuplicates(path, p)
	case n.kind == jsonNull:
		return nil, n
	}
	return n.appendCanonical(nil), n
}

func (n *jsonNode) appendCanonical(b []byte) []byte {
	switch n.kind {
	case jsonNull:
		return append(b, "null"...)
	case jsonBool:
		if n.truth {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case jsonNumber:
		return append(b, n.text...)
	case jsonString:
		return appendJSONText(b, n.text)
	case jsonArray:
		b = append(b, '[')
		for i := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = n.items[i].appendCanonical(b)
		}
		return append(b, ']')
	case jsonObject:
		byKey := make(map[string]int, len(n.keys))
		for i, key := range n.keys {
			byKey[key] = i
		}
		b = append(b, '{')
		for k, key := range slices.Sorted(maps.Keys(byKey)) {
			if k > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONText(b, key), ':')
			b = n.items[byKey[key]].appendCanonical(b)
		}
		return append(b, '}')
	}
	return b
}

// appendJSONText appends s as JSON, without the escapes that only HTML needs.
func appendJSONText(b []byte, s string) []byte {
	text, _ := encodeJSON(s) // a string cannot fail
	return append(b, text...)
}

// encodeJSON is json.Marshal without the escapes that only HTML needs.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}
