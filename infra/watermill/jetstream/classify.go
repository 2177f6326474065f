package jetstream

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Permanent marks a failure that another try cannot mend: ClassifyErrors has the message terminated instead of delivered
// again. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether an error, or one that it wraps, was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// RetryAfter marks a failure with how long to wait before the next delivery, instead of NackBackoff. nil stays nil.
func RetryAfter(wait time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryError{err, wait}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

type retryError struct {
	error
	wait time.Duration
}

func (e *retryError) Error() string { return fmt.Sprintf("%s (again in %s)", e.error, e.wait) }
func (e *retryError) Unwrap() error { return e.error }

// ClassifyErrors is a middleware that tells the Subscriber why a handler failed, which Watermill's Router keeps to itself:
// Permanent terminates the message, with the error's text in the server's advisory; RetryAfter sets the wait. Other errors,
// and messages of other subscribers, are left as they are. Put it inside of a poison queue, which turns errors into
// success, and outside of a retry.
func ClassifyErrors(h message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		produced, err := h(m)
		if err == nil {
			return produced, nil
		}
		if d, ok := m.Context().Value(deliveryKey{}).(*delivery); ok {
			d.verdict.Store(verdictOf(err))
		}
		return produced, err
	}
}

// verdict is what a handler's error means for its message.
type verdict struct {
	terminate bool
	reason    string
	wait      time.Duration // used when waits
	waits     bool
}

func verdictOf(err error) *verdict {
	if IsPermanent(err) {
		return &verdict{terminate: true, reason: oneLine(err.Error())}
	}
	var r *retryError
	if errors.As(err, &r) {
		return &verdict{wait: r.wait, waits: true}
	}
	return &verdict{}
}

// maxReason bounds the text of an error in an advisory.
const maxReason = 512

func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) <= maxReason {
		return s
	}
	cut := maxReason
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
