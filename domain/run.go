package domain

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Run is what the engine offers to a handler while it runs a step. StepView has the same with Go values; handlers that
// get no StepView, or hand the work on, find it in their context with RunFrom. All of it may be called from any
// goroutine; after the end of the execution it does nothing.
type Run interface {
	// Checkpoint stores the cursor and returns when it is stored. ErrStale when the execution is not the step's current
	// one any more.
	Checkpoint(ctx context.Context, cursor json.RawMessage) error
	// Progress says how far the step has come. At most one a second is stored, the last one always.
	Progress(done, total int, message string)
	// Heartbeat is a sign of life, for steps with a heartbeat_timeout. Checkpoint, Progress and AppendLog are signs of
	// life, too.
	Heartbeat()
	// AppendLog stores lines with the step: within MaxLogLine, MaxLogEvent a second and MaxLogAttempt; what is more is
	// dropped and counted. It never waits.
	AppendLog(lines ...string)
	// Emit stores a custom event together with the outcome of the execution.
	Emit(name string, data json.RawMessage) error
}

type runKey struct{}

// WithRun returns a context in which RunFrom finds the run.
func WithRun(ctx context.Context, r Run) context.Context { return context.WithValue(ctx, runKey{}, r) }

// RunFrom is the run of the step whose handler was called with ctx; false outside of handlers.
func RunFrom(ctx context.Context) (Run, bool) {
	r, ok := ctx.Value(runKey{}).(Run)
	return r, ok
}

// IsRunKey reports whether the key is the one that RunFrom asks a context for: for contexts that are a run themselves.
func IsRunKey(key any) bool {
	_, ok := key.(runKey)
	return ok
}

// WithRun returns the step with the run that its methods use; without one they do nothing, so that a handler can be
// called in a test as it is.
func (s StepView) WithRun(r Run) StepView {
	s.run = r
	return s
}

// Checkpoint stores how far the step has come, any JSON of at most MaxCursor bytes, and returns when it is stored: the
// next attempt finds it with Resume, whatever ended this one. An operator's retry keeps it, unless it brings other
// inputs. Return its error: the step has been cancelled, or another process runs it now. A checkpoint costs a commit
// (with strict durability a forced write of the disk), so make one every few hundred milliseconds of work.
func (s StepView) Checkpoint(ctx context.Context, cursor any) error {
	text, err := json.Marshal(cursor)
	switch {
	case err != nil:
		return fmt.Errorf("checkpoint of step %q: %w", s.Name, err)
	case len(text) > MaxCursor:
		return fmt.Errorf("checkpoint of step %q: %d bytes, at most %d are possible: store the data elsewhere, and here where it is",
			s.Name, len(text), MaxCursor)
	case s.run == nil:
		return nil
	}
	return s.run.Checkpoint(ctx, text)
}

// Resume decodes the checkpoint of an earlier attempt into cursor; false when there is none.
func (s StepView) Resume(cursor any) (bool, error) {
	if s.Cursor == nil {
		return false, nil
	}
	if err := json.Unmarshal(s.Cursor, cursor); err != nil {
		return false, Permanent(fmt.Errorf("the checkpoint of step %q does not fit %T: %w", s.Name, cursor, err))
	}
	return true, nil
}

// Progress says how far the step has come, for people: total 0 when nobody knows, a message of at most
// MaxProgressMessage bytes. It never waits; of many within a second the last one is stored.
func (s StepView) Progress(done, total int, message string) {
	if s.run != nil {
		s.run.Progress(done, total, message)
	}
}

// Heartbeat is a sign of life: a step with a heartbeat_timeout fails, and is tried again, when none comes for so long.
func (s StepView) Heartbeat() {
	if s.run != nil {
		s.run.Heartbeat()
	}
}

// Log stores a text with the step, line by line, for people: see Run.AppendLog for the limits.
func (s StepView) Log(format string, args ...any) {
	if s.run != nil {
		s.run.AppendLog(strings.Split(strings.TrimSuffix(fmt.Sprintf(format, args...), "\n"), "\n")...)
	}
}

// Emit stores a custom event, which the step or its definition must declare in custom_events, with the outcome of this
// execution, also when it fails. data is any JSON; nil is none. At most MaxEmitted of MaxEmittedBytes together.
func (s StepView) Emit(name string, data any) error {
	var text json.RawMessage
	if data != nil {
		var err error
		if text, err = json.Marshal(data); err != nil {
			return fmt.Errorf("event %q of step %q: %w", name, s.Name, err)
		}
	}
	if s.run == nil {
		return nil
	}
	return s.run.Emit(name, text)
}
