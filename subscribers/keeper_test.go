package subscribers

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestPruneKeepsThePayloadsOfTasksThatAreNotOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", func(_ *Config, w *owner) { w.auto = false })
		w.own()
		d := chain(t, nil, "a")
		large := json.RawMessage(`{"x":"` + strings.Repeat("x", 2*domain.InlineState) + `"}`)
		answers := make(chan Answer, 1)
		for n := range 3 {
			w.must(w.submit(d, n))
		}
		if err := w.c.Submit(d, domain.CreateTask{ID: taskID(10), Context: domain.Inline(large)}, func(a Answer) { answers <- a }); err != nil {
			t.Fatal(err)
		}
		a := <-answers
		for n := range 20 {
			w.must(w.submit(d, 20+n))
		}
		pruned, first, err := w.c.Prune(t.Context(), 0, false)
		if err != nil {
			t.Fatal(err)
		}
		if pruned == 0 || first > a.Position.Sequence {
			t.Fatalf("%d commits went, and the log begins at %d; the context of a running task is at %d", pruned, first, a.Position.Sequence)
		}
		if _, err := store.Log(0).Read(t.Context(), a.Position.Sequence); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPruneOfAQuietPartitionNeedsOneGoodSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", nil)
		w.own()
		for n := range 20 { // several definitions: a snapshot has them in no order
			d := chain(t, func(d *domain.Definition) { d.Version = fmt.Sprintf("1.0.%d", n) }, "a")
			w.must(w.submit(d, n))
		}
		synctest.Wait()
		for range 3 {
			if _, _, err := w.c.Prune(t.Context(), 0, false); err != nil {
				t.Fatal(err)
			}
		}
		bounds, err := store.Log(0).Bounds(t.Context())
		if err != nil || bounds.First != bounds.Last {
			t.Fatalf("%+v %v: it should be pruned up to the snapshot", bounds, err)
		}
		w.stop()
		<-w.ended
		again := startOwner(t, store, "b", nil)
		again.own()
		if a := again.must(again.submitID(chain(t, nil, "a"), taskID(3))); a.Created {
			t.Fatal("a task of before is not known any more")
		}
	})
}

func TestADamagedSnapshotIsNotPrunedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", nil)
		w.own()
		w.must(w.submit(chain(t, nil, "a"), 1))
		synctest.Wait()
		if _, err := w.c.snapshotNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		infos, err := store.Snapshots().List(t.Context(), 0)
		if err != nil || len(infos) != 1 {
			t.Fatal(infos, err)
		}
		store.DamageSnapshot(0, infos[0].Sequence)
		if n, _, err := w.c.Prune(t.Context(), 0, false); err == nil || n != 0 {
			t.Fatalf("%d commits went although the only snapshot is damaged: %v", n, err)
		}
		if b, err := store.Log(0).Bounds(t.Context()); err != nil || b.First != 1 {
			t.Fatal(b, err)
		}
	})
}

func TestWhoeverAskedForASnapshotIsToldWhenTheEngineStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", nil)
		w.own()
		w.must(w.submit(chain(t, nil, "a"), 1))
		store.Faults(0).Decide(func(uint64, string) memlog.Fate { return memlog.MessageLost })
		w.submit(chain(t, nil, "a"), 2)
		synctest.Wait()
		answers := make(chan error, 1)
		go func() {
			_, err := w.c.snapshotNow(t.Context())
			answers <- err
		}()
		synctest.Wait()
		w.stop()
		<-w.ended
		if err := <-answers; !errors.Is(err, ErrNotOwner) && !errors.Is(err, ErrNotRunning) && !errors.Is(err, ErrOutcomeUnknown) {
			t.Fatal(err)
		}
	})
}

func TestSnapshotsAreTakenWhileSomethingAlwaysWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		w := startOwner(t, store, "a", func(c *Config, _ *owner) { c.SnapshotBytes = 4 << 10 })
		w.own()
		d := chain(t, nil, "a")
		w.must(w.submit(d, 0))
		// A request begets the next one: there is never a turn after which everything has been sent.
		until := time.Now().Add(time.Second)
		n := 0
		var next func()
		next = func() {
			if time.Now().After(until) {
				return
			}
			if n++; n < 10_000 {
				if err := w.c.Inspect(func(m *Machine) {
					if n%2 == 0 {
						m.Submit(d, domain.CreateTask{ID: taskID(n), Context: domain.Inline(json.RawMessage("{}"))}, m.Now(domain.InstantOf(time.Now())), nil)
					}
					next()
				}, func(error) {}); err != nil {
					t.Error(err)
				}
			}
		}
		next()
		time.Sleep(2 * time.Second)
		infos, err := store.Snapshots().List(t.Context(), 0)
		if err != nil || len(infos) == 0 {
			t.Fatalf("no snapshot in %d requests: %v", n, err)
		}
	})
}

func TestAProcessThatStartsAgainCountsWhatItHadToRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newStore()
		d := chain(t, nil, "a")
		n := 0
		for range 4 { // each writes less than what makes a snapshot
			w := startOwner(t, store, "a", func(c *Config, _ *owner) { c.SnapshotBytes = 20 << 10 })
			w.own()
			for range 16 {
				n++
				w.must(w.submit(d, n))
			}
			synctest.Wait()
			if infos, _ := store.Snapshots().List(t.Context(), 0); len(infos) > 0 {
				return
			}
			w.stop()
			<-w.ended
		}
		b, _ := store.Log(0).Bounds(t.Context())
		t.Fatalf("%d bytes of log and no snapshot", b.Bytes)
	})
}
