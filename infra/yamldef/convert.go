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
	maxOut      = 32 << 20 // bytes of text, with the aliases expanded
	maxProblems = domain.MaxProblems
)

// converter makes a tree of YAML nodes.
type converter struct {
	problems []Problem
	open     map[*yaml.Node]bool // anchored values that are being read
	inside   int                 // aliases that are being read
	aliased  int                 // values that came out of aliases so far
	size     int                 // bytes of texts so far
	gaveUp   bool
}

func (c *converter) problem(n *yaml.Node, message, hint string) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, Problem{Line: n.Line, Column: n.Column, Message: message, Hint: hint})
	}
}

// breakOff reports a value that has no JSON form and makes it null, so that the rest can be checked.
func (c *converter) breakOff(n *yaml.Node, message, hint string) *node {
	c.problem(n, message, hint)
	return &node{at: mark{n.Line, n.Column}, broken: true}
}

func (c *converter) giveUp(n *yaml.Node, message string) {
	if !c.gaveUp {
		c.problem(n, message, "")
	}
	c.gaveUp = true
}

// tooMuch counts a value that comes out of an alias, and gives up when there are too many.
func (c *converter) tooMuch(n *yaml.Node) bool {
	if c.aliased++; c.aliased > maxAliased || c.size > maxOut {
		c.giveUp(n, fmt.Sprintf("the aliases of this file stand for more than %d values or %d MiB", maxAliased, maxOut>>20))
	}
	return c.gaveUp
}

// value reads n. When the converter has given up, what it returns means nothing.
func (c *converter) value(n *yaml.Node, depth int) *node {
	switch {
	case c.gaveUp || c.inside > 0 && c.tooMuch(n):
		return &node{}
	case depth > maxDepth && n.Kind != yaml.ScalarNode:
		return c.breakOff(n, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
	}
	if n.Anchor != "" {
		c.open[n] = true
		defer delete(c.open, n)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return c.alias(n, depth)
	case yaml.MappingNode:
		return c.mapping(n, depth)
	case yaml.SequenceNode:
		if tag := n.ShortTag(); tag != "!!seq" {
			return c.breakOff(n, "unknown tag "+tag, "leave it out")
		}
		list := &node{kind: isList, at: mark{n.Line, n.Column}}
		for _, item := range n.Content {
			list.items = append(list.items, c.value(item, depth+1))
		}
		return list
	case yaml.ScalarNode:
		return c.scalar(n)
	case yaml.DocumentNode, yaml.StreamNode:
		return c.breakOff(n, "a document inside a document", "")
	default:
		return c.breakOff(n, "a value of an unknown kind", "")
	}
}

// alias reads what an alias stands for. Its place is where it is used, that of what is inside is at the anchor.
func (c *converter) alias(n *yaml.Node, depth int) *node {
	if n.Alias == nil || c.open[n.Alias] {
		return c.breakOff(n, "alias *"+n.Value+" contains itself", "")
	}
	c.inside++
	defer func() { c.inside-- }()
	v := c.value(n.Alias, depth+1)
	v.at = mark{n.Line, n.Column}
	return v
}

func (c *converter) mapping(n *yaml.Node, depth int) *node {
	if tag := n.ShortTag(); tag != "!!map" {
		return c.breakOff(n, "unknown tag "+tag, "leave it out")
	}
	object := &node{kind: isObject, at: mark{n.Line, n.Column}}
	c.fields(n, object, depth, map[string]bool{}, false)
	return object
}

// fields reads the fields of a mapping, then those that it merges in (<<) and does not have.
func (c *converter) fields(n *yaml.Node, object *node, depth int, have map[string]bool, merged bool) {
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
			c.problem(key, fmt.Sprintf("duplicate key %q", key.Value), "leave one of the two out")
			continue
		}
		own[key.Value] = true
		if merged && have[key.Value] {
			continue
		}
		have[key.Value] = true
		c.size += len(key.Value)
		object.fields = append(object.fields, field{key: key.Value, at: mark{key.Line, key.Column}, value: c.value(value, depth+1)})
		if c.gaveUp {
			return
		}
	}
	for _, from := range merges {
		c.merge(from, object, depth+1, have)
	}
}

// merge reads the fields of << that the mapping does not have itself.
func (c *converter) merge(from *yaml.Node, object *node, depth int, have map[string]bool) {
	switch {
	case c.tooMuch(from):
	case depth > maxDepth:
		c.giveUp(from, fmt.Sprintf("nested deeper than %d levels", maxDepth))
	case from.Kind == yaml.AliasNode && from.Alias != nil && !c.open[from.Alias]:
		c.open[from.Alias] = true
		c.inside++
		c.merge(from.Alias, object, depth+1, have)
		c.inside--
		delete(c.open, from.Alias)
	case from.Kind == yaml.MappingNode:
		c.fields(from, object, depth, have, true)
	case from.Kind == yaml.SequenceNode:
		for _, item := range from.Content {
			c.merge(item, object, depth+1, have)
		}
	default:
		c.problem(from, "<< takes a mapping, not "+kindName(from), "write it like <<: *name")
	}
}

var leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

func (c *converter) scalar(n *yaml.Node) *node {
	c.size += len(n.Value)
	v := &node{at: mark{n.Line, n.Column}}
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		v.kind, v.text = isText, n.Value
	case "!!null":
	case "!!bool":
		v.kind, v.text = isBool, strings.ToLower(n.Value)
		if v.text != "true" && v.text != "false" {
			return c.breakOff(n, fmt.Sprintf("%q is not true or false", n.Value), "")
		}
	case "!!int", "!!float":
		text, message, hint := number(n.Value)
		if message != "" {
			return c.breakOff(n, message, hint)
		}
		v.kind, v.text = isNumber, text
	case "!!binary":
		return c.breakOff(n, "binary data has no place in a definition", "")
	default:
		return c.breakOff(n, "unknown tag "+tag, "leave it out")
	}
	return v
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
