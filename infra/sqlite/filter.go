package sqlite

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Limits of the work of one page.
const (
	maxProbe = 20_000 // tasks that have one thing, to look them up instead of walking
	maxTake  = 5_000  // tasks that are looked at, if they are all that there can be
	maxWalk  = 6_500  // tasks that are looked at while walking; then the page ends where the walk came to
	maxMatch = 50_000 // tasks with the words of a text that are remembered while walking
	maxAsked = 2_000  // tasks that are asked one by one whether they have the words, when there are more
)

// filter is a query of tasks, made ready.
type filter struct {
	c       *sqlite.Conn
	dense   *dense
	matches *matches
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

func newFilter(x *Index, c *sqlite.Conn, q index.TaskQuery) (*filter, error) {
	f := &filter{c: c, dense: &x.dense, matches: &x.matches, q: q, facets: q.Facets(), match: match(q.Text)}
	f.createdLow, f.createdHigh = span(q.CreatedAfter, q.CreatedBefore)
	f.endedLow, f.endedHigh = span(q.EndedAfter, q.EndedBefore)
	f.endedOnly = f.endedLow != math.MinInt64 || f.endedHigh != math.MaxInt64 || q.Sort == index.SortEnded || q.Sort == index.SortDuration
	var err error
	if f.kinds, err = kinds(c, q.Namespaces, q.Name, q.Version); err != nil {
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
		if f.dense.has(facet) {
			rest = append(rest, facet)
			continue
		}
		set, all, err := f.nums(`SELECT num FROM facet WHERE f = ? LIMIT ?`, maxProbe, int64(facet))
		if err != nil {
			return nil, false, err
		}
		if all {
			f.sets = append(f.sets, set)
		} else {
			f.dense.add(facet)
			rest = append(rest, facet)
		}
	}
	f.facets = rest
	if f.match != "" {
		set, all, err := f.matches.find(f, f.match)
		if err != nil {
			return nil, false, err
		}
		if all {
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

// condition is SQL about a row of task.
type condition struct{ text, waiting string }

// condition says what is asked of a task beside its kind and state; without the ranges that the walk keeps.
func (f *filter) condition(walks bool) condition {
	var parts []string
	span := func(column string, low, high int64) {
		if (low != math.MinInt64 || high != math.MaxInt64) && (!walks || string(f.q.Sort) != column) {
			parts = append(parts, fmt.Sprintf("%s BETWEEN %d AND %d", column, low, high))
		}
	}
	span("created", f.createdLow, f.createdHigh)
	span("ended", f.endedLow, f.endedHigh)
	if f.endedOnly && !walks {
		parts = append(parts, "ended > 0")
	} else if f.endedLow <= 0 && f.endedHigh != math.MaxInt64 {
		parts = append(parts, "ended > 0")
	}
	if f.q.Sort == index.SortRetries && !walks {
		parts = append(parts, "retries > 0")
	}
	if f.q.Waiting != "" {
		parts = append(parts, fmt.Sprintf("state <= %d AND waiting = :waiting", domain.InProgress))
	}
	if f.q.Paused != nil {
		not := "="
		if *f.q.Paused {
			not = "<>"
		}
		parts = append(parts, fmt.Sprintf("flags & %d %s 0", flagPaused, not))
	}
	for _, facet := range f.facets {
		parts = append(parts, fmt.Sprintf("EXISTS(SELECT 1 FROM facet WHERE facet.f = %d AND facet.num = task.num)", facet))
	}
	return condition{strings.Join(parts, " AND "), string(f.q.Waiting)}
}

// taken is a task that was looked up.
type taken struct {
	item
	state domain.State
}

// lookUp looks at tasks, and gives those that are taken to each.
func (f *filter) lookUp(nums []int64, each func(taken) error) error {
	if len(nums) == 0 {
		return nil
	}
	list := append(make([]byte, 0, 20*len(nums)), '[')
	for i, num := range nums {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, num, 10)
	}
	when := f.condition(false)
	s, _, err := f.c.PrepareTransient(`SELECT ` + orders[f.q.Sort].column + `, num, kind, state FROM json_each(:list) CROSS JOIN task ON task.num = json_each.value WHERE ` +
		cmp.Or(when.text, "1"))
	if err != nil {
		return err
	}
	defer func() { _ = s.Finalize() }() // repeats the error of its last step
	s.SetText(":list", string(append(list, ']')))
	if when.waiting != "" {
		s.SetText(":waiting", when.waiting)
	}
	for {
		more, err := s.Step()
		if err != nil || !more {
			return err
		}
		t := taken{item{s.ColumnInt64(0), s.ColumnInt64(1)}, domain.State(s.ColumnInt64(3))} // #nosec G115 -- six of them
		if !f.allowed[s.ColumnInt64(2)] || !f.wantsState(t.state) {
			continue
		}
		if yes, err := f.has(t.num); err != nil {
			return err
		} else if !yes {
			continue
		}
		if err := each(t); err != nil {
			return err
		}
	}
}

// has asks for what is not in the condition.
func (f *filter) has(num int64) (bool, error) {
	for _, set := range f.sets {
		if _, in := slices.BinarySearch(set, num); !in {
			return false, nil
		}
	}
	if f.match == "" {
		return true, nil
	}
	f.asked++
	n, err := number(f.c, `SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?`, f.match, num)
	return n == 1, err
}

// dense remembers what very many tasks have, so that it is not looked up again and again. That some of them leave does not matter.
type dense struct {
	mu     sync.Mutex
	facets map[index.Facet]bool
}

const maxDense = 10_000

func (d *dense) has(f index.Facet) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.facets[f]
}

func (d *dense) add(f index.Facet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.facets == nil || len(d.facets) >= maxDense {
		d.facets = map[index.Facet]bool{}
	}
	d.facets[f] = true
}

func (d *dense) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.facets = nil
}
