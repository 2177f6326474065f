package tasker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/jsonschema"
	"github.com/tasker-go/tasker/subscribers"
	"github.com/tasker-go/tasker/subscribers/attached"
)

// Errors to compare with errors.Is.
var (
	// ErrNotRunning: Run has not been called, or has ended. Nothing was stored.
	ErrNotRunning = subscribers.ErrNotRunning
	// ErrOverloaded: too much waits already. Nothing was stored; try again later.
	ErrOverloaded = subscribers.ErrOverloaded
	// ErrStoreFull: the store is at 90 % of its limit. Nothing was stored.
	ErrStoreFull = subscribers.ErrStoreFull
	// ErrUnavailable: NATS cannot be reached.
	ErrUnavailable = domain.ErrUnavailable
	// ErrOutcomeUnknown: sent, but nobody knows yet whether it is stored. Doing it again with the same id or key is safe.
	ErrOutcomeUnknown = subscribers.ErrOutcomeUnknown
	// ErrIdempotencyMismatch: the key was used before with another input. The receipt names that task.
	ErrIdempotencyMismatch = subscribers.ErrIdempotencyMismatch
	// ErrTooManyKeys: Config.MaxKeys idempotency keys are remembered already. Nothing was stored.
	ErrTooManyKeys = subscribers.ErrTooManyKeys
	// ErrTaskNotFound: no such task, or its history has been trimmed.
	ErrTaskNotFound = subscribers.ErrTaskNotFound
	// ErrNoOwner: no running engine owns the task's partition.
	ErrNoOwner = domain.ErrNoOwner
	// ErrDefinitionExists: another content is registered under that namespace, name and version.
	ErrDefinitionExists = errors.New("another definition is registered under that name and version: give it a new version")
)

// Errors to find with errors.As, of what stands below.
type (
	// ViolationsError lists where a context is not what the schema of its definition wants.
	ViolationsError = jsonschema.ViolationsError
	// FrozenError: the task has an event that this version cannot read.
	FrozenError = subscribers.FrozenError
	// TrimmedError: what should be read next is not stored any more. It is a value, not a pointer.
	TrimmedError = attached.ErrTrimmed
	// CursorMismatchError: a cursor is of another log.
	CursorMismatchError = attached.MismatchError
	// CursorAheadError: a cursor names what has not been stored yet.
	CursorAheadError = attached.AheadError
	// LiveOnlyError: a signal that only Engine.Tap tells of was asked of the log.
	LiveOnlyError = attached.LiveOnlyError
)

// InvalidSubmissionError: a submission that no definition could take: it has no name, its tags are too long. Nothing was
// stored.
type InvalidSubmissionError struct {
	Reason string `json:"reason"`
}

func (e *InvalidSubmissionError) Error() string { return e.Reason }

func invalidSubmission(format string, args ...any) error {
	return &InvalidSubmissionError{fmt.Errorf(format, args...).Error()}
}

// DefinitionNotFoundError: nothing is registered under that name. It lists what is there.
type DefinitionNotFoundError struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Version   string   `json:"version,omitempty"`
	Known     []string `json:"known,omitempty"`
}

func (e *DefinitionNotFoundError) Error() string {
	version := e.Version
	if version == "" {
		version = "any version"
	}
	known := "nothing is registered"
	if len(e.Known) > 0 {
		known = "there are: " + strings.Join(e.Known, ", ")
	}
	return fmt.Sprintf("no definition %q in namespace %q (%s); %s%s", e.Name, e.Namespace, version, known, e.elsewhere())
}

// elsewhere says that another namespace has the name, if it does. Names have no dots: one with a dot was meant as namespace and name.
func (e *DefinitionNotFoundError) elsewhere() string {
	for _, full := range e.Known {
		path, _, _ := strings.Cut(full, "@")
		namespace, name, _ := strings.Cut(path, ".")
		if namespace != e.Namespace && (name == e.Name || path == e.Name) {
			return fmt.Sprintf("; %q is in namespace %q, which has to be named", name, namespace)
		}
	}
	return ""
}

// TaskFailedError: the task ended, but not well. Wait returns it.
type TaskFailedError struct {
	ID     TaskID
	State  domain.State
	Reason domain.FailReason // of a failed task
	Steps  []string          // to blame
	Errors map[string]string // their last errors, by step
}

func (e *TaskFailedError) Error() string {
	if e.State != domain.Error {
		return fmt.Sprintf("task %s is %s", e.ID, e.State)
	}
	text := fmt.Sprintf("task %s failed: %s", e.ID, e.Reason)
	for i, s := range e.Steps {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text += sep + s
		if msg := e.Errors[s]; msg != "" {
			text += ": " + msg
		}
	}
	return text
}
