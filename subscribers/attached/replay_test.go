package attached

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func replayNotes(ctx context.Context, s domain.Store, o ReplayOptions) ([]string, error) {
	notes := []string{}
	for r, err := range Replay(ctx, s, o, WithLogger(quiet)) {
		if err != nil {
			return notes, err
		}
		notes = append(notes, noteOf(r))
	}
	return notes, nil
}

func TestReplayMergesPartitionsByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const parts = 3
		s := memlog.New(memlog.Options{Partitions: parts, DataID: "data"})
		for i := range 9 {
			store(t, s, i*2%parts, note(taskOf(i%2, i*2%parts, parts), i), domain.Record{Task: taskOf(i%2, i*2%parts, parts), Event: domain.TaskStartRequested{}})
			time.Sleep(time.Second)
		}
		only := []domain.EventType{domain.TaskAnnotatedType}
		now := time.Now()
		for name, c := range map[string]struct {
			o    ReplayOptions
			want []string
		}{
			"all":      {ReplayOptions{Types: only}, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}},
			"new":      {ReplayOptions{Types: only, From: FromNew}, []string{}},
			"task":     {ReplayOptions{Types: only, Task: taskOf(0, 0, parts)}, []string{"0", "6"}},
			"time":     {ReplayOptions{Types: only, From: FromTime(now.Add(-5 * time.Second)), Until: UntilTime(now.Add(-2 * time.Second))}, []string{"4", "5", "6"}},
			"position": {ReplayOptions{Types: only, From: FromPosition("data:00=1,01=1,02=1"), Until: UntilPosition("data:00=3,01=2")}, []string{"3", "5", "6"}},
		} {
			if notes, err := replayNotes(t.Context(), s, c.o); err != nil || !slices.Equal(notes, c.want) {
				t.Errorf("%s: %v, %v, want %v", name, notes, err, c.want)
			}
		}
		n := 0
		for _, err := range Replay(t.Context(), s, ReplayOptions{}) {
			if err != nil {
				t.Error(err)
			}
			if n++; n == 5 {
				break
			}
		}
	})
}

func TestReplayEndsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		for i := range 3 {
			store(t, s, 0, note(taskOf(0, 0, 1), i))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := replayNotes(ended, s, ReplayOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}
		s.Foreign(0, "x", []byte("{"))
		var unreadable *UnreadableError
		if notes, err := replayNotes(t.Context(), s, ReplayOptions{}); len(notes) != 3 || !errors.As(err, &unreadable) {
			t.Errorf("an unreadable commit: %v, %v", notes, err)
		}
		if err := s.Log(0).Trim(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		var trimmed ErrTrimmed
		if _, err := replayNotes(t.Context(), s, ReplayOptions{}); !errors.As(err, &trimmed) || trimmed.First != 2 {
			t.Errorf("a trimmed log: %v", err)
		}
		if _, err := replayNotes(t.Context(), s, ReplayOptions{Follow: true, Until: UntilTime(time.Now())}); err == nil {
			t.Error("Follow with Until: no error")
		}
	})
}

func TestReplayEndsWithWhatWasStoredWhenItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2, DataID: "data"})
		for name, o := range map[string]ReplayOptions{
			"an empty log": {}, "new": {From: FromNew}, "oldest": {From: FromOldest}, "after the end": {From: FromTime(time.Now().Add(time.Hour))},
			"until the beginning": {Until: UntilPosition("data:")}, "until long ago": {Until: UntilTime(time.Unix(1, 0))},
		} {
			if notes, err := replayNotes(t.Context(), s, o); err != nil || len(notes) > 0 {
				t.Errorf("%s: %v, %v", name, notes, err)
			}
		}
		for i := range 3 {
			store(t, s, i%2, note(taskOf(0, i%2, 2), i))
		}
		var notes []string
		for r, err := range Replay(t.Context(), s, ReplayOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			notes = append(notes, noteOf(r))
			for i := range 2 { // as much again is stored while it reads
				store(t, s, i, note(taskOf(0, i, 2), 100))
			}
		}
		if slices.Sort(notes); !slices.Equal(notes, []string{"0", "1", "2"}) {
			t.Errorf("%v", notes)
		}
		for name, o := range map[string]ReplayOptions{
			"from beyond until": {From: FromPosition("data:00=2,01=2"), Until: UntilPosition("data:00=1,01=1")},
			"from is until":     {From: FromPosition("data:00=2,01=1"), Until: UntilPosition("data:00=2,01=1")},
			"new":               {From: FromNew},
		} {
			if notes, err := replayNotes(t.Context(), s, o); err != nil || len(notes) > 0 {
				t.Errorf("%s: %v, %v", name, notes, err)
			}
		}
	})
}

func TestReplayFollowsUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		store(t, s, 1, note(taskOf(0, 1, 2), 0))
		ctx, cancel := context.WithCancel(t.Context())
		got, result := &seen{}, make(chan error, 1)
		go func() {
			var last error
			for r, err := range Replay(ctx, s, ReplayOptions{Follow: true}) {
				last = err
				_ = got.handle(ctx, r)
			}
			result <- last
		}()
		synctest.Wait()
		store(t, s, 0, note(taskOf(0, 0, 2), 1))
		store(t, s, 1, note(taskOf(0, 1, 2), 2))
		synctest.Wait()
		cancel()
		if err := <-result; err != nil {
			t.Errorf("it ended with %v", err)
		}
		notes := got.notes()
		if slices.Sort(notes); !slices.Equal(notes, []string{"0", "1", "2"}) {
			t.Errorf("told of %v", notes)
		}
	})
}

// BenchmarkReplay reads 1,000,000 events of two partitions; so does a subscriber that does nothing.
func BenchmarkReplay(b *testing.B) {
	s := million(b)
	for b.Loop() {
		n := 0
		for _, err := range Replay(b.Context(), s, ReplayOptions{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1_000_000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkSubscriber(b *testing.B) {
	s := million(b)
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		sub, err := New(s, Options{From: FromBeginning}, func(context.Context, domain.Record) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- sub.Run(ctx) }()
		for sub.handled.Load() < 1_000_000 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func million(b *testing.B) *memlog.Store {
	s := memlog.New(memlog.Options{Partitions: 2})
	for i := range 4000 {
		var records []domain.Record
		for j := range 50 {
			task := domain.KeyedTaskID("b", "b", string(rune(i*50+j)))
			records = append(records,
				domain.Record{Task: task, Event: domain.TaskStartRequested{}},
				domain.Record{Task: task, Event: domain.StepExecutionRequested{Step: "one", Attempt: 1}},
				domain.Record{Task: task, Event: domain.StepCompleted{Step: "one", Attempt: 1, Result: domain.Payload{JSON: []byte(`{"sum":17,"name":"something"}`)}}},
				domain.Record{Task: task, Event: domain.StepExecutionRequested{Step: "two", Attempt: 1}},
				domain.Record{Task: task, Event: domain.TaskCompleted{}})
		}
		store(b, s, i%2, records...)
	}
	return s
}
