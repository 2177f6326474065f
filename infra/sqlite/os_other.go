//go:build !(linux || darwin || freebsd)

package sqlite

import (
	"os"
	"time"
)

// Without a lock the process has to be the only one; SQLite's own locks keep the file whole.
func tryLock(*os.File) error { return nil }

// cpuTime is not known: the index is never in the way.
func cpuTime() time.Duration { return 0 }
