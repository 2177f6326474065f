package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers/attached"
)

type eventFlags struct {
	connectFlags
	task, from, until     string
	namespace, definition string
	output                string
	types                 []string
	follow                bool
}

func newEventsCommand(a *app) *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use: "events", Short: "Print the events of the log, and follow it", Args: arguments(),
		Long: "Print what happened, event by event: of all tasks or of some, from the beginning or from a place or time on.\n" +
			"With --follow, go on with what happens next, until Ctrl-C. It reads a running server's log, or, when none runs,\n" +
			"the data directory itself.\n\n" +
			"--type also takes the signals that follow from the stored events, such as observability.step.backoff, events that\n" +
			"a definition declares, such as custom.order.shipped, and families: task.*, step.*, workflow.*, observability.*,\n" +
			"custom.*. Without it, every stored event is printed, and no signal.\n\n" +
			"--from is beginning, oldest (what is left of a log whose beginning was pruned), new, an event's id such as\n" +
			"00-123-4, a cursor, a time such as 2026-01-31T12:00:00Z or 2026-01-31, or an age such as 10m or 3d. So is --until, but\n" +
			"for beginning, oldest and new: the event that it names is the last one, what was stored at its time or later is left\n" +
			"out. Without it, the end is what was stored when the command began.\n\n" +
			"--output cloudevents prints each event in the JSON format of CloudEvents 1.0, one per line.",
		Example: "  tasker events --task 0190c2a5-7d3e-7000-8000-000000000000\n  tasker events --type task.failed --type step.failed --from 1d\n" +
			"  tasker events --namespace shop --definition order@1.4.0 --from 2026-01-31 --until 2026-02-01\n  tasker events --follow --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.output != outputCloudEvents && checkOutput(f.output) != nil {
				return usageError("--output must be text, json or %s, not %q", outputCloudEvents, f.output)
			}
			o, err := f.options(time.Now())
			if err != nil {
				return err
			}
			need := readsLog
			if f.follow {
				need = needsServer // nothing is appended to a directory that this command holds
			}
			return a.with(cmd.Context(), f.connectFlags, need, func(c *connection) error {
				wanted, err := f.between(cmd.Context(), c, &o)
				if err != nil {
					return err
				}
				return a.events(cmd.Context(), c, o, wanted, f.output)
			})
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.task, "task", "", "only the events of this task")
	flags.StringArrayVar(&f.types, "type", nil, "only events of this type, such as step.failed or workflow.*; may be repeated")
	flags.StringVar(&f.namespace, "namespace", "", "only the events of tasks of this namespace")
	flags.StringVar(&f.definition, "definition", "", "only the events of tasks of this definition: NAME or NAME@VERSION")
	flags.StringVar(&f.from, "from", "", "where to begin (default: oldest, with --follow new)")
	flags.StringVar(&f.until, "until", "", "where to end (default: what was stored when the command began)")
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens next")
	flags.StringVarP(&f.output, "output", "o", "text", "what stdout gets: text, json or cloudevents, one object per event")
	return cmd
}

// options translates the flags.
func (f *eventFlags) options(now time.Time) (tasker.ReplayOptions, error) {
	o := tasker.ReplayOptions{Follow: f.follow, Namespace: f.namespace, Definition: f.definition}
	if f.follow && f.until != "" {
		return o, usageError("either --follow or --until")
	}
	if name, version, versioned := strings.Cut(f.definition, "@"); f.definition != "" && (name == "" || versioned && version == "") {
		return o, usageError("--definition must be NAME or NAME@VERSION, not %q", f.definition)
	}
	if f.task != "" {
		id, err := tasker.ParseTaskID(f.task)
		if err != nil {
			return o, badInput(err, "tasker task list shows the ids")
		}
		o.Task = id
	}
	for _, name := range f.types {
		o.Types = append(o.Types, domain.EventType(name))
	}
	if err := checkTypes(o.Types); err != nil {
		return o, err
	}
	var err error
	if o.From, err = f.start(now); err == nil {
		o.Until, err = f.end(now)
	}
	return o, err
}

