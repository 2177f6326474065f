package jsonschema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/infra/jsonschema"
)

const dummy = `{"type":"object","required":["dummy"],"properties":{"dummy":{"type":"boolean"}}}`

func compile(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.Compile(json.RawMessage(schema))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContextIsCheckedAndCompacted(t *testing.T) {
	got, err := compile(t, dummy).Apply(json.RawMessage(` { "z" : "<é>", "dummy" : true, "a": [1.0, 1e2, null] } `))
	if want := `{"a":[1.0,1e2,null],"dummy":true,"z":"<é>"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestEveryViolationIsReportedWithItsPath(t *testing.T) {
	tests := map[string]struct {
		schema, context string
		want            []jsonschema.Violation
	}{
		"the dummy task's": {dummy, `{"bad_param": true, "dummy": 12}`, []jsonschema.Violation{{"/dummy", "got number, want boolean"}}},
		"missing":          {dummy, `{}`, []jsonschema.Violation{{"/dummy", "is missing"}}},
		"no context":       {dummy, ``, []jsonschema.Violation{{"/dummy", "is missing"}}},
		"several, nested": {
			`{"required":["a","b"],"additionalProperties":false,"properties":{"a":{},"b":{},"c/d":{"items":{"type":"integer","maximum":3}},"e":{"minLength":2}}}`,
			`{"c/d":[1,"x",4,2.5],"x~y":1,"z":2,"e":""}`,
			[]jsonschema.Violation{
				{"/a", "is missing"},
				{"/b", "is missing"},
				{"/c~1d/1", "got string, want integer"},
				{"/c~1d/2", "maximum: got 4, want 3"},
				{"/c~1d/3", "got number, want integer"},
				{"/e", "minLength: got 0, want 2"},
				{"/x~0y", "is not allowed"},
				{"/z", "is not allowed"},
			},
		},
		"alternatives": {
			`{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"object","required":["b"]}]},"c":{"oneOf":[{"type":"number"},{"type":"integer"}]}}}`,
			`{"a":{},"c":1}`,
			[]jsonschema.Violation{
				{"/a", "fits none of the alternatives (got object, want string; or /a/b: is missing)"},
				{"/c", "fits more than one alternative: 1 and 2"},
			},
		},
		"format":          {`{"properties":{"mail":{"format":"email"}}}`, `{"mail":"nobody"}`, []jsonschema.Violation{{"/mail", "'nobody' is not valid email: missing @"}}},
		"not an object":   {dummy, `[1]`, []jsonschema.Violation{{"", "got array, want object"}}},
		"not JSON":        {dummy, `{"a":`, []jsonschema.Violation{{"", "not valid JSON: unexpected EOF"}}},
		"two values":      {dummy, `{} {}`, []jsonschema.Violation{{"", "not valid JSON: more text after the value"}}},
		"not UTF-8":       {dummy, "{\"a\":\"\xff\"}", []jsonschema.Violation{{"", "not valid JSON: the text is not UTF-8"}}},
		"a number trap":   {dummy, `{"dummy":true,"a":[{"b":1e999999999}]}`, []jsonschema.Violation{{"/a/0/b", "a number with too many digits"}}},
		"a long exponent": {dummy, `{"a":1e-99999999999999999999}`, []jsonschema.Violation{{"/a", "a number with too many digits"}}},
		"endless defaults": {
			`{"$defs":{"t":{"properties":{"t":{"$ref":"#/$defs/t","default":{}}}}},"$ref":"#/$defs/t"}`, `{}`,
			[]jsonschema.Violation{{"", "the defaults of the schema have no end"}},
		},
		"references that fork": {
			`{"allOf":[{"$ref":"#/$defs/t"}],"$defs":{"t":{"allOf":[{"properties":{"a":{"$ref":"#/$defs/t"}}},{"properties":{"a":{"$ref":"#/$defs/t"}}}]}}}`,
			strings.Repeat(`{"a":`, 60) + "{}" + strings.Repeat("}", 60),
			[]jsonschema.Violation{{"", "the schema refers to itself too often to check this context"}},
		},
		"allOf that leads back": {
			`{"allOf":[{"$ref":"#"},{"$ref":"#"},{"$ref":"#/$defs/x"}],"$defs":{"x":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, `{}`,
			[]jsonschema.Violation{{"", "the references of the schema lead back to where they began"}},
		},
		"default that is not valid": {`{"properties":{"a":{"type":"string","default":1}}}`, `{}`, []jsonschema.Violation{{"/a", "got number, want string"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := compile(t, tt.schema).Apply(json.RawMessage(tt.context))
			var got *jsonschema.ViolationsError
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want a ViolationsError", err)
			}
			if diff := cmp.Diff(tt.want, got.Violations); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErrorNamesPathAndReason(t *testing.T) {
	_, err := compile(t, dummy).Apply(json.RawMessage(`{"dummy":12}`))
	if want := "context is not valid: /dummy: got number, want boolean"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDefaultsAreStored(t *testing.T) {
	for name, tt := range map[string]struct{ schema, context, want string }{
		"missing":       {`{"properties":{"a":{"default":1},"b":{"default":[{"x":null}]}}}`, `{}`, `{"a":1,"b":[{"x":null}]}`},
		"no context":    {`{"properties":{"a":{"default":1}}}`, ``, `{"a":1}`},
		"there":         {`{"properties":{"a":{"default":1}}}`, `{"a":null}`, `{"a":null}`},
		"required":      {`{"required":["a"],"properties":{"a":{"default":1}}}`, `{}`, `{"a":1}`},
		"nested":        {`{"properties":{"o":{"properties":{"a":{"default":1}}}}}`, `{"o":{}}`, `{"o":{"a":1}}`},
		"nested absent": {`{"properties":{"o":{"properties":{"a":{"default":1}}}}}`, `{}`, `{}`},
		"in a default":  {`{"properties":{"o":{"default":{},"properties":{"a":{"default":1}}}}}`, `{}`, `{"o":{"a":1}}`},
		"items":         {`{"properties":{"l":{"items":{"properties":{"a":{"default":1}}}}}}`, `{"l":[{},{"a":2},3]}`, `{"l":[{"a":1},{"a":2},3]}`},
		"prefix items":  {`{"properties":{"l":{"prefixItems":[{"properties":{"a":{"default":1}}}]}}}`, `{"l":[{},{}]}`, `{"l":[{"a":1},{}]}`},
		"draft 7 items": {`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"l":{"items":{"properties":{"a":{"default":1}}}}}}`, `{"l":[{}]}`, `{"l":[{"a":1}]}`},
		"other keys":    {`{"additionalProperties":{"properties":{"a":{"default":1}}}}`, `{"x":{}}`, `{"x":{"a":1}}`},
		"by reference":  {`{"$defs":{"d":{"default":7,"type":"integer"}},"properties":{"a":{"$ref":"#/$defs/d"}}}`, `{}`, `{"a":7}`},
		"all of":        {`{"properties":{"a":{"default":1}},"allOf":[{"properties":{"a":{"default":2},"b":{"default":3}}}]}`, `{}`, `{"a":1,"b":3}`},
		"a big number":  {`{"properties":{"a":{"default":1152921504606846977}}}`, `{}`, `{"a":1152921504606846977}`},
		"not under if":  {`{"if":{"properties":{"a":{"default":1}}},"anyOf":[{"properties":{"b":{"default":1}}}]}`, `{}`, `{}`},
		"a tree":        {`{"properties":{"n":{"default":0},"kids":{"items":{"$ref":"#"}}}}`, `{"kids":[{"kids":[{}]}]}`, `{"kids":[{"kids":[{"n":0}],"n":0}],"n":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := compile(t, tt.schema)
			for range 2 { // a default that was filled in must not change the schema
				got, err := s.Apply(json.RawMessage(tt.context))
				if err != nil || string(got) != tt.want {
					t.Errorf("got %s, %v; want %s", got, err, tt.want)
				}
			}
		})
	}
}

func TestNumbersKeepTheirText(t *testing.T) {
	const context = `{"a":1152921504606846977,"b":0.1000,"c":1E+2,"d":-0.0,"dummy":true,"e":123456789012345678901234567890}`
	for name, s := range map[string]*jsonschema.Schema{"checked": compile(t, dummy), "unchecked": compile(t, `null`)} {
		if got, err := s.Apply(json.RawMessage(context)); err != nil || string(got) != context {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

func TestWithoutSchemaEveryObjectIsAccepted(t *testing.T) {
	var s *jsonschema.Schema
	for context, want := range map[string]string{"": "{}", "{ }": "{}", ` {"b": 1, "a": "<" } `: `{"b":1,"a":"<"}`} {
		if got, err := s.Apply(json.RawMessage(context)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", context, got, err, want)
		}
	}
	for context, want := range map[string]string{
		"[]": "got array, want object", " null": "got null, want object", "1": "got number, want object", `"a"`: "got string, want object",
		"true": "got boolean, want object", "{": "not valid JSON: unexpected end of JSON input", "{} 1": "not valid JSON: invalid character '1' after top-level value",
		"{\"\xff\":1}": "not valid JSON: the text is not UTF-8",
	} {
		_, err := s.Apply(json.RawMessage(context))
		var got *jsonschema.ViolationsError
		if !errors.As(err, &got) || got.Violations[0] != (jsonschema.Violation{Path: "", Message: want}) {
			t.Errorf("%s: got %v, want %s", context, err, want)
		}
	}
}

func TestSchemasThatCannotBeUsedAreRefused(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type":"strin"}`:                       "context schema is not a valid JSON Schema: /type",
		`{"$ref":"https://example.com/x.json"}`:  `/$ref: "https://example.com/x.json": references to other documents are not loaded`,
		`{"$ref":"other.json"}`:                  "references to other documents are not loaded",
		`{"$ref":"file:///etc/passwd"}`:          `/$ref: "file:///etc/passwd": references to other documents are not loaded`,
		`{"$schema":"https://example.com/meta"}`: `/$schema: "https://example.com/meta": references to other documents are not loaded`,
		`{"$ref":"#/$defs/none"}`:                `/$ref: "#/$defs/none": there is no such place in the schema`,
		`{"items":[{"$ref":"#none"}],"$schema":"http://json-schema.org/draft-07/schema#"}`: `/items/0/$ref: "#none": there is no such anchor in the schema`,
		`{"properties":{"a":{"pattern":"("}}}`:                                             `/properties/a/pattern: `,
		`{"properties":{"a":{"maximum":1e999999999}}}`:                                     "/properties/a/maximum: a number with too many digits",
		`{"a"`: "context schema: not valid JSON",
		`{"required":"a","properties":{"b":{"type":1}}}`: "/required: got string, want array",
		`{"properties":{"a":{"minimum":0,"exclusiveMinimum":true}}}`: "/properties/a/exclusiveMinimum: got boolean, want number; " +
			`it is right in draft 4: write $schema: "http://json-schema.org/draft-04/schema#"`,
	} {
		_, err := jsonschema.Compile(json.RawMessage(schema))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", schema, err, want)
		}
	}
}

func TestReferencesWithinTheSchemaAndToTheMetaschemaWork(t *testing.T) {
	s := compile(t, `{"$id":"https://example.com/order","$defs":{"n":{"type":"integer"}},
		"properties":{"a":{"$ref":"#/$defs/n"},"s":{"$ref":"https://json-schema.org/draft/2020-12/schema"}}}`)
	if _, err := s.Apply(json.RawMessage(`{"a":1,"s":{"type":"string"}}`)); err != nil {
		t.Error(err)
	}
	if _, err := s.Apply(json.RawMessage(`{"a":"x","s":{"type":1}}`)); err == nil {
		t.Error("no violation")
	}
}

func TestManyViolationsAreCutOff(t *testing.T) {
	context := `{"l":[` + strings.Repeat(`"x",`, 1000) + `1]}`
	_, err := compile(t, `{"properties":{"l":{"items":{"type":"integer"}}}}`).Apply(json.RawMessage(context))
	var got *jsonschema.ViolationsError
	if !errors.As(err, &got) || len(got.Violations) != 100 {
		t.Errorf("%.200v", err)
	}
}

func TestOneSchemaServesManyGoroutines(t *testing.T) {
	s := compile(t, `{"properties":{"o":{"default":{"l":[]},"properties":{"a":{"default":1}}},"n":{"type":"integer","pattern":"x"}}}`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 100 {
				want := fmt.Sprintf(`{"n":%d,"o":{"a":1,"l":[]}}`, i*k)
				if got, err := s.Apply(json.RawMessage(fmt.Sprintf(`{"n":%d}`, i*k))); err != nil || string(got) != want {
					t.Errorf("got %s, %v", got, err)
				}
				if _, err := s.Apply(json.RawMessage(`{"n":"y"}`)); err == nil {
					t.Error("no violation")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(dummy), []byte(`{"dummy":true}`))
	f.Add([]byte(`{"$defs":{"t":{"properties":{"t":{"$ref":"#/$defs/t","default":{}}}}},"$ref":"#/$defs/t"}`), []byte(`{"t":{}}`))
	f.Add([]byte(`{"allOf":[{"$ref":"#"}],"multipleOf":0.1}`), []byte(`{"a":[1e5]}`))
	f.Fuzz(func(t *testing.T, schema, context []byte) {
		s, err := jsonschema.Compile(schema)
		if err != nil {
			return
		}
		stored, err := s.Apply(context)
		if err != nil {
			return
		}
		again, err := s.Apply(stored)
		if err != nil || string(again) != string(stored) {
			t.Fatalf("%s with %s became %s, then %s: %v", context, schema, stored, again, err)
		}
	})
}

func BenchmarkApplyDummy(b *testing.B) {
	s := compile(b, dummy)
	for b.Loop() {
		if _, err := s.Apply(json.RawMessage(`{"dummy":true}`)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompileDummy(b *testing.B) {
	for b.Loop() {
		compile(b, dummy)
	}
}
