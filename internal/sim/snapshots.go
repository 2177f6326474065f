package sim

import (
	"bytes"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// kept is a stored snapshot.
type kept struct {
	sequence uint64
	id       string
	data     []byte
	spoiled  bool
}

// freezing is a snapshot that is being written.
type freezing struct {
	frozen *projections.Frozen
	ready  bool // what it names is stored
	moved  bool // what it names is stored somewhere else
}

// snapshot begins one, or goes on with the one that has begun; the owner works on meanwhile.
func (p *process) snapshot() {
	if p.w.cfg.Fault == SnapshotShort {
		p.beginShort()
		return
	}
	if f := p.frozen; f != nil {
		if !f.ready {
			return
		}
		p.frozen = nil
		if f.moved {
			p.m.State().Thaw(f.frozen)
			return
		}
		var b bytes.Buffer
		if _, err := f.frozen.WriteTo(&b); err != nil {
			failf("%v", err)
		}
		lowest := f.frozen.LowestReference()
		p.m.State().Thaw(f.frozen)
		p.w.keep(kept{sequence: f.frozen.Sequence, id: f.frozen.CommitID, data: b.Bytes()}, lowest)
		return
	}
	sequence, id, at, ok := p.m.NewestSent()
	if !ok || id == "" {
		return
	}
	frozen, err := p.m.State().Freeze(sequence, id, at)
	if err != nil {
		failf("%v", err)
	}
	f := &freezing{frozen: frozen}
	p.frozen = f
	p.m.AfterNewest(func(err error) { f.ready, f.moved = err == nil, p.m.State().Sequence != sequence })
}

// beginShort and shortSnapshot are the mistake of SnapshotShort: the state before a commit is kept under its name.
func (p *process) beginShort() {
	sequence, id, at, ok := p.m.NewestSent()
	if !ok || id == "" || p.under != "" {
		return
	}
	p.short = written(p.m.State(), sequence, id, at)
}

func (p *process) shortSnapshot() {
	if p.short == nil {
		return
	}
	state, err := projections.ReadSnapshot(p.short)
	if err != nil {
		failf("%v", err)
	}
	p.short = nil
	now := p.m.State()
	p.w.keep(kept{sequence: now.Sequence, id: now.CommitID, data: written(state, now.Sequence, now.CommitID, now.At)}, 0)
}

func written(state *projections.Partition, sequence uint64, id string, at domain.Instant) []byte {
	frozen, err := state.Freeze(sequence, id, at)
	if err != nil {
		failf("%v", err)
	}
	var b bytes.Buffer
	if _, err := frozen.WriteTo(&b); err != nil {
		failf("%v", err)
	}
	state.Thaw(frozen)
	return b.Bytes()
}

// keep stores a snapshot, spoils one now and then, deletes old ones and trims the log, as the keeper does. One of the two
// that stay is always good.
func (w *world) keep(s kept, lowest uint64) {
	w.report.Snapshots++
	if len(w.snapshots) > 0 && w.snapshots[0].sequence == s.sequence {
		return
	}
	if w.tracing {
		w.tracef("snapshot at %d, %d bytes", s.sequence, len(s.data))
	}
	w.snapshots = append([]kept{s}, w.snapshots[:min(len(w.snapshots), 1)]...)
	if len(w.snapshots) < 2 {
		return
	}
	if w.faulty && w.rng.IntN(4) == 0 && !w.snapshots[1].spoiled {
		w.spoil(&w.snapshots[0])
	}
	if w.snapshots[1].spoiled && w.snapshots[0].spoiled {
		failf("the simulation spoils too much")
	}
	limit := w.snapshots[1].sequence
	if lowest != 0 {
		limit = min(limit, lowest)
	}
	if limit > w.log.first && w.rng.IntN(3) > 0 {
		w.log.first += uint64(w.rng.Int64N(int64(limit - w.log.first + 1)))
		if w.tracing {
			w.tracef("log is trimmed: it begins at %d", w.log.first)
		}
	}
}

// spoil tears or damages a snapshot.
func (w *world) spoil(s *kept) {
	s.spoiled = true
	s.data = bytes.Clone(s.data)
	if w.rng.IntN(2) == 0 {
		s.data = s.data[:w.rng.IntN(len(s.data))]
		return
	}
	s.data[w.rng.IntN(len(s.data))] ^= 1 << w.rng.IntN(8)
}

// load folds the newest good snapshot and the log behind it, as Coordinator.load does.
func (w *world) load() *projections.Partition {
	var state *projections.Partition
	for i := range w.snapshots {
		s := &w.snapshots[i]
		if s.sequence+1 < w.log.first {
			continue
		}
		if m, ok := w.log.at(s.sequence); ok && m.id != s.id {
			continue // it names a message that was moved: it is not of this log
		}
		loaded, err := projections.ReadSnapshot(s.data)
		if (err != nil) != s.spoiled {
			failf("snapshot at %d, spoiled %v: %v", s.sequence, s.spoiled, err)
		}
		if err == nil {
			state = loaded
			break
		}
		w.report.Fallbacks++
	}
	if state == nil {
		if w.log.first > 1 {
			failf("the log begins at %d and no snapshot reaches it", w.log.first)
		}
		state = projections.NewPartition(0)
	}
	for n := state.Sequence + 1; n <= w.log.last(); n++ {
		m := w.log.messages[n-1]
		if m.id == "" {
			state.Sequence = n
			continue
		}
		if err := state.Apply(m.commit); err != nil {
			failf("commit %s at %d cannot be folded: %v", m.id, n, err)
		}
	}
	w.checkSame(state, false) // a snapshot and the log behind it give what the whole log gives
	return state
}
