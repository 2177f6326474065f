package memlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
)

func TestAppendsMeetTheirFates(t *testing.T) {
	for name, c := range map[string]struct {
		fate    memlog.Fate
		answers int
		err     error
		stored  bool
		after   time.Duration
	}{
		"good":               {fate: memlog.Fate{}, answers: 1, stored: true},
		"ack_lost":           {fate: memlog.AckLost, stored: true},
		"message_lost":       {fate: memlog.MessageLost},
		"ack_doubled":        {fate: memlog.AckDoubled, answers: 2, stored: true},
		"ack_delayed":        {fate: memlog.Fate{Delay: time.Minute}, answers: 1, stored: true, after: time.Minute},
		"refused":            {fate: memlog.Refused, answers: 1, err: memlog.ErrRefused},
		"refused_but_stored": {fate: memlog.RefusedButStored, answers: 1, err: memlog.ErrRefused, stored: true},
		"full":               {fate: memlog.Full, answers: 1, err: domain.ErrNotStored},
		"stored_late":        {fate: memlog.Fate{Late: time.Hour}, answers: 1, stored: true, after: time.Hour},
		"stored_late_silent": {fate: memlog.Fate{Late: time.Hour, Silent: true}, stored: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memlog.New(memlog.Options{})
				s.Faults(0).Next(c.fate)
				log, begin := s.Log(0), time.Now()
				answers, after := 0, time.Duration(0)
				log.Append(0, "c", []byte("x"), func(sequence uint64, err error) {
					answers++
					after = time.Since(begin)
					if !errors.Is(err, c.err) || c.err == nil && (err != nil || sequence != 1) {
						t.Errorf("the answer is %d %v", sequence, err)
					}
				})
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if answers != c.answers || answers > 0 && after != c.after {
					t.Errorf("%d answers after %s, want %d after %s", answers, after, c.answers, c.after)
				}
				if _, err := log.Read(t.Context(), 1); (err == nil) != c.stored {
					t.Errorf("reading it: %v", err)
				}
			})
		})
	}
}

func TestALateMessageLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		s.Faults(0).Next(memlog.Fate{Late: time.Minute})
		var late, other error
		s.Log(0).Append(0, "late", nil, func(_ uint64, err error) { late = err })
		s.Log(0).Append(0, "other", nil, func(_ uint64, err error) { other = err })
		time.Sleep(time.Hour)
		synctest.Wait()
		var wrong *memlog.WrongSequenceError
		if other != nil || !errors.As(late, &wrong) || wrong.Last != 1 {
			t.Fatalf("%v, %v", other, late)
		}
	})
}

func TestALogThatIsDownComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Delay: time.Millisecond})
		s.Foreign(0, "", []byte("not a commit"))
		s.Faults(0).Down(true)
		if _, err := s.Log(0).Bounds(t.Context()); !errors.Is(err, domain.ErrUnavailable) {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		followed := make(chan error)
		go func() {
			followed <- s.Log(0).Follow(ctx, 1, func(domain.Message) error { seen++; return nil })
		}()
		time.Sleep(time.Second)
		if seen != 0 {
			t.Fatal("a log that is down was read")
		}
		s.Faults(0).Down(false)
		time.Sleep(time.Second)
		cancel()
		if err := <-followed; !errors.Is(err, context.Canceled) || seen != 1 {
			t.Fatalf("%d seen: %v", seen, err)
		}
	})
}

func TestItIsFullAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Limit: 10})
		var errs []error
		for i := range uint64(2) {
			s.Log(0).Append(i, "c", make([]byte, 8), func(_ uint64, err error) { errs = append(errs, err) })
			synctest.Wait()
		}
		if errs[0] != nil || !errors.Is(errs[1], domain.ErrNotStored) {
			t.Fatal(errs)
		}
		if u, err := s.Usage(t.Context()); err != nil || u != 0.8 {
			t.Fatal(u, err)
		}
	})
}

func TestLeasesRunOutInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := memlog.New(memlog.Options{}).Leases()
		if _, err := leases.Acquire(t.Context(), "x", "a", time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		if _, err := leases.Acquire(t.Context(), "x", "b", time.Hour); !errors.Is(err, domain.ErrLeaseTaken) {
			t.Fatal(err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := leases.Acquire(t.Context(), "x", "b", time.Hour); err != nil {
			t.Fatal(err)
		}
	})
}
