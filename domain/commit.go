package domain

// Record is an event with what surrounds it: everything that a reader gets to know about it. The log stores what is
// common once (see wire.go); readers fill in the rest.
type Record struct {
	Event    Event
	At       Instant
	By       Actor    // "" stands for DefaultActor(Event.Type())
	Cause    string   // id of the event or command that brought it about; "" when the rule of Causes gives it
	Task     TaskID   // zero for the facts without a task
	Prev     uint64   // sequence of the task's previous commit in the partition; 0 for its first
	Position Position // zero until the commit's sequence is known
}

// ID is the event id; known before the append because the guard fixes the sequence.
func (r Record) ID() string { return r.Position.String() }

// Actor is who brought the event about.
func (r Record) Actor() Actor {
	if r.By != "" {
		return r.By
	}
	return DefaultActor(r.Event.Type())
}

// Commit is what one message in a partition's stream holds: the records appended together, in order.
type Commit struct {
	ID        string  // unique; the header Tasker-Commit repeats it
	At        Instant // time of the first turn that put something in
	Partition int
	Sequence  uint64 // 0 until it is known
	Records   []Record
}

// DefaultActor is the actor of an event whose record names none.
func DefaultActor(t EventType) Actor {
	switch t {
	case TaskCreatedType:
		return BySubmitter
	case StepCompletedType, StepFailedType, TaskAnnotatedType, StepCheckpointedType, StepProgressedType,
		StepLogAppendedType:
		return ByHandler
	case TaskCancelledType, TaskResolvedManuallyType, TaskPausedType, TaskResumedType,
		StepResolvedManuallyType, PartitionSkippedType:
		return ByOperator
	case PartitionOpenedType, DefinitionAdoptedType, TaskStartRequestedType, TaskReenqueuedType, TaskDelayedType,
		TaskCompletedType, TaskFailedType, TaskRetryRequestedType, StepExecutionRequestedType,
		StepRetryRequestedType, StepCancelledType, StepSkippedType, TaskExpiredType, StepInheritedType:
		return ByEngine
	}
	if _, custom := CustomName(t); custom {
		return ByHandler
	}
	return ByEngine
}

func appendInt(b []byte, n int64) []byte {
	if n < 0 {
		b = append(b, '-')
		n = -n
	}
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		n /= 10
		if n == 0 {
			break
		}
	}
	return append(b, digits[i:]...)
}
