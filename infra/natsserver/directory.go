package natsserver

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// openDir creates the directory if need be, locks it, and makes sure that a server of this mode can run on it. Nothing
// but the lock file is written before the lock is held.
func openDir(dir string, clustered bool) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	err = checkMarker(dir, clustered)
	if err == nil {
		err = probe(dir)
	}
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return lock, nil
}

// probe writes where the server will write. A store directory that belongs to somebody else, or is a file, would only
// show as a line in the server's log.
func probe(dir string) error {
	for _, d := range []string{dir, filepath.Join(dir, jetstreamDir)} {
		info, err := os.Stat(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !info.IsDir() {
			return fail(ErrNotDirectory, nil, "%s is a file, and the data directory needs a directory there: move it away, or choose another with --data", d)
		}
		if err != nil {
			return unwritable(d, err)
		}
		f, err := os.CreateTemp(d, ".probe-*")
		if err != nil {
			return unwritable(d, err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			return unwritable(d, err)
		}
	}
	return nil
}

// unwritable says in an operator's words why dir cannot be used.
func unwritable(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST):
		return fail(ErrNotDirectory, err, "data directory %s is a file, or lies below one: choose another with --data", dir)
	case errors.Is(err, syscall.EROFS):
		return fail(ErrUnwritable, err, "data directory %s is on a read-only file system: mount it for writing, or choose another with --data", dir)
	case errors.Is(err, fs.ErrPermission):
		return fail(ErrUnwritable, err, "data directory %s may not be written by user %d: give it to that user, or choose another with --data", dir, os.Getuid())
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fail(ErrNoSpace, err, "data directory %s is on a full disk: free some space, or choose another with --data", dir)
	default:
		return fail(ErrUnwritable, err, "data directory %s cannot be used: repair it, or choose another with --data", dir)
	}
}

// storeLimit decides how many bytes JetStream may use. What is stored already counts as available: otherwise the limit
// would shrink with every restart until it is below what is stored.
func storeLimit(dir string, want int64, free func(string) (int64, error), log *slog.Logger) (int64, error) {
	avail, err := free(dir)
	if err != nil {
		return 0, fail(ErrUnwritable, err, "the free space of data directory %s cannot be determined", dir)
	}
	if avail < MinFreeSpace {
		return 0, fail(ErrNoSpace, nil, "data directory %s is on a disk with %s free, at least %s are needed: free some space, or choose another with --data",
			dir, mib(avail), mib(MinFreeSpace))
	}
	used, err := sizeOf(filepath.Join(dir, jetstreamDir))
	if err != nil {
		return 0, unwritable(dir, err)
	}
	most := max(used+avail/10*8, MinMaxStore)
	if want > most {
		log.Warn("the store limit is larger than the disk allows and was lowered",
			"asked", mib(want), "limit", mib(most), "stored", mib(used), "free", mib(avail))
	}
	if want == 0 || want > most {
		return most, nil
	}
	return want, nil
}

func sizeOf(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum += info.Size()
		return nil
	})
	return sum, err
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
