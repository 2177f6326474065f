package subscribers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// finishPatience is how long a regular stop waits for its last snapshot.
const finishPatience = 30 * time.Second

// keeper takes the partition's snapshots and trims its log (DESIGN 6), in the background of an ownership.
type keeper struct {
	o        *ownership
	taken    domain.SnapshotInfo // the newest snapshot; zero when there is none
	at       int64               // metrics bytes when it was taken
	frozen   *projections.Frozen
	result   chan keeping
	swept    time.Time
	requests []chan keeping // prune commands that wait for the next snapshot
	cancel   context.CancelFunc
}

// keeping is what a round of keeping came to.
type keeping struct {
	info   domain.SnapshotInfo
	lowest uint64 // the lowest sequence at which a task that is not over keeps a payload; 0 = none
	err    error
}

func (k *keeper) init(o *ownership) {
	k.o, k.taken, k.result = o, o.loaded, make(chan keeping, 1)
	k.at = o.metrics.bytes.Load() - o.replayed // or a process that crashes again and again never takes one
	k.swept = o.Clock()
}

func (k *keeper) patience() time.Duration { return time.Minute }

// look starts a snapshot when enough has been appended since the last, and finishes the one that is under way.
func (k *keeper) look(ctx context.Context) {
	select {
	case r := <-k.result:
		k.finished(r)
	default:
	}
	if k.frozen != nil || ctx.Err() != nil {
		return
	}
	grown := k.o.metrics.bytes.Load() - k.at
	k.o.mu.Lock()
	k.requests = append(k.requests, k.o.wanted...)
	k.o.wanted = nil
	k.o.mu.Unlock()
	if grown > max(k.o.SnapshotBytes, 2*k.taken.Size) || len(k.requests) > 0 {
		k.begin(context.WithoutCancel(ctx))
	}
	if now := k.o.Clock(); now.Sub(k.swept) > time.Second {
		k.swept = now
		k.o.m.state.Ended.Expire(domain.InstantOf(now.Add(-k.o.Idempotency)))
		if k.o.ErrorRetention > 0 && k.o.takes() {
			k.o.m.Expire(domain.InstantOf(now.Add(-k.o.ErrorRetention)), k.o.now())
		}
	}
}

// begin freezes the state as of the newest message that was sent, when nothing is open on top of it; it is written
// when that message is stored.
func (k *keeper) begin(ctx context.Context) {
	m := k.o.m
	sequence, commit, at, ok := m.NewestSent()
	if !ok {
		return // the next turn, when everything has been sent
	}
	frozen, err := m.state.Freeze(sequence, commit, at)
	if err != nil {
		k.o.Logger.Warn("no snapshot", "partition", k.o.Partition, "reason", err)
		k.at = k.o.metrics.bytes.Load()
		k.answer(keeping{err: err})
		return
	}
	k.frozen, k.at = frozen, k.o.metrics.bytes.Load()
	ctx, k.cancel = context.WithTimeout(ctx, 10*time.Minute)
	m.after(sequence, func(err error) {
		if err == nil && m.state.Sequence != sequence {
			err = errMovedSnapshot
		}
		if err != nil {
			k.result <- keeping{err: err}
			return
		}
		if k.taken.Sequence == sequence && k.taken.CommitID == commit {
			go k.keep(ctx, frozen, k.taken, nil) // it is there already
			return
		}
		info := domain.SnapshotInfo{
			Partition: k.o.Partition, Sequence: sequence, CommitID: commit, Format: projections.SnapshotFormat,
		}
		go func() {
			if !k.o.settled(ctx, sequence) {
				k.keep(ctx, frozen, info, errOwed)
				return
			}
			stored, err := k.write(ctx, frozen, info)
			k.keep(ctx, frozen, stored, err)
		}()
	})
}

func (k *keeper) write(ctx context.Context, frozen *projections.Frozen, info domain.SnapshotInfo) (domain.SnapshotInfo, error) {
	r, w := io.Pipe()
	go func() {
		_, err := frozen.WriteTo(gentle{w})
		w.CloseWithError(err)
	}()
	stored, err := k.o.Store.Snapshots().Put(ctx, info, r)
	r.CloseWithError(err)
	return stored, err
}

