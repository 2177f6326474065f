package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/tasker-go/tasker/infra/natsserver"
)

// When a disk is worth a word.
const (
	shortOfSpace  = 10 * natsserver.MinFreeSpace // free bytes
	storeWarns    = 0.8                          // of the store's limit: retention goes on
	storeFails    = 0.9                          // submissions are refused
	shortOfInodes = 10_000

	fsyncs     = 50
	fsyncBytes = 4 << 10
	fsyncTime  = 5 * time.Second
	slowFsync  = 20 * time.Millisecond  // p50
	fsyncStall = 250 * time.Millisecond // p99
)

// start is how a server is started on what is looked at.
func (d *doctor) start() string {
	switch {
	case d.f.url != "":
		return "tasker serve --nats-url URL"
	case d.f.context != "":
		return "tasker serve --context " + d.f.context
	}
	if d.f.data == defaultData {
		return "tasker serve"
	}
	return "tasker serve --data " + d.f.data
}

// directory looks at the data directory; false when there is nothing to look at.
func (d *doctor) directory() bool {
	shown := shownPath(d.f.data)
	r, err := natsserver.Examine(d.f.data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.note("directory", fails, "start a server, which makes it: "+d.start()+"; or name another place with --data, --url or --context", "there is no directory %s", shown)
		return false
	case err != nil:
		d.note("directory", fails, "", "%v", err)
		return false
	case r.Format != nil:
		d.note("directory", fails, "", "%v", r.Format)
		return false
	case !r.Data:
		d.note("directory", fails, "start one: "+d.start()+"; or name another place with --data, --url or --context", "no server has ever run on %s", shown)
		return false
	}
	d.dir, d.ours = r, r.UID < 0 || r.UID == os.Geteuid()
	switch {
	case !d.ours:
		d.note("directory", warns, fmt.Sprintf("run tasker as user %d", r.UID), "%s belongs to user %d, and this is user %d", shown, r.UID, os.Geteuid())
	case r.Mode&0o077 != 0:
		d.note("directory", warns, "chmod 700 "+d.f.data, "others on this machine may look into %s (mode %04o), where the token of the server is", shown, r.Mode)
	default:
		d.ok("directory", "%s is this user's, and nobody else looks into it", shown)
	}
	switch {
	case r.LockProblem != nil:
		d.note("process", warns, "", "whether a server runs on %s cannot be found out: %v", shown, r.LockProblem)
	case r.Locked && r.PID != 0:
		d.ok("process", "process %d runs on %s", r.PID, shown)
	case r.Locked:
		d.ok("process", "a process runs on %s", shown)
	default:
		d.note("process", warns, "start one: "+d.start(), "no server runs on %s: nothing moves", shown)
	}
	return true
}

// space looks at what is free on the disk.
func (d *doctor) space() {
	r := d.dir
	const room = "make room: tasker prune --older-than 24h, or a larger disk"
	if r.SpaceProblem != nil {
		d.note("space", fails, "", "%v", r.SpaceProblem)
		return
	}
	share := float64(r.Used) / float64(r.StoreLimit)
	text := fmt.Sprintf("%s stored, %s free", size(r.Used), size(r.Free))
	switch {
	case r.Free < natsserver.MinFreeSpace:
		d.note("space", fails, room, "%s: a server needs %s to start, and a full disk stops JetStream", text, size(natsserver.MinFreeSpace))
	case share >= storeFails:
		d.note("space", fails, room, "%s: %.0f %% of what a server allows itself; submissions are refused from %.0f %% on", text, 100*share, 100*storeFails)
	case r.Free < shortOfSpace || share >= storeWarns:
		d.note("space", warns, room, "%s: that is not much", text)
	case r.Inodes > 0 && r.FreeInodes < shortOfInodes:
		d.note("space", warns, "remove files from that file system", "%s, but only %d more files can be made (inodes)", text, r.FreeInodes)
	default:
		d.ok("space", "%s", text)
	}
}

// fsync measures what every commit waits for.
func (d *doctor) fsync(ctx context.Context) {
	if !d.ours && os.Geteuid() != 0 {
		return
	}
	took, err := measureFsync(ctx, d.f.data)
	if err != nil {
		d.note("fsync", fails, "find out why nothing can be written there", "writing to %s: %v", shownPath(d.f.data), err)
		return
	}
	if len(took) == 0 {
		return // the time was over
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	text := fmt.Sprintf("p50 %s, p99 %s of %d: at most %.0f commits/s per partition, each of up to hundreds of steps; a 4-step task on its own takes about %s",
		span(p50), span(p99), len(took), 1/max(p50, time.Microsecond).Seconds(), span(5*p50))
	const faster = "put the data on a faster disk; or tasker serve --durability interval, which may lose the last second at power loss"
	switch {
	case p50 > slowFsync:
		d.note("fsync", warns, faster, "%s: that is slow", text)
	case p99 > fsyncStall:
		d.note("fsync", warns, faster, "%s: now and then everything waits for the disk", text)
	default:
		d.ok("fsync", "%s", text)
	}
}

// measureFsync writes to a file of its own, which it removes.
func measureFsync(ctx context.Context, dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, fsyncBytes)
	began := time.Now()
	for range fsyncs {
		if ctx.Err() != nil || time.Since(began) > fsyncTime {
			return took, nil
		}
		before := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(before))
	}
	return took, nil
}
