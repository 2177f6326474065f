package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// CancelGrace is how long a handler may go on after its context was cancelled before its slot is taken from it.
const CancelGrace = 10 * time.Second

// Causes of the end of a handler's context; context.Cause gives them.
var (
	// ErrStepTimeout: the step's timeout passed.
	ErrStepTimeout = errors.New("the step's timeout passed")
	// ErrStepCancelled: an operator cancelled the step or its task.
	ErrStepCancelled = errors.New("the step was cancelled")
	// ErrStepEnded: the step has an outcome without the handler: an operator's result, or the task's deadline.
	ErrStepEnded = errors.New("the step was ended without its handler")
	// ErrNoHeartbeat: the step's heartbeat_timeout passed without a sign of life.
	ErrNoHeartbeat = errors.New("the handler gave no sign of life within the step's heartbeat_timeout")
	// ErrPartitionLost: another process owns the task now.
	ErrPartitionLost = errors.New("another process owns the task now")
	// ErrStopping: the engine stops and has no time left.
	ErrStopping = errors.New("the engine is stopping")
)

// execution is one call of a handler. It is the handler's context, too (context.go).
type execution struct {
	exec      *Executor
	shard     *active
	key       key
	partition int
	timeout   time.Duration // <= 0: none
	silence   time.Duration // the heartbeat_timeout; <= 0: none
	since     time.Time
	at        domain.Position // of step.execution_requested
	called    time.Time       // when a tap was told that the handler is called; zero = it was not
	call      Call
	sequence  sequence
	tasks     domain.TaskHandler
	slot      slot // guarded by slots.mu

	mu       sync.Mutex
	returned bool // the handler has
	cause    error
	timer    *time.Timer // the timeout; after a cancel: CancelGrace
	heart    *time.Timer // the heartbeat_timeout
	heard    time.Time   // the last sign of life, where there is a heartbeat_timeout
	said     *sayings    // nil until the handler says something
	deadline time.Time
	base     context.Context // made when somebody asks, see context.go
	stop     context.CancelCauseFunc
	ctx      context.Context // base, or its child with the deadline
	free     context.CancelFunc
}

type counters struct {
	executions, completed, failed, panics, timeouts, interrupted, cancelled, late, annotated, unannotated atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		Executions: c.executions.Load(), Completed: c.completed.Load(), Failed: c.failed.Load(),
		Panics: c.panics.Load(), Timeouts: c.timeouts.Load(), Interrupted: c.interrupted.Load(),
		Cancelled: c.cancelled.Load(), Late: c.late.Load(),
		Annotated: c.annotated.Load(), Unannotated: c.unannotated.Load(),
	}
}

func (e *Executor) newExecution(c subscribers.Committed, i, attempt int) *execution {
	t := c.Task
	partition := c.Record.Position.Partition
	x := &execution{
		exec: e, shard: e.shard(partition), partition: partition,
		key:     key{t.ID, int32(i)}, // #nosec G115 -- at most MaxSteps
		timeout: t.Template(i).Timeout, silence: t.Template(i).HeartbeatTimeout, since: time.Now(),
		at: c.Record.Position,
	}
	x.call.Task = taskView(t)
	x.call.Step, _ = View(t, i)
	x.call.Step.State, x.call.Step.Attempt = domain.InProgress, attempt
	x.call.Step = x.call.Step.WithRun(x)
	x.call.exec = e
	x.sequence.begin(x, c)
	x.call.Sequence = &x.sequence
	return x
}

// run is called by a worker.
func (e *Executor) run(x *execution) {
	var cmd domain.Command
	returned := false
	defer func() {
		// A panic, and runtime.Goexit, which runs deferred functions without one, end here.
		if !returned {
			cmd = x.crashed(recover())
		}
		x.afterHandle(cmd)
		e.finish(x, cmd)
	}()
	cmd = e.execute(x)
	returned = true
}

