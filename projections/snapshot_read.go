package projections

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tasker-go/tasker/domain"
)

// Errors of ReadSnapshot, beside *SnapshotVersionError.
var (
	ErrNoSnapshot      = errors.New("this is not a snapshot")
	ErrSnapshotTorn    = errors.New("the snapshot is torn: its checksum does not match; use an older one")
	ErrSnapshotCorrupt = errors.New("the snapshot is corrupt although its checksum matches; use an older one")
)

// SnapshotVersionError: a newer version of tasker wrote the snapshot.
type SnapshotVersionError struct {
	Have  uint64 // format of the snapshot
	Known uint64 // newest format that this version reads
}

func (e *SnapshotVersionError) Error() string {
	return fmt.Sprintf("the snapshot has format %d and this version of tasker reads up to %d: run the newer version, or use an older snapshot",
		e.Have, e.Known)
}

// ReadSnapshot reads a snapshot; nothing of data is kept. Tasks that had ended or failed but were still in memory leave
// it. Errors: ErrNoSnapshot, ErrSnapshotTorn, ErrSnapshotCorrupt, *SnapshotVersionError.
func ReadSnapshot(data []byte) (*Partition, error) {
	r := snapshotReader{b: data}
	if string(r.take(len(snapshotMagic))) != snapshotMagic {
		return nil, ErrNoSnapshot
	}
	format := r.number()
	switch {
	case r.bad:
		return nil, ErrSnapshotTorn
	case format > SnapshotFormat:
		return nil, &SnapshotVersionError{Have: format, Known: SnapshotFormat}
	case len(data) < snapshotTrailer || crc32.Checksum(data[:len(data)-4], castagnoli) != binary.LittleEndian.Uint32(data[len(data)-4:]):
		return nil, ErrSnapshotTorn
	case format == 0 || len(r.b) < snapshotTrailer:
		return nil, ErrSnapshotCorrupt
	}
	trailer := r.b[len(r.b)-snapshotTrailer:]
	r.b = r.b[:len(r.b)-snapshotTrailer]
	p, err := r.partition()
	if err != nil {
		return nil, err
	}
	if r.bad || len(r.b) != 0 || r.count != binary.LittleEndian.Uint64(trailer) {
		return nil, ErrSnapshotCorrupt
	}
	return p, nil
}

// snapshotReader takes values off b; after the first that is not there it is bad and gives zeros.
type snapshotReader struct {
	b     []byte
	count uint64
	bad   bool
}

func (r *snapshotReader) partition() (*Partition, error) {
	number := r.number()
	if number > 1<<16 {
		return nil, ErrSnapshotCorrupt
	}
	p := NewPartition(int(number)) // #nosec G115 -- a small number
	p.Sequence = r.number()
	p.CommitID = string(r.text())
	p.At = domain.Instant(r.signed())
	for range r.section(2) {
		adopted := domain.DefinitionAdopted{Hash: string(r.text()), Body: bytes.Clone(r.text())}
		def, err := adopted.Definition()
		if err != nil || r.bad {
			return nil, fmt.Errorf("%w: definition %s: %w", ErrSnapshotCorrupt, adopted.Hash, err)
		}
		p.definitions[adopted.Hash] = def.Under(adopted.Hash)
	}
	for range r.section(1) {
		p.skipped[r.number()] = true
	}
	if err := r.tasks(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshotCorrupt, err)
	}
	n := r.section(endedEntrySize)
	p.Ended.reserve(n)
	for range n {
		entry := readEndedEntry(r.take(endedEntrySize))
		p.Ended.Add(entry.id, entry.task())
	}
	return p, nil
}

func (r *snapshotReader) tasks(p *Partition) error {
	n := r.section(minPackedSize)
	p.live = make(map[domain.TaskID]*Entry, n)
	p.entries = make(bag[*Entry], 0, n)
	for range n {
		t, rest, err := domain.UnpackTask(r.b, p.Definition)
		if err != nil {
			return err
		}
		r.b = rest
		if p.find(t.ID) != nil {
			return fmt.Errorf("task %s is there twice", t.ID)
		}
		p.Retire(p.enter(t))
	}
	for range r.section(minPackedSize) {
		packed := r.text()
		t, rest, err := domain.UnpackTask(packed, p.Definition)
		if err != nil {
			return err
		}
		if len(rest) > 0 || t.State != domain.Error {
			return fmt.Errorf("task %s among the failed ones is %s", t.ID, t.State)
		}
		if p.find(t.ID) != nil {
			return fmt.Errorf("task %s is there twice", t.ID)
		}
		p.fail(t, bytes.Clone(packed))
	}
	return nil
}

func (r *snapshotReader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *snapshotReader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *snapshotReader) signed() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *snapshotReader) text() []byte { return r.take(r.length(1)) }

// length is a number of things that take so many bytes each at least, or 0 when they cannot be there.
func (r *snapshotReader) length(each int) int {
	n := r.number()
	if n > uint64(len(r.b)/each) { // #nosec G115 -- not negative
		r.bad, r.b = true, nil
		return 0
	}
	return int(n) // #nosec G115 -- at most len(r.b)
}

func (r *snapshotReader) section(each int) int {
	n := r.length(each)
	r.count += uint64(n) // #nosec G115 -- not negative
	return n
}
