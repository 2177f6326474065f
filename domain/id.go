package domain

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// TaskID identifies one run of a definition: a UUID, version 7 when the client library made it, version 5 when it was
// derived from an idempotency key (SEMANTICS 8). The zero TaskID is no task.
type TaskID uuid.UUID

// idempotencySpace is the UUIDv5 name space of ids derived from idempotency keys. It must never change: the same key
// has to give the same task for ever.
var idempotencySpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/tasker-go/tasker/idempotency"))

// KeyedTaskID derives the id of the task that (namespace, name, key) stands for.
func KeyedTaskID(namespace, name, key string) TaskID {
	return TaskID(uuid.NewSHA1(idempotencySpace, []byte(namespace+"\x00"+name+"\x00"+key)))
}

// ParseTaskID reads the 36-character text form of an id.
func ParseTaskID(s string) (TaskID, error) {
	if len(s) != 36 {
		return TaskID{}, fmt.Errorf("task id %q: %w", s, errBadTaskID)
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return TaskID{}, fmt.Errorf("task id %q: %w", s, errBadTaskID)
	}
	return TaskID(id), nil
}

var errBadTaskID = errors.New("not a task id: want 36 characters such as 01890a5d-ac96-774b-bcce-b302099a8057")

// String is the 36-character text form, lower case.
func (id TaskID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id names no task.
func (id TaskID) IsZero() bool { return id == TaskID{} }

// Keyed reports whether the id was derived from an idempotency key.
func (id TaskID) Keyed() bool { return id[6]>>4 == 5 }

// CreatedAt is the time inside a version 7 id, with millisecond precision; zero for any other version.
func (id TaskID) CreatedAt() Instant {
	if id[6]>>4 != 7 {
		return 0
	}
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return Instant(ms * 1000)
}

// MarshalText and UnmarshalText make ids readable in JSON.
func (id TaskID) MarshalText() ([]byte, error) { return id.Append(nil), nil }

// UnmarshalText parses the text form.
func (id *TaskID) UnmarshalText(b []byte) error {
	parsed, err := ParseTaskID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Append appends the text form to b without allocating.
func (id TaskID) Append(b []byte) []byte {
	const hex = "0123456789abcdef"
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hex[c>>4], hex[c&15])
	}
	return b
}

// Partition is the partition of a log with p partitions that holds the task: FNV-1a-32 of the id's text modulo p
// (DESIGN 6). Any client can compute it.
func (id TaskID) Partition(p int) int {
	var text [36]byte
	h := uint32(2166136261)
	for _, c := range id.Append(text[:0]) {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % uint32(p))
}
