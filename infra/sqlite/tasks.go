package sqlite

import (
	"context"
	"errors"
	"math"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// Tasks is index.Reader's. It looks at a bounded number of tasks: a page may be shorter than its limit, even empty, and have a
// Next all the same.
func (x *Index) Tasks(ctx context.Context, q index.TaskQuery) (index.TaskPage, error) {
	page := index.TaskPage{Tasks: []index.TaskRow{}}
	if err := checkTasks(&q); err != nil {
		return page, err
	}
	bound := q
	bound.After, bound.Limit = "", 0
	id := identity(bound)
	after, err := parsePlace(q.After, id)
	if err != nil {
		return page, err
	}
	return page, x.read(ctx, func(c *sqlite.Conn) error {
		f, err := newFilter(x, c, q)
		if err != nil {
			return err
		}
		items, next, err := f.page(after)
		if err != nil {
			return err
		}
		if next != nil {
			next.Query = id
			page.Next = next.token()
		}
		for _, at := range items {
			row, err := x.rowOf(c, at.num)
			if err != nil {
				return err
			}
			if row != nil && q.Takes(row) { // two facets may have the same hash
				page.Tasks = append(page.Tasks, row.TaskRow())
			}
		}
		page.Lag, err = x.lagOf(c)
		return err
	})
}

func (x *Index) rowOf(c *sqlite.Conn, num int64) (row *index.Row, err error) {
	err = each(c, `SELECT detail FROM task WHERE num = ?`, func(s *sqlite.Stmt) error {
		row, err = x.unpack(c, num, blob(s, 0))
		return err
	}, num)
	return row, err
}

// lagOf is that of the transaction.
func (x *Index) lagOf(c *sqlite.Conn) (index.Lag, error) {
	marks, err := readMarks(c)
	return x.ahead.lag(x.options.Data.ID, marks, x.options.Clock()), err
}

// page are the next tasks behind a place, and the place where to go on; nil when that was all.
func (f *filter) page(after *place) ([]item, *place, error) {
	nums, few, err := f.probe(maxTake)
	if err != nil {
		return nil, nil, err
	}
	if few {
		return f.choose(nums, after)
	}
	return f.walk(after)
}

// choose looks at all tasks that can be meant.
func (f *filter) choose(nums []int64, after *place) ([]item, *place, error) {
	f.sets = nil
	var items []item
	if err := f.lookUp(nums, func(t taken) error {
		if after == nil || comesFirst(item{after.Value, after.Num}, t.item, f.q.Ascending) {
			items = append(items, t.item)
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(items, func(a, b item) int {
		if comesFirst(a, b, f.q.Ascending) {
			return -1
		}
		return 1
	})
	return f.cut(items)
}

// cut leaves one page, and the place where it ends when there is more.
func (f *filter) cut(items []item) ([]item, *place, error) {
	if len(items) <= f.q.Limit {
		return items, nil, nil
	}
	items = items[:f.q.Limit]
	last := items[len(items)-1]
	return items, &place{Value: last.value, Num: last.num}, nil
}

// walk goes through the tasks in the order of the list.
func (f *filter) walk(after *place) ([]item, *place, error) {
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	switch f.q.Sort {
	case index.SortCreated:
		low, high = f.createdLow, f.createdHigh
	case index.SortEnded:
		low, high = f.endedLow, f.endedHigh
	case index.SortUpdated, index.SortDuration, index.SortRetries:
	}
	w, err := newWalker(f.c, orders[f.q.Sort], f.q.Ascending, f.kinds, f.q.States, low, high, after, f.condition(true))
	if err != nil {
		return nil, nil, err
	}
	defer w.close()
	plain := f.plain()
	var items []item
	var last item
	err = w.each(func(at found, _ domain.State) error {
		if !plain && (w.examined > maxWalk || f.asked > maxAsked) {
			return errLimit
		}
		last = at.item
		yes, err := at.takes, error(nil)
		if yes {
			yes, err = f.has(at.num)
		}
		if err != nil || !yes {
			return err
		}
		if items = append(items, at.item); len(items) > f.q.Limit {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errLimit) {
		return items, &place{Value: last.value, Num: last.num}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return f.cut(items)
}
