package watermill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/watermill"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

const annotations = string(domain.TaskAnnotatedType)

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

// noteOf is the n of a note.
func noteOf(msg *message.Message) string {
	var e domain.TaskAnnotated
	if err := (watermill.Marshaler{}).Unmarshal(msg, &e); err != nil {
		return err.Error()
	}
	return e.Kind
}

// store appends one commit to a log in memory.
func store(t testing.TB, s *memlog.Store, p int, records ...domain.Record) {
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
}

// client reads a store as a process would.
func client(t testing.TB, s domain.Store) *tasker.Client {
	t.Helper()
	c, err := tasker.NewClient(t.Context(), tasker.Config{Store: s, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newEvents(t testing.TB, s domain.Store, c watermill.EventsConfig) *watermill.Events {
	t.Helper()
	c.Logger = quiet
	e, err := watermill.NewEvents(client(t, s), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func subscribe(t testing.TB, e *watermill.Events, topic string) <-chan *message.Message {
	t.Helper()
	out, err := e.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func durable(name string) domain.Subscription {
	return domain.Subscription{Name: name, From: domain.FromBeginning}
}

// seen collects messages.
type seen struct {
	mu    sync.Mutex
	notes []string
	last  map[string]domain.Position // of a task
	wrong []string
}

func (s *seen) add(msg *message.Message) {
	at, err := domain.ParsePosition(msg.Metadata.Get(watermill.MetadataPosition))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]domain.Position{}
	}
	task := msg.Metadata.Get(watermill.MetadataTask)
	if before, ok := s.last[task]; err != nil || ok && !before.Less(at) {
		s.wrong = append(s.wrong, fmt.Sprintf("task %s: %s came after %s (%v)", task, at, before, err))
	}
	s.last[task] = at
	s.notes = append(s.notes, noteOf(msg))
}

func (s *seen) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.notes...)
}

func (s *seen) times() map[string]int {
	times := map[string]int{}
	for _, n := range s.list() {
		times[n]++
	}
	return times
}

func (s *seen) inOrder(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wrong {
		t.Error(w)
	}
}

// consume handles messages as the Router does, each on its own goroutine; wait returns when the channel is closed and all
// have been handled.
func consume(out <-chan *message.Message, handle func(*message.Message) error) (wait func()) {
	var all sync.WaitGroup
	all.Go(func() {
		for msg := range out {
			all.Go(func() {
				if handle(msg) != nil {
					msg.Nack()
				} else {
					msg.Ack()
				}
			})
		}
	})
	return all.Wait
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// settle lets everything come to rest, d later.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func ended(ctx context.Context) bool { return ctx.Err() != nil }
