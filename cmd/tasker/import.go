package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
)

type importFlags struct {
	connectFlags
	goOn     bool
	replicas int
	output   string
}

func newImportCommand(a *app) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Make a log of what tasker export has written", Args: arguments("FILE"),
		Long: "Make a new data directory, or fill a NATS that holds no log yet, from the export of a whole log. It folds to the same\n" +
			"state, with the same ids of tasks and events. The file is checked to its end before anything is stored; a data\n" +
			"directory appears when it is whole.\n\n" +
			"When the log has live tasks, --continue must be given: they go on as soon as a server runs on the new log, and would\n" +
			"be run twice if the log that was exported is still in use.",
		Example: "  tasker import log.jsonl --data ./restored\n  tasker import log.jsonl --continue --url nats://host:4222",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			return a.importFile(cmd.Context(), args[0], f)
		},
	}
	f.named = true // a new log is made where it is said, not where one works at the moment
	f.add(cmd)
	cmd.Flags().BoolVar(&f.goOn, "continue", false, "live tasks go on in the new log: nothing else runs them any more")
	cmd.Flags().IntVar(&f.replicas, "replicas", 0, "replicas of the streams on an external NATS: 1, 3 or 5 (default 1)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "what stdout gets: text or json")
	return cmd
}

func (a *app) importFile(ctx context.Context, path string, f importFlags) error {
	file, err := os.Open(path) // #nosec G304 -- the user's own
	if err != nil {
		return &failure{code: exitUsage, err: err}
	}
	defer func() { _ = file.Close() }()
	config := tasker.Config{Logger: a.logger(a.stderrLines(), true), Replicas: f.replicas, NATSContext: f.context}
	o := tasker.ImportOptions{File: path, Continue: f.goOn}
	var report tasker.ImportReport
	into := "NATS" // its URL may have a token in it
	switch {
	case f.url != "":
		if err := f.access.useURL(&config, f.url); err != nil {
			return err
		}
		report, err = tasker.Import(ctx, config, file, o)
	case f.context != "":
		into = "NATS context " + f.context
		report, err = tasker.Import(ctx, config, file, o)
	default:
		into = shownPath(f.data)
		report, err = a.importDirectory(ctx, f.data, config, file, o)
	}
	if err != nil {
		return importError(err)
	}
	if f.output == "json" {
		return printJSON(a.out, report)
	}
	a.printf("imported %s, %s, into %s\n", plural(report.Messages, "message", "messages"), plural(report.Events, "event", "events"), into)
	if report.Live > 0 {
		a.printf("%s will go on when a server runs there\n", plural(report.Live, "task", "tasks"))
	}
	return nil
}

// importDirectory imports into a directory beside the new one, which gets its name when everything is in it.
func (a *app) importDirectory(ctx context.Context, data string, config tasker.Config, file *os.File, o tasker.ImportOptions) (report tasker.ImportReport, err error) {
	entries, err := os.ReadDir(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return report, &failure{code: exitUsage, err: err}
	}
	if len(entries) > 0 {
		return report, &failure{
			code: exitUsage, err: fmt.Errorf("%s is not empty", shownPath(data)), hint: "name a directory that does not exist with --data: a log is imported into a new one",
		}
	}
	data = filepath.Clean(data)
	if err := os.MkdirAll(filepath.Dir(data), 0o750); err != nil {
		return report, err
	}
	part, err := os.MkdirTemp(filepath.Dir(data), filepath.Base(data)+".part-*")
	if err != nil {
		return report, err
	}
	defer func() { _ = os.RemoveAll(part) }()
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: part, Durability: natsserver.Strict, Logger: a.logger(a.stderrLines(), false)})
	if err != nil {
		return report, err
	}
	config.Connect = func(opts ...nats.Option) (*nats.Conn, error) { return server.Connect(opts...) }
	config.StoreLimit, config.Durability = server.MaxStore(), string(natsserver.Strict)
	report, err = tasker.Import(ctx, config, file, o)
	if err := errors.Join(err, (&host{server: server}).stopServer()); err != nil {
		return report, err
	}
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is empty
		return report, err
	}
	if err := os.Rename(part, data); err != nil {
		return report, err
	}
	return report, syncDirectory(filepath.Dir(data))
}

// syncDirectory brings the names in a directory to the disk.
func syncDirectory(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the user's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func importError(err error) error {
	var bad *tasker.ImportError
	var live *tasker.LiveTasksError
	switch {
	case errors.As(err, &bad):
		return &failure{code: exitUsage, err: bad} // it begins with the file and the line
	case errors.As(err, &live):
		return &failure{code: exitUsage, err: live, hint: "when the log that they come from is not used any more: tasker import --continue"}
	}
	return err
}
