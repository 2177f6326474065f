package attached

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// savedCursor is the value under the key <name>.<pp>: the oldest event that is not finished. Everything before it is,
// and of what follows it everything before Until but what Open names; so a stop in good order brings none back.
type savedCursor struct {
	DataID     string    `json:"data"`
	Generation int       `json:"generation"`
	Sequence   uint64    `json:"sequence"`
	Index      int       `json:"index"`
	Rank       int       `json:"rank,omitempty"` // see spot
	At         time.Time `json:"at"`             // of writing
	By         string    `json:"by"`             // who wrote it
	Until      place     `json:"until,omitempty"`
	Open       []place   `json:"open,omitempty"`
}

// maxOpen is how many unfinished events a cursor names; where there are more, what is behind it comes again.
const maxOpen = 1000

// progress is how far a partition has been handled: all before next, and all before until but what is open.
type progress struct {
	next, until spot
	open        []spot
}

func (g progress) equal(h progress) bool {
	return g.next == h.next && g.until == h.until && slices.Equal(g.open, h.open)
}

func (c savedCursor) progress(partition int) progress {
	g := progress{next: spot{c.position(partition), c.Rank}}
	if c.Until != nil {
		g.until = c.Until.spot(partition)
		for _, l := range c.Open {
			at := l.spot(partition)
			if at.rank == 0 {
				at.rank = factRank // written before signals could be subscribed to
			}
			g.open = append(g.open, at)
		}
	}
	return g
}

func cursorKey(name string, partition int) string { return fmt.Sprintf("%s.%02d", name, partition) }

func (c savedCursor) position(partition int) domain.Position {
	return domain.Position{Partition: partition, Sequence: c.Sequence, Index: c.Index}
}

func (c savedCursor) of(data domain.DataInfo) bool {
	return c.DataID == data.ID && c.Generation == data.Generation
}

// check refuses a cursor of another log.
func (c savedCursor) check(data domain.DataInfo, key string) error {
	if c.of(data) {
		return nil
	}
	return mismatch(data, c.DataID, c.Generation, "cursor "+key)
}

func getCursor(ctx context.Context, store domain.Store, key string) (savedCursor, uint64, error) {
	var c savedCursor
	value, revision, err := store.Cursors().Get(ctx, key)
	if err != nil {
		return c, 0, err
	}
	if err := json.Unmarshal(value, &c); err != nil {
		return c, 0, fmt.Errorf("cursor %s cannot be read: %w", key, err)
	}
	if c.Sequence == 0 || c.Index < 0 || c.Rank < 0 {
		return c, 0, fmt.Errorf("cursor %s cannot be read: it is at sequence %d, index %d", key, c.Sequence, c.Index)
	}
	return c, revision, nil
}

// keptCursor is one that this process writes. The session's flusher uses it.
type keptCursor struct {
	store    domain.Store
	key      string
	holder   string
	written  progress
	revision uint64
}

// put writes the cursor if nobody else has, else errMoved. A write whose acknowledgement was lost is recognised.
func (k *keptCursor) put(ctx context.Context, g progress) error {
	data := k.store.Data()
	next := savedCursor{
		DataID: data.ID, Generation: data.Generation, Sequence: g.next.Sequence, Index: g.next.Index, Rank: g.next.rank,
		At: time.Now().UTC(), By: k.holder,
	}
	if g.next.less(g.until) {
		next.Until = placeOf(g.until)
		for _, p := range g.open {
			next.Open = append(next.Open, placeOf(p))
		}
	}
	value, err := json.Marshal(next)
	if err != nil {
		return err
	}
	revision, err := k.store.Cursors().Put(ctx, k.key, value, k.revision)
	if errors.Is(err, domain.ErrConflict) {
		have, at, getErr := getCursor(ctx, k.store, k.key)
		switch {
		case errors.Is(getErr, domain.ErrNoKey):
			return errMoved
		case getErr != nil:
			return getErr
		case have.By != k.holder || !have.of(data):
			return errMoved
		}
		revision, err = k.store.Cursors().Put(ctx, k.key, value, at)
		if errors.Is(err, domain.ErrConflict) {
			return errMoved
		}
	}
	if err != nil {
		return err
	}
	k.written, k.revision = g, revision
	return nil
}

