package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tasker-go/tasker/domain"
)

func runLog(t *testing.T, open opener) {
	run(t, open, []conformance{
		{"an_append_behind_the_expected_sequence_is_stored", logAnAppendBehindTheExpectedSequenceIsStored},
		{"an_append_behind_another_sequence_is_refused_and_not_stored", logAnAppendBehindAnotherSequenceIsRefusedAndNotStored},
		{"one_of_two_writers_wins_each_sequence", logOneOfTwoWritersWinsEachSequence},
		{"appends_are_stored_in_the_order_of_calls", logAppendsAreStoredInTheOrderOfCalls},
		{"what_is_not_stored_is_no_message", logWhatIsNotStoredIsNoMessage},
		{"partitions_do_not_see_each_other", logPartitionsDoNotSeeEachOther},
		{"bounds_of_an_empty_log", logBoundsOfAnEmptyLog},
		{"scan_ends_at_the_last_one", logScanEndsAtTheLastOne},
		{"scan_reads_what_was_stored", logScanReadsWhatWasStored},
		{"scan_ends_with_the_error_of_each", logScanEndsWithTheErrorOfEach},
		{"follow_goes_on_with_what_is_appended", follow},
		{"follow_of_an_empty_log_waits", logFollowOfAnEmptyLogWaits},
		{"follow_ends_with_its_context", logFollowEndsWithItsContext},
		{"trim_removes_what_is_before", trim},
		{"the_sequence_at_a_time", sequenceAt},
	})
}

func logAnAppendBehindTheExpectedSequenceIsStored(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	data := []byte("first")
	before := time.Now()
	if got := must(Append(ctx, log, 0, "c1", data))(t); got != 1 {
		t.Fatalf("the first message got sequence %d", got)
	}
	copy(data, "xxxxx")
	m := must(log.Read(ctx, 1))(t)
	if m.Sequence != 1 || m.CommitID != "c1" || string(m.Data) != "first" || m.Time.Sub(before).Abs() > time.Minute {
		t.Fatalf("read %+v %q", m, m.Data)
	}
}

func logAnAppendBehindAnotherSequenceIsRefusedAndNotStored(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	fill(ctx, t, log, 2)
	for _, last := range []uint64{0, 1, 3, 1 << 40} {
		if got, err := Append(ctx, log, last, "wrong", []byte("x")); err == nil {
			t.Fatalf("an append behind %d was stored as %d", last, got)
		} else if errors.Is(err, domain.ErrNotStored) {
			t.Fatalf("a wrong sequence is no proof (DESIGN 5), but the error is %v", err)
		}
	}
	if b := must(log.Bounds(ctx))(t); b.Last != 2 {
		t.Fatalf("the last sequence is %d", b.Last)
	}
	if got := must(Append(ctx, log, 2, "c3", nil))(t); got != 3 {
		t.Fatalf("the next message got sequence %d", got)
	}
}

func logOneOfTwoWritersWinsEachSequence(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	const rounds = 50
	for i := range uint64(rounds) {
		answers := make(chan answer, 2)
		for w := range 2 {
			go func() {
				log.Append(i, fmt.Sprintf("w%d", w), nil, func(sequence uint64, err error) { answers <- answer{sequence, err} })
			}()
		}
		won := 0
		for range 2 {
			if a := <-answers; a.err == nil {
				won++
			}
		}
		if won != 1 {
			t.Fatalf("sequence %d was given to %d writers", i+1, won)
		}
	}
	if b := must(log.Bounds(ctx))(t); b.Last != rounds {
		t.Fatalf("the last sequence is %d", b.Last)
	}
}

func logAppendsAreStoredInTheOrderOfCalls(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	const n = 20
	answers := make(chan answer, n)
	for i := range uint64(n) {
		log.Append(i, fmt.Sprintf("c%d", i+1), nil, func(sequence uint64, err error) { answers <- answer{sequence, err} })
	}
	for range n {
		a := <-answers
		if a.err != nil {
			t.Skipf("the store has one append at a time: %v", a.err)
		}
	}
	for i := range uint64(n) {
		if m := must(log.Read(ctx, i+1))(t); m.CommitID != fmt.Sprintf("c%d", i+1) {
			t.Fatalf("sequence %d is %s", i+1, m.CommitID)
		}
	}
}

