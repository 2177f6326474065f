//go:build linux || darwin || freebsd

package natsserver

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDirectoryOfAnotherUser(t *testing.T) {
	// Root may write everywhere, so that the start is tried as nobody, by a copy of this binary where nobody can read it.
	root, err := os.MkdirTemp("", "natsserver") //nolint:usetesting // nobody else may enter what t.TempDir makes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	dir := filepath.Join(root, "data")
	exe := filepath.Join(root, "server")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	buf, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o500), os.WriteFile(exe, buf, 0o600), os.Chmod(exe, 0o755), os.Chmod(root, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	line := runChild(t, cmd, dir)()
	_ = cmd.Wait() // it ends with status 1
	if !strings.Contains(line, "may not be written by user") || !strings.Contains(line, dir) {
		t.Errorf("it said %q", line)
	}
}

func TestReasonsForAnUnwritableDirectoryAreToldApart(t *testing.T) {
	for err, c := range map[error]struct {
		kind error
		say  string
	}{
		syscall.EACCES:  {ErrUnwritable, "may not be written by user"},
		syscall.EPERM:   {ErrUnwritable, "may not be written by user"},
		syscall.EROFS:   {ErrUnwritable, "read-only file system"},
		syscall.EIO:     {ErrUnwritable, "cannot be used"},
		syscall.ENOSPC:  {ErrNoSpace, "full disk"},
		syscall.ENOTDIR: {ErrNotDirectory, "is a file"},
	} {
		got := unwritable("/data", &fs.PathError{Op: "open", Path: "/data/LOCK", Err: err})
		if !errors.Is(got, c.kind) || !errors.Is(got, err) || !strings.Contains(got.Error(), c.say) {
			t.Errorf("%v: got %v", err, got)
		}
	}
}
