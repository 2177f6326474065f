package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/internal/scenario"
)

// book is what was written to a log, task by task.
type book struct {
	store *memlog.Store
	last  []uint64
	prev  map[domain.TaskID]uint64
	open  []*history // with records that are not in the log yet
	tasks map[domain.TaskID][]domain.Record
	defs  []*domain.Definition
	n     int
}

type history struct {
	id      domain.TaskID
	waiting []domain.Record
}

var definitions = []string{
	`{"name":"order","index":["customer.id","express"],"steps":[{"name":"one","handler":"h"},{"name":"two","handler":"g","depends_on":["one"]},{"name":"three","handler":"h","optional":true}]}`,
	`{"namespace":"shop","name":"bill","version":"2.0.0","steps":[{"name":"print","handler":"h","retry_limit":3},{"name":"send","handler":"h","depends_on":["print"]}]}`,
}

func newBook(t testing.TB, partitions int) *book {
	t.Helper()
	b := &book{
		store: memlog.New(memlog.Options{Partitions: partitions, DataID: "0190c2a5-7d3e-7000-8000-000000000000"}),
		last:  make([]uint64, partitions), prev: map[domain.TaskID]uint64{}, tasks: map[domain.TaskID][]domain.Record{},
	}
	for _, text := range definitions {
		def, err := domain.ParseDefinition([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		b.defs = append(b.defs, def)
	}
	for p := range partitions {
		records := []domain.Record{{Event: domain.PartitionOpened{Writer: "w", Engine: "test"}, At: scenario.Start}}
		for _, def := range b.defs {
			records = append(records, domain.Record{Event: domain.AdoptDefinition(def), At: scenario.Start})
		}
		b.commit(t, p, records)
	}
	return b
}

func (b *book) append(t testing.TB, p int, id string, data []byte) {
	t.Helper()
	done := make(chan error, 1)
	b.store.Log(p).Append(b.last[p], id, data, func(_ uint64, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.last[p]++
}

func (b *book) commit(t testing.TB, p int, records []domain.Record) {
	t.Helper()
	c := domain.Commit{ID: fmt.Sprintf("w%d-%d", p, b.last[p]), At: records[0].At, Records: records}
	b.append(t, p, c.ID, domain.EncodeCommit(c))
	for i, r := range records {
		if !r.Task.IsZero() {
			b.prev[r.Task] = b.last[p]
			r.Position = domain.Position{Partition: p, Sequence: b.last[p], Index: i}
			b.tasks[r.Task] = append(b.tasks[r.Task], r)
		}
	}
}

// write puts the next records of some of the open histories into one commit; false when there are none.
func (b *book) write(t testing.TB, rt *rapid.T) bool {
	t.Helper()
	if len(b.open) == 0 {
		return false
	}
	partitions := len(b.last)
	if rapid.IntRange(0, 19).Draw(rt, "foreign") == 0 {
		b.append(t, rapid.IntRange(0, partitions-1).Draw(rt, "partition"), "", []byte("hello"))
	}
	first := b.open[rapid.IntRange(0, len(b.open)-1).Draw(rt, "task")]
	p := first.id.Partition(partitions)
	var records []domain.Record
	for _, h := range b.open {
		if h.id.Partition(partitions) != p || h != first && !rapid.Bool().Draw(rt, "with") {
			continue
		}
		n := rapid.IntRange(1, len(h.waiting)).Draw(rt, "events")
		for _, r := range h.waiting[:n] {
			r.Task, r.Prev = h.id, b.prev[h.id]
			records = append(records, r)
		}
		h.waiting = h.waiting[n:]
	}
	open := b.open[:0:0]
	for _, h := range b.open {
		if len(h.waiting) > 0 {
			open = append(open, h)
		}
	}
	b.open = open
	b.commit(t, p, records)
	return true
}

// start begins the history of a task to which anything happens.
func (b *book) start(t testing.TB, rt *rapid.T) {
	t.Helper()
	def := b.defs[rapid.IntRange(0, len(b.defs)-1).Draw(rt, "definition")]
	run := scenario.New(def, scenario.AllSlots)
	run.Now = run.Now.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "begins")) * time.Minute)
	context := fmt.Sprintf(`{"customer":{"id":"c%d"},"express":%t}`, rapid.IntRange(0, 3).Draw(rt, "customer"), rapid.Bool().Draw(rt, "express"))
	cmd := domain.CreateTask{Context: domain.Inline(json.RawMessage(context))}
	cmd.Initiator = rapid.SampledFrom([]string{"", "web", "cron"}).Draw(rt, "initiator")
	cmd.Correlation = rapid.SampledFrom([]string{"", "", "x"}).Draw(rt, "correlation")
	cmd.Tags = rapid.SampledFrom([][]string{nil, {"gold"}, {"gold", "new"}}).Draw(rt, "tags")
	if err := run.Submit(cmd); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 14).Draw(rt, "inputs") {
		happen(rt, run)
	}
	b.n++
	id := domain.KeyedTaskID("random", "task", fmt.Sprint(b.n))
	b.open = append(b.open, &history{id: id, waiting: run.Log})
}

