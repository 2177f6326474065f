package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// actFlags are those of every verb that changes a task or a step.
type actFlags struct {
	connectFlags
	by, reason, output string
}

func (f *actFlags) add(cmd *cobra.Command) {
	f.connectFlags.add(cmd)
	addBy(cmd, &f.by)
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "what stdout gets: text or json")
}

func (f *actFlags) addReason(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why; it is stored with the task")
}

func addBy(cmd *cobra.Command, by *string) {
	cmd.Flags().StringVar(by, "by", userName(), "who; it is stored as operator:WHO")
	cmd.Flags().Lookup("by").DefValue = ""
	cmd.Flags().Lookup("by").Usage += " (default: the user of the operating system)"
}

// userName is the user of the operating system, "" when it has no name.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (f *actFlags) who() tasker.By {
	return tasker.By{Actor: strings.TrimPrefix(f.by, string(domain.ByOperator)+":"), Reason: f.reason}
}

// act runs a verb on a task, and prints its receipt as say does. more: the task may go on after it.
func (a *app) act(ctx context.Context, f *actFlags, task string, more bool,
	do func(*connection, tasker.TaskID) (tasker.VerbReceipt, error), say func(tasker.VerbReceipt) string,
) error {
	return a.onTask(ctx, f.connectFlags, task, f.output, func(c *connection, id tasker.TaskID) error {
		receipt, err := do(c, id)
		if err != nil {
			return actError(ctx, c, id, err)
		}
		if f.output == "json" {
			err = printJSON(a.out, receipt)
		} else {
			_, err = fmt.Fprintln(a.out, say(receipt))
		}
		if err == nil && c.idle != "" && receipt.Changed && more {
			_, err = fmt.Fprintf(a.err, "no server runs on the data; to go on: %s\n", c.idle)
		}
		return err
	})
}

// actError says what is missing in the error of a verb.
func actError(ctx context.Context, c *connection, id tasker.TaskID, err error) error {
	var unknown *domain.UnknownStepError
	switch {
	case errors.As(err, &unknown):
		return unknownStep(ctx, c, id, unknown)
	case errors.Is(err, tasker.ErrOutcomeUnknown):
		return &failure{
			code: exitEngine, err: fmt.Errorf("task %s: %w", id, err),
			hint: "look with: tasker task show " + id.String() + "; doing it again is safe",
		}
	}
	return err
}

// unknownStep lists the steps that there are.
func unknownStep(ctx context.Context, c *connection, id tasker.TaskID, err *domain.UnknownStepError) error {
	t, failed := c.Task(ctx, id)
	if failed != nil {
		return badInput(err, "tasker step list "+id.String()+" shows its steps")
	}
	return badInput(err, "it has: "+stepNames(t))
}

// maxNames is how many names one line lists.
const maxNames = 12

func stepNames(t *tasker.Task) string {
	var names []string
	for i := range t.Steps {
		if i == maxNames {
			names = append(names, fmt.Sprintf("and %d more", len(t.Steps)-i))
			break
		}
		names = append(names, t.Steps[i].Name)
	}
	return strings.Join(names, ", ")
}

// taskChanged says what a verb did to a task.
func taskChanged(r tasker.VerbReceipt) string {
	if !r.Changed {
		return fmt.Sprintf("nothing changed: task %s is %s", r.Task, r.From)
	}
	return fmt.Sprintf("task %s: %s -> %s", r.Task, r.From, r.To)
}

// stepChanged says what a verb did to a step, and to its task.
func stepChanged(r tasker.VerbReceipt) string {
	next := ""
	if r.To == domain.Pending {
		next = fmt.Sprintf(", attempt %d next", r.Attempt+1)
	}
	if !r.Changed {
		return fmt.Sprintf("nothing changed: step %s is %s%s", r.Step, r.From, next)
	}
	text := fmt.Sprintf("step %s: %s -> %s%s", r.Step, r.From, r.To, next)
	if r.Reopened {
		text += fmt.Sprintf("\ntask %s: %s -> %s", r.Task, domain.Error, domain.Pending)
	}
	return text
}
