package projections

import (
	"hash/maphash"
	"iter"
	"math"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// MaxUnkeyed is how many ended tasks without an idempotency key a partition remembers. Their ids are made by the client
// library and are never submitted again but by its own retry, moments later.
const MaxUnkeyed = 1 << 16

const (
	endedShards = 128
	// ringChunk is how many unkeyed tasks are copied at a time when a snapshot shares them.
	ringChunk = 4096
	// expireSlots is how many places of the table one call of Expire looks at: well below a millisecond.
	expireSlots = 1 << 15
)

// Ended remembers the tasks that have ended: those with an idempotency key until Expire forgets them, the others until
// MaxUnkeyed newer ones have ended. An id with a key takes 38 to 48 bytes of memory that the garbage collector neither
// scans nor leaves headroom for.
//
// One goroutine uses it. A snapshot shares its tables (freeze) until this goroutine writes to them; then it writes to a
// copy, one table of some 100 KiB at a time.
type Ended struct {
	seed   maphash.Seed // per process: nobody can choose keys that fall on one place
	shards [endedShards]*endedTable
	keyed  int
	sweep  int // the shard where Expire goes on

	// The unkeyed ones stand in a ring, made of chunks.
	ring  []*endedTable
	next  int // counted without end; the place is the remainder
	place map[domain.TaskID]uint32
}

// EndedTask is what is remembered of a task.
type EndedTask struct {
	Last  uint64         // sequence of its newest commit
	Input uint32         // TaskCreated.InputHash
	At    domain.Instant // when it ended; kept in whole seconds, rounded up
}

// NewEnded is an empty table. It takes memory as it fills.
func NewEnded() *Ended {
	return &Ended{seed: maphash.MakeSeed(), place: map[domain.TaskID]uint32{}}
}

// Add remembers a task, in place of what was remembered under its id. The zero id is no task and is ignored.
func (e *Ended) Add(id domain.TaskID, task EndedTask) {
	entry := endedEntry{id: id, last: task.Last, input: task.Input, at: endedSeconds(task.At)}
	switch {
	case id.IsZero():
	case id.Keyed():
		e.addKeyed(entry)
	default:
		e.addUnkeyed(entry)
	}
}

func (e *Ended) addKeyed(entry endedEntry) {
	h := e.hash(entry.id)
	shard := &e.shards[h%endedShards]
	switch old := *shard; {
	case old == nil:
		*shard = newEndedTable(minEndedSlots)
	case old.full():
		*shard = old.rebuild(old.grown(), e.hash, 0)
		old.release()
	default:
		*shard = old.own()
	}
	if (*shard).put(h, entry) {
		e.keyed++
	}
}

func (e *Ended) addUnkeyed(entry endedEntry) {
	if at, ok := e.place[entry.id]; ok {
		e.chunk(int(at)).write(int(at)%ringChunk, entry)
		return
	}
	at := e.next % MaxUnkeyed
	chunk := e.chunk(at)
	if e.next >= MaxUnkeyed {
		delete(e.place, chunk.read(at%ringChunk).id)
	}
	chunk.write(at%ringChunk, entry)
	e.place[entry.id] = uint32(at) // #nosec G115 -- below MaxUnkeyed
	e.next++
}

// chunk is the part of the ring in which the place is, ready to be written to.
func (e *Ended) chunk(at int) *endedTable {
	i := at / ringChunk
	if i == len(e.ring) {
		e.ring = append(e.ring, newEndedTable(ringChunk))
	}
	e.ring[i] = e.ring[i].own()
	return e.ring[i]
}

// Get returns what is remembered of a task. One whose window has passed may still be there: compare At.
func (e *Ended) Get(id domain.TaskID) (EndedTask, bool) {
	if !id.Keyed() {
		at, ok := e.place[id]
		if !ok {
			return EndedTask{}, false
		}
		return e.ring[at/ringChunk].read(int(at) % ringChunk).task(), true
	}
	h := e.hash(id)
	shard := e.shards[h%endedShards]
	if shard == nil {
		return EndedTask{}, false
	}
	i, ok := shard.find(h, id)
	if !ok {
		return EndedTask{}, false
	}
	return shard.read(i).task(), true
}

// Len is how many tasks are remembered.
func (e *Ended) Len() int { return e.keyed + len(e.place) }

// KeyedLen is how many of them have an idempotency key: what max_keys limits.
func (e *Ended) KeyedLen() int { return e.keyed }

// Expire forgets tasks with an idempotency key that ended before then, and returns how many. A call looks at a part of
// a large table only, so that it never holds its caller up, and the next one goes on there: call it every second. A
// table of up to 20,000 tasks is done in one call.
func (e *Ended) Expire(before domain.Instant) int {
	limit, forgotten := endedSeconds(before), 0
	for n, slots := 0, 0; n < endedShards && slots < expireSlots; n++ {
		shard := &e.shards[e.sweep]
		e.sweep = (e.sweep + 1) % endedShards
		old := *shard
		if old == nil || old.oldest >= limit {
			continue
		}
		slots += old.slots
		stay := old.since(limit)
		switch forgotten += old.count - stay; {
		case stay == old.count:
		case stay == 0:
			*shard = nil
			old.release()
		case stay < old.slots/2:
			*shard = old.rebuild(stay*3/2, e.hash, limit)
			old.release()
		default:
			*shard = old.own()
			(*shard).forget(limit, e.hash)
		}
	}
	e.keyed -= forgotten
	return forgotten
}

// All lists the tasks: those with a key in no order, then the others, the oldest first.
func (e *Ended) All() iter.Seq2[domain.TaskID, EndedTask] {
	return func(yield func(domain.TaskID, EndedTask) bool) {
		f := frozenEnded{shards: e.shards, ring: e.ring, next: e.next}
		for entry := range f.entries() {
			if !yield(entry.id, entry.task()) {
				return
			}
		}
	}
}

// reserve makes room for n keyed tasks at once.
func (e *Ended) reserve(n int) {
	for i := range e.shards {
		if e.shards[i] == nil && n > minEndedSlots*endedShards {
			e.shards[i] = newEndedTable(n / endedShards * 5 / 4)
		}
	}
}

func (e *Ended) hash(id domain.TaskID) uint64 { return maphash.Bytes(e.seed, id[:]) }

// frozenEnded is the table as it was. Another goroutine may read it.
type frozenEnded struct {
	shards [endedShards]*endedTable
	ring   []*endedTable
	next   int
	count  int
}

// freeze shares the tables with a copy. It takes microseconds.
func (e *Ended) freeze() *frozenEnded {
	f := &frozenEnded{shards: e.shards, ring: append([]*endedTable(nil), e.ring...), next: e.next, count: e.Len()}
	for _, table := range f.tables() {
		table.refs.Add(1)
	}
	return f
}

func (f *frozenEnded) tables() []*endedTable {
	tables := make([]*endedTable, 0, len(f.shards)+len(f.ring))
	for _, table := range f.shards {
		if table != nil {
			tables = append(tables, table)
		}
	}
	return append(tables, f.ring...)
}

// entries lists the tasks in the order of All.
func (f *frozenEnded) entries() iter.Seq[endedEntry] {
	return func(yield func(endedEntry) bool) {
		for _, table := range f.shards {
			if table == nil {
				continue
			}
			for i := range table.slots {
				if entry := table.read(i); !entry.id.IsZero() && !yield(entry) {
					return
				}
			}
		}
		for n := max(0, f.next-MaxUnkeyed); n < f.next; n++ {
			at := n % MaxUnkeyed
			if !yield(f.ring[at/ringChunk].read(at % ringChunk)) {
				return
			}
		}
	}
}

// release gives the tables back. The copy is empty after it.
func (f *frozenEnded) release() {
	for _, table := range f.tables() {
		table.release()
	}
	*f = frozenEnded{}
}

// endedSeconds rounds up, so that nothing is forgotten early.
func endedSeconds(at domain.Instant) uint32 {
	const second = domain.Instant(time.Second / time.Microsecond)
	whole := at / second
	if at%second > 0 {
		whole++
	}
	return uint32(min(max(whole, 0), math.MaxUint32)) // #nosec G115 -- held to the range
}
