package tasker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
	"github.com/tasker-go/tasker/subscribers/telemetry"
)

const (
	// indexAgain is how long an engine waits at first before it tries again to use an index that failed, and at most.
	indexAgain, indexAgainMost = time.Second, time.Minute
	// indexHolds is how long an index that does not get on holds the log back from being trimmed.
	indexHolds = 24 * time.Hour
)

// indexProgress is what an index says of its way through the log.
type indexProgress struct {
	Commits, Events, Rows, Batches uint64
	Total                          uint64 // commits that there were when it began; 0 = not known
}

// indexFile is what an engine needs of an index.
type indexFile interface {
	index.Reader
	// Follow folds the log into the index until ctx ends or it cannot go on.
	Follow(ctx context.Context, progress func(indexProgress)) error
	// WaitFor waits for a position; *index.BehindError when ctx ends before.
	WaitFor(ctx context.Context, at domain.Position) error
	Lag(ctx context.Context) index.Lag
	// Rebuild makes it anew while it is read, and stays as it is when that fails. Follow must not run.
	Rebuild(ctx context.Context, progress func(indexProgress)) error
	Close() error
}

// indexer is the index of an engine, and the loop that keeps it following the log. The engine does not need it: what goes wrong
// is logged, shown, and tried again.
type indexer struct {
	e    *Engine
	path string
	open func(ctx context.Context) (indexFile, error)

	use  sync.RWMutex // held by those who read; its writer changes file
	file indexFile    // nil while it cannot be opened

	mu       sync.Mutex
	problem  string
	since    time.Time // of the problem
	advanced time.Time // when the index got on, or had nothing to do
	done     indexProgress
	before   indexProgress // of earlier runs of Follow
	failures uint64
	rebuild  *IndexRebuild
	asked    bool // for a rebuild
	again    chan struct{}
}

func newIndexer(e *Engine, path string, open func(ctx context.Context) (indexFile, error)) *indexer {
	return &indexer{e: e, path: path, open: open, again: make(chan struct{}, 1), advanced: time.Now()}
}

// run opens the index and lets it follow the log until ctx ends.
func (x *indexer) run(ctx context.Context) {
	defer x.close()
	pause := indexAgain
	for {
		began := time.Now()
		err := x.turn(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // a rebuild was asked for
			continue
		}
		if time.Since(began) > indexAgainMost {
			pause = indexAgain
		}
		x.failed(err, pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-x.again:
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, indexAgainMost)
	}
}

// turn makes the index anew if somebody asked for it, and else follows the log until it fails or somebody asks. nil: asked.
func (x *indexer) turn(ctx context.Context) error {
	file, err := x.opened(ctx)
	if err != nil {
		return err
	}
	if x.wanted() {
		x.rebuilding(ctx, file)
	}
	follow, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-x.again:
			stop()
		case <-follow.Done():
		}
	}()
	x.fine()
	err = file.Follow(follow, x.advance)
	if follow.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("it has stopped following the log")
	}
	if errors.Is(err, errIndexFile) { // opening it anew repairs it, or makes another one
		x.close()
	}
	return err
}

// errIndexFile: the file cannot be used as it is.
var errIndexFile = errors.New("the file of the index is damaged or gone")

// opened opens the file unless it is open.
func (x *indexer) opened(ctx context.Context) (indexFile, error) {
	x.use.RLock()
	file := x.file
	x.use.RUnlock()
	if file != nil {
		return file, nil
	}
	file, err := x.open(ctx)
	if err != nil {
		return nil, err
	}
	x.use.Lock()
	x.file = file
	x.use.Unlock()
	return file, nil
}

func (x *indexer) close() {
	x.use.Lock()
	defer x.use.Unlock()
	if x.file == nil {
		return
	}
	if err := x.file.Close(); err != nil {
		x.e.config.Logger.Warn("closing the index", "path", x.path, "error", err)
	}
	x.file = nil
}

func (x *indexer) failed(err error, pause time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failures++
	x.before, x.done = x.before.plus(x.done), indexProgress{}
	if x.problem == "" {
		x.since = x.e.config.Clock()
	}
	if x.problem != err.Error() {
		x.e.config.Logger.Error("the index does not follow the log; the engine goes on without it", "path", x.path, "error", err, "again_in", pause)
	}
	x.problem = err.Error()
}

func (x *indexer) fine() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.before, x.done = x.before.plus(x.done), indexProgress{}
}

// advance is told by Follow what it has done so far, and clears the problem: it follows again.
func (x *indexer) advance(p indexProgress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.done, x.advanced = p, time.Now()
	if x.problem != "" {
		x.e.config.Logger.Info("the index follows the log again", "path", x.path)
		x.problem, x.since = "", time.Time{}
	}
}

func (p indexProgress) plus(q indexProgress) indexProgress {
	return indexProgress{Commits: p.Commits + q.Commits, Events: p.Events + q.Events, Rows: p.Rows + q.Rows, Batches: p.Batches + q.Batches}
}

// wanted reports whether somebody asked for a rebuild, and takes the order.
func (x *indexer) wanted() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	asked := x.asked
	x.asked = false
	return asked
}

// rebuilding makes the index anew while the old one is read.
func (x *indexer) rebuilding(ctx context.Context, file indexFile) {
	began := time.Now()
	say := func(p indexProgress, done bool, problem string) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.rebuild = &IndexRebuild{Done: done, Problem: problem, Events: p.Events, Commits: p.Commits, Total: p.Total, Took: time.Since(began)}
	}
	var last indexProgress
	err := file.Rebuild(ctx, func(p indexProgress) {
		last = p
		say(p, false, "")
	})
	if err != nil {
		x.e.config.Logger.Error("the index was not rebuilt", "path", x.path, "error", err)
		say(last, true, err.Error())
		return
	}
	say(last, true, "")
	x.e.config.Logger.Info("the index was rebuilt", "path", x.path, "events", last.Events, "took", time.Since(began).Round(time.Millisecond))
}

// order asks for a rebuild unless one runs.
func (x *indexer) order() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rebuild != nil && !x.rebuild.Done || x.asked {
		return
	}
	x.asked, x.rebuild = true, &IndexRebuild{}
	select {
	case x.again <- struct{}{}:
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

// wait waits for the positions that the answer has to contain, without holding up who closes the file.
func (x *indexer) wait(ctx context.Context, q *indexRequest) error {
	if len(q.At) == 0 {
		return nil
	}
	x.use.RLock()
	file := x.file
	x.use.RUnlock()
	if file == nil {
		return x.unavailable()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(q.Wait))
	defer cancel()
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
	s.Problem, s.Since = x.problem, x.since
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
	stuck := x.problem != "" && time.Since(x.advanced) > indexHolds
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
	all := x.before.plus(x.done)
	m.Batches, m.Rows, m.Failures = all.Batches, all.Rows, x.failures
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
