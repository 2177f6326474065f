package domain

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Cursor is a place in the whole log: of every partition, the sequence of the last commit that it covers. A partition
// that it does not name is covered up to nothing.
type Cursor struct {
	DataID    string         // of the log; a cursor means nothing in another one
	Sequences map[int]uint64 // by partition; 0 is the same as not there
}

// MaxPartitions is the largest number of partitions of a log (DESIGN 6).
const MaxPartitions = 64

// CursorError is the error of ParseCursor and ParsePosition.
type CursorError struct {
	Text string
	Want string // what it should look like
}

func (e *CursorError) Error() string { return fmt.Sprintf("%q: want %s", e.Text, e.Want) }

const (
	wantCursor   = "a cursor such as 0190c2a5-7d3e-7000-8000-000000000000:00=123,01=456"
	wantPosition = "a position such as 00-123-4: partition, sequence, index"
)

// String is "<data id>:00=123,01=456", by partition; ParseCursor reads it.
func (c Cursor) String() string {
	b := append([]byte(c.DataID), ':')
	for _, p := range slices.Sorted(maps.Keys(c.Sequences)) {
		if c.Sequences[p] == 0 {
			continue
		}
		if b[len(b)-1] != ':' {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%02d=%d", p, c.Sequences[p])
	}
	return string(b)
}

// ParseCursor reads what String wrote. The error is a *CursorError.
func ParseCursor(text string) (Cursor, error) {
	bad := func() (Cursor, error) { return Cursor{}, &CursorError{text, wantCursor} }
	colon := strings.LastIndexByte(text, ':')
	if colon < 1 {
		return bad()
	}
	c := Cursor{DataID: text[:colon], Sequences: map[int]uint64{}}
	rest := text[colon+1:]
	for rest != "" {
		pair, more, again := strings.Cut(rest, ",")
		if again && more == "" {
			return bad()
		}
		rest = more
		partition, sequence, ok := strings.Cut(pair, "=")
		p, ok2 := parsePartition(partition)
		n, ok3 := parseSequence(sequence)
		if _, twice := c.Sequences[p]; !ok || !ok2 || !ok3 || twice {
			return bad()
		}
		c.Sequences[p] = n
	}
	return c, nil
}

// Covers reports whether the commit at the position is part of what the cursor covers.
func (c Cursor) Covers(p Position) bool { return p.Sequence <= c.Sequences[p.Partition] }

// Advance makes the cursor cover the commit at the position, and everything before it in its partition.
func (c *Cursor) Advance(p Position) {
	if c.Sequences == nil {
		c.Sequences = map[int]uint64{}
	}
	c.Sequences[p.Partition] = max(c.Sequences[p.Partition], p.Sequence)
}

// ParsePosition reads an event id, "<pp>-<sequence>-<index>". The error is a *CursorError.
func ParsePosition(text string) (Position, error) {
	parts := strings.Split(text, "-")
	if len(parts) == 3 {
		p, ok := parsePartition(parts[0])
		n, ok2 := parseSequence(parts[1])
		i, ok3 := parseSequence(parts[2])
		if ok && ok2 && ok3 && i <= maxAttempt {
			return Position{Partition: p, Sequence: n, Index: int(i)}, nil
		}
	}
	return Position{}, &CursorError{text, wantPosition}
}

// MarshalText writes the position as an event id.
func (p Position) MarshalText() ([]byte, error) { return p.Append(nil), nil }

// UnmarshalText reads an event id.
func (p *Position) UnmarshalText(text []byte) error {
	parsed, err := ParsePosition(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}

func parsePartition(s string) (int, bool) {
	n, ok := parseSequence(s)
	return int(n), ok && n < MaxPartitions // #nosec G115 -- bounded
}

func parseSequence(s string) (uint64, bool) {
	if len(s) == 0 || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil
}
