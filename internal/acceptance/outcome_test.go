package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// losses are the attempts by step that ended with their process and were made again.
type losses map[string][]int

func lost(records []tasker.Event) losses {
	gone, final := losses{}, map[string]int{}
	for _, r := range records {
		switch e := r.Event.(type) { //nolint:gochecksumtype // what loses executions, and who gives them back
		case domain.StepFailed:
			if e.Error.Kind != domain.KindWorkerLost {
				continue
			}
			if e.RetryAt == 0 {
				final[e.Step] = e.Attempt // of a step that is not retried, unless an operator does
				continue
			}
			gone[e.Step] = append(gone[e.Step], e.Attempt)
		case domain.StepRetryRequested:
			if attempt := final[e.Step]; attempt > 0 && e.NewRound {
				gone[e.Step] = append(gone[e.Step], attempt)
				final[e.Step] = 0
			}
		}
	}
	return gone
}

func (l losses) has(step string, attempt int) bool { return slices.Contains(l[step], attempt) }

// before is how many of them have a smaller number.
func (l losses) before(step string, attempt int) int {
	n := 0
	for _, a := range l[step] {
		if a < attempt {
			n++
		}
	}
	return n
}

// healed is a task's history as it would be without the crash: without the executions that it cost, the attempts of
// the others numbered as if those had never been.
func (w *world) healed(records []tasker.Event) []tasker.Event {
	gone := lost(records)
	if w.calm() || len(gone) == 0 {
		return records
	}
	var left []tasker.Event
	released := map[string]bool{} // steps whose next retry follows from a loss
	for _, r := range records {
		s, ok := r.Event.(domain.StepEvent)
		if !ok {
			left = append(left, r)
			continue
		}
		step, attempt := s.StepName(), s.AttemptNumber()
		if gone.has(step, attempt) {
			_, failed := r.Event.(domain.StepFailed)
			released[step] = released[step] || failed
			continue
		}
		if e, again := r.Event.(domain.StepRetryRequested); again && released[step] {
			released[step] = false
			if !e.NewRound {
				continue
			}
		}
		r.Event = numbered(r.Event, attempt-gone.before(step, attempt))
		left = append(left, r)
	}
	return left
}

// attempt is the number that the execution would have without the crash. It is for handlers that fail the first time.
func (w *world) attempt(task tasker.TaskView, step tasker.StepView) int {
	if w.calm() || step.Attempt == 1 {
		return step.Attempt
	}
	var records []tasker.Event
	for r, err := range attached.Replay(context.Background(), w.store, attached.ReplayOptions{Task: task.ID}) {
		if err != nil {
			w.t.Errorf("a handler cannot read the log: %v", err)
			break
		}
		records = append(records, r)
	}
	return step.Attempt - lost(records).before(step.Name, step.Attempt)
}

// numbered is the event with another attempt.
func numbered(e domain.Event, attempt int) domain.Event {
	switch e := e.(type) { //nolint:gochecksumtype // the events of executions
	case domain.StepExecutionRequested:
		e.Attempt = attempt
		return e
	case domain.StepCompleted:
		e.Attempt = attempt
		return e
	case domain.StepFailed:
		e.Attempt = attempt
		return e
	case domain.StepCheckpointed:
		e.Attempt = attempt
		return e
	case domain.StepProgressed:
		e.Attempt = attempt
		return e
	case domain.StepLogAppended:
		e.Attempt = attempt
		return e
	case domain.Custom:
		e.Attempt = attempt
		return e
	default:
		return e
	}
}

// differs states what the outcome may say in a run with a crash, and what it says without one.
func (w *world) differs(with, without string) {
	if !w.calm() {
		w.excused = append(w.excused, with, without)
	}
}

// ignores leaves out of the outcome what depends on timing, with or without a crash.
func (w *world) ignores(pattern string) { w.ignored = append(w.ignored, regexp.MustCompile(pattern)) }

// excuse applies differs and ignores.
func (w *world) excuse(outcome string) string {
	outcome = strings.NewReplacer(w.excused...).Replace(outcome)
	for _, p := range w.ignored {
		outcome = p.ReplaceAllString(outcome, "")
	}
	return outcome
}

var anyID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// outcomeOf is what a task came to: everything that a crash must not change.
func outcomeOf(task *tasker.Task, records []tasker.Event) string {
	completions, notes := map[string]int{}, []string{}
	for _, r := range records {
		switch e := r.Event.(type) { //nolint:gochecksumtype // what is counted
		case domain.StepCompleted:
			completions[e.Step]++
		case domain.TaskAnnotated:
			notes = append(notes, fmt.Sprintf("  note %s of %s in round %d: %s\n", e.Kind, e.Step, e.Round, e.Annotation))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s@%s is %s, paused %v, round %d, %s, failed %q, result %s\n",
		task.Namespace, task.Name, task.Version, task.State, task.Paused, task.Round, task.Execution.Status, task.Failed, task.Result)
	for _, s := range task.Steps {
		fmt.Fprintf(&b, "  %s is %s, skipped %v, round %d, %d executions, %d completions, result %s, inputs %s",
			s.Name, s.State, s.Skipped, s.Round, s.Executions, completions[s.Name], s.Result, s.Inputs)
		if s.State == domain.Error { // else the last execution may have been lost
			fmt.Fprintf(&b, ", error %s: %s", s.Error.Kind, s.Error.Message)
		}
		b.WriteString("\n")
	}
	slices.Sort(notes)
	b.WriteString(strings.Join(notes, ""))
	return anyID.ReplaceAllString(b.String(), "ID")
}

// contract checks what handlers may rely on, over all engines of the case: an attempt is run at most once, and only when it
// was stored; all attempts of a round have one idempotency key, and no two rounds or steps the same.
func (w *world) contract(id tasker.TaskID, records []tasker.Event) {
	w.t.Helper()
	requested := map[string]bool{}
	for _, r := range records {
		if e, ok := r.Event.(domain.StepExecutionRequested); ok {
			requested[fmt.Sprintf("%s %d", e.Step, e.Attempt)] = true
		}
	}
	ran, keys, rounds := map[string]bool{}, map[string]string{}, map[string]string{}
	w.notes.Lock()
	defer w.notes.Unlock()
	for _, c := range w.calls {
		if c.task != id {
			continue
		}
		attempt, round := fmt.Sprintf("%s %d", c.step, c.attempt), fmt.Sprintf("%s in round %d", c.step, c.round)
		if ran[attempt] {
			w.t.Errorf("attempt %s was run twice", attempt)
		}
		if !requested[attempt] {
			w.t.Errorf("attempt %s was run and is not stored", attempt)
		}
		ran[attempt] = true
		if key, ok := keys[round]; ok && key != c.key {
			w.t.Errorf("%s has the idempotency keys %q and %q", round, key, c.key)
		}
		if other, ok := rounds[c.key]; ok && other != round {
			w.t.Errorf("%s and %s have the same idempotency key %q", other, round, c.key)
		}
		keys[round], rounds[c.key] = c.key, round
	}
}
