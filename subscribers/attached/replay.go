package attached

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// replayAhead is how many commits of each partition are decoded before they are asked for.
const replayAhead = 32

// last returns the last sequence to be read.
func last(ctx context.Context, u Until, store domain.Store, partition int) (uint64, error) {
	bounds, err := store.Log(partition).Bounds(ctx)
	switch {
	case err != nil:
		return 0, err
	case u.Cursor != "":
		c, err := cursorOf(store.Data(), u.Cursor)
		return min(c.Sequences[partition], bounds.Last), err
	case !u.Time.IsZero():
		sequence, err := sequenceAt(ctx, store.Log(partition), partition, bounds, u.Time)
		return min(max(sequence, 1)-1, bounds.Last), err
	}
	return bounds.Last, nil
}

// Replay reads what is stored, without a cursor: the same events with the same positions, in order within a partition
// and so within a task, and by the time of their commits between partitions, which is only approximate. It ends with
// the first error: ErrTrimmed, *UnreadableError, *MismatchError, of the store, or of ctx. With Follow the events that
// are stored later come as they are read, and the end of ctx is no error.
func Replay(ctx context.Context, store domain.Store, o ReplayOptions, more ...Setting) iter.Seq2[domain.Record, error] {
	return func(yield func(domain.Record, error) bool) {
		r, err := newReplay(ctx, store, o, settingsOf(more))
		if err == nil {
			err = r.run(ctx, yield)
		}
		if err != nil && (!o.Follow || ctx.Err() == nil) {
			yield(domain.Record{}, fmt.Errorf("replay: %w", err))
		}
	}
}

type replay struct {
	store      domain.Store
	opts       ReplayOptions
	types      domain.EventSet
	derives    bool    // types has signals
	made       *madeOf // nil: of any definition
	contexts   *contexts
	logger     *slog.Logger
	partitions []*replayed
}

// replayed is one partition of a replay.
type replayed struct {
	number      int
	next, until uint64   // sequences
	origins     *origins // nil: the tasks of every definition
	commits     chan commit
	head        commit // the next one, while the replay merges
}

// commit is what is wanted of one message.
type commit struct {
	at      domain.Instant
	records []domain.Record
	err     error
}

func newReplay(ctx context.Context, store domain.Store, o ReplayOptions, set settings) (*replay, error) {
	types, err := typesOf(o.Types)
	if err != nil {
		return nil, err
	}
	if o.Follow && o.Until != (Until{}) {
		return nil, fmt.Errorf("either Follow or Until, not both")
	}
	if o.From.Kind == domain.StartDefault {
		o.From = FromBeginning
	}
	made, err := newMadeOf(o)
	if err != nil {
		return nil, err
	}
	r := &replay{store: store, opts: o, types: types, derives: types.Derives(), made: made, logger: set.logger}
	r.contexts = newContexts(store, set.definition, r.logger)
	n := store.Data().Partitions
	for p := range n {
		if !o.Task.IsZero() && o.Task.Partition(n) != p {
			continue
		}
		until, err := last(ctx, o.Until, store, p)
		if err != nil {
			return nil, err
		}
		next, err := first(ctx, o.From, store, p)
		if err != nil {
			return nil, err
		}
		found := &replayed{number: p, next: next, until: until}
		if made != nil {
			found.origins = newOrigins(store, p, made, o.From.Kind == domain.StartOldest, r.logger)
		}
		r.partitions = append(r.partitions, found)
	}
	return r, nil
}

// run returns nil at the end, or when nobody wants more.
func (r *replay) run(ctx context.Context, yield func(domain.Record, error) bool) error {
	more, err := r.merge(ctx, yield)
	if err != nil || !more || !r.opts.Follow {
		return err
	}
	return r.follow(ctx, yield)
}

