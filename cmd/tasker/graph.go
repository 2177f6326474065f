package main

import (
	"fmt"
	"strings"

	"github.com/tasker-go/tasker"
)

// mermaid draws the steps as a Mermaid flowchart. The ids are numbers, because names may be words of the language.
func mermaid(def *tasker.Definition) string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for i := range def.Steps {
		s := &def.Steps[i]
		label := s.Name + "<br/><i>" + strings.ReplaceAll(s.Handler, "\"", "#quot;") + "</i>"
		open, end := "[", "]"
		if s.Optional || s.Skippable {
			open, end = "([", "])"
		}
		fmt.Fprintf(&b, "  s%d%s\"%s\"%s\n", i, open, label, end)
	}
	for i := range def.Steps {
		for _, p := range def.Graph().Parents(i) {
			fmt.Fprintf(&b, "  s%d --> s%d\n", p, i)
		}
	}
	return b.String()
}

// dot draws the steps for Graphviz.
func dot(def *tasker.Definition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  node [shape=box, fontname=\"sans-serif\"];\n", def.Name)
	for i := range def.Steps {
		s := &def.Steps[i]
		style := ""
		if s.Optional || s.Skippable {
			style = ", style=dashed"
		}
		fmt.Fprintf(&b, "  %q [label=\"%s\\n%s\"%s];\n", s.Name, s.Name, dotText(s.Handler), style)
	}
	for i := range def.Steps {
		for _, p := range def.Graph().Parents(i) {
			fmt.Fprintf(&b, "  %q -> %q;\n", def.Steps[p].Name, def.Steps[i].Name)
		}
	}
	b.WriteString("}\n")
	return b.String()
}

func dotText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}
