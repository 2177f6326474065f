package subscribers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// GapError: the log does not begin at 1, and no valid snapshot reaches its first message. Opening it would lose what
// is missing in silence.
type GapError struct {
	Partition int
	First     uint64
	Snapshots []string // what was found, and what is wrong with it
}

func (e *GapError) Error() string {
	found := "there is no snapshot"
	if len(e.Snapshots) > 0 {
		found = fmt.Sprintf("no snapshot can be used: %v", e.Snapshots)
	}
	return fmt.Sprintf("partition %02d is closed: its log begins at message %d, and %s: restore the data from a backup",
		e.Partition, e.First, found)
}

// load folds the newest valid snapshot and the log behind it.
func (c *Coordinator) load(ctx context.Context) (*projections.Partition, error) {
	c.loaded, c.replayed = domain.SnapshotInfo{}, 0
	tell := c.recover()
	bounds, err := c.log.Bounds(ctx)
	if err != nil {
		return nil, fmt.Errorf("partition %02d: %w", c.Partition, err)
	}
	state, wrong, err := c.loadSnapshot(ctx, bounds)
	if err != nil {
		return nil, err
	}
	if state == nil {
		if bounds.First > 1 {
			return nil, &GapError{c.Partition, bounds.First, wrong}
		}
		state = projections.NewPartition(c.Partition)
	}
	if err := c.replay(ctx, state, tell); err != nil {
		return nil, err
	}
	if state.Sequence < bounds.Last {
		return nil, fmt.Errorf("partition %02d: the log ended at %d while it was read, and should reach %d", c.Partition, state.Sequence, bounds.Last)
	}
	for hash, d := range state.Definitions() {
		c.definitions.Store(hash, d)
	}
	return state, nil
}

// loadSnapshot tries the snapshots, newest first. One that is torn, corrupt, or not of this log is passed over with
// the reason; one of a newer version is an error, because going back would only hide it.
func (c *Coordinator) loadSnapshot(ctx context.Context, bounds domain.LogBounds) (*projections.Partition, []string, error) {
	infos, err := c.Store.Snapshots().List(ctx, c.Partition)
	if err != nil {
		return nil, nil, fmt.Errorf("snapshots of partition %02d: %w", c.Partition, err)
	}
	var wrong []string
	for _, info := range infos {
		state, err := c.trySnapshot(ctx, info, bounds)
		var newer *projections.SnapshotVersionError
		switch {
		case err == nil:
			c.loaded = info
			return state, wrong, nil
		case errors.Is(err, domain.ErrUnavailable) || ctx.Err() != nil || errors.As(err, &newer):
			return nil, nil, err
		}
		c.Logger.Error("snapshot cannot be used; trying the one before it", "partition", c.Partition, "sequence", info.Sequence, "error", err)
		wrong = append(wrong, fmt.Sprintf("at %d: %v", info.Sequence, err))
	}
	return nil, wrong, nil
}

func (c *Coordinator) trySnapshot(ctx context.Context, info domain.SnapshotInfo, bounds domain.LogBounds) (*projections.Partition, error) {
	if info.Sequence+1 < bounds.First {
		return nil, fmt.Errorf("the log begins at %d, behind it", bounds.First)
	}
	if info.Sequence > bounds.Last {
		return nil, fmt.Errorf("the log ends at %d, before it: it is not of this log", bounds.Last)
	}
	content, err := c.Store.Snapshots().Get(ctx, info)
	if err != nil {
		return nil, err
	}
	state, err := projections.ReadSnapshot(content)
	if err != nil {
		return nil, err
	}
	if state.Sequence != info.Sequence || state.Number != c.Partition {
		return nil, fmt.Errorf("it holds partition %02d at %d", state.Number, state.Sequence)
	}
	if info.Sequence >= bounds.First {
		msg, err := c.log.Read(ctx, info.Sequence)
		if err != nil {
			return nil, err
		}
		if msg.CommitID != state.CommitID {
			return nil, fmt.Errorf("the log holds commit %q there, not %q", msg.CommitID, state.CommitID)
		}
	}
	return state, nil
}

// replay folds the log behind the state's sequence.
func (c *Coordinator) replay(ctx context.Context, state *projections.Partition, tell func(domain.Record, *domain.Task)) error {
	var decoder domain.Decoder
	return c.log.Scan(ctx, state.Sequence+1, func(msg domain.Message) error {
		if msg.Sequence != state.Sequence+1 {
			return fmt.Errorf("partition %02d: message %d follows %d: something is missing between them", c.Partition, msg.Sequence, state.Sequence)
		}
		c.replayed += int64(len(msg.Data))
		if msg.CommitID == "" {
			c.Logger.Error("somebody else wrote to the log; the message is passed over", "partition", c.Partition, "sequence", msg.Sequence)
			state.Sequence = msg.Sequence
			return nil
		}
		commit, err := decoder.Decode(msg.Data, c.Partition, msg.Sequence)
		if err == nil {
			err = state.Replay(commit, tell)
		}
		if err == nil {
			return nil
		}
		if c.isSkipped(ctx, msg.Sequence) {
			state.Sequence, state.CommitID = msg.Sequence, msg.CommitID
			return nil
		}
		return &UnreadableError{c.Partition, msg.Sequence, err}
	})
}

