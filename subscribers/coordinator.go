package subscribers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// Defaults and limits of a coordinator.
const (
	DefaultLeaseTTL       = 10 * time.Second
	DefaultQueue          = 4096     // submissions and commands that may wait
	DefaultMaxHeld        = 10_000   // ready steps that may wait for slots before submissions are refused
	DefaultMaxLive        = 1 << 20  // live tasks of a partition
	DefaultSnapshotBytes  = 64 << 20 // log bytes between two snapshots, at least
	DefaultRetention      = 30 * 24 * time.Hour
	DefaultErrorRetention = 30 * 24 * time.Hour
	DefaultIdempotency    = 24 * time.Hour
	DefaultMaxKeys        = 2_000_000 // of a process, shared by its partitions

	turnTime     = 2 * time.Millisecond // a turn ends after it
	ackTimeout   = time.Second          // no acknowledgement within it: the outcome is unknown
	askTimeout   = 2 * time.Second      // no answer to what became of it within it: the log is away
	stopPatience = 5 * time.Second      // of a loop that has to end while the log is away
)

// Config is what a coordinator is made of.
type Config struct {
	Partition   int
	Store       domain.Store
	Holder      string                       // this process, for leases and partition.opened
	Engine      string                       // version of the engine
	NewReactors func() []Reactor             // a fresh set for every time that the partition is loaded
	Subscribers []Subscriber                 // told after the commit
	Moments     bool                         // Committed.Before is filled in
	Tap         Tap                          // told of everything; may be nil
	Meter       Meter                        // told what commits cost; may be nil
	Abandoned   func(partition int)          // the lease is gone: contexts of handlers have to be cancelled; may be nil
	Changed     func(partition int, p Phase) // told of every change; may be nil
	Admit       func() error                 // refuses submissions, for instance when the store is nearly full; may be nil
	Cursors     func() (uint64, bool)        // the sequence that the slowest durable subscriber has reached; may be nil
	// Near is where the newest commit of a task may be, 0 = no idea; may be nil.
	Near   func(ctx context.Context, id domain.TaskID) uint64
	Clock  func() time.Time
	Logger *slog.Logger

	LeaseTTL       time.Duration
	Queue          int
	MaxHeld        int
	MaxLive        int
	SnapshotBytes  int64
	Retention      time.Duration
	ErrorRetention time.Duration // how long a failed task can be reopened; negative = for ever
	RetentionShare float64       // of the store's limit; over it the oldest commits go; default 0.8
	Idempotency    time.Duration
	MaxKeys        int // idempotency keys of ended tasks that are remembered
}

