package watermill_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/watermill"
)

// mortal is a store as a process sees it that can be killed: from then on nothing that it writes arrives.
type mortal struct {
	*memlog.Store
	dead atomic.Bool
}

func (m *mortal) err() error {
	if m.dead.Load() {
		return fmt.Errorf("%w: the process is dead", domain.ErrUnavailable)
	}
	return nil
}

func (m *mortal) Cursors() domain.KV    { return mortalKV{m.Store.Cursors(), m} }
func (m *mortal) Leases() domain.Leases { return mortalLeases{m.Store.Leases(), m} }

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
	return l.Leases.Acquire(ctx, name, holder, ttl)
}

func TestAfterACrashOnlyWhatIsBehindTheLastCursorComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		const all = 600
		for i := range all {
			store(t, s, i%2, note(taskOf(i%40, i%2, 2), i))
		}
		handled := map[string]int{}
		var repeated int
		for life := 0; life < 100 && len(handled) < all; life++ {
			m := &mortal{Store: s}
			e, err := watermill.NewEvents(client(t, m), watermill.EventsConfig{Subscription: durable("books"), Logger: quiet, CloseTimeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			got := &seen{}
			ctx, cancel := context.WithCancel(t.Context())
			out, err := e.Subscribe(ctx, annotations)
			if err != nil {
				t.Fatal(err)
			}
			wait := consume(out, func(msg *message.Message) error {
				time.Sleep(20 * time.Millisecond)
				if !m.dead.Load() {
					got.add(msg)
				}
				return nil
			})
			settle(time.Duration(90+life*7) * time.Millisecond)
			m.dead.Store(true)
			cancel()
			_ = e.Close()
			wait()
			got.inOrder(t)
			settle(time.Minute) // until its lease has run out
			for n, times := range got.times() {
				if times != 1 {
					t.Errorf("life %d: event %s came %d times", life, n, times)
				}
				if handled[n]++; handled[n] > 1 {
					repeated++
				}
			}
		}
		if len(handled) != all {
			t.Errorf("%d events were handled, want %d", len(handled), all)
		}
		if repeated == 0 {
			t.Error("no event came again: this test crashes nothing")
		}
	})
}

func TestOneThatLostItsNameEndsTheContextsOfItsMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1))
		old := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		msg := <-subscribe(t, old, annotations)
		s.Expire("subscriber-books")
		next := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		again := <-subscribe(t, next, annotations)
		settle(10 * time.Second)
		if !ended(msg.Context()) || again.UUID != msg.UUID {
			t.Errorf("the successor has %s, and the context of %s goes on", again.UUID, msg.UUID)
		}
		msg.Ack()
		again.Ack()
		settle(time.Second)
		if err := old.Err(); err != nil {
			t.Errorf("it waits for its name, and is told %v", err)
		}
	})
}
