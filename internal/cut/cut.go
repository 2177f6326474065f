// Package cut kills an engine inside a test process: it stands between the engine and its store, and from the moment
// that the line is cut nothing of the engine is stored any more, as if its process had been killed. What it sent before
// stays. The engine's goroutines learn from it that they have lost, so that they can end.
package cut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// ErrCut is what the dead engine gets to see; it is a domain.ErrUnavailable.
var ErrCut = fmt.Errorf("%w: the line is cut", domain.ErrUnavailable)

// Store is a line to a store. It implements domain.Store and domain.Commands.
type Store struct {
	to   domain.Store
	dead context.Context
	kill context.CancelFunc

	stored func() bool // see OnStored

	mu      sync.Mutex
	servers []func() // stop those of the engine
	leases  []*lease // that the engine got
}

// New lays a line to the store.
func New(to domain.Store) *Store {
	s := &Store{to: to}
	s.dead, s.kill = context.WithCancel(context.Background())
	return s
}

// Cut cuts it, for good.
func (s *Store) Cut() {
	s.kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stop := range s.servers {
		stop()
	}
}

// OnStored sets a function that is called after every commit that was stored, before the engine hears of it; true cuts the
// line there: the commit is in the log, and nothing that rests on it ever leaves the engine. Call it before the engine
// gets the store.
func (s *Store) OnStored(f func() bool) { s.stored = f }

// Dead is closed when the line is cut.
func (s *Store) Dead() <-chan struct{} { return s.dead.Done() }

// Free gives the leases of the dead engine back, so that its successor need not wait until they have run out.
func (s *Store) Free(ctx context.Context) error {
	s.mu.Lock()
	leases := s.leases
	s.leases = nil
	s.mu.Unlock()
	for _, l := range leases {
		if err := l.free(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) cut() bool { return s.dead.Err() != nil }

func (s *Store) err() error {
	if s.cut() {
		return ErrCut
	}
	return nil
}

// Data implements domain.Store; so do the others up to Usage.
func (s *Store) Data() domain.DataInfo { return s.to.Data() }

// Log is a line to the log.
func (s *Store) Log(partition int) domain.Log { return log{s, s.to.Log(partition)} }

// Leases are a line to the leases. A lease that cannot be renewed is as good as lost.
func (s *Store) Leases() domain.Leases { return leases{s} }

// Snapshots are a line to the snapshots.
func (s *Store) Snapshots() domain.Snapshots { return snapshots{s, s.to.Snapshots()} }

// Blobs are a line to the blobs.
func (s *Store) Blobs() domain.Blobs { return blobs{s, s.to.Blobs()} }

// Definitions are a line to the table.
func (s *Store) Definitions() domain.KV { return table{s, s.to.Definitions()} }

// Cursors are a line to the table.
func (s *Store) Cursors() domain.KV { return table{s, s.to.Cursors()} }

// Tokens are a line to the table.
func (s *Store) Tokens() domain.KV { return table{s, s.to.Tokens()} }

// DeadLetters are a line to the dead letters.
func (s *Store) DeadLetters() domain.DeadLetters { return letters{s} }

// Clock is the store's.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	if err := s.err(); err != nil {
		return time.Time{}, err
	}
	return s.to.Clock(ctx)
}

// Usage is the store's.
func (s *Store) Usage(ctx context.Context) (float64, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.to.Usage(ctx)
}