// snapshotPause is what lies between two parts of a snapshot, of 64 KiB each: commits go first on the disk and on the
// processors. It makes at most 30 MB/s, four million waiting tasks in ten seconds.
const snapshotPause = 2 * time.Millisecond

// gentle is a writer that leaves room for others.
type gentle struct{ io.Writer }

func (g gentle) Write(p []byte) (int, error) {
	time.Sleep(snapshotPause)
	return g.Writer.Write(p)
}

// keep trims the log when the snapshot is there.
func (k *keeper) keep(ctx context.Context, frozen *projections.Frozen, stored domain.SnapshotInfo, err error) {
	var lowest uint64
	if err == nil {
		lowest = frozen.LowestReference()
		err = k.o.trim(ctx, lowest)
	}
	k.result <- keeping{stored, lowest, err}
	k.o.poke()
}

func (k *keeper) finished(r keeping) {
	k.o.m.state.Thaw(k.frozen)
	k.frozen = nil
	k.cancel()
	switch {
	case errors.Is(r.err, errOwed):
		k.o.Logger.Debug("no snapshot", "partition", k.o.Partition, "reason", r.err)
	case r.err != nil:
		k.o.Logger.Error("keeping the partition failed", "partition", k.o.Partition, "error", r.err)
	default:
		k.taken = r.info
		k.o.metrics.snapshots.Add(1)
		k.o.Logger.Debug("snapshot", "partition", k.o.Partition, "sequence", r.info.Sequence, "bytes", r.info.Size)
	}
	k.answer(r)
}

// answer tells those who asked for a snapshot.
func (k *keeper) answer(r keeping) {
	for _, done := range k.requests {
		done <- r
	}
	k.requests = nil
}

// finish takes a last snapshot before a regular stop, when there is much to read again otherwise.
func (k *keeper) finish() error {
	if k.frozen == nil && k.o.metrics.bytes.Load()-k.at > k.o.SnapshotBytes/16 {
		k.begin(context.Background())
	}
	if k.frozen == nil {
		return nil
	}
	select {
	case r := <-k.result:
		k.finished(r)
	case <-time.After(finishPatience): // end gives it up
	}
	return nil
}

// end waits for a snapshot that is under way, so that it cannot outlive the ownership.
func (k *keeper) end() {
	k.answer(keeping{err: ErrNotOwner})
	if k.frozen == nil {
		return
	}
	k.cancel()
	select {
	case <-k.result:
		k.o.m.state.Thaw(k.frozen)
	case <-time.After(5 * time.Second):
	}
}

// snapshotNow asks for a snapshot of the state as it is, and waits for it.
func (c *Coordinator) snapshotNow(ctx context.Context) (keeping, error) {
	done := make(chan keeping, 1)
	c.mu.Lock()
	switch {
	case c.stopping || c.phase == Stopped:
		c.mu.Unlock()
		return keeping{}, ErrNotRunning
	case c.phase != Owning:
		c.mu.Unlock()
		return keeping{}, ErrNotOwner
	}
	c.wanted = append(c.wanted, done)
	c.mu.Unlock()
	c.poke()
	select {
	case r := <-done:
		return r, r.err
	case <-ctx.Done():
		return keeping{}, ctx.Err()
	}
}

// trim deletes the snapshots before the newest two that can be read, and the commits that retention gives up: only below the older of
// the two, never above what a durable subscriber has yet to read, nor above a payload that a live task refers to.
func (c *Coordinator) trim(ctx context.Context, lowest uint64) error {
	infos, err := c.Store.Snapshots().List(ctx, c.Partition)
	if err != nil {
		return err
	}
	kept := 0
	var limit uint64
	for _, info := range infos {
		if kept == 2 {
			if err := c.Store.Snapshots().Delete(ctx, info); err != nil {
				return err
			}
			continue
		}
		if _, err := c.Store.Snapshots().Get(ctx, info); err != nil {
			c.Logger.Error("a snapshot cannot be read; an older one is kept for it", "partition", c.Partition, "sequence", info.Sequence, "error", err)
			continue
		}
		limit = info.Sequence
		kept++
	}
	if kept < 2 {
		return nil
	}
	if lowest != 0 {
		limit = min(limit, lowest)
	}
	if c.Cursors != nil {
		if cursor, ok := c.Cursors(); ok {
			limit = min(limit, cursor)
		}
	}
	before, err := c.retained(ctx, limit)
	if err != nil || before == 0 {
		return err
	}
	c.Logger.Info("trimming the log", "partition", c.Partition, "before", before)
	return c.log.Trim(ctx, before)
}

