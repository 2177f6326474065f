package memlog

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// partitionLog implements domain.Log.
type partitionLog struct {
	store     *Store
	partition int
	faults    Faults

	mu       sync.Mutex
	first    uint64 // sequence of messages[0]
	messages []domain.Message
	changed  chan struct{} // closed and replaced by every append and trim
}

// last must be called with the lock held.
func (l *partitionLog) last() uint64 { return l.first + uint64(len(l.messages)) - 1 }

// WrongSequenceError: the log went on after the sequence that an append should have followed.
type WrongSequenceError struct{ Last uint64 }

func (e *WrongSequenceError) Error() string { return fmt.Sprintf("wrong last sequence: %d", e.Last) }

// Append implements domain.Log. done is called on a goroutine of its own, after Options.Delay.
func (l *partitionLog) Append(last uint64, commitID string, data []byte, done func(uint64, error)) {
	fate := l.faults.fate(last, commitID)
	m := domain.Message{CommitID: commitID, Data: append([]byte(nil), data...)}
	var (
		sequence uint64
		err      error
	)
	if !fate.Lost && fate.Late == 0 {
		sequence, err = l.keep(last, m)
	}
	if fate.Silent && fate.Late == 0 {
		return
	}
	go func() {
		if fate.Late > 0 {
			time.Sleep(fate.Late)
			if !fate.Lost {
				sequence, err = l.keep(last, m)
			}
			if fate.Silent {
				return
			}
		}
		if delay := l.store.opts.Delay + fate.Delay; delay > 0 {
			time.Sleep(delay)
		}
		if fate.Err != nil {
			sequence, err = 0, fmt.Errorf("appending to the log of partition %02d: %w", l.partition, fate.Err)
		}
		done(sequence, err)
		if fate.Double {
			done(sequence, err)
		}
	}()
}

func (l *partitionLog) keep(last uint64, m domain.Message) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.last(); have != last {
		return 0, fmt.Errorf("appending to the log of partition %02d: %w", l.partition, &WrongSequenceError{have})
	}
	if !l.store.reserve(int64(len(m.Data))) {
		return 0, fmt.Errorf("appending to the log of partition %02d: %w: it is full", l.partition, domain.ErrNotStored)
	}
	m.Sequence, m.Time = last+1, l.store.opts.Clock()
	l.messages = append(l.messages, m)
	l.wake()
	return m.Sequence, nil
}

// Foreign stores a message that is not a commit, or one of another writer, without a guard, and returns its sequence.
func (s *Store) Foreign(partition int, commitID string, data []byte) uint64 {
	l := s.logs[partition]
	l.mu.Lock()
	defer l.mu.Unlock()
	m := domain.Message{Sequence: l.last() + 1, CommitID: commitID, Data: append([]byte(nil), data...), Time: s.opts.Clock()}
	s.reserve(int64(len(data)))
	l.messages = append(l.messages, m)
	l.wake()
	return m.Sequence
}

func (l *partitionLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *partitionLog) available(ctx context.Context, doing string) error {
	err := ctx.Err()
	if err == nil && l.faults.isDown() {
		err = domain.ErrUnavailable
	}
	if err != nil {
		return fmt.Errorf("%s the log of partition %02d: %w", doing, l.partition, err)
	}
	return nil
}

// Read implements domain.Log.
func (l *partitionLog) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	if err := l.available(ctx, "reading"); err != nil {
		return domain.Message{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if sequence < l.first || sequence > l.last() {
		return domain.Message{}, fmt.Errorf("reading message %d of the log of partition %02d: %w", sequence, l.partition, domain.ErrNoMessage)
	}
	return owned(l.messages[sequence-l.first]), nil
}

func owned(m domain.Message) domain.Message {
	m.Data = append([]byte(nil), m.Data...)
	return m
}

// Scan implements domain.Log.
func (l *partitionLog) Scan(ctx context.Context, from uint64, each func(domain.Message) error) error {
	l.mu.Lock()
	end := l.last()
	l.mu.Unlock()
	for {
		if err := l.available(ctx, "reading"); err != nil {
			return err
		}
		m, _, ok := l.next(from)
		if !ok || m.Sequence > end {
			return nil
		}
		if err := each(m); err != nil {
			return err
		}
		from = m.Sequence + 1
	}
}

// next is the first message from sequence on, or the channel that is closed when there may be one.
func (l *partitionLog) next(from uint64) (domain.Message, <-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = max(from, l.first)
	if from > l.last() {
		return domain.Message{}, l.changed, false
	}
	return owned(l.messages[from-l.first]), nil, true
}

// Follow implements domain.Log.
func (l *partitionLog) Follow(ctx context.Context, from uint64, each func(domain.Message) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.faults.isDown() {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		m, changed, ok := l.next(from)
		if !ok {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		if err := each(m); err != nil {
			return err
		}
		from = m.Sequence + 1
	}
}

// SequenceAt implements domain.Log.
func (l *partitionLog) SequenceAt(ctx context.Context, t time.Time) (uint64, error) {
	if err := l.available(ctx, "searching"); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.messages), func(i int) bool { return !l.messages[i].Time.Before(t) })
	return l.first + uint64(i), nil // #nosec G115 -- never negative
}

// Bounds implements domain.Log.
func (l *partitionLog) Bounds(ctx context.Context) (domain.LogBounds, error) {
	if err := l.available(ctx, "measuring"); err != nil {
		return domain.LogBounds{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := domain.LogBounds{First: l.first, Last: l.last()}
	for _, m := range l.messages {
		b.Bytes += uint64(len(m.Data))
	}
	return b, nil
}

// Trim implements domain.Log.
func (l *partitionLog) Trim(ctx context.Context, before uint64) error {
	if err := l.available(ctx, "trimming"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if before > l.last()+1 {
		return fmt.Errorf("trimming the log of partition %02d below %d: its last message is %d", l.partition, before, l.last())
	}
	if before <= l.first {
		return nil
	}
	n := before - l.first
	for _, m := range l.messages[:n] {
		l.store.reserve(-int64(len(m.Data)))
	}
	l.messages = append([]domain.Message(nil), l.messages[n:]...)
	l.first = before
	l.wake()
	return nil
}
