package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tasker-go/tasker/domain"
)

// SnapshotFormat is the version of the layout that WriteTo writes. ReadSnapshot reads it and every older one.
//
// Format 1, numbers as varints where nothing else is said:
//
//	"TASKSNAP"  format
//	partition  sequence  length commit-id  time (zigzag)
//	n  n x (length hash  length body)    definitions
//	n  n x sequence                      messages that are passed over
//	n  n x packed task                   in memory (domain.Task.AppendPacked)
//	n  n x (length packed task)          failed
//	n  n x 32 bytes                      ended: id, sequence, input hash, seconds; little endian
//	the sum of all n: 8 bytes            little endian, like the next
//	CRC-32C of all before it: 4 bytes
const SnapshotFormat = 1

const (
	snapshotMagic   = "TASKSNAP"
	snapshotTrailer = 12
	snapshotBuffer  = 64 << 10
	minPackedSize   = 24 // of any packed task, to hold a false count to
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of Freeze and WriteTo, beside *FrozenTaskError.
var (
	ErrFreezing = errors.New("a snapshot of the partition is under way")
	ErrThawed   = errors.New("the snapshot was given up")
)

// FrozenTaskError: a partition with a task that this version cannot continue is not snapshotted, because a snapshot of
// it would hide the event from the version that can.
type FrozenTaskError struct {
	Task  domain.TaskID
	Event *domain.Unknown
}

func (e *FrozenTaskError) Error() string {
	return fmt.Sprintf("no snapshot: task %s had event %q (version %d), which needs a newer version of tasker",
		e.Task, e.Event.TypeName, e.Event.Version)
}

// Frozen is the state of a partition as it was when Freeze was called.
type Frozen struct {
	Partition int
	Sequence  uint64
	CommitID  string
	At        domain.Instant

	definitions map[string]*domain.Definition
	skipped     []uint64
	live        []*Entry // of which only shared is read
	failed      []*FailedTask
	ended       *frozenEnded

	writing sync.Mutex  // held by WriteTo
	thawed  atomic.Bool // set by Thaw
}

// Freeze takes the state as it is now: pointers to the tasks, which are copied before they change until Thaw is called.
// The owner's goroutine calls it when everything folded is in the commit at that sequence or before it, stored or not,
// and lets another goroutine call WriteTo. It takes a millisecond for 250,000 tasks.
//
// A *FrozenTaskError when there are tasks that this version cannot continue; ErrFreezing until Thaw was called for the
// snapshot before.
func (p *Partition) Freeze(sequence uint64, commitID string, at domain.Instant) (*Frozen, error) {
	if p.sharing {
		return nil, ErrFreezing
	}
	if p.frozen > 0 {
		for e := range p.FrozenTasks() {
			return nil, &FrozenTaskError{Task: e.Task.ID, Event: e.Frozen}
		}
	}
	p.refresh(len(p.stale))
	p.epoch++
	p.sharing = true
	return &Frozen{
		Partition: p.Number, Sequence: sequence, CommitID: commitID, At: at,
		definitions: maps.Clone(p.definitions),
		skipped:     slices.Sorted(maps.Keys(p.skipped)),
		live:        slices.Clone(p.entries),
		failed:      slices.Clone(p.failures),
		ended:       p.Ended.freeze(),
	}, nil
}

// Thaw ends the sharing: tasks are changed in place again. The owner's goroutine calls it when the snapshot has been
// written or given up; a WriteTo that is still running ends with ErrThawed, as soon as its writer lets it. A second
// call changes nothing.
func (p *Partition) Thaw(f *Frozen) {
	if f.thawed.Swap(true) {
		return
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	f.ended.release()
	f.live, f.failed = nil, nil
	p.stale, p.copied, p.sharing = p.copied, nil, false
}

// refresh lets the next snapshot see up to n of the tasks that were copied during the last one.
func (p *Partition) refresh(n int) {
	for ; n > 0 && len(p.stale) > 0; n-- {
		last := len(p.stale) - 1
		e := p.stale[last]
		e.shared.Store(e.Task)
		p.stale[last] = nil
		p.stale = p.stale[:last]
	}
}

// LowestReference is the lowest sequence at which a task that is not over keeps a payload in the log; 0 when none does.
// The log is not trimmed beyond it. Any goroutine may call it; after Thaw it is not known any more, and the answer is 1.
func (f *Frozen) LowestReference() uint64 {
	var lowest uint64
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.thawed.Load() {
		return 1
	}
	for _, e := range f.live {
		if task := e.shared.Load(); task.State.Live() || task.State == domain.Error {
			lowest = lower(lowest, task.LowestReference())
		}
	}
	for _, failed := range f.failed {
		lowest = lower(lowest, failed.reference)
	}
	return lowest
}

// lower is the lower one of two sequences, of which 0 is none.
func lower(a, b uint64) uint64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// WriteTo writes the snapshot. Any goroutine may call it, while the owner goes on.
func (f *Frozen) WriteTo(w io.Writer) (int64, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	s := snapshotWriter{w: w, buf: make([]byte, 0, snapshotBuffer+snapshotBuffer/4), stop: &f.thawed}
	f.write(&s)
	if s.flush(); s.err != nil {
		return s.written, fmt.Errorf("write snapshot of partition %d at %d: %w", f.Partition, f.Sequence, s.err)
	}
	return s.written, nil
}

func (f *Frozen) write(s *snapshotWriter) {
	if f.thawed.Load() {
		s.err = ErrThawed
		return
	}
	s.buf = append(s.buf, snapshotMagic...)
	s.buf = binary.AppendUvarint(s.buf, SnapshotFormat)
	s.buf = binary.AppendUvarint(s.buf, uint64(f.Partition)) // #nosec G115 -- not negative
	s.buf = binary.AppendUvarint(s.buf, f.Sequence)
	s.text(f.CommitID)
	s.buf = binary.AppendVarint(s.buf, int64(f.At))
	s.section(len(f.definitions))
	for hash, def := range f.definitions {
		s.text(hash)
		s.text(string(def.Body()))
		if !s.goOn() {
			return
		}
	}
	s.section(len(f.skipped))
	for _, sequence := range f.skipped {
		s.buf = binary.AppendUvarint(s.buf, sequence)
	}
	s.section(len(f.live))
	for _, e := range f.live {
		s.buf = e.shared.Load().AppendPacked(s.buf)
		if !s.goOn() {
			return
		}
	}
	s.section(len(f.failed))
	for _, failed := range f.failed {
		s.text(string(failed.packed))
		if !s.goOn() {
			return
		}
	}
	s.section(f.ended.count)
	for entry := range f.ended.entries() {
		s.buf = entry.appendTo(s.buf)
		if !s.goOn() {
			return
		}
	}
	s.buf = binary.LittleEndian.AppendUint64(s.buf, s.count)
	s.flush()
	s.buf = binary.LittleEndian.AppendUint32(s.buf, s.sum)
}

// snapshotWriter gathers, sums and counts.
type snapshotWriter struct {
	w       io.Writer
	stop    *atomic.Bool
	buf     []byte
	sum     uint32
	count   uint64
	written int64
	err     error
}

func (s *snapshotWriter) text(text string) {
	s.buf = binary.AppendUvarint(s.buf, uint64(len(text)))
	s.buf = append(s.buf, text...)
}

func (s *snapshotWriter) section(n int) {
	s.buf = binary.AppendUvarint(s.buf, uint64(n)) // #nosec G115 -- not negative
	s.count += uint64(n)                           // #nosec G115 -- not negative
}

// goOn passes on what there is when it is much, and reports whether there is any use in more.
func (s *snapshotWriter) goOn() bool {
	if s.stop.Load() {
		s.err = ErrThawed
	}
	if len(s.buf) >= snapshotBuffer {
		s.flush()
	}
	return s.err == nil
}

func (s *snapshotWriter) flush() {
	if s.err != nil || len(s.buf) == 0 {
		return
	}
	s.sum = crc32.Update(s.sum, castagnoli, s.buf)
	var n int
	n, s.err = s.w.Write(s.buf)
	s.written += int64(n)
	s.buf = s.buf[:0]
}

// packTask is what remains of a failed task in memory.
func packTask(t *domain.Task) []byte {
	return bytes.Clone(t.AppendPacked(make([]byte, 0, 512))) // cut to size
}

// unpack brings a failed task back. What is packed was packed here, or read and checked by ReadSnapshot.
func (p *Partition) unpack(f *FailedTask) *domain.Task {
	t, _, err := domain.UnpackTask(f.packed, p.Definition)
	if err != nil {
		panic(fmt.Sprintf("memory of partition %d is damaged: %v", p.Number, err))
	}
	return t
}
