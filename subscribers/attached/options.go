package attached

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// Handler is told of one event. An error, or a panic, is a failed try: domain.Permanent makes it the last one, and
// domain.RetryAfter says when to try again, after at most MaxRetryAfter. Its context ends when the subscriber stops; an
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
	MaxRetryAfter      = time.Hour // that a handler's error can ask for

	// A partition is not read on while one of these is reached.
	maxUnfinished = 10_000    // events that were read and are not finished
	maxHeld       = 64 << 20  // bytes of the log that hold them
	maxAhead      = 1_000_000 // events read after the oldest unfinished one; so many at most come again after a crash
)

// Options of a subscriber.
type Options = domain.Subscription

// ReplayOptions say what is read again.
type ReplayOptions = domain.ReplayOptions

// What becomes of an event whose last try has failed.
const (
	Park           = domain.Park
	StopSubscriber = domain.StopSubscriber
)

// Setting is what the process gives to a subscriber or a replay, next to what its user says.
type Setting func(*settings)

type settings struct {
	logger     *slog.Logger
	definition func(hash string) (*domain.Definition, bool)
}

// WithLogger says where to log; default slog.Default().
func WithLogger(logger *slog.Logger) Setting {
	return func(s *settings) {
		if logger != nil {
			s.logger = logger
		}
	}
}

// WithDefinitions says how to find a definition by its hash, so that the execution context of
// workflow.task_finalization_completed need not look for it in the log; it may know none.
func WithDefinitions(find func(hash string) (*domain.Definition, bool)) Setting {
	return func(s *settings) { s.definition = find }
}

func settingsOf(all []Setting) settings {
	s := settings{logger: slog.Default()}
	for _, set := range all {
		set(&s)
	}
	return s
}

// DefaultBackoff is 1 s after the first try, doubling to 5 min (SEMANTICS 10).
func DefaultBackoff(try int) time.Duration {
	const longest = 5 * time.Minute
	if try > 9 {
		return longest
	}
	return min(time.Second<<max(try-1, 0), longest)
}

func complete(o *Options) error {
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
