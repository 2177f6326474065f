//go:build (darwin || dragonfly || freebsd || linux || netbsd || openbsd) && !race

package projections

import (
	"os"
	"syscall"
)

// mapMemory takes zeroed memory of at least n bytes, whole pages, from the system: the collector leaves no headroom for
// it, and it is returned at once by free. Without free there was none to be had.
func mapMemory(n int) (mem []byte, free func()) {
	page := os.Getpagesize()
	n = (n + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	return mem, func() { _ = syscall.Munmap(mem) } // it fails only for what was never mapped
}
