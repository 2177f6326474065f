package httpapi

import (
	"maps"
	"strings"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// place is how far a reader of events has come: a cursor, and, inside the commit behind it in one partition, the last event
// that was read. As text, it is the id of an event of a stream.
type place struct {
	cursor domain.Cursor
	inside tasker.Position // Sequence 0: none
}

// insideMark stands between the cursor and the event in the text; it needs no encoding in a query.
const insideMark = "~"

func (p *place) String() string {
	if p.inside.Sequence == 0 {
		return p.cursor.String()
	}
	return p.cursor.String() + insideMark + string(p.inside.Append(nil))
}

// parsePlace reads what String wrote, or a cursor. Error: *domain.CursorError.
func parsePlace(text string) (place, error) {
	cursor, inside, found := strings.Cut(text, insideMark)
	c, err := domain.ParseCursor(cursor)
	if err != nil || !found {
		return place{cursor: c}, err
	}
	at, err := domain.ParsePosition(inside)
	return place{cursor: c, inside: at}, err
}

// reached is the place after the event at the position, of which more may follow in the same commit.
func (p *place) reached(at tasker.Position) {
	p.settle(at)
	p.inside = at
}

// settle closes the commit before, if the event is of another: everything of it was read. Everything before the commit of
// the event was read as well.
func (p *place) settle(at tasker.Position) {
	if p.inside.Sequence > 0 && (p.inside.Partition != at.Partition || p.inside.Sequence != at.Sequence) {
		p.cursor.Advance(p.inside)
		p.inside = tasker.Position{}
	}
	if at.Sequence > 1 {
		p.cursor.Advance(tasker.Position{Partition: at.Partition, Sequence: at.Sequence - 1})
	}
}

// has reports whether the event was read already. A signal has the position of the fact that it follows from: with signals,
// what is at the last position may come again.
func (p *place) has(at tasker.Position, signals bool) bool {
	switch {
	case p.cursor.Covers(at):
		return true
	case p.inside.Partition != at.Partition || p.inside.Sequence != at.Sequence:
		return false
	case signals:
		return at.Index < p.inside.Index
	}
	return at.Index <= p.inside.Index
}

// until is a cursor that covers the place, and the rest of the commit that it is inside of.
func (p *place) until() domain.Cursor {
	c := p.clone()
	if c.inside.Sequence > 0 {
		c.cursor.Advance(c.inside)
	}
	return c.cursor
}

func (p *place) clone() place {
	c := *p
	c.cursor.Sequences = maps.Clone(p.cursor.Sequences)
	return c
}
