package httpapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Describe makes the description of the API, OpenAPI 3.1 in JSON. comment gives the words for what has none of its own: a
// type, with field "", or a field of it, by its name in Go. What the server serves is the file openapi.json, which go generate
// makes with the comments of the source.
func Describe(comment func(t reflect.Type, field string) string) ([]byte, error) {
	o := Options{}
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s, err := newServer(struct{ Service }{}, o)
	if err != nil {
		return nil, err
	}
	api := s.api.OpenAPI()
	registry := api.Components.Schemas
	delete(registry.Map(), "ErrorModel") // the framework's own, which never get out: see transform
	delete(registry.Map(), "ErrorDetail")
	raw, err := json.Marshal(api)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	components, _ := doc["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	sent := bodies(api)
	for name, schema := range schemas {
		if object, ok := schema.(map[string]any); ok {
			explain(registry, name, object, comment)
			if !sent[name] {
				delete(object, "additionalProperties") // answers may get more: clients have to pass over it
			}
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(doc)
	return out.Bytes(), err
}

// bodies are the schemas of what is sent to the server.
func bodies(api *huma.OpenAPI) map[string]bool {
	sent := map[string]bool{}
	for _, item := range api.Paths {
		for _, op := range []*huma.Operation{item.Post, item.Put} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, content := range op.RequestBody.Content {
				sent[strings.TrimPrefix(content.Schema.Ref, "#/components/schemas/")] = true
			}
		}
	}
	return sent
}

// explain puts the comments of the source where there are no words.
func explain(registry huma.Registry, name string, schema map[string]any, comment func(reflect.Type, string) string) {
	t := registry.TypeFromRef("#/components/schemas/" + name)
	if t == nil || t.Kind() != reflect.Struct {
		return
	}
	set := func(of map[string]any, text string) {
		if _, has := of["description"]; !has && text != "" {
			of["description"] = text
		}
	}
	set(schema, comment(t, ""))
	properties, _ := schema["properties"].(map[string]any)
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if property, ok := properties[key].(map[string]any); ok && !f.Anonymous {
			set(property, comment(parent(t, f.Index), f.Name))
		}
	}
}

// parent is the struct in which the field is declared: one that is embedded, perhaps.
func parent(t reflect.Type, at []int) reflect.Type {
	for _, i := range at[:len(at)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return t
}
