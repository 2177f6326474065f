package subscribers

import (
	"sync/atomic"
	"time"
)

// metrics are the coordinator's counters. Reading them is cheap and needs no lock.
type metrics struct {
	commits, events, bytes, refused, stale atomic.Int64
	ackNanos                               atomic.Int64
}

func (x *metrics) sent(m *Machine) {
	p := m.inflight.parts[m.inflight.sent]
	x.commits.Add(1)
	x.events.Add(int64(p.n))
	x.bytes.Add(int64(len(p.data)))
	x.stale.Store(int64(m.stale)) // #nosec G115 -- a counter
}

func (x *metrics) acked(took time.Duration) { x.ackNanos.Add(int64(took)) }

// Stats are the numbers of one coordinator since its start.
type Stats struct {
	Partition int
	Phase     Phase
	Sequence  uint64        // of the last message known to be stored
	Commits   int64         // sent
	Events    int64         // in them
	Bytes     int64         // of them, before compression
	Refused   int64         // submissions refused as too many
	Stale     int64         // reports that came too late to count
	AckWait   time.Duration // all waits for an acknowledgement together
	Live      int64         // tasks in memory
	Held      int64         // ready steps that wait for a slot
}

// Stats returns the numbers as they are now.
func (c *Coordinator) Stats() Stats {
	phase, _ := c.Phase()
	return Stats{
		Partition: c.Partition, Phase: phase, Sequence: c.reached.Load(),
		Commits: c.metrics.commits.Load(), Events: c.metrics.events.Load(), Bytes: c.metrics.bytes.Load(),
		Refused: c.metrics.refused.Load(), Stale: c.metrics.stale.Load(),
		AckWait: time.Duration(c.metrics.ackNanos.Load()), Live: c.live.Load(), Held: c.held.Load(),
	}
}
