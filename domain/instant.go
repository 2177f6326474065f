package domain

import (
	"fmt"
	"time"
)

// Instant is a point in time in microseconds since the Unix epoch, UTC. Zero means "none". Domain code gets instants
// handed in and never asks for the present one.
type Instant int64

// InstantOf converts a time, truncated to the microsecond. The zero time becomes the zero Instant.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMicro())
}

// Time converts back; the zero Instant becomes the zero time.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(i)).UTC()
}

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d/time.Microsecond) }

// Sub returns how much later i is than j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i-j) * time.Microsecond }

const instantLayout = "2006-01-02T15:04:05.000000Z"

// String is RFC 3339 with microseconds, or "" for none.
func (i Instant) String() string {
	if i == 0 {
		return ""
	}
	return i.Time().Format(instantLayout)
}

// Append appends String to b without allocating.
func (i Instant) Append(b []byte) []byte {
	if i == 0 {
		return b
	}
	return i.Time().AppendFormat(b, instantLayout)
}

// MarshalText writes RFC 3339 with microseconds.
func (i Instant) MarshalText() ([]byte, error) { return i.Append(nil), nil }

// UnmarshalText reads any RFC 3339 time, or nothing.
func (i *Instant) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*i = 0
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return fmt.Errorf("time %q: want RFC 3339, such as 2026-01-31T08:00:00Z: %w", b, err)
	}
	*i = InstantOf(t)
	return nil
}
