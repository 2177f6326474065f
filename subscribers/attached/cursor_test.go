package attached

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestOneProcessRunsADurableNameAndAnotherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		o := Options{Name: "books", From: FromBeginning}
		a, b := &seen{}, &seen{}
		one := start(t, s, o, a.handle)
		start(t, s, o, b.handle)
		for i := range 10 {
			store(t, s, i%2, note(taskOf(i, i%2, 2), i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(a.notes()) != 10 || len(b.notes()) != 0 {
			t.Errorf("the first was told of %d events, the second of %d", len(a.notes()), len(b.notes()))
		}
		_ = one.stop()
		for i := range 10 {
			store(t, s, i%2, note(taskOf(i, i%2, 2), 10+i))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		notes := b.notes()
		if len(notes) != 10 || slices.Contains(notes, "9") {
			t.Errorf("the second took over with %v", notes)
		}
	})
}

func TestOneThatLostItsLeaseStopsAndDoesNotUndoItsSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		o := Options{Name: "books", From: FromBeginning}
		a, b := &seen{}, &seen{}
		start(t, s, o, a.handle)
		store(t, s, 0, note(taskOf(0, 0, 1), 0))
		time.Sleep(time.Second)
		s.Expire(leaseName("books"))
		two := start(t, s, o, b.handle)
		for i := range 5 {
			store(t, s, 0, note(taskOf(i, 0, 1), 1+i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		before := len(a.notes())
		for i := range 5 {
			store(t, s, 0, note(taskOf(i, 0, 1), 6+i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(a.notes()); n != before {
			t.Errorf("after it lost the lease it was told of %d more events", n-before)
		}
		if n := len(b.notes()); n != 10 {
			t.Errorf("its successor was told of %d events, want 10", n)
		}
		if next, ok, err := MinCursor(t.Context(), s, 0); next != 12 || !ok || err != nil {
			t.Errorf("MinCursor = %d, %v, %v, want 12", next, ok, err)
		}
		_ = two.stop()
	})
}

func TestCursorIsWrittenAfterFlushOrFlushEventsAndAtStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		sub := start(t, s, Options{Name: "books", From: FromBeginning, Flush: time.Minute, FlushEvents: 5}, (&seen{}).handle)
		at := func() uint64 {
			t.Helper()
			synctest.Wait()
			next, ok, err := MinCursor(t.Context(), s, 0)
			if !ok || err != nil {
				t.Fatalf("MinCursor: %v, %v", ok, err)
			}
			return next
		}
		for i := range 4 {
			store(t, s, 0, note(taskOf(i, 0, 1), i))
		}
		if n := at(); n != 1 {
			t.Errorf("after 4 events the cursor is at %d, want 1", n)
		}
		store(t, s, 0, note(taskOf(4, 0, 1), 4))
		if n := at(); n != 6 {
			t.Errorf("after 5 events the cursor is at %d, want 6", n)
		}
		store(t, s, 0, note(taskOf(5, 0, 1), 5))
		time.Sleep(time.Minute)
		if n := at(); n != 7 {
			t.Errorf("after a minute the cursor is at %d, want 7", n)
		}
		store(t, s, 0, note(taskOf(6, 0, 1), 6))
		synctest.Wait()
		_ = sub.stop()
		if n := at(); n != 8 {
			t.Errorf("after the stop the cursor is at %d, want 8", n)
		}
	})
}

// lossyKV stores, and says that it did not.
type lossyKV struct {
	domain.KV
	lose *int
}

func (k lossyKV) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	next, err := k.KV.Put(ctx, key, value, revision)
	if err == nil && *k.lose > 0 {
		*k.lose--
		return 0, domain.ErrUnavailable
	}
	return next, err
}

type lossy struct {
	*memlog.Store
	lose *int
}

func (l lossy) Cursors() domain.KV { return lossyKV{l.Store.Cursors(), l.lose} }

