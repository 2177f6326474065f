package attached

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Handler is told of one event. An error, or a panic, is a failed try. Its context ends when the subscriber stops; an
// error that comes after that is no try. It is called from many goroutines, never from two for the same task.
type Handler func(ctx context.Context, r domain.Record) error

// Defaults and limits.
const (
	DefaultLanes       = 16
	DefaultTries       = 10
	DefaultFlush       = 200 * time.Millisecond
	DefaultFlushEvents = 1000
	MaxName            = 128 // bytes of a durable name
	MaxLanes           = 4096

	// A partition is not read on while one of these is reached.
	maxUnfinished = 10_000    // events that were read and are not finished
	maxHeld       = 64 << 20  // bytes of the log that hold them
	maxAhead      = 1_000_000 // events read after the oldest unfinished one; so many at most come again after a crash
)

// Poison says what becomes of an event whose last try has failed.
type Poison int

const (
	// Park puts the event into the dead letters and goes on.
	Park Poison = iota
	// StopSubscriber ends Run with a *PoisonError. The event comes again when the subscriber is started again.
	StopSubscriber
)

// Options of a subscriber. The zero value is one that is not durable and is told of everything from now on.
type Options struct {
	// Name makes the subscriber durable: 1 to 128 of A-Z a-z 0-9 _ -. At any time one process runs it, others that are
	// started with the same name wait and take over. Without a name no cursor is kept.
	Name string
	// Types it is told of: facts, signals, custom.<name>, and families such as workflow.* or custom.* (domain.NewEventSet).
	// None means every fact, also those that this version cannot read (domain.Unknown), and no signal. A signal that is
	// only told live is refused with a *LiveOnlyError; a family leaves it out.
	Types []domain.EventType
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
	// Definition finds a definition by its hash, so that the execution context of workflow.task_finalization_completed need
	// not look for it in the log; may be nil, and may know none. Engine and Client set it.
	Definition func(hash string) (*domain.Definition, bool)
	// Logger, default slog.Default().
	Logger *slog.Logger
}

// DefaultBackoff is 1 s after the first try, doubling to 5 min (SEMANTICS 10).
func DefaultBackoff(try int) time.Duration {
	const longest = 5 * time.Minute
	if try > 9 {
		return longest
	}
	return min(time.Second<<max(try-1, 0), longest)
}

func (o *Options) defaults() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	for _, n := range []struct {
		name      string
		value     *int
		byDefault int
		most      int
	}{
		{"Lanes", &o.Lanes, DefaultLanes, MaxLanes},
		{"Tries", &o.Tries, DefaultTries, 1 << 30},
		{"FlushEvents", &o.FlushEvents, DefaultFlushEvents, 1 << 30},
	} {
		if *n.value == 0 {
			*n.value = n.byDefault
		}
		if *n.value < 1 || *n.value > n.most {
			return fmt.Errorf("subscriber %q: %s is %d: want 1 to %d", o.Name, n.name, *n.value, n.most)
		}
	}
	if o.Flush == 0 {
		o.Flush = DefaultFlush
	}
	if o.Flush < 0 {
		return fmt.Errorf("subscriber %q: Flush is %s: want more than 0", o.Name, o.Flush)
	}
	if o.Backoff == nil {
		o.Backoff = DefaultBackoff
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

func checkName(name string) error {
	bad := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
	if bad || len(name) > MaxName {
		return fmt.Errorf("subscriber %q: want a name of 1 to %d of A-Z a-z 0-9 _ -", name, MaxName)
	}
	return nil
}

// typesOf refuses what never comes: a misspelled type would be waited for in vain, and so would a signal that no log has.
func typesOf(names []domain.EventType) (domain.EventSet, error) {
	types, err := domain.NewEventSet(names)
	if err != nil {
		return types, err
	}
	if live := types.NamedLive(); len(live) > 0 {
		return types, &LiveOnlyError{live[0]}
	}
	return types, nil
}
