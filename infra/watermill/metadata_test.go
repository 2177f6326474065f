package watermill_test

import (
	"context"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/memlog"
	"github.com/tasker-go/tasker/infra/watermill"
)

// story stores a task that fails once, in three commits, with a correlation or without.
func story(t *testing.T, s *memlog.Store, id domain.TaskID, correlation string) {
	t.Helper()
	b, err := s.Log(0).Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store(t, s, 0,
		domain.Record{Task: id, Event: domain.TaskCreated{Name: "pay", Version: "1.0.0", Definition: "h", Context: domain.Inline([]byte(`{"a":1}`)), Correlation: correlation}},
		domain.Record{Task: id, Event: domain.TaskStartRequested{}},
		domain.Record{Task: id, Event: domain.StepExecutionRequested{Step: "charge", Attempt: 1}})
	store(t, s, 0,
		domain.Record{Task: id, Prev: b.Last + 1, Event: domain.StepFailed{Step: "charge", Attempt: 1, Error: domain.StepError{Message: "no", Kind: domain.KindPermanent}}},
		domain.Record{Task: id, Prev: b.Last + 1, Event: domain.TaskFailed{Reason: domain.FailStepsInError, Steps: []string{"charge"}}})
	store(t, s, 0,
		domain.Record{Task: id, Prev: b.Last + 2, By: domain.ByOperator + ":ann", Cause: "ticket-7", Event: domain.TaskResolvedManually{Reason: "paid by hand"}})
}

// collect replays a topic.
func collect(t *testing.T, from domain.Subscriptions, topic string, c watermill.EventsConfig) []*message.Message {
	t.Helper()
	if c.Replay == nil {
		c.Replay = &domain.ReplayOptions{}
	}
	c.Logger, c.Subscription.Lanes = quiet, 1
	e, err := watermill.NewEvents(from, c)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []*message.Message
	for msg := range out {
		all = append(all, msg)
		msg.Ack()
	}
	if err := e.Err(); err != nil {
		t.Error(err)
	}
	return all
}

func TestAMessageCarriesEverythingThatIsKnownOfItsEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		id := taskOf(1, 0, 1)
		story(t, s, id, "req-42")
		at := domain.InstantOf(time.Now()).String()
		got := collect(t, client(t, s), "step.failed,task.resolved_manually,observability.*", watermill.EventsConfig{})
		if len(got) != 3 {
			t.Fatalf("%d messages came", len(got))
		}
		of := func(typ, actor string, more map[string]string) message.Metadata {
			all := message.Metadata{
				"type": typ, "name": typ, "version": "1", "partition": "0", "time": at, "task": id.String(), "actor": actor,
				"correlation_id": "req-42",
			}
			maps.Copy(all, more)
			return all
		}
		for i, want := range []struct {
			uuid, payload string
			meta          message.Metadata
		}{
			{"00-2-0", `{"error":{"message":"no","kind":"permanent"}}`,
				of("step.failed", "handler", map[string]string{"position": "00-2-0", "step": "charge", "attempt": "1"})},
			{"00-2-0:observability.step.max_retries_reached", `{"steps":["charge"],"attempt":1,"error":{"message":"no","kind":"permanent"}}`,
				of("observability.step.max_retries_reached", "engine", map[string]string{"position": "00-2-0", "step": "charge", "attempt": "1"})},
			{"00-3-0", `{"reason":"paid by hand"}`,
				of("task.resolved_manually", "operator:ann", map[string]string{"position": "00-3-0", "causation_id": "ticket-7"})},
		} {
			if got[i].UUID != want.uuid || string(got[i].Payload) != want.payload {
				t.Errorf("message %d is %s with %s", i, got[i].UUID, got[i].Payload)
			}
			if diff := cmp.Diff(want.meta, got[i].Metadata); diff != "" {
				t.Errorf("metadata of %s (-want +got):\n%s", want.uuid, diff)
			}
		}
	})
}

func TestPayloadOfAnEventThatSaysNothingIsAnEmptyObject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		story(t, s, taskOf(1, 0, 1), "")
		if got := collect(t, client(t, s), string(domain.TaskStartRequestedType), watermill.EventsConfig{}); len(got) != 1 || string(got[0].Payload) != "{}" {
			t.Errorf("messages: %v", got)
		}
	})
}

func TestCausesAreFilledInWhereTheyAreAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		story(t, s, taskOf(1, 0, 1), "")
		got := map[string]string{}
		for _, msg := range collect(t, client(t, s), "task.*,step.*,observability.*", watermill.EventsConfig{Causes: true}) {
			got[msg.UUID] = msg.Metadata.Get(watermill.MetadataCausation)
		}
		want := map[string]string{
			"00-1-0": "", "00-1-1": "00-1-0", "00-1-2": "00-1-0", "00-2-0": "00-1-2", "00-2-1": "00-2-0", "00-3-0": "ticket-7",
			"00-2-0:observability.step.max_retries_reached": "00-2-0",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("causes (-want +got):\n%s", diff)
		}
	})
}

// countingTrails counts how often the log has to be read for what a task began with.
type countingTrails struct {
	*tasker.Client
	n   atomic.Int64
	err atomic.Pointer[error]
}

func (c *countingTrails) Trail(ctx context.Context, r domain.Record) ([]domain.Record, error) {
	c.n.Add(1)
	if err := c.err.Load(); err != nil {
		return nil, *err
	}
	return c.Client.Trail(ctx, r)
}

// noTrails hides that a client can read back.
type noTrails struct{ domain.Subscriptions }

func TestCorrelationIsThatOfTheSubmissionOrElseTheTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		with, without := taskOf(1, 0, 1), taskOf(2, 0, 1)
		story(t, s, with, "req-42")
		story(t, s, without, "")
		late := &domain.ReplayOptions{From: domain.FromPosition(s.Data().ID + ":00=4")} // behind the beginning of the second
		for name, c := range map[string]struct {
			replay *domain.ReplayOptions
			hide   bool
			want   map[string]string
			reads  int64
		}{
			"it passes by":                     {nil, false, map[string]string{"00-2-1": "req-42", "00-5-1": without.String()}, 0},
			"it was before":                    {late, false, map[string]string{"00-5-1": without.String()}, 1},
			"it was before and cannot be read": {late, true, map[string]string{"00-5-1": ""}, 0},
		} {
			from := &countingTrails{Client: client(t, s)}
			var subs domain.Subscriptions = from
			if c.hide {
				subs = noTrails{from}
			}
			got := map[string]string{}
			for _, msg := range collect(t, subs, string(domain.TaskFailedType), watermill.EventsConfig{Replay: c.replay}) {
				got[msg.UUID] = msg.Metadata.Get(watermill.MetadataCorrelation)
			}
			if diff := cmp.Diff(c.want, got); diff != "" || from.n.Load() != c.reads {
				t.Errorf("%s: %d reads, correlation (-want +got):\n%s", name, from.n.Load(), diff)
			}
		}
	})
}

func TestCorrelationOfATaskWhoseBeginningIsPrunedIsLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		story(t, s, taskOf(1, 0, 1), "req-42")
		if err := s.Log(0).Trim(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		from := &countingTrails{Client: client(t, s)}
		got := collect(t, from, "task.*", watermill.EventsConfig{Replay: &domain.ReplayOptions{From: domain.FromOldest}})
		if len(got) != 2 || from.n.Load() != 1 {
			t.Errorf("%d messages came, and the log was read %d times for it", len(got), from.n.Load())
		}
		for _, msg := range got {
			if c, there := msg.Metadata[watermill.MetadataCorrelation]; there {
				t.Errorf("the correlation of %s is %q", msg.UUID, c)
			}
		}
	})
}

func TestAMessageWaitsForItsCorrelationWhileTheLogIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := memlog.New(memlog.Options{})
		story(t, s, taskOf(1, 0, 1), "req-42")
		from := &countingTrails{Client: client(t, s)}
		away := domain.ErrUnavailable
		from.err.Store(&away)
		e, err := watermill.NewEvents(from, watermill.EventsConfig{Logger: quiet, Replay: &domain.ReplayOptions{From: domain.FromPosition(s.Data().ID + ":00=1")}})
		if err != nil {
			t.Fatal(err)
		}
		out := subscribe(t, e, string(domain.TaskFailedType))
		settle(time.Minute)
		select {
		case <-out:
			t.Fatal("a message came without its correlation")
		default:
		}
		from.err.Store(nil)
		msg := <-out
		if got := msg.Metadata.Get(watermill.MetadataCorrelation); got != "req-42" {
			t.Errorf("its correlation is %q", got)
		}
		msg.Ack()
		if _, open := <-out; open || e.Err() != nil {
			t.Errorf("the replay goes on, or failed: %v", e.Err())
		}
	})
}
