package jetstream

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

func TestASubscriptionBeginsWhereItIsTold(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3")
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	second, err := stream.GetMsg(t.Context(), 2)
	must(t, err)
	for name, c := range map[string]struct {
		start Start
		want  []string
	}{
		"nothing said":   {Start{}, []string{"orders.1", "orders.2", "orders.3"}},
		"first":          {FromFirst(), []string{"orders.1", "orders.2", "orders.3"}},
		"sequence":       {FromSequence(3), []string{"orders.3"}},
		"after the last": {FromSequence(4), nil},
		"time":           {FromTime(second.Time), []string{"orders.2", "orders.3"}},
		"the future":     {FromTime(time.Now().Add(time.Hour)), nil},
		"new":            {FromNew(), nil},
	} {
		got := rest(t, subscribe(t, subscriber(t, nc, SubscriberConfig{Start: c.start, UntilCaughtUp: true}), "orders.>"))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	live := subscribe(t, subscriber(t, nc, SubscriberConfig{Start: FromNew()}), "orders.>")
	store(t, nc, "orders.4")
	if got := payloads(t, live, 1); got[0] != "orders.4" {
		t.Errorf("new: got %v", got)
	}
}

func TestABeginningThatWasRemovedIsAnError(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3")
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	must(t, stream.DeleteMsg(t.Context(), 1))
	_, err = subscriber(t, nc, SubscriberConfig{Start: FromSequence(1)}).Subscribe(t.Context(), "orders.>")
	var trimmed *TrimmedError
	if !errors.As(err, &trimmed) || trimmed.First != 2 || trimmed.Wanted != 1 || trimmed.Stream != "ORDERS" {
		t.Errorf("%v, want that the stream begins at 2", err)
	}
	if got := rest(t, subscribe(t, subscriber(t, nc, SubscriberConfig{Start: FromSequence(2), UntilCaughtUp: true}), "orders.>")); len(got) != 2 {
		t.Errorf("got %v, want the two that are there", got)
	}
}

func TestAFiniteSubscriptionLeavesWhatComesLater(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1", "orders.2")
	finite := SubscriberConfig{Group: "nightly", UntilCaughtUp: true}
	ch := subscribe(t, subscriber(t, nc, finite), "orders.>")
	first := receive(t, ch)
	store(t, nc, "orders.3", "orders.4")
	first.Ack()
	if got := rest(t, ch); !slices.Equal(got, []string{"orders.2"}) {
		t.Errorf("got %v, want orders.2", got)
	}
	c, err := j.Consumer(t.Context(), "ORDERS", DurableName("nightly", "orders.>"))
	must(t, err)
	if floor := c.CachedInfo().AckFloor.Stream; floor != 2 {
		t.Errorf("acknowledged up to %d when the channel closed, want 2", floor)
	}
	// The next night takes the rest.
	if got := rest(t, subscribe(t, subscriber(t, nc, finite), "orders.>")); len(got) != 2 || !slices.Contains(got, "orders.3") || !slices.Contains(got, "orders.4") {
		t.Errorf("the next: got %v, want 3 and 4", got)
	}
	if got := rest(t, subscribe(t, subscriber(t, nc, finite), "orders.>")); got != nil {
		t.Errorf("one more: got %v, want nothing", got)
	}
}

func TestAFiniteSubscriptionWaitsForWhatFailed(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3")
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{UntilCaughtUp: true, NackBackoff: func(uint64) time.Duration { return 20 * time.Millisecond }}), "orders.>")
	receive(t, ch).Nack()
	got := rest(t, ch)
	slices.Sort(got)
	if !slices.Equal(got, []string{"orders.1", "orders.2", "orders.3"}) {
		t.Errorf("got %v, want all three", got)
	}
}

func TestAFiniteSubscriptionDoesNotWaitForWhatIsDeleted(t *testing.T) {
	nc, j := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3")
	stream, err := j.Stream(t.Context(), "ORDERS")
	must(t, err)
	ch := subscribe(t, subscriber(t, nc, SubscriberConfig{UntilCaughtUp: true, MaxAckPending: 1}), "orders.>")
	first := receive(t, ch)
	// The others have not been delivered: they are the end that was aimed at.
	must(t, stream.DeleteMsg(t.Context(), 2))
	must(t, stream.DeleteMsg(t.Context(), 3))
	first.Ack()
	if got := rest(t, ch); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestARouterReturnsWhenAReplayIsDone(t *testing.T) {
	nc, _ := connect(t)
	store(t, nc, "orders.1", "orders.2", "orders.3")
	for topic, want := range map[string]int{"orders.>": 3, "orders.none": 0} {
		router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		must(t, err)
		handled := 0
		router.AddConsumerHandler("audit", topic, subscriber(t, nc, SubscriberConfig{UntilCaughtUp: true}), func(*message.Message) error {
			handled++
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		must(t, router.Run(ctx))
		if ctx.Err() != nil {
			t.Fatalf("%s: Run did not return by itself", topic)
		}
		if handled != want {
			t.Errorf("%s: handled %d, want %d", topic, handled, want)
		}
	}
}
