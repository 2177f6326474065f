// Package natsservertest starts embedded NATS servers for tests: real ones, in directories and on ports of their own,
// stopped when the test ends.
package natsservertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tasker-go/tasker/infra/natsserver"
)

const (
	patience = 30 * time.Second // for anything a server does; a loaded machine takes a second
	attempts = 5                // for a free port that somebody else took before the server did
	poll     = 10 * time.Millisecond
)

// Option changes the options of a server before it starts.
type Option func(*natsserver.Options)

// Strict syncs the disk before every acknowledgement. Without it tests run with natsserver.Interval, which survives
// kill -9 as well and is many times faster.
func Strict() Option {
	return func(o *natsserver.Options) { o.Durability = natsserver.Strict }
}

// Dir uses a directory that outlives the server, for tests that start it again.
func Dir(dir string) Option {
	return func(o *natsserver.Options) { o.Dir = dir }
}

// Single starts a standalone server without a listener, in t.TempDir unless an option says otherwise.
func Single(t testing.TB, opts ...Option) *natsserver.Server {
	t.Helper()
	s, err := start(t, options(t, opts))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Cluster starts n servers, at least 3, that know each other, and waits until one leads JetStream, all n can hold
// replicas and each answers. Clients connect in process; there is a listener only between the members.
func Cluster(t testing.TB, n int, opts ...Option) []*natsserver.Server {
	t.Helper()
	if n < 3 {
		t.Fatalf("a cluster of %d has no majority to lose: use at least 3", n)
	}
	for attempt := 1; ; attempt++ {
		servers, err := startCluster(t, n, opts)
		if err == nil {
			awaitCluster(t, servers)
			return servers
		}
		if attempt == attempts || !errors.Is(err, natsserver.ErrAddressInUse) {
			t.Fatal(err)
		}
	}
}

// Leader is the member that leads JetStream now. It waits for an election that is going on.
func Leader(t testing.TB, servers []*natsserver.Server) *natsserver.Server {
	t.Helper()
	var leader *natsserver.Server
	await(t, "a leader of the cluster", func() bool {
		i := slices.IndexFunc(servers, (*natsserver.Server).IsMetaLeader)
		if i < 0 {
			return false
		}
		leader = servers[i]
		return true
	})
	return leader
}

func startCluster(t testing.TB, n int, opts []Option) ([]*natsserver.Server, error) {
	t.Helper()
	addrs, err := freeAddresses(n)
	if err != nil {
		return nil, err
	}
	routes := make([]string, n)
	for i, addr := range addrs {
		routes[i] = "nats://" + addr
	}
	servers := make([]*natsserver.Server, 0, n)
	for i, addr := range addrs {
		o := options(t, opts)
		o.Cluster = &natsserver.Cluster{Name: "test", ServerName: fmt.Sprintf("s%d", i+1), Listen: addr, Routes: routes}
		s, err := start(t, o)
		if err != nil {
			for _, s := range servers {
				shutdown(t, s)
			}
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func awaitCluster(t testing.TB, servers []*natsserver.Server) {
	t.Helper()
	await(t, "all members to be online", func() bool {
		return slices.ContainsFunc(servers, func(s *natsserver.Server) bool { return len(s.OnlinePeers()) == len(servers) })
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range servers {
		if err := s.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func options(t testing.TB, opts []Option) natsserver.Options {
	o := natsserver.Options{Durability: natsserver.Interval, MaxStore: 1 << 30}
	for _, opt := range opts {
		opt(&o)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	return o
}

func start(t testing.TB, o natsserver.Options) (*natsserver.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := natsserver.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { shutdown(t, s) })
	return s, nil
}

func shutdown(t testing.TB, s *natsserver.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// freeAddresses holds all listeners at once, so that no port is given twice.
func freeAddresses(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}

// await polls, because an election announces itself to nobody.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(poll)
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
