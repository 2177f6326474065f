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
	task, from, output string
	types              []string
	follow             bool
}

func newEventsCommand(a *app) *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use: "events", Short: "Print the events of the log, and follow it", Args: arguments(),
		Long: "Print what happened, event by event: of all tasks or of one, from the beginning or from a place or time on.\n" +
			"With --follow, go on with what happens next, until Ctrl-C. It reads a running server's log, or, when none runs,\n" +
			"the data directory itself.\n\n" +
			"--type also takes the signals that follow from the stored events, such as observability.step.backoff, events that\n" +
			"a definition declares, such as custom.order.shipped, and families: task.*, step.*, workflow.*, observability.*,\n" +
			"custom.*. Without it, every stored event is printed, and no signal.\n\n" +
			"--from is beginning, oldest (what is left of a log whose beginning was pruned), new, an event's id such as\n" +
			"00-123-4, a cursor, a time such as 2026-01-31T12:00:00Z or 2026-01-31, or an age such as 10m or 3d.",
		Example: "  tasker events --task 0190c2a5-7d3e-7000-8000-000000000000\n  tasker events --type task.failed --type step.failed --from 1d\n  tasker events --follow --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
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
				wanted, err := f.after(cmd.Context(), c, &o)
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
	flags.StringVar(&f.from, "from", "", "where to begin (default: oldest, with --follow new)")
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens next")
	flags.StringVarP(&f.output, "output", "o", "text", "what stdout gets: text or json, one object per event")
	return cmd
}

// options translates the flags.
func (f *eventFlags) options(now time.Time) (tasker.ReplayOptions, error) {
	o := tasker.ReplayOptions{Follow: f.follow}
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
	o.From, err = f.start(now)
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

func (f *eventFlags) start(now time.Time) (attached.Start, error) {
	switch f.from {
	case "":
		if f.follow {
			return attached.FromNew, nil
		}
		return attached.FromOldest, nil
	case "beginning":
		return attached.FromBeginning, nil
	case "oldest":
		return attached.FromOldest, nil
	case "new":
		return attached.FromNew, nil
	}
	if _, err := domain.ParsePosition(f.from); err == nil {
		return attached.FromOldest, nil // see after
	}
	if _, err := domain.ParseCursor(f.from); err == nil {
		return attached.FromPosition(f.from), nil
	}
	for _, format := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(format, f.from, time.Local); err == nil {
			return attached.FromTime(t), nil
		}
	}
	if age, err := parseAge(strings.TrimPrefix(f.from, "-")); err == nil {
		return attached.FromTime(now.Add(-age)), nil
	}
	return attached.Start{}, usageError("--from %q is neither beginning, oldest or new, nor a position, a time or an age", f.from)
}

// clockSlack is how far the clocks of an engine and of the server may be apart (DESIGN 5), with a margin.
const clockSlack = time.Minute

// after makes a start of the id of an event, which is a place in one partition: there it begins with that event, and in
// the others with what has happened since.
func (f *eventFlags) after(ctx context.Context, c *connection, o *tasker.ReplayOptions) (wanted func(tasker.Event) bool, err error) {
	all := func(tasker.Event) bool { return true }
	at, err := domain.ParsePosition(f.from)
	if err != nil {
		return all, nil //nolint:nilerr // it is something else
	}
	first, err := c.Event(ctx, at)
	if err != nil {
		return nil, err
	}
	o.From = attached.FromTime(first.At.Time().Add(-clockSlack))
	return func(e tasker.Event) bool {
		if p := e.Position; p.Partition == at.Partition {
			return p.Sequence > at.Sequence || p.Sequence == at.Sequence && p.Index >= at.Index
		}
		return e.At >= first.At
	}, nil
}

func (a *app) events(ctx context.Context, c *connection, o tasker.ReplayOptions, wanted func(tasker.Event) bool, output string) error {
	s := styleFor(a.out)
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
		default:
			_, err = fmt.Fprintln(a.out, eventLine(s, e))
		}
		if err != nil {
			return err // nobody reads any more
		}
	}
	return nil
}

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
