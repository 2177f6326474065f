package attached

import (
	"errors"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// ErrTrimmed: what should be read next is not stored any more. There is no silent gap: who accepts it starts a new
// name, or a replay, with FromOldest.
type ErrTrimmed struct {
	Partition int
	Wanted    uint64 // the sequence to read next; 0 when it was named by a time
	First     uint64 // the first one that is there
}

func (e ErrTrimmed) Error() string {
	wanted := "what came before it"
	if e.Wanted > 0 {
		wanted = fmt.Sprintf("message %d", e.Wanted)
	}
	return fmt.Sprintf("partition %02d begins at message %d, %s has been trimmed: start from the oldest that is there, under another name",
		e.Partition, e.First, wanted)
}

// MismatchError: a cursor is of another log, or of another partitioning of it.
type MismatchError struct {
	Cursor         string // what it is
	DataID         string // of the cursor
	Generation     int    // of the cursor; 0 when it says nothing of it
	LogDataID      string
	LogGeneration  int
	PartitionCount int
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is of data %s, generation %d; this log is data %s, generation %d, with %d partitions: "+
		"it means nothing here. Connect to the right NATS, or remove the cursor (Forget) to start anew",
		e.Cursor, e.DataID, e.Generation, e.LogDataID, e.LogGeneration, e.PartitionCount)
}

// LiveOnlyError: a signal that is not stored and follows from nothing that is stored was asked of the log.
type LiveOnlyError struct{ Type domain.EventType }

func (e *LiveOnlyError) Error() string {
	return fmt.Sprintf("%q is not stored, and follows from nothing that is: only the process in which it happens is told of it "+
		"(Engine.Tap)", e.Type)
}

// AheadError: a cursor names what has not been stored yet. That happens when the log was restored from an older backup.
type AheadError struct {
	Partition  int
	Next, Last uint64
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("the cursor of partition %02d says that message %d is next, but the log ends at %d: was it restored from an older "+
		"backup? Remove the cursor (Forget) to start anew", e.Partition, e.Next, e.Last)
}

// PoisonError: the last try of an event has failed, and OnPoison is StopSubscriber.
type PoisonError struct {
	Subscriber string
	Position   domain.Position
	Type       domain.EventType
	Task       domain.TaskID
	Tries      int
	Err        error // of the last try
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("subscriber %q stops at event %s (%s%s), which failed %d times: %v",
		e.Subscriber, e.Position, e.Type, ofTask(e.Task), e.Tries, e.Err)
}

func (e *PoisonError) Unwrap() error { return e.Err }

// UnreadableError: a commit of the log cannot be read, and no operator has said to pass over it.
type UnreadableError struct {
	Partition int
	Sequence  uint64
	Err       error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("message %d of partition %02d cannot be read (%v); to pass over it for good: "+
		"tasker log skip %02d %d --reason \"...\"", e.Sequence, e.Partition, e.Err, e.Partition, e.Sequence)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// PanicError is a try that ended in a panic of the handler.
type PanicError struct {
	Value any
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.Value) }

// Reasons for giving a durable name up for a while; Run tries to get it back.
var (
	errLeaseLost  = errors.New("another process has taken the subscriber over")
	errLeaseStale = errors.New("the lease could not be renewed in time")
	// errMoved: a cursor was written by somebody else: an operator, or a process whose lease had run out.
	errMoved = errors.New("a cursor was changed by somebody else")
)

func ofTask(id domain.TaskID) string {
	if id.IsZero() {
		return ""
	}
	return " of task " + id.String()
}
