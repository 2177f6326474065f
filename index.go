package tasker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/projections/index"
	"github.com/tasker-go/tasker/subscribers"
)

// The questions that an index answers about all tasks, and its answers; see package projections/index.
type (
	TaskQuery        = index.TaskQuery
	TaskSort         = index.Sort
	TaskPage         = index.TaskPage
	TaskRow          = index.TaskRow
	StepQuery        = index.StepQuery
	StepPage         = index.StepPage
	StepRow          = index.StepRow
	Counts           = index.Counts
	AnalyticsQuery   = index.AnalyticsQuery
	Analytics        = index.Analytics
	IndexLag         = index.Lag
	DefinitionStats  = index.DefinitionStats
	StepStats        = index.StepStats
	Durations        = index.Durations
	QueryError       = index.QueryError
	IndexBehindError = index.BehindError
)

// The sorts of a TaskQuery, and how many rows a page has at most.
const (
	SortCreated  = index.SortCreated
	SortUpdated  = index.SortUpdated
	SortEnded    = index.SortEnded
	SortDuration = index.SortDuration
	SortRetries  = index.SortRetries
	MaxTaskLimit = index.MaxLimit
)

// Errors of reads through an index.
var (
	// ErrNoIndex: no engine that answers has an index.
	ErrNoIndex = errors.New("no engine that answers has an index: start one with Config.Index, or with `tasker serve --index PATH`")
	// ErrBehind: the time was over before the index contained the position; *IndexBehindError says how far it has come.
	ErrBehind = index.ErrBehind
)

// IndexUnavailableError is an ErrNoIndex: the engine has an index, which cannot be used now. The engine goes on without it, and tries
// again by itself.
type IndexUnavailableError struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
}

func (e *IndexUnavailableError) Error() string {
	return fmt.Sprintf("the index %s cannot be used: %s; the engine tries again by itself", e.Path, e.Problem)
}

// Is reports whether target is ErrNoIndex.
func (e *IndexUnavailableError) Is(target error) bool { return target == ErrNoIndex }

// indexPatience is how long a read waits for its positions when its context has no end.
const indexPatience = 5 * time.Second

// FindTasks lists tasks through the index of an engine: this one's, or that of one that owns a partition. Every answer says
// how far the index is behind the log. With positions, such as a Receipt's, the answer contains what was stored there: it
// waits for the index as long as ctx lasts, 5 s when ctx has no end. Errors: ErrNoIndex, ErrBehind, *QueryError,
// ErrNotRunning, ErrNoOwner, ErrUnavailable.
func (r *router) FindTasks(ctx context.Context, q TaskQuery, at ...Position) (TaskPage, error) {
	a, err := r.askIndex(ctx, indexRequest{Tasks: &q, At: at})
	if err != nil {
		return TaskPage{}, err
	}
	return *a.Tasks, nil
}

// FindSteps lists steps, as FindTasks lists tasks.
func (r *router) FindSteps(ctx context.Context, q StepQuery, at ...Position) (StepPage, error) {
	a, err := r.askIndex(ctx, indexRequest{Steps: &q, At: at})
	if err != nil {
		return StepPage{}, err
	}
	return *a.Steps, nil
}

// CountTasks counts the tasks that the query takes, by state. Waiting and errors are those of FindTasks.
func (r *router) CountTasks(ctx context.Context, q TaskQuery, at ...Position) (Counts, error) {
	a, err := r.askIndex(ctx, indexRequest{Count: &q, At: at})
	if err != nil {
		return Counts{}, err
	}
	return *a.Counts, nil
}

// Analyze says how tasks and steps did. Waiting and errors are those of FindTasks.
func (r *router) Analyze(ctx context.Context, q AnalyticsQuery, at ...Position) (Analytics, error) {
	a, err := r.askIndex(ctx, indexRequest{Analyze: &q, At: at})
	if err != nil {
		return Analytics{}, err
	}
	return *a.Analytics, nil
}

// IndexLag says how far the index is behind the log. Errors: ErrNoIndex, ErrNotRunning, ErrNoOwner, ErrUnavailable.
func (r *router) IndexLag(ctx context.Context) (IndexLag, error) {
	s, err := r.IndexStatus(ctx)
	if err != nil {
		return IndexLag{}, err
	}
	return s.Lag, nil
}

