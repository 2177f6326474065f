package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"zombiezen.com/go/sqlite"

	"github.com/tasker-go/tasker/projections/index"
)

// ErrClosed is what everything returns behind Close.
var ErrClosed = errors.New("the index is closed")

// LockedError: another process has the index open.
type LockedError struct {
	Path string
	PID  int // 0 when it is not known
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("index %s: %s has it open: stop it, or give this one another file", e.Path, who)
}

// foreignError: the file is not what is looked for.
type foreignError struct{ why string }

func (e *foreignError) Error() string { return e.why }

// errNoFile: the file is being made again, or could not be.
var errNoFile = errors.New("the index has no file at the moment: it is made again as soon as that is possible")

var errEmpty = errors.New("there is no index yet")

// unusable reports whether an error says that the file is to be made again.
func unusable(err error) bool {
	var foreign *foreignError
	if err == nil || errors.Is(err, errEmpty) || errors.Is(err, errNoFile) || errors.As(err, &foreign) || errors.Is(err, index.ErrDetail) {
		return err != nil
	}
	code := sqlite.ErrCode(err).ToPrimary()
	if code == sqlite.ResultError { // a table that is not there
		return strings.Contains(err.Error(), "no such table") || strings.Contains(err.Error(), "no such column") || strings.Contains(err.Error(), "no such index")
	}
	return code == sqlite.ResultCorrupt || code == sqlite.ResultNotADB || code == sqlite.ResultFormat
}

func reason(err error) string {
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultNotADB {
		return "it is not a database"
	}
	return err.Error()
}

// explainOpen says what to do about a file that cannot be opened or written.
func explainOpen(path string, err error) error {
	code := sqlite.ErrCode(err).ToPrimary()
	what := ""
	switch {
	case errors.Is(err, fs.ErrPermission) || code == sqlite.ResultReadOnly || code == sqlite.ResultPerm:
		what = ": this user may not write it: change its owner or mode, or give another file"
	case errors.Is(err, syscall.ENOSPC) || code == sqlite.ResultFull:
		what = ": the disk is full: make room; the index goes on by itself"
	case code == sqlite.ResultCantOpen:
		what = ": it cannot be opened: are the directory and the file there, and may this user write them?"
	}
	return fmt.Errorf("index %s%s: %w", path, what, err)
}
