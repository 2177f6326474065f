package domain

import "encoding/json"

// Payload limits (DESIGN 5 and 6, SEMANTICS 7).
const (
	// InlineState is the largest payload, in bytes, that the state of a live task holds itself; a larger one stays in
	// the log and the state keeps its position.
	InlineState = 1 << 10
	// InlineLog is the largest payload, in bytes, that an event holds itself; a larger one goes to the blob store and
	// the event keeps its digest.
	InlineLog = 128 << 10
	// MaxPayload is the largest context or result, in bytes.
	MaxPayload = 16 << 20
)

// Payload is a JSON value: a task's context, a step's result, a task's result. It is in one of three places.
//
//	inline       JSON is set
//	in the log   Pos is set: the event at that position holds it inline (only in state, never in an event)
//	in the blobs Blob is set: the digest under which the blob store has it
//
// The zero Payload is "no value".
type Payload struct {
	JSON json.RawMessage
	Blob string   // "sha256-<hex>"
	Size int      // bytes of the JSON text, wherever it is
	Pos  Position // the event that holds it
}

// Inline makes a payload of JSON text, which the caller must not change afterwards.
func Inline(text json.RawMessage) Payload { return Payload{JSON: text, Size: len(text)} }

// IsZero reports whether there is no value at all (JSON null is a value).
func (p Payload) IsZero() bool { return p.JSON == nil && p.Blob == "" && p.Pos.Sequence == 0 }

// settle is the form in which state keeps a payload that an event at pos carried.
func (p Payload) settle(pos Position) Payload {
	if p.Blob == "" && len(p.JSON) > InlineState && pos.Sequence != 0 {
		return Payload{Size: len(p.JSON), Pos: pos}
	}
	return p
}

// Position is the place of an event: the partition, the sequence of its commit in that partition's stream, and its
// index within the commit. It is what subscribers are idempotent by.
type Position struct {
	Partition int
	Sequence  uint64
	Index     int
}

// Less orders the positions of one partition.
func (p Position) Less(q Position) bool {
	if p.Sequence != q.Sequence {
		return p.Sequence < q.Sequence
	}
	return p.Index < q.Index
}

// String is the event id: "<pp>-<sequence>-<index>".
func (p Position) String() string { return string(p.Append(nil)) }

// Append appends String to b.
func (p Position) Append(b []byte) []byte {
	if p.Partition < 10 {
		b = append(b, '0')
	}
	b = appendInt(b, int64(p.Partition))
	b = append(b, '-')
	b = appendInt(b, int64(p.Sequence)) // #nosec G115 -- a stream's sequence stays far below 1<<63
	b = append(b, '-')
	return appendInt(b, int64(p.Index))
}

// PayloadOf is the payload that an event carries, or none.
func PayloadOf(e Event) Payload {
	switch e := e.(type) {
	case TaskCreated:
		return e.Context
	case TaskCompleted:
		return e.Result
	case StepCompleted:
		return e.Result
	case StepResolvedManually:
		return e.Result
	case StepInherited:
		return e.Result
	case TaskStartRequested, TaskReenqueued, TaskDelayed, TaskFailed, TaskRetryRequested, TaskCancelled,
		TaskResolvedManually, TaskPaused, TaskResumed, TaskAnnotated, StepExecutionRequested, StepFailed,
		StepRetryRequested, StepCancelled, StepSkipped, PartitionOpened, PartitionSkipped, DefinitionAdopted, Unknown,
		TaskExpired, StepCheckpointed, StepProgressed, StepLogAppended, Custom, Signal:
	}
	return Payload{}
}
