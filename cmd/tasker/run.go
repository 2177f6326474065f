package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/infra/yamldef"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// runDrain is how long Ctrl-C waits for running steps.
const runDrain = 10 * time.Second

type runFlags struct {
	input, data, durability, output, key string
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
		var err error
		if def, err = loadRunnable(file); err != nil {
			return err
		}
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

// loadRunnable loads a definition whose every step can be run here.
func loadRunnable(file string) (*tasker.Definition, error) {
	def, err := yamldef.LoadFile(file)
	if err != nil {
		var wrong *yamldef.Error
		if errors.As(err, &wrong) {
			return nil, err
		}
		return nil, badInput(err, "")
	}
	return def, checkHandlers(file, def)
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

// runner is one `tasker run`.
type runner struct {
	*app
	flags runFlags
	file  string
	def   *tasker.Definition
	input json.RawMessage

	host     *host
	progress progress
	own      *taskView // nil with --continue
	found    []*taskView
	cursor   domain.Cursor
	final    *tasker.Task // the own task when it is over, with its result
}

func (r *runner) run(ctx context.Context) error {
	r.progress = newProgress(r.err)
	r.signals.beforeExit(r.progress.close)
	defer r.progress.close()
	var err error
	r.host, err = newHost(ctx, hostOptions{
		data: r.flags.data, durability: r.flags.durability, drain: runDrain,
		logger: r.logger(r.progress.say, false),
	})
	if err != nil {
		return err
	}
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		return r.host.stop()
	}
	defer func() { _ = stop() }()
	if err := r.host.register(stepLogger(r.progress.stepSays), true); err != nil {
		return err
	}
	if err := r.host.start(ctx); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	err = r.follow(ctx, stop)
	if stopErr := stop(); err == nil && stopErr != nil {
		return stopErr
	}
	return err
}

// begin looks for unfinished tasks, submits the new one, and notes from where on their events are to be shown.
func (r *runner) begin(ctx context.Context) error {
	e := r.host.engine
	info := e.Info()
	r.progress.say(fmt.Sprintf("data %s, durability %s", shownPath(r.host.server.Dir()), info.Durability))
	unfinished, err := e.Tasks(ctx, tasker.Filter{States: []domain.State{domain.Pending, domain.InProgress}, Limit: 1000})
	if err != nil {
		return err
	}
	r.cursor = domain.Cursor{DataID: info.ID}
	for _, p := range e.Stats().Partitions {
		r.cursor.Advance(tasker.Position{Partition: p.Partition, Sequence: p.Sequence})
	}
	if err := r.goOnWith(ctx, unfinished); err != nil || r.def == nil {
		return err
	}
	return r.submit(ctx)
}

// submit begins the new task.
func (r *runner) submit(ctx context.Context) error {
	e := r.host.engine
	if err := e.Apply(ctx, r.def, true); err != nil {
		return err
	}
	options := []tasker.SubmitOption{tasker.InNamespace(r.def.Namespace), tasker.AtVersion(r.def.Version), tasker.From("", "tasker run", "")}
	if r.flags.key != "" {
		options = append(options, tasker.Key(r.flags.key))
	}
	receipt, err := e.Submit(ctx, r.def.Name, r.input, options...)
	if err != nil {
		return err
	}
	if receipt.Created {
		r.own = viewOfDefinition(receipt.ID, r.def)
	} else {
		task, err := e.Task(ctx, receipt.ID)
		if err != nil {
			return err
		}
		r.own = viewOfTask(task)
	}
	r.own.own = true
	again := ""
	if !receipt.Created {
		again = ", which the key named already"
	}
	r.progress.say(fmt.Sprintf("task %s, %s%s", receipt.ID, r.own.name, again))
	r.progress.show(r.own)
	return nil
}

// goOnWith says which unfinished tasks were found.
func (r *runner) goOnWith(ctx context.Context, tasks []tasker.Task) error {
	if len(tasks) == 0 {
		if r.def == nil {
			r.progress.say("nothing is unfinished here")
		}
		return nil
	}
	r.progress.say(fmt.Sprintf("found %s, going on:", plural(len(tasks), "unfinished task", "unfinished tasks")))
	for i, t := range tasks {
		if i == 10 {
			r.progress.say(fmt.Sprintf("  and %d more", len(tasks)-i))
		}
		task, err := r.host.engine.Task(ctx, t.ID)
		if err != nil {
			return err
		}
		v := viewOfTask(task)
		r.found = append(r.found, v)
		r.progress.show(v)
		if i < 10 {
			r.progress.say(fmt.Sprintf("  %s  %s, %d of %d steps, from %s", v.id, v.name, v.done(), len(v.steps), v.created.Local().Format("2006-01-02 15:04:05")))
		}
	}
	return nil
}

// over reports whether there is nothing left to wait for: with a new task, old ones that only wait are left alone.
func (r *runner) over() bool {
	if r.own != nil && !r.own.over() {
		return false
	}
	for _, v := range r.found {
		left := v.paused && v.waits(time.Now()) || r.own != nil && v.waits(time.Now())
		if !v.over() && !left {
			return false
		}
	}
	return true
}

// follow shows what happens until it is over or a signal comes, and says how it ended.
func (r *runner) follow(ctx context.Context, stop func() error) error {
	events, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan error, 1)
	if r.fetch(events); r.over() {
		ended <- nil
	} else {
		go func() {
			from := tasker.ReplayOptions{From: attached.FromPosition(r.cursor.String()), Follow: true}
			ended <- follow(events, r.host.engine, from, r.progress, func() bool {
				r.fetch(events)
				return r.over()
			})
		}()
	}
	var err error
	select {
	case err = <-ended:
	case <-r.host.done:
		err = r.host.err
		cancel()
		<-ended
	case <-ctx.Done():
		r.progress.say(fmt.Sprintf("stopping: running steps have %s to end; Ctrl-C again stops at once", span(runDrain)))
		err = stop()
		cancel()
		<-ended
	}
	if err != nil {
		return err
	}
	return r.conclude()
}

