package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tasker-go/tasker"
	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/natslog"
	"github.com/tasker-go/tasker/infra/natsserver"
	"github.com/tasker-go/tasker/projections"
	"github.com/tasker-go/tasker/subscribers"
)

// C1 on the real log: a random history, with operators at work and the engine restarted in the middle. The state that is
// folded from it is the same at once, in any chunks, and as snapshot and tail; and it is what the engine shows.
func TestC01ReplayEqualsLiveState(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(uint64(*seed), 1)) //nolint:gosec // a seed
	t.Logf("seed %d", *seed)
	srv := single(t)
	config := tasker.Config{Connect: srv.Connect, SnapshotBytes: 256 << 10}
	var ids []tasker.TaskID
	rounds := 2
	if *long {
		rounds = 10
	}
	for range rounds {
		e := run(t, config, randomWorkflows()...)
		ids = append(ids, randomHistory(t, srv, e, random)...)
		e.end(t)
	}
	store := openStore(t, srv.Connect)
	l := read(t, store)
	l.report(t)
	e := run(t, config, randomWorkflows()...)
	eventually(t, "both partitions", func() bool { return owns(e) == 2 })
	shown := views(t, e, ids)
	e.end(t)
	for p := range 2 {
		replays(t, store, p, random)
	}
	// What the log says of each task is what the engine showed, but for what opening it changed.
	e = run(t, config, randomWorkflows()...)
	eventually(t, "both partitions", func() bool { return owns(e) == 2 })
	for i, again := range views(t, e, ids) {
		if v, err := e.Task(t.Context(), ids[i]); err == nil && v.State.Ended() && again != shown[i] {
			t.Fatalf("task %s was\n%s\nand is\n%s", ids[i], shown[i], again)
		}
	}
}

// randomWorkflows fail, wait, and are large, by what the task's context says.
func randomWorkflows() []any {
	h := step(func(_ context.Context, task tasker.TaskView, _ tasker.Sequence, s tasker.StepView) (any, error) {
		n := int(task.ID[15]) + int(s.Name[len(s.Name)-1])
		switch {
		case n%7 == 0 && s.Attempt == 1:
			return nil, errors.New("not this time")
		case n%11 == 0:
			return nil, tasker.Permanent(errors.New("never"))
		case n%13 == 0:
			return nil, tasker.RetryAfter(time.Hour, errors.New("later"))
		case n%5 == 0:
			return strings.Repeat("r", 2000), nil
		}
		return map[string]int{"n": n}, nil
	})
	diamond := tasker.Define("diamond").
		Step("start", h, quickRetry).
		Step("left", h, tasker.After("start"), quickRetry, tasker.Skippable()).
		Step("right", h, tasker.After("start"), quickRetry, tasker.Optional()).
		Step("merge", h, tasker.After("left", "right"), quickRetry).
		MustBuild()
	return []any{diamond, dummy(h, quickRetry)}
}

func randomHistory(t *testing.T, srv *natsserver.Server, e *engine, random *rand.Rand) []tasker.TaskID {
	t.Helper()
	store := openStore(t, srv.Connect)
	var ids []tasker.TaskID
	for i := range 120 {
		name, options := []string{"diamond", "dummy"}[random.IntN(2)], []tasker.SubmitOption{}
		if name == "diamond" && random.IntN(5) == 0 {
			options = append(options, tasker.Bypass("left"))
		}
		if random.IntN(3) == 0 {
			options = append(options, tasker.Key(fmt.Sprintf("%d-%d", i, random.IntN(1000))))
		}
		r, err := e.Submit(t.Context(), name, map[string]string{"text": strings.Repeat("c", random.IntN(3000))}, options...)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
		if random.IntN(3) == 0 {
			operate(t, store, ids[random.IntN(len(ids))], random)
		}
	}
	eventually(t, "the tasks to end or to wait", func() bool { return len(e.Engine.Stats().Partitions) == 2 && idle(e) })
	return ids
}

// idle reports that no handler runs and nothing has been appended for a moment.
func idle(e *engine) bool {
	before := e.Stats()
	time.Sleep(100 * time.Millisecond) // a moment
	after := e.Stats()
	return slices.EqualFunc(before.Partitions, after.Partitions, func(a, b subscribers.Stats) bool { return a.Sequence == b.Sequence })
}

