package subscribers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/tasker-go/tasker/domain"
)

// errStepDown: another writer's commit stands where ours should be, or the machine's memory cannot be trusted any
// more. The partition is loaded again if the lease is still held.
var errStepDown = errors.New("stepped down")

// errGivenUp: the loop had to end while the log was away.
var errGivenUp = errors.New("given up: the log is away and the engine has to stop")

// ownership is one time of owning the partition, from loading to stepping down.
type ownership struct {
	*Coordinator
	lease     *held
	renewed   time.Time
	stale     bool // mayAct is false
	opened    bool // partition.opened is stored
	abandoned bool // handlers have been told to stop
	told      bool // wait has seen the end of ctx
	m         *Machine
	fate      fate
	progress  time.Time // when a message was last known to be stored
	ending    time.Time // when the loop was told to end; zero before
	keeper    keeper
	held      []ack // answers that came while the lease was too old to act on
}

// own loads the partition and serves it, again and again, as long as the lease is held.
func (c *Coordinator) own(ctx context.Context, lease *held) error {
	renewed := <-lease.renewed
	for reloads := 0; ; reloads++ {
		c.setPhase(Loading, nil)
		began := c.Clock()
		state, err := c.load(ctx)
		if err != nil {
			return err
		}
		o := &ownership{Coordinator: c, lease: lease, renewed: renewed}
		o.m = NewMachine(MachineConfig{
			State: state, Writer: writerID(), Reactors: c.NewReactors(), Subscribers: c.Subscribers, Moments: c.Moments, Tap: c.Tap, MaxKeys: c.MaxKeys, Idempotency: c.Idempotency,
			Unclear: func(t *domain.Task) {
				c.Logger.Error("the state of a task is unclear; please report this", "task", t.ID, "context", t.ExecutionContext())
			},
		})
		o.keeper.init(o)
		c.reached.Store(state.Sequence)
		c.Logger.Debug("partition loaded", "partition", c.Partition, "sequence", state.Sequence,
			"live", state.LiveCount(), "failed", state.FailedCount(), "took", c.Clock().Sub(began))
		err = o.open(ctx)
		if err == nil {
			err = o.serve(ctx)
		}
		if errors.Is(err, errStepDown) {
			c.setPhase(Loading, err)
		}
		o.end(err)
		renewed = o.renewed
		if !errors.Is(err, errStepDown) {
			return err
		}
		if reloads > 0 {
			c.pause(ctx, min(time.Duration(reloads)*100*time.Millisecond, 5*time.Second))
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a regular stop; what made it step down has been dealt with
		}
	}
}

// writerID is short, because every commit carries it, and random enough never to meet itself.
func writerID() string {
	id := uuid.New()
	return fmt.Sprintf("%x", id[:4])
}

// open appends partition.opened. Until it is stored the owner answers nobody and takes no input.
func (o *ownership) open(ctx context.Context) error {
	if err := o.checkLease(); err != nil {
		return err // lost while loading: opening would only disturb the owner
	}
	if err := o.protect(input{what: "the state of the partition", do: func(m *Machine, now domain.Instant) {
		m.Open(o.Engine, 1, now)
	}, refuse: func(error) {}}); err != nil {
		return err
	}
	for o.m.stored == o.m.state.Sequence && (o.m.inflight != nil || !o.m.open.empty()) {
		if err := o.send(); err != nil {
			return err
		}
		if o.m.inflight == nil {
			break
		}
		if err := o.wait(ctx, 0); err != nil {
			return err
		}
		if err := o.takeAcks(); err != nil {
			return err
		}
		if ctx.Err() != nil && time.Since(o.fate.since) > ackTimeout {
			return errGivenUp
		}
	}
	o.opened = true
	o.setPhase(Owning, nil)
	for _, opened := range o.recovered {
		opened()
	}
	o.recovered = nil
	return nil
}

