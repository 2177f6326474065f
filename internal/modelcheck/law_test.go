package modelcheck

import (
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// unlawful is what SEMANTICS 1 to 3 forbids of the events that happened to the task, from the text and from nothing else
// of the engine than its fold; "" when nothing.
func unlawful(before *domain.Task, log []domain.Record) string {
	t := before.Clone()
	for _, r := range log {
		what := ""
		switch e := r.Event.(type) { //nolint:gochecksumtype // the engine's own steps; verbs have their table
		case domain.StepExecutionRequested:
			i := t.Definition.Graph().Index(e.Step)
			if what = notReady(t, i); what == "" && e.Attempt != int(t.Steps[i].Attempt)+1 {
				what = fmt.Sprintf("attempt %d follows %d", e.Attempt, t.Steps[i].Attempt)
			}
		case domain.StepInherited:
			if s := &t.Steps[t.Definition.Graph().Index(e.Step)]; s.State != domain.Pending || s.Attempt != 0 || t.StartedAt != 0 {
				what = "it has run, or its task has begun"
			}
		case domain.StepSkipped:
			if i := t.Definition.Graph().Index(e.Step); !t.Template(i).Skippable {
				what = "it is not skippable"
			} else {
				what = notReady(t, i)
			}
		case domain.StepRetryRequested:
			if s := &t.Steps[t.Definition.Graph().Index(e.Step)]; !e.NewRound {
				what = notDue(t, s, r.At)
			}
		case domain.TaskCompleted:
			what = notComplete(t)
		}
		if what != "" {
			return fmt.Sprintf("%#v: %s", r.Event, what)
		}
		domain.Evolve(t, r)
	}
	return ""
}

func held(t *domain.Task) string {
	switch {
	case !t.State.Live():
		return "its task is " + t.State.String()
	case t.Paused:
		return "its task is paused"
	case t.Definition.OnFailure == domain.Stop:
		for i := range t.Steps {
			if s := &t.Steps[i]; s.State == domain.Error && s.WakeAt == 0 && !t.Template(i).Optional {
				return "its task has been stopped"
			}
		}
	}
	return ""
}

func notReady(t *domain.Task, i int) string {
	s, tpl := &t.Steps[i], t.Template(i)
	if why := held(t); why != "" {
		return why
	}
	limit := tpl.RetryLimit
	if s.More != nil && s.More.RetryLimit > 0 {
		limit = s.More.RetryLimit
	}
	switch {
	case s.State != domain.Pending:
		return "it is " + s.State.String()
	case int(s.Executions) >= limit, s.Executions > 0 && tpl.NotRetryable:
		return fmt.Sprintf("it has had its %d executions", s.Executions)
	}
	for _, p := range t.Definition.Graph().Parents(i) {
		if !satisfies(t, int(p)) {
			return "step " + t.Template(int(p)).Name + " is not over"
		}
	}
	return ""
}

func notDue(t *domain.Task, s *domain.Step, now domain.Instant) string {
	switch {
	case s.State != domain.Error || s.WakeAt == 0:
		return "nobody has said that it is tried again"
	case s.WakeAt > now:
		return "its time has not come"
	}
	return held(t)
}

// wakes is when something comes due: the deadline, a sleep, and a retry unless that is held; 0 = never.
func wakes(t *domain.Task) domain.Instant {
	if !t.State.Live() {
		return 0
	}
	first := t.Deadline
	for i := range t.Steps {
		s := &t.Steps[i]
		due := s.State == domain.InProgress || s.State == domain.Error && held(t) == ""
		if due && s.WakeAt != 0 && (first == 0 || s.WakeAt < first) {
			first = s.WakeAt
		}
	}
	return first
}

func notComplete(t *domain.Task) string {
	for i := range t.Steps {
		if !satisfies(t, i) {
			return "step " + t.Template(i).Name + " is " + t.Steps[i].State.String()
		}
	}
	return ""
}

// satisfies: complete, resolved_manually, or optional and over.
func satisfies(t *domain.Task, i int) bool {
	s := &t.Steps[i]
	switch s.State {
	case domain.Complete, domain.ResolvedManually:
		return true
	case domain.Cancelled:
		return t.Template(i).Optional
	case domain.Error:
		return t.Template(i).Optional && s.WakeAt == 0
	case domain.Pending, domain.InProgress:
	}
	return false
}
