package sqlite

import (
	"zombiezen.com/go/sqlite"
)

// A segment is some tasks of a kind that came one after the other. An index of durations has the segments of a kind one behind the
// other: a new task changes a page of the newest, which are few and stay in memory, however many tasks there are. Whoever walks along such an
// index merges the segments. They are few, too: none is smaller than a 32nd of what there was of its kind when it began.
var leastSegment = int64(1 << 16)

const segmentShare = 32

// segments are those that a transaction has to do with, by their kinds.
type segments map[int64]*segmented

// segmented are the segments of a kind.
type segmented struct {
	newest int64
	filled int64           // tasks in the newest
	total  int64           // in all
	change map[int64]int64 // of the tasks in each
}

func (l segments) of(c *sqlite.Conn, kind int64) (*segmented, error) {
	if s := l[kind]; s != nil {
		return s, nil
	}
	s := &segmented{change: map[int64]int64{}}
	l[kind] = s
	return s, each(c, `SELECT id, n FROM segment WHERE kind = ? ORDER BY id`, func(row *sqlite.Stmt) error {
		s.newest, s.filled = row.ColumnInt64(0), row.ColumnInt64(1)
		s.total += s.filled
		return nil
	}, kind)
}

// next is the segment that a new task belongs to.
func (s *segmented) next() int64 {
	if s.filled >= max(leastSegment, s.total/segmentShare) {
		s.newest, s.filled = s.newest+1, 0
	}
	return s.newest
}

// count counts a task that has come, or n = -1: has gone.
func (s *segmented) count(segment, n int64) {
	if segment == s.newest {
		s.filled += n
	}
	s.total += n
	s.change[segment] += n
}

// store writes what has changed. A segment that is empty is forgotten.
func (l segments) store(c *sqlite.Conn) error {
	for kind, s := range l {
		for id, n := range s.change {
			if err := exec(c, `INSERT INTO segment VALUES(?, ?, ?) ON CONFLICT(kind, id) DO UPDATE SET n = n + excluded.n`, kind, id, n); err != nil {
				return err
			}
			if n < 0 {
				if err := exec(c, `DELETE FROM segment WHERE kind = ? AND id = ? AND n <= 0`, kind, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// segmentsOf finds the segments of each kind in an order, and is the SQL that chooses one.
func segmentsOf(c *sqlite.Conn, by order) (segments func(kind int64) []int64, sql string, err error) {
	if !by.segments {
		return func(int64) []int64 { return []int64{0} }, "", nil
	}
	found := map[int64][]int64{}
	err = each(c, `SELECT kind, id FROM segment`, func(s *sqlite.Stmt) error {
		found[s.ColumnInt64(0)] = append(found[s.ColumnInt64(0)], s.ColumnInt64(1))
		return nil
	})
	return func(kind int64) []int64 { return found[kind] }, " AND segment = :segment", err
}
