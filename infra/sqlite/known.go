package sqlite

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections/index"
)

// known is how far the file has come, and who waits for more.
type known struct {
	mu      sync.Mutex
	data    string
	marks   map[int]index.Mark
	changed chan struct{} // closed when marks have changed
	wanted  int           // how many wait
	wake    chan struct{} // tells the follower that somebody does
}

func (k *known) set(data string, marks map[int]index.Mark) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data, k.marks = data, marks
	k.tell()
}

// tell is called with the lock held.
func (k *known) tell() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

func (k *known) advance(marks map[int]index.Mark) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.marks = maps.Clone(k.marks)
	maps.Copy(k.marks, marks)
	k.tell()
}

func (k *known) cursor() domain.Cursor {
	k.mu.Lock()
	defer k.mu.Unlock()
	return cursorOf(k.data, k.marks)
}

func cursorOf(data string, marks map[int]index.Mark) domain.Cursor {
	c := domain.Cursor{DataID: data, Sequences: make(map[int]uint64, len(marks))}
	for p, m := range marks {
		c.Sequences[p] = m.Sequence
	}
	return c
}

// wakes is the channel on which a follower hears of those who wait.
func (k *known) wakes() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wake == nil {
		k.wake = make(chan struct{}, 1)
	}
	return k.wake
}

func (k *known) isWanted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wanted > 0
}

// Covered is what of the log the file has, as of now.
func (x *Index) Covered() domain.Cursor { return x.known.cursor() }

// WaitFor returns when the index has the commit at the position. *index.BehindError when ctx ends first; who does not run Follow
// waits for ever.
func (x *Index) WaitFor(ctx context.Context, p domain.Position) error {
	k := &x.known
	k.mu.Lock()
	k.wanted++
	if k.wake == nil {
		k.wake = make(chan struct{}, 1)
	}
	for k.marks[p.Partition].Sequence < p.Sequence {
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		select {
		case k.wake <- struct{}{}:
		default:
		}
		k.mu.Unlock()
		select {
		case <-changed:
			k.mu.Lock()
		case <-ctx.Done():
			k.mu.Lock()
			k.wanted--
			defer k.mu.Unlock()
			return &index.BehindError{Position: p, Covered: cursorOf(k.data, k.marks)}
		}
	}
	k.wanted--
	k.mu.Unlock()
	return nil
}

// ahead is what the log is known to have behind what the file has.
type ahead struct {
	mu    sync.Mutex
	last  map[int]uint64    // of each partition
	since map[int]time.Time // when the oldest message that the file does not have was stored, as far as is known
}

// heard notes that a message, or the end of the log, is at a sequence.
func (a *ahead) heard(partition int, sequence, covered uint64, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last, a.since = map[int]uint64{}, map[int]time.Time{}
	}
	a.last[partition] = max(a.last[partition], sequence)
	if _, has := a.since[partition]; !has && sequence > covered {
		a.since[partition] = at
	}
}

// applied notes that the file has come to the marks; oldest is of each partition the time of the oldest message that was read
// and is not in the file.
func (a *ahead) applied(marks map[int]index.Mark, oldest map[int]time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range marks {
		if at, waits := oldest[p]; waits {
			a.since[p] = at
		} else {
			delete(a.since, p)
		}
	}
}

func (a *ahead) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.since = nil, nil
}

// lag is what an answer that covers the marks says of itself.
func (a *ahead) lag(data string, marks map[int]index.Mark, now time.Time) index.Lag {
	a.mu.Lock()
	defer a.mu.Unlock()
	lag := index.Lag{Covered: cursorOf(data, marks).String()}
	for p, last := range a.last {
		if covered := marks[p].Sequence; last > covered {
			lag.Commits += last - covered
			if since, ok := a.since[p]; ok {
				lag.Behind = max(lag.Behind, now.Sub(since))
			}
		}
	}
	return lag
}

// Lag says how far behind the log the file is, as far as is known: Follow asks the log once a second.
func (x *Index) Lag(context.Context) index.Lag {
	x.known.mu.Lock()
	data, marks := x.known.data, x.known.marks
	x.known.mu.Unlock()
	return x.ahead.lag(data, marks, x.options.Clock())
}

func (k *known) total() (n uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.marks {
		n += m.Sequence
	}
	return n
}

func (a *ahead) total() (n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, last := range a.last {
		n += last
	}
	return n
}
