package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

// indexFace is what engines and clients say about all tasks through an index.
type indexFace interface {
	FindTasks(ctx context.Context, q tasker.TaskQuery, at ...tasker.Position) (tasker.TaskPage, error)
	Analyze(ctx context.Context, q tasker.AnalyticsQuery, at ...tasker.Position) (tasker.Analytics, error)
	LogEnd(ctx context.Context) ([]tasker.Position, error)
	IndexStatus(ctx context.Context) (*tasker.IndexStatus, error)
	RebuildIndex(ctx context.Context, progress func(tasker.IndexRebuild)) error
}

// indexFile is where the index of a data directory is when nothing else is said.
const indexFile = "index.db"

func newIndexCommand(a *app) *cobra.Command {
	return group("index", "Look after what lists and analytics of all tasks are read from", newIndexStatusCommand(a), newIndexRebuildCommand(a))
}

func newIndexStatusCommand(a *app) *cobra.Command {
	var f connectFlags
	var output string
	cmd := &cobra.Command{
		Use: "status", Short: "Show how far the index of a running server is", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, needsServer, func(c *connection) error {
				s, err := c.IndexStatus(cmd.Context())
				if err != nil {
					return indexFailure(err)
				}
				if output == "json" {
					return printJSON(a.out, s)
				}
				a.printIndexStatus(s)
				return nil
			})
		},
	}
	f.add(cmd)
	addOutput(cmd, &output)
	return cmd
}

func (a *app) printIndexStatus(s *tasker.IndexStatus) {
	a.printf("index    %s\n", shownPath(s.Path))
	a.printf("engine   %s\n", s.Engine)
	a.printf("covers   %s\n", s.Lag.Covered)
	a.printf("behind   %s\n", behind(s.Lag))
	if r := s.Rebuild; r != nil && !r.Done {
		a.printf("rebuild  %s\n", rebuildLine(*r))
	} else if r != nil && r.Problem != "" {
		a.printf("rebuild  failed: %s\n", r.Problem)
	}
	if s.Problem != "" {
		a.printf("problem  %s, since %s; it is tried again by itself\n", s.Problem, moment(s.Since))
	}
}

// behind says how far an index is behind the log.
func behind(lag tasker.IndexLag) string {
	text := plural(int(lag.Commits), "commit", "commits") // #nosec G115 -- a number of messages
	if lag.Behind > 0 {
		text += ", " + span(lag.Behind)
	}
	return text
}

func rebuildLine(r tasker.IndexRebuild) string {
	text := plural(int(r.Events), "event", "events") // #nosec G115 -- a number of events
	if r.Total > 0 {
		text += fmt.Sprintf(", %d %%", min(100*r.Commits/r.Total, 100))
	}
	if s := r.Took.Seconds(); s > 0 && r.Events > 0 {
		text += fmt.Sprintf(", %.0f/s", float64(r.Events)/s)
	}
	return text
}

func newIndexRebuildCommand(a *app) *cobra.Command {
	var f connectFlags
	var path, output string
	cmd := &cobra.Command{
		Use: "rebuild", Short: "Make the index anew from the log", Args: arguments(),
		Long: "Make the index anew from the log. A running server does it beside its work, and answers from the old index until the new\n" +
			"one is there; on a data directory without a server, this process does it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return a.with(cmd.Context(), f, readsLog, func(c *connection) error {
				return a.rebuildIndex(cmd, c, f, path, output)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&path, "index", "", "file of the index, where no server runs (default "+indexFile+" in the data directory)")
	addOutput(cmd, &output)
	return cmd
}

func (a *app) rebuildIndex(cmd *cobra.Command, c *connection, f connectFlags, path, output string) error {
	var last tasker.IndexRebuild
	var said time.Time
	progress := func(r tasker.IndexRebuild) {
		last = r
		if !r.Done && time.Since(said) > time.Second {
			said = time.Now()
			_, _ = fmt.Fprintf(a.err, "%s\n", rebuildLine(r))
		}
	}
	said = time.Now()
	client, ok := c.face.(*tasker.Client)
	var err error
	switch {
	case c.alone && ok:
		if path == "" {
			path = filepath.Join(f.data, indexFile)
		}
		err = client.BuildIndex(cmd.Context(), path, progress)
	case path != "":
		return usageError("--index is for a data directory without a server: the running one knows where its index is")
	default:
		err = c.RebuildIndex(cmd.Context(), progress)
	}
	if err != nil {
		return indexFailure(err)
	}
	return a.did(output, last, "rebuilt: %s in %s", plural(int(last.Events), "event", "events"), span(last.Took)) // #nosec G115
}

// indexFailure is the error of a read through an index, with what to do.
func indexFailure(err error) error {
	var query *tasker.QueryError
	var broken *tasker.IndexUnavailableError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &query):
		return badInput(err, "")
	case errors.As(err, &broken):
		return &failure{code: exitEngine, err: err, hint: "see what the server logs, or make the index anew: tasker index rebuild"}
	case errors.Is(err, tasker.ErrNoIndex):
		return &failure{code: exitEngine, err: errors.New("the server has no index"), hint: "start it with `tasker serve --index PATH`, or with --http"}
	}
	return err
}

// freshPatience is how long a list waits for an index that is behind; then it is shown as it is, with a warning.
const freshPatience = 2 * time.Second

// fresh reads through the index what was stored before, or says how much of it is missing.
func fresh[T any](ctx context.Context, a *app, c *connection, read func(ctx context.Context, at ...tasker.Position) (T, tasker.IndexLag, error)) (T, error) {
	var none T
	end, err := c.LogEnd(ctx)
	if err != nil {
		return none, err
	}
	patience := freshPatience
	if c.idle != "" { // this process has just opened it
		patience = startTimeout
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, _, err := read(soon, end...)
	if !errors.Is(err, tasker.ErrBehind) {
		return answer, err
	}
	answer, lag, err := read(ctx)
	if err == nil {
		_, _ = fmt.Fprintf(a.err, "warning: the index is behind by %s: what is newer is missing\n", behind(lag))
	}
	return answer, err
}
