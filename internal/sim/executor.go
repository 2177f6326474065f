package sim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// handlers is how many handler names there are: h0, h1, ...
const handlers = 4

// executor is the slots and the handlers of one ownership, as subscribers/executor keeps them.
type executor struct {
	p       *process
	free    int
	used    [handlers]int
	limit   [handlers]int // 0 = not registered
	running []*execution
	active  map[place]*execution // until its end has been reported or it was ended from outside
}

type place struct {
	task domain.TaskID
	step int
}

// execution is one call of a handler.
type execution struct {
	place
	x       int // number of the call
	attempt int
	handler int
	timeout time.Duration
	spot    int // in executor.running
	said    int // sayings
}

var _ subscribers.Withdrawer = (*executor)(nil)

func newExecutor(p *process) *executor {
	return &executor{p: p, free: p.w.odds.slots, limit: p.w.odds.limits, active: map[place]*execution{}}
}

func handlerOf(d *domain.Definition, step int) int { return int(d.Steps[step].Handler[1] - '0') }

// Take is discoverer.Slots.
func (e *executor) Take(d *domain.Definition, step int) bool {
	h := handlerOf(d, step)
	if e.free == 0 || e.used[h] >= e.limit[h] {
		return false
	}
	e.free--
	e.used[h]++
	return true
}

func (e *executor) give(h int) {
	e.free++
	e.used[h]--
	e.p.holds = true
	if e.used[h] < 0 || e.free > e.p.w.odds.slots {
		failf("a slot of h%d is given back twice", h)
	}
}

// Name is the executor's.
func (*executor) Name() string { return "executor" }

// SubscribesTo lists what starts and ends executions.
func (*executor) SubscribesTo() []domain.EventType {
	return []domain.EventType{
		domain.TaskCreatedType, domain.TaskCompletedType, domain.TaskFailedType, domain.TaskCancelledType,
		domain.StepExecutionRequestedType, domain.StepCompletedType, domain.StepFailedType, domain.StepCancelledType,
	}
}

// Notify starts or ends an execution, and checks that the event is in the log.
func (e *executor) Notify(c subscribers.Committed) {
	w := e.p.w
	at := c.Record.Position
	if at.Sequence > w.log.last() {
		failf("%s at %s of task %s takes effect before it is stored", c.Record.Event.Type(), at, c.Record.Task)
	}
	stored := w.log.messages[at.Sequence-1]
	if writerOf(stored.id) != e.p.writer || at.Index >= len(stored.commit.Records) ||
		stored.commit.Records[at.Index].Task != c.Record.Task || stored.commit.Records[at.Index].Event.Type() != c.Record.Event.Type() {
		failf("%s of task %s takes effect, and %s holds something else", c.Record.Event.Type(), c.Record.Task, at)
	}
	switch ev := c.Record.Event.(type) {
	case domain.StepExecutionRequested:
		e.start(c, ev)
	case domain.StepCompleted:
		if c.Record.Actor() != domain.ByHandler {
			e.end(c, ev.Step, ev.Attempt)
		}
	case domain.StepFailed:
		e.end(c, ev.Step, ev.Attempt)
	case domain.StepCancelled:
		e.end(c, ev.Step, 0)
	case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskCreated,
		domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskCompleted, domain.TaskFailed,
		domain.TaskRetryRequested, domain.TaskCancelled, domain.TaskResolvedManually, domain.TaskPaused, domain.TaskResumed,
		domain.TaskAnnotated, domain.StepInherited, domain.StepRetryRequested, domain.StepResolvedManually, domain.StepSkipped, domain.TaskExpired,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.Signal, domain.Unknown:
		// No execution begins or ends with them.
	}
}

// Withdraw gives back the slot of a step whose start will never be stored.
func (e *executor) Withdraw(c subscribers.Committed) {
	if ev, ok := c.Record.Event.(domain.StepExecutionRequested); ok && ev.Until == 0 {
		e.give(handlerOf(c.Task.Definition, c.Task.Definition.Graph().Index(ev.Step)))
	}
}