func happen(rt *rapid.T, run *scenario.Run) {
	running := run.Task.Running()
	command := rapid.IntRange(0, 12).Draw(rt, "command")
	if command < 7 && len(running) > 0 {
		x := running[rapid.IntRange(0, len(running)-1).Draw(rt, "execution")]
		run.Advance(time.Duration(rapid.IntRange(0, 5_000_000).Draw(rt, "took")) * time.Microsecond)
		if command < 4 {
			_, _ = run.Do(domain.CompleteStep{Step: x.Step, Attempt: x.Attempt, Result: domain.Inline(json.RawMessage(`"` + strings.Repeat("r", 600*command) + `"`))})
			return
		}
		kinds := []domain.ErrorKind{domain.KindError, domain.KindPermanent, domain.KindWorkerLost}
		_, _ = run.Do(domain.FailStep{Step: x.Step, Attempt: x.Attempt, Error: domain.StepError{
			Kind: rapid.SampledFrom(kinds).Draw(rt, "kind"), Message: rapid.SampledFrom([]string{"no\nway", "connection refused", "Grüße!"}).Draw(rt, "message"), Frames: []string{"main.go:1"},
		}})
		return
	}
	switch command {
	case 7:
		_, _ = run.Do(domain.PauseTask{Reason: "lunch break"})
	case 8:
		_, _ = run.Do(domain.ResumeTask{})
	case 9:
		_, _ = run.Do(domain.RetryTask{Reason: "again"})
	case 10:
		if rapid.Bool().Draw(rt, "really") {
			_, _ = run.Do(domain.CancelTask{Reason: "enough"})
		} else {
			_, _ = run.Do(domain.ResolveTask{Reason: "done by hand"})
		}
	default:
		run.Advance(time.Minute)
	}
}

func (b *book) fill(t testing.TB, rt *rapid.T, tasks int) {
	t.Helper()
	for range tasks {
		b.start(t, rt)
		for more := true; more; {
			more = rapid.IntRange(0, 2).Draw(rt, "more") == 0 && b.write(t, rt)
		}
	}
	for more := true; more; {
		more = b.write(t, rt)
	}
}

// end is what an index has to cover to have everything.
func (b *book) end() domain.Cursor {
	c := domain.Cursor{Sequences: map[int]uint64{}}
	for p, n := range b.last {
		c.Sequences[p] = n
	}
	return c
}

var quiet = slog.New(slog.DiscardHandler)

func openIndex(t testing.TB, path string, data domain.DataInfo) *sqlite.Index {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "index.db")
	}
	x, err := sqlite.Open(t.Context(), path, sqlite.Options{Data: data, Logger: quiet, Retention: -1, QueryTime: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// follow lets the index follow until stop is called.
func follow(t testing.TB, x *sqlite.Index, s domain.Store, o sqlite.FollowOptions) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Follow(ctx, s, o) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Follow: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

func reach(t testing.TB, x *sqlite.Index, c domain.Cursor) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for p, sequence := range c.Sequences {
		if err := x.WaitFor(ctx, domain.Position{Partition: p, Sequence: sequence}); err != nil {
			t.Fatal(err)
		}
	}
}
