package check

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The Dockerfile, read as far as it goes without Docker: its images, and the command that builds the binaries, which
// buildImage carries out.
var (
	fromLine  = regexp.MustCompile(`(?m)^FROM (\S+)(?: AS (\S+))?$`)
	buildLine = regexp.MustCompile(`(?m)^RUN (go build .*)$`)
)

func TestTheImagesOfTheBuildArePinned(t *testing.T) {
	text := string(read(t, "Dockerfile"))
	var stages []string
	for _, m := range fromLine.FindAllStringSubmatch(text, -1) {
		if m[1] != "scratch" && !slices.Contains(stages, m[1]) && !exactTag.MatchString(m[1]) {
			t.Errorf("image %q has no exact version", m[1])
		}
		stages = append(stages, m[2])
	}
	if n := len(stages); n == 0 || stages[n-1] != "tasker" {
		t.Errorf("docker build makes %v, the last of which should be tasker", stages)
	}
	if strings.Contains(text, "# syntax=") {
		t.Error("the syntax line is one more image, which nobody pins")
	}
	for name, s := range project(t).Services {
		if s.Build != nil && !slices.Contains(stages, s.Build.Target) {
			t.Errorf("%s is built from stage %q, which is none of %v", name, s.Build.Target, stages)
		}
	}
}

func TestImagesRunAsNobodyInParticular(t *testing.T) {
	text := string(read(t, "Dockerfile"))
	for _, stage := range strings.Split(text, "\nFROM ")[1:] {
		if strings.HasPrefix(stage, "scratch") && !regexp.MustCompile(`(?m)^USER [1-9]\d+:[1-9]\d+$`).MatchString(stage) {
			t.Errorf("a stage runs as root:\n%s", stage)
		}
		if strings.HasPrefix(stage, "scratch") && !strings.Contains(stage, "/etc/ssl/certs/ca-certificates.crt") {
			t.Errorf("a stage has no certificates, so that no TLS works:\n%s", stage)
		}
	}
}

func TestTheBuildContextHasNoSecretsAndAllSources(t *testing.T) {
	ignored := strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(string(read(t, ".dockerignore")), ""))
	for _, must := range []string{".env", ".git", ".tasker"} {
		if !slices.Contains(ignored, must) {
			t.Errorf("%s gets into the build", must)
		}
	}
	for _, needed := range []string{"go.mod", "go.sum", "cmd", "examples", "infra", "domain", "internal", "*.go"} {
		if slices.Contains(ignored, needed) {
			t.Errorf("%s is missing in the build", needed)
		}
	}
}

func TestTheBinariesAreStaticAndSayWhatTheyAre(t *testing.T) {
	for _, name := range []string{"tasker", "interop"} {
		f, err := elf.Open(filepath.Join(filepath.Dir(tasker(t)), name))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s needs a loader, which an empty image does not have", name)
			}
		}
		_ = f.Close()
	}
	if code, out := run(t, tasker(t), "version"); code != 0 || !strings.HasPrefix(out, "tasker v9.8.7, commit 0123456789ab (") {
		t.Errorf("%d %s", code, out)
	}
}

func TestTheHealthcheckOfTheImageExists(t *testing.T) {
	m := regexp.MustCompile(`(?m)^HEALTHCHECK .*CMD \["/usr/local/bin/tasker", "([^"]+)"\]$`).FindSubmatch(read(t, "Dockerfile"))
	if m == nil {
		t.Fatal("the image has none")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if code, out := run(t, tasker(t), string(m[1])); code != 3 {
		t.Errorf("without a server it ends with %d: %s", code, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v behind, %v", left, err)
	}
}
