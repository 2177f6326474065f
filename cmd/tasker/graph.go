package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// drawings are the formats of `definition graph`.
var drawings = map[string]func(*tasker.Definition) string{"mermaid": mermaid, "dot": dot, "text": outline}

// properties are what a drawing says about a step besides its name and handler.
func properties(s *domain.StepTemplate) []string {
	var words []string
	if s.Optional {
		words = append(words, "optional")
	}
	if s.Skippable {
		words = append(words, "skippable")
	}
	if s.NotRetryable {
		words = append(words, "not retried")
	}
	return words
}

// doing is what a step does: its handler, and of a sleep how long.
func doing(s *domain.StepTemplate) string {
	if s.Handler == domain.SleepHandler {
		return s.Handler + " " + span(s.Wait)
	}
	return s.Handler
}

// mermaid draws the steps as a Mermaid flowchart. The ids are numbers, because names may be words of the language.
func mermaid(def *tasker.Definition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\ntitle: %q\n---\nflowchart TD\n", def.FullName())
	dashed := []string{}
	for i := range def.Steps {
		s := &def.Steps[i]
		label := "<b>" + mermaidText(s.Name) + "</b><br/>" + mermaidText(doing(s))
		if words := properties(s); len(words) > 0 {
			label += "<br/><i>" + strings.Join(words, ", ") + "</i>"
		}
		open, end := "[", "]"
		if s.Handler == domain.SleepHandler {
			open, end = "([", "])"
		}
		fmt.Fprintf(&b, "  s%d%s\"%s\"%s\n", i, open, label, end)
		if s.Optional || s.Skippable {
			dashed = append(dashed, fmt.Sprintf("s%d", i))
		}
	}
	eachEdge(def, func(parent, child int32) { fmt.Fprintf(&b, "  s%d --> s%d\n", parent, child) })
	if len(dashed) > 0 {
		fmt.Fprintf(&b, "  classDef dashed stroke-dasharray: 5 5\n  class %s dashed\n", strings.Join(dashed, ","))
	}
	return b.String()
}

// mermaidText is a text inside a quoted label, where only letters, digits and a few signs are just themselves: the others
// stand as entity codes, #37; for %. A label is HTML and, between backquotes, Markdown.
func mermaidText(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" ._-:/,", r):
			b.WriteRune(r)
		case unicode.IsControl(r) || r == utf8.RuneError:
			b.WriteByte(' ')
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}

// dot draws the steps for Graphviz.
func dot(def *tasker.Definition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  label=%s;\n  labelloc=t;\n  node [shape=box, fontname=\"sans-serif\"];\n",
		dotText(def.Name), dotText(def.FullName()))
	for i := range def.Steps {
		s := &def.Steps[i]
		label := []string{s.Name, doing(s)}
		style := ""
		if words := properties(s); len(words) > 0 {
			label = append(label, "("+strings.Join(words, ", ")+")")
		}
		if s.Handler == domain.SleepHandler {
			style = ", shape=oval"
		}
		if s.Optional || s.Skippable {
			style += ", style=dashed"
		}
		fmt.Fprintf(&b, "  %s [label=%s%s];\n", dotText(s.Name), dotText(label...), style)
	}
	eachEdge(def, func(parent, child int32) {
		fmt.Fprintf(&b, "  %s -> %s;\n", dotText(def.Steps[parent].Name), dotText(def.Steps[child].Name))
	})
	b.WriteString("}\n")
	return b.String()
}

// dotText is lines as a quoted string of the DOT language, in which \n is a new line and a backslash escapes.
func dotText(lines ...string) string {
	escaper := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ", "\r", " ")
	for i := range lines {
		lines[i] = escaper.Replace(lines[i])
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}

// outline lists the steps in an order in which they may run, each with what it waits for.
func outline(def *tasker.Definition) string {
	t := table{head: []string{"STEP", "HANDLER", "AFTER", ""}}
	for _, i := range def.Graph().Order() {
		s := &def.Steps[i]
		t.add(s.Name, oneLine(doing(s)), strings.Join(s.DependsOn, ", "), strings.Join(properties(s), ", "))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n\n", def.FullName(), plural(len(def.Steps), "step", "steps"))
	t.print(&b)
	return b.String()
}

// eachEdge calls draw for every dependency, in the order of the steps that have them.
func eachEdge(def *tasker.Definition, draw func(parent, child int32)) {
	for i := range def.Steps {
		for _, p := range def.Graph().Parents(i) {
			draw(p, int32(i)) // #nosec G115 -- at most MaxSteps
		}
	}
}
