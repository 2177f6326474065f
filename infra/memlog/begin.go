package memlog

import (
	"context"
	"fmt"
)

// Begin makes an empty log begin with the sequence first instead of 1, as that of infra/natslog does.
func (l *partitionLog) Begin(ctx context.Context, first uint64) error {
	if err := l.available(ctx, "changing the beginning of"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last()+1 == first && l.first == first {
		return nil
	}
	if l.last() > 0 || first < 1 {
		return fmt.Errorf("the log of partition %02d cannot begin with message %d: it has had messages up to %d", l.partition, first, l.last())
	}
	l.first = first
	l.wake()
	return nil
}