// ServeCommands implements domain.Commands. After the cut requests come and are not answered.
func (s *Store) ServeCommands(partition int, handle func(ctx context.Context, request []byte, reply func([]byte))) (func(), error) {
	to, ok := s.to.(domain.Commands)
	if !ok {
		return func() {}, nil
	}
	stop, err := to.ServeCommands(partition, func(ctx context.Context, request []byte, reply func([]byte)) {
		handle(ctx, request, func(answer []byte) {
			if !s.cut() {
				reply(answer)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	// A dead process serves nobody.
	stop = sync.OnceFunc(stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, stop)
	return stop, nil
}

// Request implements domain.Commands.
func (s *Store) Request(ctx context.Context, partition int, request []byte) ([]byte, error) {
	to, ok := s.to.(domain.Commands)
	switch {
	case s.cut():
		return nil, ErrCut
	case !ok:
		return nil, domain.ErrNoOwner
	}
	return to.Request(ctx, partition, request)
}

type log struct {
	s  *Store
	to domain.Log
}

// Append sends nothing over a line that is cut, and an answer that comes over it later is not heard.
func (l log) Append(last uint64, commitID string, data []byte, done func(uint64, error)) {
	if l.s.cut() {
		go done(0, ErrCut) // it looks, and finds that it has lost: see Read
		return
	}
	l.to.Append(last, commitID, data, func(sequence uint64, err error) {
		if err == nil && !l.s.cut() && l.s.stored != nil && l.s.stored() {
			l.s.Cut()
		}
		if l.s.cut() {
			sequence, err = 0, ErrCut
		}
		done(sequence, err)
	})
}

// Read tells a dead engine that somebody else's commit stands at every place, so that it gives up.
func (l log) Read(ctx context.Context, sequence uint64) (domain.Message, error) {
	if l.s.cut() {
		return domain.Message{Sequence: sequence, CommitID: "successor-1"}, ctx.Err()
	}
	return l.to.Read(ctx, sequence)
}

func (l log) Scan(ctx context.Context, from uint64, each func(domain.Message) error) error {
	if err := l.s.err(); err != nil {
		return err
	}
	return l.to.Scan(ctx, from, each)
}

func (l log) Follow(ctx context.Context, from uint64, each func(domain.Message) error) error {
	follow, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(l.s.dead, func() { stop(ErrCut) })()
	err := l.to.Follow(follow, from, each)
	if errors.Is(context.Cause(follow), ErrCut) {
		return ErrCut
	}
	return err
}

func (l log) SequenceAt(ctx context.Context, t time.Time) (uint64, error) {
	if err := l.s.err(); err != nil {
		return 0, err
	}
	return l.to.SequenceAt(ctx, t)
}

func (l log) Bounds(ctx context.Context) (domain.LogBounds, error) {
	if err := l.s.err(); err != nil {
		return domain.LogBounds{}, err
	}
	return l.to.Bounds(ctx)
}

func (l log) Trim(ctx context.Context, before uint64) error {
	if err := l.s.err(); err != nil {
		return err
	}
	return l.to.Trim(ctx, before)
}

type leases struct{ s *Store }

// Acquire goes on when the engine stops waiting for it, or Free could not give back what it gets.
func (l leases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	if err := l.s.err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	to, err := l.s.to.Leases().Acquire(ctx, name, holder, ttl)
	if err != nil {
		return nil, err
	}
	held := &lease{s: l.s, to: to}
	l.s.mu.Lock()
	l.s.leases = append(l.s.leases, held)
	l.s.mu.Unlock()
	if err := l.s.err(); err != nil { // cut meanwhile: Free has perhaps been here already
		return nil, errors.Join(err, held.free(ctx))
	}
	return held, nil
}

type lease struct {
	s  *Store
	mu sync.Mutex // of to: Free does not wait for the dead engine
	to domain.Lease
}

func (l *lease) Renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s.cut() {
		return domain.ErrLeaseTaken
	}
	return l.to.Renew(ctx)
}

// Release does nothing after the cut: the lease of a dead process has to run out, unless Free gives it back.
func (l *lease) Release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.s.cut() {
		return domain.ErrLeaseTaken
	}
	return l.to.Release(ctx)
}

func (l *lease) free(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Release(ctx)
}

type snapshots struct {
	s  *Store
	to domain.Snapshots
}

func (x snapshots) Put(ctx context.Context, info domain.SnapshotInfo, content io.Reader) (domain.SnapshotInfo, error) {
	if err := x.s.err(); err != nil {
		return domain.SnapshotInfo{}, err
	}
	return x.to.Put(ctx, info, content)
}

func (x snapshots) List(ctx context.Context, partition int) ([]domain.SnapshotInfo, error) {
	if err := x.s.err(); err != nil {
		return nil, err
	}
	return x.to.List(ctx, partition)
}

func (x snapshots) Get(ctx context.Context, info domain.SnapshotInfo) ([]byte, error) {
	if err := x.s.err(); err != nil {
		return nil, err
	}
	return x.to.Get(ctx, info)
}

func (x snapshots) Delete(ctx context.Context, info domain.SnapshotInfo) error {
	if err := x.s.err(); err != nil {
		return err
	}
	return x.to.Delete(ctx, info)
}

type blobs struct {
	s  *Store
	to domain.Blobs
}

func (b blobs) Put(ctx context.Context, content []byte) (string, error) {
	if err := b.s.err(); err != nil {
		return "", err
	}
	return b.to.Put(ctx, content)
}

func (b blobs) Get(ctx context.Context, digest string) ([]byte, error) {
	if err := b.s.err(); err != nil {
		return nil, err
	}
	return b.to.Get(ctx, digest)
}

type table struct {
	s  *Store
	to domain.KV
}

func (t table) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := t.s.err(); err != nil {
		return nil, 0, err
	}
	return t.to.Get(ctx, key)
}

func (t table) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := t.s.err(); err != nil {
		return 0, err
	}
	return t.to.Put(ctx, key, value, revision)
}

func (t table) Delete(ctx context.Context, key string) error {
	if err := t.s.err(); err != nil {
		return err
	}
	return t.to.Delete(ctx, key)
}

func (t table) Keys(ctx context.Context) ([]string, error) {
	if err := t.s.err(); err != nil {
		return nil, err
	}
	return t.to.Keys(ctx)
}

type letters struct{ s *Store }

func (x letters) Put(ctx context.Context, letter domain.DeadLetter) error {
	if err := x.s.err(); err != nil {
		return err
	}
	return x.s.to.DeadLetters().Put(ctx, letter)
}

func (x letters) List(ctx context.Context, filter domain.LetterFilter) ([]domain.StoredLetter, error) {
	if err := x.s.err(); err != nil {
		return nil, err
	}
	return x.s.to.DeadLetters().List(ctx, filter)
}

func (x letters) Get(ctx context.Context, sequence uint64) (domain.StoredLetter, error) {
	if err := x.s.err(); err != nil {
		return domain.StoredLetter{}, err
	}
	return x.s.to.DeadLetters().Get(ctx, sequence)
}

func (x letters) Delete(ctx context.Context, sequence uint64) error {
	if err := x.s.err(); err != nil {
		return err
	}
	return x.s.to.DeadLetters().Delete(ctx, sequence)
}

func (x letters) DeleteAll(ctx context.Context, kind string) (uint64, error) {
	if err := x.s.err(); err != nil {
		return 0, err
	}
	return x.s.to.DeadLetters().DeleteAll(ctx, kind)
}
