package main

import (
	"context"
	"strings"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// place is what --from and --until may name: an event, a cursor, or a time.
type place struct {
	event  bool
	at     domain.Position // of event
	cursor string
	time   time.Time
}

func parsePlace(text string, now time.Time) (place, bool) {
	if at, err := domain.ParsePosition(text); err == nil {
		return place{event: true, at: at}, true
	}
	if _, err := domain.ParseCursor(text); err == nil {
		return place{cursor: text}, true
	}
	for _, format := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(format, text, time.Local); err == nil {
			return place{time: t}, true
		}
	}
	if age, err := parseAge(strings.TrimPrefix(text, "-")); err == nil {
		return place{time: now.Add(-age)}, true
	}
	return place{}, false
}

// start is the beginning; of an event's id see between.
func (f *eventFlags) start(now time.Time) (domain.Start, error) {
	switch f.from {
	case "":
		if f.follow {
			return domain.FromNew, nil
		}
		return domain.FromOldest, nil
	case "beginning":
		return domain.FromBeginning, nil
	case "oldest":
		return domain.FromOldest, nil
	case "new":
		return domain.FromNew, nil
	}
	at, ok := parsePlace(f.from, now)
	switch {
	case !ok:
		return domain.Start{}, usageError("--from %q is neither beginning, oldest or new, nor a position, a time or an age", f.from)
	case at.event:
		return domain.FromOldest, nil
	case at.cursor != "":
		return domain.FromPosition(at.cursor), nil
	}
	return domain.FromTime(at.time), nil
}

// end is where it ends; of an event's id see between.
func (f *eventFlags) end(now time.Time) (domain.Until, error) {
	if f.until == "" {
		return domain.Until{}, nil
	}
	at, ok := parsePlace(f.until, now)
	switch {
	case !ok:
		return domain.Until{}, usageError("--until %q is neither a position, nor a time or an age", f.until)
	case at.event:
		return domain.Until{}, nil
	case at.cursor != "":
		return domain.UntilPosition(at.cursor), nil
	}
	return domain.UntilTime(at.time), nil
}

// clockSlack is how far the clocks of an engine and of the server may be apart (DESIGN 5), with a margin.
const clockSlack = time.Minute

// between makes a beginning and an end of the ids of events, each of which is a place in one partition: there it is that
// event, and in the others what happened at the same time.
func (f *eventFlags) between(ctx context.Context, c *connection, o *tasker.ReplayOptions) (wanted func(tasker.Event) bool, err error) {
	after := func(tasker.Event) bool { return true }
	before := after
	if at, err := domain.ParsePosition(f.from); err == nil {
		first, err := c.Event(ctx, at)
		if err != nil {
			return nil, err
		}
		o.From = domain.FromTime(first.At.Time().Add(-clockSlack))
		after = func(e tasker.Event) bool {
			if e.Position.Partition == at.Partition {
				return !e.Position.Less(at)
			}
			return e.At >= first.At
		}
	}
	if at, err := domain.ParsePosition(f.until); err == nil {
		last, err := c.Event(ctx, at)
		if err != nil {
			return nil, err
		}
		o.Until = domain.UntilTime(last.At.Time().Add(clockSlack))
		before = func(e tasker.Event) bool {
			if e.Position.Partition == at.Partition {
				return !at.Less(e.Position)
			}
			return e.At <= last.At
		}
	}
	return func(e tasker.Event) bool { return after(e) && before(e) }, nil
}
