package sqlite

import (
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

const retireStep = 500 // tasks at once

// retire removes some of the tasks whose retention has passed. It runs between two batches.
func (x *Index) retire(r *runner) error {
	now := time.Now()
	if x.options.Retention < 0 || now.Before(r.retire) || r.ended != nil {
		return nil
	}
	n, err := x.removeBefore(domain.InstantOf(x.options.Clock().Add(-x.options.Retention)), retireStep)
	if n < retireStep {
		r.retire = now.Add(r.o.Sweep)
	}
	return err
}

// removeBefore removes up to most tasks that ended, or failed and expired, before then, and the sums of the hours before.
func (x *Index) removeBefore(then domain.Instant, most int) (removed int, err error) {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.swap.RLock()
	defer x.swap.RUnlock()
	if err := x.ready(); err != nil {
		return 0, err
	}
	list, err := kinds(x.writer, nil, "", "")
	if err != nil {
		return 0, err
	}
	var nums []int64
	for _, k := range list {
		for _, state := range []domain.State{domain.Complete, domain.Error, domain.Cancelled, domain.ResolvedManually} {
			if k.n[state] == 0 || len(nums) >= most {
				continue
			}
			if err := each(x.writer, `SELECT num FROM task INDEXED BY task_ended WHERE kind = ? AND state = ? AND ended > 0 AND ended < ?
				AND (state <> ? OR flags & ? <> 0) LIMIT ?`, func(s *sqlite.Stmt) error {
				nums = append(nums, s.ColumnInt64(0))
				return nil
			}, k.id, int(state), int64(then), int(domain.Error), flagExpired, most-len(nums)); err != nil {
				return 0, err
			}
		}
	}
	old, err := number(x.writer, `SELECT EXISTS(SELECT 1 FROM stat WHERE hour < ?)`, index.HourOf(then))
	if err != nil || len(nums) == 0 && old == 0 {
		return 0, err
	}
	return len(nums), x.transact(func(a *applier) error {
		for _, num := range nums {
			if err := a.remove(num); err != nil {
				return err
			}
		}
		return exec(a.c, `DELETE FROM stat WHERE hour < ?`, index.HourOf(then))
	})
}

func (a *applier) remove(num int64) error {
	row, err := a.x.rowOf(a.c, num)
	if err != nil || row == nil {
		return err
	}
	w := row.Removal()
	kind, err := a.kind(w.Kind)
	if err != nil {
		return err
	}
	a.counted[counted{kind, w.OldState}]--
	if err := a.findable(&w); err != nil {
		return err
	}
	return each(a.c, `DELETE FROM task WHERE num = ? RETURNING segment`, func(s *sqlite.Stmt) error {
		segmented, err := a.segments.of(a.c, kind)
		if err == nil {
			segmented.count(s.ColumnInt64(0), -1)
		}
		return err
	}, num)
}