// serve is the loop (DESIGN 5). It ends with nil when ctx has ended and nothing is under way, else with the reason for
// stepping down.
func (o *ownership) serve(ctx context.Context) error {
	for {
		woken, snapshot := time.Now(), o.keeper.frozen != nil
		if err := o.takeAcks(); err != nil {
			return err
		}
		o.keeper.look(ctx) // here everything has been sent: after a turn, under load, it hardly ever has
		if err := o.turn(); err != nil {
			return err
		}
		if err := o.send(); err != nil {
			return err
		}
		o.metrics.turn.note(time.Since(woken), snapshot || o.keeper.frozen != nil)
		if ctx.Err() != nil {
			if o.quiet() {
				return o.keeper.finish()
			}
			if o.stuck() {
				return errGivenUp
			}
		}
		if err := o.wait(ctx, o.m.NextWake()); err != nil {
			return err
		}
	}
}

// stuck reports that a loop which was told to end has got nowhere for too long: the log is away. What waits is not
// stored, and what is under way is of unknown outcome.
func (o *ownership) stuck() bool {
	now := time.Now()
	if o.ending.IsZero() {
		o.ending = now
	}
	return now.Sub(o.ending) > stopPatience && now.Sub(o.progress) > stopPatience
}

// takes reports whether inputs may be taken: their answers could not leave without a fresh lease.
func (o *ownership) takes() bool { return o.opened && !o.m.Full() && o.mayAct() }

// turn takes what waits: steps that wait for a slot first, because they have waited longest; then reports, which make room
// and are never refused; then timers and requests, some of which have their turn however many reports there are.
func (o *ownership) turn() error {
	if !o.takes() {
		return nil
	}
	o.mu.Lock()
	reports, requests := o.reports, o.requests
	o.reports, o.requests = nil, nil
	o.queued.Store(0)
	o.mu.Unlock()
	began := time.Now()
	take := func(list []input) ([]input, error) {
		for i, in := range list {
			if i&31 == 31 && time.Since(began) > turnTime || o.m.Full() {
				return list[i:], nil
			}
			if err := o.protect(in); err != nil {
				return list[i+1:], err
			}
		}
		return nil, nil
	}
	err := o.heed()
	if err == nil {
		err = o.resume()
	}
	if err == nil {
		reports, err = take(reports)
	}
	if err == nil {
		err = o.due()
	}
	if err == nil {
		requests, err = take(requests)
	}
	o.Coordinator.held.Store(int64(o.m.Held()))
	o.live.Store(int64(o.m.state.LiveCount()))
	o.timers.Store(int64(o.m.Timers()))
	o.count(o.m.state.Counts())
	if len(reports) > 0 || len(requests) > 0 {
		o.giveBack(reports, requests)
	}
	return err
}

// heed lets the machine know that a tap was opened.
func (o *ownership) heed() error {
	if !o.watch.Load() || !o.watch.Swap(false) {
		return nil
	}
	return o.protect(input{what: "a tap", do: func(m *Machine, now domain.Instant) { m.Watch(now) }, refuse: func(error) {}})
}

// resume lets the holders go on: when slots have come free, and before new steps could take them.
func (o *ownership) resume() error {
	if free := o.holds.Swap(false); !free && o.m.Held() == 0 {
		return nil
	}
	return o.protect(input{what: "a free slot", do: func(m *Machine, now domain.Instant) { m.Resume(now) }, refuse: func(error) {}})
}

// due lets timers go on.
func (o *ownership) due() error {
	if w := o.m.NextWake(); w == 0 || w > o.now() {
		return nil
	}
	return o.protect(input{what: "a timer", do: func(m *Machine, now domain.Instant) { m.Tick(now) }, refuse: func(error) {}})
}

// giveBack puts what the turn did not come to before what has arrived since.
func (o *ownership) giveBack(reports, requests []input) {
	o.mu.Lock()
	o.reports = append(reports[:len(reports):len(reports)], o.reports...)
	o.requests = append(requests[:len(requests):len(requests)], o.requests...)
	o.queued.Store(int64(len(o.requests)))
	o.mu.Unlock()
	o.poke()
}

