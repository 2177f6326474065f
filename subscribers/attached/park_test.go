package attached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestAPermanentFailureIsParkedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(0, 0, 1), 0), note(taskOf(0, 0, 1), 1))
		got := &seen{}
		sub := start(t, s, Options{Name: "mail", From: FromBeginning}, func(ctx context.Context, r domain.Record) error {
			if r.Position.Index == 0 {
				return fmt.Errorf("about to be wrapped: %w", domain.Permanent(errors.New("no such mailbox")))
			}
			return got.handle(ctx, r)
		})
		if len(got.notes()) != 1 {
			t.Errorf("the event behind it came %d times before any time had passed, want once", len(got.notes()))
		}
		letters := s.Letters()
		if len(letters) != 1 || !strings.Contains(letters[0].Reason, "gave it up at try 1: about to be wrapped: no such mailbox") {
			t.Errorf("dead letters: %+v", letters)
		}
		if st := sub.Stats(); st.Failed != 1 || st.Parked != 1 || st.Unfinished != 0 {
			t.Errorf("stats: %+v", st)
		}
	})
}

func TestAPermanentFailureStopsASubscriberThatMustNotSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(0, 0, 1), 0))
		o := Options{Name: "strict", From: FromBeginning, OnPoison: StopSubscriber}
		err := Run(t.Context(), s, o, func(context.Context, domain.Record) error {
			return domain.Permanent(errors.New("never"))
		}, WithLogger(quiet))
		var poison *PoisonError
		if !errors.As(err, &poison) || poison.Tries != 1 || len(s.Letters()) != 0 {
			t.Errorf("Run: %v, %d letters", err, len(s.Letters()))
		}
	})
}

func TestAHandlerSaysWhenToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(0, 0, 1), 0))
		began := time.Now()
		var at []time.Duration
		start(t, s, Options{Name: "mail", From: FromBeginning}, func(context.Context, domain.Record) error {
			at = append(at, time.Since(began))
			switch len(at) {
			case 1:
				return domain.RetryAfter(42*time.Second, errors.New("later"))
			case 2:
				return domain.RetryAfter(1000*time.Hour, errors.New("much later"))
			case 3:
				return errors.New("no wish")
			}
			return nil
		})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 42 * time.Second, 42*time.Second + MaxRetryAfter, 46*time.Second + MaxRetryAfter}
		if fmt.Sprint(at) != fmt.Sprint(want) {
			t.Errorf("it was tried after %v, want %v", at, want)
		}
	})
}

func TestWhoFailsAtEverythingParksAtALimitedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		const events = parkBurst + 500
		var records []domain.Record
		for i := range events {
			records = append(records, note(taskOf(i, 0, 1), i))
		}
		store(t, s, 0, records...)
		var tries atomic.Int64
		sub := start(t, s, Options{Name: "mail", From: FromBeginning}, func(context.Context, domain.Record) error {
			tries.Add(1)
			return domain.Permanent(errors.New("no"))
		})
		if n := len(s.Letters()); n != parkBurst {
			t.Errorf("%d letters at once, want %d", n, parkBurst)
		}
		time.Sleep(100*parkEvery + time.Nanosecond)
		synctest.Wait()
		if n := len(s.Letters()); n != parkBurst+100 {
			t.Errorf("%d letters after 100 turns, want %d", n, parkBurst+100)
		}
		time.Sleep(400 * parkEvery)
		synctest.Wait()
		if st := sub.Stats(); len(s.Letters()) != events || tries.Load() != events || st.Unfinished != 0 || st.Waiting != 0 {
			t.Errorf("in the end %d letters after %d tries, %+v; want %d, each tried once", len(s.Letters()), tries.Load(), st, events)
		}
	})
}

func TestManyFailedTriesAreOneLineOfTheLogASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		var records []domain.Record
		for i := range 500 {
			records = append(records, note(taskOf(i, 0, 1), i))
		}
		store(t, s, 0, records...)
		var text bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))
		ctx, cancel := context.WithCancel(t.Context())
		sub, err := New(s, Options{Name: "mail", From: FromBeginning}, func(context.Context, domain.Record) error {
			return errors.New("no")
		}, WithLogger(logger))
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() { result <- sub.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond) // the first tries, and the second ones
		cancel()
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text.String(), "handler failed"); n != 2 || sub.Stats().Failed != 1000 {
			t.Errorf("%d lines of %d failed tries, want 2 of 1000:\n%s", n, sub.Stats().Failed, text.String())
		}
	})
}
