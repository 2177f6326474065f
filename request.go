package tasker

import (
	"encoding/json"
	"errors"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/subscribers"
)

// request is what one process asks of the owner of a partition, in JSON on tasker.cmd.<pp> (DESIGN 6).
type request struct {
	Op         string          `json:"op"`
	Task       domain.TaskID   `json:"task,omitzero"`
	Submission *Submission     `json:"submission,omitempty"`
	Verb       *verb           `json:"verb,omitempty"`
	Filter     *Filter         `json:"filter,omitempty"`
	Definition json.RawMessage `json:"definition,omitempty"`
	Replace    bool            `json:"replace,omitempty"`
	Prune      *pruneRequest   `json:"prune,omitempty"`
	Skip       *skipRequest    `json:"skip,omitempty"`
	Partition  int             `json:"partition,omitempty"`
}

// The operations.
const (
	opSubmit = "submit"
	opVerb   = "verb"
	opTask   = "task"
	opTasks  = "tasks"
	opWait   = "wait"
	opApply  = "apply"
	opPrune  = "prune"
	opSkip   = "skip"
	opStatus = "status"
)

// response answers a request. Exactly one field is set, next to Error.
type response struct {
	Error   *wireError   `json:"error,omitempty"`
	Receipt *Receipt     `json:"receipt,omitempty"`
	Task    *Task        `json:"task,omitempty"`
	Tasks   []Task       `json:"tasks,omitempty"`
	Result  *Result      `json:"result,omitempty"`
	Pruned  *PruneReport `json:"pruned,omitempty"`
	Status  *Status      `json:"status,omitempty"`
}

// verb is an operator's verb with its parameters.
type verb struct {
	Name       string          `json:"name"`
	Step       string          `json:"step,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	By         string          `json:"by,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	Inputs     json.RawMessage `json:"inputs,omitempty"`
	RetryLimit int             `json:"retry_limit,omitempty"`
}

type pruneRequest struct {
	OlderThan int64 `json:"older_than_ns"`
	DryRun    bool  `json:"dry_run,omitempty"`
}

type skipRequest struct {
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
	By       string `json:"by,omitempty"`
}

// wireError is an error on its way to another process. The code keeps it comparable with errors.Is.
type wireError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
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
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	for _, known := range errorCodes {
		if errors.Is(err, known.sentinel) {
			return &wireError{Code: known.code, Message: err.Error()}
		}
	}
	return &wireError{Message: err.Error()}
}

// RemoteError is an error that the owner of a partition answered. errors.Is finds the sentinel that it was.
type RemoteError struct {
	Message  string
	sentinel error
}

func (e *RemoteError) Error() string { return e.Message }

func (e *RemoteError) Unwrap() error { return e.sentinel }

func (w *wireError) err() error {
	if w == nil {
		return nil
	}
	e := &RemoteError{Message: w.Message}
	for _, known := range errorCodes {
		if known.code == w.Code {
			e.sentinel = known.sentinel
		}
	}
	return e
}
