package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tasker-go/tasker/domain"
)

func runSnapshots(t *testing.T, open opener) {
	run(t, open, []conformance{
		{"is_read_as_it_was_stored", snapshotIsReadAsItWasStored},
		{"newest_first_and_only_of_the_partition", snapshotNewestFirstAndOnlyOfThePartition},
		{"is_never_overwritten", snapshotIsNeverOverwritten},
		{"a_torn_one_is_not_listed", snapshotATornOneIsNotListed},
		{"of_another_digest_is_an_error", snapshotOfAnotherDigestIsAnError},
	})
}

func snapshotIsReadAsItWasStored(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t).Snapshots()
	for i, size := range []int{0, 1, 128 << 10, 5<<20 + 7} {
		content := bytes.Repeat([]byte("tasker"), size/6+1)[:size]
		info := putSnapshot(ctx, t, s, 0, uint64(i+1), content)
		if got := must(s.Get(ctx, info))(t); !bytes.Equal(got, content) {
			t.Fatalf("%d bytes stored, %d other ones read", size, len(got))
		}
	}
}

func snapshotNewestFirstAndOnlyOfThePartition(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t).Snapshots()
	if infos := must(s.List(ctx, 0))(t); len(infos) != 0 {
		t.Fatalf("there are %v", infos)
	}
	// As text, 9 is more than 10; and 1 begins 10.
	var infos []domain.SnapshotInfo
	for _, sequence := range []uint64{9, 10, 2, 100} {
		infos = append(infos, putSnapshot(ctx, t, s, 1, sequence, []byte("x")))
	}
	putSnapshot(ctx, t, s, 10, 5, []byte("y"))
	putSnapshot(ctx, t, s, 0, 5, []byte("y"))
	if got, want := must(s.List(ctx, 1))(t), []domain.SnapshotInfo{infos[3], infos[1], infos[0], infos[2]}; !slices.Equal(got, want) {
		t.Fatalf("the list is %v, want %v", got, want)
	}
	if err := s.Delete(ctx, infos[1]); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, infos[1]); err != nil {
		t.Fatalf("deleting it again: %v", err)
	}
	if got, want := must(s.List(ctx, 1))(t), []domain.SnapshotInfo{infos[3], infos[0], infos[2]}; !slices.Equal(got, want) {
		t.Fatalf("the list is %v, want %v", got, want)
	}
	if _, err := s.Get(ctx, infos[1]); err == nil {
		t.Fatal("a deleted snapshot was read")
	}
	must(s.Get(ctx, infos[0]))(t)
	putSnapshot(ctx, t, s, 1, 10, []byte("again"))
}

func snapshotIsNeverOverwritten(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t).Snapshots()
	info := putSnapshot(ctx, t, s, 0, 7, []byte("first"))
	if again := putSnapshot(ctx, t, s, 0, 7, []byte("first")); again != info {
		t.Fatalf("the same one is described as %+v and %+v", info, again)
	}
	_, err := s.Put(ctx, domain.SnapshotInfo{Sequence: 7, CommitID: "c"}, strings.NewReader("other"))
	wantError(t, err, domain.ErrConflict)
	_, err = s.Put(ctx, domain.SnapshotInfo{Sequence: 7, CommitID: "other"}, strings.NewReader("first"))
	wantError(t, err, domain.ErrConflict)
	if got := must(s.Get(ctx, info))(t); string(got) != "first" {
		t.Fatalf("it was overwritten with %q", got)
	}
}

func snapshotATornOneIsNotListed(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t).Snapshots()
	torn := errors.New("torn")
	content := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), failingReader{torn})
	_, err := s.Put(ctx, domain.SnapshotInfo{Sequence: 3}, content)
	wantError(t, err, torn)
	if infos := must(s.List(ctx, 0))(t); len(infos) != 0 {
		t.Fatalf("there are %v", infos)
	}
	putSnapshot(ctx, t, s, 0, 3, []byte("whole"))
}

