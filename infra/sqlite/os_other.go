//go:build !(linux || darwin || freebsd)

package sqlite

import (
	"os"
	"time"
)

// Without a lock the process has to be the only one; SQLite's own locks keep the file whole.
func tryLock(*os.File) error { return nil }

// What the process uses is not known: the index is never held back.
func usedAndWaited() (used, waited time.Duration) { return 0, 0 }
func threadTime() time.Duration                   { return 0 }
