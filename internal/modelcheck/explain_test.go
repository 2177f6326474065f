package modelcheck

import (
	"fmt"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/internal/scenario"
)

// unexplained says what is wrong with the answers to "why does it not move" in a settled state: each has to name what is so,
// and either a time, a command that changes something, or a reason for which nobody need act.
func unexplained(r *scenario.Run, slots int) string {
	t := r.Task
	around := domain.Circumstances{Now: r.Now}
	if slots == 0 {
		around.Slot = func(int) domain.Hold { return domain.Hold{Reason: domain.ReasonNoSlot} }
	}
	e := domain.Explain(t, around)
	if what := unmoved(r, e); what != "" {
		return what
	}
	around.Brief = true
	if brief := domain.Explain(t, around); brief.Reason != e.Reason || brief.Step != e.Step || brief.Since != e.Since || brief.Until != e.Until || brief.Text != "" {
		return fmt.Sprintf("in brief it is %+v, else %+v", brief, e)
	}
	around.Brief = false
	running, sleeping := 0, 0
	for i := range t.Steps {
		if s := &t.Steps[i]; s.State == domain.InProgress && s.WakeAt == 0 {
			running++
		} else if s.State == domain.InProgress {
			sleeping++
		}
		about := domain.ExplainStep(t, i, around)
		if what := unmoved(r, about); what != "" {
			return fmt.Sprintf("step %s: %s", t.Template(i).Name, what)
		}
	}
	at, _ := t.NextRetry()
	right := false
	switch e.Reason { //nolint:exhaustive // what cannot be in this model is wrong
	case domain.ReasonTaskEnded:
		right = t.State.Ended()
	case domain.ReasonTaskFailed:
		right = t.State == domain.Error && t.Failed == domain.FailStepsInError && !t.Expired
	case domain.ReasonDeadline:
		right = t.State == domain.Error && t.Failed == domain.FailDeadline && !t.Expired
	case domain.ReasonTaskExpired:
		right = t.Expired
	case domain.ReasonTaskPaused:
		right = t.Paused && t.State.Live()
	case domain.ReasonStepRunning:
		right = running > 0
	case domain.ReasonStepSleeping:
		right = sleeping > 0 && running == 0
	case domain.ReasonBackoff:
		right = t.Status() == domain.StatusWaitingForRetry && e.Until == at
	case domain.ReasonNoSlot:
		right = slots == 0 && t.Status() == domain.StatusHasReadySteps
	}
	if !right {
		return fmt.Sprintf("it is said to be %s: %q", e.Reason, e.Text)
	}
	return ""
}

// unmoved: nothing is named that moves it, or what is named does not.
func unmoved(r *scenario.Run, e domain.Explanation) string {
	switch {
	case e.Reason == "" || e.Text == "":
		return "there is no explanation"
	case e.Verb != nil:
		if changed, err := r.Fork().Do(e.Verb); err != nil || !changed {
			return fmt.Sprintf("%q: the command %q changes %v, error %v", e.Text, e.Fix, changed, err)
		}
		return ""
	case e.Until != 0 || e.Hint != "":
		return ""
	}
	switch e.Reason { //nolint:exhaustive // the others need a way on
	case domain.ReasonStepRunning, domain.ReasonParents, domain.ReasonTaskEnded, domain.ReasonStepOver, domain.ReasonStepCancelled:
		return ""
	}
	return fmt.Sprintf("%s: %q, and nothing is said of what moves it", e.Reason, e.Text)
}
