package natslog_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func stream(t *testing.T, srv *natsserver.Server) jetstream.JetStream {
	nc, err := srv.Connect()
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

func TestProcessesThatOpenAnEmptyNATSAtOnceAgree(t *testing.T) {
	agree := func(t *testing.T, connects []connect, replicas int) {
		const n = 6
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			found = map[domain.DataInfo]int{}
		)
		for i := range n {
			wg.Go(func() {
				s, err := natslog.Open(testContext(t), natslog.Options{Connect: connects[i%len(connects)], Partitions: 1 + i%3, Replicas: replicas})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				mu.Lock()
				defer mu.Unlock()
				found[s.Data()]++
			})
		}
		wg.Wait()
		if len(found) != 1 {
			t.Errorf("%d processes found %v", n, found)
		}
	}
	t.Run("one_server", func(t *testing.T) {
		agree(t, []connect{natsservertest.Single(t).Connect}, 1)
	})
	t.Run("cluster", func(t *testing.T) {
		var connects []connect
		for _, s := range natsservertest.Cluster(t, 3) {
			connects = append(connects, s.Connect)
		}
		agree(t, connects, 3)
	})
}

func TestDataIsFoundAgain(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	a := open(t, natslog.Options{Connect: srv.Connect, Partitions: 3})
	if _, err := storetest.Append(ctx, a.Log(2), 0, "c1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	a.Close()
	b := open(t, natslog.Options{Connect: srv.Connect, Partitions: 7, Durability: "strict"})
	want := a.Data()
	want.Durability = "strict"
	if b.Data() != want || a.Data().Durability != "external (R1, unverified)" || want.Partitions != 3 {
		t.Fatalf("created %+v, found %+v", a.Data(), b.Data())
	}
	if m, err := b.Log(2).Read(ctx, 1); err != nil || m.CommitID != "c1" {
		t.Fatalf("%+v %v", m, err)
	}
}

func TestAMissingStreamIsAnErrorAndNotCreatedAgain(t *testing.T) {
	for _, name := range []string{"TASKER_LOG_1_01", "OBJ_TASKER_BLOBS", "OBJ_TASKER_SNAPSHOTS", "KV_TASKER_CURSORS"} {
		t.Run(name, func(t *testing.T) {
			ctx, srv := testContext(t), natsservertest.Single(t)
			id := open(t, natslog.Options{Connect: srv.Connect}).Data().ID
			if err := stream(t, srv).DeleteStream(ctx, name); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := natslog.Open(ctx, natslog.Options{Connect: srv.Connect})
				var missing *domain.StreamMissingError
				if !errors.As(err, &missing) || missing.Stream != name || missing.DataID != id {
					t.Fatalf("the error is %v", err)
				}
			}
			if _, err := stream(t, srv).Stream(ctx, name); !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Fatalf("it was created again: %v", err)
			}
		})
	}
	for _, name := range []string{"TASKER_DEAD", "KV_TASKER_LEASES", "KV_TASKER_DEFINITIONS"} {
		t.Run(name+"_is_no_loss", func(t *testing.T) {
			ctx, srv := testContext(t), natsservertest.Single(t)
			open(t, natslog.Options{Connect: srv.Connect})
			if err := stream(t, srv).DeleteStream(ctx, name); err != nil {
				t.Fatal(err)
			}
			open(t, natslog.Options{Connect: srv.Connect})
			if _, err := stream(t, srv).Stream(ctx, name); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLogsWithoutTheirDescriptionAreRefused(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	open(t, natslog.Options{Connect: srv.Connect})
	if err := stream(t, srv).DeleteStream(ctx, "KV_TASKER_META"); err != nil {
		t.Fatal(err)
	}
	if _, err := natslog.Open(ctx, natslog.Options{Connect: srv.Connect}); !errors.Is(err, natslog.ErrMetaMissing) {
		t.Fatalf("the error is %v", err)
	}
	if _, err := stream(t, srv).Stream(ctx, "KV_TASKER_META"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("it was created again: %v", err)
	}
}

func TestChangedSettingsAreNamed(t *testing.T) {
	changes := map[string]func(*jetstream.StreamConfig){
		"max_age":    func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_bytes":  func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max_msgs":   func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"discard":    func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew },
		"subjects":   func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "other") },
		"deny_purge": func(c *jetstream.StreamConfig) { c.DenyPurge = true },
		"sealed":     func(c *jetstream.StreamConfig) { c.Sealed = true },
	}
	for field, change := range changes {
		t.Run(field, func(t *testing.T) {
			ctx, srv := testContext(t), natsservertest.Single(t)
			open(t, natslog.Options{Connect: srv.Connect})
			js := stream(t, srv)
			s, err := js.Stream(ctx, "TASKER_LOG_1_00")
			if err != nil {
				t.Fatal(err)
			}
			c := s.CachedInfo().Config
			change(&c)
			if _, err := js.UpdateStream(ctx, c); err != nil {
				t.Fatal(err)
			}
			_, err = natslog.Open(ctx, natslog.Options{Connect: srv.Connect})
			var setting *natslog.SettingError
			if !errors.As(err, &setting) || setting.Stream != "TASKER_LOG_1_00" || setting.Field != field || setting.Have == setting.Want {
				t.Fatalf("the error is %v", err)
			}
		})
	}
	t.Run("what_belongs_to_the_operator_is_not", func(t *testing.T) {
		ctx, srv := testContext(t), natsservertest.Single(t)
		open(t, natslog.Options{Connect: srv.Connect})
		js := stream(t, srv)
		for _, name := range []string{"TASKER_LOG_1_00", "TASKER_DEAD"} {
			s, err := js.Stream(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			c := s.CachedInfo().Config
			c.Compression, c.Description = jetstream.NoCompression, "ours"
			if name == "TASKER_DEAD" {
				c.MaxAge, c.MaxBytes = time.Hour, 1<<20
			}
			if _, err := js.UpdateStream(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		open(t, natslog.Options{Connect: srv.Connect})
	})
}

func TestDataOfANewerVersionIsRefused(t *testing.T) {
	for value, want := range map[string]string{
		`{"version":2,"id":"x","generation":1,"partitions":2,"ready":true}`: "run a newer version",
		`{"hello":"world"}`: "choose another prefix",
		`nonsense`:          "choose another prefix",
	} {
		ctx, srv := testContext(t), natsservertest.Single(t)
		open(t, natslog.Options{Connect: srv.Connect})
		kv, err := stream(t, srv).KeyValue(ctx, "TASKER_META")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(ctx, "data", []byte(value)); err != nil {
			t.Fatal(err)
		}
		_, err = natslog.Open(ctx, natslog.Options{Connect: srv.Connect})
		var format *natslog.FormatError
		if !errors.As(err, &format) || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%s: the error is %v", value, err)
		}
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	c := natsservertest.Single(t).Connect
	for what, o := range map[string]natslog.Options{
		"Connect":    {},
		"prefix":     {Connect: c, Prefix: "a.b"},
		"partitions": {Connect: c, Partitions: 65},
		"replicas":   {Connect: c, Replicas: -1},
	} {
		if _, err := natslog.Open(testContext(t), o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}
