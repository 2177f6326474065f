package attached

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// taskOf makes the id of the n-th task whose partition is p of parts.
func taskOf(n, p, parts int) domain.TaskID {
	for i := 0; ; i++ {
		if id := domain.KeyedTaskID("test", fmt.Sprint(n), fmt.Sprint(i)); id.Partition(parts) == p {
			return id
		}
	}
}

// note is an event that can be told from others.
func note(task domain.TaskID, n int) domain.Record {
	return domain.Record{Task: task, Event: domain.TaskAnnotated{Kind: fmt.Sprint(n), Annotation: json.RawMessage("1")}}
}

func noteOf(r domain.Record) string {
	if e, ok := r.Event.(domain.TaskAnnotated); ok {
		return e.Kind
	}
	return string(r.Event.Type())
}

// store appends one commit and returns its sequence.
func store(t testing.TB, s *memlog.Store, p int, records ...domain.Record) uint64 {
	t.Helper()
	b, err := s.Log(p).Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := domain.InstantOf(time.Now())
	for i := range records {
		records[i].At = now
	}
	done := make(chan error, 1)
	id := fmt.Sprintf("commit-%d-%d", p, b.Last+1)
	s.Log(p).Append(b.Last, id, domain.EncodeCommit(domain.Commit{ID: id, At: now, Records: records}),
		func(_ uint64, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return b.Last + 1
}

// seen collects what a handler is told.
type seen struct {
	mu      sync.Mutex
	records []domain.Record
	at      []time.Time
}

func (s *seen) handle(_ context.Context, r domain.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, r)
	s.at = append(s.at, time.Now())
	return nil
}

func (s *seen) notes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	notes := []string{}
	for _, r := range s.records {
		notes = append(notes, noteOf(r))
	}
	return notes
}

// times counts how often each event was seen.
func (s *seen) times() map[domain.Position]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	times := map[domain.Position]int{}
	for _, r := range s.records {
		times[r.Position]++
	}
	return times
}

// inOrderPerTask fails when a task's events did not come in the order of the log.
func (s *seen) inOrderPerTask(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[domain.TaskID]domain.Position{}
	for _, r := range s.records {
		if before, ok := last[r.Task]; ok && !before.Less(r.Position) {
			t.Errorf("task %s: event %s came after %s", r.Task, r.Position, before)
		}
		last[r.Task] = r.Position
	}
}

// started is a subscriber at work in a bubble.
type started struct {
	*Subscriber
	stop func() error
}

func start(t *testing.T, s domain.Store, o Options, h Handler) *started {
	t.Helper()
	sub, err := New(s, o, h, WithLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- sub.Run(ctx) }()
	var once sync.Once
	st := &started{Subscriber: sub}
	var ended error
	st.stop = func() error {
		once.Do(func() {
			cancel()
			ended = <-result
		})
		return ended
	}
	t.Cleanup(func() { _ = st.stop() })
	synctest.Wait()
	return st
}

// mortal is a store whose process can be killed: from then on nothing that it writes arrives.
type mortal struct {
	*memlog.Store
	dead atomic.Bool
}

func (m *mortal) kill() { m.dead.Store(true) }

func (m *mortal) Cursors() domain.KV              { return mortalKV{m.Store.Cursors(), m} }
func (m *mortal) Leases() domain.Leases           { return mortalLeases{m.Store.Leases(), m} }
func (m *mortal) DeadLetters() domain.DeadLetters { return mortalLetters{m.Store.DeadLetters(), m} }
func (m *mortal) err() error {
	if m.dead.Load() {
		return fmt.Errorf("%w: the process is dead", domain.ErrUnavailable)
	}
	return nil
}

type mortalKV struct {
	domain.KV
	m *mortal
}

func (k mortalKV) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if err := k.m.err(); err != nil {
		return 0, err
	}
	return k.KV.Put(ctx, key, value, revision)
}

type mortalLeases struct {
	domain.Leases
	m *mortal
}

func (l mortalLeases) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (domain.Lease, error) {
	if err := l.m.err(); err != nil {
		return nil, err
	}
	lease, err := l.Leases.Acquire(ctx, name, holder, ttl)
	return mortalLease{lease, l.m}, err
}

type mortalLease struct {
	domain.Lease
	m *mortal
}

func (l mortalLease) Renew(ctx context.Context) error {
	if err := l.m.err(); err != nil {
		return err
	}
	return l.Lease.Renew(ctx)
}

func (l mortalLease) Release(ctx context.Context) error {
	if err := l.m.err(); err != nil {
		return err
	}
	return l.Lease.Release(ctx)
}

type mortalLetters struct {
	domain.DeadLetters
	m *mortal
}

func (l mortalLetters) Put(ctx context.Context, letter domain.DeadLetter) error {
	if err := l.m.err(); err != nil {
		return err
	}
	return l.DeadLetters.Put(ctx, letter)
}
