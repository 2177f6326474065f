package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

func newTaskCommand(a *app) *cobra.Command {
	cmd := group("task", "Look at tasks and act on them", newTaskListCommand(a), newTaskShowCommand(a), newTaskExplainCommand(a), newTaskHistoryCommand(a))
	for _, v := range taskVerbs {
		cmd.AddCommand(newTaskVerbCommand(a, v))
	}
	cmd.AddCommand(newTaskAnnotateCommand(a), newTaskForkCommand(a))
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
	t := taskTable(a)
	for _, x := range tasks {
		took := ""
		if !x.EndedAt.IsZero() {
			took = span(x.EndedAt.Sub(x.CreatedAt))
		}
		t.add(x.ID.String(), definitionName(x.Namespace, x.Name, x.Version), taskState(&x), fmt.Sprintf("%d/%d", x.Execution.Completed, x.Execution.Total), moment(x.CreatedAt), took)
	}
	t.print(a.out)
	return nil
}

// taskTable is the table of a list of tasks.
func taskTable(a *app) table {
	return table{style: styleFor(a.out), head: []string{"TASK", "NAME", "STATE", "STEPS", "CREATED", "TOOK"}, right: map[int]bool{3: true, 5: true}}
}

// taskState is the state, and what the task waits for.
func taskState(t *tasker.Task) string {
	state := t.State.String()
	switch {
	case !t.State.Live():
	case t.Paused:
		state += " (paused)"
	case t.Waiting == domain.WaitDependencies:
		state += " (awaits dependencies)"
	case t.Waiting != "" && !t.WaitingUntil.IsZero():
		state += " (until " + moment(t.WaitingUntil) + ")"
	}
	return state
}

// some prints a warning for every partition that could not be asked, when others could: what they say is worth something.
func (a *app) some(c *connection, err error) error {
	var partial *tasker.PartialError
	if !errors.As(err, &partial) || partial.Nothing() {
		return err
	}
	for _, p := range partial.Failed {
		if c.idle == "" { // else the engine has said so
			_, _ = fmt.Fprintf(a.err, "warning: %v\n", &p)
		}
	}
	return nil
}

// onTask runs a verb on one task.
func (a *app) onTask(ctx context.Context, f connectFlags, text, output string, do func(*connection, tasker.TaskID) error) error {
	return a.onTaskWith(ctx, f, needsEngine, text, output, do)
}

func (a *app) onTaskWith(ctx context.Context, f connectFlags, needs access, text, output string, do func(*connection, tasker.TaskID) error) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	id, err := tasker.ParseTaskID(text)
	if err != nil {
		return badInput(err, "tasker task list shows the ids")
	}
	return a.with(ctx, f, needs, func(c *connection) error {
		err := do(c, id)
		if errors.Is(err, tasker.ErrTaskNotFound) {
			return badInput(fmt.Errorf("there is no task %s, or its history has been pruned", id), "")
		}
		return err
	})
}
