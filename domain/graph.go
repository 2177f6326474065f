package domain

import "strings"

// Graph is the compiled DAG of a definition. Steps are numbered in definition order.
type Graph struct {
	index    map[string]int32
	parents  [][]int32
	children [][]int32
	leaves   []int32
	order    []int32 // topological
}

// Index is the number of the named step, or -1.
func (g *Graph) Index(name string) int {
	if i, ok := g.index[name]; ok {
		return int(i)
	}
	return -1
}

// Len is the number of steps.
func (g *Graph) Len() int { return len(g.parents) }

// Parents of step i, in the order of depends_on.
func (g *Graph) Parents(i int) []int32 { return g.parents[i] }

// Children of step i, in definition order.
func (g *Graph) Children(i int) []int32 { return g.children[i] }

// Leaves are the steps without children.
func (g *Graph) Leaves() []int32 { return g.leaves }

// Order lists all steps so that parents come before their children.
func (g *Graph) Order() []int32 { return g.order }

// compile builds the graph of steps whose names are unique and whose dependencies exist. cycle is the shortest way
// round of a cycle, if there is one, with its first name repeated at the end.
func compile(steps []StepTemplate) (g *Graph, cycle []string) {
	n := len(steps)
	g = &Graph{index: make(map[string]int32, n), parents: make([][]int32, n), children: make([][]int32, n)}
	for i := range steps {
		g.index[steps[i].Name] = int32(i) // #nosec G115 -- at most MaxSteps
	}
	open := make([]int32, n)
	for i := range steps {
		for _, name := range steps[i].DependsOn {
			p := g.index[name]
			g.parents[i] = append(g.parents[i], p)
			g.children[p] = append(g.children[p], int32(i)) // #nosec G115 -- at most MaxSteps
		}
		open[i] = int32(len(g.parents[i])) // #nosec G115 -- at most MaxSteps
	}
	g.order = make([]int32, 0, n)
	for i := range steps {
		if open[i] == 0 {
			g.order = append(g.order, int32(i)) // #nosec G115 -- at most MaxSteps
		}
		if len(g.children[i]) == 0 {
			g.leaves = append(g.leaves, int32(i)) // #nosec G115 -- at most MaxSteps
		}
	}
	for k := 0; k < len(g.order); k++ {
		for _, c := range g.children[g.order[k]] {
			if open[c]--; open[c] == 0 {
				g.order = append(g.order, c)
			}
		}
	}
	if len(g.order) < n {
		return nil, findCycle(steps, g, open)
	}
	return g, nil
}

// findCycle walks from a step that is never free to parents that are never free, until one comes round again.
func findCycle(steps []StepTemplate, g *Graph, open []int32) []string {
	at := -1
	for i := range steps {
		if open[i] > 0 {
			at = i
			break
		}
	}
	seen := map[int]int{}
	var path []int
	for {
		if from, ok := seen[at]; ok {
			path = append(path[from:], at)
			break
		}
		seen[at] = len(path)
		path = append(path, at)
		for _, p := range g.parents[at] {
			if open[p] > 0 {
				at = int(p)
				break
			}
		}
	}
	names := make([]string, len(path))
	for k, i := range path {
		names[len(path)-1-k] = steps[i].Name // parents were walked upwards; print downwards
	}
	return names
}

// cycleText is a cycle as people draw it.
func cycleText(cycle []string) string { return strings.Join(cycle, " -> ") }
