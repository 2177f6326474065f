package projections

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
)

const second = domain.Instant(time.Second / time.Microsecond)

// keyedIDs makes ids as a hash would, quickly.
func keyedIDs(n int) []domain.TaskID {
	source := rand.NewPCG(1, 2)
	ids := make([]domain.TaskID, n)
	for i := range ids {
		binary.LittleEndian.PutUint64(ids[i][:], source.Uint64())
		binary.LittleEndian.PutUint64(ids[i][8:], source.Uint64())
		ids[i][6] = ids[i][6]&0x0f | 0x50
	}
	return ids
}

func TestEndedTasksAreRememberedAsAMapWouldAndForgottenInTime(t *testing.T) {
	ids := keyedIDs(3000)
	for n := range 500 {
		ids = append(ids, unkeyedID(n))
	}
	rapid.Check(t, func(rt *rapid.T) {
		e, model := NewEnded(), map[domain.TaskID]EndedTask{}
		var frozen []*frozenEnded
		var wants []map[domain.TaskID]EndedTask
		for range rapid.IntRange(1, 40).Draw(rt, "actions") {
			switch rapid.IntRange(0, 5).Draw(rt, "action") {
			case 0, 1, 2, 3:
				from := rapid.IntRange(0, len(ids)-1).Draw(rt, "from")
				for i, id := range ids[from:min(from+rapid.IntRange(1, 600).Draw(rt, "n"), len(ids))] {
					task := EndedTask{Last: rapid.Uint64().Draw(rt, "last"), Input: uint32(i), At: second * domain.Instant(1000+i%50)}
					e.Add(id, task)
					model[id] = task
				}
			case 4:
				before := second * domain.Instant(rapid.IntRange(990, 1060).Draw(rt, "before"))
				gone := 0
				for id, task := range model {
					if id.Keyed() && task.At < before {
						delete(model, id)
						gone++
					}
				}
				if got := e.Expire(before); got != gone {
					rt.Fatalf("forgot %d, want %d", got, gone)
				}
			case 5:
				frozen = append(frozen, e.freeze())
				want := map[domain.TaskID]EndedTask{}
				for id, task := range model {
					want[id] = task
				}
				wants = append(wants, want)
			}
			keyed := 0
			for id, want := range model {
				if got, ok := e.Get(id); !ok || got != want {
					rt.Fatalf("%s: got %+v, %v, want %+v", id, got, ok, want)
				}
				if id.Keyed() {
					keyed++
				}
			}
			if e.Len() != len(model) || e.KeyedLen() != keyed {
				rt.Fatalf("%d, %d keyed, want %d, %d", e.Len(), e.KeyedLen(), len(model), keyed)
			}
			for _, id := range ids[:100] {
				if _, ok := e.Get(id); ok != (model[id] != EndedTask{}) {
					rt.Fatalf("%s: %v", id, ok)
				}
			}
		}
		for i, f := range frozen {
			n := 0
			for entry := range f.entries() {
				if n++; wants[i][entry.id] != entry.task() {
					rt.Fatalf("frozen %s: %+v, want %+v", entry.id, entry.task(), wants[i][entry.id])
				}
			}
			if n != len(wants[i]) || n != f.count {
				rt.Fatalf("frozen %d of %d", n, len(wants[i]))
			}
			f.release()
		}
	})
}

func TestTheTimeOfTheEndIsRoundedUpSoThatNothingIsForgottenEarly(t *testing.T) {
	e, id := NewEnded(), keyedIDs(1)[0]
	e.Add(id, EndedTask{At: 1000*second + 1})
	if n := e.Expire(1001 * second); n != 0 {
		t.Error("forgotten a second early")
	}
	if n := e.Expire(1001*second + 1); n != 1 || e.Len() != 0 {
		t.Error("not forgotten")
	}
	for _, at := range []domain.Instant{-5, 0, 1 << 62} {
		e.Add(id, EndedTask{At: at})
		if _, ok := e.Get(id); !ok {
			t.Errorf("%d is lost", at)
		}
	}
	e.Add(domain.TaskID{}, EndedTask{Last: 1})
	if _, ok := e.Get(domain.TaskID{}); ok || e.Len() != 1 {
		t.Error("the zero id was kept")
	}
}

