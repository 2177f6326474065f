package subscribers

import (
	"errors"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// Errors of the coordinator. The first three mean that nothing was stored.
var (
	// ErrOverloaded: too much waits already. Try again later.
	ErrOverloaded = errors.New("overloaded: too many submissions or steps are waiting; try again later")
	// ErrNotRunning: the engine has not been started, or has stopped.
	ErrNotRunning = errors.New("the engine is not running")
	// ErrNotOwner: this process does not own the task's partition (any more).
	ErrNotOwner = errors.New("this process does not own the partition")
	// ErrOutcomeUnknown: the request was sent but nobody knows yet whether it was stored. Submitting again with the same
	// id or idempotency key is safe.
	ErrOutcomeUnknown = errors.New("outcome unknown: it may have been stored; ask for the task, or submit again with the same id or key")
	// ErrIdempotencyMismatch: the idempotency key was used before, with another input. The answer names that task.
	ErrIdempotencyMismatch = errors.New("the idempotency key was used before with another input")
	// ErrTooManyKeys: as many idempotency keys as may be are remembered already. Nothing was stored; submit without a key,
	// or when the oldest keys have left their window.
	ErrTooManyKeys = errors.New("too many idempotency keys are remembered: submit without a key, wait, or shorten the idempotency window")
	// ErrTaskNotFound: there is no such task, or its history has been trimmed.
	ErrTaskNotFound = errors.New("no such task")
	// ErrStoreFull: the store is nearly full; running tasks go on, new ones are refused.
	ErrStoreFull = errors.New("the store is at 90 % of its limit: free space (tasker prune) or raise the limit")
)

// errEnded: the task has ended and left memory; the log has it.
var errEnded = errors.New("the task has ended")

// errMovedSnapshot: a foreign message took the place of the one that a snapshot names; the next one will do.
var errMovedSnapshot = errors.New("somebody else wrote to the log where the snapshot's last commit should stand")

// FrozenError: the task has an event that this version cannot read; nothing happens to it until a newer one takes over.
type FrozenError struct {
	Task    domain.TaskID    `json:"task"`
	Event   domain.EventType `json:"event"`
	Version int              `json:"version"`
}

func (e *FrozenError) Error() string {
	return fmt.Sprintf("task %s is frozen: its event %q version %d needs a newer version of tasker", e.Task, e.Event, e.Version)
}

// PoisonError: handling an input made the engine panic; the input is refused and nothing of it was stored.
type PoisonError struct {
	Input string
	Panic any
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("poison: %s made the engine panic (%v) and was refused; please report this", e.Input, e.Panic)
}

// UnreadableError: a message of the log cannot be read. The partition stays closed until an operator decides.
type UnreadableError struct {
	Partition int
	Sequence  uint64
	Err       error
}

func (e *UnreadableError) Error() string {
	var newer *domain.CommitVersionError
	if errors.As(e.Err, &newer) {
		return fmt.Sprintf("partition %02d is closed: message %d was written by a newer version of tasker (%v): run that version; nothing is lost",
			e.Partition, e.Sequence, e.Err)
	}
	return fmt.Sprintf("partition %02d is closed: message %d cannot be read (%v); to pass over it for good: "+
		"tasker log skip %02d %d --reason \"...\"", e.Partition, e.Sequence, e.Err, e.Partition, e.Sequence)
}

func (e *UnreadableError) Unwrap() error { return e.Err }