func logWhatIsNotStoredIsNoMessage(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	fill(ctx, t, log, 1)
	for _, sequence := range []uint64{0, 2, 1 << 40} {
		_, err := log.Read(ctx, sequence)
		wantError(t, err, domain.ErrNoMessage)
	}
}

func logPartitionsDoNotSeeEachOther(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t)
	if s.Data().Partitions < 2 {
		t.Skip("one partition")
	}
	fill(ctx, t, s.Log(0), 1)
	if b := must(s.Log(1).Bounds(ctx))(t); b.Last != 0 || b.First != 1 {
		t.Fatalf("an empty log has the bounds %+v", b)
	}
}

func logBoundsOfAnEmptyLog(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	if b := must(log.Bounds(ctx))(t); b.First != 1 || b.Last != 0 {
		t.Fatalf("%+v", b)
	}
	wantScan(ctx, t, log, 0, nil)
	wantScan(ctx, t, log, 1, nil)
}

func logScanEndsAtTheLastOne(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	fill(ctx, t, log, 5)
	wantScan(ctx, t, log, 0, []uint64{1, 2, 3, 4, 5})
	wantScan(ctx, t, log, 1, []uint64{1, 2, 3, 4, 5})
	wantScan(ctx, t, log, 3, []uint64{3, 4, 5})
	wantScan(ctx, t, log, 5, []uint64{5})
	wantScan(ctx, t, log, 6, nil)
	wantScan(ctx, t, log, 100, nil)
}

func logScanReadsWhatWasStored(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	const n = 40
	for i := range uint64(n) {
		must(Append(ctx, log, i, fmt.Sprintf("c%d", i+1), bytes.Repeat([]byte{byte(i)}, 500_000)))(t)
	}
	next := uint64(1)
	if err := log.Scan(ctx, 1, func(m domain.Message) error {
		if m.Sequence != next || m.CommitID != fmt.Sprintf("c%d", next) || len(m.Data) != 500_000 || m.Data[499_999] != byte(next-1) || m.Time.IsZero() {
			return fmt.Errorf("message %d is %d %s, %d bytes", next, m.Sequence, m.CommitID, len(m.Data))
		}
		next++
		return nil
	}); err != nil || next != n+1 {
		t.Fatalf("read up to %d: %v", next-1, err)
	}
}

func logScanEndsWithTheErrorOfEach(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	fill(ctx, t, log, 3)
	for _, failure := range []error{errors.New("enough"), fmt.Errorf("mine: %w", domain.ErrUnavailable), domain.ErrNoMessage} {
		seen := 0
		err := log.Scan(ctx, 1, func(domain.Message) error { seen++; return failure })
		if !errors.Is(err, failure) || seen != 1 {
			t.Fatalf("%d seen, the error is %v", seen, err)
		}
	}
}

func logFollowOfAnEmptyLogWaits(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	enough := errors.New("enough")
	result := make(chan error, 1)
	go func() { result <- log.Follow(ctx, 1, func(domain.Message) error { return enough }) }()
	fill(ctx, t, log, 1)
	if err := <-result; !errors.Is(err, enough) {
		t.Fatal(err)
	}
}

func logFollowEndsWithItsContext(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	fill(ctx, t, log, 1)
	ctx, cancel := context.WithCancel(ctx)
	begin := time.Now()
	err := log.Follow(ctx, 1, func(domain.Message) error { cancel(); return nil })
	wantError(t, err, context.Canceled)
	if d := time.Since(begin); d > patience/2 {
		t.Fatalf("it took %s", d)
	}
}