// checkTypes refuses what the log never has.
func checkTypes(types []domain.EventType) error {
	set, err := domain.NewEventSet(types)
	var bad *domain.EventTypeError
	switch live := set.NamedLive(); {
	case errors.As(err, &bad):
		hint := bad.Hint
		if hint == "" {
			hint = "there are: " + typeNames()
		}
		return &failure{code: exitUsage, err: fmt.Errorf("%q is no type of an event", bad.Type), hint: hint}
	case err != nil:
		return err
	case len(live) > 0:
		return badInput(fmt.Errorf("%q is not in the log, and follows from nothing that is", live[0]),
			"only a program that runs the engine itself can hear it, with Engine.Tap")
	}
	return nil
}

func typeNames() string {
	var names []string
	for _, t := range domain.Types() {
		names = append(names, string(t))
	}
	for _, entry := range domain.SignalCatalogue() {
		if !entry.Live {
			names = append(names, string(entry.Type))
		}
	}
	return strings.Join(names, ", ") + ", custom.NAME, and task.*, step.*, workflow.*, observability.*, custom.*"
}

func (a *app) events(ctx context.Context, c *connection, o tasker.ReplayOptions, wanted func(tasker.Event) bool, output string) error {
	s := styleFor(a.out)
	source := domain.CloudEventSource(c.Info().ID)
	for e, err := range c.Replay(ctx, o) {
		var trimmed attached.ErrTrimmed
		switch {
		case errors.As(err, &trimmed):
			return &failure{code: exitEngine, err: err, hint: "--from oldest begins with what is left"}
		case err != nil:
			return err
		case !wanted(e):
		case output == "json":
			err = printJSON(a.out, eventOf(e))
		case output == outputCloudEvents:
			event := domain.CloudEventOf(e, source)
			_, err = a.out.Write(append(event.AppendJSON(nil), '\n'))
		default:
			_, err = fmt.Fprintln(a.out, eventLine(s, e))
		}
		if err != nil {
			return err // nobody reads any more
		}
	}
	return nil
}

// outputCloudEvents is the format of --output for those who know nothing of Tasker.
const outputCloudEvents = "cloudevents"

// eventJSON is an event with everything that the log leaves out.
type eventJSON struct {
	ID      string           `json:"id"`
	Type    domain.EventType `json:"type"`
	At      domain.Instant   `json:"at"`
	Task    tasker.TaskID    `json:"task,omitzero"`
	Step    string           `json:"step,omitempty"`
	Attempt int              `json:"attempt,omitempty"`
	Actor   domain.Actor     `json:"actor"`
	Cause   string           `json:"cause,omitempty"`
	Data    json.RawMessage  `json:"data,omitempty"`
}

func eventOf(e tasker.Event) eventJSON {
	j := eventJSON{
		ID: e.ID(), Type: e.Event.Type(), At: e.At, Task: e.Task, Actor: e.Actor(), Cause: e.Cause, Data: domain.EventData(e.Event),
	}
	if about, ok := e.Event.(domain.StepEvent); ok {
		j.Step, j.Attempt = about.StepName(), about.AttemptNumber()
	} else if unknown, ok := e.Event.(domain.Unknown); ok {
		j.Step, j.Attempt = unknown.Step, unknown.Attempt
	}
	return j
}

// eventLine is an event for people: time, id, task, type, step and attempt, and what it says.
func eventLine(s style, e tasker.Event) string {
	j := eventOf(e)
	task := pad("", 9)
	if !e.Task.IsZero() {
		task = shortID(e.Task)
	}
	text := pad(string(j.Type), 31)
	if slices.Contains([]domain.EventType{domain.TaskFailedType, domain.StepFailedType}, j.Type) {
		text = s.bad(text)
	}
	if j.Type == domain.TaskCompletedType {
		text = s.good(text)
	}
	line := fmt.Sprintf("%s  %s  %s  %s", s.faint(precise(e.At.Time())), pad(j.ID, 10), task, text)
	if j.Step != "" {
		line += "  " + j.Step
		if j.Attempt > 1 {
			line += fmt.Sprintf(" (attempt %d)", j.Attempt)
		}
	}
	if len(j.Data) > 0 {
		line += "  " + s.faint(cut(oneLine(string(j.Data)), 120))
	}
	return strings.TrimRight(line, " ")
}
