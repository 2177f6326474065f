package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/watermill"
	"github.com/tasker-go/tasker/subscribers/attached"
)

func TestMessagesOfATaskComeOneAfterTheOtherAndThoseOfOthersAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{Partitions: 2})
		const tasks, each = 20, 10
		for n := range each {
			for i := range tasks {
				store(t, s, i%2, note(taskOf(i, i%2, 2), n*tasks+i))
			}
		}
		got := &seen{}
		var now, most atomic.Int64
		busy := sync.Map{}
		e := newEvents(t, s, watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning, Lanes: 8}})
		wait := consume(subscribe(t, e, annotations), func(msg *message.Message) error {
			task := msg.Metadata.Get(watermill.MetadataTask)
			if _, twice := busy.LoadOrStore(task, true); twice {
				t.Errorf("two messages of task %s at once", task)
			}
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			busy.Delete(task)
			got.add(msg)
			return nil
		})
		settle(time.Hour)
		_ = e.Close()
		wait()
		got.inOrder(t)
		if n := len(got.list()); n != tasks*each {
			t.Errorf("%d messages came, want %d", n, tasks*each)
		}
		if most.Load() != 8 {
			t.Errorf("at most %d came at once, want the 8 lanes", most.Load())
		}
	})
}

func TestWhatWasAckedIsNotLostAndNotRepeatedOverAnyStop(t *testing.T) {
	for name, end := range map[string]func(e *watermill.Events, cancel context.CancelFunc){
		"Close":                  func(e *watermill.Events, _ context.CancelFunc) { _ = e.Close() },
		"the end of the ctx":     func(_ *watermill.Events, cancel context.CancelFunc) { cancel() },
		"both":                   func(e *watermill.Events, cancel context.CancelFunc) { cancel(); _ = e.Close() },
		"Close from two at once": func(e *watermill.Events, _ context.CancelFunc) { go func() { _ = e.Close() }(); _ = e.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := memlog.New(memlog.Options{Partitions: 2})
				const all = 400
				for i := range all / 4 {
					p := i % 2
					store(t, s, p, note(taskOf(i%20, p, 2), 4*i), note(taskOf(i%30+50, p, 2), 4*i+1), note(taskOf(i%20, p, 2), 4*i+2), note(taskOf(i, p, 2), 4*i+3))
				}
				acked := &seen{}
				for life := 0; len(acked.list()) < all && life < 200; life++ {
					e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
					ctx, cancel := context.WithCancel(t.Context())
					out, err := e.Subscribe(ctx, annotations)
					if err != nil {
						t.Fatal(err)
					}
					wait := consume(out, func(msg *message.Message) error {
						time.Sleep(3 * time.Millisecond)
						if ended(msg.Context()) {
							t.Error("the context of a message that is at work has ended")
						}
						acked.add(msg)
						return nil
					})
					time.Sleep(time.Duration(5+life) * time.Millisecond)
					end(e, cancel)
					wait()
					cancel()
					if err := e.Err(); err != nil {
						t.Errorf("a regular stop: %v", err)
					}
				}
				acked.inOrder(t)
				times := acked.times()
				for i := range all {
					if n := times[fmt.Sprint(i)]; n != 1 {
						t.Errorf("event %d was handled %d times", i, n)
					}
				}
			})
		})
	}
}

func TestAMessageThatIsNotAnsweredInTimeComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1), note(taskOf(2, 0, 1), 2))
		e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books"), CloseTimeout: 10 * time.Second})
		out := subscribe(t, e, annotations)
		deaf, heard := <-out, <-out
		heard.Ack()
		synctest.Wait()
		began := time.Now()
		err := e.Close()
		if took := time.Since(began); !errors.Is(err, watermill.ErrUnanswered) || took != 10*time.Second {
			t.Errorf("Close took %s and returned %v", took, err)
		}
		if _, open := <-out; open || !ended(deaf.Context()) {
			t.Error("the channel, or the message's context, is open after Close")
		}
		deaf.Ack() // too late, and without harm

		again := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		msg := <-subscribe(t, again, annotations)
		if msg.UUID != deaf.UUID {
			t.Errorf("%s came again, want %s", msg.UUID, deaf.UUID)
		}
		msg.Ack()
		settle(time.Second)
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAContextOfAMessageEndsWithItsAckAndHasTheValuesOfTheSubscription(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type key struct{}
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1), note(taskOf(2, 0, 1), 2))
		e := newEvents(t, s, watermill.EventsConfig{Subscription: domain.Subscription{From: domain.FromBeginning}})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
		defer cancel()
		out, err := e.Subscribe(ctx, annotations)
		if err != nil {
			t.Fatal(err)
		}
		acked, nacked := <-out, <-out
		cancel()
		synctest.Wait()
		for _, msg := range []*message.Message{acked, nacked} {
			if ended(msg.Context()) || msg.Context().Value(key{}) != "kept" {
				t.Errorf("%s: the context ended with the subscription, or has lost its values", msg.UUID)
			}
		}
		acked.Ack()
		nacked.Nack()
		synctest.Wait()
		if !ended(acked.Context()) || !ended(nacked.Context()) {
			t.Error("the context goes on after the answer")
		}
		if _, open := <-out; open {
			t.Error("the channel is open")
		}
	})
}

