package projections

import (
	"fmt"
	"iter"
	"maps"
	"sync/atomic"

	"github.com/tasker-go/tasker/domain"
)

// Partition is the fold of one partition's log: its live tasks, its failed tasks, which ended tasks there were, and the
// definitions that they need. The owner's coordinator folds its own commits into it as it makes them; loading folds
// the stored ones. One goroutine uses it.
type Partition struct {
	Number   int
	Sequence uint64         // of the last commit folded
	CommitID string         // of that commit
	At       domain.Instant // its time

	live        map[domain.TaskID]*Entry
	states      [domain.ResolvedManually + 1]int // of live, by state
	failed      map[domain.TaskID]*FailedTask
	definitions map[string]*domain.Definition
	skipped     map[uint64]bool
	Ended       *Ended

	// The same tasks as in the maps, for Freeze to copy at once.
	entries  bag[*Entry]
	failures bag[*FailedTask]
	frozen   int // entries that are frozen
	sweep    int // where FailedBefore goes on

	// epoch counts snapshots; an entry of an older epoch is copied before it changes while one is being written.
	epoch   uint32
	sharing bool
	copied  []*Entry // since Freeze
	stale   []*Entry // copied before Thaw: shared is to be brought up to date before the next Freeze
}

// Entry is a task in memory.
type Entry struct {
	Task  *domain.Task
	Armed domain.Instant // the wake-up that is set for it; the coordinator's
	epoch uint32
	place int // in Partition.entries
	// shared is the task as a snapshot sees it: Task, or what it was before it was copied.
	shared atomic.Pointer[domain.Task]
	// Frozen: an event that this version cannot read; nothing happens to the task any more.
	Frozen *domain.Unknown
}

// FailedTask is a task in error, packed: it stays until somebody retries, resolves or cancels it.
type FailedTask struct {
	ID     domain.TaskID
	Last   uint64 // sequence of its newest commit
	At     domain.Instant
	packed []byte

	reference uint64 // domain.Task.LowestReference
	place     int    // in Partition.failures
}

// NewPartition is the state of an empty log.
func NewPartition(number int) *Partition {
	return &Partition{
		Number:      number,
		live:        map[domain.TaskID]*Entry{},
		failed:      map[domain.TaskID]*FailedTask{},
		definitions: map[string]*domain.Definition{},
		skipped:     map[uint64]bool{},
		Ended:       NewEnded(),
	}
}

// Apply folds a stored commit: replay. It is the live path of the coordinator without the coordinator: Fold for every
// record, then Retire for every task that the commit touched.
func (p *Partition) Apply(c domain.Commit) error { return p.Replay(c, nil) }

// Replay is Apply that tells of every record as it is folded, with the task that it is about; nil when that is not in
// memory, or there is none. The task is only valid during the call.
func (p *Partition) Replay(c domain.Commit, tell func(domain.Record, *domain.Task)) error {
	var last *Entry
	for _, r := range c.Records {
		e, err := p.Fold(r)
		if err != nil {
			return fmt.Errorf("event %s: %w", r.ID(), err)
		}
		if tell != nil {
			var t *domain.Task
			if e != nil {
				t = e.Task
			}
			tell(r, t)
		}
		if e != last && last != nil {
			p.Retire(last)
		}
		last = e
	}
	if last != nil {
		p.Retire(last)
	}
	p.Sequence, p.CommitID, p.At = c.Sequence, c.ID, c.At
	return nil
}

// Fold applies one record to the state and returns the task that it was about, or nil. It is called with records in
// the order of the log, by the live path before they are stored and by Apply after.
func (p *Partition) Fold(r domain.Record) (*Entry, error) {
	switch e := r.Event.(type) {
	case domain.DefinitionAdopted:
		if _, ok := p.definitions[e.Hash]; ok {
			return nil, nil
		}
		def, err := e.Definition()
		if err != nil {
			return nil, err
		}
		p.definitions[e.Hash] = def.Under(e.Hash)
		return nil, nil
	case domain.PartitionSkipped:
		p.skipped[e.Sequence] = true
		return nil, nil
	case domain.PartitionOpened:
		return nil, nil
	case domain.TaskCreated:
		if entry := p.find(r.Task); entry != nil {
			return entry, nil
		}
		def, ok := p.definitions[e.Definition]
		if !ok {
			return nil, fmt.Errorf("task %s was created from definition %s, which this partition never adopted", r.Task, e.Definition)
		}
		entry := p.enter(domain.NewTask(r, def))
		entry.Task.Touch(r.Position.Sequence)
		return entry, nil
	case domain.Unknown:
		if r.Task.IsZero() {
			return nil, fmt.Errorf("fact %q (version %d) is about the whole partition and needs a newer version of tasker", e.TypeName, e.Version)
		}
		if entry := p.find(r.Task); entry != nil {
			if entry.Frozen == nil {
				p.frozen++
			}
			entry.Frozen = &e
			p.Own(entry)
			entry.Task.Touch(r.Position.Sequence)
			return entry, nil
		}
		return nil, nil
	case domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskCompleted, domain.TaskFailed,
		domain.TaskRetryRequested, domain.TaskCancelled, domain.TaskResolvedManually, domain.TaskPaused, domain.TaskResumed,
		domain.TaskAnnotated, domain.StepInherited, domain.StepExecutionRequested, domain.StepCompleted, domain.StepFailed, domain.StepRetryRequested,
		domain.StepCancelled, domain.StepResolvedManually, domain.StepSkipped, domain.TaskExpired,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom:
		entry := p.find(r.Task)
		if entry == nil {
			// Of a task that has ended: it stays as it is, but its history goes on.
			if ended, ok := p.Ended.Get(r.Task); ok {
				ended.Last = r.Position.Sequence
				p.Ended.Add(r.Task, ended)
			}
			return nil, nil
		}
		p.Own(entry)
		p.states[entry.Task.State]--
		domain.Evolve(entry.Task, r)
		p.states[entry.Task.State]++
		entry.Task.Touch(r.Position.Sequence)
		return entry, nil
	case domain.Signal: // is never stored
	}
	return nil, nil
}

