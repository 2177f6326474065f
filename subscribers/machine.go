package subscribers

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// Machine is the coordinator without I/O: one partition's state, the reactors, and the commits that inputs become. It
// never waits and never reads a clock, so that the simulation drives it as the coordinator does:
//
//	inputs (Submit, Do, Report, Tick, Resume ...)  ->  events in the open batch
//	Next()                                          ->  what to append now, at most one message at a time
//	Stored(sequence)                                ->  releases the effects of that message
//
// Effects are answers to callers and notifications of subscribers. None leaves before the message that it rests on is
// stored (DESIGN 1.2). One goroutine uses a Machine.
type Machine struct {
	state    *projections.Partition
	writer   string
	reactors []Reactor
	alarms   []Alarm
	holders  []Holder
	subs     []Subscriber
	reacts   map[domain.EventType]uint64 // by type: which reactors to ask
	told     map[domain.EventType]uint64 // by type: which subscribers to tell

	stored   uint64 // sequence of the last message known to be stored
	commits  uint64 // batches opened
	open     *batch // gathers events
	inflight *batch // is being appended
	spare    *batch
	alerts   alarmHeap
	sweepAt  int // length of alerts
	armed    int // entries that are armed
	recent   recentTasks
	waiting  map[domain.TaskID]waiters // for the end of a live task

	dirty    uint64 // reactors to ask about the task in hand
	events   []domain.Event
	commands []domain.Command
	stale    uint64
	unclear  func(*domain.Task)
	moments  bool   // Committed.Before is wanted
	tap      Tap    // nil = nobody
	watch    *watch // nil while nobody wants to know of wake-ups that come to nothing
	maxKeys  int
	window   time.Duration // in which the key of an ended task is known; 0 = for ever
	limit    int           // of a message's bytes
	clock    domain.Instant
}

// MachineConfig is what a Machine is made of.
type MachineConfig struct {
	State       *projections.Partition // loaded up to its Sequence
	Writer      string                 // short and unique per taking over; commit ids begin with it
	Reactors    []Reactor              // asked in this order; at most 64
	Subscribers []Subscriber           // told in this order; at most 64
	// MaxKeys is how many idempotency keys of ended tasks are remembered; then keyed submissions are refused. 0 = no limit.
	MaxKeys int
	// Idempotency is how long after a task's end its key is known; 0 = for ever.
	Idempotency time.Duration
	// Unclear is told of a task whose status is "unclear"; nil = nobody.
	Unclear func(*domain.Task)
	// Moments fills Committed.Before in.
	Moments bool
	// Tap is told of everything; nil = nobody.
	Tap Tap
	// CommitBytes is where a message ends and the next part of a large input begins; default MaxCommitBytes.
	CommitBytes int
}

// NewMachine makes the machine of a partition that has been loaded. Open is its first input.
func NewMachine(c MachineConfig) *Machine {
	m := &Machine{
		state: c.State, writer: c.Writer, reactors: c.Reactors, subs: c.Subscribers,
		reacts: map[domain.EventType]uint64{}, told: map[domain.EventType]uint64{},
		stored: c.State.Sequence, unclear: c.Unclear, tap: c.Tap, recent: newRecentTasks(),
		waiting: map[domain.TaskID]waiters{}, limit: c.CommitBytes,
		window: c.Idempotency, moments: c.Moments,
	}
	if m.limit == 0 {
		m.limit = MaxCommitBytes
	}
	for i, r := range c.Reactors {
		for _, t := range r.ReactsTo() {
			m.reacts[t] |= 1 << i
		}
		if a, ok := r.(Alarm); ok {
			m.alarms = append(m.alarms, a)
		}
		if h, ok := r.(Holder); ok {
			m.holders = append(m.holders, h)
		}
	}
	for i, s := range c.Subscribers {
		for _, t := range s.SubscribesTo() {
			m.told[t] |= 1 << i
		}
	}
	if m.maxKeys = c.MaxKeys; m.maxKeys == 0 {
		m.maxKeys = math.MaxInt
	}
	m.open = newBatch()
	m.spare = newBatch()
	m.sweepAt = sweepFrom
	return m
}

