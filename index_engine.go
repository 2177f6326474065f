package tasker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/sqlite"
	"github.com/tasker-go/tasker/subscribers/telemetry"
)

const (
	// indexAgain is how long an engine waits at first before it tries again to open an index, and at most.
	indexAgain, indexAgainMost = time.Second, time.Minute
	// indexHolds is how long an index that does not get on holds the log back from being trimmed.
	indexHolds = 24 * time.Hour
)

// indexer is the index of an engine, and what keeps it following the log. The engine does not need it: what goes wrong is logged,
// shown, and tried again.
type indexer struct {
	e      *Engine
	path   string
	orders chan struct{} // for a rebuild
	ready  chan struct{} // closed when the file is open, or could not be opened for the first time
	tried  func()        // closes ready

	use  sync.RWMutex  // held by those who read; its writer changes file
	file *sqlite.Index // nil while it cannot be opened

	mu       sync.Mutex
	problem  string
	since    time.Time // of the problem, by Config.Clock
	stands   time.Time // as since, by the clock of this process
	done     sqlite.Progress
	failures uint64
	rebuild  *IndexRebuild
}

func newIndexer(e *Engine, path string) *indexer {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs // others are told, who may be elsewhere
	}
	x := &indexer{e: e, path: path, orders: make(chan struct{}, 1), ready: make(chan struct{})}
	x.tried = sync.OnceFunc(func() { close(x.ready) })
	return x
}

// run opens the index and lets it follow the log until ctx ends.
func (x *indexer) run(ctx context.Context) {
	file := x.open(ctx)
	if file == nil {
		return
	}
	defer x.close()
	var rebuilds sync.WaitGroup
	defer rebuilds.Wait()
	rebuilds.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-x.orders:
				x.rebuilding(ctx, file)
			}
		}
	})
	o := sqlite.FollowOptions{OnProgress: x.advance, OnProblem: x.failed}
	if err := file.Follow(ctx, x.e.store, o); err != nil && ctx.Err() == nil {
		x.failed(err)
	}
}

