package yamldef

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/tasker-go/tasker/domain"
)

// Limits of a YAML file.
const (
	maxDepth    = 100      // levels of nesting, as for the JSON form
	maxAliased  = 100_000  // values that come out of aliases
	maxOut      = 32 << 20 // bytes of JSON, with the aliases expanded
	maxProblems = domain.MaxProblems
)

// converter writes YAML nodes as JSON and remembers where each came from.
type converter struct {
	out      []byte
	at       map[string]mark
	broken   map[string]bool // paths whose value could not be written, and was reported
	problems []Problem
	open     map[*yaml.Node]bool // anchored values that are being written
	inside   int                 // aliases that are being written
	aliased  int                 // values that came out of aliases so far
	gaveUp   bool
}

func (c *converter) problem(n *yaml.Node, message, hint string) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, Problem{Line: n.Line, Column: n.Column, Message: message, Hint: hint})
	}
}

// breakOff reports a value that has no JSON form and writes null for it, so that the rest can be checked.
func (c *converter) breakOff(n *yaml.Node, path, message, hint string) {
	c.problem(n, message, hint)
	c.broken[path] = true
	c.out = append(c.out, "null"...)
}

func (c *converter) giveUp(n *yaml.Node, message string) {
	if !c.gaveUp {
		c.problem(n, message, "")
	}
	c.gaveUp = true
}

// tooMuch counts a value that comes out of an alias, and gives up when there are too many.
func (c *converter) tooMuch(n *yaml.Node) bool {
	if c.aliased++; c.aliased > maxAliased || len(c.out) > maxOut {
		c.giveUp(n, fmt.Sprintf("the aliases of this file stand for more than %d values or %d MiB", maxAliased, maxOut>>20))
	}
	return c.gaveUp
}

// value writes n. The place of a field has been recorded before; that of an item is its own.
func (c *converter) value(n *yaml.Node, path string, depth int) {
	if _, known := c.at[path]; !known {
		c.at[path] = mark{n.Line, n.Column}
	}
	switch {
	case c.gaveUp || c.inside > 0 && c.tooMuch(n):
		return
	case depth > maxDepth && n.Kind != yaml.ScalarNode:
		c.breakOff(n, path, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
		return
	}
	if n.Anchor != "" {
		c.open[n] = true
		defer delete(c.open, n)
	}
	switch n.Kind {
	case yaml.AliasNode:
		c.alias(n, path, depth)
	case yaml.MappingNode:
		c.mapping(n, path, depth)
	case yaml.SequenceNode:
		if tag := n.ShortTag(); tag != "!!seq" {
			c.breakOff(n, path, "unknown tag "+tag, "leave it out")
			return
		}
		c.out = append(c.out, '[')
		for i, item := range n.Content {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			c.value(item, domain.IndexPath(path, i), depth+1)
		}
		c.out = append(c.out, ']')
	case yaml.ScalarNode:
		c.scalar(n, path)
	case yaml.DocumentNode, yaml.StreamNode:
		c.breakOff(n, path, "a document inside a document", "")
	default:
		c.breakOff(n, path, "a value of an unknown kind", "")
	}
}

func (c *converter) alias(n *yaml.Node, path string, depth int) {
	if n.Alias == nil || c.open[n.Alias] {
		c.breakOff(n, path, "alias *"+n.Value+" contains itself", "")
		return
	}
	c.inside++
	c.value(n.Alias, path, depth+1)
	c.inside--
}

func (c *converter) mapping(n *yaml.Node, path string, depth int) {
	if tag := n.ShortTag(); tag != "!!map" {
		c.breakOff(n, path, "unknown tag "+tag, "leave it out")
		return
	}
	c.out = append(c.out, '{')
	c.fields(n, path, depth, map[string]bool{}, false)
	c.out = append(c.out, '}')
}

// fields writes the fields of a mapping, then those that it merges in (<<) and does not have.
func (c *converter) fields(n *yaml.Node, path string, depth int, have map[string]bool, merged bool) {
	var merges []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if merged && c.tooMuch(n) {
			return
		}
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		switch tag := key.ShortTag(); {
		case key.Kind == yaml.ScalarNode && tag == "!!merge":
			merges = append(merges, value)
			continue
		case key.Kind != yaml.ScalarNode:
			c.problem(key, "a key must be a string, not "+kindName(key), "")
			continue
		case tag != "!!str":
			c.problem(key, fmt.Sprintf("the key %s must be a string, not %s", key.Value, kindName(key)),
				"write it in quotes: "+strconv.Quote(key.Value))
			continue
		case own[key.Value]:
			c.problem(key, fmt.Sprintf("duplicate key %q", key.Value), "")
			continue
		}
		own[key.Value] = true
		if merged && have[key.Value] {
			continue
		}
		have[key.Value] = true
		if c.out[len(c.out)-1] != '{' {
			c.out = append(c.out, ',')
		}
		c.text(key.Value)
		c.out = append(c.out, ':')
		at := domain.JoinPath(path, key.Value)
		c.at[at] = mark{key.Line, key.Column}
		c.value(value, at, depth+1)
		if c.gaveUp {
			return
		}
	}
	for _, from := range merges {
		c.merge(from, path, depth+1, have)
	}
}