func snapshotOfAnotherDigestIsAnError(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t).Snapshots()
	info := putSnapshot(ctx, t, s, 0, 3, []byte("content"))
	info.Digest = "sha256-" + strings.Repeat("0", 64)
	if _, err := s.Get(ctx, info); err == nil {
		t.Fatal("it was read")
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func runTables(t *testing.T, open opener) {
	run(t, open, []conformance{
		{"a_key_is_written_only_over_the_revision_read", tableAKeyIsWrittenOnlyOverTheRevisionRead},
		{"a_deleted_key_is_new_again", tableADeletedKeyIsNewAgain},
		{"keys_may_hold_anything", tableKeysMayHoldAnything},
		{"tokens_have_a_table_of_their_own", tableTokensHaveATableOfTheirOwn},
	})
}

func tableAKeyIsWrittenOnlyOverTheRevisionRead(t *testing.T, open opener) {
	ctx, kv := testContext(t), open(t).Cursors()
	_, _, err := kv.Get(ctx, "a")
	wantError(t, err, domain.ErrNoKey)
	first := must(kv.Put(ctx, "a", []byte("1"), 0))(t)
	_, err = kv.Put(ctx, "a", []byte("x"), 0)
	wantError(t, err, domain.ErrConflict)
	second := must(kv.Put(ctx, "a", []byte("2"), first))(t)
	for _, wrong := range []uint64{first, second + 1} {
		_, err = kv.Put(ctx, "a", []byte("x"), wrong)
		wantError(t, err, domain.ErrConflict)
	}
	value, revision, err := kv.Get(ctx, "a")
	if string(value) != "2" || revision != second || err != nil {
		t.Fatalf("read %q %d %v", value, revision, err)
	}
	_, err = kv.Put(ctx, "b", nil, second)
	wantError(t, err, domain.ErrConflict)
}

func tableADeletedKeyIsNewAgain(t *testing.T, open opener) {
	ctx, kv := testContext(t), open(t).Cursors()
	for range 2 {
		revision := must(kv.Put(ctx, "a", []byte("1"), 0))(t)
		for range 2 {
			if err := kv.Delete(ctx, "a"); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := kv.Get(ctx, "a")
		wantError(t, err, domain.ErrNoKey)
		_, err = kv.Put(ctx, "a", []byte("2"), revision)
		wantError(t, err, domain.ErrConflict)
		if keys := must(kv.Keys(ctx))(t); len(keys) != 0 {
			t.Fatalf("there are %v", keys)
		}
	}
}

func tableKeysMayHoldAnything(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t)
	want := []string{".", "..", "a", "a b", "default.order.1.0.0+build=7", "ends.", "payments/eu", "x>*", "é"}
	for _, key := range want {
		must(s.Definitions().Put(ctx, key, []byte("v "+key), 0))(t)
	}
	if got := must(s.Definitions().Keys(ctx))(t); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Fatalf("the keys are %q, want %q", got, want)
	}
	for _, key := range want {
		if value, _, err := s.Definitions().Get(ctx, key); err != nil || string(value) != "v "+key {
			t.Errorf("key %q: %q %v", key, value, err)
		}
	}
	if keys := must(s.Cursors().Keys(ctx))(t); len(keys) != 0 {
		t.Fatalf("another table has %v", keys)
	}
	if _, err := s.Cursors().Put(ctx, "", nil, 0); err == nil {
		t.Fatal("the empty key was accepted")
	}
}

func tableTokensHaveATableOfTheirOwn(t *testing.T, open opener) {
	ctx, s := testContext(t), open(t)
	revision := must(s.Tokens().Put(ctx, "ci", []byte("1"), 0))(t)
	must(s.Tokens().Put(ctx, "ci", []byte("2"), revision))(t)
	if value, _, err := s.Tokens().Get(ctx, "ci"); string(value) != "2" || err != nil {
		t.Fatalf("read %q %v", value, err)
	}
	for _, other := range []domain.KV{s.Cursors(), s.Definitions()} {
		if keys := must(other.Keys(ctx))(t); len(keys) != 0 {
			t.Fatalf("another table has %v", keys)
		}
	}
}

func runCommands(t *testing.T, open opener) {
	run(t, open, []conformance{
		{"the_owner_answers", commandTheOwnerAnswers},
		{"without_an_answer_it_ends_with_the_context", commandWithoutAnAnswerItEndsWithTheContext},
	})
}

func commandTheOwnerAnswers(t *testing.T, open opener) {
	ctx, c := testContext(t), commands(t, open)
	stop := must(c.ServeCommands(0, func(_ context.Context, request []byte, reply func([]byte)) {
		go reply(append([]byte("re: "), request...))
	}))(t)
	for _, request := range []string{"a", "b"} {
		if got := must(c.Request(ctx, 0, []byte(request)))(t); string(got) != "re: "+request {
			t.Fatalf("the answer to %q is %q", request, got)
		}
	}
	_, err := c.Request(ctx, 1, nil)
	wantError(t, err, domain.ErrNoOwner)
	stop()
	await(ctx, t, "nobody to answer", func() bool {
		_, err := c.Request(ctx, 0, nil)
		return errors.Is(err, domain.ErrNoOwner)
	})
	stop()
}

func commandWithoutAnAnswerItEndsWithTheContext(t *testing.T, open opener) {
	ctx, c := testContext(t), commands(t, open)
	asked := make(chan struct{})
	stop := must(c.ServeCommands(0, func(context.Context, []byte, func([]byte)) { close(asked) }))(t)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		<-asked
		cancel()
	}()
	_, err := c.Request(ctx, 0, nil)
	wantError(t, err, context.Canceled)
}

func putSnapshot(ctx context.Context, t *testing.T, s domain.Snapshots, partition int, sequence uint64, content []byte) domain.SnapshotInfo {
	t.Helper()
	want := domain.SnapshotInfo{Partition: partition, Sequence: sequence, CommitID: "c", Format: 3}
	got := must(s.Put(ctx, want, bytes.NewReader(content)))(t)
	if got.Size != int64(len(content)) || !strings.HasPrefix(got.Digest, "sha256-") || len(got.Digest) != 71 {
		t.Fatalf("stored %d bytes, described as %+v", len(content), got)
	}
	want.Size, want.Digest = got.Size, got.Digest
	if got != want {
		t.Fatalf("stored %+v, described as %+v", want, got)
	}
	return got
}

func commands(t *testing.T, open opener) domain.Commands {
	c, ok := open(t).(domain.Commands)
	if !ok {
		t.Skip("it carries no commands")
	}
	return c
}
