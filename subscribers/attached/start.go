package attached

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
)

type startKind int

const (
	byDefault startKind = iota
	fromNew
	fromBeginning
	fromOldest
	fromTime
	fromPosition
)

// Start is where reading begins. The zero Start is the default of what it is given to.
type Start struct {
	kind   startKind
	at     time.Time
	cursor string
}

var (
	// FromNew starts with what is stored after the subscriber was started for the first time.
	FromNew = Start{kind: fromNew}
	// FromBeginning starts with the first commit ever stored; ErrTrimmed when it is not there any more.
	FromBeginning = Start{kind: fromBeginning}
	// FromOldest starts with the oldest commit that is still there.
	FromOldest = Start{kind: fromOldest}
)

// FromTime starts with the first commit stored at or after t; ErrTrimmed when it may have been trimmed.
func FromTime(t time.Time) Start { return Start{kind: fromTime, at: t} }

// FromPosition starts after what the cursor covers (domain.Cursor). A partition that it does not name is read from the
// beginning.
func FromPosition(cursor string) Start { return Start{kind: fromPosition, cursor: cursor} }

// resolve returns the sequence to begin with, which is in the log or the next one to be stored.
func (s Start) resolve(ctx context.Context, store domain.Store, partition int) (uint64, error) {
	log := store.Log(partition)
	bounds, err := log.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	switch s.kind {
	case byDefault, fromNew:
		return bounds.Last + 1, nil
	case fromOldest:
		return max(bounds.First, 1), nil
	case fromTime:
		sequence, err := log.SequenceAt(ctx, s.at)
		if err != nil {
			return 0, err
		}
		if bounds.First > 1 && sequence <= bounds.First {
			// What was before the first message may have been stored after that time, too.
			return 0, ErrTrimmed{Partition: partition, First: bounds.First}
		}
		return sequence, nil
	case fromPosition:
		c, err := cursorOf(store.Data(), s.cursor)
		if err != nil {
			return 0, err
		}
		next := c.Sequences[partition] + 1
		return next, checkBounds(bounds, partition, next)
	case fromBeginning:
	}
	return 1, checkBounds(bounds, partition, 1)
}

// cursorOf reads a cursor that must be of the log.
func cursorOf(data domain.DataInfo, text string) (domain.Cursor, error) {
	c, err := domain.ParseCursor(text)
	if err != nil {
		return c, err
	}
	for p := range c.Sequences {
		if p >= data.Partitions {
			err = mismatch(data, c.DataID, data.Generation, fmt.Sprintf("cursor %q", text))
		}
	}
	if c.DataID != data.ID {
		err = mismatch(data, c.DataID, 0, fmt.Sprintf("cursor %q", text))
	}
	return c, err
}

func mismatch(data domain.DataInfo, dataID string, generation int, cursor string) error {
	return &MismatchError{
		Cursor: cursor, DataID: dataID, Generation: generation,
		LogDataID: data.ID, LogGeneration: data.Generation, PartitionCount: data.Partitions,
	}
}

// checkBounds reports why the log cannot be read from the sequence next on.
func checkBounds(b domain.LogBounds, partition int, next uint64) error {
	switch {
	case next < b.First:
		return ErrTrimmed{Partition: partition, Wanted: next, First: b.First}
	case next > b.Last+1:
		return &AheadError{Partition: partition, Next: next, Last: b.Last}
	}
	return nil
}