// open opens the file, however often it takes; nil when ctx ends before.
func (x *indexer) open(ctx context.Context) *sqlite.Index {
	for pause := indexAgain; ctx.Err() == nil; pause = min(2*pause, indexAgainMost) {
		file, err := openIndex(ctx, x.path, x.e.store, &x.e.config)
		if err == nil {
			x.use.Lock()
			x.file = file
			x.use.Unlock()
			x.tried()
			return file
		}
		x.failed(err)
		x.tried()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// openIndex opens the file of an index.
func openIndex(ctx context.Context, path string, store domain.Store, c *Config) (*sqlite.Index, error) {
	return sqlite.Open(ctx, path, sqlite.Options{Data: store.Data(), Retention: c.Retention, Clock: c.Clock, Logger: c.Logger})
}

func (x *indexer) close() {
	x.use.Lock()
	defer x.use.Unlock()
	if err := x.file.Close(); err != nil {
		x.e.config.Logger.Warn("closing the index", "path", x.path, "error", err)
	}
	x.file = nil
}

// failed is told why the index does not follow the log now.
func (x *indexer) failed(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failures++
	if x.problem == "" {
		x.since, x.stands = x.e.config.Clock(), time.Now()
	}
	if x.problem != err.Error() {
		x.e.config.Logger.Error("the index does not follow the log; the engine goes on without it", "path", x.path, "error", err)
	}
	x.problem = err.Error()
}

// advance is told by Follow what it has done so far, and clears the problem: it follows again.
func (x *indexer) advance(p sqlite.Progress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done = p
	if x.problem != "" {
		x.e.config.Logger.Info("the index follows the log again", "path", x.path)
		x.problem, x.since = "", time.Time{}
	}
}

// rebuilding makes the index anew while the old one is read.
func (x *indexer) rebuilding(ctx context.Context, file *sqlite.Index) {
	began := time.Now()
	last := IndexRebuild{}
	say := func(r IndexRebuild) {
		x.mu.Lock()
		defer x.mu.Unlock()
		last, x.rebuild = r, &r
	}
	err := file.Rebuild(ctx, x.e.store, func(p sqlite.Progress) { say(rebuildOf(p)) })
	r := last
	if r.Done, r.Took = true, time.Since(began); err != nil {
		r.Problem = err.Error()
		x.e.config.Logger.Error("the index was not rebuilt", "path", x.path, "error", err)
	} else {
		x.e.config.Logger.Info("the index was rebuilt", "path", x.path, "events", r.Events, "took", r.Took.Round(time.Millisecond))
	}
	say(r)
}

func rebuildOf(p sqlite.Progress) IndexRebuild {
	return IndexRebuild{Events: p.Events, Commits: p.Commits, Total: p.Of, Took: p.Elapsed}
}

// order asks for a rebuild unless one runs.
func (x *indexer) order() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rebuild != nil && !x.rebuild.Done {
		return
	}
	x.rebuild = &IndexRebuild{}
	select {
	case x.orders <- struct{}{}:
	default:
	}
}

// answer answers a question.
func (x *indexer) answer(ctx context.Context, q *indexRequest) (*indexAnswer, error) {
	if q.Rebuild {
		x.order()
	}
	if err := x.wait(ctx, q); err != nil {
		return nil, err
	}
	x.use.RLock()
	defer x.use.RUnlock()
	switch {
	case q.Status || q.Rebuild:
		return &indexAnswer{Status: x.status(ctx)}, nil
	case x.file == nil:
		return nil, x.unavailable()
	}
	return answerIndex(ctx, x.file, q)
}

// wait waits for the file to be opened, and for the positions that the answer has to contain, without holding up who closes
// the file.
func (x *indexer) wait(ctx context.Context, q *indexRequest) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(q.Wait))
	defer cancel()
	select {
	case <-x.ready:
	case <-ctx.Done():
	}
	if len(q.At) == 0 {
		return nil
	}
	x.use.RLock()
	file := x.file
	x.use.RUnlock()
	if file == nil {
		return x.unavailable()
	}
	for _, at := range q.At {
		if err := file.WaitFor(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

func (x *indexer) unavailable() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.problem == "" {
		return &IndexUnavailableError{x.path, "it is being opened"}
	}
	return &IndexUnavailableError{x.path, x.problem}
}

func (x *indexer) status(ctx context.Context) *IndexStatus {
	s := &IndexStatus{Engine: x.e.config.Name, Path: x.path}
	if x.file != nil {
		s.Lag = x.file.Lag(ctx)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file == nil || s.Lag.Commits > 0 { // else what was wrong has passed: nothing is missing
		s.Problem, s.Since = x.problem, x.since
	}
	if x.rebuild != nil {
		rebuild := *x.rebuild
		s.Rebuild = &rebuild
	}
	return s
}

// near is where the newest commit of a task may be; 0 = nobody knows.
func (x *indexer) near(ctx context.Context, id domain.TaskID) uint64 {
	x.use.RLock()
	defer x.use.RUnlock()
	if x.file == nil {
		return 0
	}
	at, found, err := x.file.Last(ctx, id)
	if err != nil || !found || at.Partition != x.e.partition(id) {
		return 0
	}
	return at.Sequence
}

// holds is the sequence of a partition that the index has yet to read, so that it is not trimmed; false when it holds nothing
// back, because it has not got on for too long.
func (x *indexer) holds(partition int) (uint64, bool) {
	x.mu.Lock()
	stuck := x.problem != "" && time.Since(x.stands) > indexHolds
	x.mu.Unlock()
	if stuck {
		return 0, false
	}
	x.use.RLock()
	defer x.use.RUnlock()
	if x.file == nil {
		return 0, true
	}
	return x.file.Covered().Sequences[partition] + 1, true
}

// measured is the index in the metrics.
func (x *indexer) measured(ctx context.Context) *telemetry.Index {
	x.use.RLock()
	m := &telemetry.Index{}
	if x.file != nil {
		lag := x.file.Lag(ctx)
		m.Lag, m.Behind = lag.Commits, lag.Behind
	}
	x.use.RUnlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	m.Batches, m.Rows, m.Failures = x.done.Batches, x.done.Rows, x.failures
	return m
}

// localIndex answers from this process's index.
func (e *Engine) localIndex(ctx context.Context, q *indexRequest) (*response, error) {
	switch {
	case q == nil:
		return nil, fmt.Errorf("the parameters of %q are missing", opIndex)
	case e.index == nil:
		return nil, ErrNoIndex
	}
	ctx, cancel := context.WithTimeout(ctx, patience) // whoever asked has given up by then
	defer cancel()
	a, err := e.index.answer(ctx, q)
	if err != nil {
		return nil, err
	}
	return &response{Index: a}, nil
}