func (c *Config) defaults() {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	span := func(n *time.Duration, d time.Duration) {
		if *n == 0 {
			*n = d
		}
	}
	set(&c.Queue, DefaultQueue)
	set(&c.MaxHeld, DefaultMaxHeld)
	set(&c.MaxLive, DefaultMaxLive)
	span(&c.LeaseTTL, DefaultLeaseTTL)
	span(&c.Retention, DefaultRetention)
	span(&c.ErrorRetention, DefaultErrorRetention)
	span(&c.Idempotency, DefaultIdempotency)
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = DefaultSnapshotBytes
	}
	if c.RetentionShare == 0 {
		c.RetentionShare = 0.8
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Coordinator is the loop that owns one partition, whenever it can get it: it takes the lease, loads the state, says
// that it writes now, and turns inputs into commits until it is stopped or finds another writer's commit where its own
// should be. Its methods may be called from any goroutine; callers are answered from the coordinator's, so what they
// hand in must not block.
type Coordinator struct {
	Config
	log     domain.Log
	wake    chan struct{}
	reopen  chan struct{} // an operator has decided about what kept the partition closed
	holds   atomic.Bool   // the executor may have free slots: ask the holders
	watch   atomic.Bool   // a tap was opened: tell the machine
	reached atomic.Uint64
	reading chan struct{} // tasks that are being read from the log

	mu       sync.Mutex
	phase    Phase
	why      error // of phase Closed or Away
	requests []input
	reports  []input
	acks     []ack
	wanted   []chan keeping // snapshots asked for
	stopping bool
	gone     bool // NATS cannot be reached
	stale    bool // the lease has not been renewed for so long that nothing is answered

	queued      atomic.Int64 // requests
	held        atomic.Int64
	live        atomic.Int64
	timers      atomic.Int64
	tasks       [3]atomic.Int64 // projections.Counts
	full        atomic.Bool     // the store refuses the commit under way for want of space
	definitions sync.Map        // hash -> *domain.Definition: what has been adopted
	metrics     metrics

	// Of the last loading; the coordinator's goroutine only.
	loaded    domain.SnapshotInfo // what it began with
	replayed  int64               // bytes of the log behind it
	recovered []func()            // to call when the partition is open
}

// Phase says what a coordinator is doing.
type Phase string

// The phases.
const (
	Away    Phase = "away"    // another process owns the partition, or nobody
	Loading Phase = "loading" // has the lease, reads snapshot and log
	Owning  Phase = "owning"  // takes inputs
	Closed  Phase = "closed"  // cannot be opened until an operator acts
	Stopped Phase = "stopped"
)

// input is one thing to do on the coordinator's goroutine. refuse is called instead of do when it cannot be done.
type input struct {
	what   string
	do     func(m *Machine, now domain.Instant)
	refuse func(error)
}

// ack is an answer to an append.
type ack struct {
	commit   string
	sequence uint64
	err      error
}

// NewCoordinator makes the coordinator of one partition. Run starts it.
func NewCoordinator(c Config) *Coordinator {
	c.defaults()
	return &Coordinator{Config: c, log: c.Store.Log(c.Partition), wake: make(chan struct{}, 1), reopen: make(chan struct{}, 1), reading: make(chan struct{}, maxReading), phase: Away}
}

// Submit hands in a task. The answer comes when its first commit is stored; an error here means that nothing was
// stored: ErrNotRunning, ErrNotOwner, ErrOverloaded, ErrStoreFull, domain.ErrUnavailable.
func (c *Coordinator) Submit(def *domain.Definition, cmd domain.CreateTask, reply func(Answer)) error {
	if err := c.Admits(); err != nil {
		return err
	}
	return c.request(input{
		what: "submission of " + def.FullName(),
		do: func(m *Machine, now domain.Instant) {
			m.Submit(def, cmd, now, reply)
			c.definitions.LoadOrStore(def.Hash(), def)
		},
		refuse: func(err error) { reply(Answer{Task: cmd.ID, Err: err}) },
	})
}

// Admits reports why a submission would be refused now, so that a caller can save the work of making one.
func (c *Coordinator) Admits() error {
	if c.Admit != nil {
		if err := c.Admit(); err != nil {
			return err
		}
	}
	if c.full.Load() {
		return ErrStoreFull
	}
	var why Refusal
	switch {
	case int(c.queued.Load()) >= c.Queue:
		why = QueueFull
	case int(c.held.Load()) > c.MaxHeld:
		why = TooManyReady
	case int(c.live.Load()) > c.MaxLive:
		why = TooManyLive
	default:
		return nil
	}
	c.metrics.refused.Add(1)
	return overload(why)
}

// Do hands in an operator's verb; errors as Submit's.
func (c *Coordinator) Do(id domain.TaskID, cmd domain.Command, by domain.Actor, reply func(Answer)) error {
	return c.request(input{
		what: "command for task " + id.String(),
		do: func(m *Machine, now domain.Instant) {
			m.Do(id, cmd, by, now, func(a Answer) {
				if errors.Is(a.Err, errEnded) {
					go c.refuseEnded(a, cmd, reply)
					return
				}
				reply(a)
			})
		},
		refuse: func(err error) { reply(Answer{Task: id, Err: err}) },
	})
}

// Look asks for the state of a task that is in memory: live, failed, or ended a moment ago. nil when it is not.
func (c *Coordinator) Look(id domain.TaskID, reply func(*domain.Task, error)) error {
	return c.request(input{
		what:   "query of task " + id.String(),
		do:     func(m *Machine, _ domain.Instant) { m.Look(id, reply) },
		refuse: func(err error) { reply(nil, err) },
	})
}

// Await asks for the end of the task's run; see Machine.AwaitUntil. A caller who stops waiting closes gone.
func (c *Coordinator) Await(gone <-chan struct{}, id domain.TaskID, reply func(Outcome, error)) error {
	return c.request(input{
		what:   "wait for task " + id.String(),
		do:     func(m *Machine, _ domain.Instant) { m.AwaitUntil(gone, id, reply) },
		refuse: func(err error) { reply(Outcome{Task: id}, err) },
	})
}

// Inspect runs f on the coordinator's goroutine, with the state as it is, ahead of the log perhaps. It must be quick.
func (c *Coordinator) Inspect(f func(m *Machine), refuse func(error)) error {
	return c.request(input{what: "query", do: func(m *Machine, _ domain.Instant) { f(m) }, refuse: refuse})
}

// Watch is for a tap that has just been opened: see Machine.Watch. What is asked for later comes after it.
func (c *Coordinator) Watch() {
	c.watch.Store(true)
	c.poke()
}

// Report hands in what a handler reported. It is never refused: a report about an execution that is not the current
// one is dropped and counted. The queue is bounded by the slots.
func (c *Coordinator) Report(id domain.TaskID, cmd domain.Command) {
	c.mu.Lock()
	c.reports = append(c.reports, input{
		what:   "report of task " + id.String(),
		do:     func(m *Machine, now domain.Instant) { m.Report(id, cmd, now) },
		refuse: func(error) {},
	})
	c.mu.Unlock()
	c.poke()
}

// Confirm is Report for what the handler waits for: reply comes when it is stored.
func (c *Coordinator) Confirm(id domain.TaskID, cmd domain.Command, reply func(Answer)) {
	c.mu.Lock()
	c.reports = append(c.reports, input{
		what:   "checkpoint of task " + id.String(),
		do:     func(m *Machine, now domain.Instant) { m.Confirm(id, cmd, now, reply) },
		refuse: func(err error) { reply(Answer{Task: id, Err: err}) },
	})
	c.mu.Unlock()
	c.poke()
}

// Resume says that slots may be free.
func (c *Coordinator) Resume() {
	c.holds.Store(true)
	c.poke()
}

func (c *Coordinator) request(in input) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase == Stopped || c.stopping:
		return ErrNotRunning
	case c.phase == Closed:
		return c.why
	case c.phase != Owning:
		return ErrNotOwner
	case c.gone || c.stale:
		return domain.ErrUnavailable
	case len(c.requests) >= c.Queue:
		c.metrics.refused.Add(1)
		return overload(QueueFull)
	}
	c.requests = append(c.requests, in)
	c.queued.Store(int64(len(c.requests)))
	if len(c.requests) == 1 {
		c.poke()
	}
	return nil
}

