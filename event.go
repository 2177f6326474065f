package tasker

import (
	"context"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// Event reads one event of the log. domain.ErrNoMessage when there is none at the position, or none any more.
func (r *router) Event(ctx context.Context, at Position) (Event, error) {
	if n := r.store.Data().Partitions; at.Partition < 0 || at.Partition >= n {
		return Event{}, fmt.Errorf("event %s: this log has %d partitions, from 0: %w", at, n, domain.ErrNoMessage)
	}
	msg, err := r.store.Log(at.Partition).Read(ctx, at.Sequence)
	if err != nil {
		return Event{}, fmt.Errorf("event %s: %w", at, err)
	}
	commit, err := domain.DecodeCommit(msg.Data, at.Partition, at.Sequence)
	if err != nil {
		return Event{}, fmt.Errorf("event %s: %w", at, err)
	}
	if at.Index < 0 || at.Index >= len(commit.Records) {
		return Event{}, fmt.Errorf("event %s: its commit has %d events: %w", at, len(commit.Records), domain.ErrNoMessage)
	}
	return commit.Records[at.Index], nil
}