// isSkipped looks ahead for an operator's word to pass over the message.
func (c *Coordinator) isSkipped(ctx context.Context, sequence uint64) bool {
	found := errors.New("found")
	err := c.log.Scan(ctx, sequence+1, func(msg domain.Message) error {
		commit, err := domain.DecodeCommit(msg.Data, c.Partition, msg.Sequence)
		if err != nil {
			return nil //nolint:nilerr // only looking for one kind of fact
		}
		for _, r := range commit.Records {
			if s, ok := r.Event.(domain.PartitionSkipped); ok && s.Sequence == sequence {
				return found
			}
		}
		return nil
	})
	return errors.Is(err, found)
}

// Skip appends partition.skipped: readers pass over the message from now on. Only a partition that is closed because
// of that message takes it.
func (c *Coordinator) Skip(ctx context.Context, sequence uint64, reason string, by domain.Actor) error {
	phase, why := c.Phase()
	var unreadable *UnreadableError
	if phase != Closed || !errors.As(why, &unreadable) || unreadable.Sequence != sequence {
		return fmt.Errorf("partition %02d is not closed because of message %d: nothing to skip", c.Partition, sequence)
	}
	bounds, err := c.log.Bounds(ctx)
	if err != nil {
		return err
	}
	at := domain.InstantOf(c.Clock())
	commit := domain.Commit{ID: writerID() + "-1", At: at, Partition: c.Partition, Records: []domain.Record{{
		Event: domain.PartitionSkipped{Sequence: sequence, Reason: reason}, At: at, By: by,
	}}}
	done := make(chan error, 1)
	c.log.Append(bounds.Last, commit.ID, domain.EncodeCommit(commit), func(_ uint64, err error) {
		select {
		case done <- err:
		default:
		}
	})
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // an answer may never come
	defer cancel()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("skip message %d of partition %02d: %w", sequence, c.Partition, err)
	}
	c.setPhase(Away, nil)
	select {
	case c.reopen <- struct{}{}:
	default:
	}
	return nil
}

// maxReading is how many tasks that are not in memory are read from the log at a time. Those who ask have little time and ask
// again when it is over: of hundreds that are read side by side none would be done in time, again and again.
const maxReading = 4

// Ended reads a task that is not in memory from the log, after those that were asked for before: last is the sequence of its
// newest commit, 0 when only its id is known. ErrTaskNotFound when the log has nothing of it.
func (c *Coordinator) Ended(ctx context.Context, id domain.TaskID, last uint64) (*domain.Task, []domain.Record, error) {
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if last == 0 {
		var found bool
		var err error
		near := uint64(0)
		if c.Near != nil {
			near = c.Near(ctx, id)
		}
		if last, found, err = projections.FindTaskNear(ctx, c.log, c.Partition, id, near); err != nil {
			return nil, nil, err
		}
		if !found {
			return nil, nil, ErrTaskNotFound
		}
	}
	records, trimmed, err := projections.Walk(ctx, c.log, c.Partition, id, last)
	if err != nil {
		return nil, nil, err
	}
	if trimmed || len(records) == 0 {
		return nil, records, fmt.Errorf("%w: its history has been trimmed", ErrTaskNotFound)
	}
	t, err := projections.LoadTask(records, c.Definition)
	return t, records, err
}

// Definition returns a definition that the partition has adopted.
func (c *Coordinator) Definition(hash string) (*domain.Definition, bool) {
	d, ok := c.definitions.Load(hash)
	if !ok {
		return nil, false
	}
	return d.(*domain.Definition), true
}

// refuseEnded answers a verb for an ended task as the law does, with the task as the log has it.
func (c *Coordinator) refuseEnded(a Answer, cmd domain.Command, reply func(Answer)) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	t, _, err := c.Ended(ctx, a.Task, a.Position.Sequence)
	if err != nil {
		a.Err = err
		reply(a)
		return
	}
	a.Change = changeOf(t, cmd).Change
	if _, a.Err = domain.Decide(t, cmd, domain.InstantOf(c.Clock()), nil); a.Err == nil {
		a.Changed = false // what is so already is a no-op
	}
	reply(a)
}
