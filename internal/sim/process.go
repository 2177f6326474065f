package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/discoverer"
	"github.com/tasker-go/tasker/subscribers/finalizer"
	"github.com/tasker-go/tasker/subscribers/reenqueuer"
)

// process is one engine: what subscribers.Coordinator is around a Machine, without goroutines (serve.go, fate.go).
type process struct {
	n      int
	w      *world
	m      *subscribers.Machine // nil: it does not own the partition, as far as it knows
	exec   *executor
	writer string
	skew   time.Duration // of its clock
	opened bool          // its partition.opened is stored: it takes inputs
	lease  bool          // it still has it; without, no effect leaves
	holds  bool          // slots may be free
	queued []report      // from its handlers
	under  string        // the commit under way, "" when there is none
	unsure bool          // a send has gone wrong: ask, or send again
	frozen *freezing
	short  []byte // see SnapshotShort
}

// report is what a handler says.
type report struct {
	task domain.TaskID
	cmd  domain.Command
}

// loseCursors is the mistake of CursorsLost.
func loseCursors(state *projections.Partition) {
	for e := range state.Tasks() {
		for i := range e.Task.Steps {
			if s := &e.Task.Steps[i]; s.Cursor() != nil {
				less := *s.More
				less.Cursor, s.More = nil, &less
			}
		}
	}
}

// lossy forgets timers while a partition is taken over.
type lossy struct {
	reenqueuer.Reenqueuer
	p *process
}

func (l lossy) WakeAt(t *domain.Task) domain.Instant {
	if !l.p.opened && l.p.w.cfg.Fault == TimersLost {
		return 0
	}
	return l.Reenqueuer.WakeAt(t)
}

func (p *process) now() domain.Instant { return p.m.Now(p.w.clock.Add(p.skew)) }

// takeOver makes the process the owner, whoever was it before.
func (p *process) takeOver() {
	w := p.w
	for _, other := range w.processes {
		if other != p {
			other.lease = false
		}
	}
	w.writers++
	w.report.Takeovers++
	p.writer = "w" + strconv.Itoa(w.writers)
	p.exec = newExecutor(p)
	p.opened, p.lease, p.holds, p.under, p.unsure, p.frozen, p.short = false, true, false, "", false, nil, nil
	state := w.load()
	if w.cfg.Fault == CursorsLost {
		loseCursors(state)
	}
	if w.tracing {
		w.tracef("p%d takes over as %s at %d: %d live, %d failed", p.n, p.writer, state.Sequence, state.LiveCount(), state.FailedCount())
	}
	p.m = subscribers.NewMachine(subscribers.MachineConfig{
		State: state, Writer: p.writer, CommitBytes: w.odds.commitBytes,
		Reactors:    []subscribers.Reactor{lossy{p: p}, discoverer.New(p.exec), finalizer.Finalizer{}},
		Subscribers: []subscribers.Subscriber{p.exec},
		Unclear: func(t *domain.Task) {
			failf("task %s is unclear: %+v", t.ID, t.ExecutionContext())
		},
	})
	p.m.Open("sim", 1, p.now())
	p.next()
}

// crash ends the process: what it remembers, its handlers and its answers are gone. What is on its way goes on.
func (p *process) crash() {
	if p.w.tracing {
		p.w.tracef("p%d crashes", p.n)
	}
	p.w.report.Crashes++
	p.exec.vanish()
	p.m, p.opened, p.queued, p.under, p.frozen, p.short = nil, false, nil, "", nil, nil
}

// stepDown ends the ownership in an orderly way.
func (p *process) stepDown(why string, lost bool) {
	if p.w.tracing {
		p.w.tracef("p%d steps down: %s", p.n, why)
	}
	underway := subscribers.ErrOutcomeUnknown
	if lost {
		underway = subscribers.ErrNotOwner
	}
	p.m.Withdraw(subscribers.ErrNotOwner, underway)
	p.exec.vanish()
	p.m, p.opened, p.queued, p.under, p.frozen, p.short = nil, false, nil, "", nil, nil
}

// next appends the next message when none is under way.
func (p *process) next() {
	a, ok := p.m.Next()
	if !ok {
		if p.under == "" {
			p.idle()
		}
		return
	}
	p.under, p.unsure = a.CommitID, false
	p.w.send(p, a)
	if p.w.cfg.Fault == EffectBeforeCommit && p.under == a.CommitID {
		p.under, p.opened = "", true
		p.m.Stored() // whatever became of the message
	}
}

// acked handles an answer of the log, as ownership.takeAcks does.
func (p *process) acked(k packet) {
	if p.m == nil || p.m != k.m {
		return
	}
	under, ok := p.m.Inflight()
	if !ok || under.CommitID != k.id {
		return // late or doubled
	}
	switch {
	case k.ok && k.last == under.Last:
		if p.lease {
			p.stored()
		} else {
			p.unsure = true
		}
	case k.never:
		p.unsure = true
	default:
		p.ask()
	}
}