// merge yields what is stored now, the earliest commit first; false when nobody wants more.
func (r *replay) merge(ctx context.Context, yield func(domain.Record, error) bool) (more bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, p := range r.partitions {
		p.commits = make(chan commit, replayAhead)
		all.Go(func() {
			defer close(p.commits)
			if p.next > p.until {
				return
			}
			err := r.read(ctx, p, p.commits, r.store.Log(p.number).Scan)
			if err == nil && ctx.Err() == nil && p.next <= p.until {
				err = r.missing(ctx, p)
			}
			if err != nil {
				p.send(ctx, p.commits, commit{err: err})
			}
		})
	}
	var live []*replayed
	for _, p := range r.partitions {
		if p.advance() {
			live = append(live, p)
		}
	}
	for len(live) > 0 {
		first := 0
		for i, p := range live {
			if p.head.err != nil {
				return false, p.head.err
			}
			if p.head.at < live[first].head.at {
				first = i
			}
		}
		for _, record := range live[first].head.records {
			if !yield(record, nil) {
				return false, nil
			}
		}
		if !live[first].advance() {
			live = append(live[:first], live[first+1:]...)
		}
	}
	return true, ctx.Err()
}

// advance waits for the next commit; false at the end.
func (p *replayed) advance() bool {
	var ok bool
	p.head, ok = <-p.commits
	return ok
}

// missing explains why the end was not reached: it has been trimmed, or removed.
func (r *replay) missing(ctx context.Context, p *replayed) error {
	b, err := r.store.Log(p.number).Bounds(ctx)
	if err != nil {
		return err
	}
	if b.First > p.next {
		return ErrTrimmed{Partition: p.number, Wanted: p.next, First: b.First}
	}
	return nil
}

// follow yields what is stored after the merged part, in the order in which it is read.
func (r *replay) follow(ctx context.Context, yield func(domain.Record, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	commits := make(chan commit, replayAhead)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, p := range r.partitions {
		p.until = 0
		all.Go(func() {
			err := r.read(ctx, p, commits, r.store.Log(p.number).Follow)
			if err == nil {
				err = errEnded
			}
			p.send(ctx, commits, commit{err: err})
		})
	}
	for {
		var c commit
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c = <-commits:
		}
		if c.err != nil {
			return c.err
		}
		for _, record := range c.records {
			if !yield(record, nil) {
				return nil
			}
		}
	}
}

// scan is Scan or Follow of a log.
type scan func(ctx context.Context, from uint64, each func(domain.Message) error) error

// read sends what is wanted of the messages up to p.until, or for ever when that is 0.
func (r *replay) read(ctx context.Context, p *replayed, to chan<- commit, scan scan) error {
	src := newSource(r.store, p.number, p.next, r.logger)
	if !r.opts.Task.IsZero() {
		src.names = r.opts.Task.Append(nil)
	}
	done := fmt.Errorf("partition %02d: %w", p.number, errEnded)
	err := scan(ctx, p.next, func(m domain.Message) error {
		if p.until > 0 && m.Sequence > p.until {
			p.next = p.until + 1
			return done
		}
		c, ok, err := src.commit(ctx, m)
		if err != nil {
			return err
		}
		p.next = m.Sequence + 1
		if ok {
			wanted, err := r.wanted(ctx, p, c.Records)
			if err != nil {
				return err
			}
			if len(wanted) > 0 && !p.send(ctx, to, commit{at: c.At, records: wanted}) {
				return ctx.Err()
			}
		}
		if m.Sequence == p.until {
			return done
		}
		return nil
	})
	if err == done { //nolint:errorlint // this very one
		return nil
	}
	return err
}

func (p *replayed) send(ctx context.Context, to chan<- commit, c commit) bool {
	select {
	case to <- c:
		return true
	case <-ctx.Done():
		return false
	}
}

// wanted filters in place, and puts the signals between the facts.
func (r *replay) wanted(ctx context.Context, p *replayed, records []domain.Record) ([]domain.Record, error) {
	if !r.opts.Task.IsZero() {
		records = slices.DeleteFunc(records, func(record domain.Record) bool { return record.Task != r.opts.Task })
	}
	if p.origins != nil {
		var err error
		if records, err = p.origins.pick(ctx, records); err != nil {
			return nil, err
		}
	}
	if !r.derives {
		return slices.DeleteFunc(records, func(record domain.Record) bool { return !r.types.Has(record.Event) }), nil
	}
	records = r.types.Select(records)
	for i := range records {
		if err := r.contexts.fill(ctx, &records[i]); err != nil {
			return nil, err
		}
	}
	return records, nil
}
