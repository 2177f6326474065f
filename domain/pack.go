package domain

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// packFormat is the first byte of a packed task. A new layout takes the next number; the readers of the old ones stay
// (testdata/packed has one task of each), because a failed task may lie packed in snapshots for years.
const packFormat = 1

// Bits of a packed task: what follows, in this order.
const (
	packPaused = 1 << iota
	packPlainHash
	packInitiator
	packSourceSystem
	packReason
	packCorrelation
	packTags
	packInputHash
	packBypass
	packStarted
	packEnded
	packDeadline
	packWaiting
	packUntil
	packFailed
	packResultFrom
	packExpired
	packTraceparent
	packForked
	packKnown = 1<<iota - 1
)

// Bits of a packed step above its state, which takes the lowest three.
const (
	packSkipped = 8 << iota
	packNumbers
	packStepStarted
	packStepEnded
	packWake
	packResult
	packError
	packRetryLimit
	packInputs
	packCursor
	packProgress
	packInherited
	packStepKnown = 8<<iota - 1
)

// Kinds of a packed payload: the lowest two bits of its head. The bits above are the length of what is inline.
const (
	packNone = iota
	packInline
	packInLog
	packBlob
)

// AppendPacked appends the compact form of the task to b: everything that events made of it, but the definition, which
// it names by hash. It reads only what Evolve changes, so it may run beside the owner of a task that is shared, as long
// as no event is applied (see Clone). UnpackTask reads it.
func (t *Task) AppendPacked(b []byte) []byte {
	hash, raw := packHash(t.Definition.hash)
	flags := packBits(
		t.Paused, !raw, t.Initiator != "", t.SourceSystem != "", t.Reason != "", t.Correlation != "", len(t.Tags) > 0,
		t.InputHash != 0, t.bypass != nil, t.StartedAt != 0, t.EndedAt != 0, t.Deadline != 0, t.Waiting != Waiting{},
		t.Waiting.Until != 0, t.Failed != "", len(t.ResultFrom) > 0, t.Expired,
		t.Traceparent != "", t.Forked != nil,
	)
	b = append(b, packFormat)
	b = append(b, t.ID[:]...)
	b = binary.AppendUvarint(b, flags)
	if raw {
		b = append(b, hash[:]...)
	} else {
		b = packText(b, t.Definition.hash)
	}
	b = append(b, byte(t.State))
	b = packCount(b, t.Round)
	b = binary.AppendUvarint(b, t.Last)
	b = binary.AppendUvarint(b, t.Last-t.before)
	b = binary.AppendVarint(b, int64(t.CreatedAt))
	b = t.Context.appendPacked(b)
	b = t.Result.appendPacked(b)
	for _, text := range [...]string{t.Initiator, t.SourceSystem, t.Reason, t.Correlation} {
		if text != "" {
			b = packText(b, text)
		}
	}
	if len(t.Tags) > 0 {
		b = packTexts(b, t.Tags)
	}
	if t.InputHash != 0 {
		b = binary.LittleEndian.AppendUint32(b, t.InputHash)
	}
	if t.bypass != nil {
		b = packBitmap(b, t.bypass)
	}
	for _, at := range [...]Instant{t.StartedAt, t.EndedAt, t.Deadline} {
		b = packSince(b, t.CreatedAt, at)
	}
	if flags&packWaiting != 0 {
		b = packText(b, string(t.Waiting.Reason))
		b = packSince(b, t.CreatedAt, t.Waiting.Until)
	}
	if t.Failed != "" {
		b = packText(b, string(t.Failed))
	}
	if len(t.ResultFrom) > 0 {
		b = packTexts(b, t.ResultFrom)
	}
	if t.Traceparent != "" {
		b = packText(b, t.Traceparent)
	}
	if t.Forked != nil {
		b = append(b, t.Forked.Task[:]...)
		b = packPosition(b, t.Forked.Position)
	}
	b = packCount(b, len(t.Steps))
	for i := range t.Steps {
		b = t.Steps[i].appendPacked(b, t.CreatedAt)
	}
	return b
}

func (s *Step) appendPacked(b []byte, created Instant) []byte {
	var more StepMore
	if s.More != nil {
		more = *s.More
	}
	numbers := s.Attempt != 0 || s.Executions != 0 || s.Lost != 0 || s.Round != 1
	flags := packBits(
		s.Skipped, numbers, s.StartedAt != 0, s.EndedAt != 0, s.WakeAt != 0, !s.Result.IsZero(), more.Error != nil,
		more.RetryLimit != 0, more.Inputs != nil, more.Cursor != nil, more.Progress != nil,
		s.Inherited,
	)
	b = binary.AppendUvarint(b, flags<<3|uint64(s.State))
	if numbers {
		for _, n := range [...]int32{s.Attempt, s.Executions, s.Lost, s.Round} {
			b = packCount(b, int(n))
		}
	}
	b = packSince(b, created, s.StartedAt)
	from := s.packedFrom(created)
	b = packSince(b, from, s.EndedAt)
	b = packSince(b, from, s.WakeAt)
	if !s.Result.IsZero() {
		b = s.Result.appendPacked(b)
	}
	if more.Error != nil {
		b = packText(b, more.Error.Message)
		b = packText(b, string(more.Error.Kind))
		b = packText(b, more.Error.Code)
		b = packTexts(b, more.Error.Frames)
	}
	if more.RetryLimit != 0 {
		b = packCount(b, more.RetryLimit)
	}
	if more.Inputs != nil {
		b = packText(b, more.Inputs)
	}
	if more.Cursor != nil {
		b = packText(b, more.Cursor)
	}
	if p := more.Progress; p != nil {
		b = binary.AppendVarint(b, int64(p.Done))
		b = binary.AppendVarint(b, int64(p.Total))
		b = packText(b, p.Message)
		b = binary.AppendVarint(b, int64(p.At-from))
	}
	return b
}

