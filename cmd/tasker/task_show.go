package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

func newTaskShowCommand(a *app) *cobra.Command {
	var f connectFlags
	var output, at string
	cmd := &cobra.Command{
		Use: "show TASK", Short: "Show the state of a task and its steps, now or as it was", Args: arguments("TASK"),
		Long: "Show the state of a task and its steps: now, or with --at as it was right after one of its events, whose ids\n" +
			"`tasker task history TASK` shows.",
		RunE: func(cmd *cobra.Command, args []string) error {
			then, err := position(at)
			if err != nil {
				return err
			}
			return a.onTask(cmd.Context(), f, args[0], output, func(c *connection, id tasker.TaskID) error {
				t, err := c.TaskAt(cmd.Context(), id, then)
				if err != nil {
					return positionError(id, err)
				}
				if output == "json" {
					return printJSON(a.out, t)
				}
				if at != "" {
					a.field("as of", then.String())
					a.printTask(t, "")
					return nil
				}
				a.printTask(t, pausedBy(cmd.Context(), c, t))
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&at, "at", "", "event of the task: show it as it was right after that")
	addOutput(cmd, &output)
	return cmd
}

// pausedBy says since when a task is paused, who did it, and why; "" when it is not.
func pausedBy(ctx context.Context, c *connection, t *tasker.Task) string {
	if !t.Paused || !t.State.Live() {
		return ""
	}
	h, err := c.History(ctx, t.ID)
	if err != nil {
		return "" // the state says that it is
	}
	for _, e := range slices.Backward(h.Events) {
		if e.Type != domain.TaskPausedType {
			continue
		}
		text := "since " + precise(e.At.Time()) + ", by " + string(e.Actor)
		if why := reasonOf(&e); why != "" {
			text += ": " + why
		}
		return text
	}
	return "" // the history has been pruned
}

func (a *app) field(name, value string) {
	if value != "" {
		a.printf("%-12s %s\n", name, value)
	}
}

func (a *app) printTask(t *tasker.Task, paused string) {
	field := a.field
	field("task", t.ID.String())
	if t.ForkedFrom != nil {
		field("forked from", t.ForkedFrom.Task.String()+" at "+t.ForkedFrom.Position.String())
	}
	field("definition", t.Namespace+"."+t.Name+" "+t.Version)
	field("state", taskState(t))
	field("paused", paused)
	field("failed", string(t.Failed))
	field("created", precise(t.CreatedAt))
	if !t.EndedAt.IsZero() {
		field("ended", precise(t.EndedAt)+", after "+span(t.EndedAt.Sub(t.CreatedAt)))
	}
	field("deadline", moment(t.Deadline))
	field("by", strings.Trim(t.Initiator+", "+t.SourceSystem, ", "))
	field("reason", oneLine(t.Reason))
	field("tags", strings.Join(t.Tags, ", "))
	field("correlation", t.Correlation)
	field("position", t.Position.String())
	a.printf("\n")
	a.printSteps(t.Steps)
	a.printf("\ncontext %s\n", shortened(t.Context))
	if t.Result != nil {
		a.printf("result  %s\n", shortened(t.Result))
	}
}

// longestValue is how much of a context or result people are shown; JSON output has all of it.
const longestValue = 2000

func shortened(text json.RawMessage) string {
	line := oneLine(string(text[:min(len(text), 2*longestValue)]))
	if len(text) > 2*longestValue {
		line += "…"
	}
	return cut(line, longestValue)
}

func (a *app) printSteps(list []tasker.Step) {
	steps := table{style: styleFor(a.out), head: []string{"STEP", "STATE", "ATTEMPT", "STARTED", "TOOK", "LAST ERROR"}, right: map[int]bool{4: true}}
	for i := range list {
		s := &list[i]
		text := ""
		if s.Error != nil {
			text = errorText(s.Error)
		}
		steps.add(s.Name, stepState(s), attempts(s), moment(s.StartedAt), spanOrNone(took(s)), text)
	}
	steps.print(a.out)
}

// stepState is the state of a step, and until when it stays so.
func stepState(s *tasker.Step) string {
	switch {
	case s.Inherited && s.Skipped:
		return "skipped (taken over)"
	case s.Inherited:
		return s.State.String() + " (taken over)"
	case s.Skipped:
		return "skipped"
	case s.Ready && s.Held != "":
		return "ready (" + s.Held + ")"
	case s.Ready:
		return "ready"
	case !s.RetryAt.IsZero():
		return "error (again " + moment(s.RetryAt) + ")"
	case !s.SleepUntil.IsZero():
		return "in_progress (sleeps until " + moment(s.SleepUntil) + ")"
	case s.State == domain.InProgress && s.Progress != nil:
		return "in_progress (" + progressOf(s.Progress) + ")"
	}
	return s.State.String()
}

// progressOf is how far a step says that it has come.
func progressOf(p *tasker.StepProgress) string {
	return progressText(domain.StepProgressed{Done: p.Done, Total: p.Total, Message: p.Message})
}

// attempts is how many executions of how many the round has had, the running one included, and the number of the last one
// where that is another: after a lost execution, and in a later round.
func attempts(s *tasker.Step) string {
	if s.Attempt == 0 {
		return ""
	}
	n := s.Executions
	if s.State == domain.InProgress {
		n++
	}
	text := fmt.Sprintf("%d of %d", n, s.RetryLimit)
	if s.Attempt != n {
		text += fmt.Sprintf(" (attempt %d)", s.Attempt)
	}
	return text
}

// took is how long the last execution took; 0 while it runs, and of a step that was ended by hand later.
func took(s *tasker.Step) time.Duration {
	if s.State != domain.Complete && s.State != domain.Error || s.StartedAt.IsZero() || s.EndedAt.IsZero() {
		return 0
	}
	return s.EndedAt.Sub(s.StartedAt)
}

// printStep prints everything about one step.
func (a *app) printStep(t *tasker.Task, s *tasker.Step) {
	a.field("task", t.ID.String()+", "+taskState(t))
	a.field("step", s.Name)
	a.field("state", stepState(s))
	a.field("handler", s.Handler)
	a.field("system", s.DependentSystem)
	a.field("depends on", strings.Join(s.DependsOn, ", "))
	if s.Optional {
		a.field("optional", "the task completes without it")
	}
	if s.Attempt > 0 {
		a.field("attempt", fmt.Sprint(s.Attempt))
	}
	if s.Round > 1 {
		a.field("round", fmt.Sprint(s.Round))
	}
	a.field("executions", fmt.Sprintf("%d of %d", s.Executions, s.RetryLimit))
	if !s.StartedAt.IsZero() {
		a.field("started", precise(s.StartedAt))
	}
	if !s.EndedAt.IsZero() && s.State != domain.InProgress {
		text := precise(s.EndedAt)
		if d := took(s); d > 0 {
			text += ", after " + span(d)
		}
		a.field("ended", text)
	}
	if p := s.Progress; p != nil {
		a.field("progress", progressOf(p)+", at "+precise(p.At))
	}
	a.field("checkpoint", shortened(s.Checkpoint))
	if e := s.Error; e != nil {
		a.field("last error", oneLine(e.Message))
		a.field("kind", strings.TrimSuffix(string(e.Kind)+", code "+e.Code, ", code "))
		for i, frame := range e.Frames {
			name := ""
			if i == 0 {
				name = "frames"
			}
			a.printf("%-12s %s\n", name, oneLine(frame))
		}
	}
	if s.Inputs != nil {
		a.printf("\ninputs %s\n", pretty(s.Inputs))
	}
	if s.Result != nil {
		a.printf("\nresult %s\n", pretty(s.Result))
	}
}

func newTaskHistoryCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "history TASK", Short: "Show every event of a task, with durations and causes", Args: arguments("TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd.Context(), f, args[0], output, func(c *connection, id tasker.TaskID) error {
				h, err := c.History(cmd.Context(), id)
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(a.out, h)
				}
				a.printHistory(h)
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (a *app) printHistory(h *tasker.History) {
	if h.Trimmed {
		_, _ = fmt.Fprintln(a.err, "the beginning of this history is not in the log any more")
	}
	t := table{
		style: styleFor(a.out), right: map[int]bool{5: true},
		head: []string{"TIME", "EVENT", "STEP", "ATTEMPT", "ACTOR", "DURATION", "ID", "CAUSE", "REASON"},
	}
	for i := range h.Events {
		e := &h.Events[i]
		t.add(precise(e.At.Time()), string(e.Type), e.Step, numberOrNone(e.Attempt), string(e.Actor), spanOrNone(e.Duration), e.ID, e.Cause, reasonOf(e))
	}
	t.print(a.out)
}

// longestReason is how much of a reason fits into a row.
const longestReason = 100

// reasonOf is why an event happened, as far as it says so: a reason, an error, or a note.
func reasonOf(e *projections.HistoryEvent) string {
	var data struct {
		Reason     string            `json:"reason"`
		Error      *domain.StepError `json:"error"`
		Kind       string            `json:"kind"`
		Annotation json.RawMessage   `json:"annotation"`

		Forked *tasker.ForkedFrom `json:"forked"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return ""
	}
	text := data.Reason
	switch {
	case data.Error != nil:
		text = errorText(data.Error)
	case data.Forked != nil:
		text = strings.TrimSuffix("fork of "+data.Forked.Task.String()+" at "+data.Forked.Position.String()+": "+text, ": ")
	case data.Annotation != nil:
		var said string
		if json.Unmarshal(data.Annotation, &said) != nil {
			said = string(data.Annotation)
		}
		text = data.Kind + ": " + said
	}
	return cut(oneLine(text), longestReason)
}