// Open is the first input after loading: it says who writes now, ends what the predecessor was running, and lets
// every reactor look at every task, so that whatever a crash left half done is finished.
func (m *Machine) Open(engine string, leastReader int, now domain.Instant) {
	m.append(domain.PartitionOpened{Writer: m.writer, Engine: engine, LeastReader: leastReader}, now)
	entries := make([]*projections.Entry, 0, m.state.LiveCount())
	for e := range m.state.Tasks() {
		entries = append(entries, e)
	}
	sort.Slice(entries, func(i, j int) bool {
		a, b := entries[i].Task, entries[j].Task
		return string(a.ID[:]) < string(b.ID[:])
	})
	lost := domain.StepError{Kind: domain.KindWorkerLost, Message: "the process that ran it is gone"}
	for _, e := range entries {
		if e.Frozen != nil {
			continue
		}
		for _, x := range e.Task.Running() {
			m.must(e, domain.FailStep{Step: x.Step, Attempt: x.Attempt, Error: lost}, domain.ByEngine, now)
		}
		m.dirty = m.allReactors()
		m.settle(e, now)
		m.arm(e)
	}
	m.Watch(now)
}

func (m *Machine) allReactors() uint64 { return 1<<len(m.reactors) - 1 }

// Submit creates a task, or answers with the one that its id names already.
func (m *Machine) Submit(def *domain.Definition, cmd domain.CreateTask, now domain.Instant, reply func(Answer)) {
	if m.submitted(cmd, now, reply) {
		return
	}
	if cmd.ID.Keyed() && m.state.Ended.KeyedLen() >= m.maxKeys {
		reply(Answer{Task: cmd.ID, Err: ErrTooManyKeys})
		return
	}
	e, err := m.create(def, &cmd, now)
	if err != nil {
		reply(Answer{Task: cmd.ID, Err: err})
		return
	}
	m.settle(e, now)
	m.answer(Answer{Task: cmd.ID, Created: true, Position: m.position(e)}, reply)
}

// submitted answers a submission whose id is known: live, failed, or ended within the idempotency window. A key whose
// window has passed is unknown at once, not only when it is swept.
func (m *Machine) submitted(cmd domain.CreateTask, now domain.Instant, reply func(Answer)) bool {
	a := Answer{Task: cmd.ID}
	var input uint32
	if e := m.state.Find(cmd.ID); e != nil {
		a.Position, input = m.position(e), e.Task.InputHash
		m.retire(e)
	} else if ended, ok := m.state.Ended.Get(cmd.ID); ok && (!cmd.ID.Keyed() || now <= m.keptUntil(ended)) {
		a.Position, input = domain.Position{Partition: m.state.Number, Sequence: ended.Last}, ended.Input
	} else {
		return false
	}
	if input != cmd.InputHash {
		a.Err = ErrIdempotencyMismatch
	}
	m.answer(a, reply)
	return true
}

// keptUntil is the end of the idempotency window of a task that has ended.
func (m *Machine) keptUntil(x projections.EndedTask) domain.Instant {
	if m.window <= 0 {
		return math.MaxInt64
	}
	return x.At.Add(m.window)
}

// Do applies an operator's verb.
func (m *Machine) Do(id domain.TaskID, cmd domain.Command, by domain.Actor, now domain.Instant, reply func(Answer)) {
	e := m.state.Find(id)
	if e == nil {
		m.doEnded(id, cmd, by, now, reply)
		return
	}
	a := Answer{Task: id}
	if e.Frozen != nil {
		a.Err = &FrozenError{id, e.Frozen.TypeName, e.Frozen.Version}
	} else {
		before := changeOf(e.Task, cmd)
		a.Changed, a.Err = m.decide(e, cmd, by, now)
		a.Change = before.then(e.Task, cmd)
		m.settle(e, now)
	}
	a.Position = m.position(e)
	if !a.Changed {
		m.retire(e) // a failed task that was only looked at
	}
	m.answer(a, reply)
}

