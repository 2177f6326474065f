package telemetry

import (
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// labels hands out the label sets of a process, first come, first served. A number stands for each; 0 is "other".
type labels struct {
	mu          sync.Mutex
	definitions table[definitionLabels]
	steps       table[stepLabels]
	failures    map[failureLabels]bool
}

type failureLabels struct{ step, kind int }

type definitionLabels struct{ namespace, definition string }

type stepLabels struct{ namespace, definition, step string }

// table numbers what it is asked for, up to a limit.
type table[K comparable] struct {
	numbers map[K]int
	list    []K
	limit   int
}

func newTable[K comparable](limit int, rest K) table[K] {
	return table[K]{numbers: map[K]int{rest: 0}, list: []K{rest}, limit: limit}
}

func (t *table[K]) number(k K) int {
	n, ok := t.numbers[k]
	if !ok && len(t.list) <= t.limit {
		n = len(t.list)
		t.numbers[k], t.list = n, append(t.list, k)
	}
	return n
}

func newLabels() *labels {
	return &labels{
		failures:    map[failureLabels]bool{},
		definitions: newTable(MaxDefinitions, definitionLabels{other, other}),
		steps:       newTable(MaxSteps, stepLabels{other, other, other}),
	}
}

func (l *labels) definition(d *domain.Definition) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.definitions.number(definitionLabels{label(d.Namespace), label(d.Name)})
}

func (l *labels) step(d *domain.Definition, i int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.steps.number(stepLabels{label(d.Namespace), label(d.Name), label(d.Steps[i].Name)})
}

// mayFail reports whether the failures of a step of that kind have a counter of their own.
func (l *labels) mayFail(step, kind int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	pair := failureLabels{step, kind}
	if !l.failures[pair] && len(l.failures) < MaxFailures {
		l.failures[pair] = true
	}
	return l.failures[pair]
}

// all is what has been handed out.
func (l *labels) all() (definitions []definitionLabels, steps []stepLabels) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.definitions.list, l.steps.list // only appended to
}

// kinds of failures that have a label; the last one stands for those of handlers.
var kinds = [...]domain.ErrorKind{
	domain.KindError, domain.KindPermanent, domain.KindPanic, domain.KindTimeout, domain.KindWorkerLost,
	domain.KindInterrupted, domain.KindDeadline, other,
}

func kindNumber(k domain.ErrorKind) int {
	for i, known := range kinds {
		if k == known {
			return i
		}
	}
	return len(kinds) - 1
}
