package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// usedAndWaited is what this process has used of all processors, and for how long its threads have waited for one: that is much
// also when other processes fill the machine.
func usedAndWaited() (used, waited time.Duration) {
	used = usedTime(syscall.RUSAGE_SELF)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return used, 0
	}
	for _, thread := range threads {
		text, err := os.ReadFile(filepath.Join("/proc/self/task", thread.Name(), "schedstat"))
		var ran, stood int64
		if err == nil {
			if _, err = fmt.Sscan(string(text), &ran, &stood); err == nil {
				waited += time.Duration(stood)
			}
		}
	}
	return used, waited
}

// threadTime is what the calling thread has used.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	return usedTime(thread)
}
