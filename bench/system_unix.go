//go:build unix

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime is what this process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// diskFlushes is how often the disk that holds the directory has flushed its cache; -1 where the system does not say.
// It counts the flushes of every process.
func diskFlushes(dir string) int64 {
	info, err := os.Stat(dir)
	if err != nil {
		return -1
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	dev := uint64(st.Dev) //nolint:unconvert,gosec // not as wide everywhere
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	text, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return -1
	}
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) >= 19 && f[0] == fmt.Sprint(major) && f[1] == fmt.Sprint(minor) {
			n, err := strconv.ParseInt(f[18], 10, 64)
			if err != nil {
				return -1
			}
			return n
		}
	}
	return -1
}
