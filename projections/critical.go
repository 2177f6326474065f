package projections

import (
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// CriticalPath is the chain of steps that a task's duration comes from: each began to wait when the one before it ended.
type CriticalPath struct {
	Steps []CriticalStep `json:"steps"` // in their order; none when nothing has happened to any step
	// Duration of the task, from its creation to its end or failure; of a live one to its newest event. What the steps do
	// not explain is the time from the end of the last one to the end of the task.
	Duration time.Duration `json:"duration_ns"`
}

// CriticalStep is one step of a CriticalPath.
type CriticalStep struct {
	Step      string         `json:"step"`
	StartedAt domain.Instant `json:"started_at,omitzero"` // of its first execution; 0 when it ended without one
	EndedAt   domain.Instant `json:"ended_at,omitzero"`   // 0 while it has not ended
	Duration  time.Duration  `json:"duration_ns"`         // of all its executions together
	// Waited is all other time since the step before it ended, or since the task was created: for slots, backoffs, pauses,
	// an operator.
	Waited time.Duration `json:"waited_ns"`
}

// Critical finds the critical path of a task. parents gives the steps that a step depends on. Of the parents of a step the
// one that ended last counts, by the order of the log where times are equal.
func Critical(h History, parents func(step string) []string) CriticalPath {
	path := CriticalPath{Steps: []CriticalStep{}, Duration: h.Duration}
	if len(h.Events) == 0 {
		return path
	}
	newest := h.Events[len(h.Events)-1].At
	if h.EndedAt == 0 {
		path.Duration = since(h.CreatedAt, newest)
	}
	steps := stepSpans(h)
	at := lastStep(steps)
	var chain []*stepSpan
	for at != nil {
		at.seen = true
		chain = append(chain, at)
		next := (*stepSpan)(nil)
		for _, name := range parents(at.name) {
			// A step that an operator resolved early did not wait for a parent that ended after it.
			if p := steps[name]; p != nil && !p.seen && p.over() && p.rank() < at.rank() && (next == nil || next.end < p.end) {
				next = p
			}
		}
		at = next
	}
	before := h.CreatedAt
	for i := len(chain) - 1; i >= 0; i-- {
		s := chain[i]
		step := CriticalStep{Step: s.name, StartedAt: s.started, EndedAt: s.ended, Duration: s.ran}
		until := s.ended
		if !s.over() {
			until = newest
			step.Duration += since(s.running, newest)
		}
		step.Waited = max(since(before, until)-step.Duration, 0)
		path.Steps = append(path.Steps, step)
		before = until
	}
	return path
}

// stepSpan is when a step ran.
type stepSpan struct {
	name                    string
	started, running, ended domain.Instant // running: start of the execution that has not ended
	end                     int            // number of the event that ended it, from 1; 0 = it has not ended
	last                    int            // number of its newest event
	ran                     time.Duration
	seen                    bool
}

func (s *stepSpan) over() bool { return s.end > 0 }

// What begins and ends a step here. One that is cancelled before it has run has no part in any path.
var (
	beginsStep         = []domain.EventType{domain.StepExecutionRequestedType, domain.StepRetryRequestedType}
	endsStep           = []domain.EventType{domain.StepCompletedType, domain.StepCancelledType}
	endsWithoutRunning = []domain.EventType{domain.StepFailedType, domain.StepResolvedManuallyType, domain.StepSkippedType, domain.StepInheritedType}
)

// stepSpans are the steps that something has happened to.
func stepSpans(h History) map[string]*stepSpan {
	steps := map[string]*stepSpan{}
	for _, x := range h.Executions {
		s := steps[x.Step]
		if s == nil {
			s = &stepSpan{name: x.Step, started: x.StartedAt}
			steps[x.Step] = s
		}
		s.ran += x.Duration
		if s.running = 0; x.Outcome == OutcomeRunning {
			s.running = x.StartedAt
		}
	}
	for i, e := range h.Events {
		if e.Step == "" {
			continue
		}
		s := steps[e.Step]
		if s == nil && slices.Contains(endsWithoutRunning, e.Type) {
			s = &stepSpan{name: e.Step}
			steps[e.Step] = s
		}
		switch {
		case s == nil:
			continue
		case slices.Contains(endsWithoutRunning, e.Type), slices.Contains(endsStep, e.Type):
			s.ended, s.end = e.At, i+1
		case slices.Contains(beginsStep, e.Type):
			s.ended, s.end = 0, 0
		}
		s.last = i + 1
	}
	return steps
}

// rank orders the steps that a path may end with: one that has not ended is behind all that have.
func (s *stepSpan) rank() int {
	if s.over() {
		return s.end
	}
	return s.last + 1<<32
}

// lastStep is where the path ends; nil when there is no step.
func lastStep(steps map[string]*stepSpan) *stepSpan {
	var last *stepSpan
	for _, s := range steps {
		if last == nil || s.rank() > last.rank() {
			last = s
		}
	}
	return last
}