func TestUnkeyedTasksAreForgottenInTheOrderOfTheirEnd(t *testing.T) {
	e := NewEnded()
	const n = MaxUnkeyed + 5000
	for i := range n {
		e.Add(unkeyedID(i), EndedTask{Last: uint64(i)})
	}
	e.Add(unkeyedID(n-1), EndedTask{Last: 7}) // in place
	if e.Len() != MaxUnkeyed || e.KeyedLen() != 0 {
		t.Fatalf("%d, %d keyed", e.Len(), e.KeyedLen())
	}
	next := n - MaxUnkeyed
	for id, task := range e.All() {
		want := EndedTask{Last: uint64(next)}
		if next == n-1 {
			want.Last = 7
		}
		if id != unkeyedID(next) || task != want {
			t.Fatalf("%s, %+v stands where %d should", id, task, next)
		}
		next++
	}
	if next != n {
		t.Errorf("the list ends before %d", next)
	}
	if _, ok := e.Get(unkeyedID(n - MaxUnkeyed - 1)); ok {
		t.Error("the one before the oldest is still there")
	}
}

func TestExpireLooksAtALargeTablePartByPart(t *testing.T) {
	e := NewEnded()
	const n = 300_000
	for i, id := range keyedIDs(n) {
		e.Add(id, EndedTask{At: second * domain.Instant(1+i%2)})
	}
	calls, gone := 0, 0
	for ; gone < n/2 && calls < 100; calls++ {
		gone += e.Expire(2 * second)
	}
	if gone != n/2 || e.Len() != n/2 || calls < 5 || calls > 20 {
		t.Errorf("%d forgotten, %d left, in %d calls", gone, e.Len(), calls)
	}
	for range 30 {
		e.Expire(3 * second)
	}
	if e.Len() != 0 || e.bytes() != 0 {
		t.Errorf("%d left, in %d bytes", e.Len(), e.bytes())
	}
}

// bytes is the memory of the tables.
func (e *Ended) bytes() (n int) {
	for _, table := range e.shards {
		if table != nil {
			n += len(table.mem)
		}
	}
	for _, table := range e.ring {
		n += len(table.mem)
	}
	return n
}

func TestAKeyTakesLessThan60BytesWhateverTheNumber(t *testing.T) {
	e := NewEnded()
	worst, keys := 0.0, 1_300_000
	if raceEnabled {
		keys = 300_000 // one goroutine; the memory is the same
	}
	for i, id := range keyedIDs(keys) {
		e.Add(id, EndedTask{Last: uint64(i), At: second})
		if i > 50_000 && i%1000 == 0 {
			worst = max(worst, float64(e.bytes())/float64(i+1))
		}
	}
	if worst > 52 {
		t.Errorf("%.1f bytes per key at the worst", worst)
	}
	t.Logf("%.1f bytes per key at the worst, %.1f in the end", worst, float64(e.bytes())/float64(keys))
}

func residentBytes(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestAMillionKeysGrowTheProcessByLessThan60BytesEach(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("the memory of this build is not that of a release")
	}
	const child = "TASKER_TEST_MILLION_KEYS"
	if os.Getenv(child) == "" { // in a process of its own, where nothing else comes and goes
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v") // #nosec G204 -- this test itself
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log(string(out))
		return
	}
	ids := keyedIDs(1_000_000)
	debug.FreeOSMemory()
	before := residentBytes(t)
	e := NewEnded()
	for i, id := range ids {
		e.Add(id, EndedTask{Last: uint64(i), At: second})
	}
	runtime.GC()
	grown := float64(residentBytes(t)-before) / float64(len(ids))
	t.Logf("%.1f bytes of RSS per key", grown)
	if grown > 60 || grown < 32 && e.Len() == len(ids) {
		t.Errorf("%.1f bytes of RSS per key", grown)
	}
	runtime.KeepAlive(ids)
}