func TestCursorOfWhichTheAcknowledgementWasLostIsOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lose := 0
		s := lossy{memlog.New(memlog.Options{}), &lose}
		got := &seen{}
		start(t, s, Options{Name: "books", From: FromBeginning}, got.handle)
		for i := range 4 {
			lose = i % 2
			store(t, s.Store, 0, note(taskOf(i, 0, 1), i))
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for at, n := range got.times() {
			if n != 1 {
				t.Errorf("event %s came %d times", at, n)
			}
		}
		if next, _, _ := MinCursor(t.Context(), s, 0); next != 5 || len(got.notes()) != 4 {
			t.Errorf("the cursor is at %d after %d events", next, len(got.notes()))
		}
	})
}

func TestStartsWhereItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2, DataID: "data"})
		for i := range 6 {
			store(t, s, i%2, note(taskOf(i, i%2, 2), i))
			time.Sleep(time.Minute)
		}
		for name, c := range map[string]struct {
			from Start
			want []string
		}{
			"default":   {Start{}, []string{"6"}},
			"new":       {FromNew, []string{"6"}},
			"beginning": {FromBeginning, []string{"0", "1", "2", "3", "4", "5", "6"}},
			"oldest":    {FromOldest, []string{"0", "1", "2", "3", "4", "5", "6"}},
			"time":      {FromTime(time.Now().Add(-150 * time.Second)), []string{"4", "5", "6"}},
			"position":  {FromPosition("data:00=2,01=3"), []string{"4", "6"}},
			"one":       {FromPosition("data:01=3"), []string{"0", "2", "4", "6"}},
		} {
			got := &seen{}
			sub := start(t, s, Options{Name: name, From: c.from}, got.handle)
			defer func() {
				_ = sub.stop()
				notes := got.notes()
				if slices.Sort(notes); !slices.Equal(notes, c.want) {
					t.Errorf("%s: told of %v, want %v", name, notes, c.want)
				}
			}()
		}
		store(t, s, 0, note(taskOf(6, 0, 2), 6))
		synctest.Wait()
	})
}

func TestWhatCannotBeGoneOnFromIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{DataID: "data"})
		for i := range 10 {
			store(t, s, 0, note(taskOf(i, 0, 1), i))
		}
		began := time.Now()
		run := func(o Options) error {
			return Run(t.Context(), s, o, (&seen{}).handle, WithLogger(quiet))
		}
		saved := func(name, value string) string {
			if _, err := s.Cursors().Put(t.Context(), cursorKey(name, 0), []byte(value), 0); err != nil {
				t.Fatal(err)
			}
			return name
		}
		at5 := saved("at5", `{"data":"data","generation":1,"sequence":5,"index":0}`)
		if err := s.Log(0).Trim(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		for name, o := range map[string]Options{
			"5": {Name: at5},
			"1": {Name: "new", From: FromBeginning},
			"0": {From: FromTime(began)},
			"3": {From: FromPosition("data:00=2")},
		} {
			var trimmed ErrTrimmed
			if err := run(o); !errors.As(err, &trimmed) || trimmed.First != 6 || fmt.Sprint(trimmed.Wanted) != name {
				t.Errorf("wanted %s: %v", name, err)
			}
		}
		for name, o := range map[string]Options{
			"other data":       {Name: saved("d", `{"data":"other","generation":1,"sequence":7}`)},
			"other generation": {Name: saved("g", `{"data":"data","generation":2,"sequence":7}`)},
			"other cursor":     {From: FromPosition("other:00=7")},
			"other partitions": {From: FromPosition("data:00=7,01=7")},
		} {
			var mismatch *MismatchError
			if err := run(o); !errors.As(err, &mismatch) {
				t.Errorf("%s: %v", name, err)
			}
		}
		var ahead *AheadError
		if err := run(Options{Name: saved("a", `{"data":"data","generation":1,"sequence":12}`)}); !errors.As(err, &ahead) {
			t.Errorf("a cursor behind the end: %v", err)
		}
		for name, o := range map[string]Options{
			"a damaged cursor": {Name: saved("x", `{"data":"data"`)}, "no cursor": {From: FromPosition("x")},
			"a bad name": {Name: "a.b"}, "a misspelled type": {Types: []domain.EventType{"task.done"}}, "lanes": {Lanes: -1},
		} {
			if err := run(o); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, _, err := MinCursor(t.Context(), s, 0); err == nil {
			t.Error("MinCursor passes over a cursor that it cannot read")
		}
	})
}

