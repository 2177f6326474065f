package attached

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// contexts gives workflow.task_finalization_completed its execution context: that of the task right after the fact at
// its position, folded from the task's history in the log. It costs one read per commit of the task so far, and only
// those pay for it who subscribe to the signal.
type contexts struct {
	store  domain.Store
	known  func(hash string) (*domain.Definition, bool) // may be nil
	logger *slog.Logger

	mu    sync.Mutex
	found map[adopted]*domain.Definition // in the log; nil = looked for in vain
}

// adopted names a definition in a partition.
type adopted struct {
	partition int
	hash      string
}

func newContexts(store domain.Store, known func(string) (*domain.Definition, bool), logger *slog.Logger) *contexts {
	return &contexts{store: store, known: known, logger: logger, found: map[adopted]*domain.Definition{}}
}

// fill completes the record if it is that signal. Where the task's history is not to be had any more the signal stays
// without context; the error says that the log cannot be read now.
func (c *contexts) fill(ctx context.Context, r *domain.Record) error {
	s, ok := r.Event.(domain.Signal)
	if !ok || s.Name != domain.SignalFinalizationCompleted || s.Context != nil {
		return nil
	}
	t, err := c.task(ctx, *r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, domain.ErrUnavailable):
		return err
	case err != nil:
		c.logger.Warn("a signal comes without its execution context", "event", r.ID(), "type", s.Name, "task", r.Task, "reason", err)
		return nil
	}
	state := t.ExecutionContext()
	s.Context = &state
	r.Event = s
	return nil
}

// task is the task of the record, as it was right after the fact at the record's position.
func (c *contexts) task(ctx context.Context, r domain.Record) (*domain.Task, error) {
	at := r.Position
	records, _, err := projections.Walk(ctx, c.store.Log(at.Partition), at.Partition, r.Task, at.Sequence)
	if err != nil {
		return nil, err
	}
	n := len(records)
	for n > 0 && at.Less(records[n-1].Position) {
		n--
	}
	var lost error
	t, err := projections.LoadTask(records[:n], func(hash string) (*domain.Definition, bool) {
		d, err := c.definition(ctx, at, hash)
		lost = err
		return d, d != nil
	})
	return t, errors.Join(lost, err)
}

// definition finds what a task is made of: nil when the message that brought it along has been pruned.
func (c *contexts) definition(ctx context.Context, at domain.Position, hash string) (*domain.Definition, error) {
	c.mu.Lock() // also while looking, so that one at a time looks
	defer c.mu.Unlock()
	key := adopted{at.Partition, hash}
	if d, ok := c.found[key]; ok {
		return d, nil
	}
	if c.known != nil {
		if d, ok := c.known(hash); ok {
			return d, nil
		}
	}
	log := c.store.Log(at.Partition)
	bounds, err := log.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	var found *domain.Definition
	var decoder domain.Decoder
	err = log.Scan(ctx, max(bounds.First, 1), func(m domain.Message) error {
		if m.Sequence > at.Sequence {
			return errFound
		}
		if m.CommitID == "" || !bytes.Contains(m.Data, []byte(hash)) {
			return nil
		}
		commit, err := decoder.Decode(m.Data, at.Partition, m.Sequence)
		if err != nil {
			return nil //nolint:nilerr // whoever reads this message says so
		}
		for _, r := range commit.Records {
			if e, ok := r.Event.(domain.DefinitionAdopted); ok && e.Hash == hash {
				d, err := e.Definition()
				if err != nil {
					return err
				}
				found = d.Under(hash)
				return errFound
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, err
	}
	c.found[key] = found
	return found, nil
}
