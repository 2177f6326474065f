package domain

import (
	"context"
	"iter"
	"time"
)

// Subscriptions is where stored events come from. tasker.Engine and tasker.Client implement it; adapters that hand
// events on, such as infra/watermill, are built on it.
type Subscriptions interface {
	// Subscribe calls handle for the events of the subscription, in order per task, until ctx ends or the subscription
	// cannot go on.
	Subscribe(ctx context.Context, s Subscription, handle func(ctx context.Context, r Record) error) error
	// Replay reads stored events once.
	Replay(ctx context.Context, o ReplayOptions) iter.Seq2[Record, error]
}

// Subscription says what a subscriber is told of, and how. The zero value is one that is not durable and is told of every
// fact from now on.
type Subscription struct {
	// Name makes the subscriber durable: 1 to 128 of A-Z a-z 0-9 _ -. At any time one process runs it, others that are
	// started with the same name wait and take over. Without a name no cursor is kept.
	Name string
	// Types it is told of: facts, signals, custom.<name>, and families such as workflow.* or custom.* (NewEventSet). None
	// means every fact, also those that this version cannot read (Unknown), and no signal. A signal that is only told live
	// is refused; a family leaves it out.
	Types []EventType
	// From is where a new durable name starts, or one that is not durable; a name that has cursors goes on from them.
	// Default FromNew.
	From Start
	// Lanes is how many handlers run at once, default 16, at most 4096.
	Lanes int
	// Tries of an event, default 10.
	Tries int
	// Backoff is how long the event, and what follows it in its task, waits after a failed try (1 for the first).
	// Default 1 s, doubling to 5 min.
	Backoff func(try int) time.Duration
	// OnPoison: Park (default) or StopSubscriber, for those who need order more than progress.
	OnPoison Poison
	// Flush and FlushEvents: the cursors are written when either has passed, default 200 ms and 1,000 finished events,
	// and at stop.
	Flush       time.Duration
	FlushEvents int
}

// Poison says what becomes of an event whose last try has failed.
type Poison int

const (
	// Park puts the event into the dead letters and goes on.
	Park Poison = iota
	// StopSubscriber ends the subscriber with an error. The event comes again when it is started again.
	StopSubscriber
)

// ReplayOptions say what is read again. The zero value is everything that is stored when the replay begins.
type ReplayOptions struct {
	Types []EventType // facts, signals, custom.<name>, families such as workflow.*; none = every fact
	Task  TaskID      // zero = all, and the facts without a task
	// Namespace and Definition keep only the events of tasks of that namespace, and of the definitions of that name
	// ("order", in every version, or "order@1.4.0") in it or, without Namespace, in any. The facts without a task are left
	// out. Only task.created says what a task is made of: of tasks that began before the place where the replay begins it is
	// looked up in the log, by a few reads per commit at first, or in a snapshot (docs/replay.md). Where neither has it, the
	// replay ends with ErrTrimmed, unless it is FromOldest, which leaves such a task out and logs that.
	Namespace  string
	Definition string
	From       Start // default FromBeginning
	Until      Until // default: the end of the log when the replay begins
	Follow     bool  // go on with what is stored later, until ctx ends; not together with Until
}

// StartKind is what a Start goes by.
type StartKind int

// The kinds of Start.
const (
	StartDefault StartKind = iota
	StartNew
	StartBeginning
	StartOldest
	StartTime
	StartPosition
)

// Start is where reading begins. The zero Start is the default of what it is given to.
type Start struct {
	Kind   StartKind
	Time   time.Time // of StartTime
	Cursor string    // of StartPosition
}

var (
	// FromNew starts with what is stored after the subscriber was started for the first time.
	FromNew = Start{Kind: StartNew}
	// FromBeginning starts with the first commit ever stored; an error when it is not there any more.
	FromBeginning = Start{Kind: StartBeginning}
	// FromOldest starts with the oldest commit that is still there.
	FromOldest = Start{Kind: StartOldest}
)

// FromTime starts with the first commit stored at or after t; an error when it may have been trimmed.
func FromTime(t time.Time) Start { return Start{Kind: StartTime, Time: t} }

// FromPosition starts after what the cursor covers (Cursor). A partition that it does not name is read from the
// beginning.
func FromPosition(cursor string) Start { return Start{Kind: StartPosition, Cursor: cursor} }

// Until is where a replay ends. The zero Until is the end of the log.
type Until struct {
	Time   time.Time
	Cursor string
}

// UntilTime ends before the first commit stored at or after t.
func UntilTime(t time.Time) Until { return Until{Time: t} }

// UntilPosition ends with what the cursor covers (Cursor).
func UntilPosition(cursor string) Until { return Until{Cursor: cursor} }
