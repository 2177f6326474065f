package attached

import (
	"context"
	"fmt"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Where reading begins, as package domain has it.
type (
	Start = domain.Start
	Until = domain.Until
)

// The values of Start.
var (
	FromNew       = domain.FromNew
	FromBeginning = domain.FromBeginning
	FromOldest    = domain.FromOldest
)

// FromTime is domain.FromTime.
func FromTime(t time.Time) Start { return domain.FromTime(t) }

// FromPosition is domain.FromPosition.
func FromPosition(cursor string) Start { return domain.FromPosition(cursor) }

// UntilTime is domain.UntilTime.
func UntilTime(t time.Time) Until { return domain.UntilTime(t) }

// UntilPosition is domain.UntilPosition.
func UntilPosition(cursor string) Until { return domain.UntilPosition(cursor) }

// first returns the sequence to begin with, which is in the log or the next one to be stored.
func first(ctx context.Context, s Start, store domain.Store, partition int) (uint64, error) {
	log := store.Log(partition)
	bounds, err := log.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	switch s.Kind {
	case domain.StartDefault, domain.StartNew:
		return bounds.Last + 1, nil
	case domain.StartOldest:
		return max(bounds.First, 1), nil
	case domain.StartTime:
		sequence, err := sequenceAt(ctx, log, partition, bounds, s.Time)
		if err != nil {
			return 0, err
		}
		if bounds.First > 1 && sequence <= bounds.First {
			// What was before the first message may have been stored after that time, too.
			return 0, ErrTrimmed{Partition: partition, First: bounds.First}
		}
		return sequence, nil
	case domain.StartPosition:
		c, err := cursorOf(store.Data(), s.Cursor)
		if err != nil {
			return 0, err
		}
		next := c.Sequences[partition] + 1
		return next, checkBounds(bounds, partition, next)
	case domain.StartBeginning:
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
