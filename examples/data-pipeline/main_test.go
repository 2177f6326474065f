package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/examples/internal/readme"
	"github.com/tasker-go/tasker/taskertest"
)

// bench is a pipeline that counts how often every row of orders.csv is imported, and can be held at one.
type bench struct {
	*pipeline
	printed lockedBuffer
	hold    int           // the row of orders.csv at which the first attempt comes to rest; 0 = none
	held    chan struct{} // closed then

	mu   sync.Mutex
	rows map[int]int
}

func newBench(t *testing.T, hold int) *bench {
	t.Helper()
	b := &bench{hold: hold, held: make(chan struct{}), rows: map[int]int{}}
	b.pipeline = &pipeline{dir: t.TempDir(), out: &b.printed, pace: time.Millisecond, row: b.count}
	if err := writeSources(b.dir); err != nil {
		t.Fatal(err)
	}
	return b
}

// count holds an attempt until its context ends: from then on it does nothing any more, like a process that died.
func (b *bench) count(ctx context.Context, file string, row int) error {
	if file != "orders.csv" {
		return nil
	}
	b.mu.Lock()
	b.rows[row]++
	first := row == b.hold && b.rows[row] == 1
	b.mu.Unlock()
	if !first {
		return nil
	}
	close(b.held)
	<-ctx.Done()
	return context.Cause(ctx)
}

// checkRows is about no row lost, and only rows behind the last checkpoint imported twice, yet all in the table once.
func (b *bench) checkRows(t *testing.T) {
	t.Helper()
	checkpoint := (b.hold - 1) / checkpointEvery * checkpointEvery
	var table strings.Builder
	for row := 1; row <= sources["orders.csv"]; row++ {
		want := 1
		if row > checkpoint && row <= b.hold {
			want = 2
		}
		if b.rows[row] != want {
			t.Fatalf("row %d was imported %d times, want %d", row, b.rows[row], want)
		}
		fmt.Fprintf(&table, "%d;0.%02d\n", row, row%97)
	}
	got, err := os.ReadFile(tableFile(b.dir, "orders.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != table.String() {
		t.Errorf("the table is not the source: %s", cmp.Diff(table.String(), string(got)))
	}
}

// imported are the events of finished files.
func imported(t *testing.T, e *taskertest.Engine, id tasker.TaskID) map[string]Imported {
	t.Helper()
	events := map[string]Imported{}
	for _, r := range e.Records(id) {
		custom, ok := r.Event.(domain.Custom)
		if !ok {
			continue
		}
		var data Imported
		if err := json.Unmarshal(custom.Data, &data); err != nil {
			t.Fatal(err)
		}
		if _, twice := events[custom.Step]; twice {
			t.Errorf("%s of %s came twice", r.Event.Type(), custom.Step)
		}
		events[custom.Step] = data
	}
	return events
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(text)
}

// noDrain is how the program runs its engine: running steps are interrupted at once when it stops.
func noDrain(c *tasker.Config) { c.Drain = -1 }

func TestREADMEShowsWhatIsPrinted(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		b := newBench(t, 0)
		e.MustRegister(b.workflow())
		if err := story(context.Background(), b.out, e.Engine); err != nil {
			t.Fatal(err)
		}
		readme.Shows(t, b.printed.String())
		b.checkRows(t)
	})
}

func TestImportThatIsCutOffGoesOnBehindItsLastCheckpoint(t *testing.T) {
	for _, how := range []struct {
		name string
		cut  func(*taskertest.Engine)
		kind domain.ErrorKind
		at   []int
	}{
		{"killed", (*taskertest.Engine).Crash, domain.KindWorkerLost, []int{500, 1700}},
		{"stopped", (*taskertest.Engine).Restart, domain.KindInterrupted, []int{501}},
	} {
		for _, hold := range how.at {
			t.Run(fmt.Sprintf("%s at row %d", how.name, hold), func(t *testing.T) {
				taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
					b := newBench(t, hold)
					e.MustRegister(b.workflow())
					id := e.MustSubmit("nightly_import", nil)
					<-b.held
					how.cut(e)
					if got := string(e.MustWait(id).Value); got != `{"rows":6000,"missing":["import_clicks"]}` {
						t.Errorf("result %s", got)
					}
					b.checkRows(t)
					step := e.MustStep(id, "import_orders")
					if step.Attempt != 2 || step.Executions != 1 {
						t.Errorf("attempt %d, %d executions counted; want 2 and 1: nobody's fault uses no retries up", step.Attempt, step.Executions)
					}
					for _, r := range e.Records(id) {
						if f, ok := r.Event.(domain.StepFailed); ok && f.Step == "import_orders" && f.Error.Kind != how.kind {
							t.Errorf("the first attempt failed with %q, want %q", f.Error.Kind, how.kind)
						}
					}
					if diff := cmp.Diff(map[string]Imported{
						"import_orders":    {File: "orders.csv", Rows: 4000, Cents: 191172},
						"import_customers": {File: "customers.csv", Rows: 2000, Cents: 94950},
					}, imported(t, e, id)); diff != "" {
						t.Errorf("events (-want +got):\n%s", diff)
					}
				}, noDrain)
			})
		}
	}
}

func TestImportThatGivesNoSignOfLifeIsTriedAgain(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		b := newBench(t, 1700)
		e.MustRegister(b.workflow())
		began := time.Now()
		id := e.MustSubmit("nightly_import", nil)
		e.MustWait(id)
		b.checkRows(t)
		for _, r := range e.Records(id) {
			f, ok := r.Event.(domain.StepFailed)
			if !ok || f.Step != "import_orders" {
				continue
			}
			// The last sign was the checkpoint at row 1500, after 15 pauses of 50 ms.
			if took := r.At.Time().Sub(began); f.Error.Code != "HEARTBEAT" || took != 2750*time.Millisecond {
				t.Errorf("it failed after %s with %+v, want HEARTBEAT after 2.75s", took, f.Error)
			}
			return
		}
		t.Error("it never failed")
	})
}

func TestTasksMayBypassWhatIsSkippable(t *testing.T) {
	taskertest.Run(t, func(t *testing.T, e *taskertest.Engine) {
		e.MustRegister(newBench(t, 0).workflow())
		id := e.MustSubmit("nightly_import", nil, tasker.Bypass("settle"))
		began := time.Now()
		e.MustWait(id)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %s, want 2s: 40 pauses, and no 300 ms to settle", took)
		}
		if step := e.MustStep(id, "settle"); !step.Skipped {
			t.Errorf("settle: %+v", step)
		}
		_, err := e.Submit(context.Background(), "nightly_import", nil, tasker.Bypass("import_orders"))
		if bypass := (*domain.BypassError)(nil); !errors.As(err, &bypass) {
			t.Errorf("bypassing what is not skippable gave %v", err)
		}
	})
}

// The program itself: stopped in the middle, started again on the same data.
func TestProgramGoesOnWhereItWasStopped(t *testing.T) {
	b := newBench(t, 1700)
	b.pace = 0
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		<-b.held
		stop()
	}()
	if err := run(ctx, b.pipeline, true); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), b.pipeline, true); err != nil {
		t.Fatal(err)
	}
	b.checkRows(t)
	for _, line := range []string{
		"stopped: start it again", "orders.csv goes on behind row 1500, in attempt 2", "this import was begun before",
		`result: {"rows":6000,"missing":["import_clicks"]}`,
	} {
		if !strings.Contains(b.printed.String(), line) {
			t.Errorf("%q was not printed:\n%s", line, b.printed.String())
		}
	}
}
