package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// FollowOptions of Follow; the zero value is good.
type FollowOptions struct {
	// Pace is the least time between two batches, unless somebody waits for a position. Default 200 ms.
	Pace time.Duration
	// Batch is how many events a batch has at most, by about one commit. Default 20,000.
	Batch int
	// Sweep is how often it looks for tasks whose retention has passed. Default 10 s.
	Sweep time.Duration
	// Steps is how many steps of tasks that go on stay in memory. Default 200,000.
	Steps int
	// OnProgress is called after each batch, by the follower's goroutine; it must not wait.
	OnProgress func(Progress)
	// OnProblem is called, likewise, when it cannot go on and will try again.
	OnProblem func(error)
}

// Progress is how far Follow or Rebuild has come.
type Progress struct {
	Events  uint64        // folded since it began
	Rows    uint64        // of tasks, written since it began
	Batches uint64        // applied since it began
	Commits uint64        // messages of the log that the index has, in all partitions
	Of      uint64        // messages that the log had when it was asked last
	Elapsed time.Duration // since it began
}

// errAgain ends a run whose file was replaced, or is to be: what was read is of no use.
var errAgain = errors.New("the file has been replaced")

// Follow reads the log into the index, from where the index is, until ctx ends; then its error is nil. It survives everything
// else: while NATS is away or the disk is full it tries again, and when the file is damaged, or the log is not the one that the
// file was made from, or has lost what the index does not have yet, it begins again with an empty file.
func (x *Index) Follow(ctx context.Context, store domain.Store, o FollowOptions) error {
	x.following.Add(1)
	defer x.following.Add(-1)
	began := time.Now()
	var before Progress
	wait := &backoff{logger: x.options.Logger, tell: o.OnProblem}
	for ctx.Err() == nil {
		r := x.newRun(store, o)
		r.progress = func(p Progress) {
			wait.reset()
			if o.OnProgress != nil {
				p.Events, p.Rows, p.Batches = p.Events+before.Events, p.Rows+before.Rows, p.Batches+before.Batches
				p.Elapsed = time.Since(began)
				o.OnProgress(p)
			}
		}
		err := r.follow(ctx)
		before.Events, before.Rows, before.Batches = before.Events+r.events, before.Rows+r.rows, before.Batches+r.batches
		switch {
		case ctx.Err() != nil:
			return nil // what ended it is the end of the context
		case errors.Is(err, ErrClosed):
			return err
		case errors.Is(err, errAgain):
		case unusable(err):
			x.options.Logger.Warn("the index is made again from the log", "file", x.path, "reason", reason(err))
			if o.OnProblem != nil {
				o.OnProblem(err)
			}
			if err := x.startAgain(ctx); err != nil {
				wait.after(ctx, err)
			}
		default:
			wait.after(ctx, err)
		}
	}
	return nil
}

// startAgain puts an empty file in the place of the one that there is.
func (x *Index) startAgain(ctx context.Context) error {
	x.swap.Lock()
	defer x.swap.Unlock()
	if x.closed {
		return ErrClosed
	}
	_ = x.closeFile()
	x.ahead.reset()
	return x.makeAgain(ctx)
}

// backoff waits longer from error to error, and logs the first of a kind.
type backoff struct {
	logger *slog.Logger
	tell   func(error)
	delay  time.Duration
	last   string
}

func (b *backoff) reset() { b.delay, b.last = 0, "" }

