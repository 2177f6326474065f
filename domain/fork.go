package domain

import "fmt"

// ForkedFrom is where a fork begins: right after that event of that task.
type ForkedFrom struct {
	Task TaskID `json:"task"`
	// Position of the event; of the commit, with index 0, when the log held that commit no more.
	Position Position `json:"position"`
}

// Inherit lists, in definition order, the steps that a fork of the task as it stands takes over: those that are complete,
// skipped or resolved. Not among them are the steps named in rerun, and whatever is behind one of those. Everything else
// runs. *UnknownStepError when the definition has no step of a name; *RefusedError when nothing would be left to run.
func (t *Task) Inherit(rerun []string) ([]int, error) {
	g := t.Definition.graph
	again := make([]bool, len(t.Steps))
	var behind []int
	for _, name := range rerun {
		i := g.Index(name)
		if i < 0 {
			return nil, &UnknownStepError{t.ID, name}
		}
		again[i] = true
		behind = append(behind, i)
	}
	for len(behind) > 0 {
		i := behind[len(behind)-1]
		behind = behind[:len(behind)-1]
		for _, child := range g.Children(i) {
			if !again[child] {
				again[child] = true
				behind = append(behind, int(child))
			}
		}
	}
	var taken []int
	for i := range t.Steps {
		if s := t.Steps[i].State; !again[i] && (s == Complete || s == ResolvedManually) {
			taken = append(taken, i)
		}
	}
	if len(taken) == len(t.Steps) {
		return nil, &RefusedError{t.ID, "nothing would run in a fork of it: every step is over; fork it at an earlier position, or name the steps to run again"}
	}
	return taken, nil
}

// Fork is the command that makes a task that begins where this one stands: the same definition, descriptive fields and
// steps to bypass, except that a step in rerun is not bypassed. The caller fills in the id, the context and what else is
// the fork's own, and the results of the steps, which may be kept where only this task's partition reads them.
func (t *Task) Fork(rerun []string) (CreateTask, error) {
	taken, err := t.Inherit(rerun)
	if err != nil {
		return CreateTask{}, err
	}
	cmd := CreateTask{
		Context: t.Context, Initiator: t.Initiator, SourceSystem: t.SourceSystem, Tags: t.ownTags(), Correlation: t.Correlation,
		Inherited: make([]StepInherited, len(taken)),
	}
	for n, i := range taken {
		s := &t.Steps[i]
		cmd.Inherited[n] = StepInherited{
			Step: t.Template(i).Name, Result: s.Result, Skipped: s.Skipped, Resolved: s.State == ResolvedManually,
		}
	}
	named := make(map[string]bool, len(rerun))
	for _, name := range rerun {
		named[name] = true
	}
	for i := range t.bypass {
		if name := t.Template(i).Name; t.bypass[i] && !named[name] {
			cmd.BypassSteps = append(cmd.BypassSteps, name)
		}
	}
	return cmd, nil
}

// ownTags are the tags that the submitter chose: without those of the definition, which stand before them.
func (t *Task) ownTags() []string {
	of := t.Definition.Tags
	if len(of) > len(t.Tags) {
		return t.Tags
	}
	for i := range of {
		if t.Tags[i] != of[i] {
			return t.Tags
		}
	}
	return t.Tags[len(of):]
}

// Facts are the events that a fork begins with, which stand in one message: a fork of which only a part were stored would
// run steps that it was to take over.
func (c *CreateTask) Facts(created TaskCreated) []Event {
	facts := make([]Event, 0, 1+len(c.Inherited))
	facts = append(facts, created)
	for i := range c.Inherited {
		facts = append(facts, c.Inherited[i])
	}
	return facts
}

// ForkTooLargeError: the steps that a fork would take over do not fit into one message.
type ForkTooLargeError struct {
	Task  TaskID `json:"task"` // that would be forked
	Steps int    `json:"steps"`
	Bytes int    `json:"bytes"`
	Most  int    `json:"most"`
}

func (e *ForkTooLargeError) Error() string {
	return fmt.Sprintf("task %s cannot be forked there: the %d steps that the fork would take over need a message of %d bytes, and %d are possible: "+
		"fork it at an earlier position, or name steps to run again", e.Task, e.Steps, e.Bytes, e.Most)
}

// ForkTaskID derives the id of the fork of a task that the idempotency key stands for. Keys of forks and of submissions
// never meet.
func ForkTaskID(of TaskID, key string) TaskID { return KeyedTaskID("\x00fork", of.String(), key) }

// inherit ends a step that has not run, as it had ended elsewhere.
func (s *Step) inherit(e StepInherited, r *Record) {
	to := Complete
	if e.Resolved {
		to = ResolvedManually
	}
	s.end(to, r.At)
	s.Skipped, s.Inherited = e.Skipped, true
	s.Result = e.Result.settle(r.Position)
}