func wantScan(ctx context.Context, t *testing.T, log domain.Log, from uint64, want []uint64) {
	t.Helper()
	var got []uint64
	if err := log.Scan(ctx, from, func(m domain.Message) error { got = append(got, m.Sequence); return nil }); err != nil {
		t.Fatalf("scanning from %d: %v", from, err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("scanning from %d gave %v, want %v", from, got, want)
	}
}

func follow(t *testing.T, open opener) {
	ctx, log, n := testContext(t), open(t).Log(0), uint64(200)
	fill(ctx, t, log, 10)
	enough := errors.New("enough")
	result := make(chan error, 2)
	for from := uint64(3); from <= 15; from += 12 {
		go func() {
			next := from
			err := log.Follow(ctx, from, func(m domain.Message) error {
				if m.Sequence != next || m.CommitID != fmt.Sprintf("c%d", next) {
					return fmt.Errorf("message %d is %d %s", next, m.Sequence, m.CommitID)
				}
				if next++; next > n {
					return enough
				}
				return nil
			})
			result <- err
		}()
	}
	for i := uint64(10); i < n; i++ {
		must(Append(ctx, log, i, fmt.Sprintf("c%d", i+1), []byte("x")))(t)
	}
	for range 2 {
		if err := <-result; !errors.Is(err, enough) {
			t.Fatal(err)
		}
	}
}

func trim(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	fill(ctx, t, log, 6)
	for _, before := range []uint64{0, 1} {
		if err := log.Trim(ctx, before); err != nil {
			t.Fatal(err)
		}
	}
	wantScan(ctx, t, log, 1, []uint64{1, 2, 3, 4, 5, 6})
	for range 2 {
		if err := log.Trim(ctx, 4); err != nil {
			t.Fatal(err)
		}
		if b := must(log.Bounds(ctx))(t); b.First != 4 || b.Last != 6 {
			t.Fatalf("the bounds are %+v", b)
		}
	}
	if err := log.Trim(ctx, 2); err != nil {
		t.Fatal(err)
	}
	_, err := log.Read(ctx, 3)
	wantError(t, err, domain.ErrNoMessage)
	wantScan(ctx, t, log, 1, []uint64{4, 5, 6})
	enough := errors.New("enough")
	first := uint64(0)
	if err := log.Follow(ctx, 1, func(m domain.Message) error { first = m.Sequence; return enough }); !errors.Is(err, enough) || first != 4 {
		t.Fatalf("following from 1 begins at %d: %v", first, err)
	}
	if err := log.Trim(ctx, 9); err == nil {
		t.Fatal("more was trimmed than there is")
	}
	if err := log.Trim(ctx, 7); err != nil {
		t.Fatal(err)
	}
	if b := must(log.Bounds(ctx))(t); b.First != 7 || b.Last != 6 {
		t.Fatalf("the bounds of a log trimmed to nothing are %+v", b)
	}
	wantScan(ctx, t, log, 1, nil)
	if got := must(Append(ctx, log, 6, "c7", nil))(t); got != 7 {
		t.Fatalf("the next message got sequence %d", got)
	}
}

func sequenceAt(t *testing.T, open opener) {
	ctx, log := testContext(t), open(t).Log(0)
	if got := must(log.SequenceAt(ctx, time.Now()))(t); got != 1 {
		t.Fatalf("in an empty log it is %d", got)
	}
	const n = 10
	times := make([]time.Time, n+1)
	for i := range uint64(n) {
		must(Append(ctx, log, i, "c", nil))(t)
		times[i+1] = must(log.Read(ctx, i+1))(t).Time
	}
	if err := log.Trim(ctx, 3); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]uint64{
		times[1].Add(-time.Hour): 3, times[3]: 3, times[5]: 5, times[5].Add(1): 6, times[n]: n, times[n].Add(1): n + 1, times[n].Add(time.Hour): n + 1,
	} {
		got := must(log.SequenceAt(ctx, at))(t)
		// Clocks may stand still between two appends: then the first of the same time is right.
		for want > 3 && want <= n && !times[want-1].Before(at) {
			want--
		}
		if got != want {
			t.Errorf("at %s it is %d, want %d", at, got, want)
		}
	}
}
