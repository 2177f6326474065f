package projections

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

func freeze(t testing.TB, p *Partition) *Frozen {
	t.Helper()
	f, err := p.Freeze(p.Sequence, p.CommitID, p.At)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func snapshotOf(t testing.TB, p *Partition) []byte {
	t.Helper()
	f := freeze(t, p)
	defer p.Thaw(f)
	var b bytes.Buffer
	if n, err := f.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func TestASnapshotAndTheLogBehindItAreTheWholeLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		turns := rapid.IntRange(1, 25).Draw(rt, "turns")
		at := rapid.IntRange(0, turns-1).Draw(rt, "snapshot at")
		var written bytes.Buffer
		var writing sync.WaitGroup
		var frozen *Frozen
		for i := range turns {
			w.randomTurn(rt, t)
			if i == at {
				frozen = freeze(t, w.p)
				writing.Go(func() { // while the owner goes on
					if _, err := frozen.WriteTo(&written); err != nil {
						t.Error(err)
					}
				})
			}
		}
		writing.Wait()
		w.p.Thaw(frozen)

		loaded, err := ReadSnapshot(written.Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		whole := NewPartition(3)
		for _, c := range w.commits {
			if c.Sequence > loaded.Sequence {
				if err := loaded.Apply(c); err != nil {
					rt.Fatal(err)
				}
			}
			if err := whole.Apply(c); err != nil {
				rt.Fatal(err)
			}
		}
		if diff := cmp.Diff(dump(whole), dump(loaded)); diff != "" {
			rt.Fatalf("snapshot and tail (-whole log +snapshot):\n%s", diff)
		}
		if diff := cmp.Diff(dump(whole), dump(w.p)); diff != "" {
			rt.Fatalf("the live path (-whole log +live):\n%s", diff)
		}
		reread, err := ReadSnapshot(snapshotOf(t, loaded))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(dump(loaded), dump(reread)); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestTasksThatAreOverLeaveMemoryWhenASnapshotIsRead(t *testing.T) {
	w := newWorld(t)
	ended, failed := unkeyedID(1), unkeyedID(2)
	w.create(ended, `{}`)
	w.create(failed, `{}`)
	w.do(failed, domain.StartStep{Step: 0}, "")
	w.do(failed, domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}}, "")
	w.do(failed, domain.FailTask{}, "")
	w.do(ended, domain.CancelTask{}, "")
	// The commit is under way: nobody has retired them.
	f, err := w.p.Freeze(2, "c-2", w.now)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	w.p.Thaw(f)
	loaded, err := ReadSnapshot(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.LiveCount() != 0 || loaded.FailedCount() != 1 || loaded.Ended.Len() != 1 || loaded.Sequence != 2 || loaded.CommitID != "c-2" {
		t.Error(dump(loaded))
	}
	if e := loaded.Find(failed); e == nil || e.Task.State != domain.Error {
		t.Errorf("the failed task came back as %+v", e)
	}
}

func TestAFrozenTaskKeepsThePartitionFromBeingSnapshotted(t *testing.T) {
	w := newWorld(t)
	id := unkeyedID(1)
	w.create(id, `{}`)
	w.fact(id, domain.Unknown{TypeName: "step.teleported", Version: 2}, "")
	_, err := w.p.Freeze(2, "c-2", w.now)
	var frozen *FrozenTaskError
	if !errors.As(err, &frozen) || frozen.Task != id || frozen.Event.TypeName != "step.teleported" {
		t.Error(err)
	}
}

func TestATaskIsCopiedOnceWhileASnapshotSharesIt(t *testing.T) {
	w := newWorld(t)
	id := unkeyedID(1)
	w.create(id, `{}`)
	e := w.p.Live(id)
	before := e.Task
	f := freeze(t, w.p)
	w.do(id, domain.StartTask{}, "")
	copied := e.Task
	if copied == before || before.State != domain.Pending || copied.State != domain.InProgress {
		t.Error("the task was changed under the snapshot")
	}
	w.do(id, domain.StartStep{Step: 0}, "")
	if e.Task != copied {
		t.Error("it was copied twice")
	}
	if _, err := w.p.Freeze(1, "", 0); !errors.Is(err, ErrFreezing) {
		t.Errorf("a second snapshot beside the first: %v", err)
	}
	w.p.Thaw(f)
	w.p.Thaw(f)
	second := freeze(t, w.p)
	if second.live[0].shared.Load() != copied {
		t.Error("the next snapshot sees the task as it was")
	}
	w.p.Thaw(second)
	w.do(id, domain.PauseTask{}, "")
	if e.Task != copied {
		t.Error("it was copied although nobody shares it")
	}
}

func TestThawEndsAWriteThatIsUnderWay(t *testing.T) {
	w := newWorld(t)
	for n := range 5000 {
		w.create(unkeyedID(n), `{"fill":"`+fmt.Sprintf("%0200d", n)+`"}`)
	}
	f := freeze(t, w.p)
	r, pipe := io.Pipe()
	result := make(chan error)
	go func() {
		_, err := f.WriteTo(pipe)
		result <- err
	}()
	if _, err := io.CopyN(io.Discard, r, 1000); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the store is gone")
	r.CloseWithError(broken)
	w.p.Thaw(f)
	if err := <-result; !errors.Is(err, broken) && !errors.Is(err, ErrThawed) {
		t.Errorf("WriteTo ended with %v", err)
	}
	if _, err := f.WriteTo(io.Discard); !errors.Is(err, ErrThawed) {
		t.Errorf("a write after the end: %v", err)
	}
	if f.LowestReference() != 1 {
		t.Error("after the end it seems that the log may be trimmed")
	}
}

func TestTheLowestReferenceOfASnapshotIsThatOfItsUnfinishedTasks(t *testing.T) {
	w := newWorld(t)
	large := `{"fill":"` + string(bytes.Repeat([]byte("x"), 2*domain.InlineState)) + `"}`
	ended, failed, live := unkeyedID(1), unkeyedID(2), unkeyedID(3)
	for _, id := range []domain.TaskID{ended, failed, live} {
		w.create(id, large)
		w.commit(t)
	}
	lowest := func() uint64 {
		f := freeze(t, w.p)
		defer w.p.Thaw(f)
		return f.LowestReference()
	}
	if got := lowest(); got != 2 {
		t.Errorf("%d, want that of the first task", got)
	}
	w.do(ended, domain.CancelTask{}, "")
	w.do(failed, domain.StartStep{Step: 0}, "")
	w.do(failed, domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}}, "")
	w.do(failed, domain.FailTask{}, "")
	w.commit(t)
	if got := lowest(); w.p.FailedCount() != 1 || got != 3 {
		t.Errorf("%d, want that of the failed task", got)
	}
	w.do(failed, domain.ResolveTask{}, "")
	w.commit(t)
	if got := lowest(); got != 4 {
		t.Errorf("%d, want that of the live task", got)
	}
	w.do(live, domain.CancelTask{}, "")
	w.commit(t)
	if got := lowest(); got != 0 {
		t.Errorf("%d, want none", got)
	}
}

func TestASnapshotThatCannotBeReadSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.create(unkeyedID(1), `{}`)
	w.run(t, unkeyedID(1))
	w.create(unkeyedID(2), `{}`)
	w.commit(t)
	whole := snapshotOf(t, w.p)
	for n := range whole {
		_, err := ReadSnapshot(whole[:n])
		if n < len(snapshotMagic) && !errors.Is(err, ErrNoSnapshot) || n >= len(snapshotMagic) && !errors.Is(err, ErrSnapshotTorn) {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
	}
	for n := range whole {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		if _, err := ReadSnapshot(flipped); err == nil {
			t.Fatalf("a wrong bit at %d of %d passed", n, len(whole))
		}
	}
	newer := resum(append([]byte(snapshotMagic+"\x63"), whole[len(snapshotMagic)+1:]...))
	var version *SnapshotVersionError
	if _, err := ReadSnapshot(newer); !errors.As(err, &version) || version.Have != 99 || version.Known != SnapshotFormat {
		t.Errorf("newer format: %v", err)
	}
	if _, err := ReadSnapshot(resum(append(whole[:len(whole)-12:len(whole)-12], make([]byte, 12)...))); !errors.Is(err, ErrSnapshotCorrupt) {
		t.Errorf("wrong count: %v", err)
	}
}

