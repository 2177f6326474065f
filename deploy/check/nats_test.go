package check

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	face "github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
)

// natsEnvironment sets what the compose file sets for the servers, with passwords of secrets.sh.
func natsEnvironment(t *testing.T) map[string]string {
	t.Helper()
	env := secrets(t)
	for i := 1; i <= 3; i++ {
		env[fmt.Sprintf("NATS_ROUTE_%d", i)] = fmt.Sprintf("nats://route:%s@nats-%d:6222", env["NATS_ROUTE_PASSWORD"], i)
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	return env
}

// parseMember reads the configuration of a member with the server's own parser.
func parseMember(t *testing.T, i int) *server.Options {
	t.Helper()
	o, err := server.ProcessConfigFile(filepath.Join(root, "deploy", "nats", fmt.Sprintf("nats-%d.conf", i)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// start starts a server in a folder of its own, on loopback. Where it listens is all that it does not have from its file.
func start(t *testing.T, o *server.Options, dir string) *server.Server {
	t.Helper()
	o.Host, o.Port, o.HTTPPort, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", -1, 0, dir, true, true
	o.JetStreamMaxStore = 1 << 30 // of this machine's disk
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if o.Cluster.Port == 0 && !s.ReadyForConnections(patience) {
		t.Fatal("the server does not accept connections")
	}
	return s
}

// startRoles is a single server with the users and permissions of deploy/nats/accounts.conf.
func startRoles(t *testing.T) (url string, env map[string]string) {
	t.Helper()
	env = natsEnvironment(t)
	dir := t.TempDir()
	folder, err := filepath.Abs(filepath.Join(root, "deploy", "nats"))
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, folder)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "one.conf")
	text := fmt.Sprintf("server_name: one\njetstream {store_dir: %q, sync_interval: 1s}\ninclude %q\n", dir, filepath.ToSlash(filepath.Join(relative, "accounts.conf")))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, o, dir).ClientURL(), env
}

// access is how a role connects: its user, its password, its inbox.
func access(role string, env map[string]string) []nats.Option {
	return []nats.Option{
		nats.UserInfo(role, env["TASKER_"+strings.ToUpper(role)+"_PASSWORD"]), nats.CustomInboxPrefix("_INBOX." + role),
	}
}

func TestNATSConfigurationsAreStrictAndLetNobodyInWithoutAPassword(t *testing.T) {
	env := natsEnvironment(t)
	names := map[string]bool{}
	for i := 1; i <= 3; i++ {
		o := parseMember(t, i)
		names[o.ServerName] = true
		if !o.SyncAlways {
			t.Errorf("nats-%d does not sync before it acknowledges", i)
		}
		if o.JetStreamMaxStore <= 0 || !o.JetStream {
			t.Errorf("nats-%d has no JetStream with a limit", i)
		}
		if o.Cluster.Name != "tasker" || o.Cluster.Password != env["NATS_ROUTE_PASSWORD"] || len(o.Routes) != 3 {
			t.Errorf("nats-%d: cluster %q, %d routes", i, o.Cluster.Name, len(o.Routes))
		}
		if len(o.Users) == 0 {
			t.Errorf("nats-%d has no users", i)
		}
		for _, u := range o.Users {
			if u.Password == "" || u.Account == nil {
				t.Errorf("nats-%d: user %s has no password or no account", i, u.Username)
			}
		}
		if o.SystemAccount != "SYS" || o.NoAuthUser != "" {
			t.Errorf("nats-%d: system account %q, user without authentication %q", i, o.SystemAccount, o.NoAuthUser)
		}
	}
	if len(names) != 3 {
		t.Errorf("the members are called %v", names)
	}
	for _, missing := range []string{"TASKER_ENGINE_PASSWORD", "NATS_ROUTE_PASSWORD", "NATS_ROUTE_2"} {
		t.Run("does not start without "+missing, func(t *testing.T) {
			t.Setenv(missing, "")
			if err := os.Unsetenv(missing); err != nil { // t.Setenv puts it back
				t.Fatal(err)
			}
			if _, err := server.ProcessConfigFile(filepath.Join(root, "deploy", "nats", "nats-1.conf")); err == nil {
				t.Error("it has a default")
			}
		})
	}
}

// startCluster starts the three members from their files, and waits until they have a leader.
func startCluster(t *testing.T) (addresses []string, env map[string]string) {
	t.Helper()
	env = natsEnvironment(t)
	ports := freePorts(t, 3)
	var servers []*server.Server
	for i := range 3 {
		o := parseMember(t, i+1)
		o.Cluster.Host, o.Cluster.Port = "127.0.0.1", ports[i]
		for n, r := range o.Routes { // the file's credentials, to where they listen here
			o.Routes[n] = &url.URL{Scheme: r.Scheme, User: r.User, Host: fmt.Sprintf("127.0.0.1:%d", ports[n])}
		}
		servers = append(servers, start(t, o, t.TempDir()))
	}
	for _, s := range servers {
		if !s.ReadyForConnections(patience) {
			t.Fatal("a member does not accept connections")
		}
		addresses = append(addresses, strings.TrimPrefix(s.ClientURL(), "nats://"))
	}
	await(t, "the members to find each other and a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == 3
			}
		}
		return false
	})
	return addresses, env
}

func TestTheThreeConfigurationsFormAClusterThatRunsAnEngine(t *testing.T) {
	addresses, env := startCluster(t)
	config := face.Config{URL: "nats://" + strings.Join(addresses, ",nats://"), NATSOptions: access("engine", env), Replicas: 3}
	runDummy(t, config, func(e *face.Engine) {
		if d := e.Info().Durability; d != "external (R3, unverified)" {
			t.Errorf("durability %q", d)
		}
	})
}

// runDummy runs an engine, lets it complete one dummy task, and stops it.
func runDummy(t *testing.T, c face.Config, with func(*face.Engine)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	e, err := face.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	registerDummy(t, e)
	running, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- e.Run(running) }()
	defer func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-e.Ready():
	case err := <-stopped:
		stopped <- nil
		t.Fatalf("the engine ended: %v", err)
	case <-ctx.Done():
		t.Fatal("the engine owns no partition")
	}
	for range 4 { // so that most likely both partitions have one
		receipt, err := e.Submit(ctx, "dummy_task", map[string]bool{"dummy": true})
		if err != nil {
			t.Fatal(err)
		}
		result, err := e.Wait(ctx, receipt.ID)
		if err != nil || result.State != domain.Complete {
			t.Fatalf("%+v %v", result, err)
		}
	}
	if with != nil {
		with(e)
	}
}

func registerDummy(t *testing.T, e *face.Engine) {
	t.Helper()
	step := face.Handle(func(_ context.Context, in map[string]any) (map[string]any, error) { return in, nil })
	workflow, err := face.Define("dummy_task").
		Step("step-one", step).
		Step("step-two", step).
		Step("step-three", step, face.After("step-two")).
		Step("step-four", step, face.After("step-three")).
		Build()
	if err == nil {
		err = e.Register(workflow)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// freePorts holds all listeners at once, so that no port is given twice.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append(opts, nats.Timeout(10*time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
