package sqlite

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

var errHeld = errors.New("lock is held")

// lockFile claims the index for this process, in a file beside it, which stays: the operating system lets go of the claim with
// the process.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- the caller's file
	if err != nil {
		return nil, explainOpen(path, err)
	}
	if err := tryLock(f); err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, errHeld) {
			text := make([]byte, 20)
			n, _ := f.ReadAt(text, 0)
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
			return nil, &LockedError{Path: path, PID: pid}
		}
		return nil, explainOpen(path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
