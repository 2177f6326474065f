package attached

import (
	"bytes"
	"context"
	"errors"
	"log/slog"

	"github.com/tasker-go/tasker/domain"
)

// source turns the messages of one partition into commits. It belongs to one goroutine.
type source struct {
	log       domain.Log
	partition int
	logger    *slog.Logger
	next      uint64 // the sequence that should come next
	decoder   domain.Decoder
	skipped   map[uint64]bool // messages that an operator has told readers to pass over, as far as looked for
	// names is what a message must hold to be read at all: the id of the one task that is wanted. nil: every message is. A
	// message that cannot be read is not reported when it does not name the task.
	names []byte
}

func newSource(store domain.Store, partition int, next uint64, logger *slog.Logger) *source {
	return &source{log: store.Log(partition), partition: partition, logger: logger, next: next}
}

// commit reads one message; false when there is nothing in it to be told of.
func (s *source) commit(ctx context.Context, m domain.Message) (domain.Commit, bool, error) {
	if m.Sequence > s.next {
		if err := s.gap(ctx, m.Sequence); err != nil {
			return domain.Commit{}, false, err
		}
	}
	s.next = m.Sequence + 1
	if s.names != nil && !bytes.Contains(m.Data, s.names) {
		return domain.Commit{}, false, nil
	}
	if m.CommitID == "" {
		s.logger.Error("somebody else wrote to the log; the message is passed over", "partition", s.partition, "sequence", m.Sequence)
		return domain.Commit{}, false, nil
	}
	c, err := s.decoder.Decode(m.Data, s.partition, m.Sequence)
	if err == nil {
		return c, true, nil
	}
	skip, lookErr := s.isSkipped(ctx, m.Sequence)
	switch {
	case lookErr != nil:
		return c, false, lookErr
	case skip:
		s.logger.Error("a commit that cannot be read is passed over, as an operator decided", "partition", s.partition, "sequence", m.Sequence, "error", err)
		return c, false, nil
	}
	return c, false, &UnreadableError{Partition: s.partition, Sequence: m.Sequence, Err: err}
}

// gap tells a log that was trimmed under the reader from one of which somebody removed messages in the middle.
func (s *source) gap(ctx context.Context, found uint64) error {
	b, err := s.log.Bounds(ctx)
	if err != nil {
		return err
	}
	if b.First > s.next {
		return ErrTrimmed{Partition: s.partition, Wanted: s.next, First: b.First}
	}
	s.logger.Error("messages have been removed from the middle of the log", "partition", s.partition, "from", s.next, "before", found)
	return nil
}

var errFound = errors.New("found")

// isSkipped looks ahead for an operator's word to pass over the message.
func (s *source) isSkipped(ctx context.Context, sequence uint64) (bool, error) {
	if s.skipped[sequence] {
		return true, nil
	}
	if s.skipped == nil {
		s.skipped = map[uint64]bool{}
	}
	err := s.log.Scan(ctx, sequence+1, func(m domain.Message) error {
		c, err := domain.DecodeCommit(m.Data, s.partition, m.Sequence)
		if m.CommitID == "" || err != nil {
			return nil //nolint:nilerr // only looking for one kind of fact
		}
		for _, r := range c.Records {
			if e, ok := r.Event.(domain.PartitionSkipped); ok {
				s.skipped[e.Sequence] = true
			}
		}
		if s.skipped[sequence] {
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		return false, err
	}
	return s.skipped[sequence], nil
}
