package jsonschema

import (
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	maxDefaults = 10_000     // that one context may take: a schema that refers to itself could go on for ever
	maxVisits   = 10_000_000 // of values by schemas: references that fork double the work with every level
	maxRefs     = 32         // from one schema to the next in search of a default
)

// filler puts defaults where a property is missing. It follows what holds for a value whatever it is: properties,
// items, $ref and allOf. A default under anyOf, oneOf, not or if depends on the outcome of the check and is left alone.
type filler struct {
	defaults int // filled in so far
	visits   int
}

// trouble says why the filler gave up, or "".
func (f *filler) trouble() string {
	switch {
	case f.defaults > maxDefaults:
		return "the defaults of the schema have no end"
	case f.visits > maxVisits:
		return "the schema refers to itself too often to check this context"
	}
	return ""
}

func (f *filler) value(s *jsonschema.Schema, v any) { f.apply(s, v, nil) }

// apply fills in what s, and the schemas that hold wherever s holds, say about v. above are those on the way here.
func (f *filler) apply(s *jsonschema.Schema, v any, above []*jsonschema.Schema) {
	if s == nil || f.trouble() != "" || slices.Contains(above, s) {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		f.visits++
		f.object(s, v)
	case []any:
		f.visits++
		f.array(s, v)
	default:
		return
	}
	if s.Ref == nil && len(s.AllOf) == 0 {
		return
	}
	above = append(above, s)
	f.apply(s.Ref, v, above)
	for _, part := range s.AllOf {
		f.apply(part, v, above)
	}
}

func (f *filler) object(s *jsonschema.Schema, v map[string]any) {
	for key, property := range s.Properties {
		item, there := v[key]
		if !there {
			standard := defaultOf(property)
			if standard == nil {
				continue
			}
			if f.defaults++; f.defaults > maxDefaults {
				return
			}
			item = clone(*standard)
			v[key] = item
		}
		f.apply(property, item, nil)
	}
	if rest, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		for key, item := range v {
			if _, named := s.Properties[key]; !named {
				f.apply(rest, item, nil)
			}
		}
	}
}

func (f *filler) array(s *jsonschema.Schema, v []any) {
	prefix, rest := s.PrefixItems, s.Items2020
	switch items := s.Items.(type) { // before 2020-12
	case []*jsonschema.Schema:
		prefix = items
	case *jsonschema.Schema:
		rest = items
	}
	for i, item := range v {
		if i < len(prefix) {
			f.apply(prefix[i], item, nil)
		} else {
			f.apply(rest, item, nil)
		}
	}
}

// defaultOf is the default that a schema has, itself or by reference.
func defaultOf(s *jsonschema.Schema) *any {
	for range maxRefs {
		if s == nil || s.Default != nil {
			break
		}
		s = s.Ref
	}
	if s == nil {
		return nil
	}
	return s.Default
}

// clone copies a default, because the filler writes into what it has filled in.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := maps.Clone(v)
		for key, item := range out {
			out[key] = clone(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = clone(item)
		}
		return out
	}
	return v
}
