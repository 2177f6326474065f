package subscribers

import (
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/projections"
)

// metrics are the coordinator's counters. Reading them is cheap and needs no lock.
type metrics struct {
	commits, events, bytes, refused, stale atomic.Int64
	ackNanos                               atomic.Int64
	snapshots                              atomic.Int64
	turn, ack                              slowest
}

// slowest is the longest of some durations: of all, and of those while a snapshot was being written.
type slowest struct{ all, snapshot atomic.Int64 }

// note is called by one goroutine.
func (s *slowest) note(d time.Duration, snapshot bool) {
	if n := int64(d); n > s.all.Load() {
		s.all.Store(n)
	}
	if n := int64(d); snapshot && n > s.snapshot.Load() {
		s.snapshot.Store(n)
	}
}

func (x *metrics) sent(m *Machine) {
	p := m.inflight.parts[m.inflight.sent]
	x.commits.Add(1)
	x.events.Add(int64(p.n))
	x.bytes.Add(int64(len(p.data)))
	x.stale.Store(int64(m.stale)) // #nosec G115 -- a counter
}

func (x *metrics) acked(took time.Duration, snapshot bool) {
	x.ackNanos.Add(int64(took))
	x.ack.note(took, snapshot)
}

// Stats are the numbers of one coordinator since its start.
type Stats struct {
	Partition   int
	Phase       Phase
	Sequence    uint64        // of the last message known to be stored
	Commits     int64         // sent
	Events      int64         // in them
	Bytes       int64         // of them, before compression
	Refused     int64         // submissions refused as too many
	Stale       int64         // reports that came too late to count
	AckWait     time.Duration // all waits for an acknowledgement together
	SlowestAck  time.Duration // the longest wait for an acknowledgement
	SlowestTurn time.Duration // the longest time from waking up to having sent what there was
	// The same while a snapshot was being written.
	SnapshotAck, SnapshotTurn time.Duration
	Snapshots                 int64 // written
	Live                      int64 // tasks in memory
	Held                      int64 // ready steps that wait for a slot
	Queued                    int64 // submissions, commands and queries that wait for their turn
	Timers                    int64 // tasks that wait for a time
	// Tasks by state; Failed are those that have not expired.
	Pending, InProgress, Failed int64
}

// count notes how many tasks there are.
func (c *Coordinator) count(n projections.Counts) {
	c.tasks[0].Store(int64(n.Pending))
	c.tasks[1].Store(int64(n.InProgress))
	c.tasks[2].Store(int64(n.Failed))
}

// Stats returns the numbers as they are now.
func (c *Coordinator) Stats() Stats {
	phase, _ := c.Phase()
	return Stats{
		Partition: c.Partition, Phase: phase, Sequence: c.reached.Load(),
		Commits: c.metrics.commits.Load(), Events: c.metrics.events.Load(), Bytes: c.metrics.bytes.Load(),
		Refused: c.metrics.refused.Load(), Stale: c.metrics.stale.Load(),
		AckWait: time.Duration(c.metrics.ackNanos.Load()), Live: c.live.Load(), Held: c.held.Load(),
		SlowestAck: time.Duration(c.metrics.ack.all.Load()), SnapshotAck: time.Duration(c.metrics.ack.snapshot.Load()),
		SlowestTurn: time.Duration(c.metrics.turn.all.Load()), SnapshotTurn: time.Duration(c.metrics.turn.snapshot.Load()),
		Snapshots: c.metrics.snapshots.Load(), Queued: c.queued.Load(), Timers: c.timers.Load(),
		Pending: c.tasks[0].Load(), InProgress: c.tasks[1].Load(), Failed: c.tasks[2].Load(),
	}
}
