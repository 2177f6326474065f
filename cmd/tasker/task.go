package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func newTaskCommand(a *app) *cobra.Command {
	return group("task", "Look at tasks and act on them",
		newTaskListCommand(a), newTaskShowCommand(a), newTaskHistoryCommand(a), newTaskCancelCommand(a))
}

func newTaskListCommand(a *app) *cobra.Command {
	var f connectFlags
	var names []string
	var filter tasker.Filter
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List tasks, the newest first", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if filter.States, err = states(names); err != nil {
				return err
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			if filter.Limit < 1 {
				return usageError("--limit must be at least 1")
			}
			return a.with(cmd.Context(), f, needsEngine, func(c *connection) error {
				tasks, err := c.Tasks(cmd.Context(), filter)
				if err != nil {
					return err
				}
				return a.printTasks(tasks, output)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringSliceVar(&names, "state", nil, "only tasks in these states, such as error or in_progress")
	cmd.Flags().StringVar(&filter.Name, "name", "", "only tasks of this definition")
	cmd.Flags().StringVar(&filter.Namespace, "namespace", "", "only tasks of this namespace")
	cmd.Flags().IntVar(&filter.Limit, "limit", 50, "at most so many")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

func (a *app) printTasks(tasks []tasker.Task, output string) error {
	if output == "json" {
		for i := range tasks {
			if err := printJSON(a.out, tasks[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(tasks) == 0 {
		_, _ = fmt.Fprintln(a.err, "no tasks")
		return nil
	}
	t := table{style: styleFor(a.out), head: []string{"TASK", "NAME", "STATE", "STEPS", "CREATED", "TOOK"}, right: map[int]bool{3: true, 5: true}}
	for _, x := range tasks {
		name := x.Name + " " + x.Version
		if x.Namespace != domain.DefaultNamespace {
			name = x.Namespace + "." + name
		}
		took := ""
		if !x.EndedAt.IsZero() {
			took = span(x.EndedAt.Sub(x.CreatedAt))
		}
		t.add(x.ID.String(), name, taskState(&x), fmt.Sprintf("%d/%d", x.Execution.Completed, x.Execution.Total), moment(x.CreatedAt), took)
	}
	t.print(a.out)
	return nil
}

// taskState is the state, and what the task waits for.
func taskState(t *tasker.Task) string {
	state := t.State.String()
	switch {
	case !t.State.Live():
	case t.Paused:
		state += " (paused)"
	case t.Waiting != "" && !t.WaitingUntil.IsZero():
		state += " (until " + moment(t.WaitingUntil) + ")"
	}
	return state
}

func newTaskShowCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "show TASK", Short: "Show the state of a task and its steps", Args: arguments("TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd.Context(), f, args[0], output, func(c *connection, id tasker.TaskID) error {
				t, err := c.Task(cmd.Context(), id)
				if err != nil {
					return err
				}
				if output == "json" {
					return printJSON(a.out, t)
				}
				a.printTask(t)
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

// onTask runs a verb on one task.
func (a *app) onTask(ctx context.Context, f connectFlags, text, output string, do func(*connection, tasker.TaskID) error) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	id, err := tasker.ParseTaskID(text)
	if err != nil {
		return badInput(err, "tasker task list shows the ids")
	}
	return a.with(ctx, f, needsEngine, func(c *connection) error {
		err := do(c, id)
		if errors.Is(err, tasker.ErrTaskNotFound) {
			return badInput(fmt.Errorf("there is no task %s, or its history has been pruned", id), "")
		}
		return err
	})
}

func (a *app) printTask(t *tasker.Task) {
	field := func(name, value string) {
		if value != "" {
			a.printf("%-12s %s\n", name, value)
		}
	}
	field("task", t.ID.String())
	field("definition", t.Namespace+"."+t.Name+" "+t.Version)
	field("state", taskState(t))
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
	steps := table{style: styleFor(a.out), head: []string{"STEP", "STATE", "ATTEMPT", "STARTED", "TOOK", "ERROR"}, right: map[int]bool{4: true}}
	for i := range t.Steps {
		s := &t.Steps[i]
		state, took, text, attempt := s.State.String(), "", "", ""
		switch {
		case s.Skipped:
			state = "skipped"
		case s.Ready:
			state = "ready"
		case !s.RetryAt.IsZero():
			state = "error (again " + moment(s.RetryAt) + ")"
		}
		if s.Attempt > 0 {
			attempt = fmt.Sprintf("%d of %d", s.Attempt, max(s.RetryLimit, s.Attempt))
		}
		if !s.EndedAt.IsZero() && !s.StartedAt.IsZero() && s.State != domain.InProgress {
			took = span(s.EndedAt.Sub(s.StartedAt))
		}
		if s.Error != nil && s.State == domain.Error {
			text = errorText(s.Error)
		}
		steps.add(s.Name, state, attempt, moment(s.StartedAt), took, text)
	}
	steps.print(a.out)
	a.printf("\ncontext %s\n", oneLine(string(t.Context)))
	if t.Result != nil {
		a.printf("result  %s\n", oneLine(string(t.Result)))
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
	cmd.Flags().StringVarP(&output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

func (a *app) printHistory(h *tasker.History) {
	if h.Trimmed {
		_, _ = fmt.Fprintln(a.err, "the beginning of this history is not in the log any more")
	}
	t := table{
		style: styleFor(a.out), right: map[int]bool{5: true},
		head: []string{"TIME", "EVENT", "STEP", "ATTEMPT", "ACTOR", "DURATION", "ID", "CAUSE"},
	}
	for i := range h.Events {
		e := &h.Events[i]
		t.add(precise(e.At.Time()), string(e.Type), e.Step, numberOrNone(e.Attempt), string(e.Actor), spanOrNone(e.Duration), e.ID, e.Cause)
	}
	t.print(a.out)
}

func newTaskCancelCommand(a *app) *cobra.Command {
	var f connectFlags
	var reason string
	cmd := &cobra.Command{
		Use: "cancel TASK", Short: "Cancel a task and every step of it that is not over", Args: arguments("TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onTask(cmd.Context(), f, args[0], "text", func(c *connection, id tasker.TaskID) error {
				if _, err := c.Cancel(cmd.Context(), id, tasker.By{Reason: reason}); err != nil {
					return err
				}
				a.printf("task %s is cancelled\n", id)
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is stored with the task")
	return cmd
}
