// Package executor runs handlers. It hears of step.execution_requested after the commit that says so, calls the handler
// in a goroutine, and reports the outcome to the coordinator, which alone decides what it means.
//
//	executor.go    what it is made of, what it subscribes to
//	registry.go    the handlers
//	slots.go       how many executions there may be
//	execution.go   the life of one execution
//	workers.go     the goroutines that executions run in
//	context.go     the context that a handler gets
//	input.go       what a handler sees
//	running.go     what a handler says before it is done: checkpoints, progress, log lines, custom events
//	signals.go     who calls a handler tells the taps
//	outcome.go     what becomes of a handler's answer
//	annotate.go    the hook at the end of a run
//	owed.go        the hooks that a crash cut off
//	drain.go       stopping
package executor

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// DefaultSlots is how many executions run at once when Config.Slots is 0.
const DefaultSlots = 4096

// Config is what an Executor is made of. Report is required; the other functions are where steps need them.
type Config struct {
	// Slots is how many executions run at once in this process; default DefaultSlots.
	Slots int
	// PerHandler are lower limits for single handler names.
	PerHandler map[string]int
	// Report hands a CompleteStep or FailStep over to the task's coordinator. It must not block. It is called at most
	// once per execution, from any goroutine, and not at all when the execution was ended by an event or its partition
	// was lost. Before it, ProgressStep and LogStep may come, each at most once a second and execution.
	Report func(partition int, task domain.TaskID, cmd domain.Command)
	// Confirm hands a CheckpointStep over and returns when it is stored; domain.ErrStale when the execution is not the
	// current one any more. nil: handlers cannot store checkpoints.
	Confirm func(ctx context.Context, partition int, task domain.TaskID, cmd domain.Command) error
	// Annotate hands the notes of an annotation hook over; it must not block. nil: hooks are not called.
	Annotate func(n Notes)
	// Load reads a payload that is not inline: by its position in the log, or from the blob store.
	Load func(ctx context.Context, p domain.Payload) (json.RawMessage, error)
	// Store makes a payload of a result that is larger than domain.InlineLog: it goes to the blob store before it is
	// reported.
	Store func(ctx context.Context, text json.RawMessage) (domain.Payload, error)
	// Sequence gives all steps of a task, with results, from its owner's state. It is asked once per execution, and
	// only when a handler wants more than its parents.
	Sequence func(ctx context.Context, partition int, task domain.TaskID) ([]domain.StepView, error)
	// Tap is told of step.before_handle and step.handle, as they happen; nil = nobody.
	Tap subscribers.Tap
	// Context may put into a handler's context what the handlers' own tracing looks for; it is asked when a handler first uses
	// its context, and must not block. nil: nothing.
	Context func(ctx context.Context, task domain.TaskView, step domain.StepView) context.Context
	// Logger gets what an operator should know, and what handlers log; default slog.Default().
	Logger *slog.Logger
}

// Executor runs the handlers of one process; the coordinators of all its partitions share it. Every method may be
// called from any goroutine. It keeps nothing of an execution that is over.
type Executor struct {
	cfg       Config
	registry  atomic.Pointer[registry]
	slots     slots
	workers   workers
	active    [activeShards]active
	hook      hook
	count     counters
	register  sync.Mutex // serializes changes of registry
	listeners listeners

	// pending counts what Drain waits for: slots taken, reports under way, annotations.
	pending atomic.Int64
	drained chan struct{} // gets a value when pending falls to 0 while draining
}

// active is the executions of some partitions that nobody has ended yet. Whoever takes an execution out decides how it
// ends, so each ends once.
type active struct {
	mu      sync.Mutex
	stopped bool // Drain has run out of time: nothing starts any more
	running map[key]*execution
	_       [40]byte // a cache line each
}

const activeShards = 16

// key names the execution of a step; there is one at a time. Its attempt stands in the execution.
type key struct {
	task domain.TaskID
	step int32
}

var _ subscribers.Withdrawer = (*Executor)(nil)

