package httpapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// place is how far a reader of events has come: a cursor, and, inside commits behind it, the last event that was read. As
// text, it is the id of an event of a stream.
type place struct {
	cursor domain.Cursor
	// inside is in the commit that is being read now; the rest of it comes next. Sequence 0: none.
	inside tasker.Position
	// left are in commits that a reader before has left in the middle, by partition: other partitions' events may come
	// before the rest of them.
	left map[int]tasker.Position
}

// insideMark stands before events in the text; it needs no encoding in a query.
const insideMark = "~"

func (p *place) String() string {
	b := []byte(p.cursor.String())
	for _, partition := range slices.Sorted(maps.Keys(p.left)) {
		b = p.left[partition].Append(append(b, insideMark...))
	}
	if p.inside.Sequence > 0 {
		b = p.inside.Append(append(b, insideMark...))
	}
	return string(b)
}

// parsePlace reads what String wrote, or a cursor. Error: *domain.CursorError.
func parsePlace(text string) (place, error) {
	cursor, rest, found := strings.Cut(text, insideMark)
	c, err := domain.ParseCursor(cursor)
	p := place{cursor: c}
	for found && err == nil {
		var event string
		event, rest, found = strings.Cut(rest, insideMark)
		var at tasker.Position
		if at, err = domain.ParsePosition(event); err == nil {
			p.leave(at)
		}
	}
	return p, err
}

func (p *place) leave(at tasker.Position) {
	if p.left == nil {
		p.left = map[int]tasker.Position{}
	}
	p.left[at.Partition] = at
}

// resume is for a new reader, which need not begin with the rest of the commit.
func (p *place) resume() {
	if p.inside.Sequence > 0 {
		p.leave(p.inside)
		p.inside = tasker.Position{}
	}
}

// reached is the place after the event at the position, of which more may follow in the same commit. The events of a commit
// come one after the other, those of a partition in order: what was before it, in its partition, was read.
func (p *place) reached(at tasker.Position) {
	if p.inside.Sequence > 0 && (p.inside.Partition != at.Partition || p.inside.Sequence != at.Sequence) {
		p.cursor.Advance(p.inside)
	}
	if at.Sequence > 1 {
		p.cursor.Advance(tasker.Position{Partition: at.Partition, Sequence: at.Sequence - 1})
	}
	delete(p.left, at.Partition)
	p.inside = at
}

// has reports whether the event was read already. A signal has the position of the fact that it follows from: with signals,
// what is at the last position may come again.
func (p *place) has(at tasker.Position, signals bool) bool {
	if p.cursor.Covers(at) {
		return true
	}
	in := p.inside
	if in.Sequence == 0 || in.Partition != at.Partition {
		in = p.left[at.Partition]
	}
	switch {
	case in.Sequence != at.Sequence || at.Sequence == 0:
		return false
	case signals:
		return at.Index < in.Index
	}
	return at.Index <= in.Index
}

// until is a cursor that covers the place, and the rest of the commits that it is inside of.
func (p *place) until() domain.Cursor {
	c := p.clone()
	c.resume()
	for _, at := range c.left {
		c.cursor.Advance(at)
	}
	return c.cursor
}

// cover makes the place cover the cursor.
func (p *place) cover(c domain.Cursor) {
	for partition, sequence := range c.Sequences {
		p.cursor.Advance(tasker.Position{Partition: partition, Sequence: sequence})
		if p.left[partition].Sequence <= sequence {
			delete(p.left, partition)
		}
		if p.inside.Partition == partition && p.inside.Sequence <= sequence {
			p.inside = tasker.Position{}
		}
	}
}

func (p *place) clone() place {
	c := *p
	c.cursor.Sequences, c.left = maps.Clone(p.cursor.Sequences), maps.Clone(p.left)
	return c
}
