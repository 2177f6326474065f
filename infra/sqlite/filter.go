package sqlite

import (
	"math"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Limits of the work of one page.
const (
	maxProbe = 20_000 // tasks that have one thing, to look them up instead of walking
	maxTake  = 5_000  // tasks that are looked at, if they are all that there can be
	maxWalk  = 12_000 // tasks that are looked at while walking; then the page ends where the walk came to
	maxMatch = 50_000 // tasks with the words of a text that are remembered while walking
	maxAsked = 2_000  // tasks that are asked one by one whether they have the words, when there are more
)

// filter is a query of tasks, made ready.
type filter struct {
	c       *sqlite.Conn
	q       index.TaskQuery
	kinds   []kind
	allowed map[int64]bool
	facets  []index.Facet // that are not in sets
	sets    [][]int64     // every task taken is in each; sorted
	match   string        // the words, when they are not in sets
	asked   int

	createdLow, createdHigh int64
	endedLow, endedHigh     int64
	endedOnly               bool
}

func newFilter(c *sqlite.Conn, q index.TaskQuery) (*filter, error) {
	f := &filter{c: c, q: q, facets: q.Facets(), match: match(q.Text)}
	f.createdLow, f.createdHigh = span(q.CreatedAfter, q.CreatedBefore)
	f.endedLow, f.endedHigh = span(q.EndedAfter, q.EndedBefore)
	f.endedOnly = f.endedLow != math.MinInt64 || f.endedHigh != math.MaxInt64 || q.Sort == index.SortEnded || q.Sort == index.SortDuration
	var err error
	if f.kinds, err = kinds(c, q.Namespace, q.Name, q.Version); err != nil {
		return nil, err
	}
	f.allowed = make(map[int64]bool, len(f.kinds))
	for _, k := range f.kinds {
		f.allowed[k.id] = true
	}
	return f, nil
}

// span are the instants from a time on and before another, both ends included.
func span(after, before time.Time) (low, high int64) {
	low, high = math.MinInt64, math.MaxInt64
	if !after.IsZero() {
		if low = after.UnixMicro(); after.Nanosecond()%1000 != 0 {
			low++
		}
	}
	if !before.IsZero() {
		if high = before.UnixMicro(); before.Nanosecond()%1000 == 0 {
			high--
		}
	}
	return low, high
}

// probe looks up what tasks have which the query wants. It returns the tasks that may be taken, sorted, if they are at most
// most; else false.
func (f *filter) probe(most int) ([]int64, bool, error) {
	var rest []index.Facet
	for _, facet := range f.facets {
		set, all, err := f.nums(`SELECT num FROM facet WHERE f = ? LIMIT ?`, maxProbe, int64(facet))
		if err != nil {
			return nil, false, err
		}
		if all {
			f.sets = append(f.sets, set)
		} else {
			rest = append(rest, facet)
		}
	}
	f.facets = rest
	if f.match != "" {
		set, all, err := f.nums(`SELECT rowid FROM words WHERE words MATCH ? LIMIT ?`, maxMatch, f.match)
		if err != nil {
			return nil, false, err
		}
		if all {
			slices.Sort(set)
			f.sets, f.match = append(f.sets, set), ""
		}
	}
	if len(f.sets) == 0 {
		return f.probeTimes(most)
	}
	slices.SortFunc(f.sets, func(a, b []int64) int { return len(a) - len(b) })
	both := f.sets[0]
	for _, set := range f.sets[1:] {
		both = intersect(both, set)
	}
	f.sets = [][]int64{both}
	return both, len(both) <= most, nil
}

// probeTimes is for queries that take little but a short time.
func (f *filter) probeTimes(most int) ([]int64, bool, error) {
	for _, span := range [...]struct {
		column    string
		low, high int64
	}{{"created", f.createdLow, f.createdHigh}, {"ended", max(f.endedLow, 1), f.endedHigh}} {
		if span.low <= 1 && span.high == math.MaxInt64 || string(f.q.Sort) == span.column {
			continue
		}
		only := ""
		if span.column == "ended" {
			only = " AND ended > 0"
		}
		var set []int64
		for _, k := range f.kinds {
			for state, n := range k.n {
				if n == 0 || len(set) > most || !f.wantsState(domain.State(state)) { // #nosec G115 -- six of them
					continue
				}
				found, _, err := f.nums(`SELECT num FROM task INDEXED BY task_`+span.column+` WHERE kind = ? AND state = ?`+only+
					` AND `+span.column+` BETWEEN ? AND ? LIMIT ?`, most-len(set), k.id, state, span.low, span.high)
				if err != nil {
					return nil, false, err
				}
				set = append(set, found...)
			}
		}
		if len(set) <= most {
			slices.Sort(set)
			f.sets = [][]int64{set}
			return set, true, nil
		}
	}
	return nil, false, nil
}

// nums reads up to most numbers, and one more to see whether that is all.
func (f *filter) nums(text string, most int, args ...any) (set []int64, all bool, err error) {
	err = each(f.c, text, func(s *sqlite.Stmt) error {
		set = append(set, s.ColumnInt64(0))
		return nil
	}, append(args, most+1)...)
	return set, len(set) <= most, err
}

func intersect(a, b []int64) (both []int64) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			both = append(both, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return both
}

func (f *filter) wantsState(s domain.State) bool {
	return len(f.q.States) == 0 || slices.Contains(f.q.States, s)
}

// plain: the streams and the bounds of a walk take what the query takes, and nothing else.
func (f *filter) plain() bool {
	return len(f.facets) == 0 && len(f.sets) == 0 && f.match == "" && f.q.Waiting == "" && f.q.Paused == nil &&
		(f.q.Sort == index.SortCreated || f.createdLow == math.MinInt64 && f.createdHigh == math.MaxInt64) &&
		(f.q.Sort == index.SortEnded || f.endedLow == math.MinInt64 && f.endedHigh == math.MaxInt64)
}

// taken is what is read of a task to see whether it is taken.
type taken struct {
	state domain.State
	value int64
}

const sqlFilter = `SELECT kind, state, created, ended, waiting, flags, updated, duration, retries FROM task WHERE num = ?`

// takes looks at one task. What it is sorted by is in the answer.
func (f *filter) takes(num int64) (t taken, yes bool, err error) {
	for _, set := range f.sets {
		if _, in := slices.BinarySearch(set, num); !in {
			return t, false, nil
		}
	}
	err = each(f.c, sqlFilter, func(s *sqlite.Stmt) error {
		created, ended := s.ColumnInt64(2), s.ColumnInt64(3)
		t.state = domain.State(s.ColumnInt64(1)) // #nosec G115 -- six of them
		paused := s.ColumnInt64(5)&flagPaused != 0
		yes = f.allowed[s.ColumnInt64(0)] && f.wantsState(t.state) && created >= f.createdLow && created <= f.createdHigh &&
			(!f.endedOnly || ended > 0 && ended >= f.endedLow && ended <= f.endedHigh) &&
			(f.q.Waiting == "" || t.state.Live() && s.ColumnText(4) == string(f.q.Waiting)) && (f.q.Paused == nil || *f.q.Paused == paused)
		switch f.q.Sort {
		case index.SortUpdated:
			t.value = s.ColumnInt64(6)
		case index.SortEnded:
			t.value = ended
		case index.SortDuration:
			t.value = s.ColumnInt64(7)
		case index.SortRetries:
			t.value = s.ColumnInt64(8)
			yes = yes && t.value > 0
		case index.SortCreated:
			t.value = created
		}
		return nil
	}, num)
	if err != nil || !yes {
		return t, false, err
	}
	yes, err = f.has(num)
	return t, yes, err
}

// has asks for what stands beside the task: facets and words.
func (f *filter) has(num int64) (bool, error) {
	for _, facet := range f.facets {
		if n, err := number(f.c, `SELECT 1 FROM facet WHERE f = ? AND num = ?`, int64(facet), num); err != nil || n == 0 {
			return false, err
		}
	}
	if f.match == "" {
		return true, nil
	}
	f.asked++
	n, err := number(f.c, `SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?`, f.match, num)
	return n == 1, err
}
