package memlog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/tasker-go/tasker/domain"
)

// table implements domain.KV.
type table struct {
	mu       sync.Mutex
	revision uint64
	rows     map[string]row
}

type row struct {
	value    []byte
	revision uint64
}

var errEmptyKey = errors.New("a key must not be empty")

// Get implements domain.KV.
func (t *table) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := check(ctx, key); err != nil {
		return nil, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.rows[key]
	if !ok {
		return nil, 0, fmt.Errorf("reading key %s: %w", key, domain.ErrNoKey)
	}
	return slices.Clone(r.value), r.revision, nil
}

// Put implements domain.KV.
func (t *table) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := check(ctx, key); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[key].revision != revision {
		return 0, fmt.Errorf("writing key %s: %w", key, domain.ErrConflict)
	}
	t.revision++
	t.rows[key] = row{slices.Clone(value), t.revision}
	return t.revision, nil
}

// Delete implements domain.KV.
func (t *table) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, key)
	return nil
}

// Keys implements domain.KV. They are sorted.
func (t *table) Keys(ctx context.Context) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.rows)), ctx.Err()
}

func check(ctx context.Context, key string) error {
	if key == "" {
		return errEmptyKey
	}
	return ctx.Err()
}

type snapshotKey struct {
	partition int
	sequence  uint64
}

type snapshot struct {
	info    domain.SnapshotInfo
	content []byte
}

// snapshots implements domain.Snapshots.
type snapshots struct{ store *Store }

// Put implements domain.Snapshots. When the very same snapshot exists, it is returned; another one under the same
// sequence is a domain.ErrConflict.
func (s snapshots) Put(ctx context.Context, info domain.SnapshotInfo, content io.Reader) (domain.SnapshotInfo, error) {
	fail := func(err error) (domain.SnapshotInfo, error) {
		return domain.SnapshotInfo{}, fmt.Errorf("storing the snapshot of partition %02d at %d: %w", info.Partition, info.Sequence, err)
	}
	data, err := io.ReadAll(content)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fail(err)
	}
	info.Digest, info.Size = digest(data), int64(len(data))
	key := snapshotKey{info.Partition, info.Sequence}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if have, ok := s.store.snapshots[key]; ok {
		if have.info.Digest == info.Digest && have.info.CommitID == info.CommitID {
			return have.info, nil
		}
		return fail(domain.ErrConflict)
	}
	s.store.snapshots[key] = snapshot{info, data}
	return info, nil
}

// List implements domain.Snapshots.
func (s snapshots) List(ctx context.Context, partition int) ([]domain.SnapshotInfo, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	infos := []domain.SnapshotInfo{}
	for key, have := range s.store.snapshots {
		if key.partition == partition {
			infos = append(infos, have.info)
		}
	}
	slices.SortFunc(infos, func(a, b domain.SnapshotInfo) int {
		if a.Sequence > b.Sequence {
			return -1
		}
		return 1
	})
	return infos, ctx.Err()
}

// Get implements domain.Snapshots.
func (s snapshots) Get(ctx context.Context, info domain.SnapshotInfo) ([]byte, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	have, ok := s.store.snapshots[snapshotKey{info.Partition, info.Sequence}]
	err := ctx.Err()
	switch {
	case err != nil:
	case !ok:
		err = domain.ErrNoKey
	case digest(have.content) != have.info.Digest:
		err = errors.New("it is damaged")
	case info.Digest != "" && info.Digest != have.info.Digest:
		err = errors.New("it is not the one with digest " + info.Digest)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the snapshot of partition %02d at %d: %w", info.Partition, info.Sequence, err)
	}
	return slices.Clone(have.content), nil
}

// Delete implements domain.Snapshots.
func (s snapshots) Delete(ctx context.Context, info domain.SnapshotInfo) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	delete(s.store.snapshots, snapshotKey{info.Partition, info.Sequence})
	return ctx.Err()
}

// DamageSnapshot changes a byte of a stored snapshot, for tests of what happens then.
func (s *Store) DamageSnapshot(partition int, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.snapshots[snapshotKey{partition, sequence}]; len(have.content) > 0 {
		have.content[len(have.content)/2] ^= 0xff
	}
}

// blobs implements domain.Blobs.
type blobs struct{ store *Store }

// Put implements domain.Blobs.
func (b blobs) Put(ctx context.Context, content []byte) (string, error) {
	d := digest(content)
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if _, ok := b.store.blobs[d]; !ok {
		b.store.blobs[d] = slices.Clone(content)
	}
	return d, ctx.Err()
}

// Get implements domain.Blobs.
func (b blobs) Get(ctx context.Context, digest string) ([]byte, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	content, ok := b.store.blobs[digest]
	if !ok {
		return nil, fmt.Errorf("reading blob %s: %w", digest, domain.ErrNoKey)
	}
	return slices.Clone(content), ctx.Err()
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256-" + hex.EncodeToString(sum[:])
}