// New makes an executor without handlers.
func New(c Config) *Executor {
	if c.Slots <= 0 {
		c.Slots = DefaultSlots
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	e := &Executor{cfg: c, drained: make(chan struct{}, 1)}
	e.slots.init(c.Slots, c.PerHandler)
	e.workers.init(e.run)
	for i := range e.active {
		e.active[i].running = map[key]*execution{}
	}
	e.registry.Store(newRegistry())
	return e
}

// Name is the executor's name as a subscriber.
func (*Executor) Name() string { return "executor" }

// SubscribesTo lists the start of an execution, whatever can end one from outside, and the ends of runs, for the
// annotation hook. (task.resolved_manually ends no run: that ended when the task failed.)
func (*Executor) SubscribesTo() []domain.EventType {
	return []domain.EventType{
		domain.StepExecutionRequestedType, domain.StepCompletedType, domain.StepFailedType, domain.StepCancelledType,
		domain.TaskCompletedType, domain.TaskFailedType, domain.TaskCancelledType,
	}
}

// Notify starts an execution, or ends one that an operator or a deadline has made pointless.
func (e *Executor) Notify(c subscribers.Committed) {
	switch ev := c.Record.Event.(type) {
	case domain.StepExecutionRequested:
		e.start(c, ev)
	case domain.StepCompleted:
		if c.Record.Actor() != domain.ByHandler { // else it is our own report
			e.endStep(c, ev.Step, ev.Attempt, ErrStepEnded)
		}
	case domain.StepFailed:
		e.endStep(c, ev.Step, ev.Attempt, ErrStepEnded)
	case domain.StepCancelled:
		e.endStep(c, ev.Step, 0, ErrStepCancelled)
	case domain.TaskCompleted, domain.TaskFailed, domain.TaskCancelled:
		e.runEnded(c)
	case domain.PartitionOpened, domain.PartitionSkipped, domain.DefinitionAdopted, domain.TaskCreated,
		domain.TaskStartRequested, domain.TaskReenqueued, domain.TaskDelayed, domain.TaskRetryRequested,
		domain.TaskResolvedManually, domain.TaskPaused, domain.TaskResumed, domain.TaskAnnotated,
		domain.StepInherited, domain.StepRetryRequested, domain.StepResolvedManually, domain.StepSkipped, domain.TaskExpired,
		domain.StepCheckpointed, domain.StepProgressed, domain.StepLogAppended, domain.Custom, domain.Signal, domain.Unknown:
		// No execution begins or ends with them.
	}
}

// Withdraw gives the slot of an execution back that was requested in a commit which will never be stored.
func (e *Executor) Withdraw(c subscribers.Committed) {
	ev, ok := c.Record.Event.(domain.StepExecutionRequested)
	if !ok || c.Task == nil {
		return
	}
	i := c.Task.Definition.Graph().Index(ev.Step)
	if i < 0 || ev.Until != 0 || c.Task.Template(i).Handler == domain.SleepHandler {
		return
	}
	e.Release(c.Task.Definition, i)
}

// start runs on the coordinator's goroutine: it copies what the handler will see, and no more.
func (e *Executor) start(c subscribers.Committed, ev domain.StepExecutionRequested) {
	t := c.Task
	if t == nil || ev.Until != 0 {
		return // a sleep: the engine ends it
	}
	i := t.Definition.Graph().Index(ev.Step)
	if i < 0 || t.Template(i).Handler == domain.SleepHandler {
		return
	}
	if s := &t.Steps[i]; s.State != domain.InProgress || int(s.Attempt) != ev.Attempt || !t.State.Live() {
		// The task is ahead of the event: the next commit ends this execution, so it need not begin.
		e.Release(t.Definition, i)
		return
	}
	x := e.newExecution(c, i, ev.Attempt)
	if !x.shard.add(x) {
		e.slots.release(x)
		e.interrupt(x)
		e.done()
		return
	}
	e.count.executions.Add(1)
	e.workers.add(x)
}

func (a *active) add(x *execution) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	a.running[x.key] = x
	return true
}

// claim takes the execution out of those that nobody has ended; false when somebody else was first.
func (a *active) claim(x *execution) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running[x.key] != x {
		return false
	}
	delete(a.running, x.key)
	return true
}

func (a *active) find(k key) *execution {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running[k]
}

// all lists the executions of a partition; of every partition of the shard when it is negative.
func (a *active) all(partition int) []*execution {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*execution
	for _, x := range a.running {
		if partition < 0 || x.partition == partition {
			list = append(list, x)
		}
	}
	return list
}

// endStep ends a running execution of the step whose outcome is known without it; attempt 0 stands for any.
func (e *Executor) endStep(c subscribers.Committed, step string, attempt int, cause error) {
	if c.Task == nil {
		return
	}
	i := c.Task.Definition.Graph().Index(step)
	if i < 0 {
		return
	}
	x := e.shard(c.Record.Position.Partition).find(key{c.Record.Task, int32(i)}) // #nosec G115 -- at most MaxSteps
	if x != nil && (attempt == 0 || attempt == x.call.Step.Attempt) {
		e.cancel(x, cause)
	}
}

// CancelPartition cancels the executions and annotation hooks of a partition that this process has lost. Nothing is
// reported for them.
func (e *Executor) CancelPartition(partition int) {
	for _, x := range e.shard(partition).all(partition) {
		e.cancel(x, ErrPartitionLost)
	}
	e.leaveTo(partition, false)
}

func (e *Executor) shard(partition int) *active { return &e.active[uint(partition)%activeShards] } // #nosec G115 -- never negative

// RunningView is an execution in progress.
type RunningView struct {
	Task      domain.TaskID
	Partition int
	Step      string
	Handler   string
	Attempt   int
	Since     time.Time
}

// Running lists the executions in progress, in no order.
func (e *Executor) Running() []RunningView {
	var list []RunningView
	for i := range e.active {
		for _, x := range e.active[i].all(-1) {
			list = append(list, RunningView{
				Task: x.key.task, Partition: x.partition, Step: x.call.Step.Name, Handler: x.call.Step.Handler,
				Attempt: x.call.Step.Attempt, Since: x.since,
			})
		}
	}
	return list
}
