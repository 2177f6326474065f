package natsserver

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	markerFile   = "tasker.json"
	jetstreamDir = "jetstream" // where the NATS server puts its streams below StoreDir

	formatVersion  = 1
	modeStandalone = "standalone"
	modeCluster    = "cluster"
)

// marker is what the data directory says about itself. Unknown fields are allowed: a format that this version cannot
// read gets a higher number.
type marker struct {
	Format int    `json:"format"`
	Mode   string `json:"mode"`
}

// checkMarker refuses a directory that this version, or this mode, would damage, and marks a new one. The mode matters
// because a server that joins a cluster deletes the streams of a standalone one as orphans after some 30 s.
func checkMarker(dir string, clustered bool) error {
	want := marker{Format: formatVersion, Mode: modeStandalone}
	if clustered {
		want.Mode = modeCluster
	}
	path := filepath.Join(dir, markerFile)
	buf, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(dir, jetstreamDir)); err == nil {
			return fail(ErrForeign, nil, "data directory %s holds JetStream data but no %s: it belongs to another NATS server, choose another with --data", dir, markerFile)
		}
		return writeMarker(dir, want)
	}
	if err != nil {
		return fail(ErrForeign, err, "cannot read %s: make it readable for this user, or choose another directory with --data", path)
	}
	var have marker
	if err := json.Unmarshal(buf, &have); err != nil || have.Format < 1 {
		return fail(ErrForeign, err, "%s is damaged: it should read {\"format\":%d,\"mode\":%q} if nothing else wrote to this directory", path, want.Format, want.Mode)
	}
	if have.Format > formatVersion {
		return &NewerError{Dir: dir, Found: have.Format, Supported: formatVersion}
	}
	if have.Mode != want.Mode {
		return &ModeError{Dir: dir, Found: have.Mode, Want: want.Mode}
	}
	return nil
}

// writeMarker leaves either no marker or a whole one on the disk. The server starts after it, so that there are never
// streams without a marker.
func writeMarker(dir string, m marker) error {
	buf, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, markerFile+".new")
	if err := writeSynced(tmp, append(buf, '\n')); err != nil {
		return unwritable(dir, err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, markerFile)); err != nil {
		return unwritable(dir, err)
	}
	return syncDir(dir)
}

func writeSynced(path string, buf []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(buf)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return unwritable(dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return unwritable(dir, err)
	}
	return nil
}
