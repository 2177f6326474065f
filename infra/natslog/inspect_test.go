package natslog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func inspect(t *testing.T, o natslog.Options) *natslog.Inspection {
	t.Helper()
	i, err := natslog.Inspect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func TestALogIsInspectedWithoutChangingIt(t *testing.T) {
	t.Parallel()
	server := natsservertest.Single(t)
	o := natslog.Options{Connect: server.Connect}
	i := inspect(t, o)
	if !errors.Is(i.Log, natslog.ErrNoLog) || i.Whole() || i.Account == nil || i.Version == "" || i.MaxPayload < natslog.MinPayload || i.RTT <= 0 {
		t.Errorf("without a log: %+v", i)
	}
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := js.AccountInfo(t.Context()); err != nil || info.Streams != 0 {
		t.Errorf("it made %d streams, error %v", info.Streams, err)
	}

	store := open(t, o)
	appended := make(chan error, 1)
	store.Log(0).Append(0, "c-1", []byte("x"), func(_ uint64, err error) { appended <- err })
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	i = inspect(t, o)
	if !i.Whole() || i.Log != nil || i.Data.ID != store.Data().ID || len(i.Streams) < i.Data.Partitions+5 {
		t.Errorf("a whole log: %+v", i)
	}
	if r := i.Streams[0]; r.Partition != 0 || !r.Vital || r.First != 1 || r.Last != 1 || r.Messages != 1 || r.Bytes == 0 || r.Removed != 0 || r.Replicas != 1 {
		t.Errorf("the stream of partition 00: %+v", r)
	}
	log, done, err := i.LogOf(0)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := log.Read(t.Context(), 1); err != nil || m.CommitID != "c-1" {
		t.Errorf("it reads %+v, %v", m, err)
	}
	done()
	if at, err := i.Clock(t.Context()); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("its clock says %s, %v", at, err)
	}
	if snapshots, err := i.Snapshots().List(t.Context(), 0); err != nil || len(snapshots) != 0 {
		t.Errorf("its snapshots: %v, %v", snapshots, err)
	}

	// What is missing or was changed is said, and left so.
	if err := js.DeleteStream(t.Context(), "TASKER_DEAD"); err != nil {
		t.Fatal(err)
	}
	changed, err := js.Stream(t.Context(), "KV_TASKER_CURSORS")
	if err != nil {
		t.Fatal(err)
	}
	settings := changed.CachedInfo().Config
	settings.MaxAge = time.Hour
	if _, err := js.UpdateStream(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		i = inspect(t, o)
		for _, r := range i.Streams {
			var setting *natslog.SettingError
			switch {
			case r.Name == "TASKER_DEAD":
				if !r.Missing || r.Vital || r.Problem != nil {
					t.Errorf("what was deleted: %+v", r)
				}
			case r.Name == "KV_TASKER_CURSORS":
				if !errors.As(r.Problem, &setting) || setting.Field != "max_age" {
					t.Errorf("what was changed: %+v", r)
				}
			case r.Missing || r.Problem != nil:
				t.Errorf("what was left alone: %+v", r)
			}
		}
		if i.Whole() {
			t.Error("it is said to be whole")
		}
	}
}

func TestAnInspectionWithoutAServerIsAnError(t *testing.T) {
	t.Parallel()
	server := natsservertest.Single(t)
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := natslog.Inspect(t.Context(), natslog.Options{Connect: server.Connect}); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("it says %v", err)
	}
	if _, err := natslog.Inspect(t.Context(), natslog.Options{}); err == nil {
		t.Error("without a way to connect it says nothing")
	}
}
