//go:build darwin || freebsd

package sqlite

import (
	"syscall"
	"time"
)

// usedAndWaited is what this process has used of all processors; how long it waited for one is not told.
func usedAndWaited() (used, waited time.Duration) { return usedTime(syscall.RUSAGE_SELF), 0 }

var epoch = time.Now()

// threadTime is the time on the wall: what a thread uses is not told.
func threadTime() time.Duration { return time.Since(epoch) }
