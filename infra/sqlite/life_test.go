package sqlite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/internal/scenario"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/projections/index"
)

// filled is a log with some tasks in it, always the same ones.
func filled(t testing.TB, partitions, tasks int) *book {
	t.Helper()
	var b *book
	rapid.Custom(func(rt *rapid.T) bool {
		b = newBook(t, partitions)
		b.fill(t, rt, tasks)
		return true
	}).Example(1)
	return b
}

// log collects what is logged.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// open opens an index that logs.
func open(t testing.TB, path string, data domain.DataInfo) (*sqlite.Index, *log) {
	t.Helper()
	l := &log{}
	x, err := sqlite.Open(t.Context(), path, sqlite.Options{Data: data, Retention: -1, Logger: slog.New(slog.NewTextHandler(l, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x, l
}

// whole fills an index and returns everything that it answers.
func whole(t testing.TB, x *sqlite.Index, b *book) map[string]any {
	t.Helper()
	stop := follow(t, x, b.store, sqlite.FollowOptions{})
	reach(t, x, b.end())
	stop()
	return everything(t, x)
}

func TestAFileThatCannotBeUsedIsMadeAgain(t *testing.T) {
	b := filled(t, 2, 5)
	good := filepath.Join(t.TempDir(), "good.db")
	x, _ := open(t, good, b.store.Data())
	want := whole(t, x, b)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	other := b.store.Data()
	other.ID = "0190c2a5-7d3e-7000-8000-00000000000f"
	damaged := bytes.Clone(file)
	for i := 8192; i < len(damaged); i++ {
		damaged[i] ^= 0x55
	}
	for _, c := range []struct {
		name, reason string
		file         []byte
		data         domain.DataInfo
	}{
		{"no database", "not a database", []byte(strings.Repeat("this is a text\n", 1000)), b.store.Data()},
		{"damaged pages", "", damaged, b.store.Data()},
		{"half of it", "", file[:len(file)/2/8192*8192], b.store.Data()},
		{"another log", "it is about data 0190c2a5-7d3e-7000-8000-000000000000", file, other},
		{"empty", "", nil, b.store.Data()},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index.db")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			x, l := open(t, path, c.data)
			if diff := cmp.Diff(want, whole(t, x, b), alike); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(l.String(), c.reason) || c.file != nil && !strings.Contains(l.String(), "made again") {
				t.Errorf("logged: %s", l)
			}
		})
	}
}

func TestALogThatIsNotTheOneOfTheFileIsIndexedAnew(t *testing.T) {
	b := filled(t, 1, 5)
	path := filepath.Join(t.TempDir(), "index.db")
	x, _ := open(t, path, b.store.Data())
	whole(t, x, b)
	_ = x.Close()
	for name, change := range map[string]func(*book) *book{
		"it ends earlier, as after a restore of an older backup": func(*book) *book { return newBook(t, 1) },
		"it has another message at the same place": func(old *book) *book {
			n := newBook(t, 1)
			for n.last[0] < old.last[0]+1 {
				n.append(t, 0, "", []byte("foreign"))
			}
			return n
		},
		"its beginning was removed before it was read": func(old *book) *book {
			n := newBook(t, 1)
			for n.last[0] < old.last[0]+5 {
				n.append(t, 0, "", []byte("foreign"))
			}
			if err := n.store.Log(0).Trim(t.Context(), n.last[0]-1); err != nil {
				t.Fatal(err)
			}
			return n
		},
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "index.db")
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied, file, 0o600); err != nil {
				t.Fatal(err)
			}
			n := change(b)
			x, l := open(t, copied, n.store.Data())
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			said := make(chan error, 10)
			follow(t, x, n.store, sqlite.FollowOptions{OnProblem: func(err error) {
				select {
				case said <- err:
				default:
				}
			}})
			select {
			case err := <-said:
				t.Log(err)
			case <-ctx.Done():
				t.Fatal("the file was taken as it is")
			}
			reach(t, x, n.end())
			if counts, err := x.Count(ctx, index.TaskQuery{}); err != nil || counts.Total != 0 {
				t.Errorf("%+v, %v", counts, err)
			}
			if !strings.Contains(l.String(), "made again") {
				t.Errorf("logged: %s", l)
			}
		})
	}
}