func (b *backoff) after(ctx context.Context, err error) {
	if text := err.Error(); text != b.last {
		b.logger.Warn("the index cannot go on, and tries again", "error", err)
		b.last = text
	}
	if b.tell != nil {
		b.tell(err)
	}
	b.delay = min(max(2*b.delay, 100*time.Millisecond), 5*time.Second)
	sleep(ctx, b.delay)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ended is how something ended.
type ended struct{ err error }

// runner follows the log until an error.
type runner struct {
	x        *Index
	into     index.Store
	store    domain.Store
	o        FollowOptions
	folder   *index.Folder
	in       chan message
	events   uint64
	progress func(Progress)
	duty     duty

	oldest map[int]time.Time // of the messages in the open batch, by partition
	flying *index.Batch      // is being applied
	done   chan ended        // how that ended
	taken  time.Time         // when
	ended  chan struct{}     // closed when all has been read; nil: it goes on for ever
	retire time.Time         // when to look for what can be removed

	alone         bool // nothing else that matters runs in the process
	warned        bool // of events that belong to no task that is known
	generation    uint64
	batches, rows uint64
}

func (x *Index) newRun(store domain.Store, o FollowOptions) *runner {
	if o.Pace <= 0 {
		o.Pace = 200 * time.Millisecond
	}
	if o.Batch <= 0 {
		o.Batch = 20_000
	}
	if o.Sweep <= 0 {
		o.Sweep = 10 * time.Second
	}
	return &runner{
		x: x, into: x, generation: x.generation.Load(), store: store, o: o, in: make(chan message, 8), folder: index.NewFolder(x, index.Limits{Steps: o.Steps}),
		oldest: map[int]time.Time{}, done: make(chan ended, 1),
	}
}

// follow runs until ctx ends or something fails.
func (r *runner) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	from, err := r.begin(ctx)
	if err != nil {
		return err
	}
	for p := range r.store.Data().Partitions {
		wg.Go(func() {
			if err := r.read(ctx, p, from[p], r.store.Log(p).Follow); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("partition %02d: %w", p, err))
			}
		})
	}
	wg.Go(func() { r.ask(ctx, cancel) })
	return r.loop(ctx)
}

// loop folds what is read, and has batches applied, until ctx ends.
func (r *runner) loop(ctx context.Context) error {
	wake, read := r.x.known.wakes(), r.ended
	timer := time.NewTimer(r.o.Pace)
	defer timer.Stop()
	defer func() {
		if r.flying != nil {
			<-r.done // it ends by itself; what it did is in the file, or not
		}
	}()
	for {
		in := r.in
		if r.folder.Events() >= r.o.Batch && r.flying != nil {
			in = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-in:
			if err := r.fold(ctx, m); err != nil {
				return err
			}
		case e := <-r.done:
			if err := r.applied(e.err); err != nil {
				return err
			}
		case <-read:
			read = nil
		case <-wake:
		case <-timer.C:
			timer.Reset(r.o.Sweep)
		}
		over := r.ended != nil && read == nil && len(r.in) == 0
		if over && r.flying == nil && !r.folder.Waiting() {
			return nil
		}
		if r.flying != nil {
			continue
		}
		if err := r.x.retire(r); err != nil {
			return err
		}
		if !r.folder.Waiting() {
			continue
		}
		rest := r.o.Pace - time.Since(r.taken)
		if over || rest <= 0 || r.folder.Events() >= r.o.Batch || r.x.known.isWanted() {
			r.apply(ctx)
		} else {
			timer.Reset(rest)
		}
	}
}

func (r *runner) fold(ctx context.Context, m message) error {
	if _, has := r.oldest[m.partition]; !has {
		r.oldest[m.partition] = m.at
	}
	if m.commit == nil {
		r.folder.Pass(m.partition, m.Message, domain.InstantOf(m.Time))
		return nil
	}
	return r.folder.Fold(ctx, *m.commit)
}

// apply has the open batch applied.
func (r *runner) apply(ctx context.Context) {
	r.flying, r.taken = r.folder.Take(), time.Now()
	r.events += uint64(r.flying.Events) // #nosec G115 -- a count
	clear(r.oldest)
	batch := r.flying
	go func() {
		began := time.Now()
		used, err := measured(func() error { return r.x.apply(batch, r.generation) })
		if !r.alone {
			r.duty.rest(ctx, began, used, r.x.known.isWanted)
		}
		r.done <- ended{err}
	}()
}

func (r *runner) applied(err error) error {
	b := r.flying
	r.flying = nil
	if err != nil {
		return err
	}
	r.folder.Applied(b)
	r.x.ahead.applied(b.Marks, r.oldest)
	r.batches, r.rows = r.batches+1, r.rows+uint64(len(b.Writes))
	if b.Skipped > 0 && !r.warned {
		r.warned = true
		r.x.options.Logger.Warn("events of tasks whose beginning is not in the log any more are not in the index", "events", b.Skipped)
	}
	if r.progress != nil {
		r.progress(Progress{Events: r.events, Rows: r.rows, Batches: r.batches, Commits: r.x.known.total(), Of: r.x.ahead.total()})
	}
	return nil
}
