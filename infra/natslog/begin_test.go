package natslog_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
)

// begins is what the import of a trimmed log relies on.
func begins(t *testing.T, log domain.Log) {
	t.Helper()
	ctx := context.Background()
	b, ok := log.(interface {
		Begin(ctx context.Context, first uint64) error
	})
	if !ok {
		t.Fatal("the log has no Begin")
	}
	const first = 5_000_000
	for range 2 {
		if err := b.Begin(ctx, first); err != nil {
			t.Fatal(err)
		}
	}
	if bounds, err := log.Bounds(ctx); err != nil || bounds.First != first || bounds.Last != first-1 {
		t.Fatalf("%+v, %v", bounds, err)
	}
	if _, err := storetest.Append(ctx, log, 0, "c", []byte("x")); err == nil {
		t.Error("an append that follows nothing: no error")
	}
	for i := range uint64(3) {
		if got, err := storetest.Append(ctx, log, first-1+i, "c", []byte("x")); err != nil || got != first+i {
			t.Fatalf("%d, %v", got, err)
		}
	}
	for _, again := range []uint64{1, first, first + 3, first + 10} {
		if err := b.Begin(ctx, again); err == nil {
			t.Errorf("a log with messages may begin with %d", again)
		}
	}
	var seen []uint64
	if err := log.Scan(ctx, 1, func(m domain.Message) error { seen = append(seen, m.Sequence); return nil }); err != nil || len(seen) != 3 || seen[0] != first {
		t.Errorf("%v, %v", seen, err)
	}
}

func TestALogMayBeginLater(t *testing.T) {
	srv := natsservertest.Single(t)
	s := open(t, natslog.Options{Connect: srv.Connect})
	begins(t, s.Log(1))
	if bounds, err := s.Log(0).Bounds(t.Context()); err != nil || bounds.Last != 0 {
		t.Errorf("the other partition: %+v, %v", bounds, err)
	}
}

func TestALogOnAClusterMayBeginLater(t *testing.T) {
	servers := natsservertest.Cluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := natslog.Open(ctx, natslog.Options{Connect: func(o ...nats.Option) (*nats.Conn, error) { return servers[0].Connect(o...) }, Partitions: 1, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begins(t, s.Log(0))
}
