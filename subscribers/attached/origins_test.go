package attached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	_ "github.com/tasker-go/tasker/internal/sameseed"
	"github.com/tasker-go/tasker/projections"
)

// world writes commits of tasks of several definitions, and knows of which each event is.
type world struct {
	t     testing.TB
	store *memlog.Store
	defs  []*domain.Definition
	made  map[domain.TaskID]*domain.Definition
	prev  map[domain.TaskID]uint64
	notes int
	all   []domain.Record // in the order of the log
}

func newWorld(t testing.TB, partitions int) *world {
	t.Helper()
	w := &world{t: t, store: memlog.New(memlog.Options{Partitions: partitions, DataID: "data"}), made: map[domain.TaskID]*domain.Definition{}, prev: map[domain.TaskID]uint64{}}
	for _, text := range []string{
		`{"name":"order","version":"1.0.0","steps":[{"name":"one","handler":"h"}]}`,
		`{"name":"order","version":"2.0.0","steps":[{"name":"one","handler":"h"}]}`,
		`{"name":"order","namespace":"shop","version":"1.0.0","steps":[{"name":"one","handler":"h"}]}`,
		`{"name":"refund","namespace":"shop","steps":[{"name":"one","handler":"h"}]}`,
	} {
		d, err := domain.ParseDefinition([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		w.defs = append(w.defs, d)
	}
	for p := range partitions {
		var adopted []domain.Record
		for _, d := range w.defs {
			adopted = append(adopted, domain.Record{Event: domain.AdoptDefinition(d)})
		}
		w.commit(p, adopted...)
	}
	return w
}

// create is the first event of a new task of the n-th definition.
func (w *world) create(task, n, p int) domain.Record {
	d := w.defs[n]
	id := taskOf(task, p, w.store.Data().Partitions)
	w.made[id] = d
	namespace := d.Namespace
	if namespace == domain.DefaultNamespace {
		namespace = ""
	}
	return domain.Record{Task: id, Event: domain.TaskCreated{
		Namespace: namespace, Name: d.Name, Version: d.Version, Definition: d.Hash(), Context: domain.Inline([]byte("{}")),
	}}
}

func (w *world) note(task, p int) domain.Record {
	w.notes++
	return note(taskOf(task, p, w.store.Data().Partitions), w.notes)
}

func (w *world) commit(p int, records ...domain.Record) {
	w.t.Helper()
	for i := range records {
		records[i].Prev = w.prev[records[i].Task]
	}
	sequence := store(w.t, w.store, p, records...)
	for i := range records {
		if !records[i].Task.IsZero() {
			w.prev[records[i].Task] = sequence
		}
		records[i].Position = domain.Position{Partition: p, Sequence: sequence, Index: i}
	}
	w.all = append(w.all, records...)
}

// snapshot stores one of the partition as it was after the sequence.
func (w *world) snapshot(p int, sequence uint64) {
	w.t.Helper()
	state := projections.NewPartition(p)
	var c domain.Commit
	for s := uint64(1); s <= sequence; s++ {
		m, err := w.store.Log(p).Read(w.t.Context(), s)
		if err == nil {
			c, err = domain.DecodeCommit(m.Data, p, s)
		}
		if err == nil {
			err = state.Apply(c)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	f, err := state.Freeze(sequence, c.ID, c.At)
	if err != nil {
		w.t.Fatal(err)
	}
	defer state.Thaw(f)
	var content bytes.Buffer
	if _, err := f.WriteTo(&content); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.Snapshots().Put(w.t.Context(), domain.SnapshotInfo{Partition: p, Sequence: sequence, CommitID: c.ID, Format: projections.SnapshotFormat}, &content); err != nil {
		w.t.Fatal(err)
	}
}

func idsOf(records []domain.Record) []string {
	ids := []string{}
	for _, r := range records {
		ids = append(ids, r.ID())
	}
	return ids
}

func replayAll(ctx context.Context, s domain.Store, o ReplayOptions) ([]domain.Record, error) {
	records := []domain.Record{}
	for r, err := range Replay(ctx, s, o, WithLogger(quiet)) {
		if err != nil {
			return records, err
		}
		records = append(records, r)
	}
	return records, nil
}

func TestReplayByDefinitionFindsTasksThatBeganEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.commit(0, w.create(0, 0, 0), w.create(1, 1, 0), w.create(2, 2, 0), w.create(3, 3, 0)) // 2
		w.commit(0, w.note(0, 0), w.note(1, 0), w.note(2, 0), w.note(3, 0))                     // 3: notes 1 to 4
		w.commit(0, w.note(0, 0), w.note(2, 0))                                                 // 4: 5, 6
		w.commit(0, w.note(3, 0), w.note(2, 0), w.note(1, 0), w.note(0, 0))                     // 5: 7 to 10
		notes := []domain.EventType{domain.TaskAnnotatedType}
		for name, c := range map[string]struct {
			o    ReplayOptions
			want []string
		}{
			"namespace":            {ReplayOptions{Namespace: "shop"}, []string{"3", "4", "6", "7", "8"}},
			"the default one":      {ReplayOptions{Namespace: "default"}, []string{"1", "2", "5", "9", "10"}},
			"none of it":           {ReplayOptions{Namespace: "sho"}, []string{}},
			"name":                 {ReplayOptions{Definition: "order"}, []string{"1", "2", "3", "5", "6", "8", "9", "10"}},
			"name and version":     {ReplayOptions{Definition: "order@1.0.0"}, []string{"1", "3", "5", "6", "8", "10"}},
			"all three":            {ReplayOptions{Namespace: "shop", Definition: "order@1.0.0"}, []string{"3", "6", "8"}},
			"later":                {ReplayOptions{Namespace: "shop", From: FromPosition("data:00=4")}, []string{"7", "8"}},
			"later, by name":       {ReplayOptions{Definition: "order@2.0.0", From: FromPosition("data:00=3")}, []string{"9"}},
			"until":                {ReplayOptions{Namespace: "shop", Until: UntilPosition("data:00=4")}, []string{"3", "4", "6"}},
			"a task of it":         {ReplayOptions{Namespace: "shop", Task: taskOf(3, 0, 1)}, []string{"4", "7"}},
			"a task of another":    {ReplayOptions{Namespace: "shop", Task: taskOf(0, 0, 1)}, []string{}},
			"from the very newest": {ReplayOptions{Namespace: "shop", From: FromNew}, []string{}},
		} {
			c.o.Types = notes
			if got, err := replayNotes(t.Context(), w.store, c.o); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
			}
		}
		for _, bad := range []string{"@1.0.0", "order@", "@"} {
			if _, err := replayNotes(t.Context(), w.store, ReplayOptions{Definition: bad}); err == nil {
				t.Errorf("definition %q: no error", bad)
			}
		}
	})
}

