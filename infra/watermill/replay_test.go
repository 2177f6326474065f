package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/watermill"
)

func TestTheRouterReturnsWhenAReplayIsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		for i := range 50 {
			store(t, s, i%2, note(taskOf(i%7, i%2, 2), i))
		}
		for name, c := range map[string]struct {
			topic  string
			replay domain.ReplayOptions
			want   int
		}{
			"the whole log":           {annotations, domain.ReplayOptions{}, 50},
			"a part of it":            {annotations, domain.ReplayOptions{From: domain.FromPosition(s.Data().ID + ":00=10,01=20")}, 20},
			"one task":                {annotations, domain.ReplayOptions{Task: taskOf(0, 0, 2)}, 4},
			"nothing of that type":    {string(domain.TaskCompletedType), domain.ReplayOptions{}, 0},
			"nothing is there at all": {annotations, domain.ReplayOptions{From: domain.FromNew}, 0},
			"an empty range":          {annotations, domain.ReplayOptions{Until: domain.UntilPosition(s.Data().ID + ":")}, 0},
		} {
			e := newEvents(t, s, watermill.EventsConfig{Replay: &c.replay})
			router, err := message.NewRouter(message.RouterConfig{}, wm.NopLogger{})
			if err != nil {
				t.Fatal(err)
			}
			got := &seen{}
			router.AddConsumerHandler("reader", c.topic, e, func(msg *message.Message) error {
				time.Sleep(time.Millisecond)
				got.add(msg)
				return nil
			})
			if err := router.Run(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got.inOrder(t)
			if n := len(got.list()); n != c.want || len(got.times()) != n {
				t.Errorf("%s: %d events came, want %d, each once", name, n, c.want)
			}
			if err := e.Err(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAReplayOfALogWithoutAnythingEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 3})
		if got := collect(t, client(t, s), watermill.EveryFact, watermill.EventsConfig{}); len(got) != 0 {
			t.Errorf("%d messages came", len(got))
		}
	})
}

func TestWhatAReplayCannotHandleIsTriedPassedOverAndTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		for i := range 9 {
			store(t, s, 0, note(taskOf(i%3, 0, 1), i))
		}
		no := errors.New("no")
		for name, c := range map[string]struct {
			stop domain.Poison
			want []string // handled in the end, of one lane
			lost int
		}{
			"it goes on":    {domain.Park, []string{"0", "1", "2", "3", "5", "6", "8"}, 2},
			"it is to stop": {domain.StopSubscriber, []string{"0", "1", "2", "3"}, 1},
		} {
			var handled []string
			tries := map[string]int{}
			e := newEvents(t, s, watermill.EventsConfig{
				Subscription: domain.Subscription{Lanes: 1, Tries: 3, OnPoison: c.stop}, Replay: &domain.ReplayOptions{},
			})
			handle := watermill.PassErrors(func(msg *message.Message) ([]*message.Message, error) {
				n := noteOf(msg)
				tries[n]++
				switch {
				case n == "4":
					return nil, no
				case n == "7":
					return nil, domain.Permanent(no)
				case n == "2" && tries[n] < 3:
					return nil, domain.RetryAfter(time.Hour, no)
				}
				handled = append(handled, n)
				return nil, nil
			})
			began := time.Now()
			consume(subscribe(t, e, annotations), func(msg *message.Message) error { _, err := handle(msg); return err })()
			if diff := cmp.Diff(c.want, handled); diff != "" {
				t.Errorf("%s: handled (-want +got):\n%s", name, diff)
			}
			if took := time.Since(began); took != 2*time.Hour+3*time.Second { // what 2 asked for, and the backoff of 4
				t.Errorf("%s: it took %s", name, took)
			}
			var failed *watermill.ReplayFailedError
			if err := e.Err(); !errors.As(err, &failed) || !errors.Is(err, no) || failed.First.ID() != "00-5-0" || failed.Failed != c.lost {
				t.Errorf("%s: Err: %v", name, err)
			}
			if tries["4"] != 3 || c.stop == domain.Park && tries["7"] != 1 {
				t.Errorf("%s: tries: %v", name, tries)
			}
		}
	})
}

func TestAReplayThatIsClosedLeavesNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		for i := range 5000 {
			store(t, s, i%2, note(taskOf(i%7, i%2, 2), i))
		}
		for _, read := range []int{0, 1, 3, 100} {
			ctx, cancel := context.WithCancel(t.Context())
			e := newEvents(t, s, watermill.EventsConfig{Replay: &domain.ReplayOptions{}})
			out, err := e.Subscribe(ctx, annotations)
			if err != nil {
				t.Fatal(err)
			}
			for range read {
				(<-out).Ack()
			}
			if read%2 == 0 {
				cancel()
			}
			if err := e.Close(); err != nil {
				t.Errorf("after %d messages: %v", read, err)
			}
			for msg := range out {
				t.Errorf("after Close came %s", msg.UUID)
			}
			if err := e.Err(); err != nil {
				t.Errorf("a regular stop: %v", err)
			}
			cancel()
		}
	})
}

func TestLanesOfAReplayKeepTheOrderOfEachTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		for i := range 600 {
			store(t, s, i%2, note(taskOf(i%40, i%2, 2), i))
		}
		got := &seen{}
		var now, most atomic.Int64
		e := newEvents(t, s, watermill.EventsConfig{Replay: &domain.ReplayOptions{}})
		consume(subscribe(t, e, annotations), func(msg *message.Message) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Duration(len(msg.UUID)) * time.Millisecond)
			now.Add(-1)
			got.add(msg)
			return nil
		})()
		got.inOrder(t)
		list := got.list()
		slices.Sort(list)
		if len(slices.Compact(list)) != 600 || most.Load() < 2 || most.Load() > 16 {
			t.Errorf("%d events came, at most %d at once", len(list), most.Load())
		}
		if want := fmt.Sprint(599); !slices.Contains(list, want) {
			t.Errorf("%s is missing", want)
		}
	})
}