// Own makes sure that no snapshot that is being written shares the task. Whoever changes a task calls it first.
func (p *Partition) Own(e *Entry) {
	if len(p.stale) > 0 {
		p.refresh(64) // a few at a time, so that Thaw does not hold its caller up
	}
	if p.sharing && e.epoch != p.epoch {
		e.Task = e.Task.Clone()
		e.epoch = p.epoch
		p.copied = append(p.copied, e)
	}
}

// enter takes a task into memory.
func (p *Partition) enter(t *domain.Task) *Entry {
	e := &Entry{Task: t, epoch: p.epoch}
	e.shared.Store(t)
	p.live[t.ID] = e
	p.states[t.State]++
	p.entries.add(e)
	return e
}

// find returns the task in memory, unpacking a failed one.
func (p *Partition) find(id domain.TaskID) *Entry {
	if e, ok := p.live[id]; ok {
		return e
	}
	f, ok := p.failed[id]
	if !ok {
		return nil
	}
	delete(p.failed, id)
	p.failures.remove(f)
	return p.enter(p.unpack(f))
}

// Find returns the entry of a task that is live or failed, nil when there is none. A failed one comes back into
// memory until Retire is called for it again.
func (p *Partition) Find(id domain.TaskID) *Entry { return p.find(id) }

// Live returns the entry of a task in memory, or nil.
func (p *Partition) Live(id domain.TaskID) *Entry { return p.live[id] }

// LiveCount is the number of tasks in memory, FailedCount of those in error outside it.
func (p *Partition) LiveCount() int { return len(p.live) }

// FailedCount is the number of failed tasks.
func (p *Partition) FailedCount() int { return len(p.failed) }

// Counts are how many tasks there are of those that have not ended.
type Counts struct {
	Pending, InProgress int
	Failed              int // in error, in memory or packed
}

// Counts costs nothing.
func (p *Partition) Counts() Counts {
	return Counts{
		Pending: p.states[domain.Pending], InProgress: p.states[domain.InProgress],
		Failed: p.states[domain.Error] + len(p.failed),
	}
}

// Tasks lists the tasks in memory, in no order.
func (p *Partition) Tasks() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, e := range p.live {
			if !yield(e) {
				return
			}
		}
	}
}

// FailedTasks lists the failed tasks: id and the sequence of the newest commit of each.
func (p *Partition) FailedTasks() iter.Seq2[domain.TaskID, uint64] {
	return func(yield func(domain.TaskID, uint64) bool) {
		for id, f := range p.failed {
			if !yield(id, f.Last) {
				return
			}
		}
	}
}

// FailedBefore looks at up to n of the failed tasks, going on where the last call stopped, and returns those that failed
// before then: what error_retention gives up.
func (p *Partition) FailedBefore(then domain.Instant, n int) []domain.TaskID {
	var old []domain.TaskID
	for n = min(n, len(p.failures)); n > 0; n-- {
		p.sweep = (p.sweep + 1) % len(p.failures)
		if f := p.failures[p.sweep]; f.At < then {
			old = append(old, f.ID)
		}
	}
	return old
}

// Retire lets a task leave memory when it has ended or failed. The live path calls it when the commit that says so
// has been acknowledged. A cancelled task stays until all its steps are over: they may be in the next part of a commit
// that was split, and if that was never stored the owner has to end them.
func (p *Partition) Retire(e *Entry) {
	t := e.Task
	if t.State.Live() || t.Unfinished() || e.Frozen != nil {
		return
	}
	if _, ok := p.live[t.ID]; !ok {
		return
	}
	delete(p.live, t.ID)
	p.states[t.State]--
	p.entries.remove(e)
	if t.Over() {
		p.Ended.Add(t.ID, EndedTask{Last: t.Last, Input: t.InputHash, At: t.EndedAt})
		return
	}
	p.fail(t, packTask(t))
}

// fail keeps a failed task packed.
func (p *Partition) fail(t *domain.Task, packed []byte) {
	f := &FailedTask{ID: t.ID, Last: t.Last, At: t.EndedAt, packed: packed, reference: t.LowestReference()}
	p.failed[t.ID] = f
	p.failures.add(f)
}

// Definition returns an adopted definition.
func (p *Partition) Definition(hash string) (*domain.Definition, bool) {
	d, ok := p.definitions[hash]
	return d, ok
}

// Definitions lists the adopted definitions by hash, in no order.
func (p *Partition) Definitions() iter.Seq2[string, *domain.Definition] {
	return maps.All(p.definitions)
}

// Skipped reports whether an operator has told readers to pass over the message.
func (p *Partition) Skipped(sequence uint64) bool { return p.skipped[sequence] }

// FrozenTasks lists the tasks that this version cannot continue.
func (p *Partition) FrozenTasks() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, e := range p.live {
			if e.Frozen != nil && !yield(e) {
				return
			}
		}
	}
}
