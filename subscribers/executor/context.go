package executor

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Call is what a handler was called with; FromContext finds it in the handler's context.
type Call struct {
	Task     domain.TaskView
	Sequence domain.Sequence
	Step     domain.StepView

	exec   *Executor
	once   sync.Once
	logger *slog.Logger
}

type callKey struct{}

// FromContext returns the call that the context belongs to; false outside of handlers.
func FromContext(ctx context.Context) (*Call, bool) {
	c, ok := ctx.Value(callKey{}).(*Call)
	return c, ok
}

// NewContext returns a context that carries the call: for those who call handlers themselves, such as tests.
func NewContext(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// Parents names the steps that this one depends on, as its template has them. A Call that a test made has no template: then
// all other steps of its sequence are meant.
func (c *Call) Parents(ctx context.Context) ([]string, error) {
	if q, ok := c.Sequence.(*sequence); ok {
		return q.def.Steps[q.x.key.step].DependsOn, nil
	}
	steps, err := c.Sequence.Steps(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range steps {
		if steps[i].Name != c.Step.Name {
			names = append(names, steps[i].Name)
		}
	}
	return names, nil
}

// Logger writes to the engine's log, with task, step and attempt.
func (c *Call) Logger() *slog.Logger {
	c.once.Do(func() {
		base := slog.Default()
		if c.exec != nil {
			base = c.exec.cfg.Logger
		}
		base = base.With("task", c.Task.ID.String(), "step", c.Step.Name, "attempt", c.Step.Attempt)
		if c.Task.CorrelationID != "" {
			base = base.With("correlation", c.Task.CorrelationID)
		}
		if trace := domain.TraceOf(c.Task.ID, c.Task.Traceparent, c.Task.CorrelationID); trace.Remote() {
			base = base.With("trace_id", hex.EncodeToString(trace.ID[:]))
		}
		c.logger = base
	})
	return c.logger
}

// Logger is the logger of the call that the context belongs to, or slog.Default().
func Logger(ctx context.Context) *slog.Logger {
	if c, ok := FromContext(ctx); ok {
		return c.Logger()
	}
	return slog.Default()
}

// An execution is its handler's context. Most handlers never look at it, so the cancelable context behind it is made
// when somebody asks; the timeout of the execution itself does not depend on it.

// Deadline is when the step's timeout passes.
func (x *execution) Deadline() (time.Time, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.deadline, !x.deadline.IsZero()
}

// Done is closed when the handler should give up; context.Cause says why.
func (x *execution) Done() <-chan struct{} { return x.context().Done() }

// Err is context.DeadlineExceeded after the timeout, context.Canceled after any other end.
func (x *execution) Err() error { return x.context().Err() }

// Value finds the Call. It goes on to the context behind, because the context package finds it by a key of its own.
func (x *execution) Value(k any) any {
	if _, ok := k.(callKey); ok {
		return &x.call
	}
	if domain.IsRunKey(k) {
		return x
	}
	return x.context().Value(k)
}

// String is for people who print contexts.
func (x *execution) String() string {
	return "executor.execution(" + x.key.task.String() + "/" + x.call.Step.Name + ")"
}

func (x *execution) context() context.Context {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctx != nil {
		return x.ctx
	}
	if x.base == nil {
		ctx := context.Background()
		if x.exec.cfg.Context != nil {
			ctx = x.exec.cfg.Context(ctx, x.call.Task, x.call.Step)
		}
		x.base, x.stop = context.WithCancelCause(ctx)
		if x.cause != nil || x.returned {
			x.stop(x.cause)
		}
	}
	x.ctx = x.base
	if !x.deadline.IsZero() {
		x.ctx, x.free = context.WithDeadlineCause(x.base, x.deadline, ErrStepTimeout)
	}
	return x.ctx
}

// begin starts the timeout; false when the execution has been ended already.
func (x *execution) begin() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return false
	}
	if x.timeout > 0 {
		x.deadline = time.Now().Add(x.timeout)
		x.ctx = nil // what was made to load the input has no deadline
		x.timer = time.AfterFunc(x.timeout, func() { x.exec.timedOut(x) })
	}
	if x.silence > 0 {
		x.heard = time.Now()
		x.heart = time.AfterFunc(x.silence, func() { x.exec.silent(x) })
	}
	return true
}

// Heartbeat starts the heartbeat_timeout again.
func (x *execution) Heartbeat() {
	if x.silence <= 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.heart != nil && !x.returned && x.cause == nil {
		x.heard = time.Now()
		x.heart.Reset(x.silence)
	}
}

// giveUp ends the context of a handler whose slot has been taken from it.
func (x *execution) giveUp(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.endContext(cause)
}

// endContext does so under mu; false when it has ended already.
func (x *execution) endContext(cause error) bool {
	x.stopTimers()
	if x.returned || x.cause != nil {
		return false
	}
	x.cause = cause
	if x.stop != nil {
		x.stop(cause)
	}
	return true
}

func (x *execution) stopTimers() {
	for _, timer := range []*time.Timer{x.timer, x.heart} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// cancel ends the context and gives the handler CancelGrace to return.
func (x *execution) cancel(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.endContext(cause) {
		x.timer = time.AfterFunc(CancelGrace, func() { x.exec.overdue(x) })
	}
}

// over ends the context after the handler has returned.
func (x *execution) over() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.returned = true
	x.stopTimers()
	if x.stop != nil {
		x.stop(nil)
	}
	if x.free != nil {
		x.free()
	}
}
