package sqlite

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// kind is a version of a definition in the file.
type kind struct {
	index.Kind
	id   int64
	hash string                             // of the definition that came last
	n    [domain.ResolvedManually + 1]int64 // tasks by state
}

// kinds are those that a query takes, with their tasks counted.
func kinds(c *sqlite.Conn, namespaces []string, name, version string) ([]kind, error) {
	var list []kind
	places := map[int64]int{}
	if err := each(c, `SELECT id, namespace, name, version, hash FROM kind WHERE (?1 = '' OR name = ?1) AND (?2 = '' OR version = ?2)
		ORDER BY namespace, name, version`, func(s *sqlite.Stmt) error {
		if len(namespaces) > 0 && !slices.Contains(namespaces, s.ColumnText(1)) {
			return nil
		}
		k := kind{id: s.ColumnInt64(0), hash: s.ColumnText(4)}
		k.Kind = index.Kind{Namespace: s.ColumnText(1), Name: s.ColumnText(2), Version: s.ColumnText(3)}
		places[k.id] = len(list)
		list = append(list, k)
		return nil
	}, name, version); err != nil {
		return nil, err
	}
	err := each(c, `SELECT kind, state, n FROM counted WHERE n > 0`, func(s *sqlite.Stmt) error {
		if i, ok := places[s.ColumnInt64(0)]; ok {
			list[i].n[s.ColumnInt64(1)] = s.ColumnInt64(2)
		}
		return nil
	})
	return list, err
}

// stream is the tasks of one kind in one state, and of one segment when the index has segments, in an order.
type stream struct {
	kind    int64
	segment int64
	state   domain.State
	values  []found
	next    int
	last    item
	chunk   int
	over    bool
}

// item is a task with what it is sorted by.
type item struct{ value, num int64 }

// found is an item that was looked at.
type found struct {
	item
	takes bool // the condition holds
}

// walker gives the tasks of many streams in one order. It is closed after use.
type walker struct {
	statement *sqlite.Stmt
	ascending bool
	segments  bool
	low, high int64 // of the value, both included
	streams   []*stream
	examined  int
}

// newWalker starts behind a place; nil = at the beginning. condition is SQL that says what is taken; "" is everything.
func newWalker(c *sqlite.Conn, by order, ascending bool, list []kind, states []domain.State, low, high int64, after *place, when condition) (*walker, error) {
	w := &walker{ascending: ascending, segments: by.segments, low: low, high: high}
	start := item{math.MaxInt64, math.MaxInt64}
	if ascending {
		start = item{math.MinInt64, math.MinInt64}
	}
	if after != nil {
		start = item{after.Value, after.Num}
	}
	segments, of, err := segmentsOf(c, by)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		for _, state := range domain.States {
			if k.n[state] == 0 || len(states) > 0 && !slices.Contains(states, state) {
				continue
			}
			for _, segment := range segments(k.id) {
				w.streams = append(w.streams, &stream{kind: k.id, segment: segment, state: state, last: start})
			}
		}
	}
	for _, s := range w.streams {
		s.chunk = max(100/len(w.streams), 2)
	}
	compare, direction := "<", "DESC"
	if ascending {
		compare, direction = ">", "ASC"
	}
	w.statement, _, err = c.PrepareTransient(fmt.Sprintf(`SELECT %[1]s, num, %[6]s FROM task INDEXED BY %[2]s WHERE kind = :kind AND state = :state%[7]s%[3]s
		AND %[1]s BETWEEN :low AND :high AND (%[1]s %[4]s :value OR (%[1]s = :value AND num %[4]s :num)) ORDER BY %[1]s %[5]s, num %[5]s LIMIT :limit`,
		by.column, by.index, by.only, compare, direction, cmp.Or(when.text, "1"), of))
	if err == nil && when.waiting != "" {
		w.statement.SetText(":waiting", when.waiting)
	}
	return w, err
}

func (w *walker) close() { _ = w.statement.Finalize() } // repeats the error of its last step

// fill reads more of a stream when what was read has been used up.
func (w *walker) fill(s *stream) error {
	if s.over || s.next < len(s.values) {
		return nil
	}
	s.values, s.next = s.values[:0], 0
	low, high := w.low, w.high
	if w.ascending {
		low = max(low, s.last.value)
	} else {
		high = min(high, s.last.value)
	}
	q := w.statement
	for name, n := range map[string]int64{
		":kind": s.kind, ":state": int64(s.state), ":low": low, ":high": high, ":value": s.last.value, ":num": s.last.num, ":limit": int64(s.chunk),
	} {
		q.SetInt64(name, n)
	}
	if w.segments {
		q.SetInt64(":segment", s.segment)
	}
	for {
		more, err := q.Step()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		s.values = append(s.values, found{item{q.ColumnInt64(0), q.ColumnInt64(1)}, q.ColumnInt64(2) != 0})
	}
	if err := q.Reset(); err != nil {
		return err
	}
	if len(s.values) < s.chunk {
		s.over = true
	}
	if len(s.values) > 0 {
		s.last = s.values[len(s.values)-1].item
	}
	s.chunk = min(2*s.chunk, 1000)
	return nil
}

// errLimit ends a walk that has looked at as many tasks as a query may.
var errLimit = fmt.Errorf("the query has looked at enough tasks")

// each calls f with task after task; errStop of f ends it.
func (w *walker) each(f func(found, domain.State) error) error {
	begun := w.streams[:0:0]
	for _, s := range w.streams {
		if err := w.fill(s); err != nil {
			return err
		}
		if len(s.values) > 0 {
			begun = append(begun, s)
		}
	}
	w.streams = begun
	heap.Init(w)
	for len(w.streams) > 0 {
		s := w.streams[0]
		at := s.values[s.next]
		s.next++
		w.examined++
		if err := f(at, s.state); err != nil {
			if err == errStop { //nolint:errorlint // it is never wrapped
				return nil
			}
			return err
		}
		if err := w.fill(s); err != nil {
			return err
		}
		if s.next >= len(s.values) {
			heap.Pop(w)
		} else {
			heap.Fix(w, 0)
		}
	}
	return nil
}

// The heap of streams, by what comes next.

func (w *walker) Len() int      { return len(w.streams) }
func (w *walker) Swap(i, j int) { w.streams[i], w.streams[j] = w.streams[j], w.streams[i] }
func (w *walker) Push(any)      {}

// Less is heap.Interface's.
func (w *walker) Less(i, j int) bool {
	a, b := w.streams[i], w.streams[j]
	return comesFirst(a.values[a.next].item, b.values[b.next].item, w.ascending)
}

// Pop is heap.Interface's.
func (w *walker) Pop() any {
	s := w.streams[len(w.streams)-1]
	w.streams = w.streams[:len(w.streams)-1]
	return s
}

func comesFirst(a, b item, ascending bool) bool {
	if ascending {
		a, b = b, a
	}
	return a.value > b.value || a.value == b.value && a.num > b.num
}
