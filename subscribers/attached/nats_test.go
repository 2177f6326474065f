package attached

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver/natsservertest"
)

func TestC6OverNATS(t *testing.T) {
	srv := natsservertest.Single(t)
	s, err := natslog.Open(t.Context(), natslog.Options{Connect: srv.Connect, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const commits, tasks = 100, 20
	want := 0
	for i := range commits {
		records := []domain.Record{}
		for j := range tasks {
			records = append(records, note(taskOf(j, i%2, 2), i))
		}
		last := uint64(i / 2)
		id := fmt.Sprintf("commit-%d", i)
		done := make(chan error, 1)
		s.Log(i%2).Append(last, id, domain.EncodeCommit(domain.Commit{ID: id, At: domain.InstantOf(time.Now()), Records: records}),
			func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want += tasks
	}
	got := &seen{}
	var failed atomic.Int64
	o := Options{
		Name: "books", From: FromBeginning, Flush: 5 * time.Millisecond,
		Backoff: func(int) time.Duration { return 20 * time.Millisecond },
	}
	handler := func(ctx context.Context, r domain.Record) error {
		if r.Position.Index == 7 && failed.Add(1)%2 == 1 {
			return errors.New("no")
		}
		return got.handle(ctx, r)
	}
	deadline := time.Now().Add(30 * time.Second)
	for round := 1; len(got.times()) < want; round++ {
		if time.Now().After(deadline) {
			t.Fatalf("%d events came, want %d", len(got.times()), want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		sub, err := New(s, o, handler, WithLogger(quiet))
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() { result <- sub.Run(ctx) }()
		for len(got.times()) < min(want, round*want/4) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	for at, n := range got.times() {
		if n != 1 {
			t.Errorf("event %s came %d times", at, n)
		}
	}
	got.inOrderPerTask(t)
	n := 0
	for _, err := range Replay(t.Context(), s, ReplayOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != want {
		t.Errorf("the replay has %d events, want %d", n, want)
	}
	for p := range 2 {
		if next, ok, err := MinCursor(t.Context(), s, p); next != commits/2+1 || !ok || err != nil {
			t.Errorf("MinCursor of partition %d: %d, %v, %v", p, next, ok, err)
		}
	}
}
