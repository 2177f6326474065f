package attached

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

// The test of DESIGN 7.
func TestCommitOf400EventsOf100TasksOfWhichEvent200FailsThreeTimesHoldsUpOneTaskOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		var records []domain.Record
		for i := range 400 {
			records = append(records, note(taskOf(i%100, 0, 1), i))
		}
		store(t, s, 0, records...)
		began := time.Now()
		got, tries := &seen{}, 0
		sub := start(t, s, Options{Name: "mail", From: FromBeginning, Lanes: 4}, func(ctx context.Context, r domain.Record) error {
			if r.Position.Index == 200 {
				if tries++; tries <= 3 {
					return errors.New("no")
				}
			}
			return got.handle(ctx, r)
		})
		// The task of event 200 is 0; of it 0 and 100 have been handled, 200 and 300 wait.
		if n := len(got.notes()); n != 398 {
			t.Errorf("without waiting, %d events came, want 398", n)
		}
		if st := sub.Stats(); st.Unfinished != 2 || st.Waiting != 1 || st.Failed != 1 || st.Next[0].Index != 200 {
			t.Errorf("stats while one task waits: %+v", st)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if tries != 4 {
			t.Errorf("event 200 was tried %d times, want 4", tries)
		}
		for at, n := range got.times() {
			if n != 1 {
				t.Errorf("event %s came %d times", at, n)
			}
		}
		if n := len(got.notes()); n != 400 {
			t.Errorf("%d events came, want 400", n)
		}
		got.inOrderPerTask(t)
		for i, r := range got.records {
			want := began
			if index := r.Position.Index; index == 200 || index == 300 {
				want = began.Add(7 * time.Second) // 1 + 2 + 4
			}
			if !got.at[i].Equal(want) {
				t.Errorf("event %s came after %s, want %s", r.Position, got.at[i].Sub(began), want.Sub(began))
			}
		}
		if err := sub.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestC6AttachedAtTheBeginningItMissesNothingAndSeesNoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const parts = 3
		s := memlog.New(memlog.Options{Partitions: parts})
		stored := map[domain.Position]bool{}
		write := func(rounds int) {
			for range rounds {
				p := rand.IntN(parts)
				var records []domain.Record
				for range 1 + rand.IntN(9) {
					task := taskOf(rand.IntN(12), p, parts)
					records = append(records, note(task, 1), domain.Record{Task: task, Event: domain.TaskStartRequested{}})
				}
				seq := store(t, s, p, records...)
				for i := range len(records) / 2 {
					stored[domain.Position{Partition: p, Sequence: seq, Index: 2 * i}] = true
				}
			}
		}
		write(50)
		got := &seen{}
		o := Options{Name: "books", From: FromBeginning, Types: []domain.EventType{domain.TaskAnnotatedType}}
		handler := func(ctx context.Context, r domain.Record) error {
			select { // some end out of order, some are interrupted by a stop
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(rand.N(50 * time.Millisecond)):
			}
			return got.handle(ctx, r)
		}
		for range 5 { // stopped in good order, and started again, in the middle of it
			sub := start(t, s, o, handler)
			time.Sleep(100 * time.Millisecond)
			write(20)
			if err := sub.stop(); err != nil {
				t.Fatal(err)
			}
		}
		sub := start(t, s, o, handler)
		write(50)
		time.Sleep(time.Minute)
		synctest.Wait()
		times := got.times()
		for at := range stored {
			if times[at] != 1 {
				t.Errorf("event %s came %d times, want once", at, times[at])
			}
		}
		if len(times) != len(stored) {
			t.Errorf("%d events came, want %d", len(times), len(stored))
		}
		got.inOrderPerTask(t)
		if lags, err := sub.Lag(t.Context()); err != nil || slices.Max(lags) != 0 {
			t.Errorf("Lag = %v, %v, want nothing", lags, err)
		}
	})
}

func TestC6AfterAKillOnlyEventsBehindTheLastWrittenCursorComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		process := &mortal{Store: s}
		first := &seen{}
		o := Options{Name: "books", From: FromBeginning, Flush: time.Second}
		one := start(t, process, o, first.handle)
		for i := range 30 {
			store(t, s, 0, note(taskOf(i%7, 0, 1), i))
		}
		time.Sleep(3 * time.Second) // written
		synctest.Wait()
		for i := range 20 {
			store(t, s, 0, note(taskOf(i%7, 0, 1), 30+i))
		}
		synctest.Wait()
		process.kill()
		if err := one.stop(); err != nil {
			t.Fatal(err)
		}
		if n := len(first.notes()); n != 50 {
			t.Fatalf("before the kill %d events came, want 50", n)
		}

		second := &seen{}
		o.From = FromNew // is for new names only
		two := start(t, s, o, second.handle)
		if n := len(second.notes()); n != 0 {
			t.Errorf("%d events came while the lease of the dead one was valid", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		times := second.times()
		for seq := uint64(1); seq <= 50; seq++ {
			want := 0
			if seq > 30 {
				want = 1
			}
			if n := times[domain.Position{Sequence: seq}]; n != want {
				t.Errorf("after the kill, event %d came %d times, want %d", seq, n, want)
			}
		}
		second.inOrderPerTask(t)
		_ = two.stop()
	})
}

