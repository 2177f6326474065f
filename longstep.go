package tasker

import (
	"context"
	"fmt"
)

// What a handler says before it is done. Each function finds the step in the context that the handler was called with, or
// in one derived from it, from any goroutine; StepView has the same as methods, for handlers that are given one. Outside of
// handlers those that return an error return ErrNoStep, and the others do nothing.

// ErrNoStep: the context is not that of a step's handler.
var ErrNoStep = fmt.Errorf("this is not the context of a step's handler: hand on the one that the handler was called with")

func stepOf(ctx context.Context, what string) (StepView, error) {
	step, ok := StepOf(ctx)
	if !ok {
		return step, fmt.Errorf("tasker.%s: %w", what, ErrNoStep)
	}
	return step, nil
}

// Checkpoint stores how far the step has come, anything that encodes to at most 16 KiB of JSON, and returns when it is
// stored. The next attempt finds it with Resume, whatever ended this one: an error, a timeout, a crash. An operator's retry
// keeps it, unless it brings other inputs. It is a sign of life (HeartbeatTimeout).
//
// Return its error: the step has been cancelled, has timed out, or another process runs it now (domain.ErrStale). While the
// log cannot be reached it waits, until ctx or the execution ends. A checkpoint costs a commit, so make one every few
// hundred milliseconds of work; whatever was done since the last one is done again after a crash.
func Checkpoint(ctx context.Context, cursor any) error {
	step, err := stepOf(ctx, "Checkpoint")
	if err != nil {
		return err
	}
	return step.Checkpoint(ctx, cursor)
}

// Resume decodes the checkpoint of an earlier attempt into cursor; false when there is none, and cursor is left as it is.
// It gives what there was when this attempt began. A checkpoint that does not fit fails the step for good.
func Resume(ctx context.Context, cursor any) (bool, error) {
	step, err := stepOf(ctx, "Resume")
	if err != nil {
		return false, err
	}
	return step.Resume(cursor)
}

// Progress says how far the step has come, for people: done of total, 0 for a total that nobody knows, and a message of
// at most 256 bytes, or "". It never waits. Of many within a second the last one is stored, and the last one of all. It is
// a sign of life (HeartbeatTimeout).
func Progress(ctx context.Context, done, total int, message string) {
	if step, ok := StepOf(ctx); ok {
		step.Progress(done, total, message)
	}
}

// Heartbeat is a sign of life and nothing else: a step with a HeartbeatTimeout fails, and is tried again, when none comes
// for so long. It costs next to nothing, and is not stored.
func Heartbeat(ctx context.Context) {
	if step, ok := StepOf(ctx); ok {
		step.Heartbeat()
	}
}

// Emit stores a custom event, which the step (Emits) or its definition (Builder.CustomEvent) must declare, together with
// the outcome of this execution, also when that is a failure: subscribers to domain.CustomType(name) get it then. data is
// anything that encodes to JSON; nil is none. At most 100 events and 128 KiB of data per execution. The events of an
// execution that is cut off by a timeout are stored, too; those of one that a crash or a cancel ends are lost.
func Emit(ctx context.Context, name string, data any) error {
	step, err := stepOf(ctx, "Emit")
	if err != nil {
		return err
	}
	return step.Emit(name, data)
}

// Log stores lines with the step, for people, where Logger writes to the log of the process. A line has at most 1 KiB,
// the lines of a second 16 KiB, those of an attempt 64 KiB; what is more is dropped and counted. It never waits. It is a
// sign of life (HeartbeatTimeout).
func Log(ctx context.Context, format string, args ...any) {
	if step, ok := StepOf(ctx); ok {
		step.Log(format, args...)
	}
}