// doEnded answers a verb for a task that is not in memory. A note may still be added; everything else would be
// refused by the law, which has to be asked with the task as the log has it: errEnded says so to the coordinator.
func (m *Machine) doEnded(id domain.TaskID, cmd domain.Command, by domain.Actor, now domain.Instant, reply func(Answer)) {
	ended, ok := m.state.Ended.Get(id)
	if !ok {
		reply(Answer{Task: id, Err: ErrTaskNotFound})
		return
	}
	a := Answer{Task: id, Position: domain.Position{Partition: m.state.Number, Sequence: ended.Last}, Err: errEnded}
	if note, ok := cmd.(domain.AnnotateTask); ok {
		a.Err, a.Changed = nil, true
		m.putRecord(domain.Record{Event: note.Event(), By: by, Task: id, Prev: ended.Last}, nil, now)
		ended, _ = m.state.Ended.Get(id)
		a.Position.Sequence = ended.Last
		m.recent.touch(id, ended.Last)
	}
	m.answer(a, reply)
}

// Report applies what a handler reported. It is acknowledged in any case; a stale one is counted.
func (m *Machine) Report(id domain.TaskID, cmd domain.Command, now domain.Instant) {
	e := m.state.Live(id)
	if e == nil || e.Frozen != nil {
		m.stale++
		return
	}
	if _, err := m.decide(e, cmd, "", now); err != nil {
		m.stale++
		return
	}
	m.settle(e, now)
}

// Confirm is Report for what the handler waits for: reply comes when it is stored, with domain.ErrStale when the
// execution is not the current one any more.
func (m *Machine) Confirm(id domain.TaskID, cmd domain.Command, now domain.Instant, reply func(Answer)) {
	a := Answer{Task: id, Err: domain.ErrStale}
	e := m.state.Live(id)
	if e == nil || e.Frozen != nil {
		m.stale++
		reply(a)
		return
	}
	if a.Changed, a.Err = m.decide(e, cmd, "", now); a.Err != nil {
		m.stale++
	}
	m.settle(e, now)
	a.Position = m.position(e)
	m.answer(a, reply)
}

// expireBatch is how many failed tasks one call of Expire looks at.
const expireBatch = 4096

// Expire gives up failed tasks that nobody has reopened since then: a few thousand at a time, so that it never holds its
// caller up. Call it every second.
func (m *Machine) Expire(failedBefore, now domain.Instant) {
	for _, id := range m.state.FailedBefore(failedBefore, expireBatch) {
		if m.Full() {
			return // the next round comes to the rest
		}
		m.must(m.state.Find(id), domain.ExpireTask{}, domain.ByEngine, now)
	}
}

// Stale is the number of reports that came too late to count.
func (m *Machine) Stale() uint64 { return m.stale }

// Tick lets the reactors look at every task whose wake-up is due, as long as their events go into one message; the others
// are still due then.
func (m *Machine) Tick(now domain.Instant) {
	m.missedWakes(now)
	for !m.Full() {
		e, ok := m.alerts.due(now)
		if !ok {
			return
		}
		if m.state.Live(e.Task.ID) != e || e.Frozen != nil {
			m.disarm(e)
			continue
		}
		m.disarm(e)
		m.dirty = m.allReactors()
		m.settle(e, now)
		if w := m.wakeAt(e.Task); w != 0 && w <= now {
			panic(fmt.Sprintf("task %s is due and nothing happens to it", e.Task.ID))
		}
		m.arm(e)
	}
}

// NextWake is when Tick has something to do; 0 = never.
func (m *Machine) NextWake() domain.Instant { return m.watch.first(m.alerts.next(m.state)) }

