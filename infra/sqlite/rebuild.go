package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// rebuildBatch is larger than what is good while an engine runs: rows are written once more rarely.
const rebuildBatch = 50_000

// Rebuild makes the index again from the log, in a file beside, and puts that in the place of the one that there is, which
// answers until then. It returns when the new file has what the log had when the last message was read. progress may be nil.
// While Follow runs it goes on with the new file. A second call waits
// for the first, and rebuilds again. A crash, or an error, leaves the old file as it was.
func (x *Index) Rebuild(ctx context.Context, store domain.Store, progress func(Progress)) error {
	x.rebuilding.Lock()
	defer x.rebuilding.Unlock()
	beside := x.path + rebuildSuffix
	if err := removeFile(beside); err != nil {
		return explainOpen(beside, err)
	}
	n := &Index{path: beside, options: x.options}
	if err := makeFile(beside, x.options.Data, false); err != nil {
		return errors.Join(explainOpen(beside, err), removeFile(beside))
	}
	err := n.openFile(ctx)
	if err == nil {
		err = n.check()
	}
	if err == nil {
		err = n.refill(ctx, store, x.following.Load() == 0, progress)
	}
	if err == nil {
		err = run(n.writer, append(append([]string{}, indexes...), `PRAGMA wal_checkpoint(TRUNCATE)`)...)
	}
	if err = errors.Join(err, n.closeFile()); err != nil {
		return errors.Join(fmt.Errorf("index: rebuild: %w", err), removeFile(beside))
	}
	return x.replace(ctx, beside)
}

// refill reads the whole log.
func (x *Index) refill(ctx context.Context, store domain.Store, alone bool, progress func(Progress)) error {
	for _, pragma := range []string{`PRAGMA synchronous=OFF`, `PRAGMA wal_autocheckpoint=16000`} {
		if err := run(x.writer, pragma); err != nil {
			return err
		}
	}
	began := time.Now()
	r := x.newRun(store, FollowOptions{Batch: rebuildBatch, Pace: time.Hour})
	r.alone = alone
	r.progress = func(p Progress) {
		if p.Elapsed = time.Since(began); progress != nil {
			progress(p)
		}
	}
	err := r.scan(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// scan is follow that ends with the log.
func (r *runner) scan(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	from, err := r.begin(ctx)
	if err != nil {
		return err
	}
	r.ended = make(chan struct{})
	var reading sync.WaitGroup
	for p := range r.store.Data().Partitions {
		reading.Go(func() {
			if err := r.read(ctx, p, from[p], r.store.Log(p).Scan); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("partition %02d: %w", p, err))
			}
		})
	}
	wg.Go(func() {
		reading.Wait()
		close(r.ended)
	})
	return r.loop(ctx)
}

// replace puts another file in the place of the one that is open.
func (x *Index) replace(ctx context.Context, other string) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.swap.Lock()
	defer x.swap.Unlock()
	if x.closed {
		return errors.Join(ErrClosed, removeFile(other))
	}
	if err := x.closeFile(); err != nil {
		x.options.Logger.Warn("the old index could not be closed", "error", err)
	}
	if err := removeFile(x.path); err != nil {
		return explainOpen(x.path, err)
	}
	if err := os.Rename(other, x.path); err != nil {
		return explainOpen(x.path, err)
	}
	x.generation.Add(1)
	if err := x.openFile(ctx); err != nil {
		return explainOpen(x.path, err)
	}
	return x.check()
}
