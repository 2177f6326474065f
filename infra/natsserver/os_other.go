//go:build !(linux || darwin || freebsd)

package natsserver

import (
	"errors"
	"os"
)

// Without a lock two processes would overwrite each other's streams, so the embedded server does not start here.
func tryLock(*os.File) error { return errors.ErrUnsupported }

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

func freeInodes(string) (all, free uint64, err error) { return 0, 0, errors.ErrUnsupported }

func ownerOf(os.FileInfo) int { return -1 }