func TestForgottenTablesGoBackToTheSystem(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("the memory of this build is not that of a release")
	}
	ids := keyedIDs(400_000)
	debug.FreeOSMemory()
	before := residentBytes(t)
	for range 10 { // 160 MB if they stayed
		e := NewEnded()
		for i, id := range ids {
			e.Add(id, EndedTask{Last: uint64(i), At: second})
		}
	}
	for range 100 { // cleanups run on their own goroutine
		debug.FreeOSMemory()
		if residentBytes(t)-before < 40<<20 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d MB stayed", (residentBytes(t)-before)>>20)
}

func TestASnapshotReadsWhatWasThereWhileTheOwnerWrites(t *testing.T) {
	e := NewEnded()
	ids := keyedIDs(60_000)
	for i, id := range ids[:30_000] {
		e.Add(id, EndedTask{Last: 1, Input: uint32(i), At: second})
	}
	for i := range 10_000 {
		e.Add(unkeyedID(i), EndedTask{Last: 1, At: second})
	}
	var readers sync.WaitGroup
	for round := range 3 {
		f := e.freeze()
		want := e.Len()
		readers.Go(func() {
			defer f.release()
			n := 0
			for entry := range f.entries() {
				if n++; entry.last > uint64(round)+1 {
					t.Errorf("%s is of a later time: %d", entry.id, entry.last)
					return
				}
			}
			if n != want {
				t.Errorf("%d of %d", n, want)
			}
		})
		for i, id := range ids {
			e.Add(id, EndedTask{Last: uint64(round) + 2, At: second * domain.Instant(1+i%3)})
			if i%3 == 0 {
				e.Add(unkeyedID(i), EndedTask{Last: uint64(round) + 2, At: second})
			}
		}
		for range 3 {
			e.Expire(2 * second)
		}
	}
	readers.Wait()
}

func TestFreezingAMillionKeysHoldsTheOwnerUpForMoments(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time")
	}
	e := NewEnded()
	ids := keyedIDs(1_100_000)
	for i, id := range ids[:1_000_000] {
		e.Add(id, EndedTask{Last: uint64(i), At: second})
	}
	var worst time.Duration
	measure := func(f func()) {
		start := time.Now()
		f()
		worst = max(worst, time.Since(start))
	}
	var f *frozenEnded
	measure(func() { f = e.freeze() })
	for i, id := range ids[1_000_000:] {
		measure(func() { e.Add(id, EndedTask{Last: uint64(i), At: second}) })
	}
	f.release()
	t.Logf("at most %v for one call", worst)
	if worst > 100*time.Millisecond { // a few in truth; the machine may be busy
		t.Errorf("one call took %v", worst)
	}
}

func BenchmarkEnded(b *testing.B) {
	ids := keyedIDs(2_000_000)
	e := NewEnded()
	for i, id := range ids[:1_000_000] {
		e.Add(id, EndedTask{Last: uint64(i), At: second})
	}
	b.Run("found", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			e.Get(ids[i%1_000_000])
		}
	})
	b.Run("not found", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			e.Get(ids[1_000_000+i%1_000_000])
		}
	})
	b.Run("add", func(b *testing.B) {
		e := NewEnded()
		for i := 0; b.Loop(); i++ {
			if i%2_000_000 == 0 {
				e = NewEnded()
			}
			e.Add(ids[i%2_000_000], EndedTask{Last: uint64(i), At: second})
		}
	})
	b.Run("add unkeyed", func(b *testing.B) {
		e := NewEnded()
		for i := 0; b.Loop(); i++ {
			id := ids[i%2_000_000]
			id[6] = 0x70
			e.Add(id, EndedTask{Last: uint64(i), At: second})
		}
	})
	b.Run("expire nothing", func(b *testing.B) {
		for b.Loop() {
			e.Expire(second)
		}
	})
	b.Run("expire part", func(b *testing.B) {
		e := NewEnded()
		for i, id := range ids[:1_000_000] {
			e.Add(id, EndedTask{At: second * domain.Instant(i)})
		}
		for i := 1; b.Loop(); i++ {
			e.Expire(second * domain.Instant(11*i))
		}
	})
}
