package natsserver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// startGuarded has a log, a dead letter stream and an intake, made by the engine's connection.
func startGuarded(t *testing.T, o Options) (*Server, *nats.Conn) {
	t.Helper()
	o.Dir, o.Guarded, o.Durability = t.TempDir(), true, Interval
	s := mustStart(t, o)
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{
		"TASKER_LOG_1_00": "tasker.log.1.00", "TASKER_DEAD": "tasker.dead.>", "TASKER_INBOX": "tasker.submit.task.>",
		"KV_TASKER_LEASES": "$KV.TASKER_LEASES.>", "KV_TASKER_TOKENS": "$KV.TASKER_TOKENS.>",
	} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}, AllowDirect: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), "tasker.log.1.00", []byte("commit 1")); err != nil {
		t.Fatal(err)
	}
	return s, nc
}

// clientOf connects through the listener; errs gets what the server refuses.
func clientOf(t *testing.T, s *Server, opts ...nats.Option) (nc *nats.Conn, errs chan error) {
	t.Helper()
	errs = make(chan error, 100)
	nc, err := nats.Connect(s.URL(), append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, errs
}

// refused reports whether the server refused what try did. The server answers in order, so one more try, which is always
// refused, ends the wait.
func refused(t *testing.T, nc *nats.Conn, errs chan error, try func() error) bool {
	t.Helper()
	const always = "tasker.log.always.refused"
	if err := errors.Join(try(), nc.Publish(always, nil), nc.Flush()); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		select {
		case err := <-errs:
			if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
				t.Fatalf("another error: %v", err)
			}
			if strings.Contains(err.Error(), always) {
				return n > 0
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the server refuses nothing")
		}
	}
}

func TestOnlyTheEnginePublishesToTheLogOfAGuardedServer(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		access  []nats.Option
	}{
		"token":         {Options{Listen: "0.0.0.0:0", Token: "s3cret"}, []nats.Option{nats.Token("s3cret")}},
		"user":          {Options{Listen: "0.0.0.0:0", Username: "ann", Password: "p"}, []nats.Option{nats.UserInfo("ann", "p")}},
		"open loopback": {Options{Listen: "127.0.0.1:0"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, engine := startGuarded(t, c.options)
			nc, errs := clientOf(t, s, c.access...)
			for _, subject := range []string{
				"tasker.log.1.00", "tasker.log.x", "tasker.events.default.t.task_created", "_INBOX.engine.x.y", "_INBOX.other",
				"$KV.TASKER_META.data", "$KV.TASKER_DEFINITIONS.x", "$KV.TASKER_LEASES.partition-00", "$KV.TASKER_LEASES.partition-63", "$O.TASKER_SNAPSHOTS.C.x",
				"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.UPDATE.TASKER_LOG_1_00", "$JS.API.STREAM.DELETE.TASKER_LOG_1_00",
				"$JS.API.STREAM.PURGE.TASKER_LOG_1_00", "$JS.API.STREAM.MSG.DELETE.TASKER_LOG_1_00", "$JS.API.STREAM.RESTORE.TASKER_LOG_1_00",
				"$JS.API.CONSUMER.CREATE.TASKER_INBOX", "$JS.API.CONSUMER.CREATE.TASKER_INBOX.x", "$JS.API.CONSUMER.DURABLE.CREATE.TASKER_INBOX.x", "$JS.API.CONSUMER.MSG.NEXT.TASKER_INBOX.x",
				"$JS.API.CONSUMER.DELETE.TASKER_INBOX.x", "$JS.ACK.TASKER_INBOX.x.1.1.1.1.0", "$SYS.REQ.SERVER.PING",
			} {
				if !refused(t, nc, errs, func() error { return nc.Publish(subject, []byte("forged")) }) {
					t.Errorf("a client may publish to %s", subject)
				}
			}
			for _, subject := range []string{
				"tasker.cmd.00", "tasker.submit.request.default.order", "tasker.dead.subscriber.x", "$KV.TASKER_CURSORS.x.00",
				"$KV.TASKER_LEASES.subscriber-index", "$KV.TASKER_TOKENS.x", "$O.TASKER_BLOBS.C.x", "$JS.API.STREAM.INFO.TASKER_LOG_1_00",
				"$JS.API.CONSUMER.CREATE.TASKER_LOG_1_00.x", "$JS.API.CONSUMER.MSG.NEXT.TASKER_EVENTS.x", "$JS.ACK.TASKER_EVENTS.x.1.1.1.1.0",
				"$JS.API.STREAM.PURGE.TASKER_DEAD",
			} {
				if refused(t, nc, errs, func() error { return nc.Publish(subject, []byte("{}")) }) {
					t.Errorf("a client may not publish to %s", subject)
				}
			}
			for subject, want := range map[string]bool{
				"tasker.cmd.*": true, "tasker.submit.request.>": true, "_INBOX.engine.>": true, "$KV.TASKER_TOKENS.>": true, "$JS.API.>": true,
				"tasker.events.>": false, "orders.answers": false, "_INBOX.x.*": false,
			} {
				have := refused(t, nc, errs, func() error { _, err := nc.SubscribeSync(subject); return err })
				if have != want {
					t.Errorf("listening to %s: refused is %t", subject, have)
				}
			}
			if _, err := engine.RequestWithContext(t.Context(), "tasker.log.1.00", []byte("commit 2")); err != nil {
				t.Fatal(err)
			}
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			m, err := engine.RequestWithContext(t.Context(), "$JS.API.STREAM.MSG.GET.TASKER_LOG_1_00", []byte(`{"seq":2}`))
			if err != nil || !strings.Contains(string(m.Data), "Y29tbWl0IDI=") {
				t.Errorf("what follows commit 1 is %s, %v", m.Data, err)
			}
			stream, err := js.Stream(t.Context(), "TASKER_LOG_1_00")
			if err != nil {
				t.Fatal(err)
			}
			if got := stream.CachedInfo().State.Msgs; got != 2 {
				t.Errorf("the log has %d messages, want the engine's 2", got)
			}
		})
	}
}

func TestAListenerToEverythingHearsNothingOfTheEngines(t *testing.T) {
	s, engine := startGuarded(t, Options{Listen: "127.0.0.1:0", Token: "s3cret"})
	nc, _ := clientOf(t, s, nats.Token("s3cret"))
	sub, err := nc.SubscribeSync(">")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"tasker.cmd.00", "_INBOX.engine.a.b", "tasker.submit.request", "$KV.TASKER_TOKENS.x", "tasker.events.end"} {
		if err := engine.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	m, err := sub.NextMsgWithContext(t.Context())
	if err != nil || m.Subject != "tasker.events.end" {
		t.Errorf("it hears %+v, %v", m, err)
	}
}

func TestAGuardedServerLetsInNobodyByTheEnginesName(t *testing.T) {
	s, _ := startGuarded(t, Options{Listen: "127.0.0.1:0", Token: "s3cret"})
	for what, opts := range map[string][]nats.Option{
		"nothing": nil, "a wrong token": {nats.Token("s3cre")}, "an empty token": {nats.Token("")},
		"the engine's user": {nats.UserInfo(engineUser, "")}, "the engine's user with the token": {nats.UserInfo(engineUser, "s3cret")},
	} {
		if nc, err := nats.Connect(s.URL(), opts...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				nc.Close()
			}
		}
	}
}
