package domain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// The ports: what the engine needs from the outside. Adapters in infra implement them, callers in subscribers and in
// the face use them; they stand here, below both. Every method may be called from any goroutine unless it says
// otherwise. A method that waits ends with its context.

// Store is everything that one engine keeps: on NATS (infra/natslog), or in memory (infra/memlog).
type Store interface {
	// Data identifies the log: made once, when the store was first opened.
	Data() DataInfo
	// Log is the stream of one partition.
	Log(partition int) Log
	Leases() Leases
	Snapshots() Snapshots
	Blobs() Blobs
	Definitions() KV // key: namespace.name.version; for submitters to find, never read by loading
	Cursors() KV     // key: subscriber name and partition
	Tokens() KV      // key: name of an access token (Token)
	DeadLetters() DeadLetters
	// Clock is the store's own clock, to compare with: the time now as the server sees it.
	Clock(ctx context.Context) (time.Time, error)
	// Usage is how full the store is, 0 to 1 of its limit; 0 when it has none.
	Usage(ctx context.Context) (float64, error)
}

// Commands is the way of submissions and operator commands from other processes to the owner of a partition. A store
// implements it too.
type Commands interface {
	// ServeCommands answers the requests to a partition until stop is called. handle is called on one goroutine, in the
	// order of arrival; it may keep request, and call reply later, from any goroutine, or never. ctx ends with stop.
	ServeCommands(partition int, handle func(ctx context.Context, request []byte, reply func([]byte))) (stop func(), err error)
	// Request waits for the owner's answer. ErrNoOwner when nobody serves the partition; ErrUnavailable when there was
	// no answer, which does not mean that the request was not carried out.
	Request(ctx context.Context, partition int, request []byte) ([]byte, error)
}

// DataInfo is what a log says of itself.
type DataInfo struct {
	ID         string // of the data, for cursors
	Generation int    // of the partitioning
	Partitions int
	Durability string // "strict", "interval", "external (R3, unverified)", "memory"
}

// Message is one stored message of a partition's stream.
type Message struct {
	Sequence uint64
	CommitID string // header Tasker-Commit; "" = not a commit
	Data     []byte // the receiver owns it
	Time     time.Time
}

// Log is the stream of one partition.
type Log interface {
	// Append sends data as the message that follows sequence last, and returns at once; the order of calls is the
	// order of sending. done is called from any goroutine with the acknowledged sequence or an error; it may be
	// called late, twice, or never: no answer is an answer (DESIGN 5, step 5). An error that wraps ErrNotStored
	// proves that the message was not and will not be stored. The caller may reuse data when Append has returned.
	Append(last uint64, commitID string, data []byte, done func(sequence uint64, err error))
	// Read returns one message, as the stream's leader has it. ErrNoMessage when nothing is stored under the sequence
	// (yet, or any more).
	Read(ctx context.Context, sequence uint64) (Message, error)
	// Scan calls each with every message from sequence from on, in order, until the last one stored when it began; an
	// error of each ends it. A message removed from the middle is passed over.
	Scan(ctx context.Context, from uint64, each func(Message) error) error
	// Follow is Scan that goes on with what is appended later, until ctx ends or each fails.
	Follow(ctx context.Context, from uint64, each func(Message) error) error
	// SequenceAt is the first sequence stored at or after t; last+1 when there is none.
	SequenceAt(ctx context.Context, t time.Time) (uint64, error)
	// Bounds are the first and the last sequence (first = last+1 when the stream is empty), and its bytes.
	Bounds(ctx context.Context) (LogBounds, error)
	// Trim removes every message before sequence.
	Trim(ctx context.Context, before uint64) error
}

// LogBounds is the extent of a partition's stream.
type LogBounds struct {
	First, Last uint64
	Bytes       uint64
}

// Errors of Log and Store.
var (
	ErrNoMessage   = errors.New("no message under that sequence")
	ErrNotStored   = errors.New("the message was refused and is not stored")
	ErrUnavailable = errors.New("the log cannot be reached: is NATS running?")
	ErrNoKey       = errors.New("no such key")
	ErrLeaseTaken  = errors.New("the lease is held by another process")
	ErrConflict    = errors.New("the key was changed by somebody else")
	ErrNoOwner     = errors.New("no engine owns the partition: is one running?")
)

// StreamMissingError: a stream of a known data id does not exist (any more). It is never made again by itself.
type StreamMissingError struct{ Stream, DataID string }

func (e *StreamMissingError) Error() string {
	return fmt.Sprintf("stream %s of data %s is missing: restore it from a backup; it is not created again, "+
		"because an empty log would pass for a new one", e.Stream, e.DataID)
}

// Leases hands out one lease per name. A lease saves work; no commit depends on it.
type Leases interface {
	// Acquire takes the lease if nobody holds it. ErrLeaseTaken names who does.
	Acquire(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error)
}

// Lease is a lease held. One goroutine uses it.
type Lease interface {
	// Renew extends it by the ttl. ErrLeaseTaken when it ran out and somebody else has it.
	Renew(ctx context.Context) error
	// Release gives it back, so that the next one need not wait.
	Release(ctx context.Context) error
}

// SnapshotInfo names a snapshot: the state after the commit CommitID at Sequence.
type SnapshotInfo struct {
	Partition int
	Sequence  uint64
	CommitID  string
	Format    int    // version of the encoding
	Digest    string // "sha256-<hex>" of the content
	Size      int64
}

