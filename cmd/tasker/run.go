package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/jsonschema"
)

// runDrain is how long Ctrl-C waits for running steps.
const runDrain = 10 * time.Second

type runFlags struct {
	input, data, durability, output, key string
	env                                  environment
	goOn                                 bool
}

func newRunCommand(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a workflow from a file, here and now",
		Long: "Run the workflow that FILE (YAML or JSON) defines, on an embedded server in this process, and print its result.\n" +
			"What happens is kept in the data directory: tasks that an earlier run left unfinished go on.\n\n" +
			"Exit codes: 0 complete, 1 failed, 2 wrong usage, definition or input, 3 engine error, 130 Ctrl-C.",
		Example: "  tasker run order.yaml --input @order.json\n  tasker run order.yaml --input '{\"id\": 7}' --output json\n  tasker run --continue",
		Args: func(cmd *cobra.Command, args []string) error {
			if f.goOn {
				if len(args) > 0 {
					return usageError("either FILE or --continue")
				}
				return nil
			}
			return arguments("FILE")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			return a.run(cmd.Context(), file, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.input, "input", "i", "", "the task's input: JSON, @file, or - for stdin")
	flags.StringVar(&f.data, "data", defaultData, "data directory")
	flags.StringVar(&f.durability, "durability", "strict", "when a change counts as stored: strict (on the disk) or interval (on it within a second)")
	flags.StringVarP(&f.output, "output", "o", "text", "what stdout gets: text or json")
	flags.StringVar(&f.key, "key", "", "idempotency key: the same key is the same task")
	f.env.add(cmd)
	flags.BoolVar(&f.goOn, "continue", false, "go on with the unfinished tasks of the data directory, and begin no new one")
	return cmd
}

func checkOutput(format string) error {
	if format != "text" && format != "json" {
		return usageError("--output must be text or json, not %q", format)
	}
	return nil
}

// run is the verb.
func (a *app) run(ctx context.Context, file string, f runFlags) error {
	var def *tasker.Definition
	var input json.RawMessage
	if file != "" {
		loaded, err := a.loadDefinition(file, f.env, checkHandlers)
		if err != nil {
			return err
		}
		def = loaded.Definition
		if input, err = a.readInput(f.input); err != nil {
			return err
		}
		if err := checkContext(def, input); err != nil {
			return err
		}
	}
	r := &runner{app: a, flags: f, file: file, def: def, input: input}
	return r.run(ctx)
}

// checkContext refuses an input before anything is started for it.
func checkContext(def *tasker.Definition, input json.RawMessage) error {
	schema, err := jsonschema.Compile(def.Schema)
	if err != nil {
		return badInput(err, "")
	}
	_, err = schema.Apply(input)
	var wrong *jsonschema.ViolationsError
	if !errors.As(err, &wrong) {
		return err
	}
	text := "the input does not fit the schema of " + def.FullName() + ":"
	for _, v := range wrong.Violations {
		text += "\n  " + v.String()
	}
	if len(wrong.Violations) == 1 {
		text = "the input does not fit the schema of " + def.FullName() + ": " + wrong.Violations[0].String()
	}
	return badInput(errors.New(text), "")
}
