package jetstream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrClosed: the Publisher or Subscriber was closed before.
	ErrClosed = errors.New("closed")
	// ErrOutcomeUnknown: the server did not acknowledge a message in time, or the connection broke first. It may be stored
	// or not; publishing it again is safe with a MetaMessageID or an expected sequence.
	ErrOutcomeUnknown = errors.New("not acknowledged: the message may be stored or not")
	// ErrNoStream: no stream listens on the subject.
	ErrNoStream = errors.New("no stream listens on this subject")
)

// ConflictError says that the stream, or the subject, did not end where the publisher expected it to: nothing was stored.
// It may be the publisher's own message that it conflicts with, when an earlier try had an unknown outcome.
type ConflictError struct {
	Subject string
	// Expected is the sequence that the message asked for.
	Expected uint64
	// Actual is the sequence that the server found, 0 when it did not say.
	Actual uint64
	// Err is the server's answer.
	Err error
}

func (e *ConflictError) Error() string {
	if e.Actual == 0 {
		return fmt.Sprintf("publish to %s: expected last sequence %d, it is another one: read it and decide anew", e.Subject, e.Expected)
	}
	return fmt.Sprintf("publish to %s: expected last sequence %d, it is %d: read on from there and decide anew", e.Subject, e.Expected, e.Actual)
}

func (e *ConflictError) Unwrap() error { return e.Err }

// AsConflict finds a conflict in an error of any client: this package's, the stock watermill-nats's, nats.go's. Expected and
// Subject are known for the first only.
func AsConflict(err error) (*ConflictError, bool) {
	var own *ConflictError
	if errors.As(err, &own) {
		return own, true
	}
	code, text := apiError(err)
	switch code {
	case codeWrongLastSequence:
		return &ConflictError{Actual: actualSequence(text), Err: err}, true
	case codeWrongLastSequenceConstant:
		return &ConflictError{Err: err}, true
	}
	return nil, false
}

// The server's codes for an expected sequence that is not the last one. The second names none: it is the answer while the
// message that came first is still on its way into the stream.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164
)

// apiError is the server's code in an error of either of the two clients that nats.go has.
func apiError(err error) (code int, text string) {
	var newer *js.APIError
	if errors.As(err, &newer) {
		return int(newer.ErrorCode), newer.Description
	}
	var legacy *nats.APIError
	if errors.As(err, &legacy) {
		return int(legacy.ErrorCode), legacy.Description
	}
	return 0, ""
}

// actualSequence reads "wrong last sequence: 17".
func actualSequence(text string) uint64 {
	n, err := strconv.ParseUint(text[strings.LastIndexByte(text, ' ')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// PublishError says which messages of one Publish were not stored, or may not be. The others are: their MetaSequence says where.
type PublishError struct {
	Topic string
	// Count is the number of messages that the call was given.
	Count int
	// Failures are in the order of the messages; at least one.
	Failures []Failure
}

// Failure is what became of one message.
type Failure struct {
	Index int // in the arguments of Publish
	UUID  string
	Err   error // ErrOutcomeUnknown, ErrNoStream, *ConflictError, or another refusal of the server
}

func (e *PublishError) Error() string {
	first := e.Failures[0]
	if e.Count == 1 {
		return fmt.Sprintf("publish to %s: %s", e.Topic, first.Err)
	}
	return fmt.Sprintf("publish to %s: %d of %d messages failed, the first is number %d (%s): %s", e.Topic, len(e.Failures), e.Count, first.Index+1, first.UUID, first.Err)
}

// Unwrap has errors.Is and errors.As look at every failure.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// TrimmedError says that a subscription was to begin at a sequence that the stream no longer holds.
type TrimmedError struct {
	Stream        string
	Wanted, First uint64
}

func (e *TrimmedError) Error() string {
	return fmt.Sprintf("stream %s begins at sequence %d, the subscription was to begin at %d: what is between was removed; begin at %d or with FromFirst if that is acceptable",
		e.Stream, e.First, e.Wanted, e.First)
}
