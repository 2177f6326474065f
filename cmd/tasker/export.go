package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
)

type exportFlags struct {
	connectFlags
	task, output string
}

func newExportCommand(a *app) *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use: "export", Short: "Write the log, or the history of a task, as JSON lines", Args: arguments(),
		Long: "Write everything that is stored, as JSON lines that `tasker import` makes a log of which folds to the same state; or,\n" +
			"with --task, the history of one task with its definition. It may run beside a server; what is\n" +
			"stored after it began is left out. Payloads of more than 128 KiB are part of it, cursors of subscribers and dead\n" +
			"letters are not. docs/replay.md describes the lines.\n\n" +
			"--output FILE appears under its name when it is whole. An existing file is not overwritten.",
		Example: "  tasker export --output log.jsonl\n  tasker export --task 0190c2a5-7d3e-7000-8000-000000000000 | head -1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var o tasker.ExportOptions
			if f.task != "" {
				id, err := tasker.ParseTaskID(f.task)
				if err != nil {
					return badInput(err, "tasker task list shows the ids")
				}
				o.Task = id
			}
			return a.with(cmd.Context(), f.connectFlags, readsLog, func(c *connection) error { return a.export(cmd.Context(), c, o, f.output) })
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.task, "task", "", "only this task")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "file to write (default: stdout)")
	return cmd
}

func (a *app) export(ctx context.Context, c *connection, o tasker.ExportOptions, path string) error {
	if path == "" || path == "-" {
		_, err := c.Export(ctx, a.out, o)
		return exportError(err)
	}
	var report tasker.ExportReport
	err := writeWhole(path, func(w io.Writer) error {
		var err error
		report, err = c.Export(ctx, w, o)
		return exportError(err)
	})
	if err != nil {
		return err
	}
	what := plural(report.Messages, "message", "messages") + " of the log"
	if !o.Task.IsZero() {
		what = plural(report.Events, "event", "events") + " of task " + o.Task.String()
	}
	a.printf("exported %s to %s\n", what, path)
	return nil
}

func exportError(err error) error {
	var trimmed *tasker.HistoryTrimmedError
	if errors.As(err, &trimmed) {
		return &failure{code: exitEngine, err: err, hint: "tasker export without --task exports what is left, with the snapshot that stands for the rest"}
	}
	return err
}

// writeWhole makes a file that is there when it is whole and on the disk, or not at all. It overwrites nothing.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return &failure{code: exitUsage, err: err}
	}
	defer func() {
		_ = part.Close()
		_ = os.Remove(part.Name())
	}()
	if _, err := os.Lstat(path); err == nil {
		return &failure{code: exitUsage, err: fmt.Errorf("%s exists", path), hint: "name another file, or remove it"}
	}
	if err := write(part); err != nil {
		return err
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Link(part.Name(), path); err != nil { // somebody else may have made it meanwhile
		return err
	}
	return syncDirectory(filepath.Dir(path))
}
