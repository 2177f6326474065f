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

// maxOpened is how many tasks are opened to look at their steps; then the page ends where it came to.
const maxOpened = 3_000

// Steps is index.Reader's. As with Tasks, a page may be shorter than its limit and have a Next all the same.
func (x *Index) Steps(ctx context.Context, q index.StepQuery) (index.StepPage, error) {
	page := index.StepPage{Steps: []index.StepRow{}}
	if err := checkSteps(&q); err != nil {
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
		l := &stepList{x: x, c: c, q: q, after: after, page: &page}
		next, err := l.list()
		if err != nil {
			return err
		}
		if next != nil {
			next.Query = id
			page.Next = next.token()
		}
		page.Lag, err = x.lagOf(c)
		return err
	})
}

// stepList makes one page.
type stepList struct {
	x      *Index
	c      *sqlite.Conn
	q      index.StepQuery
	after  *place
	page   *index.StepPage
	opened int
	next   *place
}

func (l *stepList) list() (*place, error) {
	items, all, err := l.found()
	if err != nil {
		return nil, err
	}
	if all {
		for _, at := range items {
			if err = l.open(at); err != nil {
				break
			}
		}
	} else {
		err = l.walk()
	}
	if errors.Is(err, errLimit) {
		err = nil
	}
	return l.next, err
}

// found are the tasks that may have such steps, in the order of the list; false when they are too many, or nobody knows.
func (l *stepList) found() ([]item, bool, error) {
	var nums []int64
	if !l.q.Task.IsZero() {
		if err := each(l.c, `SELECT num FROM task WHERE id = ?`, func(s *sqlite.Stmt) error {
			nums = append(nums, s.ColumnInt64(0))
			return nil
		}, l.q.Task[:]); err != nil {
			return nil, false, err
		}
	} else {
		facets := l.q.Facets()
		if len(facets) == 0 {
			return nil, false, nil
		}
		f := &filter{c: l.c}
		for _, facet := range facets {
			set, all, err := f.nums(`SELECT num FROM facet WHERE f = ? LIMIT ?`, maxProbe, int64(facet))
			if err != nil || !all {
				return nil, false, err
			}
			nums = append(nums, set...)
		}
		slices.Sort(nums)
		nums = slices.Compact(nums)
	}
	items := make([]item, 0, len(nums))
	for _, num := range nums {
		created, err := number(l.c, `SELECT created FROM task WHERE num = ?`, num)
		if err != nil {
			return nil, false, err
		}
		items = append(items, item{created, num})
	}
	slices.SortFunc(items, func(a, b item) int {
		if comesFirst(a, b, false) {
			return -1
		}
		return 1
	})
	return items, true, nil
}

// walk goes through the tasks, the newest first.
func (l *stepList) walk() error {
	list, err := kinds(l.c, l.q.Namespaces, l.q.Name, l.q.Version)
	if err != nil {
		return err
	}
	var states []domain.State
	if slices.Equal(l.q.States, []domain.State{domain.Pending}) { // no task that has ended well has one
		states = []domain.State{domain.Pending, domain.InProgress, domain.Error, domain.Cancelled, domain.ResolvedManually}
	}
	after := l.after
	if after != nil { // the task itself may have more
		after = &place{Value: after.Value, Num: after.Num + 1}
	}
	w, err := newWalker(l.c, orders[index.SortCreated], false, list, states, math.MinInt64, math.MaxInt64, after, condition{})
	if err != nil {
		return err
	}
	defer w.close()
	return w.each(func(at found, _ domain.State) error { return l.open(at.item) })
}

// open lists the steps of one task. errLimit when the page ends.
func (l *stepList) open(at item) error {
	first := 0
	if l.after != nil {
		place := item{l.after.Value, l.after.Num}
		if comesFirst(at, place, false) {
			return nil
		}
		if at == place {
			first = l.after.Step
		}
	}
	if l.opened++; l.opened > maxOpened {
		l.next = &place{Value: at.value, Num: at.num, Step: first}
		return errLimit
	}
	row, err := l.x.rowOf(l.c, at.num)
	if err != nil || row == nil {
		return err
	}
	for i := first; i < row.Steps(); i++ {
		if !l.q.Takes(row, i) {
			continue
		}
		if len(l.page.Steps) == l.q.Limit {
			l.next = &place{Value: at.value, Num: at.num, Step: i}
			return errLimit
		}
		l.page.Steps = append(l.page.Steps, row.StepRow(i))
	}
	return nil
}
