package natslog

import (
	"context"
	"fmt"
)

// Begin makes an empty log begin with the sequence first instead of 1, for the import of a log whose beginning has been
// trimmed. A log that holds anything, or ever did, is refused. A second call with the same sequence changes nothing.
func (l *partitionLog) Begin(ctx context.Context, first uint64) error {
	b, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	if b.Last+1 == first && b.First == first {
		return nil
	}
	if b.Last > 0 || first < 1 {
		return fmt.Errorf("stream %s cannot begin with message %d: it has had messages up to %d", l.stream, first, b.Last)
	}
	if err := l.store.purge(ctx, l.stream, first, ""); err != nil {
		return fmt.Errorf("letting stream %s begin with message %d: %w", l.stream, first, err)
	}
	if b, err = l.Bounds(ctx); err == nil && (b.First != first || b.Last+1 != first) {
		err = fmt.Errorf("stream %s begins with message %d and ends with %d, and should begin with %d", l.stream, b.First, b.Last, first)
	}
	return err
}
