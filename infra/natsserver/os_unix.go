//go:build linux || darwin || freebsd

package natsserver

import (
	"errors"
	"os"
	"syscall"
)

func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errHeld
		default:
			return err
		}
	}
}

// freeSpace is the number of bytes that this user may still write to the file system of dir.
func freeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	//nolint:unconvert // the types of both fields differ by system
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// freeInodes are how many files the file system of dir can have, and how many more it takes; 0 of 0 when it has no such limit.
func freeInodes(dir string) (all, free uint64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, os.NewSyscallError("statfs", err)
	}
	//nolint:unconvert // the types of both fields differ by system
	return uint64(st.Files), uint64(max(st.Ffree, 0)), nil
}

// ownerOf is the user that a file belongs to.
func ownerOf(info os.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
