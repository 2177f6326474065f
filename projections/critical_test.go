package projections

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	_ "github.com/tasker-go/tasker/internal/sameseed"
)

// diamond is a -> b, c -> d.
var diamond = map[string][]string{"b": {"a"}, "c": {"a"}, "d": {"b", "c"}}

func parentsIn(graph map[string][]string) func(string) []string {
	return func(step string) []string { return graph[step] }
}

// told makes records of one task: one commit each, at so many seconds after the creation.
type told struct {
	at    int
	event domain.Event
}

func historyOf(id domain.TaskID, list ...told) History {
	records := []domain.Record{{Event: domain.TaskCreated{Name: "x"}, Task: id, At: worldStart, Position: domain.Position{Sequence: 1}}}
	for i, x := range list {
		at := worldStart + domain.InstantOf(time.Unix(int64(x.at), 0))
		records = append(records, domain.Record{Event: x.event, Task: id, At: at, Position: domain.Position{Sequence: uint64(i + 2)}})
	}
	return FoldHistory(records)
}

func begin(at int, step string, attempt int) told {
	return told{at, domain.StepExecutionRequested{Step: step, Attempt: attempt}}
}

func done(at int, step string, attempt int) told {
	return told{at, domain.StepCompleted{Step: step, Attempt: attempt}}
}

func TestTheCriticalPathIsTheChainThatTheDurationComesFrom(t *testing.T) {
	type step struct {
		name        string
		ran, waited int
	}
	failed := func(at int, name string, attempt int) told {
		return told{at, domain.StepFailed{Step: name, Attempt: attempt, RetryAt: worldStart}}
	}
	again := func(at int, name string) told { return told{at, domain.StepRetryRequested{Step: name}} }
	for name, tt := range map[string]struct {
		events []told
		want   []step
		total  int
	}{
		"nothing has happened": {nil, []step{}, 0},
		"the slower of two branches": {[]told{
			begin(1, "a", 1), done(3, "a", 1), begin(3, "b", 1), begin(4, "c", 1), done(5, "b", 1), done(9, "c", 1),
			begin(9, "d", 1), done(10, "d", 1), {11, domain.TaskCompleted{}},
		}, []step{{"a", 2, 1}, {"c", 5, 1}, {"d", 1, 0}}, 11},
		"of two that ended at once the later one": {[]told{
			begin(0, "a", 1), done(1, "a", 1), begin(1, "b", 1), begin(1, "c", 1), done(5, "c", 1), done(5, "b", 1), begin(5, "d", 1), done(6, "d", 1),
		}, []step{{"a", 1, 0}, {"b", 4, 0}, {"d", 1, 0}}, 6},
		"a backoff is waiting": {[]told{
			begin(0, "a", 1), failed(2, "a", 1), again(7, "a"), begin(7, "a", 2), done(8, "a", 2), {8, domain.TaskCompleted{}},
		}, []step{{"a", 3, 5}}, 8},
		"what runs comes last": {[]told{
			begin(0, "a", 1), done(1, "a", 1), begin(1, "b", 1), begin(2, "c", 1), done(5, "b", 1), {6, domain.TaskAnnotated{}},
		}, []step{{"a", 1, 0}, {"c", 4, 1}}, 6},
		"a step that ended without running": {[]told{
			begin(0, "a", 1), done(1, "a", 1), begin(1, "c", 1), done(2, "c", 1), {4, domain.StepSkipped{Step: "b"}}, begin(4, "d", 1), done(5, "d", 1),
		}, []step{{"a", 1, 0}, {"b", 0, 3}, {"d", 1, 0}}, 5},
		"a step that was resolved before its parent ended": {[]told{
			begin(0, "a", 1), {1, domain.StepResolvedManually{Step: "b"}}, {1, domain.StepResolvedManually{Step: "c"}}, done(2, "a", 1),
			begin(2, "d", 1), done(3, "d", 1),
		}, []step{{"c", 0, 1}, {"d", 1, 1}}, 3},
		"of a fork, what it has inherited": {[]told{
			{0, domain.StepInherited{Step: "a"}}, {0, domain.StepInherited{Step: "c"}}, begin(2, "b", 1), done(5, "b", 1), begin(5, "d", 1), done(6, "d", 1),
		}, []step{{"a", 0, 0}, {"b", 3, 2}, {"d", 1, 0}}, 6},
		"steps that were cancelled before they ran are no part": {[]told{
			begin(0, "a", 1), {3, domain.TaskCancelled{}}, {3, domain.StepCancelled{Step: "a"}}, {3, domain.StepCancelled{Step: "d"}},
		}, []step{{"a", 3, 0}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			path := Critical(historyOf(unkeyedID(1), tt.events...), parentsIn(diamond))
			got := []step{}
			for _, s := range path.Steps {
				got = append(got, step{s.Step, int(s.Duration / time.Second), int(s.Waited / time.Second)})
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(step{})); diff != "" || path.Duration != time.Duration(tt.total)*time.Second {
				t.Errorf("of %s\n%s", path.Duration, diff)
			}
		})
	}
}

// Whatever happens: each step of the path follows from the one before it, none comes twice, and together they explain no
// more than the duration of the task.
func TestTheCriticalPathNeverExplainsMoreThanTheDuration(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 12).Draw(rt, "turns") {
			w.randomTurn(rt, t)
		}
		parents := func(step string) []string { return w.def.Steps[w.def.Graph().Index(step)].DependsOn }
		log := logOf(w)
		for _, id := range w.ids {
			records, _, err := Walk(t.Context(), log, 3, id, w.prev[id])
			if err != nil {
				rt.Fatal(err)
			}
			h := FoldHistory(records)
			path := Critical(h, parents)
			var sum time.Duration
			for i, s := range path.Steps {
				sum += s.Duration + s.Waited
				if s.Duration < 0 || i > 0 && !slices.Contains(parents(s.Step), path.Steps[i-1].Step) {
					rt.Fatalf("%+v", path)
				}
			}
			all := h.Events[len(h.Events)-1].At.Sub(h.CreatedAt)
			if len(h.Executions) > 0 && len(path.Steps) == 0 || sum > all || path.Duration > all {
				rt.Fatalf("%s of %s: %+v", sum, all, path)
			}
		}
	})
}
