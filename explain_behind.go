package tasker

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// behindPatience is how long an engine is asked how its index is doing, for an explanation.
const behindPatience = time.Second

// ExplainBehind says why an answer from the index lacks a position: err is what a read ended with. Nil when that is no
// *IndexBehindError. How many commits the index is behind, and what keeps it from going on, is asked of its engine; without an
// answer in time the explanation does without.
func (r *router) ExplainBehind(ctx context.Context, err error) *Explanation {
	var behind *IndexBehindError
	if !errors.As(err, &behind) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, behindPatience)
	defer cancel()
	at := behind.Position
	b := domain.Behind{Position: at, Covered: behind.Covered.Sequences[at.Partition]}
	if n := r.store.Data().Partitions; at.Partition >= 0 && at.Partition < n {
		if bounds, err := r.store.Log(at.Partition).Bounds(ctx); err == nil {
			b.End = bounds.Last
			b.Commits = bounds.Last - min(b.Covered, bounds.Last)
		}
	}
	if s, err := r.IndexStatus(ctx); err == nil {
		b.Why = s.Problem
		if s.Lag.Behind > 0 {
			b.Since = domain.InstantOf(r.clock().Add(-s.Lag.Behind))
		}
	}
	e := domain.ExplainBehind(b)
	return &e
}