func (c *Coordinator) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Phase returns what the coordinator is doing, and why when it does not own the partition.
func (c *Coordinator) Phase() (Phase, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase, c.why
}

func (c *Coordinator) setPhase(p Phase, why error) {
	c.mu.Lock()
	changed := c.phase != p
	c.phase, c.why = p, why
	if p != Owning {
		c.gone, c.stale = false, false
		c.full.Store(false)
	}
	c.mu.Unlock()
	if changed && c.Changed != nil {
		c.Changed(c.Partition, p)
	}
}

func (c *Coordinator) setGone(gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = gone
}

func (c *Coordinator) setStale(stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = stale
}

// Gone reports that the log cannot be reached now, so that no answer comes.
func (c *Coordinator) Gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone || c.stale
}

// Reached is the sequence of the last message that the coordinator knows to be stored.
func (c *Coordinator) Reached() uint64 { return c.reached.Load() }

// Run owns the partition whenever it can, until ctx ends. It then refuses new inputs, appends what is still open, and
// gives the lease back. Handlers are drained before, by whoever cancels ctx. The error is nil after a regular stop.
func (c *Coordinator) Run(ctx context.Context) error {
	defer func() {
		c.setPhase(Stopped, ErrNotRunning)
		c.refuseQueued(ErrNotRunning)
	}()
	for ctx.Err() == nil {
		lease, err := c.acquire(ctx)
		if err != nil {
			return nil
		}
		err = c.own(ctx, lease)
		c.setPhase(Away, err) // first, so that nothing comes after what is refused now
		c.refuseQueued(ErrNotOwner)
		c.release(lease)
		if ctx.Err() != nil {
			return nil
		}
		c.rest(ctx, err)
	}
	return nil
}

// rest waits before the partition is tried again; how long depends on what went wrong.
func (c *Coordinator) rest(ctx context.Context, err error) {
	pause := 100 * time.Millisecond
	var unreadable *UnreadableError
	var missing *domain.StreamMissingError
	var gap *GapError
	var snapshot *projections.SnapshotVersionError
	switch {
	case errors.As(err, &unreadable), errors.As(err, &missing), errors.As(err, &gap), errors.As(err, &snapshot):
		c.setPhase(Closed, err)
		c.Logger.Error("partition is closed", "partition", c.Partition, "error", err)
		pause = 30 * time.Second
	case errors.Is(err, errLeaseLost):
		c.setPhase(Away, err)
		c.Logger.Warn("the lease of the partition was lost", "partition", c.Partition)
	case err != nil:
		c.setPhase(Away, err)
		c.Logger.Error("partition was given up", "partition", c.Partition, "error", err)
		pause = time.Second
	}
	c.pause(ctx, pause)
}

// pause waits; Skip ends it early. Free slots do not, or every one would make a process that is not the owner ask for the
// lease.
func (c *Coordinator) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-c.reopen:
	}
}

func (c *Coordinator) refuseQueued(err error) {
	c.mu.Lock()
	queued, wanted := slices.Concat(c.requests, c.reports), c.wanted
	c.requests, c.reports, c.acks, c.wanted = nil, nil, nil, nil
	c.mu.Unlock()
	c.queued.Store(0) // what Admits looks at is about the ownership that is over
	c.held.Store(0)
	c.live.Store(0)
	c.timers.Store(0)
	c.count(projections.Counts{})
	for _, in := range queued {
		in.refuse(err)
	}
	for _, done := range wanted {
		done <- keeping{err: err}
	}
}
