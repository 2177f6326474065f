package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// The child with a long step: this test binary, called again with these variables.
const (
	longStepDir   = "TASKER_LONG_STEP_DIR"   // where data and the file of handled items are
	longStepItems = "TASKER_LONG_STEP_ITEMS" // how many items the step has
)

const checkpointEvery = 10

// handled is the outside world of the step: a file that says what was done, in the order of doing.
type handled struct{ *os.File }

func (f handled) note(format string, args ...any) {
	if _, err := fmt.Fprintf(f, format+"\n", args...); err != nil {
		panic(err)
	}
}

func longStepChild() int {
	dir := os.Getenv(longStepDir)
	items, err := strconv.Atoi(os.Getenv(longStepItems))
	if err == nil {
		err = longStep(dir, items)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// longStep runs the one task until it is complete.
func longStep(dir string, items int) error {
	ctx := context.Background()
	file, err := os.OpenFile(filepath.Join(dir, "handled"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	srv, err := natsserver.Start(ctx, natsserver.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		return err
	}
	defer func() { _ = srv.Shutdown(ctx) }()
	e, err := tasker.New(ctx, tasker.Config{Connect: srv.Connect, Partitions: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	h := tasker.StepHandlerFunc(func(ctx context.Context, _ tasker.TaskView, _ tasker.Sequence, step tasker.StepView) (any, error) {
		return handleItems(ctx, handled{file}, items, step)
	})
	if err := e.Register(tasker.Define("items").Step("all", h, tasker.Timeout(0)).MustBuild()); err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(run) }()
	<-e.Ready()
	receipt, err := e.Submit(ctx, "items", map[string]any{}, tasker.Key("the one"))
	if err == nil {
		_, err = e.Wait(ctx, receipt.ID)
	}
	stop()
	return errors.Join(err, <-ended)
}

// handleItems is a handler as its users write it: it goes on behind its checkpoint, and stores what it has done.
func handleItems(ctx context.Context, out handled, items int, step tasker.StepView) (any, error) {
	done := 0
	if _, err := step.Resume(&done); err != nil {
		return nil, err
	}
	out.note("attempt %d from %d", step.Attempt, done)
	for done < items {
		done++
		time.Sleep(200 * time.Microsecond) // the work of an item
		out.note("item %d", done)
		fmt.Println(done) // the parent counts, and kills
		if done%checkpointEvery == 0 {
			if err := step.Checkpoint(ctx, done); err != nil {
				return nil, err
			}
			out.note("checkpoint %d", done)
		}
	}
	return done, nil
}

func TestALongStepGoesOnBehindItsCheckpointAfterEveryKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	kills, items := 6, 1000
	if *long {
		kills, items = 50, 10_000
	}
	t.Parallel()
	random := rand.New(rand.NewPCG(uint64(*seed), 3)) //nolint:gosec // a seed
	dir := t.TempDir()
	for kill := range kills {
		after := 1 + random.IntN(2*items/kills-items/kills/2)
		if kill%5 == 3 {
			after = 0 // while it starts, or before the first item
		}
		longStepLife(t, dir, items, after, random)
		if t.Failed() {
			t.Fatalf("kill %d, seed %d", kill, *seed)
		}
	}
	longStepLife(t, dir, items, -1, random)
	checkHandled(t, filepath.Join(dir, "handled"), items, kills)
}

// longStepLife is a child that is killed after so many items; -1: not at all.
func longStepLife(t *testing.T, dir string, items, after int, random *rand.Rand) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), longStepDir+"="+dir, longStepItems+"="+strconv.Itoa(items))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(maxChild, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()
	if after == 0 {
		early := time.AfterFunc(time.Duration(random.IntN(300))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		defer early.Stop()
	}
	n := 0
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if n++; n == after {
			_ = cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL; {
	case after < 0 && err == nil, after >= 0 && (killed || err == nil): // the early kill may come after the end
	default:
		t.Errorf("the child ended with %v after %d items:\n%s", err, n, last(stderr.String()))
	}
}

// checkHandled reads what was done: every item, and again only what came after the newest checkpoint that was known to be
// stored.
func checkHandled(t *testing.T, path string, items, kills int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]int, items+1)
	attempt, done, stored, repeated, lives := 0, 0, 0, 0, 0
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var n, from int
		switch {
		case scan(line, "attempt %d from %d", &n, &from):
			if n <= attempt {
				t.Errorf("attempt %d follows attempt %d", n, attempt)
			}
			if from < stored || from > done {
				t.Errorf("attempt %d goes on behind item %d; %d were handled, and the checkpoint at %d was stored", n, from, done, stored)
			}
			lives++
			repeated += done - from
			attempt, done = n, from
		case scan(line, "item %d", &n):
			if n != done+1 {
				t.Fatalf("item %d follows item %d", n, done)
			}
			seen[n]++
			done = n
		case scan(line, "checkpoint %d", &n):
			stored = n
		default:
			t.Fatalf("the file has %q", line)
		}
	}
	for n := 1; n <= items; n++ {
		if seen[n] == 0 {
			t.Errorf("item %d was never handled", n)
		}
	}
	// A checkpoint under way may be stored without anybody knowing: at most what lies between two of them is repeated.
	if repeated > kills*checkpointEvery {
		t.Errorf("%d items were handled again after %d kills", repeated, kills)
	}
	if lives < kills/2 {
		t.Errorf("%d kills hit only %d executions", kills, lives)
	}
	t.Logf("%d items, %d kills, %d attempts, %d items handled again", items, kills, lives, repeated)
}

func scan(line, format string, into ...any) bool {
	n, err := fmt.Sscanf(line, format, into...)
	return err == nil && n == len(into)
}
