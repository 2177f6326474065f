package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tasker-go/tasker"
)

// fileImported is the event that says that a file has been imported to its last row.
const fileImported = "file.imported"

// checkpointEvery is how many rows are imported twice at most when a process dies.
const checkpointEvery = 500

// pipeline is what the handlers share.
type pipeline struct {
	dir string
	out io.Writer // for people, from several goroutines
	// pace is how long a hundred rows take, times the weight of the file.
	pace time.Duration

	// row is called behind every row; its error ends the attempt. nil does nothing.
	row func(ctx context.Context, file string, row int) error
}

// cursor is how far the import of a file has come.
type cursor struct {
	Row     int   `json:"row"`     // rows that are imported
	Read    int64 `json:"read"`    // bytes that they take in the source
	Written int64 `json:"written"` // and in the table
	Cents   int   `json:"cents"`   // their sum
}

// Imported is the result of an import, and the data of its event.
type Imported struct {
	File  string `json:"file"`
	Rows  int    `json:"rows"`
	Cents int    `json:"cents"`
}

func (p *pipeline) workflow() *tasker.Workflow {
	long := func(more ...tasker.StepOption) []tasker.StepOption {
		return append(more, tasker.After("check_sources"), tasker.Timeout(time.Hour), tasker.HeartbeatTimeout(2*time.Second),
			tasker.Emits(fileImported), tasker.DependentSystem("warehouse"))
	}
	return tasker.Define("nightly_import").
		Description("Import three files into the warehouse").
		Step("check_sources", tasker.Handle(p.check)).
		Step("import_customers", p.importer("customers.csv", 32), long()...).
		Step("import_orders", p.importer("orders.csv", 50), long()...).
		Step("import_clicks", p.importer("clicks.csv", 18), long(tasker.Optional())...).
		StepNamed("settle", "sleep", tasker.HandlerConfig(map[string]string{"duration": "300ms"}), tasker.Skippable(),
			tasker.Describe("The warehouse indexes what came"),
			tasker.After("import_customers", "import_orders", "import_clicks")).
		Step("report", tasker.Handle(p.report), tasker.After("settle")).
		Output("report").
		MustBuild()
}

// check counts the rows of every source.
func (p *pipeline) check(context.Context, struct{}) (map[string]int, error) {
	counts := map[string]int{}
	for name := range sources {
		text, err := os.ReadFile(sourceFile(p.dir, name))
		if err != nil {
			return nil, err
		}
		counts[name] = bytes.Count(text, []byte("\n"))
	}
	return counts, nil
}

// importer is a step that imports a file.
func (p *pipeline) importer(file string, weight int) tasker.StepHandler {
	return tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		rows, err := tasker.ResultOf[map[string]int](ctx, "check_sources")
		if err != nil {
			return nil, err
		}
		var at cursor // the beginning of the file, unless an earlier attempt came further
		resumed, err := step.Resume(&at)
		if err != nil {
			return nil, err
		}
		if resumed {
			p.say(step, "%s goes on behind row %d, in attempt %d", file, at.Row, step.Attempt)
		}
		t, err := openTransfer(p.dir, file, at)
		if err != nil {
			return nil, err
		}
		defer t.close()
		for at.Row < rows[file] {
			if err := t.next(&at); err != nil {
				return nil, err
			}
			if err := p.behind(ctx, file, at.Row, time.Duration(weight)*p.pace); err != nil {
				return nil, err
			}
			if at.Row%checkpointEvery != 0 && at.Row != rows[file] {
				continue
			}
			if err := t.flush(at); err != nil { // a checkpoint must not promise what is not on the disk
				return nil, err
			}
			if err := step.Checkpoint(ctx, at); err != nil {
				return nil, err
			}
			step.Progress(at.Row, rows[file], file)
			p.say(step, "%s has %d of %d rows", file, at.Row, rows[file])
		}
		result := Imported{File: file, Rows: at.Row, Cents: at.Cents}
		return result, step.Emit(fileImported, result) // in one commit with the result
	})
}

// behind is called behind every row.
func (p *pipeline) behind(ctx context.Context, file string, row int, pace time.Duration) error {
	if p.row != nil {
		if err := p.row(ctx, file, row); err != nil {
			return err
		}
	}
	if row%100 != 0 {
		return nil
	}
	select {
	case <-time.After(pace):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// say tells whoever watches the program, and whoever reads the step's log.
func (p *pipeline) say(step tasker.StepView, format string, args ...any) {
	step.Log(format, args...)
	_, _ = fmt.Fprintf(p.out, "  "+format+"\n", args...)
}

// Report is the result of the task.
type Report struct {
	Rows    int      `json:"rows"`
	Missing []string `json:"missing"`
}

func (p *pipeline) report(ctx context.Context, _ struct{}) (Report, error) {
	var r Report
	for _, step := range []string{"import_customers", "import_orders", "import_clicks"} {
		result, err := tasker.ResultOf[Imported](ctx, step)
		if errors.Is(err, tasker.ErrNoResult) { // it is optional, and failed
			r.Missing = append(r.Missing, step)
		} else if err != nil {
			return r, err
		}
		r.Rows += result.Rows
	}
	return r, nil
}
