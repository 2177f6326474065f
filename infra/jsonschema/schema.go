// Package jsonschema checks the context of a task against the schema of its definition and fills in the defaults
// (SEMANTICS 7).
package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a compiled context schema. It is immutable: any number of goroutines may use it at the same time. A nil
// Schema accepts every JSON object.
type Schema struct {
	root *jsonschema.Schema
}

// base is the address under which the schema compiles. Nothing is loaded from it.
const base = "mem:///schema.json"

// errRemote refuses references that would have to be fetched: what a definition means must not depend on a server.
var errRemote = errors.New("references to other documents are not loaded")

type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errRemote }

// Compile compiles a JSON Schema, by default of draft 2020-12; $schema may name an older draft. "format" is asserted,
// not only an annotation. References must stay within the schema. No schema, or JSON null, gives nil. A text that is JSON,
// but no schema, gives a *SchemaError.
//
// Compiling takes around 100 µs; keep the result.
func Compile(schema json.RawMessage) (*Schema, error) {
	if len(schema) == 0 {
		return nil, nil //nolint:nilnil // a nil *Schema is a schema
	}
	doc, err := decode(schema)
	if err != nil {
		return nil, fmt.Errorf("context schema: %w", err)
	}
	if doc == nil {
		return nil, nil //nolint:nilnil // a nil *Schema is a schema
	}
	if odd := oddNumbers(doc, "", nil); len(odd) > 0 {
		return nil, &SchemaError{Violations: tidy(odd)}
	}
	root, err := compile(doc)
	if err != nil {
		return nil, wrongSchema(doc, err)
	}
	return &Schema{root: root}, nil
}

func compile(doc any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	if err := c.AddResource(base, doc); err != nil {
		return nil, err
	}
	return c.Compile(base)
}

// Apply fills in the defaults of the schema, checks the context, and returns it in the form to store: compact, with
// sorted keys and with the defaults; without a schema, compact and otherwise as it came. Numbers keep their text. An
// empty context counts as {}.
//
// A context that is not valid gives a *ViolationsError, whatever is wrong with it.
func (s *Schema) Apply(context json.RawMessage) (json.RawMessage, error) {
	if len(context) == 0 {
		context = json.RawMessage("{}")
	}
	if s == nil {
		return compactObject(context)
	}
	doc, err := decode(context)
	if err != nil {
		return nil, refuse(err.Error())
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, refuse("got " + typeName(doc) + ", want object")
	}
	if odd := oddNumbers(object, "", nil); len(odd) > 0 {
		return nil, newViolationsError(odd)
	}
	var fill filler
	fill.value(s.root, object)
	if trouble := fill.trouble(); trouble != "" {
		return nil, refuse(trouble)
	}
	if err := s.root.Validate(object); err != nil {
		var why *jsonschema.ValidationError
		if errors.As(err, &why) {
			return nil, newViolationsError(violations(why))
		}
		return nil, fmt.Errorf("check the context: %w", err)
	}
	return encode(object)
}

// compactObject is the fast way without a schema: the text is checked, not decoded.
func compactObject(context json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	b.Grow(len(context))
	switch err := json.Compact(&b, context); {
	case err != nil:
		return nil, refuse("not valid JSON: " + err.Error())
	case !utf8.Valid(context):
		return nil, refuse("not valid JSON: the text is not UTF-8")
	case b.Bytes()[0] != '{':
		doc, err := decode(context)
		if err != nil {
			return nil, refuse(err.Error())
		}
		return nil, refuse("got " + typeName(doc) + ", want object")
	}
	return b.Bytes(), nil
}

func decode(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not valid JSON: the text is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not valid JSON: more text after the value")
	}
	return doc, nil
}

func encode(doc any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("encode the context: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// Limits of a number, because the checks compute with exact fractions: 1e999999999 would fill the memory.
const (
	maxNumberLength = 1_000
	maxExponent     = 1_000
)

// oddNumbers lists the numbers beyond the limits.
func oddNumbers(v any, path string, odd []Violation) []Violation {
	switch v := v.(type) {
	case json.Number:
		if len(v) > maxNumberLength || exponent(string(v)) > maxExponent {
			odd = append(odd, Violation{path, "a number with too many digits"})
		}
	case []any:
		for i := range v {
			if mayHoldNumbers(v[i]) {
				odd = oddNumbers(v[i], path+"/"+strconv.Itoa(i), odd)
			}
		}
	case map[string]any:
		for key, item := range v {
			if mayHoldNumbers(item) {
				odd = oddNumbers(item, path+"/"+escape(key), odd)
			}
		}
	}
	return odd
}

func mayHoldNumbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		return len(v) > maxNumberLength || strings.ContainsAny(string(v), "eE")
	case []any, map[string]any:
		return true
	}
	return false
}

// exponent is the absolute exponent of a JSON number.
func exponent(number string) int {
	i := strings.IndexAny(number, "eE")
	if i < 0 {
		return 0
	}
	n, err := strconv.Atoi(number[i+1:])
	if err != nil {
		return maxExponent + 1
	}
	return max(n, -n)
}
