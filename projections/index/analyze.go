package index

import (
	"cmp"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Sum makes the numbers of a definition of its sums by step; those of the tasks are under "". def is the definition as it was
// adopted last, for the order of the steps and the critical path; nil when it is not known.
func Sum(k Kind, def *domain.Definition, sums map[string]*Stat) DefinitionStats {
	d := DefinitionStats{Namespace: k.Namespace, Name: k.Name, Version: k.Version, Steps: []StepStats{}}
	if s := sums[""]; s != nil {
		d.Complete, d.Failed, d.Cancelled, d.Resolved = s.Complete, s.Failed, s.Cancelled, s.Resolved
		d.Tasks = s.Complete + s.Failed + s.Cancelled + s.Resolved
		d.SuccessRate = share(s.Complete, d.Tasks)
		d.Duration = s.Took.Durations()
	}
	place := func(string) int { return 0 }
	if def != nil {
		place = def.Graph().Index
	}
	for name, s := range sums {
		if name == "" {
			continue
		}
		d.Steps = append(d.Steps, StepStats{
			Step: name, Executions: s.Complete + s.Failed + s.Cancelled, Complete: s.Complete, Failed: s.Failed, Retries: s.Retries,
			SuccessRate: share(s.Complete, s.Complete+s.Failed), Duration: s.Took.Durations(),
		})
	}
	slices.SortFunc(d.Steps, func(a, b StepStats) int {
		i, j := uint(place(a.Step)), uint(place(b.Step)) // #nosec G115 -- -1, of a step that there is not any more, comes last
		return cmp.Or(cmp.Compare(i, j), cmp.Compare(a.Step, b.Step))
	})
	if def != nil {
		d.Critical = critical(def, d.Steps)
	}
	return d
}

func share(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// critical is the longest way through the graph when every step takes its median; a step that never completed takes no time.
func critical(def *domain.Definition, steps []StepStats) []CriticalPoint {
	g := def.Graph()
	took := make([]time.Duration, g.Len())
	for _, s := range steps {
		if i := g.Index(s.Step); i >= 0 {
			took[i] = s.Duration.P50
		}
	}
	ends, from := make([]time.Duration, g.Len()), make([]int, g.Len())
	last := -1
	for _, n := range g.Order() {
		i := int(n)
		from[i] = -1
		for _, p := range g.Parents(i) {
			if from[i] < 0 || ends[p] > ends[from[i]] {
				from[i] = int(p)
			}
		}
		ends[i] = took[i]
		if from[i] >= 0 {
			ends[i] += ends[from[i]]
		}
		if last < 0 || ends[i] > ends[last] {
			last = i
		}
	}
	if last < 0 || ends[last] == 0 {
		return nil
	}
	var path []CriticalPoint
	for i := last; i >= 0; i = from[i] {
		path = append(path, CriticalPoint{Step: def.Steps[i].Name, P50: took[i], Ends: ends[i]})
	}
	slices.Reverse(path)
	return path
}