// operate does something that an operator may do, or may not: as the command line will, over NATS.
func operate(t *testing.T, store *natslog.Store, id tasker.TaskID, random *rand.Rand) {
	t.Helper()
	verbs := []string{"cancel", "pause", "resume", "retry", "resolve", "retry_step", "resolve_step", "cancel_step", "complete_step"}
	verb := map[string]any{"name": verbs[random.IntN(len(verbs))], "reason": "random", "step": "merge"}
	text, err := json.Marshal(map[string]any{"op": "verb", "task": id, "verb": verb})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := store.Request(testContext(t, 10*time.Second), id.Partition(2), text)
	if err != nil {
		t.Fatalf("%v: %v", verb, err)
	}
	if strings.Contains(string(answer), "unknown verb") || strings.Contains(string(answer), "panic") {
		t.Fatalf("%v: %s", verb, answer)
	}
}

// replays folds one partition in every way.
func replays(t *testing.T, store domain.Store, p int, random *rand.Rand) {
	t.Helper()
	all := messages(t, store.Log(p))
	commits := make([]domain.Commit, len(all))
	for i, m := range all {
		c, err := domain.DecodeCommit(m.Data, p, m.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		commits[i] = c
	}
	fold := func(state *projections.Partition, commits []domain.Commit) *projections.Partition {
		for _, c := range commits {
			if err := state.Apply(c); err != nil {
				t.Fatal(err)
			}
		}
		return state
	}
	want := picture(t, fold(projections.NewPartition(p), commits))
	for range 5 {
		// Through a snapshot after every chunk.
		state := projections.NewPartition(p)
		cuts := []int{}
		for from := 0; from < len(commits); {
			to := min(from+1+random.IntN(len(commits)/3+1), len(commits))
			state = again(t, fold(state, commits[from:to]))
			cuts, from = append(cuts, to), to
		}
		if got := picture(t, state); !slices.Equal(got, want) {
			differ(t, fmt.Sprintf("partition %d folded in chunks up to %v", p, cuts), got, want)
		}
	}
	infos, err := store.Snapshots().List(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) == 0 {
		t.Errorf("partition %d has no snapshot", p)
	}
	for _, info := range infos {
		content, err := store.Snapshots().Get(t.Context(), info)
		if err != nil {
			t.Fatal(err)
		}
		state, err := projections.ReadSnapshot(content)
		if err != nil {
			t.Fatal(err)
		}
		if state.CommitID != all[info.Sequence-1].CommitID {
			t.Errorf("the snapshot at %d names %s", info.Sequence, state.CommitID)
		}
		if got := picture(t, fold(state, commits[info.Sequence:])); !slices.Equal(got, want) {
			differ(t, fmt.Sprintf("partition %d from its snapshot at %d", p, info.Sequence), got, want)
		}
	}
	t.Logf("partition %d: %d commits, %d snapshots, %d tasks", p, len(commits), len(infos), len(want))
}

func differ(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s differs:\n%q\nwant\n%q", what, got[i], want[i])
		}
	}
	t.Fatalf("%s: %d tasks, want %d", what, len(got), len(want))
}

// again is the state as it comes back from a snapshot.
func again(t *testing.T, state *projections.Partition) *projections.Partition {
	t.Helper()
	frozen, err := state.Freeze(state.Sequence, state.CommitID, state.At)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := frozen.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	state.Thaw(frozen)
	back, err := projections.ReadSnapshot([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// picture is everything that a state holds, in order: the packed form of every task, and the table of those that ended.
func picture(t *testing.T, state *projections.Partition) []string {
	t.Helper()
	lines := []string{fmt.Sprint(state.Number, state.Sequence, state.CommitID, state.At)}
	for e := range state.Tasks() {
		lines = append(lines, "live "+string(e.Task.AppendPacked(nil)))
	}
	var failed []domain.TaskID
	for id := range state.FailedTasks() {
		failed = append(failed, id)
	}
	for _, id := range failed {
		e := state.Find(id)
		lines = append(lines, "failed "+string(e.Task.AppendPacked(nil)))
		state.Retire(e)
	}
	for id, x := range state.Ended.All() {
		lines = append(lines, fmt.Sprint("ended ", id, x.Last, x.Input, int64(x.At)/1e6))
	}
	for hash := range state.Definitions() {
		lines = append(lines, "definition "+hash)
	}
	slices.Sort(lines)
	return lines
}
