package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/sqlite"
)

// indexDir says to the test binary that it is the child of the test of the index, and where its data is.
const indexDir = "TASKER_CRASH_INDEX"

// indexChild runs an engine with an index under load until it is killed. It prints a line for every task that was
// acknowledged.
func indexChild() int {
	ctx, cancel := context.WithTimeout(context.Background(), maxChild)
	defer cancel()
	dir := os.Getenv(indexDir)
	err := withIndexedEngine(ctx, dir, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), func(e *tasker.Engine) error {
		return generate(ctx, e, 40, &killer{})
	})
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

func withIndexedEngine(ctx context.Context, dir string, log *slog.Logger, use func(e *tasker.Engine) error) error {
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: filepath.Join(dir, "data"), Durability: natsserver.Interval, Logger: log})
	if err != nil {
		return err
	}
	engine, err := tasker.New(ctx, tasker.Config{Connect: server.Connect, Logger: log, Index: filepath.Join(dir, "index.db"), Drain: -1})
	if err != nil {
		return errors.Join(err, server.Shutdown(ctx))
	}
	runs, err := os.OpenFile(filepath.Join(dir, "runs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		err = engine.Register(childWorkflows(runs, &killer{})...)
	}
	if err != nil {
		return errors.Join(err, server.Shutdown(ctx))
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { err = engine.Run(work) })
	select {
	case <-engine.Ready():
	case <-ctx.Done():
	}
	used := use(engine)
	stop()
	running.Wait()
	return errors.Join(used, err, runs.Close(), server.Shutdown(ctx))
}

// An index whose process was killed while it wrote goes on from its last batch: in the end it is the index that a rebuild makes.
func TestAnIndexThatWasKilledIsWhatARebuildMakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tasks := 0
	for range 2 {
		tasks += runUntilKilled(t, dir, 100+rand.IntN(300))
	}
	log, _ := logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), maxChild)
	defer cancel()
	if err := withIndexedEngine(ctx, dir, log, func(e *tasker.Engine) error { return settle(ctx, e, tasks) }); err != nil {
		t.Fatal(err)
	}
	server, err := natsserver.Start(ctx, natsserver.Options{Dir: filepath.Join(dir, "data"), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	client, err := tasker.NewClient(ctx, tasker.Config{Connect: server.Connect, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.BuildIndex(ctx, filepath.Join(dir, "new.db"), nil); err != nil {
		t.Fatal(err)
	}
	data := client.Info()
	client.Close()
	if err := server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contents(t, filepath.Join(dir, "new.db"), data), contents(t, filepath.Join(dir, "index.db"), data)); diff != "" {
		t.Errorf("the index differs from one that was made anew (-new +old):\n%.4000s", diff)
	}
}

// runUntilKilled runs the child until so many tasks were acknowledged, and kills it.
func runUntilKilled(t *testing.T, dir string, after int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), indexDir+"="+dir)
	errs := &tail{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(maxChild, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if n++; n == after {
			_ = cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || n < after {
		t.Fatalf("the child ended with %v after %d tasks:\n%s", err, n, errs)
	}
	return n
}

// settle waits until every task has ended and the index says so.
func settle(ctx context.Context, e *tasker.Engine, atLeast int) error {
	for ctx.Err() == nil {
		end, err := e.LogEnd(ctx)
		if err != nil {
			return err
		}
		counts, err := e.CountTasks(ctx, tasker.TaskQuery{}, end...)
		if err != nil {
			return err
		}
		if live := counts.States[domain.Pending] + counts.States[domain.InProgress]; live > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		if counts.Total < int64(atLeast) {
			return fmt.Errorf("%d tasks are in the index, %d were acknowledged", counts.Total, atLeast)
		}
		return nil
	}
	return ctx.Err()
}

// contents is everything that an index says.
func contents(t *testing.T, path string, data domain.DataInfo) map[string]string {
	t.Helper()
	x, err := sqlite.Open(t.Context(), path, sqlite.Options{Data: data, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	all := map[string]string{}
	put := func(key string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = string(text)
	}
	for q := (tasker.TaskQuery{Limit: tasker.MaxTaskLimit}); ; {
		page, err := x.Tasks(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Tasks {
			put("task "+row.ID.String(), row)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	for q := (tasker.StepQuery{Limit: tasker.MaxTaskLimit}); ; {
		page, err := x.Steps(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Steps {
			put("step "+row.Task.String()+" "+row.Step, row)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	stats, err := x.Analyze(t.Context(), tasker.AnalyticsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	put("definitions", stats.Definitions)
	counts, err := x.Count(t.Context(), tasker.TaskQuery{})
	if err != nil {
		t.Fatal(err)
	}
	put("counts", counts.States)
	return all
}
