// Package storetest is the conformance suite of domain.Store: what the engine relies on, whichever store it runs on.
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

const (
	patience = 60 * time.Second      // for anything; a cluster on a loaded machine takes a while
	poll     = 20 * time.Millisecond // between two looks at what announces itself to nobody
	leaseTTL = time.Second           // the shortest that NATS knows
)

// opener returns an empty store with at least one partition for each call, and closes it when the test ends.
type opener = func(t *testing.T) domain.Store

type conformance struct {
	name string
	test func(t *testing.T, open opener)
}

func run(t *testing.T, open opener, tests []conformance) {
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of them wait: for leases to run out, for servers to agree
			c.test(t, open)
		})
	}
}

// Run runs the suite, or the named parts of it. open returns an empty store with at least one partition for each call; it
// closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) domain.Store, only ...string) {
	all := []conformance{
		{"log", runLog},
		{"lease", runLeases},
		{"snapshot", runSnapshots},
		{"table", runTables},
		{"command", runCommands},
		{"blobs_are_found_under_the_digest_of_their_content", blobs},
		{"dead_letters_are_accepted_whatever_is_in_them", deadLetters},
		{"clock_and_usage_answer", clockAndUsage},
	}
	if len(only) > 0 {
		all = slices.DeleteFunc(all, func(c conformance) bool { return !slices.Contains(only, c.name) })
		if len(all) != len(only) {
			t.Fatalf("of the parts %q the suite has %d", only, len(all))
		}
	}
	run(t, open, all)
}

func blobs(t *testing.T, open opener) {
	ctx, blobs := testContext(t), open(t).Blobs()
	for _, size := range []int{0, 1, 128 << 10, 128<<10 + 1, 3 << 20} {
		content := bytes.Repeat([]byte{'x', byte(size)}, size/2+1)[:size]
		digest := must(blobs.Put(ctx, content))(t)
		if again := must(blobs.Put(ctx, content))(t); again != digest {
			t.Fatalf("the same content got the digests %s and %s", digest, again)
		}
		if got := must(blobs.Get(ctx, digest))(t); !bytes.Equal(got, content) {
			t.Fatalf("%d bytes stored, %d other ones read", size, len(got))
		}
	}
	_, err := blobs.Get(ctx, "sha256-0000000000000000000000000000000000000000000000000000000000000000")
	wantError(t, err, domain.ErrNoKey)
}

func deadLetters(t *testing.T, open opener) {
	ctx, letters := testContext(t), open(t).DeadLetters()
	for _, letter := range []domain.DeadLetter{
		{Kind: "subscriber", Name: "index", Reason: "failed", Headers: map[string]string{"Position": "00-1-0"}, Data: []byte("x")},
		{Kind: "", Name: "a.b c>*/é", Reason: "two\r\nlines", Headers: map[string]string{"bad key:\r\n": "bad\r\nvalue"}},
		{Kind: "commit", Name: "00", Data: make([]byte, 2<<20)},
	} {
		if err := letters.Put(ctx, letter); err != nil {
			t.Errorf("%.40q: %v", letter.Name, err)
		}
	}
}

func clockAndUsage(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t)
	if d := time.Since(must(s.Clock(ctx))(t)).Abs(); d > time.Minute {
		t.Errorf("its clock is %s off", d)
	}
	if u := must(s.Usage(ctx))(t); u < 0 || u > 1 {
		t.Errorf("it is full to %f", u)
	}
	if d := s.Data(); d.ID == "" || d.Generation < 1 || d.Partitions < 1 || d.Durability == "" {
		t.Errorf("it describes itself as %+v", d)
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must is for calls that have to succeed: must(f())(t).
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, want %v", err, want)
	}
}

// await polls until done says true.
func await(ctx context.Context, t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for %s: %v", what, ctx.Err())
		}
	}
}

type answer struct {
	sequence uint64
	err      error
}

// Append appends and waits for the answer.
func Append(ctx context.Context, log domain.Log, last uint64, commitID string, data []byte) (uint64, error) {
	answers := make(chan answer, 2)
	log.Append(last, commitID, data, func(sequence uint64, err error) { answers <- answer{sequence, err} })
	select {
	case a := <-answers:
		return a.sequence, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// fill appends n messages to an empty log.
func fill(ctx context.Context, t *testing.T, log domain.Log, n int) {
	t.Helper()
	for i := range uint64(n) {
		if got := must(Append(ctx, log, i, fmt.Sprintf("c%d", i+1), fmt.Appendf(nil, "data %d", i+1)))(t); got != i+1 {
			t.Fatalf("message %d got sequence %d", i+1, got)
		}
	}
}
