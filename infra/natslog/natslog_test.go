package natslog_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
)

var long = flag.Bool("natslog.long", false, "all of the conformance suite on a cluster, too")

func TestMain(m *testing.M) {
	flag.Parse()
	// The servers of a cluster mostly wait for each other: more tests than processors run at once.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6")
	}
	goleak.VerifyTestMain(m)
}

type connect func(...nats.Option) (*nats.Conn, error)

// open opens a store that is closed when the test ends.
func open(t testing.TB, o natslog.Options) *natslog.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := natslog.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// fresh opens empty stores side by side on one NATS.
func fresh(c connect, o natslog.Options) func(*testing.T) domain.Store {
	var n atomic.Int64
	return func(t *testing.T) domain.Store {
		o := o
		o.Connect, o.Prefix = c, fmt.Sprintf("T%d", n.Add(1))
		t.Cleanup(func() { deleteStreams(t, c, o.Prefix+"_") })
		return open(t, o)
	}
}

// keepAccount creates a stream that stays: with its last stream a server removes the account's directory, under the feet
// of the next one that is created.
func keepAccount(t testing.TB, c connect) {
	nc, err := c()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "KEEP", Subjects: []string{"keep"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
}

// deleteStreams gives back what the server has reserved for a test.
func deleteStreams(t testing.TB, c connect, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nc, err := c()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for name := range js.StreamNames(ctx).Name() {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "KV_"), "OBJ_"), prefix) {
			if err := js.DeleteStream(ctx, name); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestStoreOnOneStrictServer(t *testing.T) {
	srv := natsservertest.Single(t, natsservertest.Strict())
	storetest.Run(t, fresh(srv.Connect, natslog.Options{}))
}

func TestStoreOnAClusterOfThree(t *testing.T) {
	if testing.Short() {
		t.Skip("many seconds")
	}
	servers := natsservertest.Cluster(t, 3)
	keepAccount(t, servers[0].Connect)
	parts := []string{"lease"} // the log on a cluster is put through worse in internal/crashtest
	if *long {
		parts = nil
	}
	storetest.Run(t, fresh(servers[0].Connect, natslog.Options{Replicas: 3, Partitions: 1}), parts...)
}
