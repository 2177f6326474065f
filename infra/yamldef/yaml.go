package yamldef

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// readYAML reads one YAML document. nil when it cannot be read at all.
func readYAML(data []byte) (*node, []Problem) {
	root, problems := parseYAML(data)
	if root == nil {
		return nil, problems
	}
	c := converter{open: map[*yaml.Node]bool{}, problems: problems}
	tree := c.value(root, 1)
	if c.gaveUp {
		return nil, c.problems
	}
	return tree, c.problems
}

// parseYAML returns the root of the only document. The library is asked with a recover around it: what a parser does
// with an odd file must not end the process.
func parseYAML(data []byte) (root *yaml.Node, problems []Problem) {
	defer func() {
		if r := recover(); r != nil {
			root, problems = nil, []Problem{{Message: fmt.Sprintf("not valid YAML: %v", r)}}
		}
	}()
	if directive := []byte("%YAML 1.2"); bytes.HasPrefix(data, directive) {
		data = append([]byte("%YAML 1.1"), data[len(directive):]...) // the library reads 1.2, but only under this name
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, []Problem{syntax(data, err)}
	}
	var first, second yaml.Node
	err = loader.Load(&first)
	switch {
	case errors.Is(err, io.EOF):
		return nil, []Problem{{Line: 1, Column: 1, Message: "the file is empty", Hint: "a definition needs at least a name and steps"}}
	case err != nil:
		return nil, []Problem{syntax(data, err)}
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		problems = append(problems, syntax(data, err))
	default:
		problems = append(problems, Problem{
			Line: second.Line, Column: second.Column,
			Message: "a second document", Hint: "one file holds one definition",
		})
	}
	root = &first
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind != yaml.MappingNode {
		p := Problem{Line: root.Line, Column: root.Column, Message: "a definition must be a mapping, not " + kindName(root)}
		return nil, append(problems, p)
	}
	return root, problems
}

// syntax makes a problem of a parser's error.
func syntax(data []byte, err error) Problem {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return Problem{Message: "not valid YAML: " + err.Error()}
	}
	p := Problem{Line: le.Mark.Line, Column: le.Mark.Column, Message: "not valid YAML: " + le.Message}
	if le.ContextMsg != "" {
		p.Message += " " + le.ContextMsg
		if le.ContextMark.Line > 0 && le.ContextMark.Line < p.Line {
			p.Message += fmt.Sprintf(" that began in line %d", le.ContextMark.Line)
		}
	}
	switch charAt(data, le.Mark) {
	case '\t':
		p.Hint = "YAML wants spaces where there is a tab"
	case '@', '`', '%':
		p.Hint = "write it in quotes"
	}
	return p
}

// charAt is the ASCII character at a mark, or 0.
func charAt(data []byte, m yaml.Mark) byte {
	lines := bytes.SplitAfterN(data, []byte("\n"), m.Line+1)
	if m.Line < 1 || m.Line > len(lines) {
		return 0
	}
	line := []rune(string(lines[m.Line-1]))
	if m.Column < 1 || m.Column > len(line) || line[m.Column-1] > 0x7f {
		return 0
	}
	return byte(line[m.Column-1])
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "null"
		case "!!bool":
			return "a boolean"
		case "!!int", "!!float":
			return "a number"
		}
		return "a string"
	case yaml.AliasNode:
		return "an alias"
	case yaml.DocumentNode, yaml.StreamNode:
	}
	return "something else"
}
