package sqlite

import (
	"context"

	"github.com/tasker-go/tasker/projections/index"
)

// Count is index.Reader's.
func (x *Index) Count(context.Context, index.TaskQuery) (index.Counts, error) {
	return index.Counts{}, nil
}

// Steps is index.Reader's.
func (x *Index) Steps(context.Context, index.StepQuery) (index.StepPage, error) {
	return index.StepPage{}, nil
}

// Analyze is index.Reader's.
func (x *Index) Analyze(context.Context, index.AnalyticsQuery) (index.Analytics, error) {
	return index.Analytics{}, nil
}