func TestC6OneThatAlwaysFailsIsParkedAndSlowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		bad := taskOf(0, 0, 1)
		for i := range 50 {
			store(t, s, 0, note(taskOf(i%10, 0, 1), i))
		}
		began := time.Now()
		got, tries := &seen{}, atomic.Int64{}
		sub := start(t, s, Options{Name: "mail", From: FromBeginning}, func(ctx context.Context, r domain.Record) error {
			if r.Position.Sequence == 1 {
				if tries.Add(1)%2 == 0 {
					panic("ouch")
				}
				return errors.New("no such mailbox")
			}
			return got.handle(ctx, r)
		})
		if n := len(got.notes()); n != 45 {
			t.Errorf("at once %d events came, want the 45 of the other tasks", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries.Load() != 10 {
			t.Errorf("it was tried %d times, want 10", tries.Load())
		}
		var waited time.Duration
		for try := 1; try < 10; try++ {
			waited += DefaultBackoff(try)
		}
		if n := len(got.notes()); n != 49 {
			t.Errorf("%d events came, want 49", n)
		}
		for i, r := range got.records {
			if r.Task == bad && got.at[i].Sub(began) != waited {
				t.Errorf("event %s, behind the parked one, came after %s, want %s", r.Position, got.at[i].Sub(began), waited)
			}
		}
		letters := s.Letters()
		if len(letters) != 1 {
			t.Fatalf("there are %d dead letters, want 1", len(letters))
		}
		l := letters[0]
		if l.Kind != "subscriber" || l.Name != "mail" || !strings.Contains(l.Reason, "10 times") || l.Headers["Tasker-Event"] != "00-1-0" {
			t.Errorf("the dead letter is %+v", l)
		}
		c, err := domain.DecodeCommit(l.Data, 0, 1)
		if err != nil || len(c.Records) != 1 || noteOf(c.Records[0]) != "0" || c.Records[0].Task != bad {
			t.Errorf("its body is %s: %v", l.Data, err)
		}
		if st := sub.Stats(); st.Handled != 49 || st.Failed != 10 || st.Parked != 1 || st.Unfinished != 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestStopSubscriberEndsRunAndTheEventComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(0, 0, 1), 0), note(taskOf(1, 0, 1), 1), note(taskOf(0, 0, 1), 2))
		o := Options{
			Name: "strict", From: FromBeginning, OnPoison: StopSubscriber, Tries: 2,
			Backoff: func(int) time.Duration { return time.Minute },
		}
		no := fmt.Errorf("no: %w", domain.ErrUnavailable) // the handler's own
		err := Run(t.Context(), s, o, func(_ context.Context, r domain.Record) error {
			if noteOf(r) == "0" {
				return no
			}
			return nil
		})
		var poison *PoisonError
		if !errors.As(err, &poison) || poison.Position != (domain.Position{Sequence: 1}) || poison.Tries != 2 || !errors.Is(err, no) {
			t.Fatalf("Run: %v", err)
		}
		if len(s.Letters()) != 0 {
			t.Error("it was parked, too")
		}
		got := &seen{}
		start(t, s, o, got.handle)
		if notes := got.notes(); !slices.Equal(notes, []string{"0", "2"}) {
			t.Errorf("started again, it is told of %v, want 0 and 2", notes)
		}
	})
}

func TestWaitingForTheDeadLettersHoldsUpOneTaskOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &mortal{Store: memlog.New(memlog.Options{})}
		s.kill() // not durable, so that only dead letters are missed
		store(t, s.Store, 0, note(taskOf(0, 0, 1), 0), note(taskOf(0, 0, 1), 1), note(taskOf(2, 0, 1), 2))
		got, tries := &seen{}, 0
		start(t, s, Options{From: FromBeginning, Tries: 1, Lanes: 1}, func(ctx context.Context, r domain.Record) error {
			if noteOf(r) == "0" {
				tries++
				return errors.New("no")
			}
			return got.handle(ctx, r)
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if notes := got.notes(); !slices.Equal(notes, []string{"2"}) {
			t.Errorf("told of %v, want 2 only", notes)
		}
		s.dead.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if notes := got.notes(); !slices.Equal(notes, []string{"2", "1"}) || tries != 1 || len(s.Letters()) != 1 {
			t.Errorf("told of %v after %d tries, %d letters", notes, tries, len(s.Letters()))
		}
	})
}

func TestLanesBoundTheHandlersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		for i := range 200 {
			store(t, s, i%2, note(taskOf(i, i%2, 2), i))
		}
		var now, most atomic.Int64
		sub := start(t, s, Options{From: FromBeginning, Lanes: 7}, func(context.Context, domain.Record) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		})
		time.Sleep(time.Minute)
		if most.Load() != 7 || sub.Stats().Handled != 200 {
			t.Errorf("%d handlers ran at once, want 7; %d events of 200", most.Load(), sub.Stats().Handled)
		}
	})
}

func TestReadingPausesWhenTooMuchIsUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		for i := range 3 {
			var records []domain.Record
			for j := range 6000 {
				records = append(records, note(taskOf(j%3, 0, 1), i))
			}
			store(t, s, 0, records...)
		}
		gate := make(chan struct{})
		sub := start(t, s, Options{From: FromBeginning}, func(ctx context.Context, _ domain.Record) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if n := sub.Stats().Unfinished; n != maxUnfinished {
			t.Errorf("%d events are in memory, want %d", n, maxUnfinished)
		}
		if lags, err := sub.Lag(t.Context()); err != nil || !slices.Equal(lags, []uint64{3}) {
			t.Errorf("Lag = %v, %v, want 3 commits", lags, err)
		}
		close(gate)
		time.Sleep(time.Minute)
		if st := sub.Stats(); st.Handled != 18_000 || st.Unfinished != 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}