// IndexStatus is how the index of an engine is doing.
type IndexStatus struct {
	Engine string   `json:"engine"` // Config.Name
	Path   string   `json:"path"`   // of its file, on the engine's machine
	Lag    IndexLag `json:"lag"`
	// Problem is why it does not follow the log now, and when that began; it is tried again by itself. "" is none.
	Problem string    `json:"problem,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Rebuild is the one that runs, or that ended last; nil when there was none since the engine was started.
	Rebuild *IndexRebuild `json:"rebuild,omitempty"`
}

// IndexRebuild is how a rebuild is doing.
type IndexRebuild struct {
	Done    bool          `json:"done,omitempty"`
	Problem string        `json:"problem,omitempty"` // it failed; the index is what it was
	Events  uint64        `json:"events"`            // that were read
	Commits uint64        `json:"commits"`
	Total   uint64        `json:"total"` // commits that there were when it began
	Took    time.Duration `json:"took_ns"`
}

// IndexStatus asks an engine that has an index how it is doing. Errors: as IndexLag.
func (r *router) IndexStatus(ctx context.Context) (*IndexStatus, error) {
	a, err := r.askIndex(ctx, indexRequest{Status: true})
	if err != nil {
		return nil, err
	}
	return a.Status, nil
}

// RebuildIndex makes the index of an engine anew from the log, while the old one goes on to answer, and returns when it is
// done. progress is called every half second, with what IndexStatus says; it may be nil. While one runs, a second call waits for
// that one. When ctx ends, the rebuild goes on. Errors: a rebuild that failed; as IndexLag.
func (r *router) RebuildIndex(ctx context.Context, progress func(IndexRebuild)) error {
	a, err := r.askIndex(ctx, indexRequest{Rebuild: true})
	for err == nil {
		s := a.Status.Rebuild
		switch {
		case s == nil:
			return errors.New("the engine was started anew, and the rebuild with it: ask for it again")
		case s.Problem != "":
			return fmt.Errorf("the index was not rebuilt: %s", s.Problem)
		case progress != nil:
			progress(*s)
		}
		if s.Done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rebuildLook):
		}
		a, err = r.askIndex(ctx, indexRequest{Status: true})
	}
	return err
}

// rebuildLook is how often is looked how far a rebuild is.
const rebuildLook = 500 * time.Millisecond

// LogEnd returns the position of the newest commit of every partition that has one: with it, a read through the index
// contains everything that was stored before. Error: ErrUnavailable.
func (r *router) LogEnd(ctx context.Context) ([]Position, error) {
	var ends []Position
	for p := range r.store.Data().Partitions {
		bounds, err := r.store.Log(p).Bounds(ctx)
		if err != nil {
			return nil, fmt.Errorf("the end of partition %02d: %w", p, err)
		}
		if bounds.Last > 0 {
			ends = append(ends, Position{Partition: p, Sequence: bounds.Last})
		}
	}
	return ends, nil
}

// askIndex asks this process's index, or that of the owner of some partition. A slice of the wait is over there before the
// request is given up here; then it is asked again.
func (r *router) askIndex(ctx context.Context, q indexRequest) (*indexAnswer, error) {
	for _, p := range q.At {
		if n := r.store.Data().Partitions; p.Partition < 0 || p.Partition >= n {
			return nil, &index.QueryError{Field: "position", Why: fmt.Sprintf("%s is of partition %02d: this log has %d, from 00", p, p.Partition, n)}
		}
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(indexPatience)
	}
	for {
		left := time.Until(deadline)
		q.Wait = int64(min(left-min(left/4, answerMargin), waitSlice)) // so that the answer comes before the end
		a, err := r.anyIndex(ctx, &request{Op: opIndex, Index: &q})
		if !errors.Is(err, ErrBehind) || time.Until(deadline) <= answerMargin || ctx.Err() != nil {
			return a, err
		}
	}
}

// answerMargin is what is left of a wait for the way of the answer.
const answerMargin = 50 * time.Millisecond

// anyIndex asks until one has an index. The error is that of the engine which came closest.
func (r *router) anyIndex(ctx context.Context, req *request) (*indexAnswer, error) {
	var none error
	ask := func(resp *response, err error) (a *indexAnswer, ended bool, _ error) {
		var broken *IndexUnavailableError
		switch {
		case err == nil:
			return resp.Index, true, nil
		case errors.As(err, &broken), errors.Is(err, ErrNoIndex) && none == nil:
			none = err
		case !errors.Is(err, ErrNoIndex) && !errors.Is(err, ErrNoOwner) && !errors.Is(err, subscribers.ErrNotOwner):
			return nil, true, err
		}
		return nil, false, nil
	}
	if r.local != nil {
		if a, ended, err := ask(r.local(ctx, 0, req)); ended {
			return a, err
		}
	}
	for p := range r.store.Data().Partitions {
		if a, ended, err := ask(r.elsewhere(ctx, p, req)); ended {
			return a, err
		}
	}
	if none != nil {
		return nil, none
	}
	resp, err := r.call(ctx, 0, req) // an engine may be starting
	if err != nil {
		return nil, err
	}
	return resp.Index, nil
}

// indexRequest is a question to an index. One of the questions is set.
type indexRequest struct {
	Tasks   *TaskQuery      `json:"tasks,omitempty"`
	Steps   *StepQuery      `json:"steps,omitempty"`
	Count   *TaskQuery      `json:"count,omitempty"`
	Analyze *AnalyticsQuery `json:"analyze,omitempty"`
	Status  bool            `json:"status,omitempty"`
	Rebuild bool            `json:"rebuild,omitempty"`

	At   []Position `json:"at,omitempty"`      // that the answer has to contain
	Wait int64      `json:"wait_ns,omitempty"` // for them
}

// indexAnswer is the answer to the question that was set.
type indexAnswer struct {
	Tasks     *TaskPage    `json:"tasks,omitempty"`
	Steps     *StepPage    `json:"steps,omitempty"`
	Counts    *Counts      `json:"counts,omitempty"`
	Analytics *Analytics   `json:"analytics,omitempty"`
	Status    *IndexStatus `json:"status,omitempty"`
}

// answerIndex answers from an index.
func answerIndex(ctx context.Context, from index.Reader, q *indexRequest) (*indexAnswer, error) {
	a := &indexAnswer{}
	switch {
	case q.Tasks != nil:
		page, err := from.Tasks(ctx, *q.Tasks)
		a.Tasks = &page
		return a, err
	case q.Steps != nil:
		page, err := from.Steps(ctx, *q.Steps)
		a.Steps = &page
		return a, err
	case q.Count != nil:
		counts, err := from.Count(ctx, *q.Count)
		a.Counts = &counts
		return a, err
	case q.Analyze != nil:
		analytics, err := from.Analyze(ctx, *q.Analyze)
		a.Analytics = &analytics
		return a, err
	}
	return nil, errors.New("the index was asked for nothing that this version knows: the other side is a newer version of tasker")
}
