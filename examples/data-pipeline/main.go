// Command data-pipeline imports three files, row by row, and goes on where it was when it is killed.
//
//	go run ./examples/data-pipeline -crash-at 1700
//	go run ./examples/data-pipeline
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/local"
)

func main() {
	dir := flag.String("data", filepath.Join(os.TempDir(), "tasker-data-pipeline"), "where everything is kept; remove it to begin anew")
	crashAt := flag.Int("crash-at", 0, "die at this row of orders.csv, as with kill -9")
	quick := flag.Bool("quick", false, "bypass the step that lets the warehouse settle")
	flag.Parse()
	p := &pipeline{dir: *dir, out: os.Stdout, pace: time.Millisecond}
	if *crashAt > 0 {
		p.row = func(_ context.Context, file string, row int) error {
			if file == "orders.csv" && row == *crashAt {
				fmt.Printf("  the process dies at row %d of orders.csv\n", row)
				os.Exit(137) // nothing is closed, flushed or said
			}
			return nil
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, p, *quick)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, p *pipeline, quick bool) error {
	if err := writeSources(p.dir); err != nil {
		return err
	}
	return local.Run(ctx, local.Options{
		Dir:      filepath.Join(p.dir, "log"),
		Drain:    -1, // a step that resumes need not be waited for
		Register: func(engine *tasker.Engine) error { return engine.Register(p.workflow()) },
	}, func(ctx context.Context, engine *tasker.Engine) error {
		var options []tasker.SubmitOption
		if quick {
			options = append(options, tasker.Bypass("settle"))
		}
		return story(ctx, p.out, engine, options...)
	})
}

// story submits the import, or finds the one that another process began, and waits for its end.
func story(ctx context.Context, out io.Writer, engine *tasker.Engine, options ...tasker.SubmitOption) error {
	// The key makes all starts of the program one task.
	receipt, err := engine.Submit(ctx, "nightly_import", nil, append(options, tasker.Key("tonight"))...)
	if err != nil {
		return err
	}
	if !receipt.Created {
		_, _ = fmt.Fprintln(out, "this import was begun before")
	}
	result, err := engine.Wait(ctx, receipt.ID)
	if errors.Is(err, context.Canceled) {
		_, _ = fmt.Fprintln(out, "stopped: start it again, and it goes on")
		return nil
	}
	if err != nil {
		return err
	}
	if err := local.Timeline(ctx, out, engine, receipt.ID); err != nil {
		return err
	}
	imported := tasker.ReplayOptions{Task: receipt.ID, Types: []tasker.EventType{domain.CustomType(fileImported)}}
	for event, err := range engine.Replay(ctx, imported) {
		if err != nil {
			return err
		}
		e := event.Event.(domain.Custom)
		_, _ = fmt.Fprintf(out, "event %s of %s: %s\n", e.Type(), e.Step, e.Data)
	}
	_, _ = fmt.Fprintf(out, "result: %s\n", result.Value)
	return nil
}
