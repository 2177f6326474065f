package memlog

import (
	"context"
	"fmt"
	"slices"

	"github.com/tasker-go/tasker/domain"
)

type deadLetters struct{ store *Store }

// Put implements domain.DeadLetters. A letter with the Once of one that is there is the same.
func (d deadLetters) Put(ctx context.Context, letter domain.DeadLetter) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("storing a dead letter: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if letter.Once != "" && slices.ContainsFunc(d.store.letters, func(l domain.StoredLetter) bool { return l.Once == letter.Once }) {
		return nil
	}
	letter.Data = slices.Clone(letter.Data)
	d.store.newest++
	d.store.letters = append(d.store.letters, domain.StoredLetter{
		DeadLetter: letter, Sequence: d.store.newest, Time: d.store.opts.Clock(), Size: len(letter.Data),
	})
	return nil
}

// List implements domain.DeadLetters.
func (d deadLetters) List(ctx context.Context, filter domain.LetterFilter) ([]domain.StoredLetter, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing the dead letters: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	var letters []domain.StoredLetter
	for _, l := range d.store.letters {
		if l.Sequence <= filter.After || filter.Kind != "" && l.Kind != filter.Kind {
			continue
		}
		l.Data = nil
		if letters = append(letters, l); len(letters) == filter.Limit {
			break
		}
	}
	return letters, nil
}

// Get implements domain.DeadLetters.
func (d deadLetters) Get(ctx context.Context, sequence uint64) (domain.StoredLetter, error) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	i, err := d.find(ctx, sequence)
	if err != nil {
		return domain.StoredLetter{}, fmt.Errorf("reading dead letter %d: %w", sequence, err)
	}
	letter := d.store.letters[i]
	letter.Data = slices.Clone(letter.Data)
	return letter, nil
}

// Delete implements domain.DeadLetters.
func (d deadLetters) Delete(ctx context.Context, sequence uint64) error {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	i, err := d.find(ctx, sequence)
	if err != nil {
		return fmt.Errorf("deleting dead letter %d: %w", sequence, err)
	}
	d.store.letters = slices.Delete(d.store.letters, i, i+1)
	return nil
}

// DeleteAll implements domain.DeadLetters.
func (d deadLetters) DeleteAll(ctx context.Context, kind string) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("deleting the dead letters: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	before := len(d.store.letters)
	d.store.letters = slices.DeleteFunc(d.store.letters, func(l domain.StoredLetter) bool { return kind == "" || l.Kind == kind })
	return uint64(before - len(d.store.letters)), nil // #nosec G115 -- not negative
}

// find must be called with the lock held.
func (d deadLetters) find(ctx context.Context, sequence uint64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	i := slices.IndexFunc(d.store.letters, func(l domain.StoredLetter) bool { return l.Sequence == sequence })
	if i < 0 {
		return 0, domain.ErrNoMessage
	}
	return i, nil
}

// Letters are the dead letters, oldest first.
func (s *Store) Letters() []domain.DeadLetter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var letters []domain.DeadLetter
	for _, l := range s.letters {
		letters = append(letters, l.DeadLetter)
	}
	return letters
}
