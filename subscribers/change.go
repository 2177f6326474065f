package subscribers

import "github.com/tasker-go/tasker/domain"

// change is what a verb has done to a task so far.
type change struct {
	Change
	task domain.State // before the verb
}

// changeOf looks at a task before the verb.
func changeOf(t *domain.Task, cmd domain.Command) change {
	state, attempt := subject(t, cmd)
	return change{Change{From: state, To: state, Attempt: attempt}, t.State}
}

// then looks at the task again, right after the verb.
func (x change) then(t *domain.Task, cmd domain.Command) Change {
	x.To, _ = subject(t, cmd)
	if _, step := cmd.(domain.StepCommand); step {
		x.Reopened = !x.task.Live() && t.State.Live()
	}
	return x.Change
}

// subject is the state of what the verb is about, and the number of its last execution.
func subject(t *domain.Task, cmd domain.Command) (state domain.State, attempt int) {
	c, ok := cmd.(domain.StepCommand)
	if !ok {
		return t.State, 0
	}
	i := t.Definition.Graph().Index(c.StepName())
	if i < 0 {
		return t.State, 0 // the law refuses it
	}
	return t.Steps[i].State, int(t.Steps[i].Attempt)
}