// Saved is a durable subscriber as its cursors show it.
type Saved struct {
	Name       string
	Partitions []SavedPartition // in order; a partition is missing when the subscriber has not reached it yet
}

// SavedPartition is one cursor as it was last written.
type SavedPartition struct {
	Next domain.Position // the oldest event that is not finished; what the subscriber goes on with
	At   time.Time       // of writing
	Lag  uint64          // commits in the log from Next on
}

// List returns the durable subscribers that have cursors in this log, by name.
func List(ctx context.Context, store domain.Store) ([]Saved, error) {
	var list []Saved
	err := eachCursor(ctx, store, -1, func(name string, partition int, c savedCursor) error {
		if !c.of(store.Data()) {
			return nil
		}
		lag, err := lagOf(ctx, store, c.position(partition))
		if err != nil {
			return err
		}
		if n := len(list); n == 0 || list[n-1].Name != name {
			list = append(list, Saved{Name: name})
		}
		s := &list[len(list)-1]
		s.Partitions = append(s.Partitions, SavedPartition{Next: c.position(partition), At: c.At, Lag: lag})
		return nil
	})
	return list, err
}

// MinCursor is the sequence of the partition that the slowest durable subscriber goes on with: nothing from it on may
// be trimmed. False when there is no durable subscriber. A cursor that cannot be read is an error; one of other data
// holds nothing back.
func MinCursor(ctx context.Context, store domain.Store, partition int) (uint64, bool, error) {
	lowest, found := uint64(0), false
	err := eachCursor(ctx, store, partition, func(_ string, _ int, c savedCursor) error {
		if c.of(store.Data()) && (!found || c.Sequence < lowest) {
			lowest, found = c.Sequence, true
		}
		return nil
	})
	return lowest, found && err == nil, err
}

// eachCursor goes over the cursors of one partition, or of all when it is -1, by name and partition.
func eachCursor(ctx context.Context, store domain.Store, partition int, do func(name string, partition int, c savedCursor) error) error {
	keys, err := store.Cursors().Keys(ctx)
	if err != nil {
		return fmt.Errorf("listing the cursors: %w", err)
	}
	for _, key := range keys {
		name, text, ok := strings.Cut(key, ".")
		p, err := strconv.Atoi(text)
		if !ok || err != nil || key != cursorKey(name, p) || partition >= 0 && p != partition {
			continue // somebody else's
		}
		c, _, err := getCursor(ctx, store, key)
		if errors.Is(err, domain.ErrNoKey) {
			continue // removed meanwhile
		}
		if err == nil {
			err = do(name, p, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Forget removes the cursors of a durable name, so that it holds no log back and starts anew when it is run again. It
// is refused with domain.ErrLeaseTaken while a process runs the subscriber.
func Forget(ctx context.Context, store domain.Store, name string) error {
	if err := checkName(name); err != nil || name == "" {
		return errors.Join(err, fmt.Errorf("forgetting subscriber %q: it has no cursors", name))
	}
	lease, err := store.Leases().Acquire(ctx, leaseName(name), "forget", leaseTTL)
	if err != nil {
		return fmt.Errorf("forgetting subscriber %q: %w", name, err)
	}
	keys, err := store.Cursors().Keys(ctx)
	for _, key := range keys {
		if of, _, ok := strings.Cut(key, "."); ok && of == name && err == nil {
			err = store.Cursors().Delete(ctx, key)
		}
	}
	if err := errors.Join(err, lease.Release(ctx)); err != nil {
		return fmt.Errorf("forgetting subscriber %q: %w", name, err)
	}
	return nil
}

// lagOf counts the sequences from the position on.
func lagOf(ctx context.Context, store domain.Store, next domain.Position) (uint64, error) {
	b, err := store.Log(next.Partition).Bounds(ctx)
	if err != nil || b.Last < next.Sequence {
		return 0, err
	}
	return b.Last - next.Sequence + 1, nil
}