// What a filter gives is what a replay of everything gives, without what the filter is to leave out; and what lies before
// the beginning is read at most once per commit.
func TestReplayFiltersLeaveOutWhatTheyShould(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const partitions = 2
		w := newWorld(t, partitions)
		created := map[[2]int]bool{}
		for range rapid.IntRange(1, 25).Draw(rt, "commits") {
			p := rapid.IntRange(0, partitions-1).Draw(rt, "partition")
			var records []domain.Record
			for range rapid.IntRange(1, 5).Draw(rt, "events") {
				task := rapid.IntRange(0, 6).Draw(rt, "task")
				if created[[2]int{task, p}] {
					records = append(records, w.note(task, p))
				} else {
					created[[2]int{task, p}] = true
					records = append(records, w.create(task, rapid.IntRange(0, len(w.defs)-1).Draw(rt, "definition"), p))
				}
			}
			w.commit(p, records...)
		}
		o := ReplayOptions{
			Namespace:  rapid.SampledFrom([]string{"", "default", "shop"}).Draw(rt, "namespace"),
			Definition: rapid.SampledFrom([]string{"", "order", "order@1.0.0", "refund"}).Draw(rt, "definition"),
		}
		after := domain.Cursor{DataID: "data", Sequences: map[int]uint64{}}
		until := domain.Cursor{DataID: "data", Sequences: map[int]uint64{}}
		for p := range partitions {
			b, err := w.store.Log(p).Bounds(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			after.Sequences[p] = rapid.Uint64Range(0, b.Last).Draw(rt, "after")
			until.Sequences[p] = rapid.Uint64Range(0, b.Last).Draw(rt, "until")
		}
		o.From, o.Until = FromPosition(after.String()), UntilPosition(until.String())
		counting := &countingStore{Store: w.store}
		records, err := replayAll(t.Context(), counting, o)
		if err != nil {
			rt.Fatal(err)
		}
		made := madeOf{}
		if m, err := newMadeOf(o); err != nil {
			rt.Fatal(err)
		} else if m != nil {
			made = *m
		}
		want := slices.DeleteFunc(slices.Clone(w.all), func(r domain.Record) bool {
			if after.Covers(r.Position) || !until.Covers(r.Position) {
				return true
			}
			d := w.made[r.Task]
			if d == nil {
				return made != madeOf{}
			}
			return !made.wants(d.Namespace, d.Name, d.Version)
		})
		got, expected := idsOf(records), idsOf(want)
		slices.Sort(got)
		slices.Sort(expected)
		if !slices.Equal(got, expected) {
			rt.Fatalf("%v: %v, want %v", o, got, expected)
		}
		last := map[domain.TaskID]domain.Position{}
		for _, r := range records {
			if before, ok := last[r.Task]; ok && !r.Task.IsZero() && !before.Less(r.Position) { // what is of no task has no order between partitions
				rt.Fatalf("%s of task %s came after %s", r.Position, r.Task, before)
			}
			last[r.Task] = r.Position
		}
		if most := int64(len(w.made)) * int64(after.Sequences[0]+after.Sequences[1]); counting.reads.Load() > most {
			rt.Fatalf("%d point reads for %d tasks", counting.reads.Load(), len(w.made))
		}
	})
}

// countingStore counts point reads.
type countingStore struct {
	domain.Store
	reads atomic.Int64
}

func (s *countingStore) Log(p int) domain.Log { return &countingLog{s.Store.Log(p), s} }

