package natsservertest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClusterHoldsReplicatedStreamsAndOutlivesItsLeader(t *testing.T) {
	servers := natsservertest.Cluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	leader := natsservertest.Leader(t, servers)

	create := func(s *natsserver.Server, name string) {
		t.Helper()
		js := connect(t, s)
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Replicas: 3}); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(s *natsserver.Server, want uint64) {
		t.Helper()
		js := connect(t, s)
		for {
			ack, err := js.Publish(ctx, "LOG", []byte("x"), jetstream.WithExpectLastSequence(want-1))
			if err == nil {
				if ack.Sequence != want {
					t.Fatalf("appended as %d, want %d", ack.Sequence, want)
				}
				return
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			// no leader of the stream yet
		}
	}
	create(servers[0], "LOG")
	publish(servers[1], 1)
	if err := leader.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	var rest []*natsserver.Server
	for _, s := range servers {
		if s != leader {
			rest = append(rest, s)
		}
	}
	natsservertest.Leader(t, rest)
	publish(rest[0], 2)
}

func TestSingleServesInProcess(t *testing.T) {
	s := natsservertest.Single(t, natsservertest.Strict())
	if s.URL() != "" || s.Durability() != natsserver.Strict {
		t.Errorf("url %q durability %q, want no listener and strict", s.URL(), s.Durability())
	}
	if _, err := connect(t, s).CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}}); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, s *natsserver.Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
