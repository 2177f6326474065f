package jsonschema

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// SchemaError says what is wrong with a schema.
type SchemaError struct {
	Violations []Violation // at least one; the paths are those of values in the schema
	Hint       string      // what to do, where that is known; else ""
}

func (e *SchemaError) Error() string {
	text := "context schema is not a valid JSON Schema: " + join(e.Violations)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// wrongSchema finds out what the compiler found wrong, and where.
func wrongSchema(doc any, err error) *SchemaError {
	var invalid *jsonschema.SchemaValidationError
	var why *jsonschema.ValidationError
	var regex *jsonschema.InvalidRegexError
	var nowhere *jsonschema.JSONPointerNotFoundError
	var noAnchor *jsonschema.AnchorNotFoundError
	var load *jsonschema.LoadURLError
	e := &SchemaError{Hint: olderDraft(doc)}
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &why):
		e.Violations = violations(why)
	case errors.As(err, &regex):
		e.Violations = []Violation{{fragment(regex.URL), "not a regular expression: " + strconv.Quote(regex.Regex)}}
	case errors.As(err, &nowhere):
		e.Violations = references(doc, func(to string) bool { return fragment(to) == fragment(nowhere.URL) }, "there is no such place in the schema")
	case errors.As(err, &noAnchor):
		e.Violations = references(doc, func(to string) bool { return fragment(to) == fragment(noAnchor.Reference) }, "there is no such anchor in the schema")
	case errors.As(err, &load):
		e.Violations = references(doc, func(to string) bool { return strings.HasPrefix(to, load.URL) }, errRemote.Error())
	}
	if len(e.Violations) == 0 {
		e.Violations = []Violation{{"", err.Error()}}
	}
	return e
}

// fragment is what stands behind the # of a reference.
func fragment(reference string) string {
	_, after, _ := strings.Cut(reference, "#")
	if plain, err := url.PathUnescape(after); err == nil {
		return plain
	}
	return after
}

// references reports every reference that leads where that says.
func references(doc any, that func(to string) bool, message string) []Violation {
	var found []Violation
	var look func(v any, path string)
	look = func(v any, path string) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				look(item, path+"/"+strconv.Itoa(i))
			}
		case map[string]any:
			for key, item := range v {
				at := path + "/" + escape(key)
				if to, ok := item.(string); ok && slices.Contains([]string{"$ref", "$dynamicRef", "$schema"}, key) && that(to) {
					found = append(found, Violation{at, strconv.Quote(to) + ": " + message})
				}
				look(item, at)
			}
		}
	}
	look(doc, "")
	return tidy(found)
}

// draft4 is the draft that Tasker's schemas have.
const draft4 = "http://json-schema.org/draft-04/schema#"

// olderDraft is the hint for a schema that was right before 2020-12.
func olderDraft(doc any) string {
	object, ok := doc.(map[string]any)
	if !ok || object["$schema"] != nil {
		return ""
	}
	older := map[string]any{"$schema": draft4}
	for key, v := range object {
		older[key] = v
	}
	if _, err := compile(older); err != nil {
		return ""
	}
	text, _ := json.Marshal(draft4) // a string cannot fail
	return `it is right in draft 4: write $schema: ` + string(text)
}