func TestAPoisonedEventIsParkedWithItsErrorAndHoldsUpNoOtherTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		for i := range 10 {
			store(t, s, 0, note(taskOf(1, 0, 1), 100+i), note(taskOf(2, 0, 1), 200+i), note(taskOf(3+i, 0, 1), 300+i))
		}
		got := &seen{}
		var tries atomic.Int64
		e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		handle := watermill.PassErrors(func(msg *message.Message) ([]*message.Message, error) {
			switch n := noteOf(msg); n {
			case "100":
				tries.Add(1)
				return nil, errors.New("the ledger is closed")
			case "200":
				return nil, domain.Permanent(errors.New("no such account"))
			}
			got.add(msg)
			return nil, nil
		})
		wait := consume(subscribe(t, e, annotations), func(msg *message.Message) error { _, err := handle(msg); return err })
		settle(time.Second)
		if n := len(got.list()); n != 19 {
			t.Errorf("after a second %d events came, want the 19 of the other tasks", n)
		}
		if letters := s.Letters(); len(letters) != 1 || !strings.Contains(letters[0].Reason, "no such account") || letters[0].Name != "books" {
			t.Errorf("dead letters after a second: %+v", letters)
		}
		settle(time.Hour)
		_ = e.Close()
		wait()
		letters := s.Letters()
		if len(letters) != 2 || !strings.Contains(letters[1].Reason, "10 times: the ledger is closed") || tries.Load() != 10 {
			t.Errorf("%d tries, dead letters: %+v", tries.Load(), letters)
		}
		got.inOrder(t)
		if n := len(got.list()); n != 28 {
			t.Errorf("%d events came, want 28", n)
		}
	})
}

func TestAHandlerSaysWhenToTryAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1))
		e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		var at []time.Duration
		began := time.Now()
		handle := watermill.PassErrors(func(*message.Message) ([]*message.Message, error) {
			if at = append(at, time.Since(began)); len(at) == 1 {
				return nil, fmt.Errorf("busy: %w", domain.RetryAfter(7*time.Minute, errors.New("503")))
			}
			return nil, nil
		})
		wait := consume(subscribe(t, e, annotations), func(msg *message.Message) error { _, err := handle(msg); return err })
		settle(time.Hour)
		_ = e.Close()
		wait()
		if !slices.Equal(at, []time.Duration{0, 7 * time.Minute}) {
			t.Errorf("it was tried after %v", at)
		}
	})
}

func TestOneDurableNameIsOneSubscription(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1))
		e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		out := subscribe(t, e, annotations)
		(<-out).Ack()
		var taken *watermill.NameTakenError
		if _, err := e.Subscribe(t.Context(), "step.*"); !errors.As(err, &taken) || taken.Other != annotations {
			t.Errorf("a second subscription of the name: %v", err)
		}

		other := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")}) // as in another process
		standby := subscribe(t, other, annotations)
		store(t, s, 0, note(taskOf(1, 0, 1), 2))
		msg := <-out
		msg.Ack()
		settle(time.Minute)
		select {
		case msg := <-standby:
			t.Errorf("the standby was told of %s", msg.UUID)
		default:
		}
		_ = e.Close()
		store(t, s, 0, note(taskOf(1, 0, 1), 3))
		if msg := <-standby; noteOf(msg) != "3" {
			t.Errorf("it took over with %s", noteOf(msg))
		} else {
			msg.Ack()
		}

		if err := e.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		if _, err := e.Subscribe(t.Context(), annotations); !errors.Is(err, watermill.ErrClosed) {
			t.Errorf("Subscribe after Close: %v", err)
		}
	})
}

func TestANameIsFreeWhenItsSubscriptionHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		e := newEvents(t, s, watermill.EventsConfig{Subscription: durable("books")})
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			out, err := e.Subscribe(ctx, annotations)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, open := <-out; open {
				t.Error("a message came")
			}
			synctest.Wait()
		}
	})
}

