package main

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	_ "github.com/tasker-go/tasker/internal/sameseed"
)

// drawn is a definition whose handlers have any names.
func drawn(t *rapid.T) *tasker.Definition {
	d := &domain.Definition{Name: "end"}
	names := []string{"end", "graph", "subgraph", "o-x", "1", "class_", "style"}
	for i, name := range names[:rapid.IntRange(1, len(names)).Draw(t, "steps")] {
		s := domain.StepTemplate{
			Name: name, Handler: rapid.StringN(1, 20, 100).Draw(t, "handler"),
			Optional: rapid.Bool().Draw(t, "optional"), Skippable: rapid.Bool().Draw(t, "skippable"),
		}
		if rapid.IntRange(0, 4).Draw(t, "sleeps") == 0 {
			s.Handler, s.Wait = domain.SleepHandler, time.Minute
		}
		for _, parent := range names[:i] {
			if rapid.Bool().Draw(t, "edge") {
				s.DependsOn = append(s.DependsOn, parent)
			}
		}
		d.Steps = append(d.Steps, s)
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

// The part of Mermaid's grammar that a drawing may use; every line is one of these.
var (
	mermaidNode  = regexp.MustCompile(`^  s(\d+)(\[|\(\[)"<b>(.*?)</b><br/>(.*?)(?:<br/><i>[a-z, ]+</i>)?"(\]|\]\))$`)
	mermaidPlain = regexp.MustCompile(`^([A-Za-z0-9 ._:/,-]|#\d+;)*$`)
	mermaidEdge  = regexp.MustCompile(`^  s(\d+) --> s(\d+)$`)
	mermaidRest  = regexp.MustCompile(`^(---|title: "[A-Za-z0-9_.@-]+"|flowchart TD|  classDef dashed stroke-dasharray: 5 5|  class s\d+(,s\d+)* dashed)$`)
)

func TestMermaidHoldsWhateverHandlersAreCalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawn(t)
		nodes, edges := 0, 0
		for line := range strings.Lines(mermaid(d)) {
			line = strings.TrimSuffix(line, "\n")
			if m := mermaidNode.FindStringSubmatch(line); m != nil {
				if m[1] != strconv.Itoa(nodes) {
					t.Fatalf("node %s is number %d", line, nodes)
				}
				s := &d.Steps[nodes]
				if isSleep := s.Handler == domain.SleepHandler; (m[2] == "([") != isSleep || (m[5] == "])") != isSleep {
					t.Fatalf("the brackets do not match: %s", line)
				}
				if m[3] != s.Name || !mermaidPlain.MatchString(m[4]) {
					t.Fatalf("a character that is not plain: %s", line)
				}
				shown := html.UnescapeString(regexp.MustCompile(`#(\d+);`).ReplaceAllString(m[4], "&#$1;"))
				if want := strings.Map(visible, doing(s)); shown != want {
					t.Fatalf("%q is shown as %q", want, shown)
				}
				nodes++
				continue
			}
			if m := mermaidEdge.FindStringSubmatch(line); m != nil {
				from, _ := strconv.Atoi(m[1])
				to, _ := strconv.Atoi(m[2])
				if d.Steps[to].DependsOn == nil || from >= to || nodes != len(d.Steps) {
					t.Fatalf("an edge that is none: %s", line)
				}
				edges++
				continue
			}
			if !mermaidRest.MatchString(line) {
				t.Fatalf("a line that Mermaid does not know: %q", line)
			}
		}
		if nodes != len(d.Steps) || edges != countEdges(d) {
			t.Fatalf("%d nodes and %d edges", nodes, edges)
		}
	})
}

// visible is a character as a drawing shows it: control characters have no picture.
func visible(r rune) rune {
	if unicode.IsControl(r) || r == utf8.RuneError {
		return ' '
	}
	return r
}

func countEdges(d *tasker.Definition) int {
	n := 0
	for i := range d.Steps {
		n += len(d.Steps[i].DependsOn)
	}
	return n
}

var dotLine = regexp.MustCompile(`^(digraph STRING \{|  label=STRING;|  labelloc=t;|  node \[shape=box, fontname=STRING\];|` +
	`  STRING \[label=STRING(, shape=oval)?(, style=dashed)?\];|  STRING -> STRING;|\})$`)

// A quoted string of the DOT language ends at the first quote without a backslash before it.
var dotString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

func TestDOTHoldsWhateverHandlersAreCalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawn(t)
		drawing := dot(d)
		edges := strings.Count(drawing, " -> ")
		for line := range strings.Lines(drawing) {
			line = strings.TrimSuffix(line, "\n")
			if plain := dotString.ReplaceAllString(line, "STRING"); !dotLine.MatchString(plain) {
				t.Fatalf("a line that Graphviz does not know: %s", line)
			}
		}
		if d.Steps[0].Handler != domain.SleepHandler {
			label := strings.Split(strings.Split(drawing, "\n")[4], "label=")[1]
			text := dotString.FindString(label)
			text = strings.NewReplacer(`\n`, "\n", `\\`, `\`, `\"`, `"`).Replace(text[1 : len(text)-1])
			want := d.Steps[0].Name + "\n" + strings.NewReplacer("\n", " ", "\r", " ").Replace(d.Steps[0].Handler)
			if !strings.HasPrefix(text, want) {
				t.Fatalf("%q, want %q", text, want)
			}
		}
		if edges < countEdges(d) {
			t.Fatalf("%d edges", edges)
		}
	})
}
