package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/projections/index"
)

// message is one of the log, decoded.
type message struct {
	domain.Message
	partition int
	at        time.Time      // when it was stored
	commit    *domain.Commit // nil: it is none
}

// begin compares the file with the log, and returns where reading goes on in each partition.
func (r *runner) begin(ctx context.Context) ([]uint64, error) {
	marks, err := r.into.Marks(ctx)
	if err != nil {
		return nil, err
	}
	from := make([]uint64, r.store.Data().Partitions)
	for p := range from {
		log := r.store.Log(p)
		bounds, err := log.Bounds(ctx)
		if err != nil {
			return nil, err
		}
		mark := marks[p]
		if from[p], err = r.resume(ctx, p, mark, bounds); err != nil {
			return nil, err
		}
		r.x.ahead.heard(p, bounds.Last, from[p]-1, r.x.options.Clock())
	}
	return from, nil
}

// resume is where reading goes on in a partition.
func (r *runner) resume(ctx context.Context, p int, mark index.Mark, bounds domain.LogBounds) (uint64, error) {
	next := mark.Sequence + 1
	switch {
	case mark.Sequence > bounds.Last:
		return 0, &foreignError{fmt.Sprintf("it has message %d of partition %02d, and the log ends at %d", mark.Sequence, p, bounds.Last)}
	case mark.Sequence == 0 && bounds.First > 1:
		return r.fromSnapshot(ctx, p, bounds.First)
	case next < bounds.First:
		return 0, &foreignError{fmt.Sprintf("it ends at message %d of partition %02d, and the log begins at %d", mark.Sequence, p, bounds.First)}
	case mark.Sequence == 0 || mark.Sequence < bounds.First:
		return next, nil
	}
	m, err := r.store.Log(p).Read(ctx, mark.Sequence)
	if errors.Is(err, domain.ErrNoMessage) {
		return next, nil
	}
	if err == nil && m.CommitID != mark.CommitID {
		return 0, &foreignError{fmt.Sprintf("message %d of partition %02d was %q, and is %q in the log", mark.Sequence, p, mark.CommitID, m.CommitID)}
	}
	return next, err
}

// fromSnapshot loads what the newest snapshot tells of the time before the log's first message.
func (r *runner) fromSnapshot(ctx context.Context, p int, first uint64) (uint64, error) {
	infos, err := r.store.Snapshots().List(ctx, p)
	if err != nil {
		return 0, err
	}
	for _, info := range infos {
		if info.Sequence+1 < first {
			break
		}
		content, err := r.store.Snapshots().Get(ctx, info)
		if err != nil {
			if errors.Is(err, domain.ErrUnavailable) || ctx.Err() != nil {
				return 0, err
			}
			continue
		}
		state, err := projections.ReadSnapshot(content)
		if err != nil || state.Sequence != info.Sequence {
			continue
		}
		r.x.options.Logger.Warn("the beginning of the log is not there any more: the index begins with a snapshot, without the tasks that had ended before it",
			"partition", p, "first", first, "snapshot", info.Sequence)
		return info.Sequence + 1, r.load(ctx, p, state, info.CommitID)
	}
	r.x.options.Logger.Warn("the beginning of the log is not there any more, and no snapshot is: the index is without the tasks that began before", "partition", p, "first", first)
	return first, nil
}

func (r *runner) load(ctx context.Context, p int, state *projections.Partition, commit string) error {
	for _, d := range state.Definitions() {
		r.folder.Know(d)
	}
	var failed []domain.TaskID
	for id := range state.FailedTasks() {
		failed = append(failed, id)
	}
	for _, id := range failed {
		state.Find(id)
	}
	for e := range state.Tasks() {
		if err := r.folder.Load(ctx, e.Task, p); err != nil {
			return err
		}
	}
	r.folder.Pass(p, domain.Message{Sequence: state.Sequence, CommitID: commit}, state.At)
	return nil
}

// read hands on the messages of a partition, decoded. The decoding runs beside the folding.
func (r *runner) read(ctx context.Context, p int, from uint64, scan func(context.Context, uint64, func(domain.Message) error) error) error {
	var decoder domain.Decoder
	warned := false
	next := from
	return scan(ctx, from, func(m domain.Message) error {
		if m.Sequence != next {
			if err := r.gap(ctx, p, next); err != nil {
				return err
			}
		}
		next = m.Sequence + 1
		out := message{Message: m, partition: p, at: m.Time}
		if m.CommitID != "" {
			switch c, err := decoder.Decode(m.Data, p, m.Sequence); {
			case err == nil:
				out.commit = &c
			case !warned:
				warned = true
				r.x.options.Logger.Warn("a message cannot be read and is passed over: the index may be wrong about its tasks until it is rebuilt by a version that can", "error", err)
			}
		}
		out.Data = nil
		r.x.ahead.heard(p, m.Sequence, m.Sequence-1, m.Time)
		select {
		case r.in <- out:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// gap is about a message that did not come: if the log was trimmed above it, the index can never have it.
func (r *runner) gap(ctx context.Context, p int, missing uint64) error {
	bounds, err := r.store.Log(p).Bounds(ctx)
	if err == nil && missing < bounds.First {
		err = &foreignError{fmt.Sprintf("message %d of partition %02d was removed from the log before it was read, and the log begins at %d", missing, p, bounds.First)}
	}
	return err
}

// ask asks the log once a second how far it has come.
func (r *runner) ask(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		covered := r.x.known.cursor()
		for p := range r.store.Data().Partitions {
			if bounds, err := r.store.Log(p).Bounds(ctx); err == nil {
				r.x.ahead.heard(p, bounds.Last, covered.Sequences[p], r.x.options.Clock())
			}
		}
		if r.generation != r.x.generation.Load() {
			cancel(errAgain)
		}
		if damage := r.x.damage.Load(); damage != nil {
			cancel(*damage)
		}
		if r.x.isGone() {
			cancel(&foreignError{"it was removed while it was in use"})
		}
		sleep(ctx, time.Second)
	}
}

// isGone reports whether the file that is open is not the one that is there.
func (x *Index) isGone() bool {
	x.swap.RLock()
	defer x.swap.RUnlock()
	now, err := os.Stat(x.path)
	return x.opened != nil && (errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(x.opened, now))
}
