package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

const (
	defaultTop = 10
	maxTop     = 100
	// maxAnalyzed is how many tasks are looked at for each of the top lists of some hours.
	maxAnalyzed = 100_000
)

// Analyze is index.Reader's.
func (x *Index) Analyze(ctx context.Context, q index.AnalyticsQuery) (index.Analytics, error) {
	a := index.Analytics{Definitions: []index.DefinitionStats{}, SlowestTasks: []index.TaskRow{}, SlowestSteps: []index.StepRow{}, MostRetried: []index.StepRow{}}
	if err := errorOf(checkSpaces(q.Namespaces), checkWords(map[string]string{"name": q.Name, "version": q.Version}), checkTimes("since", q.Since, q.Until)); err != nil {
		return a, err
	}
	if q.Top < 0 || q.Top > maxTop {
		return a, wrong("top", "%d: want 0 to %d", q.Top, maxTop)
	}
	return a, x.read(ctx, func(c *sqlite.Conn) error {
		z := analysis{x: x, c: c, top: cmp.Or(q.Top, defaultTop), low: math.MinInt64, high: math.MaxInt64}
		if !q.Since.IsZero() {
			z.low = index.HourOf(domain.InstantOf(q.Since))
		}
		if !q.Until.IsZero() {
			z.high = index.HourOf(domain.InstantOf(q.Until.Add(time.Hour-time.Microsecond))) - 1
		}
		var err error
		if z.kinds, err = kinds(c, q.Namespaces, q.Name, q.Version); err != nil {
			return err
		}
		for i := range z.kinds {
			if err := z.definition(&z.kinds[i], &a); err != nil {
				return err
			}
		}
		if err := z.tops(&a); err != nil {
			return err
		}
		a.Lag, err = x.lagOf(c)
		return err
	})
}

// analysis is one answer being made.
type analysis struct {
	x         *Index
	c         *sqlite.Conn
	top       int
	low, high int64 // hours, both included
	kinds     []kind
}

// definition adds up what is kept by the hour.
func (z *analysis) definition(k *kind, a *index.Analytics) error {
	sums := map[string]*index.Stat{}
	if err := each(z.c, `SELECT step, data FROM stat WHERE kind = ? AND hour BETWEEN ? AND ?`, func(s *sqlite.Stmt) error {
		stat, err := index.ReadStat(blob(s, 1))
		if err != nil {
			return err
		}
		step := s.ColumnText(0)
		if sum := sums[step]; sum != nil {
			sum.Add(stat)
		} else {
			sums[step] = stat
		}
		return nil
	}, k.id, z.low, z.high); err != nil {
		return err
	}
	if len(sums) == 0 {
		return nil
	}
	var def *domain.Definition
	if k.hash != "" {
		var err error
		if def, err = z.x.defs.find(z.c, k.hash); err != nil {
			return err
		}
	}
	a.Definitions = append(a.Definitions, index.Sum(k.Kind, def, sums))
	return nil
}

// tops finds the slowest tasks and steps, and the steps with the most retries, of the tasks that ended or failed in these hours.
func (z *analysis) tops(a *index.Analytics) error {
	slowest, err := z.first(orders[index.SortDuration])
	if err != nil {
		return err
	}
	for _, row := range slowest {
		a.SlowestTasks = append(a.SlowestTasks, row.TaskRow())
	}
	// The n slowest steps are in the n tasks whose slowest steps are the slowest.
	if a.SlowestSteps, err = z.steps(bySlowest, func(s index.StepRow) int64 { return int64(s.Duration) }); err != nil {
		return err
	}
	a.MostRetried, err = z.steps(byTries, func(s index.StepRow) int64 { return int64(max(s.Attempt-1, 0)) })
	return err
}

// first are the first tasks by an order, of those that ended or failed in these hours.
func (z *analysis) first(by order) (rows []*index.Row, err error) {
	const hour = int64(time.Hour / time.Microsecond)
	when := condition{}
	if z.low != math.MinInt64 || z.high != math.MaxInt64 {
		when.text = fmt.Sprintf("ended BETWEEN %d AND %d", max(z.low, 0)*hour, min(z.high, math.MaxInt64/hour-1)*hour+hour-1)
	}
	states := []domain.State{domain.Complete, domain.Error, domain.Cancelled, domain.ResolvedManually}
	w, err := newWalker(z.c, by, false, z.kinds, states, 1, math.MaxInt64, nil, when)
	if err != nil {
		return nil, err
	}
	defer w.close()
	err = w.each(func(at found, _ domain.State) error {
		if w.examined > maxAnalyzed {
			return errLimit
		}
		if !at.takes {
			return nil
		}
		row, err := z.x.rowOf(z.c, at.num)
		if err != nil || row == nil {
			return err
		}
		if rows = append(rows, row); len(rows) == z.top {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errLimit) {
		err = nil
	}
	return rows, err
}

func (z *analysis) steps(by order, of func(index.StepRow) int64) ([]index.StepRow, error) {
	rows, err := z.first(by)
	if err != nil {
		return nil, err
	}
	list := []index.StepRow{}
	for _, row := range rows {
		for i := range row.Steps() {
			if step := row.StepRow(i); of(step) > 0 {
				list = append(list, step)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b index.StepRow) int { return cmp.Compare(of(b), of(a)) })
	return list[:min(len(list), z.top)], nil
}