// retained is the sequence before which retention gives everything up; 0 = nothing.
func (c *Coordinator) retained(ctx context.Context, limit uint64) (uint64, error) {
	bounds, err := c.log.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	before, err := c.log.SequenceAt(ctx, c.Clock().Add(-c.Retention))
	if err != nil {
		return 0, err
	}
	usage, err := c.Store.Usage(ctx)
	if err != nil {
		return 0, err
	}
	if usage > c.RetentionShare && bounds.Last > bounds.First {
		// By bytes: as large a share of the log as the store is too full, spread evenly.
		share := (usage - c.RetentionShare) / usage
		before = max(before, bounds.First+uint64(float64(bounds.Last-bounds.First)*share)+1)
	}
	if before = min(before, limit); before <= bounds.First {
		return 0, nil
	}
	return before, nil
}

// Prune takes two snapshots and gives up what is older than age, whatever the retention says, below the older of the two,
// which it reads back before. In a partition to which nothing is appended between the two, there may be only one. dry
// only counts, and at most: payloads that tasks in memory refer to stay, with everything after them. It returns how many
// commits go, and from which sequence on they stay.
func (c *Coordinator) Prune(ctx context.Context, age time.Duration, dry bool) (uint64, uint64, error) {
	bounds, err := c.log.Bounds(ctx)
	if err != nil {
		return 0, 0, err
	}
	before, err := c.log.SequenceAt(ctx, c.Clock().Add(-age))
	if err != nil {
		return 0, 0, err
	}
	before = min(before, bounds.Last+1)
	if c.Cursors != nil {
		if cursor, ok := c.Cursors(); ok {
			before = min(before, cursor)
		}
	}
	if dry {
		if lowest := c.lowestReference(ctx); lowest != 0 {
			before = min(before, lowest)
		}
	}
	if before <= bounds.First || dry {
		return max(before, bounds.First) - bounds.First, max(before, bounds.First), nil
	}
	for range 2 {
		taken, err := c.snapshotNow(ctx)
		if err != nil {
			return 0, 0, err
		}
		if taken.lowest != 0 {
			before = min(before, taken.lowest)
		}
	}
	infos, err := c.Store.Snapshots().List(ctx, c.Partition)
	if err != nil {
		return 0, 0, err
	}
	if len(infos) == 0 {
		return 0, 0, fmt.Errorf("partition %02d has no snapshot: nothing was pruned", c.Partition)
	}
	older := infos[min(1, len(infos)-1)]
	if before = min(before, older.Sequence); before <= bounds.First {
		return 0, bounds.First, nil
	}
	if bounds, err = c.log.Bounds(ctx); err != nil {
		return 0, 0, err
	}
	if _, err := c.trySnapshot(ctx, older, bounds); err != nil {
		return 0, 0, fmt.Errorf("partition %02d: nothing was pruned, because its snapshot at %d cannot be used: %w", c.Partition, older.Sequence, err)
	}
	return before - bounds.First, before, c.log.Trim(ctx, before)
}

// lowestReference is the lowest sequence at which a task that is not over keeps a payload; 0 when none does, or when it
// cannot be told now.
func (c *Coordinator) lowestReference(ctx context.Context) uint64 {
	answer := make(chan uint64, 1)
	err := c.Inspect(func(m *Machine) {
		frozen, err := m.state.Freeze(m.stored, m.state.CommitID, m.state.At)
		if err != nil {
			answer <- 0
			return
		}
		defer m.state.Thaw(frozen)
		answer <- frozen.LowestReference()
	}, func(error) { answer <- 0 })
	if err != nil {
		return 0
	}
	select {
	case lowest := <-answer:
		return lowest
	case <-ctx.Done():
		return 0
	}
}
