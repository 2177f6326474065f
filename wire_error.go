package tasker

import (
	"encoding/json"
	"errors"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/subscribers"
)

// wireError is an error on its way to another process. The code keeps it comparable with errors.Is, kind and detail with
// errors.As.
type wireError struct {
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message"`
	Kind    string          `json:"kind,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// errorCodes are tried in this order. An unknown outcome wraps its cause, such as ErrUnavailable, which on its own says
// that nothing was stored.
var errorCodes = []struct {
	code     string
	sentinel error
}{
	{"outcome_unknown", ErrOutcomeUnknown},
	{"not_running", ErrNotRunning},
	{"not_owner", subscribers.ErrNotOwner},
	{"overloaded", ErrOverloaded},
	{"store_full", ErrStoreFull},
	{"too_many_keys", ErrTooManyKeys},
	{"unavailable", ErrUnavailable},
	{"idempotency_mismatch", ErrIdempotencyMismatch},
	{"task_not_found", ErrTaskNotFound},
	{"definition_exists", ErrDefinitionExists},
	{"unknown_step", ErrUnknownStep},
	{"other_identity", errOtherIdentity},
	{"no_index", ErrNoIndex},
	{"behind", ErrBehind},
}

// errorKind is a typed error that travels with its fields.
type errorKind struct {
	name string
	find func(err error) (typed error, ok bool)
	read func(detail json.RawMessage) (typed error, ok bool)
}

// kindOf makes the kind of a struct T whose pointer is an error. Its fields need names in JSON.
func kindOf[T any, P interface {
	*T
	error
}](name string) errorKind {
	return errorKind{
		name: name,
		find: func(err error) (error, bool) {
			var typed P
			ok := errors.As(err, &typed)
			return typed, ok
		},
		read: func(detail json.RawMessage) (error, bool) {
			typed := P(new(T))
			return typed, json.Unmarshal(detail, typed) == nil
		},
	}
}

var errorKinds = []errorKind{
	kindOf[domain.TransitionError]("transition"),
	kindOf[domain.RefusedError]("refused"),
	kindOf[domain.UnknownStepError]("unknown_step"),
	kindOf[InvalidVerbError]("invalid_verb"),
	kindOf[InvalidStuckError]("invalid_stuck"),
	kindOf[InvalidSubmissionError]("invalid_submission"),
	kindOf[domain.BypassError]("bypass"),
	kindOf[domain.ForkTooLargeError]("fork_too_large"),
	kindOf[PositionError]("position"),
	kindOf[HistoryTrimmedError]("history_trimmed"),
	kindOf[DefinitionNotFoundError]("definition_not_found"),
	kindOf[jsonschema.ViolationsError]("violations"),
	kindOf[subscribers.FrozenError]("frozen"),
	kindOf[IndexUnavailableError]("index_unavailable"),
	kindOf[IndexBehindError]("behind"),
	kindOf[QueryError]("query"),
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Message: err.Error()}
	for _, known := range errorCodes {
		if errors.Is(err, known.sentinel) {
			w.Code = known.code
			break
		}
	}
	for _, kind := range errorKinds {
		if typed, ok := kind.find(err); ok {
			if detail, err := json.Marshal(typed); err == nil {
				w.Kind, w.Detail = kind.name, detail
			}
			break
		}
	}
	return w
}

// RemoteError is an error that the owner of a partition answered. errors.Is finds the sentinel that it was, and errors.As
// the typed error, when the refusal of a submission or of a verb has a type.
type RemoteError struct {
	Message string
	cause   error
}

func (e *RemoteError) Error() string { return e.Message }

func (e *RemoteError) Unwrap() error { return e.cause }

func (w *wireError) err() error {
	if w == nil {
		return nil
	}
	e := &RemoteError{Message: w.Message}
	for _, known := range errorCodes {
		if known.code == w.Code {
			e.cause = known.sentinel
		}
	}
	for _, kind := range errorKinds {
		if kind.name != w.Kind {
			continue
		}
		if typed, ok := kind.read(w.Detail); ok && (e.cause == nil || errors.Is(typed, e.cause)) {
			e.cause = typed
		}
	}
	return e
}
