package projections

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// findSlack is how far the clock of a client, which is in a task's id, may be ahead of the log's.
const findSlack = time.Minute

// Walk reads one task's records, the oldest first: from its newest commit, at sequence last, back along prev, with one
// point read per commit. trimmed says that the beginning is missing: it was removed from the log, or is in a message
// that cannot be read and that an operator has passed over.
func Walk(ctx context.Context, log domain.Log, partition int, id domain.TaskID, last uint64) (records []domain.Record, trimmed bool, err error) {
	var commits [][]domain.Record
	var decoder domain.Decoder
	for at := last; at != 0; {
		m, err := log.Read(ctx, at)
		if errors.Is(err, domain.ErrNoMessage) {
			bounds, err := log.Bounds(ctx)
			if err == nil && at >= bounds.First {
				err = fmt.Errorf("its commit at %d of partition %02d is not in the log", at, partition)
			}
			if err != nil {
				return nil, false, fmt.Errorf("history of task %s: %w", id, err)
			}
			trimmed = true
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("history of task %s: read %d: %w", id, at, err)
		}
		c, err := decoder.Decode(m.Data, partition, at)
		if errors.Is(err, domain.ErrNotACommit) {
			trimmed = true
			break
		}
		if err != nil {
			return nil, false, fmt.Errorf("history of task %s: %w", id, err)
		}
		own := recordsOf(c, id)
		if len(own) == 0 || own[0].Prev >= at {
			return nil, false, fmt.Errorf("history of task %s: commit %d of partition %02d does not lead to the one before it", id, at, partition)
		}
		commits = append(commits, own)
		at = own[0].Prev
	}
	slices.Reverse(commits)
	return slices.Concat(commits...), trimmed, nil
}

func recordsOf(c domain.Commit, id domain.TaskID) []domain.Record {
	var own []domain.Record
	for _, r := range c.Records {
		if r.Task == id {
			own = append(own, r)
		}
	}
	return own
}

// FindTask looks for a task of which only the id is known, and returns the sequence of its newest commit. The time in a
// version 7 id says where to begin, and the search is over when the task has ended; for an id of an idempotency key,
// which may have stood for several tasks one after the other, it reads the whole log.
func FindTask(ctx context.Context, log domain.Log, partition int, id domain.TaskID) (last uint64, found bool, err error) {
	bounds, err := log.Bounds(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("find task %s: %w", id, err)
	}
	from := bounds.First
	if created := id.CreatedAt(); created != 0 {
		at, err := log.SequenceAt(ctx, created.Time().Add(-findSlack))
		if err != nil {
			return 0, false, fmt.Errorf("find task %s: %w", id, err)
		}
		from = max(from, at)
	}
	if from > bounds.Last {
		return 0, false, nil
	}
	return findFrom(ctx, log, partition, id, from)
}

// findFrom looks for the newest commit of a task from a sequence on.
func findFrom(ctx context.Context, log domain.Log, partition int, id domain.TaskID, from uint64) (last uint64, found bool, err error) {
	over := errors.New("the task has ended")
	ended := false
	text := id.Append(nil)
	var decoder domain.Decoder
	err = log.Scan(ctx, from, func(m domain.Message) error {
		if m.CommitID == "" || !bytes.Contains(m.Data, text) {
			if ended { // and what its cancelled steps say followed at once
				return over
			}
			return nil
		}
		c, err := decoder.Decode(m.Data, partition, m.Sequence)
		if errors.Is(err, domain.ErrNotACommit) {
			return nil // whoever opens the partition reports it
		}
		if err != nil {
			return err
		}
		for _, r := range recordsOf(c, id) {
			last, found = m.Sequence, true
			ended = ended || ends(r.Event) && !id.Keyed()
		}
		return nil
	})
	if err != nil && !errors.Is(err, over) {
		return 0, false, fmt.Errorf("find task %s: %w", id, err)
	}
	return last, found, nil
}

// FindTaskNear is FindTask for those who have been told where the task's newest commit may be, at sequence near: by an index,
// which may be behind or wrong. The log decides: what is there counts only when it is of the task, and unless the task has
// ended by then for good, what follows is read, too. near 0 is no hint.
func FindTaskNear(ctx context.Context, log domain.Log, partition int, id domain.TaskID, near uint64) (last uint64, found bool, err error) {
	if near == 0 {
		return FindTask(ctx, log, partition, id)
	}
	records, _, err := Walk(ctx, log, partition, id, near)
	switch {
	case err != nil || len(records) == 0:
		return FindTask(ctx, log, partition, id)
	case !id.Keyed() && slices.ContainsFunc(records, func(r domain.Record) bool { return ends(r.Event) }):
		return near, true, nil
	}
	return findFrom(ctx, log, partition, id, near)
}

// ends reports whether a task never changes after the event.
func ends(e domain.Event) bool {
	t := e.Type()
	return t == domain.TaskCompletedType || t == domain.TaskCancelledType || t == domain.TaskResolvedManuallyType
}

// LoadTask folds all the records of one task, the oldest first. definition finds an adopted definition by its hash.
func LoadTask(records []domain.Record, definition func(hash string) (*domain.Definition, bool)) (*domain.Task, error) {
	if len(records) == 0 {
		return nil, errors.New("load task: there is no record of it")
	}
	first := records[0]
	created, ok := first.Event.(domain.TaskCreated)
	if !ok {
		return nil, fmt.Errorf("load task %s: its history begins with %s at %s: the beginning is missing", first.Task, first.Event.Type(), first.ID())
	}
	def, ok := definition(created.Definition)
	if !ok {
		return nil, fmt.Errorf("load task %s: its definition %s was not adopted in this partition", first.Task, created.Definition)
	}
	t := domain.NewTask(first, def)
	t.Touch(first.Position.Sequence)
	for _, r := range records[1:] {
		if err := r.Unreadable(); err != nil {
			return nil, fmt.Errorf("load task %s: %w", r.Task, err)
		}
		domain.Evolve(t, r)
		t.Touch(r.Position.Sequence)
	}
	return t, nil
}
