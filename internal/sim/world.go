package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/projections"
)

// world is everything there is.
type world struct {
	cfg    Config
	rng    *rand.Rand
	odds   odds
	clock  domain.Instant
	report Report
	faulty bool // until the end, when everything has to come to rest

	log       simLog
	net       []packet
	snapshots []kept // newest first; two stay
	processes [2]*process
	writers   int
	lates     []report // of handlers whose execution is over

	definitions []*domain.Definition
	submissions []*submission

	ledger   *ledger
	replica  *projections.Partition // the fold of the whole log
	changed  []*history             // since an owner's memory was compared
	failed   []*history             // that nobody has looked after
	compared int
	packed   [2][]byte

	tracing bool
	trace   []string
}

// odds is how often what happens in this world; each seed makes a world of its own kind.
type odds struct {
	fates       [arrives]int // per mille, by fate
	crash       int          // of 10,000, like the next ones
	takeover    int
	jump        int
	snapshot    int
	failing     int // per cent of the calls of handlers
	operators   int // per cent of the inputs
	late        int
	tasks       int // that clients keep alive
	slots       int
	limits      [handlers]int
	commitBytes int
	batch       int // inputs of a turn, at most
	talking     int // per cent of the inputs: handlers that say something before they are done
	retention   time.Duration
}

func newWorld(c Config, tracing bool) *world {
	w := &world{
		cfg: c, rng: rand.New(rand.NewPCG(c.Seed, 0x7461736b6572)), clock: 1_790_000_000_000_000, faulty: true,
		log: simLog{first: 1}, ledger: newLedger(), replica: projections.NewPartition(0), tracing: tracing,
		report: Report{Events: map[domain.EventType]int{}, Verbs: map[string]Verb{}},
	}
	r := w.rng
	o := &w.odds
	for i := range o.fates {
		o.fates[i] = r.IntN(4) * r.IntN(15)
	}
	o.crash, o.takeover, o.jump, o.snapshot = r.IntN(3)*r.IntN(30), r.IntN(3)*r.IntN(30), r.IntN(100), 50+r.IntN(200)
	o.failing, o.operators, o.late = r.IntN(50), r.IntN(30), r.IntN(10)
	o.tasks, o.slots, o.batch = 1+r.IntN(30), 1+r.IntN(30), 1+r.IntN(3)
	o.talking, o.retention = r.IntN(30), time.Duration(1+r.IntN(120))*time.Minute
	for i := range o.limits {
		o.limits[i] = 1 + r.IntN(o.slots)
	}
	if r.IntN(3) == 0 {
		o.commitBytes = 300 + r.IntN(2000)
	}
	if c.Fault != NoFault { // what makes the mistakes matter happens in every world
		o.fates = [arrives]int{lostAck: 10, vanishes: 10, late: 20, slowAck: 10}
		o.crash, o.takeover, o.late, o.failing, o.snapshot, o.talking = 50, 50, 10, 30, 200, 10
	}
	for n := range 2 + r.IntN(4) {
		w.definitions = append(w.definitions, w.define(n))
	}
	for n := range w.processes {
		w.processes[n] = &process{n: n, w: w}
	}
	return w
}

func (w *world) run() {
	for int(w.log.last()) < w.cfg.Commits {
		w.happen()
	}
	w.settle()
	w.report.Commits, w.report.Tasks = len(w.log.messages), len(w.ledger.order)
}

// happen lets one thing happen.
func (w *world) happen() {
	w.clock += domain.Instant(w.rng.IntN(20_000))
	x := w.rng.IntN(10_000)
	chance := func(odds int) bool { x -= odds; return x < 0 }
	p := w.someone()
	switch {
	case p == nil:
		w.processes[w.rng.IntN(2)].takeOver()
	case chance(w.odds.crash):
		p.crash()
	case chance(w.odds.takeover):
		if q := w.processes[1-p.n]; q.m == nil {
			q.takeOver()
		} else if !p.lease {
			p.stepDown("it has lost its lease", false)
		}
	case chance(w.odds.jump):
		w.jump(p)
	case chance(w.odds.snapshot):
		if p.opened {
			p.snapshot()
		}
	case len(w.net) > 0 && chance(1000):
		w.deliver()
	default:
		p.turn()
	}
}

// someone is a process that owns the partition, or thinks so.
func (w *world) someone() *process {
	a, b := w.processes[0], w.processes[1]
	switch {
	case a.m == nil && b.m == nil:
		return nil
	case b.m == nil || a.m != nil && w.rng.IntN(2) == 0:
		return a
	}
	return b
}

// jump sets a clock.
func (w *world) jump(p *process) {
	switch w.rng.IntN(4) {
	case 0:
		w.clock += domain.Instant(w.rng.Int64N(int64(time.Hour / time.Microsecond)))
	case 1, 2:
		w.clock += domain.Instant(w.rng.Int64N(int64(time.Minute / time.Microsecond)))
	case 3:
		p.skew = time.Duration(w.rng.Int64N(int64(time.Minute))) - 30*time.Second
	}
}