// packedFrom is the instant from which the later ones of a step are counted: the start, if it has one.
func (s *Step) packedFrom(created Instant) Instant {
	if s.StartedAt != 0 {
		return s.StartedAt
	}
	return created
}

func (p *Payload) appendPacked(b []byte) []byte {
	switch {
	case p.JSON != nil:
		b = binary.AppendUvarint(b, uint64(len(p.JSON))<<2|packInline)
		return append(b, p.JSON...)
	case p.Blob != "":
		b = append(b, packBlob)
		b = packText(b, p.Blob)
		return packCount(b, p.Size)
	case p.Pos.Sequence != 0:
		b = append(b, packInLog)
		return packCount(packPosition(b, p.Pos), p.Size)
	}
	return append(b, packNone)
}

func packPosition(b []byte, p Position) []byte {
	b = packCount(b, p.Partition)
	b = binary.AppendUvarint(b, p.Sequence)
	return packCount(b, p.Index)
}

// packHash is the hash as 16 bytes, if it is 32 lower-case hexadecimal digits.
func packHash(hash string) (raw [16]byte, ok bool) {
	if len(hash) != 2*len(raw) {
		return raw, false
	}
	for i := range len(hash) {
		if c := hash[i]; c >= '0' && c <= '9' {
			raw[i/2] = raw[i/2]<<4 | (c - '0')
		} else if c >= 'a' && c <= 'f' {
			raw[i/2] = raw[i/2]<<4 | (c - 'a' + 10)
		} else {
			return raw, false
		}
	}
	return raw, true
}

func packBits(bits ...bool) (flags uint64) {
	for i, is := range bits {
		if is {
			flags |= 1 << i
		}
	}
	return flags
}

// packCount appends a number that is never negative.
func packCount(b []byte, n int) []byte {
	return binary.AppendUvarint(b, uint64(n)) // #nosec G115 -- a negative one would be refused when read
}

func packText[T string | json.RawMessage](b []byte, text T) []byte {
	return append(packCount(b, len(text)), text...)
}

func packTexts(b []byte, texts []string) []byte {
	b = packCount(b, len(texts))
	for _, text := range texts {
		b = packText(b, text)
	}
	return b
}

// packSince appends an instant as the distance from another one; nothing when there is no instant.
func packSince(b []byte, from, at Instant) []byte {
	if at == 0 {
		return b
	}
	return binary.AppendVarint(b, int64(at-from))
}

func packBitmap(b []byte, bits []bool) []byte {
	start := len(b)
	b = append(b, make([]byte, (len(bits)+7)/8)...)
	for i, is := range bits {
		if is {
			b[start+i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// Equal reports whether two tasks are in the same state: every event leads both to the same state again.
func (t *Task) Equal(o *Task) bool { return bytes.Equal(t.AppendPacked(nil), o.AppendPacked(nil)) }

// LowestReference is the lowest sequence of an event that holds a payload of the task (Payload.Pos); 0 when the state
// holds them all itself.
func (t *Task) LowestReference() uint64 {
	lowest := t.Context.Pos.Sequence
	for i := range t.Steps {
		if at := t.Steps[i].Result.Pos.Sequence; at != 0 && (lowest == 0 || at < lowest) {
			lowest = at
		}
	}
	return lowest
}

// Under is the definition under the hash with which it was adopted. Tasks name it so for ever, also when a later version
// of tasker would write the same definition otherwise and get another hash.
func (d *Definition) Under(hash string) *Definition {
	if d.hash == hash {
		return d
	}
	c := *d
	c.hash = hash
	return &c
}

// PackError says that bytes are not a packed task, or not one that this version can read.
type PackError struct {
	Task TaskID // as far as it was read
	Err  error
}

func (e *PackError) Error() string {
	return fmt.Sprintf("packed state of task %s cannot be read: %v", e.Task, e.Err)
}

func (e *PackError) Unwrap() error { return e.Err }

// Reasons of a PackError.
var (
	ErrPackCorrupt    = errors.New("it is cut or corrupt")
	ErrPackFormat     = errors.New("a newer version of tasker wrote it")
	ErrPackDefinition = errors.New("its definition is not known here")
)