// Snapshots stores snapshots, none of which is ever overwritten.
type Snapshots interface {
	// Put stores content under info; Digest and Size are filled in. A crash in between leaves no snapshot.
	Put(ctx context.Context, info SnapshotInfo, content io.Reader) (SnapshotInfo, error)
	// List returns the snapshots of a partition, newest first.
	List(ctx context.Context, partition int) ([]SnapshotInfo, error)
	// Get returns the content; an error when it does not match the digest.
	Get(ctx context.Context, info SnapshotInfo) ([]byte, error)
	Delete(ctx context.Context, info SnapshotInfo) error
}

// Blobs stores payloads that are too large for an event, under their digest.
type Blobs interface {
	// Put stores content and returns its digest; storing the same content again is cheap.
	Put(ctx context.Context, content []byte) (digest string, err error)
	// Get returns the content; ErrNoKey when there is none of that digest.
	Get(ctx context.Context, digest string) ([]byte, error)
}

// KV is a small table with revisions.
type KV interface {
	// Get returns value and revision; ErrNoKey.
	Get(ctx context.Context, key string) ([]byte, uint64, error)
	// Put writes the value if the key's revision is still the given one (0 = the key does not exist);
	// ErrConflict otherwise. It returns the new revision.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context) ([]string, error)
}

// DeadLetter is something that could not be decoded, accepted or delivered.
type DeadLetter struct {
	Kind   string // "submission", "subscriber", ...: the second token of its subject; [A-Za-z0-9_-]
	Name   string // of the definition, the subscriber ...
	Reason string // why, for people
	// Once is "", or what makes a second Put within two minutes the same letter: of something that is delivered again.
	Once     string
	Headers  map[string]string   // what the engine says about it; the names begin with Tasker-
	Subject  string              // original subject; "" when there was none
	Original map[string][]string // original headers, which are not interpreted
	Data     []byte              // original body
}

// StoredLetter is a dead letter as it was stored.
type StoredLetter struct {
	DeadLetter
	Sequence uint64 // names the letter, for ever
	Time     time.Time
	Size     int // bytes of Data, also where List leaves it out
	// Truncated says what was cut because it is too large for a message; "" when all is there.
	Truncated string
}

// LetterFilter chooses letters.
type LetterFilter struct {
	Kind  string // "" = all
	After uint64 // only letters behind this one
	Limit int    // at most so many, from the oldest on; 0 = no limit
}

// DeadLetters keeps them for 30 days, and gives up the oldest when there is no room.
type DeadLetters interface {
	Put(ctx context.Context, letter DeadLetter) error
	// List returns letters without their Data, oldest first.
	List(ctx context.Context, filter LetterFilter) ([]StoredLetter, error)
	// Get returns a letter; ErrNoMessage when it is not there (any more).
	Get(ctx context.Context, sequence uint64) (StoredLetter, error)
	// Delete removes a letter; ErrNoMessage as for Get.
	Delete(ctx context.Context, sequence uint64) error
	// DeleteAll removes the letters of a kind ("" = all), and returns how many there were.
	DeleteAll(ctx context.Context, kind string) (uint64, error)
}

// ErrIntakeFull: the stream of the intake has reached its limit.
var ErrIntakeFull = errors.New("the intake is full: requests are waiting for an engine to carry them out; run one, or raise the stream's limits")

// IntakeMessage is a request of a foreign client, as it came.
type IntakeMessage struct {
	Subject string
	Target  []string // tokens of the subject behind tasker.submit.task or tasker.submit.request
	Header  map[string][]string
	Data    []byte // the receiver owns it

	// What was published to the stream also has these.
	Sequence   uint64
	Stored     time.Time // by the server's clock
	Deliveries int       // this one included
}

// IntakeVerdict is what becomes of a message of the stream. The zero value acknowledges it.
type IntakeVerdict struct {
	Again time.Duration // more than 0: it is delivered again after that time, to whichever engine
	Busy  bool          // and until then this engine takes no others
}

// Intake is the way in for foreign clients. A store may implement it.
type Intake interface {
	// ServeIntake hands the messages of the stream to handle until stop is called: many at once, each to one engine of all
	// that serve it, and again until a verdict has acknowledged it, also in another process. It returns at once and goes on
	// by itself when NATS comes and goes. stop takes no more, waits for the calls that run until its context ends, and then
	// ends theirs.
	ServeIntake(handle func(ctx context.Context, m IntakeMessage) IntakeVerdict) (stop func(ctx context.Context))
	// ServeIntakeRequests answers what is sent with request/reply, until stop is called; one engine of all gets each. ctx ends
	// with stop. handle is called on many goroutines; nil is no answer.
	ServeIntakeRequests(handle func(ctx context.Context, m IntakeMessage) (answer []byte)) (stop func(), err error)
	// PublishIntake puts a message into the stream. target are namespace and name. ErrIntakeFull.
	PublishIntake(ctx context.Context, target []string, header map[string][]string, data []byte) error
	// CheckReply says why answers cannot be sent to a subject that a foreign client names, or nil.
	CheckReply(subject string) error
	// Reply sends an answer there.
	Reply(subject string, answer []byte) error
}