// Resume lets the holders go on when slots are free.
func (m *Machine) Resume(now domain.Instant) {
	find := func(id domain.TaskID) *domain.Task {
		if e := m.state.Live(id); e != nil && e.Frozen == nil {
			return e.Task
		}
		return nil
	}
	for _, h := range m.holders {
		if h.Held() == 0 {
			continue
		}
		h.Resume(now, find, func(t *domain.Task, cmd domain.Command) {
			e := m.state.Live(t.ID)
			m.must(e, cmd, "", now)
			m.settle(e, now)
		})
	}
}

// Held is how much work waits for slots.
func (m *Machine) Held() int {
	n := 0
	for _, h := range m.holders {
		n += h.Held()
	}
	return n
}

// decide runs one command and appends the events that it leads to.
func (m *Machine) decide(e *projections.Entry, cmd domain.Command, by domain.Actor, now domain.Instant) (bool, error) {
	events, err := domain.Decide(e.Task, cmd, now, m.events[:0])
	m.events = events[:0]
	if err != nil {
		return false, err
	}
	for _, ev := range events {
		m.appendTask(e.Task.ID, e, ev, by, now)
	}
	return len(events) > 0, nil
}

// must is decide for commands of the engine itself, which the law never refuses.
func (m *Machine) must(e *projections.Entry, cmd domain.Command, by domain.Actor, now domain.Instant) {
	if _, err := m.decide(e, cmd, by, now); err != nil {
		panic(fmt.Sprintf("command %T of the engine was refused: %v", cmd, err))
	}
}

// settle asks the reactors about the task until none has anything to say. Each is asked again only after an event
// that it declares.
func (m *Machine) settle(e *projections.Entry, now domain.Instant) {
	m.state.Own(e)
	limit := 16*len(e.Task.Steps) + 256
	for rounds := 0; m.dirty != 0; {
		for i, r := range m.reactors {
			bit := uint64(1) << i
			if m.dirty&bit == 0 {
				continue
			}
			m.dirty &^= bit
			commands := r.React(e.Task, now, m.commands[:0])
			m.commands = commands[:0]
			for _, cmd := range commands {
				m.must(e, cmd, "", now)
			}
			if len(commands) > 0 {
				if rounds++; rounds > limit {
					panic(fmt.Sprintf("task %s never settles: reactor %s goes on", e.Task.ID, r.Name()))
				}
				break // the first reactor comes first again
			}
		}
	}
	if (m.unclear != nil || m.tap != nil) && e.Task.Status() == domain.StatusUnclear {
		m.reportUnclear(e, now)
	}
}

func (m *Machine) position(e *projections.Entry) domain.Position {
	return domain.Position{Partition: m.state.Number, Sequence: e.Task.Last}
}

func (m *Machine) commitID() string {
	m.commits++
	return m.writer + "-" + strconv.FormatUint(m.commits, 36)
}

// Now is the engine's one clock: the wall's, but it never goes back, nor before the partition's last commit.
func (m *Machine) Now(wall domain.Instant) domain.Instant {
	m.clock = max(wall, m.clock, m.state.At)
	return m.clock
}

// NewestSent is the last message that has been handed to the log, stored or under way, and its time: what a snapshot of
// the state as it is now names. false while events wait that no message holds yet.
func (m *Machine) NewestSent() (sequence uint64, commitID string, at domain.Instant, ok bool) {
	if !m.open.empty() {
		return 0, "", 0, false
	}
	if b := m.inflight; b != nil {
		last := b.parts[len(b.parts)-1]
		if last.id == "" {
			last.id = m.commitID()
		}
		return last.base, last.id, max(m.state.At, b.at), true
	}
	return m.stored, m.state.CommitID, m.state.At, true
}

// State is the partition's state; it runs ahead of the log by the open and the in-flight batch.
func (m *Machine) State() *projections.Partition { return m.state }