// merge writes the fields of << that the mapping does not have itself.
func (c *converter) merge(from *yaml.Node, path string, depth int, have map[string]bool) {
	switch {
	case c.tooMuch(from):
	case depth > maxDepth:
		c.giveUp(from, fmt.Sprintf("nested deeper than %d levels", maxDepth))
	case from.Kind == yaml.AliasNode && from.Alias != nil && !c.open[from.Alias]:
		c.open[from.Alias] = true
		c.inside++
		c.merge(from.Alias, path, depth+1, have)
		c.inside--
		delete(c.open, from.Alias)
	case from.Kind == yaml.MappingNode:
		c.fields(from, path, depth, have, true)
	case from.Kind == yaml.SequenceNode:
		for _, item := range from.Content {
			c.merge(item, path, depth+1, have)
		}
	default:
		c.problem(from, "<< takes a mapping, not "+kindName(from), "write it like <<: *name")
	}
}

var leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

func (c *converter) scalar(n *yaml.Node, path string) {
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		c.text(n.Value)
	case "!!null":
		c.out = append(c.out, "null"...)
	case "!!bool":
		value := strings.ToLower(n.Value)
		if value != "true" && value != "false" {
			c.breakOff(n, path, fmt.Sprintf("%q is not true or false", n.Value), "")
			return
		}
		c.out = append(c.out, value...)
	case "!!int", "!!float":
		text, message, hint := number(n.Value)
		if message != "" {
			c.breakOff(n, path, message, hint)
			return
		}
		c.out = append(c.out, text...)
	case "!!binary":
		c.breakOff(n, path, "binary data has no place in a definition", "")
	default:
		c.breakOff(n, path, "unknown tag "+tag, "leave it out")
	}
}

// number writes a YAML number as JSON. What is a JSON number already keeps its text, and so its precision.
func number(text string) (out, message, hint string) {
	switch {
	case leadingZero.MatchString(text):
		return "", "a number with a leading zero: " + text, "write it in quotes, or as 0o17 when it is octal"
	case json.Valid([]byte(text)):
		return text, "", ""
	}
	plain := strings.ReplaceAll(text, "_", "")
	if whole, ok := new(big.Int).SetString(plain, 0); ok && len(plain) <= 1_000 {
		return whole.String(), "", ""
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err == nil {
		if out := strconv.FormatFloat(f, 'g', -1, 64); json.Valid([]byte(out)) {
			return out, "", ""
		}
	}
	return "", text + " is not a number that JSON has", ""
}

func (c *converter) text(s string) {
	text, err := json.Marshal(s)
	if err != nil { // not reached: a string has a JSON form
		text = []byte(`""`)
	}
	c.out = append(c.out, text...)
}
