package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// listFlags choose tasks. Those of indexed need an index.
type listFlags struct {
	states, fields                 []string
	waiting, since, until, sort    string
	paused, reverse                bool
	limit                          int
	dependentSystem, after, output string
	query                          tasker.TaskQuery
}

// indexed are the flags that only an index can answer.
var indexed = []string{
	"version", "tag", "initiator", "source-system", "correlation", "text", "field", "waiting", "paused", "since", "until", "sort", "reverse", "after",
}

func newTaskListCommand(a *app) *cobra.Command {
	var f connectFlags
	var l listFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List tasks, the newest first", Args: arguments(),
		Long: "List tasks, the newest first: through the index of the server, if it has one, all of them; else those that are live, that\n" +
			"have failed, and that ended last. What stands behind \"index:\" needs one (docs/index.md); a data directory without a server\n" +
			"is indexed for it.",
		Example: "  tasker task list --state error --since 24h --sort retries\n" +
			"  tasker task list --field customer.id=c-17 --text \"card declined\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			needed, err := l.read(cmd)
			if err != nil {
				return err
			}
			f.index = needed || hasIndex(f.data)
			return a.with(cmd.Context(), f, needsEngine, func(c *connection) error { return a.listTasks(cmd.Context(), c, &l, f.index, needed) })
		},
	}
	f.add(cmd)
	l.add(cmd)
	return cmd
}

func (l *listFlags) add(cmd *cobra.Command) {
	flags, q := cmd.Flags(), &l.query
	flags.StringSliceVar(&l.states, "state", nil, "only tasks in these states, such as error or in_progress")
	flags.StringVar(&q.Name, "name", "", "only tasks of this definition")
	flags.StringSliceVar(&q.Namespaces, "namespace", nil, "only tasks of this namespace; several: of any of them")
	flags.StringVar(&l.dependentSystem, "dependent-system", "", "only tasks with a step that talks to this outside system; without an index")
	flags.IntVar(&l.limit, "limit", 50, "at most so many")
	flags.StringVar(&q.Version, "version", "", "index: only tasks of this version of the definition")
	flags.StringArrayVar(&q.Tags, "tag", nil, "index: only tasks with this tag; may be repeated, all must be there")
	flags.StringVar(&q.Initiator, "initiator", "", "index: only tasks that this one asked for")
	flags.StringVar(&q.SourceSystem, "source-system", "", "index: only tasks from this system")
	flags.StringVar(&q.Correlation, "correlation", "", "index: only tasks with this correlation id")
	flags.StringVar(&q.Text, "text", "", "index: only tasks with these words in their errors, tags, reasons or annotations")
	flags.StringArrayVar(&l.fields, "field", nil, "index: NAME=VALUE of a context field that the definition indexes; may be repeated")
	flags.StringVar(&l.waiting, "waiting", "", "index: only live tasks that wait for this, such as retry_backoff or awaiting_dependencies")
	flags.BoolVar(&l.paused, "paused", false, "index: only paused tasks; --paused=false: only others")
	flags.StringVar(&l.since, "since", "", "index: only tasks created at or after this time, or so long ago: 2026-01-31T08:00:00Z, 24h, 7d")
	flags.StringVar(&l.until, "until", "", "index: only tasks created before this time, or so long ago")
	flags.StringVar(&l.sort, "sort", string(sorts[0]), "index: "+sortNames())
	flags.BoolVar(&l.reverse, "reverse", false, "index: the oldest, shortest, fewest first")
	flags.StringVar(&l.after, "after", "", "index: go on behind a list that said --after, with the same flags")
	addOutput(cmd, &l.output)
}

var sorts = []tasker.TaskSort{tasker.SortCreated, tasker.SortUpdated, tasker.SortEnded, tasker.SortDuration, tasker.SortRetries}