// execute makes the two calls of the handler contract (SEMANTICS 9).
func (e *Executor) execute(x *execution) domain.Command {
	if err := x.loadContext(); err != nil {
		return x.unreadable(err)
	}
	reg := e.registry.Load()
	if x.tasks = reg.task(x.sequence.def); x.tasks == nil {
		x.tasks = reg
	}
	h, err := x.tasks.GetStepHandler(x.call.Step)
	if err != nil && errors.Is(err, domain.ErrUseRegistered) {
		h, err = reg.GetStepHandler(x.call.Step)
	}
	if err == nil && h == nil {
		err = errors.New("GetStepHandler returned nil")
	}
	if err != nil {
		t := &x.call.Task
		return x.fail(domain.StepError{Kind: domain.KindPermanent, Message: fmt.Sprintf(
			"no handler for step %q of task %s (%s.%s@%s): %v", x.call.Step.Name, t.ID, t.Namespace, t.Name, t.Version, err)}, 0)
	}
	if !x.begin() {
		return nil // ended before it began
	}
	x.beforeHandle()
	result, err := h.Handle(x, x.call.Task, x.call.Sequence, x.call.Step)
	if p, ok := h.(domain.ResultsProcessor); ok && err == nil {
		result, err = p.ProcessResults(x, x.call.Step, result)
	}
	return x.outcome(result, err)
}

// finish comes after the handler has returned.
func (e *Executor) finish(x *execution, cmd domain.Command) {
	x.over()
	claimed := x.shard.claim(x)
	if !claimed {
		x.hush()
	}
	freed, wake := e.slots.release(x) // before the report, so that the next step finds the slot
	if claimed && cmd != nil {
		e.report(x, cmd)
	} else if cmd != nil {
		e.count.late.Add(1)
	}
	if wake {
		e.listeners.call()
	}
	if freed {
		e.done()
	}
}

// timedOut is called by the timer of the timeout.
func (e *Executor) timedOut(x *execution) {
	e.pending.Add(1)
	defer e.done()
	if !x.shard.claim(x) {
		return
	}
	freed, wake := e.slots.leak(x)
	e.report(x, x.fail(timeoutError(x.timeout), 0))
	if wake {
		e.listeners.call()
	}
	if freed {
		e.done()
	}
}

// silent is called by the timer of the heartbeat_timeout.
func (e *Executor) silent(x *execution) {
	e.pending.Add(1)
	defer e.done()
	if !x.shard.claim(x) {
		return
	}
	x.giveUp(ErrNoHeartbeat)
	freed, wake := e.slots.leak(x)
	e.report(x, x.fail(domain.StepError{
		Kind: domain.KindTimeout, Code: "HEARTBEAT",
		Message: "the handler gave no sign of life for " + x.silence.String() + " (heartbeat_timeout)",
	}, 0))
	if wake {
		e.listeners.call()
	}
	if freed {
		e.done()
	}
}

// cancel ends an execution whose outcome does not matter any more.
func (e *Executor) cancel(x *execution, cause error) {
	if !x.shard.claim(x) {
		return
	}
	x.hush()
	e.count.cancelled.Add(1)
	x.cancel(cause)
}

// interrupt reports that an execution ends because the engine stops; the next process runs the step again.
func (e *Executor) interrupt(x *execution) {
	e.report(x, x.fail(domain.StepError{Kind: domain.KindInterrupted, Message: "the engine stopped before the handler returned"}, 0))
}

// overdue is called by the timer of CancelGrace.
func (e *Executor) overdue(x *execution) {
	freed, wake := e.slots.leak(x)
	if wake {
		e.listeners.call()
	}
	if freed {
		e.done()
	}
}

func (e *Executor) report(x *execution, cmd domain.Command) {
	emitted := x.lastWords()
	if f, ok := cmd.(domain.FailStep); ok {
		f.Emitted = emitted
		e.countFailure(f.Error.Kind)
		cmd = f
	} else if c, ok := cmd.(domain.CompleteStep); ok {
		c.Emitted = emitted
		e.count.completed.Add(1)
		cmd = c
	}
	e.cfg.Report(x.partition, x.key.task, cmd)
}

func (e *Executor) countFailure(kind domain.ErrorKind) {
	e.count.failed.Add(1)
	switch kind {
	case domain.KindPanic:
		e.count.panics.Add(1)
	case domain.KindTimeout:
		e.count.timeouts.Add(1)
	case domain.KindInterrupted:
		e.count.interrupted.Add(1)
	case domain.KindError, domain.KindPermanent, domain.KindWorkerLost, domain.KindDeadline:
	}
}

// done settles one of what Drain waits for.
func (e *Executor) done() {
	if e.pending.Add(-1) == 0 {
		select {
		case e.drained <- struct{}{}: // a value that nobody waits for is looked at again by Drain
		default:
		}
	}
}
