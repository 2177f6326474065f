package check

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project is docker-compose.yml as docker compose reads it, with the passwords of secrets.sh.
func project(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t.Context(), secrets(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func load(ctx context.Context, env map[string]string) (*types.Project, error) {
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	folder, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, "docker-compose.yml")},
		cli.WithWorkingDirectory(folder), cli.WithEnv(list), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

var exactTag = regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+\.\d+(-alpine)?$`)

func TestEveryImageIsBuiltHereOrPinned(t *testing.T) {
	for name, s := range project(t).Services {
		if s.Build == nil && !exactTag.MatchString(s.Image) {
			t.Errorf("%s: image %q has no exact version", name, s.Image)
		}
	}
}

func TestNothingRunsWithoutItsPassword(t *testing.T) {
	all := secrets(t)
	for missing := range all {
		env := map[string]string{}
		for name, value := range all {
			if name != missing {
				env[name] = value
			}
		}
		if _, err := load(t.Context(), env); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestNoPasswordIsWrittenDown(t *testing.T) {
	secret := regexp.MustCompile(`(?i)password"?\s*[:=]\s*"?([^\s",}]+)`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		in := strings.HasPrefix(rel, "deploy") || rel == "docker-compose.yml" || rel == "Dockerfile"
		if d.IsDir() {
			if rel != "." && !in || rel == filepath.Join("deploy", "check") {
				return filepath.SkipDir
			}
			return nil
		}
		if !in {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range secret.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasPrefix(m[1], "$") && !strings.HasPrefix(m[1], "?") && m[1] != "p%s" { // a variable, or one that has to be set
				t.Errorf("%s: %s", rel, m[0])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestServicesHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	for name, s := range project(t).Services {
		if s.Privileged || s.NetworkMode == "host" || s.Pid != "" || s.Ipc != "" || len(s.CapAdd) > 0 {
			t.Errorf("%s: privileged %t, network %q, pid %q, ipc %q, capabilities %v", name, s.Privileged, s.NetworkMode, s.Pid, s.Ipc, s.CapAdd)
		}
		if !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s keeps capabilities: dropped %v, %v", name, s.CapDrop, s.SecurityOpt)
		}
		if s.Restart == "" {
			t.Errorf("%s has no restart policy", name)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && (!v.ReadOnly || strings.Contains(v.Source, "docker.sock")) {
				t.Errorf("%s may write to %s of the host", name, v.Source)
			}
		}
	}
}

func TestPortsAreOnLoopbackAndDoNotClash(t *testing.T) {
	taken := map[string]string{}
	for name, s := range project(t).Services {
		for _, p := range s.Ports {
			if ip := net.ParseIP(p.HostIP); ip == nil || !ip.IsLoopback() {
				t.Errorf("%s: port %d is open on %q", name, p.Target, p.HostIP)
			}
			if other, ok := taken[p.Published]; ok {
				t.Errorf("%s and %s both want port %s", name, other, p.Published)
			}
			taken[p.Published] = name
			if p.Target == 8222 || p.Target == 9464 || p.Target == 6222 {
				t.Errorf("%s: port %d has no password and is published", name, p.Target)
			}
		}
	}
	if len(taken) == 0 {
		t.Error("nothing can be reached")
	}
}

// withoutHealth are the services whose images hold nothing that could ask, or that end by themselves.
var withoutHealth = []string{"otel-collector", "interop"}

func TestServicesStartByHealth(t *testing.T) {
	p := project(t)
	for name, s := range p.Services {
		if (s.HealthCheck == nil) != slices.Contains(withoutHealth, name) {
			t.Errorf("%s: healthcheck %v", name, s.HealthCheck)
		}
		for on, d := range s.DependsOn {
			healthy := d.Condition == types.ServiceConditionHealthy
			if healthy == slices.Contains(withoutHealth, on) {
				t.Errorf("%s waits for %s: %s", name, on, d.Condition)
			}
		}
	}
	for _, engine := range []string{"engine-1", "engine-2"} {
		for _, on := range []string{"nats-1", "nats-2", "nats-3"} {
			if p.Services[engine].DependsOn[on].Condition != types.ServiceConditionHealthy {
				t.Errorf("%s does not wait for %s", engine, on)
			}
		}
	}
}

func TestMountedFilesExistAndDataIsKept(t *testing.T) {
	p := project(t)
	kept := map[string]bool{}
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			switch v.Type {
			case types.VolumeTypeBind:
				if entries, err := os.ReadDir(v.Source); err != nil || len(entries) == 0 {
					t.Errorf("%s mounts %s: %d files, %v", name, v.Source, len(entries), err)
				}
			case types.VolumeTypeVolume:
				if kept[v.Source] {
					t.Errorf("%s shares volume %s with another service", name, v.Source)
				}
				kept[v.Source] = true
			}
		}
		// What a command names below a mount has to be there.
		for _, word := range s.Command {
			path := word[strings.LastIndexByte(word, '=')+1:]
			if !strings.HasPrefix(path, "/") {
				continue
			}
			if host, ok := onHost(s, path); !ok {
				t.Errorf("%s: nothing is mounted at %s", name, path)
			} else if host != "" {
				if _, err := os.Stat(host); err != nil {
					t.Errorf("%s: %s: %v", name, path, err)
				}
			}
		}
	}
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} {
		s := p.Services[name]
		if !slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Type == types.VolumeTypeVolume && v.Target == "/data"
		}) {
			t.Errorf("%s keeps its streams nowhere", name)
		}
		if want := fmt.Sprintf("/etc/nats/%s.conf", name); !slices.Contains(s.Command, want) {
			t.Errorf("%s runs %v, not %s", name, s.Command, want)
		}
	}
}

// onHost is where a path of a container is on this machine; "" in a volume.
func onHost(s types.ServiceConfig, path string) (host string, mounted bool) {
	for _, v := range s.Volumes {
		rest, ok := strings.CutPrefix(path, v.Target)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		if v.Type == types.VolumeTypeBind {
			return filepath.Join(v.Source, filepath.FromSlash(rest)), true
		}
		return "", true
	}
	return "", false
}

// TestTheEnvironmentOfTheServersIsWhatTheirFilesNeed: nats_test.go sets the same by hand.
func TestTheEnvironmentOfTheServersIsWhatTheirFilesNeed(t *testing.T) {
	for _, name := range []string{"nats-1", "nats-2", "nats-3"} {
		have := project(t).Services[name].Environment
		for variable, want := range map[string]string{
			"TASKER_ENGINE_PASSWORD": "p", "TASKER_ADMIN_PASSWORD": "p", "TASKER_OPERATOR_PASSWORD": "p", "TASKER_SUBMITTER_PASSWORD": "p", "TASKER_READER_PASSWORD": "p",
			"NATS_SYSTEM_PASSWORD": "p", "NATS_ROUTE_PASSWORD": "p",
			"NATS_ROUTE_1": "nats://route:p", "NATS_ROUTE_2": "nats://route:p", "NATS_ROUTE_3": "nats://route:p",
		} {
			if v := have[variable]; v == nil || !strings.HasPrefix(*v, want) {
				t.Errorf("%s: %s does not begin with %s", name, variable, want)
			}
		}
	}
}
