package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

// taskVerb is a verb that takes nothing but who and why.
type taskVerb struct {
	name, short, long string
	more              bool // the task may go on after it
	do                func(face, context.Context, tasker.TaskID, tasker.By) (tasker.VerbReceipt, error)
	say               func(tasker.VerbReceipt) string
}

var taskVerbs = []taskVerb{
	{
		name: "cancel", short: "Cancel a task and every step of it that is not over",
		long: "End a task for good: it and every step of it that is pending, in progress or in error become cancelled, and handlers\n" +
			"that run are told to stop.",
		do:  face.Cancel,
		say: taskChanged,
	},
	{
		name: "retry", short: "Reopen a failed task: every step in error runs again", more: true,
		long: "Reopen a failed task: every step in error begins a new round of executions at once, and a pause is lifted.\n" +
			"One step alone: `tasker step retry`.",
		do:  face.Retry,
		say: taskChanged,
	},
	{
		name: "resolve", short: "End a failed task as resolved by hand",
		long: "End a failed task for good: somebody has dealt with it in another way. Its steps stay as they are.\n" +
			"To let it go on behind a failed step: `tasker step resolve`.",
		do:  face.Resolve,
		say: taskChanged,
	},
	{
		name: "pause", short: "Let a task start no more steps",
		long: "Let a task start no more steps until `tasker task resume`. Steps that run may end; waits for retries and the deadline\n" +
			"go on.",
		do: face.Pause,
		say: func(r tasker.VerbReceipt) string {
			if !r.Changed {
				return fmt.Sprintf("nothing changed: task %s is paused already", r.Task)
			}
			return fmt.Sprintf("task %s is paused", r.Task)
		},
	},
	{
		name: "resume", short: "Take a pause back", more: true,
		long: "Take a pause back. Retries that came due in between are due now.",
		do:   face.Resume,
		say: func(r tasker.VerbReceipt) string {
			switch {
			case r.Changed:
				return fmt.Sprintf("task %s goes on", r.Task)
			case r.From.Live():
				return fmt.Sprintf("nothing changed: task %s is not paused", r.Task)
			}
			return fmt.Sprintf("nothing changed: task %s is %s", r.Task, r.From)
		},
	},
}

func newTaskVerbCommand(a *app, v taskVerb) *cobra.Command {
	var f actFlags
	cmd := &cobra.Command{
		Use: v.name + " TASK", Short: v.short, Long: v.long, Args: arguments("TASK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd.Context(), &f, args[0], v.more, func(c *connection, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return v.do(c.face, cmd.Context(), id, f.who())
			}, v.say)
		},
	}
	f.add(cmd)
	f.addReason(cmd)
	return cmd
}

func newTaskAnnotateCommand(a *app) *cobra.Command {
	var f actFlags
	var kind, step, value string
	cmd := &cobra.Command{
		Use: "annotate TASK [NOTE]", Short: "Store a note with a task, in whatever state it is",
		Long: "Store a note with a task, in whatever state it is: a text, or with --value any JSON. `tasker task history` shows it.\n" +
			"The same note again is a second note.",
		Example: "  tasker task annotate TASK \"the bank was asked\"\n  tasker task annotate TASK --kind ticket --value '{\"id\": 12}'",
		Args: func(cmd *cobra.Command, args []string) error {
			switch given := cmd.Flags().Changed("value"); {
			case given && len(args) > 1:
				return usageError("either NOTE or --value")
			case given:
				return arguments("TASK")(cmd, args)
			}
			return arguments("TASK", "NOTE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			note := tasker.Annotation{Kind: kind, Step: step}
			var err error
			if len(args) > 1 {
				note.Value, err = json.Marshal(args[1])
			} else {
				note.Value, err = a.readValue("--value", value)
			}
			if err != nil {
				return err
			}
			if kind == "" {
				return usageError("--kind must not be empty")
			}
			return a.act(cmd.Context(), &f, args[0], false, func(c *connection, id tasker.TaskID) (tasker.VerbReceipt, error) {
				return c.Annotate(cmd.Context(), id, note, f.who().Actor)
			}, func(r tasker.VerbReceipt) string { return fmt.Sprintf("task %s: note stored", r.Task) })
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&kind, "kind", "note", "what kind of note it is")
	cmd.Flags().StringVar(&step, "step", "", "the step that the note is about")
	cmd.Flags().StringVar(&value, "value", "", "the note as JSON: the text, @file, or - for stdin")
	return cmd
}
