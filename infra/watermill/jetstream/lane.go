package jetstream

import (
	"hash/maphash"
	"sync"
)

// lane is a queue of messages of which one is handed out at a time. It never blocks who fills it: what may be under way is
// bounded by MaxAckPending.
type lane struct {
	mu     sync.Mutex
	items  []*delivery
	closed bool
	wake   chan struct{} // holds one token
}

func newLane() *lane { return &lane{wake: make(chan struct{}, 1)} }

// push reports whether the lane still takes messages.
func (l *lane) push(d *delivery) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.items = append(l.items, d)
	l.mu.Unlock()
	l.signal()
	return true
}

func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take waits for messages and takes all that wait; nil when the lane is closed and empty. One goroutine calls it. reuse is
// the slice that it gave last.
func (l *lane) take(reuse []*delivery) []*delivery {
	clear(reuse)
	for {
		l.mu.Lock()
		if len(l.items) > 0 {
			items := l.items
			l.items = reuse[:0]
			l.mu.Unlock()
			return items
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return nil
		}
		<-l.wake
	}
}

// laneSeed differs between processes: nobody can choose keys that all meet in one lane.
var laneSeed = maphash.MakeSeed()

func laneOf(key string, lanes int) int {
	if lanes == 1 {
		return 0
	}
	return int(maphash.String(laneSeed, key) % uint64(lanes))
}
