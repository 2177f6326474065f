package natsserver

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const lockFile = "LOCK"

// errHeld is what tryLock returns when somebody else has the lock.
var errHeld = errors.New("lock is held")

// dirLock is the claim on a data directory. The operating system drops it with the process, however that ends, so a
// crash leaves nothing to clean up. The file itself stays: removing it would let two processes lock two files.
type dirLock struct{ f *os.File }

// lockDir takes the lock without waiting. It changes nothing in a directory that somebody else has locked.
func lockDir(dir string) (*dirLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if err := tryLock(f); err != nil {
		defer f.Close()
		if errors.Is(err, errHeld) {
			return nil, &LockedError{Dir: dir, PID: readPID(f)}
		}
		return nil, fail(ErrUnwritable, err, "data directory %s cannot be locked: its file system must support flock, choose another with --data", dir)
	}
	l := &dirLock{f: f}
	if err := l.write(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		return nil, errors.Join(unwritable(dir, err), l.release())
	}
	return l, nil
}

func (l *dirLock) write(s string) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(s), 0)
	return err
}

// release empties the file, so that it names nobody, and gives the directory to the next one.
func (l *dirLock) release() error {
	return errors.Join(l.write(""), l.f.Close())
}

// readPID is 0 in the moment between the holder's lock and its writing.
func readPID(r io.ReaderAt) int {
	buf := make([]byte, 20)
	n, err := r.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return 0
	}
	return pid
}
