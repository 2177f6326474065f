package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxCycles is how many cycles are reported at once.
const maxCycles = 10

// checkGraph checks names and dependencies of all steps together, and returns the compiled graph, or nil when there is
// something wrong with it.
func (d *Definition) checkGraph(p *problems) *Graph {
	names, first, edges := make([]string, len(d.Steps)), make(map[string]int, len(d.Steps)), 0
	sound := true
	for i := range d.Steps {
		name := d.Steps[i].Name
		names[i] = name
		edges += len(d.Steps[i].DependsOn)
		if before, twice := first[name]; twice && name != "" {
			p.addf(IndexPath("steps", i)+".name", "give one of them another name", "duplicate step name %q, first in %s", clip(name), IndexPath("steps", before))
			sound = false
		} else if !twice {
			first[name] = i
		}
	}
	if edges > MaxEdges {
		p.addf("steps", splitHint, "%d dependencies; at most %d are allowed", edges, MaxEdges)
		return nil
	}
	known := make([][]string, len(d.Steps)) // of each step, the dependencies that exist, once
	for i := range d.Steps {
		known[i] = d.Steps[i].checkDependencies(IndexPath("steps", i), names, first, p)
		sound = sound && len(known[i]) == len(d.Steps[i].DependsOn)
	}
	if sound {
		g, cycle := compile(d.Steps)
		if cycle == nil {
			return g
		}
	}
	d.reportCycles(known, first, p)
	return nil
}

// checkDependencies returns those that exist, each once.
func (s *StepTemplate) checkDependencies(at string, names []string, first map[string]int, p *problems) []string {
	known := make([]string, 0, len(s.DependsOn))
	seen := make(map[string]bool, len(s.DependsOn))
	for j, name := range s.DependsOn {
		at := IndexPath(at+".depends_on", j)
		_, exists := first[name]
		switch {
		case name == "":
			p.add(at, s.who()+" has an empty dependency", leaveOut)
		case !exists:
			p.add(at, fmt.Sprintf("%s depends on an unknown step %q", s.who(), clip(name)), cmp.Or(didYouMean(p.suggest(name, names)), "write the name of a step"))
		case seen[name]:
			p.addf(at, "leave one of the two out", "%s depends on %q twice", s.who(), clip(name))
		default:
			known = append(known, name)
		}
		seen[name] = true
	}
	return known
}

// reportCycles reports cycles one after the other, each time cutting the edge that closes it. What is wrong besides
// has been taken out of known, so that a cycle is found whatever else there is.
func (d *Definition) reportCycles(known [][]string, first map[string]int, p *problems) {
	steps := make([]StepTemplate, len(d.Steps))
	for i := range d.Steps {
		steps[i].Name, steps[i].DependsOn = d.Steps[i].Name, known[i]
		if first[d.Steps[i].Name] != i {
			steps[i].Name = "\x00" + IndexPath("", i) // a duplicate takes part under a name that nobody uses
		}
	}
	for range maxCycles {
		_, cycle := compile(steps)
		if cycle == nil {
			return
		}
		cycle = startAtFirst(cycle, first)
		start, closer := first[cycle[0]], cycle[len(cycle)-2]
		j := slices.Index(d.Steps[start].DependsOn, closer)
		p.add(IndexPath(IndexPath("steps", start)+".depends_on", j), "cycle: "+shortCycle(cycle), "leave one of these dependencies out")
		steps[start].DependsOn = slices.DeleteFunc(slices.Clone(steps[start].DependsOn), func(s string) bool { return s == closer })
	}
}

// startAtFirst turns a cycle so that it starts at the step that the definition has first.
func startAtFirst(cycle []string, first map[string]int) []string {
	ring := cycle[:len(cycle)-1]
	at := 0
	for k := range ring {
		if first[ring[k]] < first[ring[at]] {
			at = k
		}
	}
	return append(append(slices.Clone(ring[at:]), ring[:at]...), ring[at])
}

// shortCycle leaves out the middle of a cycle that nobody could read.
func shortCycle(cycle []string) string {
	const ends = 10
	if len(cycle) <= 2*ends {
		return cycleText(cycle)
	}
	left := fmt.Sprintf("(%d more)", len(cycle)-2*ends)
	return strings.Join([]string{cycleText(cycle[:ends]), left, cycleText(cycle[len(cycle)-ends:])}, " -> ")
}
