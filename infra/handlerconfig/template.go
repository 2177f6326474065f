package handlerconfig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tasker-go/tasker/domain"
)

// A template is a string with places ${context.customer.email} or ${results.charge.id}: the task's context, and the
// result of another step; below them keys of objects and indexes of lists (${context.items.0.sku}). $${ stands for ${.
// Where the caller gives secrets, ${secret.NAME} is one of them.
//
// A string that is one place and nothing else becomes the value there, with its JSON type. In a longer text a string
// stands as it is and everything else as compact JSON; null is an error there. A step that was skipped, or failed and
// is optional, has the result null. Every other missing value is an error, unless the place has a default:
// ${context.express:-false} (see place).

// ErrNoValue: the value that a template names does not exist. It is in a permanent failure: values do not appear later.
var ErrNoValue = errors.New("no such value")

// Scope is what templates can name.
type Scope struct {
	Context json.RawMessage // of the task
	Steps   domain.Sequence
	// Secret gives the value of ${secret.name}. nil: templates cannot name secrets.
	Secret func(ctx context.Context, name string) (string, error)
}

func parse(template string, secrets bool) ([]part, error) {
	var parts []part
	rest, literal := template, ""
	for {
		at := strings.Index(rest, "${")
		if at < 0 {
			break
		}
		if at > 0 && rest[at-1] == '$' {
			literal, rest = literal+rest[:at-1]+"${", rest[at+2:]
			continue
		}
		p, after, err := place(rest[at+2:], secrets)
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", template, err)
		}
		if literal += rest[:at]; literal != "" {
			parts = append(parts, part{text: literal})
		}
		parts, rest, literal = append(parts, p), after, ""
	}
	if literal += rest; literal != "" {
		parts = append(parts, part{text: literal})
	}
	return parts, nil
}

// Check finds mistakes in the form of a template, before there are values. Secrets are one.
func Check(template string) error {
	_, err := parse(template, false)
	return err
}

// CheckSecret is Check for a template that may name secrets.
func CheckSecret(template string) error {
	_, err := parse(template, true)
	return err
}

// Sample is a text that a template could become: each place is its default or, without one, "1". false when the template
// is wrong, or begins with a place that has no default, so that its beginning is not known.
func Sample(template string) (string, bool) {
	parts, err := parse(template, true)
	if err != nil || len(parts) > 0 && parts[0].path != nil && parts[0].fallback == nil {
		return "", false
	}
	var out strings.Builder
	for _, p := range parts {
		switch {
		case p.path == nil:
			out.WriteString(p.text)
		case p.fallback == nil:
			out.WriteString("1")
		case !isNull(p.fallback):
			out.WriteString(plain(p.fallback))
		}
	}
	return out.String(), true
}

// CheckAll checks every string inside of value, which may be nil.
func CheckAll(value json.RawMessage) error { return checkAll(value, Check) }

// CheckAllSecret is CheckAll for strings that may name secrets.
func CheckAllSecret(value json.RawMessage) error { return checkAll(value, CheckSecret) }

func checkAll(value json.RawMessage, check func(string) error) error {
	_, err := walk(value, func(template string) (any, error) { return template, check(template) })
	return err
}

// ExpandAll returns value with every string inside of it expanded; nil for nil.
func (s Scope) ExpandAll(ctx context.Context, value json.RawMessage) (json.RawMessage, error) {
	return walk(value, func(template string) (any, error) {
		expanded, err := s.Expand(ctx, template)
		return expanded, err
	})
}

// Expand returns the JSON value of a template.
func (s Scope) Expand(ctx context.Context, template string) (json.RawMessage, error) {
	parts, err := parse(template, s.Secret != nil)
	if err != nil {
		return nil, failed(err)
	}
	if len(parts) == 1 && parts[0].path != nil {
		return s.value(ctx, parts[0])
	}
	text, err := s.join(ctx, parts, nil)
	if err != nil {
		return nil, err
	}
	return encode(text)
}

// Text returns the text of a template; false when it is one place and its value is null.
func (s Scope) Text(ctx context.Context, template string) (string, bool, error) {
	value, err := s.Expand(ctx, template)
	if err != nil || isNull(value) {
		return "", false, err
	}
	return plain(value), true, nil
}