func sortNames() string {
	names := make([]string, len(sorts))
	for i, s := range sorts {
		names[i] = string(s)
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// read checks the flags; needed says that they need an index.
func (l *listFlags) read(cmd *cobra.Command) (needed bool, err error) {
	if err := checkOutput(l.output); err != nil {
		return false, err
	}
	if l.limit < 1 {
		return false, usageError("--limit must be at least 1")
	}
	q := &l.query
	if q.States, err = states(l.states); err != nil {
		return false, err
	}
	for _, name := range indexed {
		if !cmd.Flags().Changed(name) {
			continue
		}
		if needed = true; l.dependentSystem != "" {
			return false, usageError("--dependent-system and --%s exclude each other: an index does not know outside systems", name)
		}
	}
	q.Sort, q.Ascending, q.After, q.Waiting = tasker.TaskSort(l.sort), l.reverse, l.after, domain.WaitReason(l.waiting)
	if cmd.Flags().Changed("paused") {
		q.Paused = &l.paused
	}
	if q.CreatedAfter, err = timeFlag("since", l.since); err != nil {
		return false, err
	}
	if q.CreatedBefore, err = timeFlag("until", l.until); err != nil {
		return false, err
	}
	for _, field := range l.fields {
		name, value, ok := strings.Cut(field, "=")
		if !ok || name == "" {
			return false, usageError("--field %q: write it like NAME=VALUE", field)
		}
		if q.Fields == nil {
			q.Fields = map[string]string{}
		}
		q.Fields[name] = value
	}
	return needed, nil
}

// hasIndex reports whether the data directory has an index.
func hasIndex(data string) bool {
	_, err := os.Stat(filepath.Join(data, indexFile))
	return err == nil
}

// listTasks lists them through an index where there is one, unless what is asked for is no matter of an index.
func (a *app) listTasks(ctx context.Context, c *connection, l *listFlags, index, needed bool) error {
	if l.dependentSystem == "" && (c.idle == "" || index) {
		rows, next, err := a.findTasks(ctx, c, l)
		if err == nil {
			return a.printRows(rows, next, l.output)
		}
		if needed || !errors.Is(err, tasker.ErrNoIndex) {
			return indexFailure(err)
		}
	}
	q := &l.query
	if len(q.Namespaces) > 1 {
		return usageError("several namespaces need an index: serve has one unless --index is off")
	}
	tasks, err := c.Tasks(ctx, tasker.Filter{States: q.States, Name: q.Name, Namespace: strings.Join(q.Namespaces, ""), DependentSystem: l.dependentSystem, Limit: l.limit})
	if err = a.some(c, err); err != nil {
		return err
	}
	return a.printTasks(tasks, l.output)
}

// findTasks reads as many pages as the limit asks for.
func (a *app) findTasks(ctx context.Context, c *connection, l *listFlags) (rows []tasker.TaskRow, next string, err error) {
	q := l.query
	for {
		q.Limit = min(l.limit-len(rows), tasker.MaxTaskLimit)
		page, err := fresh(ctx, a, c, func(ctx context.Context, at ...tasker.Position) (tasker.TaskPage, tasker.IndexLag, error) {
			page, err := c.FindTasks(ctx, q, at...)
			return page, page.Lag, err
		})
		if err != nil {
			return nil, "", err
		}
		rows = append(rows, page.Tasks...)
		if q.After = page.Next; q.After == "" || len(rows) >= l.limit {
			return rows, page.Next, nil
		}
	}
}

func (a *app) printRows(rows []tasker.TaskRow, next, output string) error {
	if output == "json" {
		for i := range rows {
			if err := printJSON(a.out, rows[i]); err != nil {
				return err
			}
		}
	} else if len(rows) == 0 {
		_, _ = fmt.Fprintln(a.err, "no tasks")
	} else {
		t := taskTable(a)
		for _, r := range rows {
			took := ""
			if !r.EndedAt.IsZero() {
				took = span(r.Duration)
			}
			shown := tasker.Task{State: r.State, Paused: r.Paused, Waiting: r.Waiting, WaitingUntil: r.WaitingUntil}
			t.add(r.ID.String(), definitionName(r.Namespace, r.Name, r.Version), taskState(&shown), fmt.Sprintf("%d/%d", r.Steps.Complete, r.Steps.Total), moment(r.CreatedAt), took)
		}
		t.print(a.out)
	}
	if next != "" {
		_, _ = fmt.Fprintf(a.err, "there are more: --after %s\n", next)
	}
	return nil
}
