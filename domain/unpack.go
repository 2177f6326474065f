package domain

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
)

// UnpackTask reads a task that AppendPacked wrote at the beginning of b, whichever version did, and returns what
// follows it. definition finds a definition by its hash. Nothing of b is kept. Every error is a *PackError.
func UnpackTask(b []byte, definition func(hash string) (*Definition, bool)) (*Task, []byte, error) {
	u := unpacker{b: b}
	t := &Task{}
	switch format := u.byte(); {
	case u.err != nil:
	case format == 1:
		u.task(t, definition)
	case format > packFormat:
		u.fail(fmt.Errorf("format %d: %w", format, ErrPackFormat))
	default:
		u.fail(fmt.Errorf("format %d: %w", format, ErrPackCorrupt))
	}
	if u.err != nil {
		return nil, nil, &PackError{Task: t.ID, Err: u.err}
	}
	t.recount()
	return t, u.b, nil
}

// unpacker takes values off b. After the first error it gives only zeros, so that it is asked once, at the end.
type unpacker struct {
	b   []byte
	err error
}

func (u *unpacker) task(t *Task, definition func(string) (*Definition, bool)) {
	copy(t.ID[:], u.take(len(t.ID)))
	flags := u.flags(packKnown)
	t.Paused = flags&packPaused != 0
	var hash string
	if flags&packPlainHash != 0 {
		hash = u.text()
	} else {
		hash = hex.EncodeToString(u.take(16))
	}
	if u.err != nil {
		return
	}
	def, ok := definition(hash)
	if !ok {
		u.fail(fmt.Errorf("definition %s: %w", hash, ErrPackDefinition))
		return
	}
	t.Definition = def
	t.State = u.state(u.byte())
	t.Round = u.count(math.MaxInt32)
	t.Last = u.uvarint()
	t.before = t.Last - u.uvarint()
	t.CreatedAt = Instant(u.varint())
	t.Context = u.payload()
	t.Result = u.payload()
	for i, text := range [...]*string{&t.Initiator, &t.SourceSystem, &t.Reason, &t.Correlation} {
		if flags&(packInitiator<<i) != 0 {
			*text = u.text()
		}
	}
	if flags&packTags != 0 {
		t.Tags = u.texts()
	}
	if flags&packInputHash != 0 {
		if raw := u.take(4); raw != nil {
			t.InputHash = binary.LittleEndian.Uint32(raw)
		}
	}
	if flags&packBypass != 0 {
		t.bypass = u.bitmap(def.graph.Len())
	}
	for i, at := range [...]*Instant{&t.StartedAt, &t.EndedAt, &t.Deadline} {
		*at = u.since(t.CreatedAt, flags&(packStarted<<i) != 0)
	}
	if flags&packWaiting != 0 {
		t.Waiting.Reason = waitReason(u.text())
		t.Waiting.Until = u.since(t.CreatedAt, flags&packUntil != 0)
	}
	if flags&packFailed != 0 {
		t.Failed = failReason(u.text())
	}
	if flags&packResultFrom != 0 {
		t.ResultFrom = u.texts()
	}
	if flags&packTraceparent != 0 {
		t.Traceparent = u.text()
	}
	if flags&packForked != 0 {
		t.Forked = &ForkedFrom{}
		copy(t.Forked.Task[:], u.take(len(t.Forked.Task)))
		t.Forked.Position = u.position()
	}
	t.Expired = flags&packExpired != 0
	u.steps(t)
}

func (u *unpacker) steps(t *Task) {
	n := u.count(len(u.b)) // a step takes a byte at least
	if u.err == nil && n != t.Definition.graph.Len() {
		u.fail(fmt.Errorf("%d steps, its definition has %d: %w", n, t.Definition.graph.Len(), ErrPackCorrupt))
	}
	if u.err != nil {
		return
	}
	t.Steps = make([]Step, n)
	for i := range t.Steps {
		u.step(&t.Steps[i], t.CreatedAt)
	}
}

func (u *unpacker) step(s *Step, created Instant) {
	flags := u.flags(packStepKnown)
	s.State = u.state(byte(flags & 7))
	s.Skipped, s.Inherited = flags&packSkipped != 0, flags&packInherited != 0
	s.Round = 1
	if flags&packNumbers != 0 {
		for _, n := range [...]*int32{&s.Attempt, &s.Executions, &s.Lost, &s.Round} {
			*n = int32(u.count(math.MaxInt32)) // #nosec G115 -- count is held to the limit
		}
	}
	s.StartedAt = u.since(created, flags&packStepStarted != 0)
	from := s.packedFrom(created)
	s.EndedAt = u.since(from, flags&packStepEnded != 0)
	s.WakeAt = u.since(from, flags&packWake != 0)
	if flags&packResult != 0 {
		s.Result = u.payload()
	}
	if flags&(packError|packRetryLimit|packInputs|packCursor|packProgress) == 0 {
		return
	}
	s.More = &StepMore{}
	if flags&packError != 0 {
		s.More.Error = &StepError{Message: u.text(), Kind: errorKind(u.text()), Code: u.text(), Frames: u.texts()}
	}
	if flags&packRetryLimit != 0 {
		s.More.RetryLimit = u.count(math.MaxInt)
	}
	if flags&packInputs != 0 {
		s.More.Inputs = u.json(u.count(len(u.b)))
	}
	if flags&packCursor != 0 {
		s.More.Cursor = u.json(u.count(len(u.b)))
	}
	if flags&packProgress != 0 {
		p := &Progress{Done: int(u.varint()), Total: int(u.varint()), Message: u.text()}
		p.At = u.since(from, true)
		s.More.Progress = p
	}
}

