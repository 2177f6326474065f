package natslog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
	"github.com/tasker-go/tasker/infra/storetest"
)

// A user that may read may also have the server publish what it read: such a copy has all headers of a commit.
func TestCopiesOfCommitsAreNoCommits(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	store := open(t, natslog.Options{Connect: srv.Connect, Partitions: 2})
	from, to := store.Log(0), store.Log(1)
	for i := range uint64(2) {
		if _, err := storetest.Append(ctx, from, i, fmt.Sprintf("c%d", i), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	await := func(last uint64) {
		t.Helper()
		for {
			b, err := to.Bounds(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if b.Last >= last {
				return
			}
		}
	}
	// By a push consumer: the headers of the first one expect that the log is empty, and it is.
	push := `{"stream_name":"TASKER_LOG_1_00","config":{"name":"push","deliver_subject":"tasker.log.1.01","opt_start_seq":1,"deliver_policy":"by_start_sequence","ack_policy":"none","mem_storage":true}}`
	if _, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.CREATE.TASKER_LOG_1_00.push", []byte(push)); err != nil {
		t.Fatal(err)
	}
	await(2)
	if _, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.DELETE.TASKER_LOG_1_00.push", nil); err != nil {
		t.Fatal(err)
	}
	// A third one, by a direct read whose answer goes to the log.
	if _, err := storetest.Append(ctx, from, 2, "c2", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishMsg(&nats.Msg{Subject: "$JS.API.DIRECT.GET.TASKER_LOG_1_00", Reply: "tasker.log.1.01", Data: []byte(`{"seq":3}`)}); err != nil {
		t.Fatal(err)
	}
	await(3)
	seen := 0
	if err := to.Scan(ctx, 1, func(m domain.Message) error {
		seen++
		if m.CommitID != "" {
			t.Errorf("message %d passes for commit %s", m.Sequence, m.CommitID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if seen != 3 {
		t.Errorf("%d copies are in the log, want 3", seen)
	}
	for sequence := uint64(1); sequence <= 3; sequence++ {
		if m, err := to.Read(ctx, sequence); err != nil || m.CommitID != "" {
			t.Errorf("message %d passes for commit %q, %v", sequence, m.CommitID, err)
		}
	}
	if _, err := storetest.Append(ctx, to, 3, "own", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if m, err := to.Read(ctx, 4); err != nil || m.CommitID != "own" {
		t.Errorf("our own commit is %q, %v", m.CommitID, err)
	}
}

// A user that may submit, or put payloads into the object store, chooses what stands in a stream; one that may read can have
// the server publish it anywhere. Together they must not make a token.
func TestCopiesOfMessagesAreNoTokens(t *testing.T) {
	ctx, srv := testContext(t), natsservertest.Single(t)
	store := open(t, natslog.Options{Connect: srv.Connect})
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.RequestWithContext(ctx, "tasker.submit.task.default.x", []byte(`{"name":"forged"}`)); err != nil {
		t.Fatal(err)
	}
	own, err := store.Tokens().Put(ctx, "own", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"direct", "own"} {
		if err := nc.PublishMsg(&nats.Msg{Subject: "$JS.API.DIRECT.GET.TASKER_INBOX", Reply: "$KV.TASKER_TOKENS." + key, Data: []byte(`{"seq":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	for stored := ""; !strings.Contains(stored, `"last_seq":3`); {
		m, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO.KV_TASKER_TOKENS", nil)
		if err != nil {
			t.Fatal(err)
		}
		stored = string(m.Data)
	}
	for _, key := range []string{"direct", "own"} {
		if value, _, err := store.Tokens().Get(ctx, key); !errors.Is(err, domain.ErrNoKey) {
			t.Errorf("%s: a copy is read as %q, %v", key, value, err)
		}
	}
	if keys, err := store.Tokens().Keys(ctx); err != nil || len(keys) != 0 {
		t.Errorf("the keys are %v, %v", keys, err)
	}
	if _, err := store.Tokens().Put(ctx, "own", []byte("2"), own); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("a copy was overwritten unseen: %v", err)
	}
	if _, err := store.Tokens().Put(ctx, "own", []byte("2"), 0); err != nil {
		t.Error(err)
	}
}