func TestADefinitionKeepsTheHashUnderWhichItWasAdopted(t *testing.T) {
	w := newWorld(t)
	const former = "00000000000000000000000000000000" // an older version wrote the body otherwise
	w.fact(domain.TaskID{}, domain.DefinitionAdopted{Hash: former, Body: w.def.Body()}, "")
	id := unkeyedID(1)
	w.fact(id, domain.TaskCreated{Name: "w", Version: "0.1.0", Definition: former}, "")
	w.do(id, domain.StartStep{Step: 0}, "")
	w.do(id, domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}}, "")
	w.do(id, domain.FailTask{}, "")
	w.commit(t)
	loaded, err := ReadSnapshot(snapshotOf(t, w.p))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Partition{w.p, loaded} {
		if e := p.Find(id); e == nil || e.Task.Definition.Hash() != former {
			t.Errorf("the task came back as %+v", e)
		}
	}
}

// resum makes the checksum right.
func resum(b []byte) []byte {
	n := len(b) - 4
	return binary.LittleEndian.AppendUint32(b[:n:n], crc32.Checksum(b[:n], castagnoli))
}

func FuzzReadSnapshot(f *testing.F) {
	w := newWorld(f)
	f.Add(snapshotOf(f, w.p))
	w.create(unkeyedID(1), `{}`)
	w.run(f, unkeyedID(1))
	w.create(domain.KeyedTaskID("default", "w", "k"), `{}`)
	w.run(f, domain.KeyedTaskID("default", "w", "k"))
	failed := unkeyedID(2)
	w.create(failed, `{}`)
	w.do(failed, domain.StartStep{Step: 0}, "")
	w.do(failed, domain.FailStep{Step: 0, Attempt: 1, Error: domain.StepError{Kind: domain.KindPermanent}}, "")
	w.do(failed, domain.FailTask{}, "")
	w.create(unkeyedID(3), `{}`)
	w.fact(domain.TaskID{}, domain.PartitionSkipped{Sequence: 9}, domain.ByOperator)
	w.commit(f)
	f.Add(snapshotOf(f, w.p))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < snapshotTrailer {
			return
		}
		p, err := ReadSnapshot(resum(b)) // past the checksum
		if err != nil {
			return
		}
		if len(p.failed) > 0 {
			for id := range p.FailedTasks() {
				p.Find(id)
			}
		}
		again, err := ReadSnapshot(snapshotOf(t, p))
		if err != nil {
			t.Fatal(err)
		}
		for id := range again.FailedTasks() {
			again.Find(id)
		}
		if diff := cmp.Diff(dump(p), dump(again)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func populated(tb testing.TB, live, ended int) *Partition {
	w := newWorld(tb)
	p := w.p
	for n := range live {
		r := domain.Record{At: worldStart, Task: unkeyedID(n), Position: domain.Position{Partition: 3, Sequence: 2 + uint64(n)}}
		r.Event = domain.TaskCreated{Definition: w.def.Hash(), Initiator: "bench", Context: domain.Inline(json.RawMessage(`{"order":4711,"customer":"c-0815"}`))}
		for i, e := range []domain.Event{
			r.Event, domain.TaskStartRequested{}, domain.StepExecutionRequested{Step: "a", Attempt: 1},
			domain.StepCompleted{Step: "a", Attempt: 1, Result: domain.Inline(json.RawMessage(`{"ok":true,"n":12345}`))},
			domain.StepExecutionRequested{Step: "b", Attempt: 1}, domain.StepExecutionRequested{Step: "c", Attempt: 1},
		} {
			r.Event, r.At = e, worldStart+domain.Instant(i)*700
			if _, err := p.Fold(r); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for n := range ended {
		p.Ended.Add(randomUUID(n), EndedTask{Last: uint64(n), Input: 7, At: worldStart})
	}
	return p
}

func BenchmarkSnapshot250000(b *testing.B) {
	p := populated(b, 250_000, 0)
	b.Run("freeze", func(b *testing.B) {
		for b.Loop() {
			p.Thaw(freeze(b, p))
		}
	})
	b.Run("write", func(b *testing.B) {
		f := freeze(b, p)
		defer p.Thaw(f)
		var n int64
		for b.Loop() {
			n, _ = f.WriteTo(io.Discard)
		}
		b.ReportMetric(float64(n)/250_000, "bytes/task")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/250_000, "ns/task")
	})
	snapshot := snapshotOf(b, p)
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := ReadSnapshot(snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEndedMillion(b *testing.B) {
	p := populated(b, 0, 1_000_000)
	b.Run("freeze", func(b *testing.B) {
		for b.Loop() {
			p.Thaw(freeze(b, p))
		}
	})
	snapshot := snapshotOf(b, p)
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := ReadSnapshot(snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}