func (u *unpacker) payload() Payload {
	head := u.uvarint()
	switch kind, size := head&3, head>>2; {
	case kind == packInline && size <= uint64(len(u.b)):
		return Inline(u.json(int(size))) // #nosec G115 -- at most len(u.b)
	case kind == packBlob && size == 0:
		return Payload{Blob: u.text(), Size: u.count(math.MaxInt)}
	case kind == packInLog && size == 0:
		p := Payload{Pos: u.position()}
		p.Size = u.count(math.MaxInt)
		return p
	case kind == packNone && size == 0:
	default:
		u.fail(ErrPackCorrupt)
	}
	return Payload{}
}

func (u *unpacker) position() Position {
	return Position{Partition: u.count(math.MaxInt32), Sequence: u.uvarint(), Index: u.count(math.MaxInt32)}
}

func (u *unpacker) fail(err error) {
	if u.err == nil {
		u.b, u.err = nil, err
	}
}

// take returns the next n bytes of the input itself; nil when there are not that many.
func (u *unpacker) take(n int) []byte {
	if n > len(u.b) {
		u.fail(ErrPackCorrupt)
		return nil
	}
	taken := u.b[:n]
	u.b = u.b[n:]
	return taken
}

func (u *unpacker) byte() byte {
	if taken := u.take(1); taken != nil {
		return taken[0]
	}
	return 0
}

func (u *unpacker) uvarint() uint64 {
	n, size := binary.Uvarint(u.b)
	if size <= 0 {
		u.fail(ErrPackCorrupt)
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) varint() int64 {
	n, size := binary.Varint(u.b)
	if size <= 0 {
		u.fail(ErrPackCorrupt)
		return 0
	}
	u.b = u.b[size:]
	return n
}

// count is a number from 0 to limit.
func (u *unpacker) count(limit int) int {
	n := u.uvarint()
	if n > uint64(limit) { // #nosec G115 -- limits are not negative
		u.fail(ErrPackCorrupt)
		return 0
	}
	return int(n) // #nosec G115 -- at most limit
}

func (u *unpacker) flags(known uint64) uint64 {
	flags := u.uvarint()
	if flags&^known != 0 {
		u.fail(ErrPackCorrupt)
		return 0
	}
	return flags
}

func (u *unpacker) state(b byte) State {
	if b >= numStates {
		u.fail(ErrPackCorrupt)
		return Pending
	}
	return State(b)
}

func (u *unpacker) text() string { return string(u.take(u.count(len(u.b)))) }

func (u *unpacker) texts() []string {
	n := u.count(len(u.b))
	if n == 0 {
		return nil
	}
	texts := make([]string, 0, min(n, 64)) // the count is not to be trusted with more
	for range n {
		if u.err != nil {
			return nil
		}
		texts = append(texts, u.text())
	}
	return texts
}

// json copies, so that a task does not hold on to the snapshot that it was in. Empty is not nil.
func (u *unpacker) json(n int) json.RawMessage {
	return append(make(json.RawMessage, 0, n), u.take(n)...)
}

func (u *unpacker) since(from Instant, present bool) Instant {
	if !present {
		return 0
	}
	return from + Instant(u.varint())
}

func (u *unpacker) bitmap(n int) []bool {
	raw := u.take((n + 7) / 8)
	if raw == nil {
		return nil
	}
	bits := make([]bool, n)
	for i := range bits {
		bits[i] = raw[i/8]&(1<<(i%8)) != 0
	}
	return bits
}

// The known words come back as constants, which cost no memory per task.

func waitReason(s string) WaitReason {
	for _, known := range [...]WaitReason{WaitRetryBackoff, WaitPaused, WaitDependencies} {
		if s == string(known) {
			return known
		}
	}
	return WaitReason(s)
}

func failReason(s string) FailReason {
	for _, known := range [...]FailReason{FailStepsInError, FailDeadline} {
		if s == string(known) {
			return known
		}
	}
	return FailReason(s)
}

func errorKind(s string) ErrorKind {
	for _, known := range [...]ErrorKind{
		KindError, KindPermanent, KindPanic, KindTimeout, KindWorkerLost, KindInterrupted, KindDeadline,
	} {
		if s == string(known) {
			return known
		}
	}
	return ErrorKind(s)
}
