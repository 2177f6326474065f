package bench

import (
	"bufio"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
)

// rssMB is the resident memory of this process; 0 where the system does not say.
func rssMB() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	pages, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// writtenBytes is what this process has given to the system to write, to files or not; 0 where it does not say.
func writtenBytes() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "wchar: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// revision is the commit that the binary was built from.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	if commit == "" {
		return os.Getenv("TASKER_COMMIT")
	}
	return commit + dirty
}

// diskBytes is what the files of the directory hold.
func diskBytes(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// fsyncP50 is the median of writing 1 KiB to the end of a file and forcing it to the disk.
func fsyncP50(dir string) (float64, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fsync") // beside the data, which the engine alone may touch
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	f, err := os.Create(filepath.Join(tmp, "probe")) // #nosec G304 -- in a directory made just now
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 1<<10)
	return median(300, func() error {
		if _, err := f.Write(page); err != nil {
			return err
		}
		return f.Sync()
	})
}

// appendP50 is the median of 1,000 single commits, one after the other, on a log beside the engine's.
func appendP50(ctx context.Context, srv *natsserver.Server) (float64, error) {
	store, err := natslog.Open(ctx, natslog.Options{Connect: srv.Connect, Prefix: "BENCHMARK", Partitions: 1})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	log := store.Log(0)
	bounds, err := log.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	last, body, acks := bounds.Last, make([]byte, 300), make(chan error, 1)
	return median(1000, func() error {
		log.Append(last, "benchmark", body, func(sequence uint64, err error) {
			last = sequence
			acks <- err
		})
		return <-acks
	})
}

func median(n int, f func() error) (float64, error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	return micros(took[n/2]), nil
}
