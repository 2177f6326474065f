package main

// row is one step's place in the tree that is shown.
type row struct {
	step   int
	prefix string   // lines of the tree before it
	after  []string // its parents, when the tree does not say them
}

// layout makes a tree of a graph. A step stands below the step that every way to it leads through (its dominator).
// What a step alone leads to stands in line with it; branches are indented below it; where branches meet, the tree goes
// on at the level of the step at which they parted. So a chain is a list, and a diamond is a step, its branches, and the
// step where they meet.
func layout(steps []stepView) []row {
	g := newTree(steps)
	var rows []row
	for _, i := range g.children[len(steps)] {
		g.step(i, "", "", &rows)
	}
	return rows
}

type tree struct {
	steps    []stepView
	parents  [][]int
	children [][]int // in the dominator tree; the last one is the root above all
}

func newTree(steps []stepView) *tree {
	n := len(steps)
	index := make(map[string]int, n)
	for i := range steps {
		index[steps[i].name] = i
	}
	g := &tree{steps: steps, parents: make([][]int, n), children: make([][]int, n+1)}
	next := make([][]int, n)
	open := make([]int, n)
	var order []int
	for i := range steps {
		for _, name := range steps[i].dependsOn {
			if p, ok := index[name]; ok {
				g.parents[i] = append(g.parents[i], p)
				next[p] = append(next[p], i)
			}
		}
		if open[i] = len(g.parents[i]); open[i] == 0 {
			order = append(order, i)
		}
	}
	dominator := make([]int, n+1)
	depth := make([]int, n+1)
	for head := 0; head < len(order); head++ {
		i := order[head]
		d := n
		for k, p := range g.parents[i] {
			if k == 0 {
				d = p
				continue
			}
			for d != p { // the nearest common ancestor
				if depth[d] >= depth[p] {
					d = dominator[d]
				} else {
					p = dominator[p]
				}
			}
		}
		dominator[i], depth[i] = d, depth[d]+1
		g.children[d] = append(g.children[d], i)
		for _, c := range next[i] {
			if open[c]--; open[c] == 0 {
				order = append(order, c)
			}
		}
	}
	dominator[n] = n
	return g
}

// step writes a step and everything below it in the dominator tree.
func (g *tree) step(i int, prefix, rest string, rows *[]row) {
	r := row{step: i, prefix: prefix}
	if len(g.parents[i]) > 1 {
		for _, p := range g.parents[i] {
			r.after = append(r.after, g.steps[p].name)
		}
	}
	*rows = append(*rows, r)
	var branches, joins []int
	for _, c := range g.children[i] {
		if len(g.parents[c]) > 1 {
			joins = append(joins, c)
		} else {
			branches = append(branches, c)
		}
	}
	if len(branches) == 1 {
		g.step(branches[0], rest, rest, rows)
	} else {
		for k, c := range branches {
			mark, below := "├─ ", "│  "
			if k == len(branches)-1 {
				mark, below = "└─ ", "   "
			}
			g.step(c, rest+mark, rest+below, rows)
		}
	}
	for _, c := range joins {
		g.step(c, rest, rest, rows)
	}
}