// turn is one round of the owner's loop.
func (p *process) turn() {
	w := p.w
	if p.under != "" && w.rng.IntN(3) == 0 {
		p.chase()
	}
	if p.m == nil || !p.opened {
		return
	}
	if p.m.Full() {
		if p.under == "" {
			p.next()
		}
		return
	}
	for n := 1 + w.rng.IntN(w.odds.batch); n > 0 && !p.m.Full(); n-- {
		p.input()
	}
	if p.under == "" {
		p.next()
	}
}

func (p *process) input() {
	w := p.w
	if len(p.queued) > 0 {
		p.deliverReports(1 + w.rng.IntN(len(p.queued)))
	}
	if w.rng.IntN(8) > 0 {
		p.due()
	}
	x := w.rng.IntN(100)
	chance := func(odds int) bool { x -= odds; return x < 0 }
	switch {
	case chance(w.odds.operators):
		w.operate(p)
	case len(w.lates) > 0 && chance(w.odds.late):
		w.deliverLate(p)
	case chance(3):
		w.question(p)
	case chance(2):
		p.expire()
	case len(p.exec.running) > 0 && chance(w.odds.talking):
		p.exec.say()
	case w.ledger.live < w.odds.tasks && chance(30):
		w.submit(p)
	case len(p.exec.running) > 0:
		p.exec.handled()
	case p.m.NextWake() != 0:
		w.clock = max(w.clock, p.m.NextWake().Add(-p.skew))
	default:
		w.submit(p)
	}
}

// tooLate keeps a report for later.
func (w *world) tooLate(r report) {
	if len(w.lates) < 64 {
		w.lates = append(w.lates, r)
	}
}

func (w *world) deliverLate(p *process) {
	i, last := w.rng.IntN(len(w.lates)), len(w.lates)-1
	r := w.lates[i]
	w.lates[i] = w.lates[last]
	w.lates = w.lates[:last]
	p.report(r)
}

// settle stops the faults and the clients: whatever is live and not paused has to end or to fail.
func (w *world) settle() {
	w.faulty = false
	w.odds.fates = [arrives]int{}
	w.odds.failing = 20
	for len(w.net) > 0 {
		w.deliver()
	}
	for _, p := range w.processes {
		if p.m != nil && !p.lease {
			p.stepDown("the faults are over", false)
		}
	}
	if w.someone() == nil {
		w.processes[0].takeOver()
	}
	p := w.someone()
	// What was sent before may still lose its place to a predecessor's message that arrived late. The owner then steps
	// down and loads again, once; after that nothing goes wrong any more.
	for sent := p.under; sent != "" && p.under == sent; {
		p.chase()
		if p.m == nil {
			p.takeOver()
			break
		}
	}
	for range 100_000 {
		if w.rest(p) {
			p.checkAll(true)
			return
		}
	}
	var left []string
	for _, h := range w.ledger.order {
		if h.state.Live() && !h.paused {
			left = append(left, fmt.Sprintf("%s %s (%s)", h.id, h.state, h.states()))
		}
	}
	failf("%d tasks neither end nor fail; opened %v, under way %q, %s, held %d: %v",
		len(left), p.opened, p.under, p.exec, p.m.Held(), left[:min(3, len(left))])
}

// rest does what is left to do; true when nothing is.
func (w *world) rest(p *process) bool {
	if p.under != "" {
		p.chase()
		if p.m == nil {
			failf("the owner steps down although nothing goes wrong")
		}
		return false
	}
	if len(p.queued) > 0 {
		p.deliverReports(len(p.queued))
	}
	p.due()
	p.next()
	switch wake := p.m.NextWake(); {
	case p.under != "" || len(p.queued) > 0 || p.holds:
	case len(p.exec.running) > 0:
		p.exec.handled()
	case wake != 0:
		w.clock = max(w.clock, wake.Add(-p.skew))
	default:
		for _, h := range w.ledger.order {
			if h.state.Live() && !h.paused {
				return false
			}
		}
		return true
	}
	return false
}

func (w *world) tracef(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("[%d] ", w.log.last())+limited(fmt.Sprintf(format, args...)))
	if len(w.trace) > 4*traced {
		w.trace = append(w.trace[:0], w.trace[len(w.trace)-traced:]...)
	}
}

func (w *world) traceCommit(c domain.Commit) {
	w.tracef("log holds %s at %d, %s", c.ID, c.Sequence, c.At)
	for _, r := range c.Records {
		w.tracef("    %s %s %s %s", r.Position, r.Task, r.Event.Type(), detail(r.Event))
	}
}

func (w *world) traced() []string { return w.trace[max(0, len(w.trace)-traced):] }

// detail is what matters of a fact.
func detail(e domain.Event) string {
	if adopted, ok := e.(domain.DefinitionAdopted); ok {
		return adopted.Hash
	}
	if created, ok := e.(domain.TaskCreated); ok {
		return fmt.Sprintf("%s, input %d, bypass %v, deadline %s", created.Name, created.InputHash, created.BypassSteps, created.Deadline)
	}
	return limited(fmt.Sprintf("%+v", e))
}

func limited(text string) string { return text[:min(len(text), 200)] }
