package natsserver

import (
	"errors"
	"fmt"
)

// The kinds of failure of Start, to be matched with errors.Is. The error that Start returns says which directory or
// address it was, what happened and what to do about it.
var (
	// ErrInvalidOptions: a field of Options has no meaning or is missing.
	ErrInvalidOptions = errors.New("invalid server options")
	// ErrLocked: another process (or another Server of this one) uses the data directory; see LockedError.
	ErrLocked = errors.New("data directory is in use")
	// ErrNewer: the data directory was written by a newer version; see NewerError.
	ErrNewer = errors.New("data directory has a newer format")
	// ErrWrongMode: a standalone directory is opened as a cluster member, or the other way round; see ModeError.
	ErrWrongMode = errors.New("data directory belongs to the other mode")
	// ErrForeign: the directory holds JetStream data that no Server put there, or its marker cannot be read.
	ErrForeign = errors.New("not a tasker data directory")
	// ErrNotDirectory: the path, or a part of it, is something else than a directory.
	ErrNotDirectory = errors.New("not a directory")
	// ErrUnwritable: the directory cannot be created, locked or written.
	ErrUnwritable = errors.New("data directory is not writable")
	// ErrNoSpace: less than MinFreeSpace is free on the disk.
	ErrNoSpace = errors.New("too little free disk space")
	// ErrAddressInUse: another process listens on the address.
	ErrAddressInUse = errors.New("address is in use")
	// ErrListen: the address cannot be listened on for another reason.
	ErrListen = errors.New("cannot listen")
	// ErrCredentials: a listener that other machines reach was asked for without credentials.
	ErrCredentials = errors.New("listener without credentials")
	// ErrServer: the NATS server itself refused to start; the message is its own.
	ErrServer = errors.New("nats server did not start")
	// ErrStopped: the Server was shut down. Connect returns it.
	ErrStopped = errors.New("nats server is stopped")
)

// LockedError says who holds the data directory. It matches ErrLocked.
type LockedError struct {
	Dir string
	PID int // 0 when the holder has not written it yet
}

func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it, or choose another with --data", e.Dir, holder)
}

// Is reports whether target is ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// NewerError names both format versions. It matches ErrNewer.
type NewerError struct {
	Dir       string
	Found     int // the format that the directory has
	Supported int // the newest format that this binary reads
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("data directory %s has format %d, this version of tasker reads up to format %d: run the version that wrote it, or a later one",
		e.Dir, e.Found, e.Supported)
}

// Is reports whether target is ErrNewer.
func (e *NewerError) Is(target error) bool { return target == ErrNewer }

// ModeError names the mode that a directory has and the one that was asked for. It matches ErrWrongMode.
type ModeError struct {
	Dir         string
	Found, Want string // "standalone" or "cluster"
}

func (e *ModeError) Error() string {
	if e.Found == modeStandalone {
		return fmt.Sprintf("data directory %s was written by a standalone server and cannot be started as a cluster member, which would delete its streams as orphans: "+
			"back it up with `nats backup account`, start the cluster on fresh directories, restore into it", e.Dir)
	}
	return fmt.Sprintf("data directory %s belongs to a %s server and was asked to start as %s: give it its cluster back, or choose another with --data",
		e.Dir, e.Found, e.Want)
}

// Is reports whether target is ErrWrongMode.
func (e *ModeError) Is(target error) bool { return target == ErrWrongMode }

// startError has a message for an operator, a kind for errors.Is and, where there is one, the cause below it.
type startError struct {
	kind  error
	cause error
	msg   string
}

func (e *startError) Error() string {
	if e.cause == nil {
		return e.msg
	}
	return e.msg + " (" + e.cause.Error() + ")"
}

func (e *startError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

func fail(kind, cause error, format string, args ...any) error {
	return &startError{kind: kind, cause: cause, msg: fmt.Sprintf(format, args...)}
}
