package natsserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// DirReport is how a data directory is doing, for people who look for what is wrong.
type DirReport struct {
	Dir  string
	Mode fs.FileMode
	UID  int // of its owner; -1 when that is not known
	// Data: a server has run on it.
	Data bool
	// Format is why no server of this version can run on it; nil when one can.
	Format error
	Locked bool // a server runs on it
	PID    int  // of that process; 0 when it has not said so yet

	LockProblem error // why nobody can say whether one does

	Used, Free         int64 // bytes that are stored, and that this user may still write
	StoreLimit         int64 // that a server would have if it were started now
	Inodes, FreeInodes uint64
	SpaceProblem       error // why these are not known
}

// Examine looks at a data directory and changes nothing in it. An error when there is no such directory, or this user may
// not look into it.
func Examine(dir string) (DirReport, error) {
	r := DirReport{Dir: dir, UID: -1}
	info, err := os.Stat(dir)
	if err != nil {
		return r, err
	}
	if !info.IsDir() {
		return r, fail(ErrNotDirectory, nil, "data directory %s is a file: choose another with --data", dir)
	}
	r.Mode, r.UID = info.Mode().Perm(), ownerOf(info)
	if _, err := os.ReadDir(dir); err != nil {
		return r, unwritable(dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, jetstreamDir)); err == nil {
		r.Data = true
	}
	r.Format = r.checkFormat()
	r.Locked, r.PID, r.LockProblem = examineLock(dir)
	if r.Used, r.SpaceProblem = sizeOf(filepath.Join(dir, jetstreamDir)); r.SpaceProblem != nil {
		return r, nil //nolint:nilerr // part of the report
	}
	if r.Free, r.SpaceProblem = freeSpace(dir); r.SpaceProblem == nil {
		r.Inodes, r.FreeInodes, r.SpaceProblem = freeInodes(dir)
	}
	r.StoreLimit = max(r.Used+r.Free/10*8, MinMaxStore)
	return r, nil
}

// checkFormat is checkMarker that makes no marker.
func (r *DirReport) checkFormat() error {
	if _, err := os.Lstat(filepath.Join(r.Dir, markerFile)); errors.Is(err, fs.ErrNotExist) && !r.Data {
		return nil
	} else if errors.Is(err, fs.ErrNotExist) {
		return fail(ErrForeign, nil, "data directory %s holds JetStream data but no %s: it belongs to another NATS server, choose another with --data", r.Dir, markerFile)
	}
	err := checkMarker(r.Dir, false)
	var mode *ModeError
	if errors.As(err, &mode) && mode.Found == modeCluster {
		return nil
	}
	return err
}

// examineLock reports whether somebody holds the lock. A server that starts in the same instant may find it held.
func examineLock(dir string) (locked bool, pid int, err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	if err := tryLock(f); errors.Is(err, errHeld) {
		return true, readPID(f), nil
	} else if err != nil {
		return false, 0, err
	}
	return false, 0, nil
}