func TestWhatIsWrongFromTheStartIsTheErrorOfSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		for i := range 10 {
			store(t, s, 0, note(taskOf(1, 0, 1), i))
		}
		if err := s.Log(0).Trim(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		bad := func(err error, want string) bool { return err != nil && strings.Contains(err.Error(), want) }
		for topic, want := range map[string]string{
			"":                                    "want types of events",
			"task.completed,":                     "want types of events",
			"task.completed,*":                    `"*" alone`,
			"task.complete":                       `"task.completed"`,
			"tasks.*":                             `"task.*"`,
			"custom.":                             "custom.",
			string(domain.SignalBeforeHandle):     "only a tap",
			"order.shipped":                       `"custom.order.shipped"`,
			"step.*, nothing.at.all, task.failed": "nothing.at.all",
		} {
			e := newEvents(t, s, watermill.EventsConfig{})
			_, err := e.Subscribe(t.Context(), topic)
			var topicErr *watermill.TopicError
			if !bad(err, want) || !errors.As(err, &topicErr) {
				t.Errorf("topic %q: %v", topic, err)
			}
		}
		for want, c := range map[string]watermill.EventsConfig{
			"want a name":             {Subscription: domain.Subscription{Name: "a.b"}},
			"Lanes is 5000":           {Subscription: domain.Subscription{Lanes: 5000}},
			"has been trimmed":        {Subscription: domain.Subscription{From: domain.FromBeginning}},
			"message 3 has":           {Subscription: domain.Subscription{From: domain.FromPosition(s.Data().ID + ":00=2")}},
			"want a cursor":           {Subscription: domain.Subscription{From: domain.FromPosition("garbage")}},
			"is of data other":        {Subscription: domain.Subscription{Name: "x", From: domain.FromPosition("other:00=2")}},
			"message 1 has been":      {Replay: &domain.ReplayOptions{}},
			"is of data other, gener": {Replay: &domain.ReplayOptions{From: domain.FromPosition("other:00=2")}},
		} {
			e := newEvents(t, s, c)
			if out, err := e.Subscribe(t.Context(), annotations); !bad(err, want) {
				t.Errorf("%s: %v, %v", want, out, err)
			}
			if err := e.Err(); err != nil {
				t.Errorf("%s: it is told twice: %v", want, err)
			}
		}
	})
}

func TestConfigurationsThatContradictThemselvesAreRefused(t *testing.T) {
	s := memlog.New(memlog.Options{})
	types := []domain.EventType{domain.TaskCompletedType}
	for want, c := range map[string]watermill.EventsConfig{
		"CloseTimeout":       {CloseTimeout: -1},
		"Subscription.Types": {Subscription: domain.Subscription{Types: types}},
		"keeps no cursor":    {Subscription: domain.Subscription{Name: "a"}, Replay: &domain.ReplayOptions{}},
		"use Replay.From":    {Subscription: domain.Subscription{From: domain.FromNew}, Replay: &domain.ReplayOptions{}},
		"Replay.Types":       {Replay: &domain.ReplayOptions{Types: types}},
		"Replay.Follow":      {Replay: &domain.ReplayOptions{Follow: true}},
		"Lanes is -1":        {Subscription: domain.Subscription{Lanes: -1}, Replay: &domain.ReplayOptions{}},
		"Tries is -1":        {Subscription: domain.Subscription{Tries: -1}, Replay: &domain.ReplayOptions{}},
	} {
		if _, err := watermill.NewEvents(client(t, s), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestWhatGoesWrongLaterClosesTheChannelAndIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		store(t, s, 0, note(taskOf(1, 0, 1), 1))
		c := watermill.EventsConfig{Subscription: durable("books")}
		c.Subscription.OnPoison, c.Subscription.Tries = domain.StopSubscriber, 1
		var told []string
		c.OnError = func(topic string, err error) { told = append(told, topic+": "+err.Error()) }
		e := newEvents(t, s, c)
		out := subscribe(t, e, annotations)
		(<-out).Nack()
		if _, open := <-out; open {
			t.Error("the channel is open")
		}
		var poison *attached.PoisonError
		if err := e.Err(); !errors.As(err, &poison) || !errors.Is(err, watermill.ErrNacked) {
			t.Errorf("Err: %v", err)
		}
		if len(told) != 1 || !strings.HasPrefix(told[0], annotations) {
			t.Errorf("OnError was told %q", told)
		}
	})
}