func (e *executor) start(c subscribers.Committed, ev domain.StepExecutionRequested) {
	if ev.Until != 0 {
		return
	}
	t, w := c.Task, e.p.w
	i := t.Definition.Graph().Index(ev.Step)
	h := handlerOf(t.Definition, i)
	if s := &t.Steps[i]; s.State != domain.InProgress || int(s.Attempt) != ev.Attempt || !t.State.Live() {
		e.give(h) // the next commit ends it
		return
	}
	told := &w.ledger.tasks[t.ID].steps[i]
	if ev.Attempt <= told.ran {
		failf("attempt %d of step %s of task %s is run again", ev.Attempt, ev.Step, t.ID)
	}
	if told.state == domain.Complete {
		failf("step %s of task %s is complete and is run again", ev.Step, t.ID)
	}
	told.ran = ev.Attempt
	if cursor := t.Steps[i].Cursor(); string(cursor) != told.cursor {
		failf("attempt %d of step %s of task %s sees the checkpoint %q, and the newest that is stored is %q", ev.Attempt, ev.Step, t.ID, cursor, told.cursor)
	}
	x := &execution{
		place: place{t.ID, i}, x: len(w.ledger.calls), attempt: ev.Attempt, handler: h,
		timeout: t.Template(i).Timeout, spot: len(e.running),
	}
	w.ledger.calls = append(w.ledger.calls, call{t.ID, i, ev.Attempt})
	if old := e.active[x.place]; old != nil {
		failf("step %s of task %s runs already, attempt %d", ev.Step, t.ID, old.attempt)
	}
	e.running = append(e.running, x)
	e.active[x.place] = x
}

// end is an execution's end by somebody else than its handler, which goes on and will report too late.
func (e *executor) end(c subscribers.Committed, step string, attempt int) {
	i := c.Task.Definition.Graph().Index(step)
	if i < 0 {
		return
	}
	x := e.active[place{c.Record.Task, i}]
	if x == nil || attempt != 0 && x.attempt != attempt {
		return
	}
	delete(e.active, x.place)
	if x.spot >= 0 {
		e.finish(x)
		e.p.w.tooLate(report{x.task, e.outcome(x)})
	}
}

// finish takes the execution out of the running ones and its slot with it.
func (e *executor) finish(x *execution) {
	last := len(e.running) - 1
	e.running[x.spot] = e.running[last]
	e.running[x.spot].spot = x.spot
	e.running[last] = nil
	e.running = e.running[:last]
	x.spot = -1
	e.give(x.handler)
}

// handled lets one handler return.
func (e *executor) handled() {
	w := e.p.w
	x := e.running[w.rng.IntN(len(e.running))]
	r := report{x.task, e.outcome(x)}
	e.finish(x)
	e.p.queued = append(e.p.queued, r)
	if w.faulty {
		if w.rng.IntN(12) == 0 {
			e.p.queued = append(e.p.queued, r)
		}
		if w.rng.IntN(12) == 0 {
			w.tooLate(r)
		}
		if x.said++; w.rng.IntN(12) == 0 {
			w.tooLate(report{x.task, e.saying(x)})
		}
	}
}

// outcome is what the handler says: its result, or why it failed; a failure by timeout is the executor's word, and the
// handler says something else later.
func (e *executor) outcome(x *execution) domain.Command {
	w := e.p.w
	word := `{"x":` + strconv.Itoa(x.x)
	if w.rng.IntN(100) >= w.odds.failing {
		if w.rng.IntN(40) == 0 {
			word += `,"large":"` + strings.Repeat("x", 1024) + `"`
		}
		return domain.CompleteStep{Step: x.step, Attempt: x.attempt, Result: domain.Inline(json.RawMessage(word + `}`)), Emitted: emit(x.x)}
	}
	f := domain.FailStep{Step: x.step, Attempt: x.attempt, Error: domain.StepError{Message: word + `}`}, Emitted: emit(x.x)}
	switch w.rng.IntN(10) {
	case 0:
		f.Error.Kind = domain.KindPermanent
	case 1:
		f.RetryAfter = time.Duration(w.rng.IntN(120_000)) * time.Millisecond
	case 2:
		f.Error.Kind = domain.KindInterrupted
	case 3:
		f.Error.Kind = "hopeless" // final for some steps
	case 4:
		f.Error.Kind = domain.KindTimeout
		w.tooLate(report{x.task, domain.CompleteStep{Step: x.step, Attempt: x.attempt, Result: domain.Inline(json.RawMessage(word + `}`)), Emitted: emit(x.x)}})
	}
	return f
}

// vanish: the process is gone, or has lost the partition. Some handlers report all the same.
func (e *executor) vanish() {
	for _, x := range e.running {
		if e.p.w.rng.IntN(4) == 0 {
			e.p.w.tooLate(report{x.task, e.outcome(x)})
		}
	}
	e.running, e.active = nil, nil
}

func (e *executor) String() string {
	return fmt.Sprintf("%d of %d slots free, %d running", e.free, e.p.w.odds.slots, len(e.running))
}