// TextWith is the text of a template with each value passed through escape, which also sees the text before it.
func (s Scope) TextWith(ctx context.Context, template string, escape func(before, value string) (string, error),
) (string, error) {
	parts, err := parse(template, s.Secret != nil)
	if err != nil {
		return "", failed(err)
	}
	return s.join(ctx, parts, escape)
}

func (s Scope) join(ctx context.Context, parts []part, escape func(before, value string) (string, error)) (string, error) {
	var out strings.Builder
	for _, p := range parts {
		text := p.text
		if p.path != nil {
			value, err := s.value(ctx, p)
			if err != nil {
				return "", err
			}
			if isNull(value) {
				return "", failed(fmt.Errorf("${%s} is null and cannot stand in a text: %w", p.text, ErrNoValue))
			}
			text = plain(value)
			if escape != nil {
				if text, err = escape(out.String(), text); err != nil {
					return "", failed(fmt.Errorf("${%s}: %w", p.text, err))
				}
			}
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

// value is what stands at the place, or its default when that is missing or null. A default stands in for values only: a
// step that does not exist or is not over is a mistake of the definition all the same.
func (s Scope) value(ctx context.Context, p part) (json.RawMessage, error) {
	if p.path[0] == "secret" {
		return s.secret(ctx, p)
	}
	value, done := s.Context, 1
	if p.path[0] == "results" {
		step, err := s.Steps.Find(ctx, p.path[1])
		switch {
		case errors.Is(err, domain.ErrUnknownStep):
			return nil, failed(fmt.Errorf("${%s}: %w: %w", p.text, ErrNoValue, err))
		case err != nil:
			return nil, fmt.Errorf("reading ${%s}: %w", p.text, err)
		case step.Result == nil && (step.State == domain.Pending || step.State == domain.InProgress):
			return nil, failed(fmt.Errorf("${%s}: step %q is %s, not over: make it a dependency: %w",
				p.text, step.Name, step.State, ErrNoValue))
		}
		value, done = step.Result, 2
	}
	if value == nil {
		value = json.RawMessage("null")
	}
	for ; done < len(p.path); done++ {
		below, ok := child(value, p.path[done])
		if !ok && p.fallback != nil {
			return p.fallback, nil
		}
		if !ok {
			return nil, failed(fmt.Errorf("${%s}: %s has no %q: %w",
				p.text, strings.Join(p.path[:done], "."), p.path[done], ErrNoValue))
		}
		value = below
	}
	if isNull(value) && p.fallback != nil {
		return p.fallback, nil
	}
	return value, nil
}

// secret is the value of a secret as JSON, or the default when there is none of that name.
func (s Scope) secret(ctx context.Context, p part) (json.RawMessage, error) {
	value, err := s.Secret(ctx, p.path[1])
	switch {
	case errors.Is(err, ErrNoValue) && p.fallback != nil:
		return p.fallback, nil
	case err != nil:
		return nil, fmt.Errorf("${%s}: %w", p.text, err)
	}
	return encode(value)
}

func child(value json.RawMessage, key string) (json.RawMessage, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) == nil {
		below, ok := object[key]
		return below, ok
	}
	var list []json.RawMessage
	index, err := strconv.Atoi(key)
	if err != nil || index < 0 || json.Unmarshal(value, &list) != nil || index >= len(list) {
		return nil, false
	}
	return list[index], true
}

func failed(err error) error {
	return &domain.Failure{Err: err, Kind: domain.KindPermanent, Code: "TEMPLATE"}
}

func isNull(value json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(value), []byte("null")) }

func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var compact bytes.Buffer
	if json.Compact(&compact, value) != nil {
		return string(value)
	}
	return compact.String()
}

// walk returns value with every string in it, though not the keys, replaced. Numbers keep their text.
func walk(value json.RawMessage, replace func(string) (any, error)) (json.RawMessage, error) {
	if value == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, failed(err)
	}
	tree, err := replaceIn(tree, replace)
	if err != nil {
		return nil, err
	}
	return encode(tree)
}

func replaceIn(tree any, replace func(string) (any, error)) (any, error) {
	var err error
	switch tree := tree.(type) {
	case string:
		return replace(tree)
	case []any:
		for i := range tree {
			if tree[i], err = replaceIn(tree[i], replace); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range tree {
			if tree[key], err = replaceIn(tree[key], replace); err != nil {
				return nil, err
			}
		}
	}
	return tree, nil
}

// encode is json.Marshal without its escapes for HTML.
func encode(value any) (json.RawMessage, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, failed(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
