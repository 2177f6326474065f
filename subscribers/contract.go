package subscribers

import (
	"context"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Reactor is a subscriber inside the commit. React is level-triggered: it looks at the state of the task, not at what
// has happened, and gives no command for a settled state; so a restart, or a commit that was cut short, is repaired by
// asking again. It must not keep the task, and it must not do I/O, ask for the time, or block.
type Reactor interface {
	Name() string
	// ReactsTo lists the events after which the coordinator asks.
	ReactsTo() []domain.EventType
	// React appends its commands to out.
	React(t *domain.Task, now domain.Instant, out []domain.Command) []domain.Command
}

// Holder is a reactor that holds work back until there is room for it.
type Holder interface {
	Reactor
	// Resume is called when there may be room again. It finds tasks by id (nil: not there any more) and hands each
	// command to do, which applies it at once.
	Resume(now domain.Instant, find func(domain.TaskID) *domain.Task, do func(*domain.Task, domain.Command))
	// Held is how much waits.
	Held() int
}

// Alarm is a reactor that wants to be asked about a task again at a certain time.
type Alarm interface {
	Reactor
	// WakeAt is that time; 0 = not by time.
	WakeAt(t *domain.Task) domain.Instant
}

// Subscriber hears of events after they have been stored, in the order of the log, on the coordinator's goroutine: it
// must not block. What takes time it does in goroutines of its own.
type Subscriber interface {
	Name() string
	// SubscribesTo lists the events that it is told of.
	SubscribesTo() []domain.EventType
	// Notify is called once per event and process.
	Notify(c Committed)
}

// Withdrawer is a subscriber that prepared something for an event which, it turns out, will never be stored.
type Withdrawer interface {
	Subscriber
	Withdraw(c Committed)
}

// Recoverer is a subscriber that stores something of its own after an event, and that a crash may keep from it.
type Recoverer interface {
	Subscriber
	// Recover is called before the partition is loaded. saw is then told of every event that the newest snapshot does not
	// hold, with the task as it was then (nil for an event without one, or about a task that has ended); opened is called
	// when the partition is open, on the coordinator's goroutine, and not at all when it cannot be opened. Both nil: nothing
	// is to be recovered.
	Recover(partition int) (saw func(Committed), opened func())
	// Settle is called before a snapshot of the partition is written that hides the events up to that sequence: it returns
	// when nothing is to be recovered from them any more. false gives the snapshot up. It may take its time.
	Settle(ctx context.Context, partition int, sequence uint64) bool
}

// Committed is an event with the task that it is about (nil for the facts without one). The task may be ahead of the
// event; it is only valid during the call.
type Committed struct {
	Record domain.Record
	Task   *domain.Task
	// Before is what the event found; filled in when Config.Moments is set.
	Before domain.Moment
}

// Meter is told what commits cost. It is called on the coordinator's goroutine: it must not block, and should not allocate.
type Meter interface {
	// Stored: a commit of so many events and bytes was acknowledged. took is the time since it was sent, gathered since
	// its first event; a commit that is one of several parts of a large input is told of by itself.
	Stored(events, bytes int, took, gathered time.Duration)
}

// Tap is told of everything that this process stores, message by message, before the subscribers are, and of the signals
// that only a process knows which is at work (SEMANTICS 11). It is called from many goroutines, and must not block.
type Tap interface {
	// Open reports whether anybody listens: while nobody does, nothing is told.
	Open() bool
	// Wants reports whether anybody listens for that type.
	Wants(t domain.EventType) bool
	// Tell hands over the records of one message, or one signal that follows from no message; one without a time happens
	// now. The slice is the caller's.
	Tell(records []domain.Record)
}

// Answer is what a submitter or an operator gets, after the commit that it rests on has been stored.
type Answer struct {
	Task     domain.TaskID
	Created  bool            // Submit: this call made the task
	Changed  bool            // a verb: it led to events
	Position domain.Position // of the newest commit of the task that the answer rests on
	Err      error           // a refusal; see the typed errors of domain and of this package
	Change   Change          // a verb: what it did
}

// Change is what a verb did to the task, or to the step that it is about. A verb that was refused, or that changed
// nothing, leaves From and To equal.
type Change struct {
	From, To domain.State // before the verb and right after it, before anything reacted to it
	Attempt  int          // number of the step's last execution; 0 when the verb is about the task
	Reopened bool         // a verb on a step reopened the failed task
}

// Outcome is how a run of a task ended, as it stands in the log.
type Outcome struct {
	Task     domain.TaskID
	State    domain.State
	Result   domain.Payload
	From     []string // the steps of which the result is made, when it is not in Result
	Failed   domain.FailReason
	Steps    []string // the steps to blame for a failure
	Position domain.Position
}