func TestLogTrimmedUnderASlowReaderIsAnErrorAndNoSilentGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(0, 0, 1), 0))
		src := newSource(s, 0, 1, quiet)
		for i := range 3 {
			store(t, s, 0, note(taskOf(0, 0, 1), 1+i))
		}
		if err := s.Log(0).Trim(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		var trimmed ErrTrimmed
		err := s.Log(0).Scan(t.Context(), 1, func(m domain.Message) error {
			_, _, err := src.commit(t.Context(), m)
			return err
		})
		if !errors.As(err, &trimmed) || trimmed != (ErrTrimmed{0, 1, 3}) {
			t.Errorf("%v, want that 1 is trimmed and 3 is the first", err)
		}
	})
}

func TestUnreadableCommitStopsUntilAnOperatorSkipsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(0, 0, 1), 0))
		s.Foreign(0, "", []byte("hello"))
		s.Foreign(0, "claims-to-be-one", []byte("{"))
		got := &seen{}
		o := Options{Name: "books", From: FromBeginning}
		err := Run(t.Context(), s, o, got.handle, WithLogger(quiet))
		var unreadable *UnreadableError
		if !errors.As(err, &unreadable) || unreadable.Sequence != 3 || !errors.Is(err, domain.ErrNotACommit) {
			t.Errorf("Run: %v", err)
		}
		store(t, s, 0, note(taskOf(0, 0, 1), 1))
		store(t, s, 0, domain.Record{Event: domain.PartitionSkipped{Sequence: 3, Reason: "test"}})
		start(t, s, o, got.handle)
		time.Sleep(time.Second)
		notes := got.notes()
		if slices.Sort(notes); !slices.Equal(notes, []string{"0", "1", string(domain.PartitionSkippedType)}) {
			t.Errorf("told of %v", notes)
		}
	})
}

func TestEventsThatCannotBeReadGoToWhoAskedForEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		task := taskOf(0, 0, 1)
		store(t, s, 0,
			domain.Record{Task: task, Event: domain.Unknown{TypeName: "task.exploded", Version: 1}},
			domain.Record{Task: task, Event: domain.Unknown{TypeName: domain.TaskAnnotatedType, Version: 99}}, note(task, 1))
		all, some := &seen{}, &seen{}
		start(t, s, Options{From: FromBeginning}, all.handle)
		start(t, s, Options{From: FromBeginning, Types: []domain.EventType{domain.TaskAnnotatedType}}, some.handle)
		if len(all.notes()) != 3 || len(some.notes()) != 1 {
			t.Errorf("told of %v and %v", all.notes(), some.notes())
		}
	})
}

func TestListMinCursorAndForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		if _, ok, err := MinCursor(t.Context(), s, 0); ok || err != nil {
			t.Errorf("without subscribers: %v, %v", ok, err)
		}
		stuck := start(t, s, Options{Name: "stuck", From: FromBeginning}, func(context.Context, domain.Record) error { return errors.New("no") })
		start(t, s, Options{Name: "well", From: FromBeginning}, (&seen{}).handle)
		for i := range 8 {
			store(t, s, i%2, note(taskOf(i, i%2, 2), i))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if next, ok, err := MinCursor(t.Context(), s, 1); next != 1 || !ok || err != nil {
			t.Errorf("MinCursor = %d, %v, %v, want 1", next, ok, err)
		}
		list, err := List(t.Context(), s)
		if err != nil || len(list) != 2 || list[0].Name != "stuck" || list[0].Partitions[1].Lag != 4 || list[1].Partitions[1].Lag != 0 {
			t.Errorf("List = %+v, %v", list, err)
		}
		if err := Forget(t.Context(), s, "stuck"); !errors.Is(err, domain.ErrLeaseTaken) {
			t.Errorf("forgetting one that runs: %v", err)
		}
		_ = stuck.stop()
		if err := Forget(t.Context(), s, "stuck"); err != nil {
			t.Error(err)
		}
		if next, _, _ := MinCursor(t.Context(), s, 1); next != 5 {
			t.Errorf("MinCursor = %d, want 5", next)
		}
	})
}
