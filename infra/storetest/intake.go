package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

// RunIntake is the suite of domain.DeadLetters and domain.Intake; open is as for Run.
func RunIntake(t *testing.T, open func(t *testing.T) domain.Store) {
	run(t, open, []conformance{
		{"letters_are_listed_read_and_deleted", lettersAreListedReadAndDeleted},
		{"a_letter_that_is_put_again_is_one", aLetterThatIsPutAgainIsOne},
		{"headers_of_a_letter_mean_nothing", headersOfALetterMeanNothing},
		{"what_is_published_before_somebody_serves_waits", whatIsPublishedBeforeSomebodyServesWaits},
		{"a_message_comes_until_it_is_acknowledged", aMessageComesUntilItIsAcknowledged},
		{"two_who_serve_share", twoWhoServeShare},
		{"stop_waits_for_the_calls", stopWaitsForTheCalls},
	})
}

func lettersAreListedReadAndDeleted(t *testing.T, open opener) {
	ctx, letters := testContext(t), open(t).DeadLetters()
	if got := must(letters.List(ctx, domain.LetterFilter{}))(t); len(got) != 0 {
		t.Fatalf("a new store has %d letters", len(got))
	}
	var put []domain.DeadLetter
	for i, kind := range []string{"submission", "subscriber", "submission", "commit", "submission"} {
		l := domain.DeadLetter{
			Kind: kind, Name: fmt.Sprintf("shop.order%d", i), Reason: "why " + kind, Headers: map[string]string{"Tasker-N": fmt.Sprint(i)},
			Subject: "tasker.submit.task.shop.order", Original: map[string][]string{"A": {"1", "2"}, "X.y z": {"é"}},
			Data: bytes.Repeat([]byte{byte(i), 0, '\n'}, 1+i*1000),
		}
		if i == 3 {
			l.Subject, l.Original = "", nil
		}
		put = append(put, l)
		if err := letters.Put(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	all := must(letters.List(ctx, domain.LetterFilter{}))(t)
	if len(all) != len(put) {
		t.Fatalf("%d letters are listed, want %d", len(all), len(put))
	}
	for i, got := range all {
		want := put[i]
		if got.Data != nil || got.Size != len(want.Data) || got.Time.IsZero() || i > 0 && got.Sequence <= all[i-1].Sequence {
			t.Errorf("letter %d is listed as %d, %s, %d bytes, data %q", i, got.Sequence, got.Time, got.Size, got.Data)
		}
		full := must(letters.Get(ctx, got.Sequence))(t)
		if !bytes.Equal(full.Data, want.Data) || full.Size != len(want.Data) || full.Sequence != got.Sequence || !full.Time.Equal(got.Time) {
			t.Errorf("letter %d is read as %+v", i, full)
		}
		for _, l := range []domain.StoredLetter{got, full} {
			if l.Kind != want.Kind || l.Name != want.Name || l.Reason != want.Reason || l.Subject != want.Subject || l.Truncated != "" ||
				!maps.Equal(l.Headers, want.Headers) || !maps.EqualFunc(l.Original, want.Original, slices.Equal) {
				t.Errorf("letter %d is %+v, want %+v", i, l.DeadLetter, want)
			}
		}
	}
	if got := must(letters.List(ctx, domain.LetterFilter{Kind: "submission", After: all[0].Sequence, Limit: 1}))(t); len(got) != 1 || got[0].Sequence != all[2].Sequence {
		t.Errorf("the filter gives %+v", got)
	}
	if got := must(letters.List(ctx, domain.LetterFilter{After: all[4].Sequence}))(t); len(got) != 0 {
		t.Errorf("behind the last there are %+v", got)
	}
	if err := letters.Delete(ctx, all[1].Sequence); err != nil {
		t.Fatal(err)
	}
	wantError(t, letters.Delete(ctx, all[1].Sequence), domain.ErrNoMessage)
	wantError(t, letters.Delete(ctx, 1<<40), domain.ErrNoMessage)
	for _, gone := range []uint64{all[1].Sequence, 0, 1 << 40} {
		_, err := letters.Get(ctx, gone)
		wantError(t, err, domain.ErrNoMessage)
	}
	if n := must(letters.DeleteAll(ctx, "submission"))(t); n != 3 {
		t.Errorf("%d letters were deleted, want 3", n)
	}
	if got := must(letters.List(ctx, domain.LetterFilter{Kind: "submission"}))(t); len(got) != 0 {
		t.Errorf("%+v was not deleted", got)
	}
	if n := must(letters.DeleteAll(ctx, ""))(t); n != 1 {
		t.Errorf("%d letters were left, want 1", n)
	}
}

func aLetterThatIsPutAgainIsOne(t *testing.T, open opener) {
	ctx, letters := testContext(t), open(t).DeadLetters()
	for _, once := range []string{"a", "b", "a", "", ""} {
		if err := letters.Put(ctx, domain.DeadLetter{Kind: "k", Name: "n", Once: once}); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(letters.List(ctx, domain.LetterFilter{}))(t); len(got) != 4 {
		t.Fatalf("there are %d letters, want 4", len(got))
	}
}

// headersOfALetterMeanNothing: a stranger chose them, and NATS acts on some.
func headersOfALetterMeanNothing(t *testing.T, open opener) {
	ctx, letters := testContext(t), open(t).DeadLetters()
	hostile := map[string][]string{
		"Nats-Rollup": {"all"}, "Nats-TTL": {"1s"}, "Nats-Expected-Last-Sequence": {"99"}, "Nats-Msg-Id": {"x"}, "Nats-Expected-Stream": {"OTHER"},
		"Tasker-Reason": {"forged"}, "Tasker-Truncated": {"1"}, "Tasker-Headers": {"{"}, "Tasker-Name": {"forged"}, "Tasker-Subject": {"forged"},
	}
	for range 2 {
		if err := letters.Put(ctx, domain.DeadLetter{Kind: "submission", Name: "n", Reason: "why", Subject: "s", Original: hostile}); err != nil {
			t.Fatal(err)
		}
	}
	got := must(letters.List(ctx, domain.LetterFilter{}))(t)
	if len(got) != 2 {
		t.Fatalf("there are %d letters, want 2", len(got))
	}
	for _, l := range got {
		if l.Reason != "why" || l.Name != "n" || l.Subject != "s" || l.Truncated != "" || !maps.EqualFunc(l.Original, hostile, slices.Equal) {
			t.Errorf("it became %+v", l)
		}
	}
}

func intakeOf(t *testing.T, open opener) domain.Intake {
	in, ok := open(t).(domain.Intake)
	if !ok {
		t.Skip("it has no intake")
	}
	return in
}

// publish publishes messages with the numbers from first on.
func publish(ctx context.Context, t *testing.T, in domain.Intake, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		if err := in.PublishIntake(ctx, []string{"shop", "order"}, map[string][]string{"N": {fmt.Sprint(i)}}, fmt.Appendf(nil, "body %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// tally counts deliveries by body.
type tally struct {
	mu   sync.Mutex
	seen map[string][]domain.IntakeMessage
}

func (c *tally) add(m domain.IntakeMessage) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string][]domain.IntakeMessage{}
	}
	c.seen[string(m.Data)] = append(c.seen[string(m.Data)], m)
	return len(c.seen[string(m.Data)])
}

func (c *tally) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

func whatIsPublishedBeforeSomebodyServesWaits(t *testing.T, open opener) {
	ctx, in := testContext(t), intakeOf(t, open)
	const n = 100
	publish(ctx, t, in, 0, n)
	var seen tally
	stop := in.ServeIntake(func(_ context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		seen.add(m)
		return domain.IntakeVerdict{}
	})
	await(ctx, t, "all messages", func() bool { return seen.len() == n })
	publish(ctx, t, in, 0, 1) // the same body again, while it is served
	await(ctx, t, "one more", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return len(seen.seen["body 0"]) == 2
	})
	stop(ctx)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	sequences := map[uint64]bool{}
	for body, ms := range seen.seen {
		for _, m := range ms {
			sequences[m.Sequence] = true
			if m.Deliveries != 1 || m.Stored.IsZero() || !slices.Equal(m.Target, []string{"shop", "order"}) || "body "+m.Header["N"][0] != body {
				t.Errorf("%q came as %+v", body, m)
			}
		}
	}
	if len(sequences) != n+1 {
		t.Errorf("%d messages have %d sequences", n+1, len(sequences))
	}
}

func aMessageComesUntilItIsAcknowledged(t *testing.T, open opener) {
	ctx, in := testContext(t), intakeOf(t, open)
	publish(ctx, t, in, 0, 3)
	var seen tally
	done := make(chan domain.IntakeMessage, 10)
	stop := in.ServeIntake(func(_ context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		if seen.add(m) < 3 {
			return domain.IntakeVerdict{Again: 10 * time.Millisecond, Busy: m.Header["N"][0] == "1"}
		}
		done <- m
		return domain.IntakeVerdict{}
	})
	defer stop(ctx)
	for range 3 {
		select {
		case m := <-done:
			if m.Deliveries != 3 {
				t.Errorf("%q was delivered %d times, and says %d", m.Data, 3, m.Deliveries)
			}
		case <-ctx.Done():
			t.Fatal("a message did not come again")
		}
	}
}

func twoWhoServeShare(t *testing.T, open opener) {
	ctx, in := testContext(t), intakeOf(t, open)
	const n = 500
	var all tally
	var counts [2]tally
	for i := range counts {
		stop := in.ServeIntake(func(_ context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
			all.add(m)
			counts[i].add(m)
			return domain.IntakeVerdict{}
		})
		defer stop(ctx)
	}
	// Both have to be there before either has taken everything.
	published := 0
	await(ctx, t, "both to take something", func() bool {
		publish(ctx, t, in, published, 20)
		published += 20
		return counts[0].len() > 0 && counts[1].len() > 0
	})
	publish(ctx, t, in, published, n)
	await(ctx, t, "all messages", func() bool { return all.len() == published+n })
	if twice := counts[0].len() + counts[1].len() - all.len(); twice != 0 {
		t.Errorf("%d messages went to both", twice)
	}
}

func stopWaitsForTheCalls(t *testing.T, open opener) {
	ctx, in := testContext(t), intakeOf(t, open)
	publish(ctx, t, in, 0, 1)
	begun, goOn := make(chan struct{}), make(chan struct{})
	verdict := make(chan error, 1)
	stop := in.ServeIntake(func(ctx context.Context, _ domain.IntakeMessage) domain.IntakeVerdict {
		close(begun)
		select {
		case <-goOn:
			verdict <- nil
			return domain.IntakeVerdict{}
		case <-ctx.Done():
			verdict <- ctx.Err()
			return domain.IntakeVerdict{Again: time.Millisecond}
		}
	})
	<-begun
	stopped := make(chan struct{})
	go func() {
		stop(ctx)
		close(stopped)
	}()
	select {
	case <-stopped:
		t.Fatal("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	<-stopped
	if err := <-verdict; err != nil {
		t.Fatal(err)
	}
	// Acknowledged, it does not come again; the next one is cut off.
	publish(ctx, t, in, 0, 1)
	came := make(chan domain.IntakeMessage, 1)
	stop = in.ServeIntake(func(ctx context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		came <- m
		<-ctx.Done()
		return domain.IntakeVerdict{Again: time.Millisecond}
	})
	if m := <-came; m.Sequence != 2 {
		t.Fatalf("message %d came, want 2", m.Sequence)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	stop(short)
	again := make(chan domain.IntakeMessage, 1)
	stop = in.ServeIntake(func(_ context.Context, m domain.IntakeMessage) domain.IntakeVerdict {
		again <- m
		return domain.IntakeVerdict{}
	})
	defer stop(ctx)
	select {
	case m := <-again:
		if m.Sequence != 2 || m.Deliveries != 2 {
			t.Errorf("%+v came, want the second delivery of message 2", m)
		}
	case <-ctx.Done():
		t.Fatal("what was cut off did not come again")
	}
}

// RunIntakeFull: open returns a store whose intake takes about limit messages of a few bytes.
func RunIntakeFull(t *testing.T, open func(t *testing.T) domain.Store, most int) {
	ctx, in := testContext(t), intakeOf(t, open)
	var err error
	n := 0
	for ; n < most && err == nil; n++ {
		err = in.PublishIntake(ctx, []string{"shop", "order"}, nil, make([]byte, 64<<10))
	}
	wantError(t, err, domain.ErrIntakeFull)
	done := make(chan struct{}, most)
	stop := in.ServeIntake(func(context.Context, domain.IntakeMessage) domain.IntakeVerdict {
		done <- struct{}{}
		return domain.IntakeVerdict{}
	})
	defer stop(ctx)
	for range n - 1 {
		<-done
	}
	await(ctx, t, "room", func() bool {
		err := in.PublishIntake(ctx, []string{"shop", "order"}, nil, nil)
		return err == nil || !errors.Is(err, domain.ErrIntakeFull)
	})
}
