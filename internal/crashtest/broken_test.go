package crashtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/subscribers"
)

// stranger publishes what is not the engine's.
type stranger struct {
	t  testing.TB
	nc *nats.Conn
	js jetstream.JetStream
}

func newStranger(t testing.TB, srv *natsserver.Server) *stranger {
	t.Helper()
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t, nc, js}
}

// publish puts a message into the log of a partition; commit is the header that makes it look like a commit, or "".
func (s *stranger) publish(partition int, commit, text string) uint64 {
	s.t.Helper()
	m := nats.NewMsg(fmt.Sprintf("tasker.log.1.%02d", partition))
	if commit != "" {
		m.Header.Set("Tasker-Commit", commit)
	}
	m.Data = []byte(text)
	ack, err := s.js.PublishMsg(s.t.Context(), m)
	if err != nil {
		s.t.Fatal(err)
	}
	return ack.Sequence
}

func phaseOf(e *engine, partition int) subscribers.Phase {
	return e.Stats().Partitions[partition].Phase
}

// runsIn runs a task in a partition to its end.
func runsIn(t testing.TB, e *engine, partition int, name string) {
	t.Helper()
	r, err := submitTo(e, partition, name)
	if err != nil {
		t.Fatalf("partition %d: %v", partition, err)
	}
	waitAll(t, e.Engine, []tasker.TaskID{r.ID})
}

// A stream that is deleted under the engine closes its partition with an error that names it, is not made again, and
// the other partition goes on.
func TestStreamDeletedUnderTheEngine(t *testing.T) {
	t.Parallel()
	srv := single(t)
	e := run(t, tasker.Config{Connect: srv.Connect}, one("single", step(done)))
	eventually(t, "both partitions", func() bool { return owns(e) == 2 })
	runsIn(t, e, 0, "single")
	runsIn(t, e, 1, "single")
	s := newStranger(t, srv)
	if err := s.js.DeleteStream(t.Context(), "TASKER_LOG_1_01"); err != nil {
		t.Fatal(err)
	}
	_, err := submitTo(e, 1, "single")
	if err == nil {
		t.Fatal("a submission was acknowledged by a partition without a stream")
	}
	t.Logf("the submission under way: %v", err)
	eventually(t, "the partition to be closed", func() bool { return phaseOf(e, 1) == subscribers.Closed })
	_, err = submitTo(e, 1, "single")
	var missing *domain.StreamMissingError
	if !errors.As(err, &missing) || missing.Stream != "TASKER_LOG_1_01" {
		t.Errorf("the error is %v", err)
	}
	want := "stream TASKER_LOG_1_01 of data " + e.Info().ID + " is missing: restore it from a backup; it is not created again, " +
		"because an empty log would pass for a new one"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the error is\n  %v\nwant\n  %s", err, want)
	}
	runsIn(t, e, 0, "single")
	if _, err := s.js.Stream(t.Context(), "TASKER_LOG_1_01"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream is there again: %v", err)
	}
	e.end(t)
	if _, err := tasker.New(t.Context(), tasker.Config{Connect: srv.Connect}); !errors.As(err, &missing) {
		t.Errorf("a new engine on what is left: %v", err)
	}
}

// A message that says it is a commit and is none keeps its partition closed until an operator decides.
func TestCommitThatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	t.Run("found at start", func(t *testing.T) {
		t.Parallel()
		srv := single(t)
		e := run(t, tasker.Config{Connect: srv.Connect}, one("single", step(done)))
		before := []tasker.TaskID{}
		for p := range 2 {
			r, err := submitTo(e, p, "single")
			if err != nil {
				t.Fatal(err)
			}
			before = append(before, r.ID)
		}
		waitAll(t, e.Engine, before)
		e.end(t)
		sequence := newStranger(t, srv).publish(1, "garbage-1", "this is not a commit")
		e = run(t, tasker.Config{Connect: srv.Connect}, one("single", step(done)))
		closedAt(t, srv, e, sequence, before)
	})
	t.Run("written under the engine", func(t *testing.T) {
		t.Parallel()
		srv := single(t)
		e := run(t, tasker.Config{Connect: srv.Connect}, one("single", step(done)))
		eventually(t, "both partitions", func() bool { return owns(e) == 2 })
		r, err := submitTo(e, 1, "single")
		if err != nil {
			t.Fatal(err)
		}
		waitAll(t, e.Engine, []tasker.TaskID{r.ID})
		sequence := newStranger(t, srv).publish(1, "garbage-1", `{"v":1,"id":"garbage-1","at":"2026-01-01T00:00:00Z","tasks":[{`)
		_, _ = submitTo(e, 1, "single") // which notices it
		closedAt(t, srv, e, sequence, []tasker.TaskID{r.ID})
	})
}

