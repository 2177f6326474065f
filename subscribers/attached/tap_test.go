package attached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/subscribers"
)

// heard is what a tap's function was told.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) handle(r domain.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line(r))
}

func (h *heard) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

// messages reads the log as a coordinator that stores it would tell it.
func messages(t testing.TB, s *memlog.Store) [][]domain.Record {
	t.Helper()
	var all [][]domain.Record
	err := s.Log(0).Scan(t.Context(), 1, func(m domain.Message) error {
		c, err := domain.DecodeCommit(m.Data, 0, m.Sequence)
		all = append(all, c.Records)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func addTap(t testing.TB, ts *Taps, handle func(domain.Record), o TapOptions, types ...domain.EventType) *Tap {
	t.Helper()
	tap, err := ts.Add(types, handle, o)
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

func TestATapHearsWhatAReplayTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		newHistory(t, s).tasks(0, 3)
		ts := NewTaps(s, time.Now, nil, quiet)
		live := slices.Concat(everything, []domain.EventType{domain.SignalHandle})
		for _, types := range [][]domain.EventType{everything, nil, {domain.SignalTaskStarted, domain.StepFailedType}, {"observability.*"}} {
			got := map[string][]domain.Record{}
			var mu sync.Mutex
			hear := func(name string) func(domain.Record) {
				return func(r domain.Record) {
					mu.Lock()
					defer mu.Unlock()
					got[name] = append(got[name], r)
				}
			}
			one := addTap(t, ts, hear("one"), TapOptions{}, types...)
			two := addTap(t, ts, hear("two"), TapOptions{}, live...) // another tap changes nothing
			for _, records := range messages(t, s) {
				ts.Tell(records)
			}
			synctest.Wait()
			one.Stop()
			two.Stop()
			var want []domain.Record
			for r, err := range Replay(t.Context(), s, ReplayOptions{Types: types}) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, r)
			}
			if diff := cmp.Diff(want, got["one"]); diff != "" {
				t.Errorf("%v: (-replay +tap)\n%s", types, diff)
			}
		}
		if ts.Open() {
			t.Error("somebody listens still")
		}
	})
}

func TestALiveSignalIsToldWithTheTimeNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := NewTaps(memlog.New(memlog.Options{}), time.Now, nil, quiet)
		got := &heard{}
		if ts.Open() || ts.Wants(domain.SignalHandle) {
			t.Error("somebody listens already")
		}
		tap := addTap(t, ts, got.handle, TapOptions{}, "step.*")
		if !ts.Open() || !ts.Wants(domain.SignalHandle) || ts.Wants(domain.SignalStateUnclear) {
			t.Error("wants something else")
		}
		r := domain.Record{Event: domain.Signal{Name: domain.SignalHandle}, Position: domain.Position{Sequence: 7}}
		ts.Tell([]domain.Record{r})
		ts.Tell([]domain.Record{{Event: domain.Signal{Name: domain.SignalStateUnclear}}})
		synctest.Wait()
		r.At = domain.InstantOf(time.Now())
		if all := got.all(); !slices.Equal(all, []string{line(r)}) {
			t.Errorf("heard %q", all)
		}
		tap.Stop()
		tap.Stop()
		ts.Tell([]domain.Record{r})
		<-tap.Done()
		if len(got.all()) != 1 || ts.Open() {
			t.Error("it goes on after Stop")
		}
	})
}

func TestATapThatIsTooSlowLosesEventsAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ts := NewTaps(memlog.New(memlog.Options{}), time.Now, nil, slog.New(slog.NewTextHandler(&log, nil)))
		got := &heard{}
		tap := addTap(t, ts, func(r domain.Record) {
			time.Sleep(time.Second)
			got.handle(r)
		}, TapOptions{Buffer: 10})
		began := time.Now()
		for range 2 {
			for i := range 30 {
				ts.Tell([]domain.Record{note(taskOf(0, 0, 1), i)})
			}
			synctest.Wait() // the first is being handled
			for i := range 5 {
				ts.Tell([]domain.Record{note(taskOf(0, 0, 1), i), note(taskOf(0, 0, 1), i)})
			}
			if !time.Now().Equal(began) {
				t.Error("telling took time")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			began = time.Now()
		}
		// Of 40, 10 found room before the first was taken, and one after.
		if n := len(got.all()); n != 22 || tap.Dropped() != 80-22 {
			t.Errorf("%d were told and %d dropped", n, tap.Dropped())
		}
		for text, n := range map[string]int{"a tap is too slow": 2, `msg="a tap has caught up" dropped=29`: 2} {
			if got := strings.Count(log.String(), text); got != n {
				t.Errorf("%q was logged %d times, want %d:\n%s", text, got, n, log.String())
			}
		}
		tap.Stop()
	})
}

func TestATapThatPanicsGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ts := NewTaps(memlog.New(memlog.Options{}), time.Now, nil, slog.New(slog.NewTextHandler(&log, nil)))
		calls := 0
		tap := addTap(t, ts, func(domain.Record) {
			if calls++; calls == 1 {
				panic("broken")
			}
		}, TapOptions{})
		ts.Tell([]domain.Record{note(taskOf(0, 0, 1), 1), note(taskOf(0, 0, 1), 2)})
		synctest.Wait()
		if calls != 2 || !strings.Contains(log.String(), "a tap panicked") {
			t.Errorf("%d calls:\n%s", calls, log.String())
		}
		tap.Stop()
	})
}

func TestTapsEndWithTheEngineAfterWhatTheyHaveToTellStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := NewTaps(memlog.New(memlog.Options{}), time.Now, nil, quiet)
		got := &heard{}
		tap := addTap(t, ts, func(r domain.Record) { time.Sleep(time.Second); got.handle(r) }, TapOptions{})
		for i := range 5000 {
			ts.Tell([]domain.Record{note(taskOf(0, 0, 1), i)})
		}
		began := time.Now()
		hurry, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ts.Close(hurry)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %s", waited)
		}
		ts.Close(t.Context())
		<-tap.Done()
		if len(got.all()) != 5000 {
			t.Errorf("%d of 5000 were told", len(got.all()))
		}
		if _, err := ts.Add(nil, got.handle, TapOptions{}); !errors.Is(err, subscribers.ErrNotRunning) {
			t.Errorf("a tap after the end: %v", err)
		}
		tap.Stop()
	})
}

func TestABadTapIsRefused(t *testing.T) {
	ts := NewTaps(memlog.New(memlog.Options{}), time.Now, nil, quiet)
	nothing := func(domain.Record) {}
	for want, add := range map[string]func() (*Tap, error){
		`did you mean "step.handle"?`: func() (*Tap, error) { return ts.Add([]domain.EventType{"step.handles"}, nothing, TapOptions{}) },
		"no function":                 func() (*Tap, error) { return ts.Add(nil, nil, TapOptions{}) },
		"Buffer is -1":                func() (*Tap, error) { return ts.Add(nil, nothing, TapOptions{Buffer: -1}) },
		"want 1 to 1000000":           func() (*Tap, error) { return ts.Add(nil, nothing, TapOptions{Buffer: 1_000_001}) },
	} {
		if _, err := add(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func BenchmarkTell(b *testing.B) {
	s := memlog.New(memlog.Options{})
	newHistory(b, s).tasks(0, 100)
	commits := messages(b, s)
	for _, taps := range []int{0, 1} {
		b.Run(fmt.Sprint(taps, " taps"), func(b *testing.B) {
			ts := NewTaps(s, time.Now, nil, quiet)
			for range taps {
				tap := addTap(b, ts, func(domain.Record) {}, TapOptions{}, domain.SignalTaskStarted)
				defer tap.Stop()
			}
			b.ReportAllocs()
			for b.Loop() {
				ts.Tell(commits[1])
			}
		})
	}
}
