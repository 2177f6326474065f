package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tasker-go/tasker/domain"
)

// detailFormat is the first byte of a detail. An index is made again when its format is another one.
const detailFormat = 1

// ErrDetail: the detail of a row cannot be read; the index is to be made again.
var ErrDetail = errors.New("a row of the index is damaged")

// Bits of a detail.
const (
	hasFields = 1 << iota
	hasMore
)

// more is what few tasks have.
type more struct {
	Notes     []Note     `json:"n,omitempty"`
	Said      []string   `json:"s,omitempty"`
	LastError *LastError `json:"e,omitempty"`
}

// pack is everything of the row but its Num.
func (r *Row) pack() []byte {
	b := make([]byte, 0, 128+16*len(r.steps))
	has := byte(0)
	if len(r.Fields) > 0 {
		has |= hasFields
	}
	extra := len(r.Notes) > 0 || len(r.Said) > 0 || r.LastError != nil
	if extra {
		has |= hasMore
	}
	b = append(b, detailFormat, has, byte(r.Last.Partition)) // #nosec G115 -- at most 64
	b = binary.AppendUvarint(b, r.Last.Sequence)             // the rest are distances
	b = binary.AppendUvarint(b, uint64(r.Last.Index))        // #nosec G115 -- not negative
	b = binary.AppendVarint(b, int64(r.Updated))             //
	if has&hasFields != 0 {
		b = binary.AppendUvarint(b, uint64(len(r.Fields)))
		for _, f := range r.Fields {
			b = appendText(appendText(b, f.Name), f.Value)
		}
	}
	if extra {
		text, err := json.Marshal(more{r.Notes, r.Said, r.LastError})
		if err != nil { // an annotation that is no JSON: the log would not have taken it
			text, _ = json.Marshal(more{nil, r.Said, r.LastError})
		}
		b = appendText(b, string(text))
	}
	b = binary.AppendUvarint(b, uint64(len(r.steps)))
	for i := range r.steps {
		b = r.appendStep(b, i)
	}
	return r.Task.AppendPacked(b)
}

// appendStep: 0 for a step of which nothing was said, else the distance of its newest event, and whether what it took cannot
// be told from its times.
func (r *Row) appendStep(b []byte, i int) []byte {
	s := &r.steps[i]
	if s.at.Sequence == 0 {
		return append(b, 0)
	}
	own := s.took != r.span(i)
	head := (r.Last.Sequence - s.at.Sequence + 1) << 1
	if own {
		head |= 1
	}
	b = binary.AppendUvarint(b, head)
	b = binary.AppendUvarint(b, uint64(s.at.Index)) // #nosec G115 -- not negative
	if own {
		b = binary.AppendUvarint(b, uint64(s.took)) // #nosec G115 -- not negative
	}
	return b
}

// span is what the last execution of a step took, if nothing else ended it.
func (r *Row) span(i int) int64 {
	if s := &r.Task.Steps[i]; s.EndedAt > s.StartedAt && s.StartedAt != 0 {
		return int64(s.EndedAt - s.StartedAt)
	}
	return 0
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// UnpackRow reads what was in a Write. Nothing of detail is kept. Errors: ErrDetail.
func UnpackRow(num int64, detail []byte, definition func(hash string) (*domain.Definition, bool)) (*Row, error) {
	u := unpacker{b: detail}
	if format := u.byte(); format != detailFormat {
		return nil, fmt.Errorf("%w: format %d", ErrDetail, format)
	}
	r := &Row{Num: num}
	has := u.byte()
	r.Last.Partition = int(u.byte())
	r.Last.Sequence = u.uvarint()
	r.Last.Index = int(u.uvarint()) // #nosec G115 -- as it was written
	r.Updated = domain.Instant(u.varint())
	if has&hasFields != 0 {
		for range min(u.uvarint(), uint64(len(u.b))) {
			name := u.text()
			r.Fields = append(r.Fields, Field{name, u.text()})
		}
	}
	if has&hasMore != 0 {
		var m more
		if err := json.Unmarshal([]byte(u.text()), &m); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDetail, err)
		}
		r.Notes, r.Said, r.LastError = m.Notes, m.Said, m.LastError
	}
	return r.unpackTask(u, definition)
}

func (r *Row) unpackTask(u unpacker, definition func(string) (*domain.Definition, bool)) (*Row, error) {
	for n := u.uvarint(); n > 0; n-- {
		r.steps = append(r.steps, u.step(r.Last))
		if u.bad {
			break
		}
	}
	if u.bad {
		return nil, fmt.Errorf("%w: it is cut short", ErrDetail)
	}
	t, rest, err := domain.UnpackTask(u.b, definition)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDetail, err)
	}
	if len(rest) > 0 || len(t.Steps) != len(r.steps) {
		return nil, fmt.Errorf("%w: it has %d bytes too many, and %d of %d steps", ErrDetail, len(rest), len(r.steps), len(t.Steps))
	}
	r.Task = t
	for i := range r.steps {
		if r.steps[i].took < 0 {
			r.steps[i].took = r.span(i)
		}
	}
	return r, nil
}

// unpacker takes values off b; after the first that is not there it is bad and gives zeros.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) step(last domain.Position) stepMore {
	head := u.uvarint()
	if head == 0 {
		return stepMore{}
	}
	s := stepMore{took: -1}
	s.at.Partition = last.Partition
	s.at.Sequence = last.Sequence - (head>>1 - 1)
	s.at.Index = int(u.uvarint()) // #nosec G115 -- as it was written
	if head&1 != 0 {
		s.took = int64(u.uvarint()) // #nosec G115 -- as it was written
	}
	return s
}

func (u *unpacker) byte() byte {
	if len(u.b) == 0 {
		u.bad = true
		return 0
	}
	c := u.b[0]
	u.b = u.b[1:]
	return c
}

func (u *unpacker) uvarint() uint64 {
	n, size := binary.Uvarint(u.b)
	if size <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) varint() int64 {
	n, size := binary.Varint(u.b)
	if size <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) text() string {
	n := u.uvarint()
	if n > uint64(len(u.b)) {
		u.bad, u.b = true, nil
		return ""
	}
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}
