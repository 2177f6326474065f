//go:build darwin || freebsd

package sqlite

import (
	"syscall"
	"time"
)

// wantedTime is what this process has used of all processors.
func wantedTime() time.Duration { return usedTime(syscall.RUSAGE_SELF) }

var epoch = time.Now()

// threadTime is the time on the wall: what a thread uses is not told.
func threadTime() time.Duration { return time.Since(epoch) }
