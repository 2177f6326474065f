package sqlite_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tasker-go/tasker/domain"
	"github.com/tasker-go/tasker/infra/sqlite"
	_ "github.com/tasker-go/tasker/internal/sameseed"
	"github.com/tasker-go/tasker/internal/scenario"
	"github.com/tasker-go/tasker/projections/index"
)

// everything that can be asked for, to compare two indexes.
func everything(t testing.TB, x *sqlite.Index) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, sort := range []index.Sort{index.SortCreated, index.SortUpdated, index.SortEnded, index.SortDuration, index.SortRetries} {
		page, err := x.Tasks(t.Context(), index.TaskQuery{Sort: sort, Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		all["tasks by "+string(sort)] = page.Tasks
	}
	steps, err := x.Steps(t.Context(), index.StepQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	counts, err := x.Count(t.Context(), index.TaskQuery{})
	if err != nil {
		t.Fatal(err)
	}
	words, err := x.Tasks(t.Context(), index.TaskQuery{Text: "a", Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := x.Analyze(t.Context(), index.AnalyticsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	all["steps"], all["counts"], all["text"], all["analytics"] = steps.Steps, counts.States, words.Tasks, []any{
		numbers.Definitions, numbers.SlowestTasks, numbers.SlowestSteps, numbers.MostRetried,
	}
	return all
}

func TestHoweverTheLogIsReadTheIndexIsThatOfEveryTaskFoldedAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, rapid.IntRange(1, 3).Draw(rt, "partitions"))
		o := sqlite.FollowOptions{Batch: rapid.IntRange(1, 30).Draw(rt, "batch"), Pace: time.Millisecond, Steps: rapid.SampledFrom([]int{1, 1000}).Draw(rt, "memory")}
		path := filepath.Join(t.TempDir(), "index.db")
		x := openIndex(t, path, b.store.Data())
		stop := follow(t, x, b.store, o)
		b.fill(t, rt, 8)
		reach(t, x, b.end())
		stop()
		if err := x.Close(); err != nil { // and again, with nothing in memory
			rt.Fatal(err)
		}
		x = openIndex(t, path, b.store.Data())
		stop = follow(t, x, b.store, o)
		b.fill(t, rt, 6)
		reach(t, x, b.end())
		m := b.model(t)
		live := everything(t, x)
		compareModel(rt, m, live)
		stop()
		if err := x.Rebuild(t.Context(), b.store, nil); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(live, everything(t, x), alike); diff != "" {
			rt.Fatalf("a rebuild makes another index: %s", diff)
		}
		_ = x.Close()
	})
}

func compareModel(rt interface{ Fatalf(string, ...any) }, m model, live map[string]any) {
	byID := func(a, b index.TaskRow) int { return slices.Compare(a.ID[:], b.ID[:]) }
	tasks := slices.Clone(live["tasks by created"].([]index.TaskRow))
	slices.SortFunc(tasks, byID)
	slices.SortFunc(m.tasks, byID)
	if diff := cmp.Diff(m.tasks, tasks, alike); diff != "" {
		rt.Fatalf("tasks: %s", diff)
	}
	have := map[domain.TaskID][]index.StepRow{}
	for _, s := range live["steps"].([]index.StepRow) {
		have[s.Task] = append(have[s.Task], s)
	}
	if diff := cmp.Diff(m.steps, have, alike); diff != "" {
		rt.Fatalf("steps: %s", diff)
	}
	counts := map[domain.State]int64{}
	for _, s := range domain.States {
		counts[s] = int64(len(m.list(index.TaskQuery{States: []domain.State{s}})))
	}
	if diff := cmp.Diff(counts, live["counts"]); diff != "" {
		rt.Fatalf("counts: %s", diff)
	}
}

func drawQuery(rt *rapid.T) index.TaskQuery {
	var q index.TaskQuery
	for range rapid.IntRange(0, 3).Draw(rt, "filters") {
		switch rapid.IntRange(0, 12).Draw(rt, "filter") {
		case 0:
			q.Namespaces = rapid.SliceOfN(rapid.SampledFrom([]string{"default", "shop", "none"}), 1, 3).Draw(rt, "namespaces")
		case 1:
			q.Name = rapid.SampledFrom([]string{"order", "bill"}).Draw(rt, "name")
		case 2:
			q.Version = "2.0.0"
		case 3:
			q.States = rapid.SliceOfN(rapid.SampledFrom(domain.States), 1, 3).Draw(rt, "states")
		case 4:
			q.Waiting = rapid.SampledFrom([]domain.WaitReason{domain.WaitRetryBackoff, domain.WaitPaused, domain.WaitDependencies}).Draw(rt, "waiting")
		case 5:
			paused := rapid.Bool().Draw(rt, "paused")
			q.Paused = &paused
		case 6:
			q.Initiator = rapid.SampledFrom([]string{"web", "cron", "nobody"}).Draw(rt, "initiator")
		case 7:
			q.Correlation = "x"
		case 8:
			q.Tags = rapid.SampledFrom([][]string{{"gold"}, {"new", "gold"}, {"old"}}).Draw(rt, "tags")
		case 9:
			q.Fields = rapid.SampledFrom([]map[string]string{{"customer.id": "c1"}, {"express": "true"}, {"customer.id": "c2", "express": "false"}}).Draw(rt, "fields")
		case 10:
			q.Text = rapid.SampledFrom([]string{"connection", "no w", "conn refu", "refused lunch", "grüße", "gold", "Again"}).Draw(rt, "text")
		case 11:
			q.CreatedAfter = scenario.Start.Time().Add(time.Duration(rapid.IntRange(-5, 100).Draw(rt, "after")) * time.Minute)
			q.CreatedBefore = q.CreatedAfter.Add(30 * time.Minute)
		case 12:
			q.EndedAfter = scenario.Start.Time().Add(time.Duration(rapid.IntRange(-5, 100).Draw(rt, "after")) * time.Minute)
		}
	}
	q.Sort = rapid.SampledFrom([]index.Sort{index.SortCreated, index.SortUpdated, index.SortEnded, index.SortDuration, index.SortRetries}).Draw(rt, "sort")
	q.Ascending = rapid.Bool().Draw(rt, "ascending")
	q.Limit = rapid.SampledFrom([]int{1, 2, 3, 7, 500}).Draw(rt, "limit")
	return q
}

func TestEveryQueryFindsWhatLookingAtEveryTaskFinds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBook(t, 2)
		b.fill(t, rt, 25)
		x := openIndex(t, "", b.store.Data())
		defer x.Close()
		stop := follow(t, x, b.store, sqlite.FollowOptions{})
		defer stop()
		reach(t, x, b.end())
		m := b.model(t)
		for range 40 {
			q := drawQuery(rt)
			want := m.list(q)
			got := pages(t, x, q)
			slices.SortFunc(want, func(a, b index.TaskRow) int { return slices.Compare(a.ID[:], b.ID[:]) })
			if !slices.IsSortedFunc(got, func(a, b index.TaskRow) int {
				if x, y := value(q, a), value(q, b); x != y && (x < y) != q.Ascending {
					return 1
				}
				return 0
			}) {
				rt.Fatalf("%+v: not sorted", q)
			}
			counts, err := x.Count(t.Context(), q)
			if err != nil {
				rt.Fatal(err)
			}
			some := q
			some.States, some.Sort = nil, ""
			if want := int64(len(m.list(some))); counts.Total != want {
				rt.Fatalf("%+v: counted %d of %d", q, counts.Total, want)
			}
			slices.SortFunc(got, func(a, b index.TaskRow) int { return slices.Compare(a.ID[:], b.ID[:]) })
			if diff := cmp.Diff(want, got, alike); diff != "" {
				rt.Fatalf("%+v: %s", q, diff)
			}
		}
	})
}

// pages reads a list to its end, page by page.
func pages(t testing.TB, x *sqlite.Index, q index.TaskQuery) (all []index.TaskRow) {
	t.Helper()
	for {
		page, err := x.Tasks(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Tasks) > q.Limit {
			t.Fatalf("%d tasks on a page of %d", len(page.Tasks), q.Limit)
		}
		all = append(all, page.Tasks...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}