func (p *process) stored() {
	p.under, p.unsure = "", false
	sequence := p.m.State().Sequence
	p.m.Stored()
	if p.m.State().Sequence != sequence+1 {
		failf("message %d is stored and the owner is at %d", sequence+1, p.m.State().Sequence)
	}
	if rest, _ := p.m.Inflight(); rest.Last != 0 { // the next part of what was split
		p.w.report.Splits++
		if p.w.faulty && p.w.rng.IntN(20) == 0 {
			p.crash()
			return
		}
	}
	p.shortSnapshot()
	p.next()
}

// idle is called when nothing is under way and nothing waits to be sent.
func (p *process) idle() {
	p.opened = true
	if p.m.State().Sequence == p.w.log.last() {
		p.checkChanged()
	}
}

// chase goes on with a message of unknown fate: asks for it, or sends it again.
func (p *process) chase() {
	under, ok := p.m.Inflight()
	switch {
	case !ok:
		p.next()
	case p.w.rng.IntN(3) > 0:
		p.ask()
	case p.unsure:
		p.w.send(p, under)
	}
}

// ask reads the message's place in the log and the one behind it, as fate.ask and ownership.judge do (DESIGN 5, step 5).
func (p *process) ask() {
	under, _ := p.m.Inflight()
	w := p.w
	if w.faulty && w.rng.IntN(8) == 0 {
		p.unsure = true // the log cannot be reached
		return
	}
	found, ok := w.log.at(under.Last + 1)
	behind, more := w.log.at(under.Last + 2)
	switch {
	case ok && found.id == under.CommitID:
		switch {
		case more && behind.id != "" && writerOf(behind.id) != p.writer:
			p.m.Answered()
			p.stepDown("another writer follows", false)
		case p.lease:
			p.stored()
		}
	case ok && found.id != "":
		p.stepDown("another writer's commit at "+strconv.FormatUint(under.Last+1, 10), true)
	case ok:
		if w.tracing {
			w.tracef("p%d moves %s behind the foreign message %d", p.n, under.CommitID, under.Last+1)
		}
		p.m.Moved()
		if under, ok = p.m.Inflight(); !ok {
			failf("nothing is under way after a foreign message")
		}
		w.send(p, under)
	default:
		p.unsure = true
	}
}

// deliverReports hands in what handlers said.
func (p *process) deliverReports(n int) {
	for ; n > 0 && len(p.queued) > 0; n-- {
		r := p.queued[0]
		p.queued = p.queued[1:]
		p.report(r)
	}
}

func (p *process) report(r report) {
	if p.w.cfg.Fault == AttemptIgnored {
		r.cmd = p.current(r)
	}
	if p.w.tracing {
		p.w.tracef("p%d hears of %s: %s", p.n, r.task, said(r.cmd))
	}
	before := p.m.Stale()
	if c, ok := r.cmd.(domain.CheckpointStep); ok {
		p.confirm(r, c)
	} else {
		p.m.Report(r.task, r.cmd, p.now())
	}
	p.w.report.Stale += int(p.m.Stale() - before)
}

func said(cmd domain.Command) string {
	if c, ok := cmd.(domain.CompleteStep); ok {
		return fmt.Sprintf("step %d, attempt %d ends with %s", c.Step, c.Attempt, c.Result.JSON)
	}
	return fmt.Sprintf("%T%+v", cmd, cmd)
}

// current is the mistake of AttemptIgnored.
func (p *process) current(r report) domain.Command {
	e := p.m.State().Live(r.task)
	if e == nil {
		return r.cmd
	}
	attempt := func(step int) int { return int(e.Task.Steps[step].Attempt) }
	switch c := r.cmd.(type) { //nolint:gochecksumtype // what handlers say
	case domain.CompleteStep:
		c.Attempt = attempt(c.Step)
		return c
	case domain.FailStep:
		c.Attempt = attempt(c.Step)
		return c
	case domain.CheckpointStep:
		c.Attempt = attempt(c.Step)
		return c
	case domain.ProgressStep:
		c.Attempt = attempt(c.Step)
		return c
	case domain.LogStep:
		c.Attempt = attempt(c.Step)
		return c
	default:
		return c
	}
}

// expire gives up failed tasks whose time has run out, as the keeper does every second.
func (p *process) expire() {
	if !p.m.Full() {
		p.m.Expire(p.now().Add(-p.w.odds.retention), p.now())
	}
}

// due lets timers and holders go on, as ownership.due does.
func (p *process) due() {
	if wake := p.m.NextWake(); wake != 0 && wake <= p.now() {
		if p.w.tracing {
			p.w.tracef("p%d: timers up to %s", p.n, p.now())
		}
		p.m.Tick(p.now())
	}
	if p.holds {
		p.holds = false
		p.m.Resume(p.now())
	}
}