func closedAt(t *testing.T, srv *natsserver.Server, e *engine, sequence uint64, before []tasker.TaskID) {
	eventually(t, "the partition to be closed", func() bool { return phaseOf(e, 1) == subscribers.Closed })
	command := fmt.Sprintf(`tasker log skip 01 %d --reason "..."`, sequence)
	_, err := submitTo(e, 1, "single")
	var unreadable *subscribers.UnreadableError
	if !errors.As(err, &unreadable) || !strings.Contains(err.Error(), command) {
		t.Fatalf("the error is\n  %v\nwant the command\n  %s", err, command)
	}
	runsIn(t, e, 0, "single")

	// The command comes from another process.
	client, err := tasker.NewClient(t.Context(), tasker.Config{Connect: srv.Connect})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Submit(t.Context(), "single", nil, tasker.WithID(idIn(1))); err == nil || !strings.Contains(err.Error(), command) {
		t.Errorf("another process is told: %v", err)
	}
	if err := client.Skip(t.Context(), 1, sequence+1, tasker.By{Reason: "the wrong one"}); err == nil {
		t.Error("another message could be skipped")
	}
	if err := client.Skip(t.Context(), 1, sequence, tasker.By{Reason: "a stranger wrote it"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the partition to be opened", func() bool { return phaseOf(e, 1) == subscribers.Owning })
	runsIn(t, e, 1, "single")
	for _, id := range before {
		if r, err := e.Submit(t.Context(), "single", nil, tasker.WithID(id)); err != nil || r.Created {
			t.Errorf("a task from before is %+v, %v", r, err)
		}
	}
	e.end(t)
	again := run(t, tasker.Config{Connect: srv.Connect}, one("single", step(done)))
	eventually(t, "both partitions after a restart", func() bool { return owns(again) == 2 })
	runsIn(t, again, 1, "single")
}

func idIn(partition int) tasker.TaskID {
	for {
		if id := newID(); id.Partition(2) == partition {
			return id
		}
	}
}

// Messages of a stranger without the header, between the engine's own: passed over, and everything that was under way
// moves behind them.
func TestForeignMessagesArePassedOver(t *testing.T) {
	t.Parallel()
	srv := single(t)
	warnings := &tail{}
	e := run(t, tasker.Config{Connect: srv.Connect, Logger: slog.New(slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn}))},
		dummy(brief))
	eventually(t, "both partitions", func() bool { return owns(e) == 2 })
	s := newStranger(t, srv)
	l := startLoad(t, 32, e)
	const foreign = 30
	for i := range foreign {
		eventually(t, "some tasks", func() bool { return l.count() >= 10*i })
		s.publish(i%2, "", "hello")
	}
	ids := l.end(t)
	waitAll(t, e.Engine, ids)
	if text := warnings.String(); !strings.Contains(text, "somebody else wrote to the log") {
		t.Error("the log says nothing of it")
	}
	// What the owner says, and what the log says after a restart, are the same.
	last := ids[max(0, len(ids)-200):]
	was := views(t, e, last)
	e.end(t)
	store := openStore(t, srv.Connect)
	checkLog(t, store, ids)
	n := 0
	for p := range 2 {
		for _, m := range messages(t, store.Log(p)) {
			if m.CommitID == "" {
				n++
			}
		}
	}
	if n != foreign {
		t.Errorf("%d foreign messages are in the log, want %d", n, foreign)
	}
	opened := count(t, store, func(r domain.Record) bool { return r.Event.Type() == domain.PartitionOpenedType })
	if opened != 2 {
		t.Errorf("the partitions were opened %d times", opened)
	}
	e = run(t, tasker.Config{Connect: srv.Connect}, dummy(brief))
	is := views(t, e, last)
	for i := range last {
		if was[i] != is[i] {
			t.Fatalf("task %s was\n%s\nand is\n%s", last[i], was[i], is[i])
		}
	}
}

// views are the tasks as the engine shows them.
func views(t testing.TB, e *engine, ids []tasker.TaskID) []string {
	t.Helper()
	all := make([]string, len(ids))
	for i, id := range ids {
		v, err := e.Task(context.Background(), id)
		if err != nil {
			t.Fatalf("task %s: %v", id, err)
		}
		all[i] = viewText(v)
	}
	return all
}
