package natsserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestADirectoryIsExaminedWithoutChangingIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Examine(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Examine(dir)
	if err != nil || r.Data || r.Locked || r.Format != nil || r.Mode != 0o700 || r.UID != os.Getuid() || r.Free <= 0 || r.StoreLimit < MinMaxStore {
		t.Errorf("an empty directory: %+v, %v", r, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}

	server, err := Start(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = Examine(dir); err != nil || !r.Data || !r.Locked || r.PID != os.Getpid() || r.Format != nil {
		t.Errorf("with a server: %+v, %v", r, err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err = Examine(dir); err != nil || r.Locked || r.LockProblem != nil || r.SpaceProblem != nil {
		t.Errorf("after it: %+v, %v", r, err)
	}

	if err := os.Remove(filepath.Join(dir, markerFile)); err != nil {
		t.Fatal(err)
	}
	if r, err = Examine(dir); err != nil || !errors.Is(r.Format, ErrForeign) {
		t.Errorf("without a marker: %v, %v", r.Format, err)
	}
	if err := os.WriteFile(filepath.Join(dir, markerFile), []byte(`{"format":99,"mode":"standalone"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err = Examine(dir); err != nil || !errors.Is(r.Format, ErrNewer) {
		t.Errorf("with a newer format: %v, %v", r.Format, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Examine(file); !errors.Is(err, ErrNotDirectory) {
		t.Errorf("a file: %v", err)
	}
}
