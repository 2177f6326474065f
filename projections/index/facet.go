package index

import (
	"hash/fnv"
	"slices"

	"github.com/tasker-go/tasker/domain"
)

// Facet stands for something that a task has and can be chosen by: a hash of what it is and of its text. Two may have the
// same hash, so whoever has found a task by one looks again.
type Facet int64

// What facets are about.
const (
	facetInitiator   = 'i'
	facetSource      = 's'
	facetCorrelation = 'c'
	facetTag         = 't'
	facetField       = 'f'
	facetPaused      = 'p'
	facetStepState   = 'x'
	facetErrorKind   = 'k'
)

func facet(about byte, texts ...string) Facet {
	h := fnv.New64a()
	_, _ = h.Write([]byte{about})
	for _, text := range texts {
		_, _ = h.Write([]byte(text))
		_, _ = h.Write([]byte{0})
	}
	return Facet(h.Sum64()) // #nosec G115 -- any bits will do
}

// Facets are those that every task has which the query takes.
func (q TaskQuery) Facets() []Facet {
	var list []Facet
	for _, one := range [...]struct {
		about byte
		text  string
	}{{facetInitiator, q.Initiator}, {facetSource, q.SourceSystem}, {facetCorrelation, q.Correlation}} {
		if one.text != "" {
			list = append(list, facet(one.about, one.text))
		}
	}
	for _, tag := range q.Tags {
		list = append(list, facet(facetTag, tag))
	}
	for name, value := range q.Fields {
		list = append(list, facet(facetField, name, value))
	}
	if q.Paused != nil && *q.Paused {
		list = append(list, facet(facetPaused))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Facets are those of which every task has one that has a step which the query takes; none when that cannot be said.
func (q StepQuery) Facets() []Facet {
	if q.ErrorKind != "" {
		return []Facet{facet(facetErrorKind, string(q.ErrorKind))}
	}
	var list []Facet
	for _, state := range q.States {
		if !marked(state) {
			return nil
		}
		list = append(list, facet(facetStepState, state.String()))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// marked: steps in these states are few, and looked for.
func marked(state domain.State) bool {
	return state == domain.InProgress || state == domain.Error || state == domain.Cancelled || state == domain.ResolvedManually
}

// facets are those of the row, sorted.
func (r *Row) facets() []Facet {
	t := r.Task
	var list []Facet
	if t.Initiator != "" {
		list = append(list, facet(facetInitiator, t.Initiator))
	}
	if t.SourceSystem != "" {
		list = append(list, facet(facetSource, t.SourceSystem))
	}
	if t.Correlation != "" {
		list = append(list, facet(facetCorrelation, t.Correlation))
	}
	for _, tag := range t.Tags {
		list = append(list, facet(facetTag, tag))
	}
	for _, f := range r.Fields {
		list = append(list, facet(facetField, f.Name, f.Value))
	}
	if t.Paused {
		list = append(list, facet(facetPaused))
	}
	var states [len(stateMarks)]bool
	for i := range t.Steps {
		s := &t.Steps[i]
		if states[s.State] = true; s.More != nil && s.More.Error != nil {
			list = append(list, facet(facetErrorKind, string(s.More.Error.Kind)))
		}
	}
	for state, has := range states {
		if has && marked(domain.State(state)) { // #nosec G115 -- six of them
			list = append(list, stateMarks[state])
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// stateMarks are the facets of the states of steps.
var stateMarks = func() (marks [domain.ResolvedManually + 1]Facet) {
	for _, state := range domain.States {
		marks[state] = facet(facetStepState, state.String())
	}
	return marks
}()

// changes are what has to be added to sorted facets, and dropped from them.
func changes(old, now []Facet) (add, drop []Facet) {
	for _, f := range now {
		if _, was := slices.BinarySearch(old, f); !was {
			add = append(add, f)
		}
	}
	for _, f := range old {
		if _, is := slices.BinarySearch(now, f); !is {
			drop = append(drop, f)
		}
	}
	return add, drop
}