type countingLog struct {
	domain.Log
	store *countingStore
}

func (l *countingLog) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	l.store.reads.Add(1)
	return l.Log.Read(ctx, sequence)
}

func TestReplayByDefinitionReadsWhatIsBeforeOncePerCommit(t *testing.T) {
	w := newWorld(t, 1)
	const tasks, rounds = 100, 5
	var begun []domain.Record
	for i := range tasks {
		begun = append(begun, w.create(i, i%len(w.defs), 0))
	}
	w.commit(0, begun...)
	for range rounds {
		var notes []domain.Record
		for i := range tasks {
			notes = append(notes, w.note(i, 0))
		}
		w.commit(0, notes...)
	}
	s := &countingStore{Store: w.store}
	records, err := replayAll(t.Context(), s, ReplayOptions{Namespace: "shop", From: FromPosition("data:00=4")})
	if err != nil || len(records) != tasks/2*(rounds-2) {
		t.Errorf("%d events, %v", len(records), err)
	}
	if n := s.reads.Load(); n != 3 {
		t.Errorf("%d point reads, want those of messages 4, 3 and 2", n)
	}
	if _, err := replayAll(t.Context(), s, ReplayOptions{Namespace: "shop"}); err != nil || s.reads.Load() != 3 {
		t.Errorf("from the beginning: %d point reads, %v", s.reads.Load()-3, err)
	}
}

func TestReplayByDefinitionOfATrimmedLogAsksTheSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.commit(0, w.create(0, 0, 0), w.create(2, 2, 0), w.create(3, 3, 0)) // 2
		w.commit(0, domain.Record{Task: taskOf(3, 0, 1), Event: domain.TaskFailed{Reason: "steps_failed"}})
		w.snapshot(0, 3)
		w.commit(0, w.note(0, 0), w.note(2, 0), w.note(3, 0)) // 4
		if err := w.store.Log(0).Trim(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		o := ReplayOptions{Namespace: "shop", From: FromPosition("data:00=3")}
		if got, err := replayNotes(t.Context(), w.store, o); err != nil || !slices.Equal(got, []string{"2", "3"}) {
			t.Errorf("%v, %v: want what the snapshot knows of, also of the failed task", got, err)
		}

		infos, err := w.store.Snapshots().List(t.Context(), 0)
		if err == nil {
			err = w.store.Snapshots().Delete(t.Context(), infos[0])
		}
		if err != nil {
			t.Fatal(err)
		}
		w.commit(0, w.create(5, 2, 0)) // 5
		w.commit(0, w.note(5, 0))      // 6
		var trimmed ErrTrimmed
		if got, err := replayNotes(t.Context(), w.store, o); !errors.As(err, &trimmed) || trimmed.Wanted > 3 || trimmed.First != 4 || len(got) > 0 {
			t.Errorf("%v, %v: want ErrTrimmed", got, err)
		}
		o.From = FromOldest
		if got, err := replayNotes(t.Context(), w.store, o); err != nil || !slices.Equal(got, []string{"task.created", "4"}) {
			t.Errorf("from the oldest: %v, %v: want what is known", got, err)
		}
	})
}

func TestReplayByDefinitionFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.commit(0, w.create(0, 0, 0), w.create(2, 2, 0))
		ctx, cancel := context.WithCancel(t.Context())
		got, result := &seen{}, make(chan error, 1)
		go func() {
			for r, err := range Replay(ctx, w.store, ReplayOptions{Definition: "order@1.0.0", Namespace: "shop", From: FromNew, Follow: true}, WithLogger(quiet)) {
				if err != nil {
					result <- err
					return
				}
				_ = got.handle(ctx, r)
			}
			result <- nil
		}()
		synctest.Wait()
		w.commit(0, w.note(0, 0), w.note(2, 0), w.create(5, 2, 0))
		time.Sleep(time.Second)
		w.commit(0, w.note(5, 0))
		synctest.Wait()
		cancel()
		if err := <-result; err != nil || !slices.Equal(got.notes(), []string{"2", "task.created", "3"}) {
			t.Errorf("%v, %v", got.notes(), err)
		}
	})
}

// A replay of one task reads nothing of the messages that do not name it.
func TestReplayOfATaskPassesOverTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.commit(0, w.create(0, 0, 0), w.create(1, 0, 0))
		w.store.Foreign(0, "torn-1", []byte(`{"v":1,"id":`))
		w.commit(0, w.note(1, 0))
		if got, err := replayNotes(t.Context(), w.store, ReplayOptions{Task: taskOf(1, 0, 1)}); err != nil || !slices.Equal(got, []string{"task.created", "1"}) {
			t.Errorf("%v, %v", got, err)
		}
		w.store.Foreign(0, "torn-2", fmt.Appendf(nil, `{"v":1,"id":"%s`, taskOf(1, 0, 1)))
		var unreadable *UnreadableError
		if _, err := replayNotes(t.Context(), w.store, ReplayOptions{Task: taskOf(1, 0, 1)}); !errors.As(err, &unreadable) {
			t.Errorf("a torn message that names the task: %v", err)
		}
	})
}