// fetch reads the own task when it is over, while the engine still answers.
func (r *runner) fetch(ctx context.Context) {
	if r.own == nil || !r.own.over() || r.final != nil {
		return
	}
	task, err := r.host.engine.Task(ctx, r.own.id)
	if err != nil {
		r.progress.say("warning: the result cannot be read: " + err.Error())
		return
	}
	r.final = task
}

// conclude prints the result, and gives the exit code.
func (r *runner) conclude() error {
	r.progress.close()
	left := 0
	for _, v := range r.found {
		if !v.over() {
			left++
		}
	}
	ownLeft := r.own != nil && r.final == nil
	if ownLeft {
		left++
	}
	if left > 0 {
		r.progress.say(fmt.Sprintf("%s unfinished; to go on: %s", plural(left, "task is", "tasks are"), r.continueCommand()))
	}
	switch {
	case ownLeft, r.own == nil && left > 0 && r.signals.ctx.Err() != nil:
		return &failure{code: r.signals.code, err: errInterrupted, quiet: true}
	case r.own == nil:
		return r.concludeFound()
	}
	return r.printResult()
}

// concludeFound is the end of --continue: like that of a task, for all of them.
func (r *runner) concludeFound() error {
	var failed []string
	for _, v := range r.found {
		if v.over() && v.state != domain.Complete && v.state != domain.ResolvedManually {
			failed = append(failed, v.id.String())
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &failure{
		code: exitFailed, err: fmt.Errorf("%s not complete: %s", plural(len(failed), "task is", "tasks are"), strings.Join(failed, ", ")),
		hint: r.historyHint(failed[0]),
	}
}

func (r *runner) continueCommand() string { return "tasker run --continue" + r.dataFlag() }

func (r *runner) historyHint(id string) string {
	return "to see everything that happened: tasker task history " + id + r.dataFlag()
}

func (r *runner) dataFlag() string {
	if r.flags.data == defaultData {
		return ""
	}
	return " --data " + r.flags.data
}

// runReport is what --output json prints.
type runReport struct {
	Task       tasker.TaskID     `json:"task"`
	Namespace  string            `json:"namespace"`
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	State      domain.State      `json:"state"`
	Result     json.RawMessage   `json:"result,omitempty"`
	Failed     domain.FailReason `json:"failed,omitempty"`
	Steps      []runStep         `json:"steps"`
	DurationMS float64           `json:"duration_ms"`
	Data       string            `json:"data"`
	Durability string            `json:"durability"`
}

type runStep struct {
	Name     string            `json:"name"`
	State    domain.State      `json:"state"`
	Attempts int               `json:"attempts"`
	Error    *domain.StepError `json:"error,omitempty"`
}

func (r *runner) printResult() error {
	t := r.final
	if r.flags.output == "json" {
		report := runReport{
			Task: t.ID, Namespace: t.Namespace, Name: t.Name, Version: t.Version, State: t.State, Result: t.Result, Failed: t.Failed,
			DurationMS: float64(t.EndedAt.Sub(t.CreatedAt).Microseconds()) / 1000,
			Data:       r.host.server.Dir(), Durability: r.host.engine.Info().Durability,
		}
		for _, s := range t.Steps {
			report.Steps = append(report.Steps, runStep{s.Name, s.State, s.Attempt, s.Error})
		}
		if err := printJSON(r.out, report); err != nil {
			return err
		}
	} else if t.State == domain.Complete {
		r.printf("%s\n", pretty(t.Result))
	}
	if t.State == domain.Complete || t.State == domain.ResolvedManually {
		return nil
	}
	return taskFailed(t, r.historyHint(t.ID.String()))
}

// taskFailed says which steps made the task fail, and why.
func taskFailed(t *tasker.Task, hint string) error {
	text := fmt.Sprintf("task %s %s", t.ID, word(t.State))
	if t.Failed == domain.FailDeadline {
		text += ": its deadline has passed"
	}
	var lines []string
	for _, s := range t.Steps {
		if s.State != domain.Error {
			continue
		}
		line := "step " + s.Name
		if s.Attempt > 1 {
			line += fmt.Sprintf(" (attempt %d)", s.Attempt)
		}
		if s.Error != nil {
			line += ": " + errorText(s.Error)
			if s.Error.Code != "" {
				line += " [" + s.Error.Code + "]"
			}
		}
		lines = append(lines, line)
	}
	switch {
	case len(lines) == 1:
		text += ": " + lines[0]
	case len(lines) > 1:
		text += ":\n  " + strings.Join(lines, "\n  ")
	}
	return &failure{code: exitFailed, err: errors.New(text), hint: hint}
}

// printJSON prints a value for programs: one line.
func printJSON(w io.Writer, v any) error {
	return json.NewEncoder(w).Encode(v)
}

// pretty is JSON for people.
func pretty(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") != nil {
		return string(text)
	}
	return b.String()
}
