package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// wantedTime is what this process has used of all processors, and what its threads have waited for one: also when it is other
// processes that fill the machine.
func wantedTime() time.Duration {
	used := usedTime(syscall.RUSAGE_SELF)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return used
	}
	for _, thread := range threads {
		text, err := os.ReadFile(filepath.Join("/proc/self/task", thread.Name(), "schedstat"))
		var ran, waited int64
		if err == nil {
			if _, err = fmt.Sscan(string(text), &ran, &waited); err == nil {
				used += time.Duration(waited)
			}
		}
	}
	return used
}

// threadTime is what the calling thread has used.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	return usedTime(thread)
}