// protect runs one input. A panic drops the partition's memory and refuses the input as poison: that is its one answer,
// whatever it had prepared.
func (o *ownership) protect(in input) (err error) {
	marks := o.m.marks()
	defer func() {
		if p := recover(); p != nil {
			o.m.unanswer(marks)
			poison := &PoisonError{Input: in.what, Panic: p}
			o.Logger.Error(poison.Error(), "partition", o.Partition, "stack", string(debug.Stack()))
			in.refuse(poison)
			err = fmt.Errorf("%w: %w", errStepDown, poison)
		}
	}()
	in.do(o.m, o.now())
	return nil
}

func (o *ownership) now() domain.Instant { return o.m.Now(domain.InstantOf(o.Clock())) }

// send appends the next message when none is under way.
func (o *ownership) send() error {
	a, ok := o.m.Next()
	if !ok {
		return nil
	}
	o.metrics.sent(o.m)
	o.fate.begin(a.CommitID, time.Now())
	o.append(a)
	return nil
}

func (o *ownership) append(a Append) {
	c, id := o.Coordinator, a.CommitID
	c.log.Append(a.Last, id, a.Data, func(sequence uint64, err error) {
		c.mu.Lock()
		c.acks = append(c.acks, ack{id, sequence, err})
		c.mu.Unlock()
		c.poke()
	})
}

// wait sleeps until there is something to do.
func (o *ownership) wait(ctx context.Context, wake domain.Instant) error {
	o.mu.Lock()
	busy := len(o.acks) > 0 || o.takes() && (len(o.reports) > 0 || len(o.requests) > 0)
	o.mu.Unlock()
	if !busy {
		timer := time.NewTimer(o.patience(wake))
		done := ctx.Done()
		if o.told {
			done = nil
		}
		select {
		case <-o.wake:
		case <-timer.C:
		case <-done:
			o.told = true // only now: an end that comes just before the wait must not be slept through
		}
		timer.Stop()
	}
	return o.checkLease()
}

// patience is how long the loop may sleep.
func (o *ownership) patience(wake domain.Instant) time.Duration {
	d := o.lease.ttl / 3
	for _, age := range []time.Duration{o.lease.ttl * 2 / 3, o.lease.ttl} { // where checkLease has something to do
		if left := age - time.Since(o.renewed); left > 0 {
			d = min(d, left)
		}
	}
	if wake != 0 && o.takes() {
		d = min(d, max(wake.Sub(domain.InstantOf(o.Clock())), 0))
	}
	if o.m.inflight != nil {
		d = min(d, o.fate.patience())
	}
	return min(d, o.keeper.patience())
}

// checkLease notes renewals, and acts on their absence.
func (o *ownership) checkLease() error {
	select {
	case o.renewed = <-o.lease.renewed:
		if o.abandoned {
			// The handlers were told to stop and report nothing. Opening the partition again starts their steps again.
			return fmt.Errorf("%w: the lease of partition %02d had run out before it was renewed", errStepDown, o.Partition)
		}
	case err := <-o.lease.lost:
		return err
	default:
	}
	if stale := !o.mayAct(); stale != o.stale {
		o.stale = stale
		o.setStale(stale)
	}
	if !o.abandoned && time.Since(o.renewed) > o.lease.ttl {
		o.abandoned = true
		if o.Abandoned != nil {
			o.Abandoned(o.Partition)
		}
	}
	return nil
}

// mayAct reports whether effects may be released: only with a lease that is fresh enough.
func (o *ownership) mayAct() bool { return time.Since(o.renewed) < o.lease.ttl*2/3 }

func (o *ownership) quiet() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stopping = true
	return o.m.inflight == nil && o.m.open.empty() && len(o.reports) == 0 && len(o.requests) == 0
}

// end is called once, when the ownership is over.
func (o *ownership) end(err error) {
	unsent, underway := ErrNotOwner, ErrOutcomeUnknown
	if o.fate.lost {
		underway = ErrNotOwner // another writer's commit proves that ours is not stored
	}
	o.m.Withdraw(unsent, underway)
	o.keeper.end() // after it: a snapshot may wait for the message under way
	if err != nil && o.Abandoned != nil {
		o.Abandoned(o.Partition) // whoever opens the partition next, this process perhaps, starts their steps again
	}
}
