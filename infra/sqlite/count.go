package sqlite

import (
	"context"
	"errors"
	"math"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// maxCountWalk is how many tasks are looked at to count those that a filter takes.
const maxCountWalk = 3 * index.MaxCount

// Count is index.Reader's.
func (x *Index) Count(ctx context.Context, q index.TaskQuery) (index.Counts, error) {
	counts := index.Counts{States: make(map[domain.State]int64, len(domain.States))}
	for _, s := range domain.States {
		counts.States[s] = 0
	}
	q.States, q.Sort, q.Limit, q.After = nil, index.SortCreated, 0, ""
	if err := checkTasks(&q); err != nil {
		return counts, err
	}
	return counts, x.read(ctx, func(c *sqlite.Conn) error {
		f, err := newFilter(x, c, q)
		if err != nil {
			return err
		}
		if f.plain() && f.createdLow == math.MinInt64 && f.createdHigh == math.MaxInt64 {
			for _, k := range f.kinds {
				for state, n := range k.n {
					counts.States[domain.State(state)] += n // #nosec G115 -- six of them
					counts.Total += n
				}
			}
		} else if err := f.count(&counts); err != nil {
			return err
		}
		counts.Lag, err = x.lagOf(c)
		return err
	})
}

// count counts one by one, up to a limit.
func (f *filter) count(counts *index.Counts) error {
	nums, few, err := f.probe(index.MaxCount)
	if err != nil {
		return err
	}
	one := func(state domain.State) error {
		if counts.Total == index.MaxCount {
			return errLimit
		}
		counts.States[state]++
		counts.Total++
		return nil
	}
	if few {
		f.sets = nil
		err = f.lookUp(nums, func(t taken) error { return one(t.state) })
	} else {
		err = f.countWalk(one)
	}
	if errors.Is(err, errLimit) {
		counts.AtLeast, err = true, nil
	}
	return err
}

func (f *filter) countWalk(one func(domain.State) error) error {
	w, err := newWalker(f.c, orders[index.SortCreated], false, f.kinds, nil, f.createdLow, f.createdHigh, nil, f.condition(true))
	if err != nil {
		return err
	}
	defer w.close()
	return w.each(func(at found, state domain.State) error {
		if w.examined > maxCountWalk || f.asked > maxAsked {
			return errLimit
		}
		yes, err := at.takes, error(nil)
		if yes {
			yes, err = f.has(at.num)
		}
		if err != nil || !yes {
			return err
		}
		return one(state)
	})
}