func TestAFileThatIsRemovedWhileInUseIsMadeAgain(t *testing.T) {
	b := filled(t, 2, 5)
	path := filepath.Join(t.TempDir(), "index.db")
	x, _ := open(t, path, b.store.Data())
	gone := make(chan struct{})
	follow(t, x, b.store, sqlite.FollowOptions{OnProblem: once(gone)})
	reach(t, x, b.end())
	want := everything(t, x)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && suffix == "" {
			t.Fatal(err)
		}
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody noticed")
	}
	for {
		if _, err := os.Stat(path); err == nil {
			break
		}
		if _, err := x.Tasks(t.Context(), index.TaskQuery{}); errors.Is(err, sqlite.ErrClosed) {
			t.Fatal(err)
		}
	}
	reach(t, x, b.end())
	if diff := cmp.Diff(want, everything(t, x), alike); diff != "" {
		t.Error(diff)
	}
}

func TestALogThatBeginsLateIsIndexedFromItsSnapshot(t *testing.T) {
	b := filled(t, 1, 20)
	state := projections.NewPartition(0)
	half := b.last[0] / 2
	if err := b.store.Log(0).Scan(t.Context(), 1, func(m domain.Message) error {
		if c, err := domain.DecodeCommit(m.Data, 0, m.Sequence); err == nil && m.Sequence <= half {
			return state.Apply(c)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	x, _ := open(t, filepath.Join(t.TempDir(), "whole.db"), b.store.Data())
	want := whole(t, x, b)
	ended := map[domain.TaskID]bool{}
	for id := range b.tasks {
		if _, over := state.Ended.Get(id); over {
			ended[id] = true
		}
	}
	frozen, err := state.Freeze(state.Sequence, state.CommitID, state.At)
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if _, err := frozen.WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Snapshots().Put(t.Context(), domain.SnapshotInfo{Sequence: state.Sequence, CommitID: state.CommitID, Format: projections.SnapshotFormat}, &content); err != nil {
		t.Fatal(err)
	}
	if err := b.store.Log(0).Trim(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	late, l := open(t, filepath.Join(t.TempDir(), "late.db"), b.store.Data())
	have := whole(t, late, b)
	states := func(all map[string]any) map[domain.TaskID]domain.State {
		list := map[domain.TaskID]domain.State{}
		for _, row := range all["tasks by created"].([]index.TaskRow) {
			if !ended[row.ID] {
				list[row.ID] = row.State
			}
		}
		return list
	}
	if len(ended) == 0 || len(states(want)) == 0 {
		t.Fatalf("%d ended before the snapshot, %d others: this test shows nothing", len(ended), len(states(want)))
	}
	if diff := cmp.Diff(states(want), states(have)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(l.String(), "begins with a snapshot") {
		t.Errorf("logged: %s", l)
	}
}

func TestTwoProcessesCannotHaveTheSameIndex(t *testing.T) {
	b := newBook(t, 1)
	path := filepath.Join(t.TempDir(), "index.db")
	x, _ := open(t, path, b.store.Data())
	_, err := sqlite.Open(t.Context(), path, sqlite.Options{Data: b.store.Data(), Logger: quiet})
	var locked *sqlite.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("%v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatalf("a second Close: %v", err)
	}
	if _, err := x.Tasks(t.Context(), index.TaskQuery{}); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("a query behind Close: %v", err)
	}
	if err := x.Follow(t.Context(), b.store, sqlite.FollowOptions{}); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("Follow behind Close: %v", err)
	}
	again, _ := open(t, path, b.store.Data())
	_ = again.Close()
}

func TestWhatCannotBeOpenedSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                             "it is a directory: give the name of a file in it",
		filepath.Join(file, "index.db"): "not a directory",
	} {
		x, err := sqlite.Open(t.Context(), path, sqlite.Options{Logger: quiet})
		if err == nil {
			_ = x.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestItWaitsForALogThatIsAway(t *testing.T) {
	b := filled(t, 2, 3)
	x, l := open(t, filepath.Join(t.TempDir(), "index.db"), b.store.Data())
	b.store.Faults(0).Down(true)
	problem := make(chan error, 100)
	follow(t, x, b.store, sqlite.FollowOptions{OnProblem: func(err error) { problem <- err }})
	if err := <-problem; !errors.Is(err, domain.ErrUnavailable) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := x.WaitFor(ctx, domain.Position{Sequence: 1})
	var behind *index.BehindError
	if !errors.Is(err, index.ErrBehind) || !errors.As(err, &behind) || behind.Position.Sequence != 1 {
		t.Errorf("%v", err)
	}
	b.store.Faults(0).Down(false)
	reach(t, x, b.end())
	if n := strings.Count(l.String(), "tries again"); n != 1 {
		t.Errorf("logged %d times: %s", n, l)
	}
	if lag := x.Lag(t.Context()); lag.Commits != 0 {
		t.Errorf("%+v", lag)
	}
}

func TestWhatEndedLongAgoLeavesTheIndex(t *testing.T) {
	b := filled(t, 2, 30)
	path := filepath.Join(t.TempDir(), "index.db")
	now := scenario.Start.Time().Add(30*24*time.Hour + 50*time.Minute)
	x, err := sqlite.Open(t.Context(), path, sqlite.Options{Data: b.store.Data(), Logger: quiet, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	defer follow(t, x, b.store, sqlite.FollowOptions{Sweep: time.Millisecond})()
	reach(t, x, b.end())
	var want []index.TaskRow
	left := 0
	for _, row := range b.model(t).tasks {
		old := row.State.Ended() && row.EndedAt.Before(now.Add(-30*24*time.Hour))
		if old {
			left++
		} else {
			want = append(want, row)
		}
	}
	if left == 0 || len(want) == 0 {
		t.Fatalf("%d old and %d others: this test shows nothing", left, len(want))
	}
	for again := range 2 {
		deadline := time.Now().Add(20 * time.Second)
		counts, err := x.Count(t.Context(), index.TaskQuery{})
		for err == nil && counts.Total != int64(len(want)) && time.Now().Before(deadline) {
			counts, err = x.Count(t.Context(), index.TaskQuery{})
		}
		if err != nil || counts.Total != int64(len(want)) {
			t.Fatalf("%d: %+v of %d, %v", again, counts, len(want), err)
		}
		words, err := x.Tasks(t.Context(), index.TaskQuery{Tags: []string{"gold"}, Text: "gold", Limit: 500})
		if expected := (model{tasks: want}).list(index.TaskQuery{Tags: []string{"gold"}}); err != nil || len(words.Tasks) != len(expected) {
			t.Errorf("%d tasks with a tag, want %d, %v", len(words.Tasks), len(expected), err)
		}
		if err := x.Rebuild(t.Context(), b.store, nil); err != nil { // brings them back, for a moment
			t.Fatal(err)
		}
		reach(t, x, b.end())
	}
}

// The window of idempotency of an ended task has passed, and its key is used again.
func TestAnIdThatIsUsedAgainNamesTheNewTask(t *testing.T) {
	for name, o := range map[string]sqlite.FollowOptions{
		"each commit a batch": {Batch: 1, Pace: time.Nanosecond},
		"all in one":          {Batch: 1000, Pace: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(t, 1)
			id := domain.KeyedTaskID("default", "order", "again")
			use := func(tag string, cmd domain.Command) {
				run := scenario.New(b.defs[0], scenario.AllSlots)
				if err := run.Submit(domain.CreateTask{Context: domain.Inline(json.RawMessage(`{"customer":{"id":"c1"},"express":true}`)), Tags: []string{tag}}); err != nil {
					t.Fatal(err)
				}
				if _, err := run.Do(cmd); err != nil {
					t.Fatal(err)
				}
				b.prev[id], b.tasks[id] = 0, nil
				for _, r := range run.Log {
					r.Task, r.Prev = id, b.prev[id]
					b.commit(t, 0, []domain.Record{r})
				}
			}
			x := openIndex(t, "", b.store.Data())
			if o.Batch == 1 {
				follow(t, x, b.store, o)
			}
			use("silver", domain.CancelTask{Reason: "enough"})
			if o.Batch == 1 {
				reach(t, x, b.end())
			}
			use("gold", domain.CancelTask{Reason: "no"})
			use("new", domain.PauseTask{Reason: "lunch"})
			if o.Batch > 1 {
				follow(t, x, b.store, o)
			}
			reach(t, x, b.end())
			check := func() {
				t.Helper()
				compareModel(t, b.model(t), everything(t, x))
				for tag, want := range map[string]int{"silver": 0, "gold": 0, "new": 1} {
					for _, q := range []index.TaskQuery{{Tags: []string{tag}}, {Text: tag}} {
						if page, err := x.Tasks(t.Context(), q); err != nil || len(page.Tasks) != want {
							t.Errorf("%+v: %d tasks, %v; want %d", q, len(page.Tasks), err, want)
						}
					}
				}
			}
			check()
			if err := x.Rebuild(t.Context(), b.store, nil); err != nil {
				t.Fatal(err)
			}
			check()
		})
	}
}

// once closes the channel at the first problem.
func once(c chan struct{}) func(error) {
	f := sync.OnceFunc(func() { close(c) })
	return func(error) { f() }
}
