// Package taskerbin builds the command tasker for tests that run it as a user does.
package taskerbin

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build writes the command into dir and returns its path. It is always built without the race detector, which makes every start
// of a process and all it does several times slower; the tests of the packages run with it, and `make conformance` runs the
// scripts of the command with it, too.
func Build(dir string) (string, error) {
	path := filepath.Join(dir, "tasker")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.Command("go", "build", "-race=false", "-o", path, "github.com/tasker-go/tasker/cmd/tasker")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
