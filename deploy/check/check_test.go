package check

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// root is the folder of docker-compose.yml.
const root = "../.."

// patience is for anything that a server does; a loaded machine takes a second.
const patience = 30 * time.Second

var scratch string // removed at the end

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "deploy-check"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// read is a file of the repository.
func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// buildTasker compiles the binaries with the very command of the Dockerfile, once.
var buildTasker = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return "", err
	}
	line := buildLine.FindSubmatch(text)
	if line == nil {
		return "", errors.New("the Dockerfile has no line RUN go build")
	}
	cmd := exec.Command("sh", "-c", strings.Replace(string(line[1]), "-o /out/", "-o "+scratch+"/", 1))
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "VERSION=v9.8.7", "COMMIT=0123456789abcdef")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{err, out}
	}
	return filepath.Join(scratch, "tasker"), nil
})

type buildError struct {
	err error
	out []byte
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + string(e.out) }

func tasker(t *testing.T) string {
	t.Helper()
	path, err := buildTasker()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program and returns its exit code and what it printed.
func run(t *testing.T, program string, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// secrets are what deploy/secrets.sh writes: the environment of the compose file.
func secrets(t *testing.T) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "env")
	if code, out := run(t, filepath.Join(root, "deploy", "secrets.sh"), file); code != 0 {
		t.Fatalf("secrets.sh ends with %d: %s", code, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			t.Fatalf("line %q is no assignment", lines.Text())
		}
		env[name] = value
	}
	return env
}

// await polls for what announces itself to nobody.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

func TestSecretsAreRandomPrivateAndKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("GRAFANA_ADMIN_PASSWORD=mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for range 2 {
		if code, out := run(t, filepath.Join(root, "deploy", "secrets.sh"), file); code != 0 {
			t.Fatalf("%d %s", code, out)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] {
		t.Errorf("a second call changes the passwords:\n%s\n%s", texts[0], texts[1])
	}
	if !strings.HasPrefix(texts[0], "GRAFANA_ADMIN_PASSWORD=mine\n") {
		t.Errorf("a password that was there is not kept:\n%s", texts[0])
	}
	one, two := secrets(t), secrets(t)
	for name, value := range one {
		if len(value) < 33 || value == two[name] {
			t.Errorf("%s is %q, and %q the next time", name, value, two[name])
		}
	}
	fresh := filepath.Join(t.TempDir(), "env")
	if code, out := run(t, filepath.Join(root, "deploy", "secrets.sh"), fresh); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	info, err := os.Stat(fresh)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the passwords have mode %v", info.Mode())
	}
}
