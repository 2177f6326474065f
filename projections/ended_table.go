package projections

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
)

const (
	endedEntrySize = 32
	minEndedSlots  = 8
	// A table below this many places lies in the Go heap: a mapping of its own would waste most of a page.
	minMappedSlots = 512
)

// endedTable is an open-addressing table with linear probing, or a plain array; which one, its user decides. An entry is
// 32 bytes: id, sequence, input, seconds; a zero id is a free place. Its memory is no Go memory where the system allows
// that, and every access ends with KeepAlive, because the mapping goes when the table is collected.
type endedTable struct {
	mem    []byte
	slots  int
	count  int    // of a hash table
	oldest uint32 // no entry of a hash table ended before
	// refs are the owner, and the snapshots that still read it. Only the owner adds to them, so when it finds itself
	// alone it is.
	refs    atomic.Int32
	free    func()
	cleanup runtime.Cleanup
}

// endedEntry is one place.
type endedEntry struct {
	id    domain.TaskID
	last  uint64
	input uint32
	at    uint32
}

func (e endedEntry) task() EndedTask {
	return EndedTask{Last: e.last, Input: e.input, At: domain.Instant(time.Duration(e.at) * time.Second / time.Microsecond)}
}

func (e endedEntry) appendTo(b []byte) []byte {
	b = append(b, e.id[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.last)
	b = binary.LittleEndian.AppendUint32(b, e.input)
	return binary.LittleEndian.AppendUint32(b, e.at)
}

func readEndedEntry(b []byte) endedEntry {
	_ = b[endedEntrySize-1]
	return endedEntry{
		id: domain.TaskID(b[:16]), last: binary.LittleEndian.Uint64(b[16:]),
		input: binary.LittleEndian.Uint32(b[24:]), at: binary.LittleEndian.Uint32(b[28:]),
	}
}

func newEndedTable(slots int) *endedTable {
	t := &endedTable{oldest: ^uint32(0)}
	t.refs.Store(1)
	if slots >= minMappedSlots {
		t.mem, t.free = mapMemory(slots * endedEntrySize)
	}
	if t.free != nil {
		t.cleanup = runtime.AddCleanup(t, func(free func()) { free() }, t.free)
	} else {
		t.mem = make([]byte, slots*endedEntrySize)
	}
	t.slots = len(t.mem) / endedEntrySize
	return t
}

// release gives up one reference; the last one frees the memory at once.
func (t *endedTable) release() {
	if t.refs.Add(-1) == 0 && t.free != nil {
		t.cleanup.Stop()
		t.free()
		t.mem = nil
	}
}

// own returns the table if nobody shares it, else a copy.
func (t *endedTable) own() *endedTable {
	if t.refs.Load() == 1 {
		return t
	}
	c := newEndedTable(t.slots)
	copy(c.mem, t.mem)
	c.count, c.oldest = t.count, t.oldest
	runtime.KeepAlive(c)
	t.release()
	return c
}

func (t *endedTable) read(i int) endedEntry {
	entry := readEndedEntry(t.mem[i*endedEntrySize:])
	runtime.KeepAlive(t)
	return entry
}

func (t *endedTable) write(i int, entry endedEntry) {
	entry.appendTo(t.mem[i*endedEntrySize : i*endedEntrySize])
	runtime.KeepAlive(t)
}

// full: at a load of 0.85 an id that is not there is found out after 23 places that lie side by side.
func (t *endedTable) full() bool { return (t.count+1)*20 > t.slots*17 }

func (t *endedTable) grown() int {
	if t.slots < minMappedSlots {
		return 2 * t.slots
	}
	return t.slots + t.slots/4
}

// find returns the place of the id, or the free one where it belongs.
func (t *endedTable) find(hash uint64, id domain.TaskID) (int, bool) {
	for i := t.home(hash); ; {
		at := domain.TaskID(t.mem[i*endedEntrySize : i*endedEntrySize+len(id)])
		if at == id || at.IsZero() {
			runtime.KeepAlive(t)
			return i, at == id
		}
		if i++; i == t.slots {
			i = 0
		}
	}
}

// home is the place where the search for an id begins.
func (t *endedTable) home(hash uint64) int {
	place, _ := bits.Mul64(hash, uint64(t.slots)) // #nosec G115 -- not negative
	return int(place)                             // #nosec G115 -- below slots
}

// put writes the entry and reports whether its id is new. The table must not be full.
func (t *endedTable) put(hash uint64, entry endedEntry) bool {
	i, found := t.find(hash, entry.id)
	t.write(i, entry)
	t.oldest = min(t.oldest, entry.at)
	if !found {
		t.count++
	}
	return !found
}

// since counts the entries that did not end before then. The others are to be removed now.
func (t *endedTable) since(limit uint32) int {
	n, oldest := 0, ^uint32(0)
	for i := range t.slots {
		if entry := t.read(i); !entry.id.IsZero() && entry.at >= limit {
			oldest = min(oldest, entry.at)
			n++
		}
	}
	t.oldest = oldest
	return n
}

// rebuild returns a table with the entries that did not end before then.
func (t *endedTable) rebuild(slots int, hash func(domain.TaskID) uint64, limit uint32) *endedTable {
	c := newEndedTable(max(slots, minEndedSlots))
	for i := range t.slots {
		if entry := t.read(i); !entry.id.IsZero() && entry.at >= limit {
			c.put(hash(entry.id), entry)
		}
	}
	return c
}

// forget removes the entries that ended before then, in place.
func (t *endedTable) forget(limit uint32, hash func(domain.TaskID) uint64) {
	for i := range t.slots {
		for entry := t.read(i); !entry.id.IsZero() && entry.at < limit; entry = t.read(i) {
			t.remove(i, hash)
		}
	}
}

// remove frees the place, and fills it from behind, so that no search ends too early.
func (t *endedTable) remove(i int, hash func(domain.TaskID) uint64) {
	t.count--
	for j := i; ; {
		if j++; j == t.slots {
			j = 0
		}
		entry := t.read(j)
		if entry.id.IsZero() {
			t.write(i, endedEntry{})
			return
		}
		// It may move unless its home lies behind the free place, on the way to it.
		home := t.home(hash(entry.id))
		if i < j && (home <= i || home > j) || i > j && home <= i && home > j {
			t.write(i, entry)
			i = j
		}
	}
}
